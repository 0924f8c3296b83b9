//! What `requestStatus:retrieve` says, some time after a request was accepted: per destination, as counts of events by reason.
//! Which event failed it never says, unless the request held one event for that action.

use jiff::Timestamp;
use serde_json::Value;

use super::{answer, settings::Settings};
use crate::{
    delivery::Awaiting,
    outcome::{Outcome, Reply, quote},
};

const PREFIX: &str = "PROCESSING_ERROR_REASON_";

pub(super) fn verdicts(to: &Settings, awaiting: &[Awaiting], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    // What the request was accepted for cannot be refused any more by an answer to this one, unless nobody may ask.
    match answer::of_all(to, reply, now) {
        // The status of a request may not be there yet.
        _ if reply.status == 404 => {}
        Some(Outcome::Rejected { .. }) | None => {}
        Some(outcome) => return vec![outcome; awaiting.len()],
    }
    let body = reply.json().unwrap_or_default();
    let statuses = body.get("requestStatusPerDestination").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    awaiting.iter().map(|awaiting| verdict(awaiting, statuses)).collect()
}

fn verdict(awaiting: &Awaiting, statuses: &[Value]) -> Outcome {
    let action = awaiting.answer.get("action").and_then(Value::as_str).unwrap_or_default();
    let of_action = |status: &&Value| status.pointer("/destination/productDestinationId").and_then(Value::as_str) == Some(action);
    let only = || statuses.first().filter(|_| statuses.len() == 1);
    let wait = Outcome::Accepted { answer: Some(awaiting.answer.clone()) };
    let Some(status) = statuses.iter().find(of_action).or_else(only) else { return wait };
    let sent = awaiting.answer.get("events").and_then(Value::as_u64).unwrap_or(1);
    let counts = counts(status);
    let words = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ");
    let known = !counts.is_empty() && counts.iter().all(|(reason, _)| reason == "DUPLICATE_TRANSACTION_ID");
    match status.get("requestStatus").and_then(Value::as_str) {
        Some("SUCCESS") => Outcome::delivered(),
        Some("FAILED" | "FAILURE" | "PARTIAL_SUCCESS") if known => Outcome::noted("duplicate"),
        // The reference says FAILED, the guide FAILURE.
        Some("FAILED" | "FAILURE") => Outcome::rejected(format!("not processed: {}", if words.is_empty() { "no reason given" } else { &words })),
        Some("PARTIAL_SUCCESS") => {
            let note = format!("some of {sent} events of its request were not processed ({words}); Google does not say which");
            Outcome::noted(note)
        }
        _ => wait,
    }
}

fn counts(status: &Value) -> Vec<(String, u64)> {
    let counts = status.pointer("/errorInfo/errorCounts").and_then(Value::as_array).into_iter().flatten();
    let count = |count: &Value| count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0);
    let reason = |reason: &str| quote(reason.strip_prefix(PREFIX).unwrap_or(reason));
    counts.filter_map(|one| Some((reason(one.get("reason")?.as_str()?), count(&one["recordCount"])))).collect()
}
