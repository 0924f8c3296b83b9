//! The shop's books (`postback.books`) against events: orders that were paid and that no trigger said, because it was dropped or
//! disabled, or the order was written where triggers do not fire.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, types::Type};

use super::{
    DbError, Param,
    backfill::{self, Past},
    within,
};
use crate::session::Session;

/// The shop's query may take that long, and our answer a little longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// The daemon looks that often.
const EVERY: Duration = Duration::from_secs(3_600);
/// First, and after a failure: whoever has just begun has other things to do.
const FIRST: Duration = Duration::from_secs(60);
/// How far back the daemon looks.
const LOOK_BACK: Duration = Duration::from_secs(7 * 86_400);

/// A paid order without an event.
#[derive(Debug, Serialize)]
pub struct Untold {
    /// As the books call it.
    pub order_ref: String,
    /// Decimal text in major units; `None`: the books have none.
    pub value: Option<String>,
    /// The same, given back since.
    pub refunded: String,
    /// ISO 4217.
    pub currency: Option<String>,
    /// When the books have it as paid.
    pub paid_at: Timestamp,
}

/// What the books say that events do not.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// Of the whole period.
    pub count: i64,
    /// The oldest of them.
    pub orders: Vec<Untold>,
}

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The database's trouble, and ours.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Nobody has told them.
    #[error("the shop's books are not known; tell them once: select postback.books('select ...');")]
    NoBooks,
    /// The text of the server's error may quote a value of the shop's.
    #[error("the query of the shop's books fails (SQLSTATE {0}): select * from postback.booked(now() - interval '1 day', now());")]
    Query(String),
}

/// Compares a period, in a read-only transaction of its own.
pub async fn untold(db: &Client, since: Timestamp, until: Timestamp, at_most: i64) -> Result<Difference, ReconcileError> {
    let params: [Param<'_>; 3] = [(&since, Type::TIMESTAMPTZ), (&until, Type::TIMESTAMPTZ), (&at_most, Type::INT8)];
    let begin = format!("begin isolation level repeatable read read only; set local statement_timeout = '{}s'", PATIENCE.as_secs());
    let all = async {
        Ok::<_, DbError>(tokio::join!(
            db.batch_execute(&begin),
            db.query_typed(include_str!("../../sql/untold.sql"), &params),
            db.batch_execute("rollback")
        ))
    };
    let (begun, rows, ended) = within(PATIENCE + Duration::from_secs(10), all).await?;
    begun.map_err(DbError::from)?;
    ended.map_err(DbError::from)?;
    let rows = rows.map_err(|error| match error.as_db_error().map(|server| server.code().code()) {
        Some("P0002") => ReconcileError::NoBooks,
        Some(state) => ReconcileError::Query(state.to_owned()),
        None => ReconcileError::Database(error.into()),
    })?;
    let order = |row: &tokio_postgres::Row| Untold {
        order_ref: row.get(0),
        value: row.get(1),
        refunded: row.get(2),
        currency: row.get(3),
        paid_at: row.try_get(4).unwrap_or(Timestamp::UNIX_EPOCH),
    };
    Ok(Difference { count: rows.first().map_or(0, |row| row.get(5)), orders: rows.iter().map(order).collect() })
}

/// Says what no trigger said. Returns whether there was enough to say.
pub async fn say(db: &Client, order: &Untold) -> Result<bool, DbError> {
    let (Some(value), Some(currency)) = (&order.value, &order.currency) else { return Ok(false) };
    let past = Past {
        order_ref: &order.order_ref,
        value,
        currency,
        refunded: &order.refunded,
        occurred_at: order.paid_at,
        who: "{}",
        more: r#"{"reconciled": true}"#,
        source: "reconciled",
    };
    backfill::say(db, &past).await
}

/// Looks every hour for as long as this process reads the shop's commits. Says nothing by itself: only the shop knows whether an order
/// without an event is a mistake.
pub async fn run(session: &Session) -> DbError {
    let mut wait = FIRST;
    loop {
        tokio::time::sleep(wait).await;
        wait = EVERY;
        let looked = async {
            let db = session.pool.get().await.map_err(DbError::from)?;
            let until = Timestamp::now();
            let since = until.checked_sub(LOOK_BACK).unwrap_or(Timestamp::UNIX_EPOCH);
            untold(&db, since, until, 1).await
        };
        match looked.await {
            Ok(Difference { count, .. }) => {
                session.metrics.paid_without_event(Some(count));
                if count > 0 {
                    tracing::warn!(orders = count, "paid within 7 days by the shop's books, and no event says so: postbackd reconcile");
                }
            }
            Err(ReconcileError::NoBooks) => session.metrics.paid_without_event(None),
            Err(error @ ReconcileError::Query(_)) => {
                session.metrics.paid_without_event(None);
                tracing::warn!(error = %error, "the shop's books cannot be compared with events");
            }
            Err(ReconcileError::Database(error)) if error.is_refusal() => {
                tracing::warn!(error = %error, "the shop's books cannot be compared with events")
            }
            Err(ReconcileError::Database(error)) => return error,
        }
    }
}
