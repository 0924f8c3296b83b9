//! What is to be done with one event at one destination, now. Pure: ledger and history come in as [`Facts`], time as an
//! argument.
//!
//! It is asked before every attempt, because between two attempts a click id may have come, a consent may have been withdrawn,
//! or the order may have been taken back.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    basis,
    books::{Cause, Facts, LastAttempt, Sale, State},
    click,
    delivery::{Delivery, RefundShape, Refunding, Resend, Said},
    destination::Destination,
    event::{Event, Kind, Object, event_id},
    route,
};

/// Begins the reason of a refund that was not told because its purchase was not; such refunds are judged again when the
/// purchase is.
pub const NOT_SENT_HERE: &str = "purchase not sent here";
const NO_SALE: &str = "no sale known";
const SAID_BEFORE: &str = "said before";
/// A purchase that is not settled yet is asked for again then.
const SOON: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The event.
    pub event: &'a Arc<Event>,
    /// Its place in the stream.
    pub seq: i64,
    /// Why it is there again; `None`: its commit.
    pub cause: Option<Cause>,
    /// Requests made for it so far.
    pub tries: u32,
    /// It may have been on the wire without a row that says so (a lost process).
    pub maybe_sent: bool,
    /// Then it was sent at the earliest.
    pub maybe_since: Option<Timestamp>,
    /// The settings were others when it may have been sent.
    pub settings_changed: bool,
    /// A process whose marks were lost with a failover, or stayed behind in another cluster, may have sent it until then, even where
    /// that it is being sent is written first.
    pub lost_until: Option<Timestamp>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// Send it.
    Send {
        /// What to send.
        delivery: Box<Delivery>,
        /// What is said had to be rebuilt after a crash and may differ from what was sent.
        uncertain: bool,
    },
    /// `skipped`, with the reason.
    Skip(String),
    /// `dead`, with the reason.
    Dead(String),
    /// `annulled`, with the reason.
    Annul(String),
    /// `unknown`, with the reason.
    Unknown(String),
    /// Not before then.
    Hold {
        /// When to ask again.
        until: Timestamp,
        /// Why.
        why: String,
    },
    /// Waits for the platform's word on its purchase.
    Park(String),
    /// Judged again and nothing changed: it keeps its state, nothing is recorded.
    Keep,
}

/// Nobody is told of a person who was forgotten before.
const FORGOTTEN: &str = "forgotten";

/// Judges.
pub fn judge(ask: &Question<'_>, facts: &Facts, to: &Destination, now: Timestamp) -> Judgement {
    let event = ask.event;
    let last = facts.last.get(&event.id);
    if let Some(cause) = ask.cause
        && !reopens(cause, event.kind, last, to, now)
    {
        return Judgement::Keep;
    }
    let sales = facts.sales.get(&event.reference).map_or(&[][..], Vec::as_slice);
    match event.kind {
        Kind::Enrich => enrich(sales, facts),
        Kind::Purchase => match sales.iter().find(|sale| sale.event == Some(event.id)) {
            Some(sale) => purchase(ask, sale, facts, to, now),
            None => Judgement::Skip(SAID_BEFORE.into()),
        },
        Kind::Refund => match facts.refunds.get(&event.id) {
            None => Judgement::Skip(SAID_BEFORE.into()),
            Some(booked) => match (booked.generation.and_then(|g| sales.iter().find(|sale| sale.generation == g)), booked.total_after) {
                (Some(sale), Some(total)) => take_back(ask, sale, booked.amount, total, facts, to, now),
                _ => Judgement::Skip(NO_SALE.into()),
            },
        },
        Kind::Retract => match sales.iter().find(|sale| sale.retracted == Some(event.id)) {
            Some(sale) => {
                let value = sale.value.unwrap_or_default();
                take_back(ask, sale, value - sale.refunded, value, facts, to, now)
            }
            None if sales.iter().any(|sale| sale.event.is_some()) => Judgement::Skip(SAID_BEFORE.into()),
            None => Judgement::Skip(NO_SALE.into()),
        },
        _ => match facts.once.get(&(event.kind, event.reference.clone())) {
            Some(holder) if *holder != event.id => Judgement::Skip(SAID_BEFORE.into()),
            _ => tell(ask, None, event.who.clone(), facts, to, now),
        },
    }
}

