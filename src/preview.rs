//! What would be sent: the same judging and the same adapters as the daemon's, and nothing on the wire.

mod apart;
mod mask;

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use tokio_postgres::{Client, types::Type};

use crate::{
    books::{Changes, Facts, Sale},
    delivery::Delivery,
    destination::Destination,
    event::{Event, Kind},
    judge::{Judgement, Question, judge},
    ledger::Ledger,
    outbox::{
        DbError,
        facts::{self, About},
        ingest::know,
        stream,
    },
    platform::{Refusal, Settings},
    request::Request,
};

pub use mask::masked;

/// How a request is built for looking at: [`plain`], or [`masked`].
pub type Build = fn(&Settings, &Delivery, Timestamp) -> Result<Request, Refusal>;

/// As it would be sent.
pub fn plain(platform: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Request, Refusal> {
    platform.request(std::slice::from_ref(delivery), now)
}

/// One event at one destination.
#[derive(Debug)]
pub struct Previewed {
    /// Destination name.
    pub destination: Arc<str>,
    /// Event id; 0 for an event from a file.
    pub event: i64,
    /// What it is.
    pub kind: Option<Kind>,
    /// The order, lead ...
    pub reference: String,
    /// The request, or why there would be none (`skipped: no gclid`).
    pub result: Result<Request, String>,
}

/// Events of an order, oldest first.
pub async fn events_of(db: &Client, reference: &str) -> Result<Vec<i64>, DbError> {
    let rows = db
        .query_typed("select e.id from postback.of_order($1) o join postback.event e on e.id = o.event order by e.id", &[(&reference, Type::TEXT)])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Events that the database holds, by id, at each destination, as of now. Unknown ids are left out.
pub async fn of_database(
    db: &Client,
    destinations: &[Arc<Destination>],
    ids: &[i64],
    now: Timestamp,
    build: Build,
) -> Result<Vec<Previewed>, DbError> {
    let looked: Vec<(i64, Timestamp)> = ids.iter().map(|id| (*id, now)).collect();
    of_times(db, destinations, &looked, false, build).await
}

/// Past events as if nobody had told them yet, by what is known of their orders today, each at the time given with it; what was held
/// back then, when its time came.
pub async fn of_past(db: &Client, destinations: &[Arc<Destination>], events: &[(i64, Timestamp)]) -> Result<Vec<Previewed>, DbError> {
    of_times(db, destinations, events, true, plain).await
}

async fn of_times(
    db: &Client,
    destinations: &[Arc<Destination>],
    looked: &[(i64, Timestamp)],
    afresh: bool,
    build: Build,
) -> Result<Vec<Previewed>, DbError> {
    let ids: Vec<i64> = looked.iter().map(|(id, _)| *id).collect();
    let events = stream::events(db, &ids).await?;
    let (unread, changes) = as_if_read(db, &events).await?;
    let mut all = Vec::new();
    for to in destinations {
        let about: Vec<About<'_>> = events.values().filter_map(|event| Some(About { event: event.as_ref().ok()?, has_history: true })).collect();
        let mut facts = facts::read(db, &to.name, &about).await?;
        overlay(&mut facts, &unread, &changes);
        if afresh {
            // What was said is said again as it was: a changed filter or value would not show.
            facts.receipts.clear();
            facts.last.clear();
        }
        told_before(&mut facts);
        for (id, now) in looked {
            match events.get(id) {
                Some(Ok(event)) => all.push(if afresh { in_time(to, event, &facts, *now, build) } else { at(to, event, &facts, *now, build) }),
                Some(Err(why)) => all.push(Previewed {
                    destination: Arc::clone(&to.name),
                    event: *id,
                    kind: None,
                    reference: String::new(),
                    result: Err(format!("dead: {why}")),
                }),
                None => {}
            }
        }
    }
    Ok(all)
}

/// Events that no daemon has read yet, and what they will change in the ledger when one does.
async fn as_if_read(db: &Client, events: &HashMap<i64, Result<Arc<Event>, String>>) -> Result<(Vec<Arc<Event>>, Changes), DbError> {
    let read = stream::known(db, &events.keys().copied().collect::<Vec<i64>>()).await?;
    let mut unread: Vec<Arc<Event>> = events.values().flatten().filter(|event| !read.contains(&event.id)).cloned().collect();
    unread.sort_by_key(|event| event.id);
    let mut ledger = Ledger::at(0);
    ledger.know(know(db, unread.iter().map(Arc::as_ref)).await?);
    unread.iter().for_each(|event| ledger.fold(event));
    Ok((unread, ledger.into_changes()))
}

fn overlay(facts: &mut Facts, unread: &[Arc<Event>], changes: &Changes) {
    for sale in changes.new_sales.iter().chain(&changes.sales) {
        let sales = facts.sales.entry(sale.order_ref.clone()).or_default();
        sales.retain(|there| there.generation != sale.generation);
        sales.push(sale.clone());
        sales.sort_by_key(|sale| sale.generation);
    }
    facts.refunds.extend(changes.refunds.iter().map(|refund| (refund.event, refund.clone())));
    let refunds = unread.iter().filter(|event| event.kind == Kind::Refund && !event.more.is_empty());
    facts.refund_more.extend(refunds.map(|event| (event.id, event.more.clone())));
    facts.once.extend(changes.once.iter().map(|(kind, reference, event)| ((*kind, reference.clone()), *event)));
    facts.purchases.extend(unread.iter().filter(|event| event.kind == Kind::Purchase).map(|event| (event.id, Arc::clone(event))));
}

/// A refund is shown as it would be told once its purchase is.
fn told_before(facts: &mut Facts) {
    for purchase in facts.purchases.keys() {
        facts.last.entry(*purchase).or_insert(crate::books::LastAttempt { state: crate::books::State::Delivered, reason: None, first_sent: None });
    }
}

/// An event that is in no database: as if it had just been committed.
pub fn of_event(destinations: &[Arc<Destination>], event: &Arc<Event>, now: Timestamp) -> Vec<Previewed> {
    let mut facts = Facts::default();
    if event.kind == Kind::Purchase {
        let sale = Sale {
            order_ref: event.reference.clone(),
            generation: 1,
            event: Some(event.id),
            value: event.value,
            currency: event.currency,
            ..Sale::default()
        };
        facts.sales.insert(event.reference.clone(), vec![sale]);
    }
    destinations.iter().map(|to| at(to, event, &facts, now, plain)).collect()
}

fn at(to: &Arc<Destination>, event: &Arc<Event>, facts: &Facts, now: Timestamp, build: Build) -> Previewed {
    told(to, event, judge(&question(event), facts, to, now), now, build)
}

fn in_time(to: &Arc<Destination>, event: &Arc<Event>, facts: &Facts, now: Timestamp, build: Build) -> Previewed {
    match judge(&question(event), facts, to, now) {
        Judgement::Hold { until, .. } => at(to, event, facts, until.max(now), build),
        judged => told(to, event, judged, now, build),
    }
}

fn question(event: &Arc<Event>) -> Question<'_> {
    Question { event, seq: 0, cause: None, tries: 0, maybe_sent: false, maybe_since: None, settings_changed: false, lost_until: None }
}

fn told(to: &Arc<Destination>, event: &Arc<Event>, judged: Judgement, now: Timestamp, build: Build) -> Previewed {
    let result = match judged {
        Judgement::Send { delivery, .. } => match build(&to.platform, &delivery, now) {
            Ok(request) => Ok(request),
            Err(Refusal::Skip(reason)) => Err(format!("skipped: {reason}")),
            Err(Refusal::Dead(reason)) => Err(format!("dead: {reason}")),
        },
        Judgement::Skip(reason) => Err(format!("skipped: {reason}")),
        Judgement::Dead(reason) => Err(format!("dead: {reason}")),
        Judgement::Annul(reason) => Err(format!("annulled: {reason}")),
        Judgement::Unknown(reason) => Err(format!("unknown: {reason}")),
        Judgement::Hold { until, why } => Err(format!("held until {until}: {why}")),
        Judgement::Park(reason) => Err(format!("parked: {reason}")),
        Judgement::Keep => Err("keeps its state".into()),
    };
    Previewed { destination: Arc::clone(&to.name), event: event.id, kind: Some(event.kind), reference: event.reference.clone(), result }
}
