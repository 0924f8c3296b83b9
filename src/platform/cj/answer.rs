//! What CJ answers at once.
//!
//! | answer | verdict |
//! |---|---|
//! | an order is named in `orders` | delivered, or accepted where the commission report is asked later |
//! | `errors` of the mutation or of GraphQL: `Missing Token`, `Invalid Token`, `Unauthorized` | halted |
//! | other `errors` | those that are not in `orders` are sent again in halves; alone: rejected |
//! | a fault while CJ fetched something (unverified: its words), a time "in the future" | retry |
//! | neither orders nor errors | retry |
//! | 401, 403, 404 | halted |
//! | 429, 5xx | retry |
//! | GET: 2xx | delivered, or accepted |

use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::{Value, json};

use super::{
    order::{self, Call},
    settings::Settings,
};
use crate::{
    delivery::Delivery,
    event::Kind,
    outcome::{Outcome, Reply, by_api_status, quote},
};

fn messages(list: Option<&Value>) -> Vec<String> {
    let message = |error: &Value| {
        let fields = error.get("fields").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        let message = error.get("message").and_then(Value::as_str)?;
        Some(if fields.is_empty() { message.to_owned() } else { format!("{message} ({fields})") })
    };
    list.and_then(Value::as_array).into_iter().flatten().filter_map(message).collect()
}

fn said_of_token(messages: &[String]) -> Option<&String> {
    let word = |message: &String| {
        let message = message.to_ascii_lowercase();
        ["missing token", "invalid token", "unauthorized"].iter().any(|word| message.contains(word))
    };
    messages.iter().find(|message| word(message))
}

/// Whether the answer is that the token does not do; why.
pub(super) fn refused_token(reply: &Reply) -> Option<String> {
    if matches!(reply.status, 401 | 403) {
        return Some(format!("the token is refused (HTTP {})", reply.status));
    }
    let body = reply.json()?;
    let inner = body.get("data").and_then(Value::as_object).into_iter().flatten().flat_map(|(_, data)| messages(data.get("errors")));
    let all: Vec<String> = messages(body.get("errors")).into_iter().chain(inner).collect();
    said_of_token(&all).map(|message| format!("CJ says {}", quote(message)))
}

pub(super) fn orders(to: &Settings, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    let all = |outcome: Outcome| vec![outcome; batch.len()];
    if let Some(why) = refused_token(reply) {
        return all(Outcome::halted(why, to.fix()));
    }
    let body = match reply.json() {
        Some(body) if matches!(reply.status, 200..=299 | 400) => body,
        _ => {
            return all(match by_api_status(reply, now, &to.fix()) {
                Outcome::Delivered { .. } => Outcome::retry(format!("HTTP {} without an answer", reply.status)),
                other => other,
            });
        }
    };
    let data = body.get("data").and_then(|data| data.get(batch.first().map_or(Call::Create, Call::of).mutation()));
    let errors: Vec<String> = messages(body.get("errors")).into_iter().chain(messages(data.and_then(|data| data.get("errors")))).collect();
    let named: Vec<&str> = data
        .and_then(|data| data.get("orders"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|order| order.get("orderId")?.as_str())
        .collect();
    let why = errors.iter().map(|error| quote(error)).collect::<Vec<_>>().join("; ");
    // A time that is in the future by their clock will not be for long.
    let fault = errors.iter().any(|error| {
        let error = error.to_ascii_lowercase();
        ["exception while fetching", "internal server", "timed out", "timeout", "temporarily", "in the future"]
            .iter()
            .any(|word| error.contains(word))
    });
    let verdict = |delivery: &Delivery| {
        let id = order::order_id(delivery).unwrap_or_default();
        match (named.contains(&id.as_str()), errors.is_empty()) {
            (true, _) => taken(to, delivery, &id, now),
            (false, true) => Outcome::retry(format!("HTTP {}, and the order is not named in the answer", reply.status)),
            (false, false) if fault => Outcome::retry(why.clone()),
            (false, false) => Outcome::Split { why: why.clone() },
        }
    };
    batch.iter().map(verdict).collect()
}

fn taken(to: &Settings, delivery: &Delivery, id: &str, now: Timestamp) -> Outcome {
    if let Some(refund) = &delivery.refund {
        // Too late is not told: the order stays as it was.
        let late = !to.open_ended && locked(refund.purchase.at).is_some_and(|locked| now >= locked);
        return Outcome::Delivered { answer: None, note: late.then(|| "CJ may have locked the order already, and then drops this".into()) };
    }
    let answer = json!({ "order": id, "action": delivery.said.name, "sent": now.as_second() });
    match &to.company {
        Some(_) => Outcome::Accepted { answer: Some(answer) },
        // Only a purchase is followed by something that asks for it.
        None => Outcome::Delivered {
            answer: (delivery.event.kind == Kind::Purchase).then_some(answer),
            note: to.test.then(|| "validated, not posted".into()),
        },
    }
}

/// Commission Detail: in the standard lifecycle orders lock at 2 am Pacific Standard Time on the 11th of the next month.
fn locked(at: Timestamp) -> Option<Timestamp> {
    let day = at.to_zoned(TimeZone::UTC).date();
    let (year, month) = if day.month() == 12 { (day.year().checked_add(1)?, 1) } else { (day.year(), day.month() + 1) };
    civil::DateTime::new(year, month, 11, 10, 0, 0, 0).ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Received; never more than that.
pub(super) fn pixel(to: &Settings, delivery: &Delivery, reply: &Reply, now: Timestamp) -> Outcome {
    match by_api_status(reply, now, "ask CJ why, and resume") {
        Outcome::Delivered { .. } => taken(to, delivery, &order::order_id(delivery).unwrap_or_default(), now),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_lock_on_the_eleventh_of_the_next_month() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        assert_eq!(locked(at("2026-12-31T23:59:59Z")), Some(at("2027-01-11T10:00:00Z")));
        assert_eq!(locked(at("2026-02-01T00:00:00Z")), Some(at("2026-03-11T10:00:00Z")));
    }
}