/// Whether what was decided before is to be decided again.
fn reopens(cause: Cause, kind: Kind, last: Option<&LastAttempt>, to: &Destination, now: Timestamp) -> bool {
    let reason = last.and_then(|last| last.reason.as_deref()).unwrap_or_default();
    let skipped = last.is_some_and(|last| last.state == State::Skipped);
    match cause {
        // Its sale may have been booked before it was first judged here, and told only after.
        Cause::Sale => skipped && (reason == NO_SALE || reason.starts_with(NOT_SENT_HERE)),
        Cause::Enrich => skipped && (route::depends_on_person(reason) || reason.starts_with(NOT_SENT_HERE)),
        Cause::Reopen => skipped && reason.starts_with(NOT_SENT_HERE) || last.is_none(),
        // Asked for by a person, but never a second time where the platform would count it twice.
        Cause::Replay => {
            let told = last.filter(|last| matches!(last.state, State::Delivered | State::Accepted | State::Unknown));
            match (told, to.platform.resend(kind)) {
                (None, _) | (_, Resend::Safe) => true,
                (Some(_), Resend::Never) => false,
                (Some(last), Resend::Within(window)) => last.first_sent.is_some_and(|first| now.duration_since(first).unsigned_abs() <= window),
            }
        }
    }
}

fn enrich(sales: &[Sale], facts: &Facts) -> Judgement {
    let told = sales.iter().filter_map(|sale| facts.last.get(&sale.event?)).any(|last| matches!(last.state, State::Delivered | State::Accepted));
    Judgement::Skip(if told { "already sent" } else { "recorded for the purchase" }.into())
}

fn purchase(ask: &Question<'_>, sale: &Sale, facts: &Facts, to: &Destination, now: Timestamp) -> Judgement {
    // Only what was provably never on the wire can be annulled; else it is settled first and taken back after.
    if sale.taken_back() && ask.tries == 0 && !ask.maybe_sent {
        return Judgement::Annul(if sale.retracted.is_some() { "order retracted" } else { "refunded in full" }.into());
    }
    tell(ask, Some(sale), sale.who_with(&ask.event.who), facts, to, now)
}

/// A purchase or a plain event.
fn tell(ask: &Question<'_>, sale: Option<&Sale>, who: Object, facts: &Facts, to: &Destination, now: Timestamp) -> Judgement {
    let event = ask.event;
    if event.forgotten {
        // Whether the platform has it decides about its refunds.
        return if ask.maybe_sent { Judgement::Unknown(FORGOTTEN.into()) } else { Judgement::Skip(FORGOTTEN.into()) };
    }
    let generation = sale.map_or(1, |sale| sale.generation);
    let frozen = facts.receipts.get(&event.id);
    // What was said once is said again with the click ids and the value of then; but a consent that was withdrawn since ends it.
    let unwanted = if frozen.is_some() { route::without_consent(&who, to) } else { route::skip(event, &who, to) };
    if let Some(reason) = unwanted {
        return Judgement::Skip(reason);
    }
    let Some(name) = to.platform.name_of(event.kind) else { return Judgement::Skip(format!("{} is not mapped to a conversion here", event.kind)) };
    if let Some(verdict) = timing(ask, &who, facts, to, now) {
        return verdict;
    }
    let said = match frozen {
        Some(receipt) => receipt.sent.clone(),
        None => match say(event, &who, name, to) {
            Ok(said) => said,
            Err(why) => return Judgement::Dead(why),
        },
    };
    let mut who = who;
    if frozen.is_some() {
        freeze_click(&mut who, &said);
    }
    let sale_changed = sale.and_then(|sale| sale.who_seq).is_some_and(|seq| seq > ask.seq);
    let uncertain = ask.maybe_sent && frozen.is_none() && (ask.settings_changed || sale_changed);
    let delivery = Delivery {
        event: Arc::clone(event),
        event_id: event_id(event.kind, &event.reference, None, generation),
        generation,
        who,
        said,
        refund: None,
        attempt: ask.tries + 1,
    };
    within_its_time(delivery, uncertain, to, now)
}

