//! What an answer means, item by item.
//!
//! | status, error | verdict |
//! |---|---|
//! | 200, no error names the item | delivered; in test mode (`validateOnly`) validated |
//! | ORDER_ID_ALREADY_IN_USE, CLICK_CONVERSION_ALREADY_EXISTS, CONVERSION_ALREADY_RETRACTED | delivered, known already |
//! | CLICK_NOT_FOUND; EVENT_NOT_FOUND without a click id | delivered: told, and no click of theirs, as of most orders |
//! | TOO_RECENT_EVENT, TOO_RECENT_CONVERSION_ACTION; TOO_RECENT_CONVERSION | retry in 6 hours; in 24 |
//! | RESTATEMENT_ALREADY_EXISTS; MORE_RECENT_RESTATEMENT_FOUND | retry with a later time |
//! | CONVERSION_NOT_FOUND | retry for a day after the conversion was sent, then rejected |
//! | DUPLICATE_.. | split: neither was processed |
//! | action, terms, enhanced conversions; authentication, authorization, header, allowlist, version | halted |
//! | quotaError; internalError, databaseError, families that are not known | retry |
//! | other errors of an item | rejected |
//! | 401, 403, 404; 429, 5xx | halted; retry |
//! | 200, longer than what is read of an answer | split: what was taken is known already then |
//!
//! Names: google-ads 34.0.0, v26 `errors/types`. CONVERSION_TRACKING_NOT_ENABLED_AT_IMPRESSION_TIME is about one click of the past,
//! ONE_PER_CLICK_.._WITH_BRAID about some clicks: neither may stop the others.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    super::{cut_short, google, times},
    conversion,
    error::{Problem, problems},
    settings::Settings,
};
use crate::{
    delivery::Delivery,
    outcome::{Outcome, Reply, by_api_status, quote, retry_after},
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn verdicts(to: &Settings, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    let all = |outcome: Outcome| vec![outcome; batch.len()];
    let ok = (200..=299).contains(&reply.status);
    if let Some(split) = cut_short(reply, batch.len(), true).filter(|_| ok) {
        return all(split);
    }
    if let Some(outcome) = halts(to, reply, now) {
        return all(outcome);
    }
    let body = reply.json().unwrap_or_default();
    let problems = problems(&body);
    let of_item = |n: usize, delivery: &Delivery| {
        let found = problems.iter().filter(|problem| problem.item == Some(n)).map(|problem| of_problem(to, delivery, problem, reply, now));
        found.min_by_key(rank)
    };
    if !ok {
        let named = problems.iter().any(|problem| problem.item.is_some_and(|n| n < batch.len()));
        let rest = match (problems.first(), reply.status) {
            (Some(_), _) if named => Outcome::Split { why: "refused for another event of its request".into() },
            (Some(problem), 400) => Outcome::Split { why: problem.to_string() },
            (None, 400) => Outcome::Split { why: quote(body.pointer("/error/message").and_then(Value::as_str).unwrap_or("HTTP 400")) },
            _ => by_api_status(reply, now, &fix(to)),
        };
        return batch.iter().enumerate().map(|(n, delivery)| of_item(n, delivery).unwrap_or_else(|| rest.clone())).collect();
    }
    let results = body.get("results").and_then(Value::as_array);
    let failed = body.get("partialFailureError").filter(|error| !error.is_null());
    // With `validateOnly` there are none.
    if !body.is_object() || results.is_none() && failed.is_none() && (!to.test || body.get("error").is_some()) {
        return all(Outcome::retry(format!("HTTP {}, but no answer of the Google Ads API", reply.status)));
    }
    let taken = |n: usize| match (results.and_then(|results| results.get(n)), failed) {
        (_, None) if to.test => true,
        (Some(_), None) => true,
        // An item that failed has an empty one.
        (Some(result), Some(_)) => result.as_object().is_some_and(|result| !result.is_empty()),
        (None, _) => to.test && problems.iter().all(|problem| problem.item.is_some()),
    };
    let verdict = |(n, delivery): (usize, &Delivery)| match of_item(n, delivery) {
        Some(outcome) => outcome,
        None if taken(n) && to.test => Outcome::noted("validated"),
        None if taken(n) => delivered(to, delivery, None, false, now),
        None => Outcome::retry("not taken, and no error names it"),
    };
    batch.iter().enumerate().map(verdict).collect()
}

/// What an answer of this kind to any request means for all of them: nobody may, or not now; `None`: look closer.
pub(super) fn halts(to: &Settings, reply: &Reply, now: Timestamp) -> Option<Outcome> {
    let problems = problems(&reply.json().unwrap_or_default());
    if let Some(halted) = problems.iter().find_map(|problem| halted(to, problem)) {
        return Some(halted);
    }
    if let Some(problem) = problems.iter().find(|problem| problem.family == "quotaError" && problem.item.is_none()) {
        return Some(Outcome::throttled(problem.to_string(), problem.after.or(retry_after(reply, now))));
    }
    match reply.status {
        200..=299 | 400 => None,
        _ if problems.iter().any(|problem| problem.item.is_some()) => None,
        _ => Some(by_api_status(reply, now, &fix(to))),
    }
}

fn fix(to: &Settings) -> String {
    format!(
        "renew {} (an OAuth app in testing gives refresh tokens of 7 days), check {}, account {} and login_account, reload and resume",
        to.grant.secret().name(),
        to.developer_token.name(),
        to.account
    )
}

fn halted(to: &Settings, problem: &Problem) -> Option<Outcome> {
    let fix = match (problem.family.as_str(), problem.name.as_str()) {
        ("notAllowlistedError", _) => {
            "this account or developer token may not upload clicks by this API any more: use platform = \"google_data_manager\"".to_owned()
        }
        ("authenticationError" | "authorizationError" | "headerError", _) => fix(to),
        ("requestError", "UNSUPPORTED_VERSION") => "set version to one that is served, reload and resume".to_owned(),
        (
            "requestError",
            "INVALID_CUSTOMER_ID"
            | "CANNOT_BE_EXECUTED_BY_MANAGER_ACCOUNT"
            | "DEVELOPER_TOKEN_PARAMETER_MISSING"
            | "LOGIN_CUSTOMER_ID_PARAMETER_MISSING"
            | "CLOUD_PROJECT_NOT_FOUND",
        ) => fix(to),
        (_, "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS") => {
            "accept the customer data terms in Google Ads (Goals > Settings), or set user_data = \"never\", reload and resume".to_owned()
        }
        (_, "CUSTOMER_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS" | "CUSTOMER_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS") => {
            "turn on enhanced conversions for leads in Google Ads (Goals > Settings), or set user_data = \"never\", reload and resume".to_owned()
        }
        ("conversionUploadError", name) if name.starts_with("EXTERNAL_ATTRIBUTION_DATA_") || name.starts_with("ORDER_ID_NOT_PERMITTED_") => {
            "use conversion actions without external attribution, reload and resume".to_owned()
        }
        (_, "NO_CONVERSION_ACTION_FOUND" | "INVALID_CONVERSION_ACTION_TYPE") => {
            "correct actions: ids of import-from-clicks actions of the account that owns them, reload and resume".to_owned()
        }
        _ => return None,
    };
    Some(Outcome::halted(format!("Google says {problem}"), fix))
}

/// Families whose errors are about what an item says.
const OF_ITEMS: [&str; 17] = [
    "conversionUploadError",
    "conversionAdjustmentUploadError",
    "requestError",
    "fieldError",
    "fieldViolation",
    "dateError",
    "rangeError",
    "stringFormatError",
    "stringLengthError",
    "collectionSizeError",
    "distinctError",
    "enumError",
    "idError",
    "notEmptyError",
    "nullError",
    "currencyCodeError",
    "userDataError",
];

fn of_problem(to: &Settings, delivery: &Delivery, problem: &Problem, reply: &Reply, now: Timestamp) -> Outcome {
    let later = |hours: u32| Outcome::Retry { why: problem.to_string(), after: Some(HOUR * hours), throttled: false };
    match (problem.family.as_str(), problem.name.as_str()) {
        (_, "ORDER_ID_ALREADY_IN_USE" | "CLICK_CONVERSION_ALREADY_EXISTS" | "CONVERSION_ALREADY_RETRACTED") => {
            delivered(to, delivery, Some("duplicate"), false, now)
        }
        (_, "CLICK_NOT_FOUND") => delivered(to, delivery, Some("no click of Google's has this e-mail or phone"), true, now),
        (_, "EVENT_NOT_FOUND") if google::click_id(&delivery.who).is_none() => {
            delivered(to, delivery, Some("no click of Google's has this e-mail or phone"), true, now)
        }
        (_, "TOO_RECENT_EVENT" | "TOO_RECENT_CONVERSION_ACTION") => later(6),
        (_, "TOO_RECENT_CONVERSION") => later(24),
        // Another adjustment of it was sent within the same second.
        (_, "RESTATEMENT_ALREADY_EXISTS") => Outcome::Retry { why: problem.to_string(), after: Some(Duration::from_secs(2)), throttled: false },
        (_, "MORE_RECENT_RESTATEMENT_FOUND") => later(1),
        (_, "CONVERSION_NOT_FOUND") if sent(delivery).is_none_or(|sent| now.duration_since(sent) < DAY) => later(1),
        (_, name) if name.starts_with("DUPLICATE_") => Outcome::Split { why: problem.to_string() },
        ("quotaError", _) => Outcome::throttled(problem.to_string(), problem.after.or(retry_after(reply, now))),
        (family, _) if OF_ITEMS.contains(&family) => Outcome::rejected(problem.to_string()),
        _ => Outcome::retry(problem.to_string()),
    }
}

/// Of several errors of an item the one that lasts longest counts.
fn rank(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Halted { .. } => 0,
        Outcome::Rejected { .. } => 1,
        Outcome::Split { .. } => 2,
        Outcome::Retry { .. } => 3,
        Outcome::Accepted { .. } | Outcome::Delivered { .. } => 4,
    }
}

/// With what a refund of it has to know: under which order id it was sent, when, and whether it is a conversion at all.
fn delivered(to: &Settings, delivery: &Delivery, note: Option<&str>, unmatched: bool, now: Timestamp) -> Outcome {
    let answer = delivery.refund.is_none().then(|| {
        let mut answer = json!({ "order_id": conversion::order_id(to, delivery), "sent": now.as_second() });
        if unmatched {
            answer["unmatched"] = true.into();
        }
        answer
    });
    Outcome::Delivered { answer, note: note.map(str::to_owned) }
}

/// Whether the purchase belonged to no click, by what its answer kept.
pub(super) fn unmatched(answer: &Value) -> bool {
    answer.get("unmatched") == Some(&Value::Bool(true))
}

/// When the purchase was sent; without a word on that the refund's own time stands for it.
fn sent(delivery: &Delivery) -> Option<Timestamp> {
    let refund = delivery.refund.as_ref()?;
    Some(times::sent(refund).unwrap_or(delivery.said.at))
}
