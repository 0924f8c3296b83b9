//! What an answer of the Graph API means. It never names an event, so that all of a request get the same verdict.
//!
//! | status, code (subcode) | verdict |
//! |---|---|
//! | 200, `events_received` as many as sent | delivered |
//! | 190; 3, 10, 200; 100 (33) | halted: token, permission, dataset |
//! | 4, 17, 32, 613, 80000-80014, 429 | retry, the destination slows down |
//! | 368 | the same: a block for policy reasons, which a person should look at |
//! | 1, 2, 341, 5000, 21009, `is_transient`, 5xx | retry |
//! | 100 with another subcode, 105 | one of the events is bad: split; alone: rejected |
//! | anything else | retry |
//!
//! Codes: rudder-transformer `facebookUtils/networkHandler.js` (2026-08); unverified: 32, 613 and 80000-80014.

use jiff::Timestamp;
use serde_json::Value;

use super::settings::Settings;
use crate::outcome::{Outcome, Reply, by_api_status, quote, retry_after};

pub(super) fn verdict(to: &Settings, sent: usize, reply: &Reply, now: Timestamp) -> Outcome {
    let body = reply.json().unwrap_or_default();
    if let Some(error) = body.get("error").filter(|error| error.is_object()) {
        return refusal(to, error, reply, now);
    }
    match (reply.status, body.get("events_received").and_then(Value::as_u64)) {
        (200..=299, Some(received)) if received == sent as u64 => Outcome::delivered(),
        // Where repeats are dropped, those which were not counted can be found out.
        (200..=299, Some(received)) if !to.resend => Outcome::retry(format!("Meta counted {received} of {sent} events")),
        (200..=299, Some(received)) => Outcome::Split { why: format!("Meta counted {received} of {sent} events") },
        (200..=299, None) => Outcome::retry(format!("HTTP {}, but no answer of the Conversions API", reply.status)),
        _ => by_api_status(reply, now, &format!("put a valid token into {}, reload and resume", to.access_token.name())),
    }
}

fn refusal(to: &Settings, error: &Value, reply: &Reply, now: Timestamp) -> Outcome {
    let number = |key: &str| error.get(key).and_then(Value::as_i64).unwrap_or(0);
    let (code, subcode) = (number("code"), number("error_subcode"));
    let texts = ["error_user_msg", "error_user_title", "message"].into_iter();
    let said = texts.filter_map(|key| error.get(key)?.as_str()).find(|text| !text.is_empty()).map(quote);
    let shown = if subcode == 0 { code.to_string() } else { format!("{code}/{subcode}") };
    let why = format!("error {shown}{}", said.map_or_else(String::new, |said| format!(": {said}")));
    let secret = to.access_token.name();
    match (code, subcode) {
        (190, _) => Outcome::halted(
            format!("the access token is refused ({why})"),
            format!("make a new one in Events Manager, put it into {secret}, reload and resume"),
        ),
        (100, 33) => Outcome::halted(
            format!("dataset {} is unknown to this token ({why})", to.dataset),
            format!("correct dataset, or give the token in {secret} access to it, reload and resume"),
        ),
        (3 | 10 | 200, _) => Outcome::halted(
            format!("the access token may not write to dataset {} ({why})", to.dataset),
            format!("give the system user of {secret} access to the dataset, and resume"),
        ),
        (4 | 17 | 32 | 613 | 368 | 80_000..=80_014, _) => Outcome::throttled(why, retry_after(reply, now)),
        _ if error.get("is_transient").and_then(Value::as_bool) == Some(true) => Outcome::retry(why),
        (100 | 105, _) => Outcome::Split { why },
        _ if reply.status == 429 => Outcome::throttled(why, retry_after(reply, now)),
        _ => Outcome::Retry { why, after: retry_after(reply, now), throttled: false },
    }
}
