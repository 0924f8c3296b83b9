//! Where each destination stands: claimed once by every owner's session, then moved by `complete`.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_postgres::{Client, types::Type};

use super::{
    ANSWER, BOUNDED, DbError,
    owner::{self, FormerOwner, Keeper},
    within,
};
use crate::{
    books::{Cause, State},
    event::Kind,
    marks::{PendingRow, Waiting},
};

/// A destination as the configuration wants it.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its former name.
    pub was: Option<&'a str>,
    /// Where it begins when it is new: a stream number cannot be known yet, so a time; `None`: now.
    pub start: Option<Timestamp>,
    /// Numbers that may be on the wire beyond the position.
    pub ahead: i64,
    /// Digest of its settings.
    pub settings: &'a str,
    /// How long the stream's entries settle before they are sent.
    pub settle: Duration,
    /// How long one of its requests may take.
    pub deadline: Duration,
}

/// A claimed position.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Every event at or below has its attempt or a row in pending.
    pub seq: i64,
    /// Raised for this session.
    pub horizon: i64,
    /// The horizon as the former process left it: attempts are recorded up to there at most.
    pub old_horizon: i64,
    /// Who claimed it last: another epoch than one's own last was somebody else's.
    pub old_epoch: i64,
    /// Whether it stopped without draining.
    pub crashed: bool,
    /// What a former process may have sent without recording it: (seq, maybe]. Not beyond seq after a clean stop.
    pub maybe: i64,
    /// When the former process last wrote.
    pub written: Timestamp,
    /// Nothing may be sent for so long: a former owner may still have requests on their way.
    pub wait: Duration,
    /// A person paused it.
    pub paused: bool,
    /// Why it cannot be used.
    pub halted: Option<String>,
    /// Its settings have changed since that process.
    pub settings_changed: bool,
}

/// Takes a destination's position for `epoch`, which was drawn with its lock; creates or renames it when it is new.
pub async fn claim(db: &mut Client, keeper: &Keeper, epoch: i64, wanted: &Wanted<'_>) -> Result<Claimed, DbError> {
    if let Some(was) = wanted.was {
        rename(db, epoch, was, wanted.name).await?;
    }
    within(ANSWER, claim_as(db, keeper, epoch, wanted)).await
}

