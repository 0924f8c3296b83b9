//! [1 database row] and [6 database mark]: the only code that knows PostgreSQL.

pub mod confirm;
pub mod connect;
pub mod listen;
pub mod pooler;
pub mod reconnect;
pub mod schema;
pub mod statement;
mod tls;

pub mod window;

pub mod ingest;

pub mod stream;

pub mod facts;

pub mod complete;
pub mod position;

pub mod alert;
pub mod backfill;
pub mod command;
pub mod heal;
pub mod identity;
pub mod lookup;
pub mod maintain;
pub mod owner;
pub mod rebase;
pub mod reconcile;
pub mod trouble;

pub mod inspect;

pub mod apple;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use statement::Way;
use tokio_postgres::{
    Row,
    error::Severity,
    types::{ToSql, Type},
};

/// What went wrong at the database. Texts never hold payloads or parameters.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The server's or the connection's error.
    #[error("database: {}", describe(.0))]
    Postgres(#[source] tokio_postgres::Error),
    /// No connection to be had.
    #[error("no connection to the database: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// Somebody else wrote what only the owner writes: a takeover, or a COMMIT in doubt that went through.
    #[error("another owner took over, or an earlier commit went through late; everything is read again from the tables")]
    Fenced,
    /// Another task of the session found that it is over.
    #[error("the session ended; everything is read again from the tables")]
    SessionOver,
    /// A connection that is open and silent: something on the way takes everything and passes nothing on.
    #[error("no answer from the database within {}; the connection is given up", crate::words::duration(*.0))]
    Silent(Duration),
    /// The session that holds the locks ended: the server or somebody there ended it, or the network.
    #[error("the session that holds the owner's locks was closed; they are taken again")]
    LockLost,
    /// The server is a standby.
    #[error("the server is a standby in recovery; its snapshots hide running transactions, so nothing is read there")]
    Standby,
    /// The server said something that cannot be.
    #[error("unexpected answer from the database: {0}")]
    Unexpected(String),
}

/// What `postback.own` raises.
const NOT_THE_OWNER: &str = "PB001";

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(state) if state.code() == NOT_THE_OWNER => Self::Fenced,
            _ => Self::Postgres(error),
        }
    }
}

impl DbError {
    /// The server refused a statement and the connection is as good as before: what is done now and then is done later.
    pub fn is_refusal(&self) -> bool {
        let refused = |error: &tokio_postgres::Error| error.as_db_error().is_some_and(|server| server.parsed_severity() == Some(Severity::Error));
        matches!(self, Self::Postgres(error) if refused(error))
    }

    /// What the server says against a statement; it may quote values of the shop's, so that it is for whoever wrote the statement alone.
    fn server_text(&self) -> Option<String> {
        match self {
            Self::Postgres(error) if self.is_refusal() => error.as_db_error().map(|server| server.message().to_owned()),
            _ => None,
        }
    }

    /// What the server says against a value of one row, where the next row may be good: class 22.
    pub fn against_a_value(&self) -> Option<String> {
        let Self::Postgres(error) = self else { return None };
        error.as_db_error().filter(|server| server.code().code().starts_with("22")).map(|server| server.message().to_owned())
    }

    /// The server refused what was to be written, not the connection: repeating it at once would be refused again.
    pub fn is_about_the_data(&self) -> bool {
        // Class 22: data, 23: integrity, 42: names and privileges.
        let about_data = |error: &tokio_postgres::Error| error.code().is_some_and(|code| ["22", "23", "42"].contains(&&code.code()[..2]));
        matches!(self, Self::Postgres(error) if about_data(error))
    }
}

/// `tokio_postgres::Error` prints only its kind; the message that an operator needs is in its source. The detail line is left
/// out on purpose: it quotes values.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} ({})", server.message(), server.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// A row of `postback.event`, not decoded yet. `Debug` shows no payload.
#[derive(Clone)]
pub struct RawEvent {
    /// `id`
    pub id: i64,
    /// `kind`
    pub kind: String,
    /// `ref`
    pub reference: Arc<str>,
    /// `payload`, as text
    pub payload: String,
    /// `occurred_at`
    pub occurred_at: Timestamp,
}

