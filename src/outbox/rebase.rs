//! Making a copied database the home of its daemon: one transaction beside the shop's, all of it or nothing.

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, IsolationLevel, Transaction, types::Type};

use super::DbError;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Rebase {
    /// The identity's name from now on; `None`: the one it has.
    pub name: Option<String>,
    /// Transaction ids mean here what they meant there.
    pub same_xids: bool,
    /// Somebody may have sent since the copy was taken.
    pub in_doubt: bool,
}

/// What was done, or would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Events in the outbox.
    pub events: i64,
    /// Of them without a place in the stream: they are read next, in id order.
    pub unread: i64,
    /// Of those given another id, because the ledger knew theirs as another event's.
    pub renumbered: i64,
    /// Events in the stream that the new cluster's transactions would have met again.
    pub neutralised: i64,
    /// Deliveries that are not recorded here and may have been sent; at-most-once ones become unknown.
    pub in_doubt: i64,
    /// Commands that nobody had answered: they are not carried out.
    pub commands: i64,
    /// Sequences that were behind their tables.
    pub sequences: Vec<Moved>,
    /// Open rows of trouble; ids that were given out twice are among them.
    pub trouble: i64,
}

/// A sequence that was behind its table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Which.
    pub sequence: String,
    /// Where it was.
    pub from: i64,
    /// Where it goes on.
    pub to: i64,
}

impl Rebase {
    /// Does it, or with `dry` only counts. The shop may write meanwhile; `None`: a daemon is at work.
    pub async fn run(&self, db: &mut Client, dry: bool) -> Result<Option<Done>, DbError> {
        let tx = db.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await?;
        if !dry && !keep_out(&tx).await? {
            return Ok(None);
        }
        let sql = "select postback.rebase($1, $2, $3, $4)::text";
        let params: [super::Param<'_>; 4] =
            [(&self.name, Type::TEXT), (&self.same_xids, Type::BOOL), (&self.in_doubt, Type::BOOL), (&dry, Type::BOOL)];
        let rows = tx.query_typed(sql, &params).await?;
        let text: &str = rows.first().map_or("", |row| row.get(0));
        let done = serde_json::from_str(text).map_err(|error| DbError::Unexpected(format!("postback.rebase: {error}")))?;
        tx.commit().await?;
        Ok(Some(done))
    }
}

/// Holds the reader's lock until the transaction ends, so that no daemon begins; false: one is at work.
async fn keep_out(tx: &Transaction<'_>) -> Result<bool, DbError> {
    tx.batch_execute("set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0").await?;
    let rows = tx.query_typed("select pg_try_advisory_xact_lock($1, 1)", &[(&super::owner::READER, Type::INT4)]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Whether the daemon had drained and released everything when the copy was taken.
pub async fn was_left_clean(db: &Client) -> Result<bool, DbError> {
    let sql = "select i.daemon is null and not exists (select from postback.position p where p.daemon is not null or p.horizon > greatest(p.seq, i.last_seq))
                 from postback.ingest i";
    let rows = db.query_typed(sql, &[]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// A new name for a database that is at home; false: a daemon is at work.
pub async fn rename(db: &mut Client, name: &str) -> Result<bool, DbError> {
    let tx = db.transaction().await?;
    if !keep_out(&tx).await? {
        return Ok(false);
    }
    let sql =
        "insert into postback.identity as i (system, database, timeline, name) select h.system, h.database, h.timeline, $1 from postback.here() h
                where set_config('synchronous_commit', 'on', true) is not null
               on conflict (only_row) do update set (name, at, by) = (excluded.name, clock_timestamp(), session_user)";
    tx.query_typed(sql, &[(&name, Type::TEXT)]).await?;
    tx.commit().await?;
    Ok(true)
}
