//! What an answer of events/create means.
//!
//! | status | verdict |
//! |---|---|
//! | 200, 422 with `events`, one for each | `processed`: delivered, with the warning if any; `failed`: rejected |
//! | 200, all counted as processed | delivered |
//! | 200 with fewer, 422 without `events` | split; alone: rejected. Where repeats are not sent: retry, which leaves them unknown |
//! | 400 (4196 ...) | split; alone: rejected |
//! | 401 (2), 403 (29), 404 | halted |
//! | 429 (8), 503 (4197), 5xx | retry |
//! | 200, 422, longer than what is read of an answer | split, where repeats are sent |
//! | 200 without any of it | retry |
//!
//! Shapes: `ConversionApiResponse`, `DetailedError`. Unverified: that a 422 holds the same in `details`, as its schema says.

use jiff::Timestamp;
use serde_json::Value;

use super::{super::cut_short, settings::Settings};
use crate::outcome::{Outcome, Reply, by_api_status, quote};

pub(super) fn verdicts(to: &Settings, count: usize, reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    let body = reply.json().unwrap_or_default();
    let outcome = match reply.status {
        200..=299 | 422 => {
            if let Some(split) = cut_short(reply, count, to.repeats()) {
                return vec![split; count];
            }
            if let Some(events) = places(&body).find_map(|at| at.get("events")?.as_array().filter(|events| events.len() == count)) {
                return events.iter().map(of_one).collect();
            }
            of_all(to, count, reply, &body)
        }
        400 => Outcome::Split { why: words(reply, &body) },
        401 | 403 => Outcome::halted(format!("the access token is refused ({})", words(reply, &body)), renew(to)),
        _ => by_api_status(reply, now, &renew(to)),
    };
    vec![outcome; count]
}

/// Where the verdicts may stand.
fn places(body: &Value) -> impl Iterator<Item = &Value> {
    [Some(body), body.get("details")].into_iter().flatten()
}

fn of_one(event: &Value) -> Outcome {
    let text = |key: &str| event.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(quote);
    match event.get("status").and_then(Value::as_str) {
        Some("processed") => Outcome::Delivered { answer: None, note: text("warning_message").map(|warning| format!("warning: {warning}")) },
        Some("failed") => Outcome::rejected(text("error_message").unwrap_or_else(|| "refused without a reason".into())),
        _ => Outcome::retry("no verdict on this event in the answer"),
    }
}

fn of_all(to: &Settings, count: usize, reply: &Reply, body: &Value) -> Outcome {
    let processed = places(body).find_map(|at| at.get("num_events_processed")?.as_u64());
    match processed {
        Some(processed) if processed == count as u64 => Outcome::delivered(),
        None if reply.status != 422 => Outcome::retry(format!("HTTP {}, but no answer of the Conversions API", reply.status)),
        // The good ones were taken, and it is not said which: only where a repeat does no harm.
        _ if count > 1 && !to.repeats() => Outcome::retry(words(reply, body)),
        _ => Outcome::Split { why: words(reply, body) },
    }
}

fn renew(to: &Settings) -> String {
    format!(
        "put a conversion access token (Ads Manager > Conversions) into {}, made by who may use ad account {}; reload and resume",
        to.access_token.name(),
        to.ad_account
    )
}

/// `HTTP 400, code 4196: Invalid request`
fn words(reply: &Reply, body: &Value) -> String {
    let code = body.get("code").and_then(Value::as_i64).map_or_else(String::new, |code| format!(", code {code}"));
    let said = body.get("message").and_then(Value::as_str).filter(|text| !text.is_empty()).map(quote);
    let counts = places(body).find_map(|at| at.get("num_events_processed")?.as_u64()).map(|taken| format!("{taken} of them processed"));
    let said = said.or(counts).map_or_else(String::new, |said| format!(": {said}"));
    format!("HTTP {}{code}{said}", reply.status)
}
