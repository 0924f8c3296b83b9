//! What an answer to `events:ingest` means.
//!
//! | status, reason | verdict |
//! |---|---|
//! | 200, `requestId` | accepted; in test mode (`validateOnly`) delivered |
//! | 400, violations that name `events[n]` | those rejected, the others sent again without them |
//! | 400, a reason about account, action or terms | halted |
//! | `CONVERSION_ACTION_TOO_RECENTLY_CREATED` | retry in 6 hours |
//! | 400, nothing named | split; alone: rejected |
//! | 401, 403 | halted |
//! | 429, 5xx | retry |
//!
//! Reasons: google-ads-datamanager 0.9.4 `types/error.py`. Where violations stand in the answer and how they name an event was seen
//! live (googleapis/google-cloud-php issue 9201).

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{event, settings::Settings};
use crate::{
    delivery::Delivery,
    outcome::{Outcome, Reply, by_api_status, by_index, quote},
};

const SIX_HOURS: Duration = Duration::from_secs(6 * 3_600);
/// Everything sent to this destination would get the same.
const HALTING: [&str; 10] = [
    "PERMISSION_DENIED",
    "TERMS_AND_CONDITIONS_NOT_SIGNED",
    "INVALID_DESTINATION",
    "INVALID_CONVERSION_ACTION_ID",
    "INVALID_CONVERSION_ACTION_TYPE",
    "NOT_ALLOWLISTED",
    "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED",
    "SERVICE_DISABLED",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
    "USER_PROJECT_DENIED",
];

pub(super) fn verdicts(to: &Settings, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    if let Some(outcome) = of_all(to, reply, now) {
        return vec![outcome; batch.len()];
    }
    let body = reply.json().unwrap_or_default();
    if reply.status != 400 {
        let Some(id) = body.get("requestId").and_then(Value::as_str).filter(|id| !id.is_empty()) else {
            let note = "validated".to_owned();
            let validated = to.test && body.is_object() && body.get("error").is_none();
            let without = Outcome::retry(format!("HTTP {}, but no answer of the Data Manager API", reply.status));
            return vec![if validated { Outcome::noted(note) } else { without }; batch.len()];
        };
        return batch.iter().map(|delivery| accepted(to, delivery, id, batch)).collect();
    }
    let named = violations(&body);
    if !named.keys().any(|n| *n < batch.len()) {
        return vec![Outcome::Split { why: words(&body) }; batch.len()];
    }
    let rest = Outcome::Split { why: "refused for another event of its request".into() };
    by_index(batch.len(), named.into_iter().map(|(n, why)| (n, Outcome::rejected(why))), &rest)
}

fn accepted(to: &Settings, delivery: &Delivery, id: &str, batch: &[Delivery]) -> Outcome {
    if to.test {
        return Outcome::noted("validated");
    }
    let action = event::action(delivery).unwrap_or_default();
    let id_of_sale = event::transaction_id(to, delivery).unwrap_or_default();
    let same = batch.iter().filter(|other| event::action(other).unwrap_or_default() == action).count();
    Outcome::Accepted { answer: Some(json!({ "request_id": id, "action": action, "events": same, "transaction_id": id_of_sale })) }
}

/// The verdict where it is the same for every event and no event's fault; `None`: look closer.
pub(super) fn of_all(to: &Settings, reply: &Reply, now: Timestamp) -> Option<Outcome> {
    let body = reply.json().unwrap_or_default();
    let reasons = reasons(&body);
    let secret = to.grant.secret().name();
    if let Some(reason) = reasons.iter().find(|reason| HALTING.contains(&reason.as_str()) || reason.starts_with("DESTINATION_ACCOUNT_")) {
        let fix = match reason.as_str() {
            "TERMS_AND_CONDITIONS_NOT_SIGNED" => {
                "accept the customer data terms in Google Ads (Goals > Settings), or set user_data = \"never\", reload and resume".to_owned()
            }
            "INVALID_CONVERSION_ACTION_ID" | "INVALID_CONVERSION_ACTION_TYPE" => {
                "correct actions: ids of import-from-clicks actions of the account that owns them, reload and resume".to_owned()
            }
            _ => format!("give the user of {secret} access to account {}, correct account and login_account, reload and resume", to.account),
        };
        return Some(Outcome::halted(format!("Google says {reason}: {}", words(&body)), fix));
    }
    if reasons.iter().any(|reason| reason == "CONVERSION_ACTION_TOO_RECENTLY_CREATED") {
        // Other actions may be old enough.
        return Some(Outcome::Retry { why: "the conversion action is too new".into(), after: Some(SIX_HOURS), throttled: false });
    }
    match reply.status {
        200..=299 | 400 => None,
        _ => Some(by_api_status(reply, now, &format!("renew {secret} (an OAuth app in testing gives refresh tokens of 7 days), reload and resume"))),
    }
}

fn details(body: &Value) -> impl Iterator<Item = &Value> {
    body.pointer("/error/details").and_then(Value::as_array).into_iter().flatten()
}

fn field_violations(body: &Value) -> impl Iterator<Item = &Value> {
    details(body).filter_map(|detail| detail.get("fieldViolations")?.as_array()).flatten()
}

/// ErrorInfo's, those of field violations, and the status of the whole.
fn reasons(body: &Value) -> Vec<String> {
    let found = details(body).chain(field_violations(body)).filter_map(|part| part.get("reason"));
    found.chain(body.pointer("/error/status")).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// By event: what is wrong with it.
fn violations(body: &Value) -> BTreeMap<usize, String> {
    let mut found = BTreeMap::new();
    for violation in field_violations(body) {
        let text = |key: &str| violation.get(key).and_then(Value::as_str).unwrap_or_default();
        let Some(index) = index(text("field")) else { continue };
        let field = text("field").rsplit("].").next().unwrap_or_default();
        let why = format!("{} {}: {}", text("reason"), quote(field), quote(text("description")));
        found.entry(index).or_insert_with(|| why.trim().to_owned());
    }
    found
}

/// `events.events[12].event_source`, or `events[12]`: 12.
fn index(field: &str) -> Option<usize> {
    let (_, rest) = field.rsplit_once("events[")?;
    rest.split_once(']')?.0.parse().ok()
}

fn words(body: &Value) -> String {
    quote(body.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given"))
}