/// A refund, or a retract of what is left.
fn take_back(ask: &Question<'_>, sale: &Sale, amount: Decimal, total: Decimal, facts: &Facts, to: &Destination, now: Timestamp) -> Judgement {
    let event = ask.event;
    let adapter = to.platform.facts();
    if !to.kinds.contains(&Kind::Refund) {
        return Judgement::Skip("refund not wanted here".into());
    }
    if adapter.refund == RefundShape::None {
        return Judgement::Skip("platform takes no refunds".into());
    }
    let Some(purchase_id) = sale.event else { return Judgement::Skip(NO_SALE.into()) };
    let Some(last) = facts.last.get(&purchase_id) else { return Judgement::Skip(NOT_SENT_HERE.into()) };
    match last.state {
        State::Delivered => {}
        State::Accepted if adapter.accepted_is_enough => {}
        State::Accepted => return Judgement::Park("waits for the platform's word on the purchase".into()),
        // Judged again when a person has found out; it must not hold its lane until then.
        State::Unknown => return Judgement::Skip(format!("{NOT_SENT_HERE} as far as known; it waits for \"postbackd unknown resolve\"")),
        State::Annulled => return Judgement::Annul("its purchase was never sent".into()),
        State::Skipped | State::Dead => {
            let why = last.reason.as_deref().unwrap_or(last.state.as_str());
            return Judgement::Skip(format!("{NOT_SENT_HERE}: {why}"));
        }
        State::Retry => return Judgement::Hold { until: now + SOON, why: "waits for its purchase".into() },
    }
    let purchase = facts.purchases.get(&purchase_id);
    let receipt = facts.receipts.get(&purchase_id);
    let who = sale.who_with(purchase.map_or(&Object::new(), |purchase| &purchase.who));
    let told = match (receipt, purchase) {
        (Some(receipt), _) => receipt.sent.clone(),
        (None, Some(purchase)) => match say(purchase, &who, to.platform.name_of(Kind::Purchase).unwrap_or_default(), to) {
            Ok(said) => said,
            Err(why) => return Judgement::Dead(why),
        },
        (None, None) => return Judgement::Dead("its purchase is past retention and left no receipt".into()),
    };
    let (value, said_value) = (sale.value.unwrap_or_default(), told.value.unwrap_or_default());
    let digits = told.currency.map_or(2, |currency| currency.exponent());
    let left = |refunded: Decimal| basis::remaining(said_value, value, refunded, digits);
    let (before, remaining) = (left(total - amount), left(total));
    if amount.is_zero() || before == remaining && !said_value.is_zero() {
        return Judgement::Skip("nothing left to take back".into());
    }
    let full = event.kind == Kind::Retract || total >= value;
    if adapter.refund == RefundShape::Cancel && !full {
        return Judgement::Skip("platform cancels whole orders only".into());
    }
    if let Some(verdict) = timing(ask, &who, facts, to, now) {
        return verdict;
    }
    let mut who = who;
    freeze_click(&mut who, &told);
    let refunding = Refunding {
        refund_ref: event.refund_ref.clone(),
        amount: before - remaining,
        total: said_value - remaining,
        remaining,
        full,
        purchase_event_id: event_id(Kind::Purchase, &event.reference, None, sale.generation),
        purchase_more: purchase.map(|purchase| purchase.more.clone()).unwrap_or_default(),
        earlier: earlier(event, sale, total, facts),
        answer: receipt.and_then(|receipt| receipt.answer.clone()),
        uncertain: receipt.is_none_or(|receipt| receipt.uncertain),
        purchase: told,
    };
    let said = match facts.receipts.get(&event.id) {
        Some(receipt) => receipt.sent.clone(),
        None => Said {
            value: Some(refunding.amount),
            currency: refunding.purchase.currency,
            at: event.occurred_at,
            click: refunding.purchase.click.clone(),
            name: to.platform.name_of(Kind::Refund),
        },
    };
    let delivery = Delivery {
        event: Arc::clone(event),
        event_id: event_id(event.kind, &event.reference, event.refund_ref.as_deref(), sale.generation),
        generation: sale.generation,
        who,
        said,
        refund: Some(refunding),
        attempt: ask.tries + 1,
    };
    within_its_time(delivery, false, to, now)
}

/// What was told with the refunds that were booked on a sale before one, in the order of booking. It does not change between two
/// attempts, however many refunds come after: what finds nothing left (all after a retract) is booked with nothing and told to nobody.
fn earlier(event: &Event, sale: &Sale, total: Decimal, facts: &Facts) -> Vec<Object> {
    let of_sale = facts
        .refunds
        .values()
        .filter(|refund| refund.order_ref == sale.order_ref && refund.generation == Some(sale.generation) && !refund.amount.is_zero());
    let mut before: Vec<(Decimal, i64)> = of_sale.filter_map(|refund| Some((refund.total_after?, refund.event))).collect();
    before.retain(|(after, id)| *id != event.id && (*after < total || *after == total && *id < event.id));
    before.sort_unstable();
    before.iter().filter_map(|(_, id)| facts.refund_more.get(id).cloned()).collect()
}

/// Sent, unless the platform itself would not take it yet, or not any more: one event out of its time may spoil the request of many.
fn within_its_time(delivery: Delivery, uncertain: bool, to: &Destination, now: Timestamp) -> Judgement {
    if to.platform.expires(&delivery).is_some_and(|expires| now >= expires) {
        let age = crate::retry::words(now.duration_since(delivery.said.at).unsigned_abs());
        let why = format!("too old: {age}, and {} does not take it any more", to.platform.platform());
        // Returns after weeks are daily business and nobody can do anything about them.
        return if delivery.refund.is_some() { Judgement::Skip(why) } else { Judgement::Dead(why) };
    }
    match to.platform.not_before(&delivery) {
        Some((until, why)) if until > now => Judgement::Hold { until, why },
        _ => Judgement::Send { delivery: Box::new(delivery), uncertain },
    }
}