async fn claim_as(db: &mut Client, keeper: &Keeper, epoch: i64, wanted: &Wanted<'_>) -> Result<Claimed, DbError> {
    // The settle time is part of what a former process went by.
    let settings = format!("{} {}ms", wanted.settings, wanted.settle.as_millis());
    let tx = db.transaction().await?;
    tx.batch_execute(BOUNDED).await?;
    let last_seq: i64 = tx.query_typed("select last_seq from postback.ingest", &[]).await?[0].get(0);
    let start = match wanted.start {
        None => last_seq,
        Some(time) => {
            let sql = "select coalesce(min(l.seq) - 1, $2) from postback.log l where l.at >= $1";
            tx.query_typed(sql, &[(&time, Type::TIMESTAMPTZ), (&last_seq, Type::INT8)]).await?[0].get(0)
        }
    };
    let sql = "
      insert into postback.position (destination, seq, horizon, epoch, started, settings) values ($1, $2, $2, 0, $2, $3)
      on conflict do nothing";
    tx.query_typed(sql, &[(&wanted.name, Type::TEXT), (&start, Type::INT8), (&settings, Type::TEXT)]).await?;
    let sql = "select p.seq, p.horizon, p.paused, p.halted, p.settings, p.at, p.epoch, p.deadline_ms, d.machine, d.pid, d.started, d.instance,
                      d.fence_ms, extract(epoch from clock_timestamp() - d.checked)::float8
                 from postback.position p left join postback.daemon d on d.id = p.daemon where p.destination = $1 for update of p";
    let row = &tx.query_typed(sql, &[(&wanted.name, Type::TEXT)]).await?[0];
    let (seq, old_horizon): (i64, i64) = (row.get(0), row.get(1));
    let wait = former_owner(row).map_or(Duration::ZERO, |former| {
        let wait = former.wait(keeper.process());
        if !wait.is_zero() {
            let (instance, wait) = (&former.instance, crate::words::duration(Duration::from_secs(wait.as_secs() + 1)));
            tracing::info!(
                destination = wanted.name,
                former = instance,
                "sending begins within {wait}: the former owner went away without releasing it"
            );
        }
        wait
    });
    let horizon = old_horizon.max(seq + wanted.ahead);
    let settings_changed = row.get::<_, Option<&str>>(4) != Some(settings.as_str());
    // What was not in the stream yet, or will not have settled when the last request of a former process may begin, cannot have
    // been sent by it.
    let maybe = old_horizon.min(last_seq);
    let maybe = if settings_changed || maybe <= seq { maybe } else { settled(&tx, seq, maybe, wanted.settle.saturating_sub(wait)).await? };
    let claimed = Claimed {
        seq,
        horizon,
        old_horizon,
        old_epoch: row.get(6),
        crashed: old_horizon > seq,
        maybe,
        written: row.try_get(5).unwrap_or(Timestamp::UNIX_EPOCH),
        wait,
        paused: row.get(2),
        halted: row.get(3),
        settings_changed,
    };
    let sql = "update postback.position set epoch = $2, horizon = $3, settings = $4, daemon = $5, deadline_ms = $6, at = clock_timestamp()
                where destination = $1 and epoch < $2 and set_config('synchronous_commit', 'on', true) is not null returning 1";
    let deadline_ms = owner::millis(wanted.deadline);
    let params: [super::Param<'_>; 6] = [
        (&wanted.name, Type::TEXT),
        (&epoch, Type::INT8),
        (&horizon, Type::INT8),
        (&settings, Type::TEXT),
        (&keeper.session, Type::INT8),
        (&deadline_ms, Type::INT4),
    ];
    if tx.query_typed(sql, &params).await?.is_empty() {
        return Err(DbError::Fenced);
    }
    tx.commit().await?;
    Ok(claimed)
}

/// After a clean drain nothing of it is on its way any more: whoever comes next need not wait.
pub async fn leave(db: &Client, destination: &str, epoch: i64) -> Result<(), DbError> {
    let sql = "update postback.position set daemon = null where destination = $1 and epoch = $2";
    within(ANSWER, db.query_typed(sql, &[(&destination, Type::TEXT), (&epoch, Type::INT8)])).await?;
    Ok(())
}

/// Who worked it last and did not leave it cleanly.
fn former_owner(row: &tokio_postgres::Row) -> Option<FormerOwner> {
    let millis = |column: usize| row.get::<_, Option<i32>>(column).map(|millis| Duration::from_millis(millis.unsigned_abs().into()));
    let _: &str = row.get::<_, Option<&str>>(8)?;
    Some(FormerOwner {
        process: owner::process_of(row, 8),
        instance: row.get(11),
        fence: millis(12)?,
        deadline: millis(7).unwrap_or_default(),
        since: Duration::try_from_secs_f64(row.get(13)).unwrap_or_default(),
    })
}

/// The last number up to `to` that is older than `settle`.
async fn settled(tx: &tokio_postgres::Transaction<'_>, from: i64, to: i64, settle: Duration) -> Result<i64, DbError> {
    let sql = "select coalesce(max(seq), $1) from postback.log
                where seq > $1 and seq <= $2 and at <= clock_timestamp() - $3::float8 * interval '1 s'";
    let rows = tx.query_typed(sql, &[(&from, Type::INT8), (&to, Type::INT8), (&settle.as_secs_f64(), Type::FLOAT8)]).await?;
    Ok(rows.first().map_or(to, |row| row.get(0)))
}

