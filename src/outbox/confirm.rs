//! What platforms took and have not said the last word on.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::{Client, types::Type};

use super::DbError;
use crate::{delivery::Awaiting, event::Kind};

/// An accepted delivery whose verdict is due to be asked for.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its entry.
    pub seq: i64,
    /// Its lane.
    pub order_ref: Arc<str>,
    /// Requests made for it.
    pub attempts: i32,
    /// What it is; `None`: retention took the event.
    pub kind: Option<Kind>,
    /// When it was accepted.
    pub since: Timestamp,
    /// What the adapter needs to ask.
    pub awaiting: Awaiting,
}

/// The first of them, longest due first.
pub async fn due(db: &Client, destination: &str, most: i64) -> Result<Vec<Due>, DbError> {
    let sql = "
      select p.event, p.seq, p.order_ref, p.attempts, r.sent::text, r.answer::text, coalesce(a.at, p.since), e.kind
        from postback.pending p
        join postback.receipt r on r.destination = p.destination and r.event = p.event
        left join postback.event e on e.id = p.event
        left join lateral (select max(at) as at from postback.attempt a
               where a.destination = p.destination and a.event = p.event and a.outcome = 'accepted') a on true
       where p.destination = $1 and p.state = 'accepted' and r.answer is not null
         and (p.next_at is null or p.next_at <= clock_timestamp())
       order by p.next_at nulls first, p.seq limit $2";
    let rows = db.query_typed(sql, &[(&destination, Type::TEXT), (&most, Type::INT8)]).await?;
    let due = |row: &tokio_postgres::Row| {
        let unreadable = |_| DbError::Unexpected("a row of postback.receipt cannot be read".into());
        let reference: &str = row.get(2);
        Ok(Due {
            seq: row.get(1),
            order_ref: Arc::from(reference),
            attempts: row.get(3),
            kind: row.get::<_, Option<&str>>(7).and_then(|kind| kind.parse().ok()),
            since: row.get(6),
            awaiting: Awaiting {
                event: row.get(0),
                reference: reference.to_owned(),
                said: serde_json::from_str(row.get(4)).map_err(unreadable)?,
                answer: serde_json::from_str(row.get(5)).map_err(unreadable)?,
            },
        })
    };
    rows.iter().map(due).collect()
}