/// Too old, too early, or too late to repeat.
fn timing(ask: &Question<'_>, who: &Object, facts: &Facts, to: &Destination, now: Timestamp) -> Option<Judgement> {
    let event = ask.event;
    let held_until = held_until(event, who, to);
    if to.platform.resend(event.kind) == Resend::Never && ask.lost_until.is_some_and(|lost| held_until.is_none_or(|held| held <= lost)) {
        return Some(Judgement::Unknown("it may have been sent before the database moved, and the platform counts every request".into()));
    }
    let age = now.duration_since(event.occurred_at);
    if !age.is_negative() && age.unsigned_abs() > to.retry.give_up_after {
        return Some(Judgement::Dead(format!("older than {} takes", crate::retry::words(to.retry.give_up_after))));
    }
    // A person who says "send it again" sets the tries to none: then it is their word that counts.
    let recorded = facts.last.get(&event.id).and_then(|last| last.first_sent).filter(|_| ask.tries > 0);
    let unrecorded = ask.maybe_since.filter(|_| ask.maybe_sent);
    if let Resend::Within(window) = to.platform.resend(event.kind)
        && let Some(first) = recorded.or(unrecorded)
        && now.duration_since(first).unsigned_abs() > window
    {
        return Some(Judgement::Unknown(format!("first tried more than {} ago, the platform would count it twice", crate::retry::words(window))));
    }
    let until = held_until.filter(|until| ask.tries == 0 && *until > now)?;
    Some(Judgement::Hold { until, why: format!("held until {} after the click", crate::retry::words(to.hold)) })
}

/// Not to be sent before; `None`: at once.
fn held_until(event: &Event, who: &Object, to: &Destination) -> Option<Timestamp> {
    if to.hold.is_zero() || event.kind.takes_back() {
        return None;
    }
    let from = click::time(who).unwrap_or(event.occurred_at);
    from.checked_add(jiff::SignedDuration::try_from(to.hold).ok()?).ok()
}

fn say(event: &Event, who: &Object, name: String, to: &Destination) -> Result<Said, String> {
    let value = match (event.value, event.currency) {
        (Some(gross), Some(currency)) => Some(basis::value(gross, currency, &event.more, to.basis)?),
        (value, _) => value,
    };
    Ok(Said { value, currency: event.currency, at: event.occurred_at, click: click_ids(who, &to.click), name: Some(name) })
}

/// Those that are known and those that the destination asks for, as text: some shops keep digits as a number.
fn click_ids(who: &Object, own: &[String]) -> BTreeMap<String, String> {
    let wanted = click::known().chain(own.iter().map(String::as_str));
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    wanted.filter_map(|key| Some((key.to_owned(), text(who.get(key)?)?))).collect()
}

/// Later attempts and refunds carry the click ids that were said first, no others.
fn freeze_click(who: &mut Object, said: &Said) {
    who.retain(|key, _| !click::is_known(key) || said.click.contains_key(key));
    for (key, value) in &said.click {
        who.insert(key.clone(), Value::String(value.clone()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::books::Refund;

    #[test]
    fn ids_that_were_said_stay_whatever_is_enriched() {
        let object = |value: Value| value.as_object().cloned().expect("an object");
        let first = object(json!({"gclid": "g", "ga_session_id": 1_794_999_000, "own": "o", "fbclid": null, "email": "a@example.com"}));
        let said = Said { value: None, currency: None, at: Timestamp::UNIX_EPOCH, click: click_ids(&first, &["own".into()]), name: None };
        let mut later = object(json!({"gclid": "other", "fbclid": "f", "ga_client_id": "1.2", "email": "b@example.com"}));
        freeze_click(&mut later, &said);
        assert_eq!(Value::from(later), json!({"gclid": "g", "ga_session_id": "1794999000", "own": "o", "email": "b@example.com"}));
    }

    #[test]
    fn what_a_refund_that_found_nothing_left_names_was_told_to_nobody() {
        let sale = Sale { order_ref: "1".into(), generation: 1, ..Sale::default() };
        let retract = Event::decode(3, "retract", "1", "{}", Timestamp::UNIX_EPOCH).expect("a retract");
        let refund = |event: i64, amount: i64, total: i64| {
            let (amount, total_after) = (Decimal::from(amount), Some(Decimal::from(total)));
            (event, Refund { order_ref: "1".into(), refund_ref: event.to_string(), event, generation: Some(1), amount, total_after })
        };
        let more = |id: &str| Object::from_iter([("id".to_owned(), id.into())]);
        let facts =
            Facts { refunds: [refund(2, 5, 5), refund(4, 0, 5)].into(), refund_more: [(2, more("a")), (4, more("b"))].into(), ..Facts::default() };
        assert_eq!(earlier(&retract, &sale, Decimal::from(10), &facts), [more("a")]);
    }
}
