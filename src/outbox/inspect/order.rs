//! One order: what happened, and what each platform got.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, types::Type};

use super::super::DbError;

/// An order (or lead, account ...) as the shop calls it.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Order {
    pub order: String,
    /// By generation; empty for what is no order, and until the purchase was read.
    pub sales: Vec<Sale>,
    /// In the order in which they happened.
    pub events: Vec<Event>,
}

/// The ledger's view of it.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Sale {
    pub generation: i32,
    /// Decimal text; `None`: a click came before its purchase.
    pub value: Option<String>,
    pub currency: Option<String>,
    pub refunded: String,
    pub retracted: bool,
}

/// One event of it.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Event {
    pub id: i64,
    pub kind: String,
    pub refund_ref: Option<String>,
    pub occurred_at: Timestamp,
    /// Its (last) place in the stream; `None`: not read yet.
    pub seq: Option<i64>,
    /// By destination.
    pub deliveries: Vec<Delivery>,
}

/// What became of it at one destination.
#[derive(Debug, Serialize)]
pub struct Delivery {
    /// Where.
    pub destination: String,
    /// delivered, accepted, skipped, dead, annulled, unknown; or on its way: waiting, retrying, held, parked, sending; or
    /// `before its start`, `nothing to tell`.
    pub state: String,
    /// When that was.
    pub at: Option<Timestamp>,
    /// HTTP status of the last answer.
    pub status: Option<i32>,
    /// In words.
    pub reason: Option<String>,
    /// Rows of `postback.attempt`.
    pub attempts: i64,
    /// When the next step is due; `None`: as soon as its turn comes, when another event is done, or when a person acts.
    pub next_at: Option<Timestamp>,
}

/// `None` when nothing ever happened under this reference. Events carry no index on the reference, because the shop's transactions
/// would pay for it: they are found by what the ledger and the walk over the stream know of it.
pub async fn order(db: &Client, reference: &str) -> Result<Option<Order>, DbError> {
    let events = "
      select e.id, e.kind, (select r.refund_ref from postback.refund r where r.order_ref = e.ref and r.event = e.id limit 1), e.occurred_at,
             (select max(l.seq) from postback.log l where l.event = e.id)
        from postback.event e
       where e.id in (select o.event from postback.of_order($1) o) order by e.id";
    let sales =
        "select generation, value::text, currency, refunded::text, retracted is not null from postback.sale where order_ref = $1 order by generation";
    let key = [(&reference as &(dyn tokio_postgres::types::ToSql + Sync), Type::TEXT)];
    let (events, sales) = tokio::try_join!(db.query_typed(events, &key), db.query_typed(sales, &key))?;
    if events.is_empty() && sales.is_empty() {
        return Ok(None);
    }
    let ids: Vec<i64> = events.iter().map(|row| row.get(0)).collect();
    let mut deliveries = deliveries(db, &ids).await?;
    let event = |row: &tokio_postgres::Row| Event {
        id: row.get(0),
        kind: row.get(1),
        refund_ref: row.get(2),
        occurred_at: row.try_get(3).unwrap_or(Timestamp::UNIX_EPOCH),
        seq: row.get(4),
        deliveries: deliveries.remove(&row.get(0)).unwrap_or_default(),
    };
    let sale = |row: &tokio_postgres::Row| Sale {
        generation: row.get(0),
        value: row.get(1),
        currency: row.get(2),
        refunded: row.get(3),
        retracted: row.get(4),
    };
    Ok(Some(Order { order: reference.to_owned(), sales: sales.iter().map(sale).collect(), events: events.iter().map(event).collect() }))
}

async fn deliveries(db: &Client, events: &[i64]) -> Result<BTreeMap<i64, Vec<Delivery>>, DbError> {
    let sql = "
      select e.id, p.destination,
             coalesce(w.state, a.outcome, case when l.seq is null then 'not read yet' when l.seq <= p.started then 'before its start'
                                               when not (p.destination = any (l.only_at)) then 'nothing to tell'
                                               when l.seq > p.seq then 'waiting' else 'nothing to tell' end),
             coalesce(w.since, a.at), a.status, coalesce(w.reason, a.reason), coalesce(a.attempts, 0), w.next_at
        from unnest($1::bigint[]) e(id) cross join postback.position p
        left join postback.pending w on w.destination = p.destination and w.event = e.id
        left join lateral (select t.outcome, t.at, t.status, t.reason, count(*) over () as attempts from postback.attempt t
                            where t.destination = p.destination and t.event = e.id order by t.attempt desc limit 1) a on true
        left join lateral (select x.seq, x.only_at from postback.log x where x.event = e.id order by x.seq limit 1) l on true
       order by e.id, p.destination";
    let rows = db.query_typed(sql, &[(&events, Type::INT8_ARRAY)]).await?;
    let mut found: BTreeMap<i64, Vec<Delivery>> = BTreeMap::new();
    for row in &rows {
        found.entry(row.get(0)).or_default().push(Delivery {
            destination: row.get(1),
            state: row.get(2),
            at: row.get(3),
            status: row.get(4),
            reason: row.get(5),
            attempts: row.get(6),
            next_at: row.try_get(7).unwrap_or(None),
        });
    }
    Ok(found)
}

/// The newest event of each kind among the last thousand: something to preview.
pub async fn recent_events(db: &Client) -> Result<Vec<i64>, DbError> {
    let sql = "select max(id) from (select id, kind from postback.event order by id desc limit 1000) e group by kind order by 1";
    Ok(db.query_typed(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}
