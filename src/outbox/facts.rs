//! What a destination has to know about a batch of events before each attempt: one round trip, index walks only.

use std::{collections::HashMap, sync::Arc};

use tokio_postgres::{Client, Row, types::Type};

use super::{
    ANSWER, DbError, PIN, RawEvent,
    ingest::{REFUND, SALE, once_row, refund_row, sale_row},
    within,
};
use crate::{
    books::{Facts, LastAttempt, Receipt, State},
    event::{Event, Kind, Object},
};

/// One event that is about to be judged.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// The event.
    pub event: &'a Event,
    /// It may have rows of its own at the destination: it was tried, or stands in the stream again.
    pub has_history: bool,
}

/// Reads it all, as of now.
pub async fn read(db: &Client, destination: &str, about: &[About<'_>]) -> Result<Facts, DbError> {
    let of_orders = about.iter().filter(|a| !a.event.kind.is_plain());
    let orders: Vec<&str> = of_orders.map(|a| a.event.reference.as_str()).collect();
    let refunds: Vec<&str> = about.iter().filter(|a| a.event.kind.takes_back()).map(|a| a.event.reference.as_str()).collect();
    // Orders whose purchase's fate here matters.
    let follow = |kind: Kind| kind.takes_back() || kind == Kind::Enrich;
    let following: Vec<&str> = about.iter().filter(|a| follow(a.event.kind)).map(|a| a.event.reference.as_str()).collect();
    let historied: Vec<i64> = about.iter().filter(|a| a.has_history).map(|a| a.event.id).collect();
    let plain = about.iter().filter(|a| a.event.kind.is_plain()).map(|a| (a.event.kind.as_str(), a.event.reference.as_str()));
    let (plain_kinds, plain_refs): (Vec<&str>, Vec<&str>) = plain.unzip();
    let history = !historied.is_empty() || !following.is_empty();

    let sales_sql = format!("select {SALE} from postback.sale where order_ref = any($1)");
    let refunds_sql = format!("select {REFUND} from postback.refund where order_ref = any($1)");
    // Which items earlier refunds took back.
    let told_sql = "select e.id, (e.payload -> 'more')::text from postback.refund r join postback.event e on e.id = r.event
          where r.order_ref = any($1) and jsonb_typeof(e.payload -> 'more') = 'object' and e.payload -> 'more' <> '{}'";
    let once_sql = "select o.kind, o.ref, o.event from unnest($1, $2) k(kind, ref) join postback.once o using (kind, ref)";
    const IDS: &str = "with ids as materialized (
        select unnest($2::bigint[]) as id union select event from postback.sale where order_ref = any($3) and event is not null)";
    let last_sql = format!(
        "{IDS} select ids.id, a.outcome, a.reason,
                (select f.at from postback.attempt f where f.destination = $1 and f.event = ids.id
                    and f.outcome in ('retry', 'delivered', 'accepted', 'unknown') order by f.attempt limit 1)
           from ids cross join lateral (select outcome, reason from postback.attempt
                where destination = $1 and event = ids.id order by attempt desc limit 1) a"
    );
    let receipts_sql = format!(
        "{IDS} select r.event, r.sent::text, r.answer::text, r.uncertain
           from ids join postback.receipt r on r.destination = $1 and r.event = ids.id"
    );
    let purchases_sql = "select e.id, e.kind, e.ref, e.payload::text, e.occurred_at
          from postback.sale s join postback.event e on e.id = s.event where s.order_ref = any($1)";

    let sales = async { if orders.is_empty() { Ok(Vec::new()) } else { db.query_typed(&sales_sql, &[(&orders, Type::TEXT_ARRAY)]).await } };
    let booked = async { if refunds.is_empty() { Ok(Vec::new()) } else { db.query_typed(&refunds_sql, &[(&refunds, Type::TEXT_ARRAY)]).await } };
    let told = async { if refunds.is_empty() { Ok(Vec::new()) } else { db.query_typed(told_sql, &[(&refunds, Type::TEXT_ARRAY)]).await } };
    let once = async {
        if plain_refs.is_empty() {
            return Ok(Vec::new());
        }
        db.query_typed(once_sql, &[(&plain_kinds, Type::TEXT_ARRAY), (&plain_refs, Type::TEXT_ARRAY)]).await
    };
    let of_history = |sql: String| {
        let (historied, following) = (&historied, &following);
        async move {
            if !history {
                return Ok(Vec::new());
            }
            db.query_typed(&sql, &[(&destination, Type::TEXT), (historied, Type::INT8_ARRAY), (following, Type::TEXT_ARRAY)]).await
        }
    };
    let purchases =
        async { if following.is_empty() { Ok(Vec::new()) } else { db.query_typed(purchases_sql, &[(&following, Type::TEXT_ARRAY)]).await } };
    let all = async {
        Ok::<_, DbError>(tokio::join!(
            db.batch_execute(PIN),
            sales,
            booked,
            told,
            once,
            of_history(last_sql),
            of_history(receipts_sql),
            purchases,
            db.batch_execute("commit")
        ))
    };
    let (begun, sales, booked, told, once, last, receipts, purchases, ended) = within(ANSWER, all).await?;
    begun?;
    let mut facts = Facts::default();
    for row in sales? {
        let sale = sale_row(&row, 0)?;
        facts.sales.entry(sale.order_ref.clone()).or_default().push(sale);
    }
    for row in booked? {
        let refund = refund_row(&row)?;
        facts.refunds.insert(refund.event, refund);
    }
    facts.refund_more = told?.iter().filter_map(more_row).collect();
    for row in once? {
        let (kind, reference, event) = once_row(&row)?;
        facts.once.insert((kind, reference), event);
    }
    facts.last = last?.iter().map(last_row).collect::<Result<_, _>>()?;
    facts.receipts = receipts?.iter().map(receipt_row).collect::<Result<_, _>>()?;
    facts.purchases = purchases?.iter().filter_map(purchase_row).collect::<HashMap<_, _>>();
    ended?;
    Ok(facts)
}

fn last_row(row: &Row) -> Result<(i64, LastAttempt), DbError> {
    let state = State::parse(row.get(1)).ok_or_else(|| DbError::Unexpected("unknown outcome in postback.attempt".into()))?;
    Ok((row.get(0), LastAttempt { state, reason: row.get(2), first_sent: row.get(3) }))
}

fn receipt_row(row: &Row) -> Result<(i64, Receipt), DbError> {
    let sent = serde_json::from_str(row.get(1)).map_err(|_| DbError::Unexpected("a row of postback.receipt cannot be read".into()))?;
    let answer = row.get::<_, Option<&str>>(2).and_then(|text| serde_json::from_str(text).ok());
    Ok((row.get(0), Receipt { sent, answer, uncertain: row.get(3) }))
}

fn more_row(row: &Row) -> Option<(i64, Object)> {
    Some((row.get(0), serde_json::from_str(row.get(1)).ok()?))
}

fn purchase_row(row: &Row) -> Option<(i64, Arc<Event>)> {
    let raw = RawEvent::from_row(row, 0);
    raw.decode().ok().map(|event| (raw.id, Arc::new(event)))
}