/// `was = "old"`: history and position go over, once; a destination that exists already keeps its own. In a transaction of its
/// own, because it may take a while and must not hold up the stream.
async fn rename(db: &mut Client, epoch: i64, was: &str, name: &str) -> Result<(), DbError> {
    let tx = db.transaction().await?;
    tx.batch_execute(BOUNDED).await?;
    tx.batch_execute("set local statement_timeout = 0").await?;
    let sql = "update postback.position set destination = $2
                where destination = $1 and epoch < $3 and not exists (select from postback.position where destination = $2) returning 1";
    if tx.query_typed(sql, &[(&was, Type::TEXT), (&name, Type::TEXT), (&epoch, Type::INT8)]).await?.is_empty() {
        return Ok(());
    }
    for table in ["attempt", "receipt", "pending", "tally"] {
        let sql = format!("update postback.{table} set destination = $2 where destination = $1");
        tx.query_typed(&sql, &[(&was, Type::TEXT), (&name, Type::TEXT)]).await?;
    }
    tx.commit().await?;
    tracing::info!(destination = name, was, "destination renamed");
    Ok(())
}

/// An open row of `pending` with what its entry and its event say.
#[derive(Clone, Debug)]
pub struct OpenRow {
    /// The row.
    pub row: PendingRow,
    /// Of the event; `None`: unreadable, or past retention.
    pub kind: Option<Kind>,
    /// Of the entry.
    pub cause: Option<Cause>,
    /// Attempts on record for the entry.
    pub recorded: i64,
}

/// The open rows of `pending`, in stream order: what waits for a time, for another event or was being sent.
pub async fn open_rows(db: &Client, destination: &str) -> Result<Vec<OpenRow>, DbError> {
    let sql = "select p.event, p.seq, p.order_ref, p.state, p.attempts, p.next_at, p.reason, e.kind, l.cause,
                      (select count(*) from postback.attempt a where a.destination = p.destination and a.event = p.event and a.seq = p.seq)
                 from postback.pending p left join postback.event e on e.id = p.event left join postback.log l on l.seq = p.seq
                where p.destination = $1 and p.state in ('retrying', 'held', 'parked', 'sending') order by p.seq";
    let rows = within(ANSWER, db.query_typed(sql, &[(&destination, Type::TEXT)])).await?;
    let pending = |row: &tokio_postgres::Row| {
        let row_in_table = PendingRow {
            event: row.get(0),
            seq: row.get(1),
            order_ref: Arc::from(row.get::<_, &str>(2)),
            state: Waiting::parse(row.get(3)).ok_or_else(|| DbError::Unexpected("unknown state in postback.pending".into()))?,
            attempts: row.get(4),
            next_at: row.try_get(5).unwrap_or(None),
            reason: row.get(6),
        };
        Ok(OpenRow {
            row: row_in_table,
            kind: row.get::<_, Option<&str>>(7).and_then(|kind| kind.parse().ok()),
            cause: row.get::<_, Option<&str>>(8).and_then(Cause::parse),
            recorded: row.get(9),
        })
    };
    rows.iter().map(pending).collect()
}

/// A recorded attempt, as a restart consults it.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// The event.
    pub event: i64,
    /// The entry of the stream that it answers.
    pub seq: i64,
    /// What became of it.
    pub outcome: State,
}

/// All attempts of these events at a destination.
pub async fn recorded(db: &Client, destination: &str, events: &[i64]) -> Result<Vec<Recorded>, DbError> {
    let sql = "select event, seq, outcome from postback.attempt where destination = $1 and event = any($2)";
    let rows = super::pinned(db, super::PIN, sql, &[(&destination, Type::TEXT), (&events, Type::INT8_ARRAY)]).await?;
    let recorded = |row: &tokio_postgres::Row| {
        let outcome = State::parse(row.get(2)).ok_or_else(|| DbError::Unexpected("unknown outcome in postback.attempt".into()))?;
        Ok(Recorded { event: row.get(0), seq: row.get(1), outcome })
    };
    rows.iter().map(recorded).collect()
}