impl std::fmt::Debug for RawEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawEvent({} {})", self.id, self.kind)
    }
}

impl RawEvent {
    /// Columns `id, kind, ref, payload::text, occurred_at`, from column `first` on.
    fn from_row(row: &Row, first: usize) -> Self {
        Self {
            id: row.get(first),
            kind: row.get(first + 1),
            reference: row.get::<_, &str>(first + 2).into(),
            payload: row.get(first + 3),
            // A timestamp that jiff cannot hold (infinity, year 20000) must not stop the stream.
            occurred_at: row.try_get(first + 4).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    /// Decodes it.
    pub fn decode(&self) -> Result<crate::event::Event, crate::event::Unreadable> {
        crate::event::Event::decode(self.id, &self.kind, &self.reference, &self.payload, self.occurred_at)
    }

    /// Decodes what the ledger needs.
    pub fn decode_books(&self) -> Result<crate::event::Event, crate::event::Unreadable> {
        crate::event::Event::decode_books(self.id, &self.kind, &self.reference, &self.payload, self.occurred_at)
    }
}

/// A parameter with its type. Statements are sent unnamed with their types, in one round trip, because named ones do not pass
/// a transaction pooler; the reader's, where nothing stands between, are prepared once: see `statement`.
type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// First words of a transaction that takes more than one round trip. It neither waits nor stays open for ever, whatever
/// becomes of this process, and no longer than the session that holds the locks, so that a takeover need not wait for it. Never
/// by a plain SET: behind a transaction pooler that would be said to the shop's own sessions.
const BOUNDED: &str = "set local statement_timeout = '30s'; set local idle_in_transaction_session_timeout = '5s'";

/// The planner is pinned where it was seen to go wrong on tables whose statistics are young: walking an index instead of
/// scanning or sorting a table (160,000 events/s instead of 12,000). Local to the transaction, so that it holds behind a
/// transaction pooler too.
const PIN: &str = "begin; set local statement_timeout = '30s'; set local idle_in_transaction_session_timeout = '5s'; \
                   set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_hashjoin = off; \
                   set local enable_mergejoin = off; set local max_parallel_workers_per_gather = 0; set local jit = off";
const PIN_ORDERED: &str = "begin; set local statement_timeout = '30s'; set local idle_in_transaction_session_timeout = '5s'; \
                           set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_hashjoin = off; \
                           set local enable_mergejoin = off; set local enable_sort = off; set local max_parallel_workers_per_gather = 0; \
                           set local jit = off";

/// No statement of ours is waited for any longer: in a transaction that [`BOUNDED`] begins the server ends it 5 s earlier, with
/// an error that comes. TCP notices a peer that has gone, but not a proxy that still takes what it no longer passes on.
const ANSWER: Duration = Duration::from_secs(35);

/// The same for what costs the server next to nothing: silence means that the way is broken. The session with the locks has
/// the server end its statements after 5 s.
const ANSWER_SOON: Duration = Duration::from_secs(6);

/// Waits for an answer, not for ever. After [`DbError::Silent`] nobody knows what has become of the statement. On the heap,
/// because it holds the statement with its rows.
fn within<T, E: Into<DbError>>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> impl Future<Output = Result<T, DbError>> {
    let work = Box::pin(tokio::time::timeout(limit, work));
    async move {
        match work.await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(DbError::Silent(limit)),
        }
    }
}

/// One round trip: the pin, the statement, the end of the transaction.
async fn pinned<'a>(way: impl Into<Way<'a>>, pin: &str, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
    let way = way.into();
    within(ANSWER, async {
        let (db, ready) = (way.db(), way.ready(sql, params).await?);
        let (begun, rows, ended) = tokio::join!(db.batch_execute(pin), ready.query(params), db.batch_execute("commit"));
        begun?;
        let rows = rows?;
        ended.map(|()| rows)
    })
    .await
}

fn event_rows(rows: &[Row]) -> Vec<RawEvent> {
    rows.iter().map(|row| RawEvent::from_row(row, 0)).collect()
}
