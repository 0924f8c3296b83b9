//! What Singular answers: nearly always 200, and `{"status": "ok"}` or `{"status": "error", "reason": ".."}`.
//!
//! | answer | verdict |
//! |---|---|
//! | 200 ok | delivered: queued, which is all that is ever said |
//! | 200 error: missing argument: a or i, a key that is not known | halted |
//! | 200 error: missing argument, invalid .., no device ID supplied, platform .. should have .. | rejected |
//! | 200 error with any other reason, 200 without a status | retry |
//! | 400, 413 | rejected |
//! | 401, 403, 404, 3xx | halted |
//! | 429, 5xx | retry |
//!
//! Source: Singular's page "S2S API Response Codes & Errors", which tells requests that are wrong from those to try again by these words.
//! What has an error is not queued; what has no answer of Singular's may be.

use jiff::Timestamp;
use serde_json::Value;

use super::settings::Settings;
use crate::{
    delivery::Delivery,
    outcome::{Outcome, Reply, by_api_status, quote},
};

/// `status` in small letters, `reason`.
fn said(reply: &Reply) -> (String, String) {
    let body = reply.json().unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    (text("status").to_ascii_lowercase(), text("reason"))
}

/// An error in Singular's own words: nothing was queued.
pub(super) fn refused(reply: &Reply) -> bool {
    said(reply).0 == "error"
}

pub(super) fn outcome(to: &Settings, delivery: &Delivery, reply: &Reply, now: Timestamp) -> Outcome {
    let (status, reason) = said(reply);
    match reply.status {
        200..=299 if status == "ok" => Outcome::Delivered { answer: to.apps.receipt(delivery), note: None },
        200..=299 if status == "error" => error(to, &reason),
        200..=299 => Outcome::retry(format!("HTTP {}, and Singular does not say whether it took the event", reply.status)),
        400 | 413 => Outcome::rejected(format!("HTTP {}: {}", reply.status, words(&reason))),
        _ => by_api_status(reply, now, &renew(to)),
    }
}

fn words(reason: &str) -> String {
    if reason.is_empty() { "an error without a reason".to_owned() } else { quote(reason) }
}

/// Unverified: how a wrong key is called.
fn of_key(lower: &str) -> bool {
    ["sdk key", "sdkkey", "api key", "apikey", "unauthorized", "forbidden"].iter().any(|word| lower.contains(word))
}

/// What the answer to a request without an event says of the key; `None`: nothing bad.
pub(super) fn of_probe(to: &Settings, reply: &Reply) -> Option<String> {
    let (_, reason) = said(reply);
    (matches!(reply.status, 401 | 403) || of_key(&reason.to_ascii_lowercase()))
        .then(|| format!("HTTP {}: {}; {}", reply.status, words(&reason), renew(to)))
}

fn error(to: &Settings, reason: &str) -> Outcome {
    let why = words(reason);
    let lower = reason.to_ascii_lowercase();
    let key = of_key(&lower);
    // Missing or invalid: what a wrong key is answered with is not documented, and events must not be burnt for one.
    let argument = lower.split_once("argument:").map(|(_, name)| name.trim());
    if key || argument.is_some_and(|name| matches!(name, "a" | "i")) {
        return Outcome::halted(why, renew(to));
    }
    match ["missing", "invalid", "no device id", "should have"].iter().any(|word| lower.contains(word)) {
        true => Outcome::Rejected { why },
        false => Outcome::retry(why),
    }
}

fn renew(to: &Settings) -> String {
    format!("put the SDK key (not the one for reports) into {}, or correct apps; reload and resume", to.sdk_key.name())
}
