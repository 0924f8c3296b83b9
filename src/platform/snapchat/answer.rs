//! What an answer of the Conversions API means. All of a request get the same verdict: bad events are found by halving.
//!
//! | status, `status` | verdict |
//! |---|---|
//! | 200, VALID, no errors | delivered |
//! | 200, INVALID, FAILED, or with errors | split; alone: rejected. Where repeats are not sent: retry, which leaves them unknown |
//! | 200, longer than what is read of an answer | split, where repeats are sent |
//! | 400, 413, 422 | split; alone: rejected. Where the reason is token or pixel: halted |
//! | 401, 403, 404 | halted |
//! | 429, 5xx | retry |
//! | 200 without `status`, anything else | retry |
//!
//! Shapes: business-sdk-v3-java `EventResponse` and `ValidateResponse` (status, reason, errors, event_logs); unverified: `error_records`,
//! FAILED, and that the other events of a 200 with errors were taken. What was taken is known by its id when it comes again.

use jiff::Timestamp;
use serde_json::Value;

use super::{super::cut_short, settings::Settings};
use crate::outcome::{Outcome, Reply, by_api_status, quote};

/// Reasons quoted at most.
const REASONS: usize = 3;

pub(super) fn verdict(to: &Settings, count: usize, reply: &Reply, now: Timestamp) -> Outcome {
    let body = reply.json().unwrap_or_default();
    let status = body.get("status").and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
    let failed = matches!(status.as_str(), "INVALID" | "FAILED" | "FAILURE" | "ERROR");
    let errors = errors(&body);
    if let Some(split) = cut_short(reply, count, to.resend || to.test).filter(|_| (200..=299).contains(&reply.status)) {
        return split;
    }
    match reply.status {
        200..=299 if status.is_empty() => Outcome::retry(format!("HTTP {}, but no answer of the Conversions API", reply.status)),
        200..=299 if !failed && errors.is_empty() => Outcome::Delivered { answer: None, note: to.test.then(|| "validated, not counted".to_owned()) },
        // Halves may hold what was taken already: only where a repeat does no harm.
        200..=299 if count > 1 && !to.resend && !to.test => Outcome::retry(words(reply, &body, &errors)),
        200..=299 => Outcome::Split { why: words(reply, &body, &errors) },
        400 | 413 | 422 if of_everybody(&body) => Outcome::halted(format!("token or pixel is refused ({})", words(reply, &body, &errors)), renew(to)),
        400 | 413 | 422 => Outcome::Split { why: words(reply, &body, &errors) },
        _ => by_api_status(reply, now, &renew(to)),
    }
}

fn renew(to: &Settings) -> String {
    format!(
        "put a Conversions API token (Business Manager > Business Details) for pixel {} into {}, or correct pixel; reload and resume",
        to.pixel,
        to.access_token.name()
    )
}

/// Unverified: Snap's words where it is the token or the pixel that is refused, not an event.
fn of_everybody(body: &Value) -> bool {
    let reason = body.get("reason").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    ["token", "unauthorized", "pixel id", "pixel_id", "asset"].iter().any(|word| reason.contains(word))
}

/// `INVALID: reason; first error; second error`
fn words(reply: &Reply, body: &Value, errors: &[String]) -> String {
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(quote);
    let said: Vec<String> = text("reason").into_iter().chain(errors.iter().take(REASONS).cloned()).collect();
    let status = text("status").unwrap_or_else(|| format!("HTTP {}", reply.status));
    if said.is_empty() { status } else { format!("{status}: {}", said.join("; ")) }
}

/// What is said to be wrong: of the request, of single events, in each of the known shapes.
fn errors(body: &Value) -> Vec<String> {
    let list = |at: &Value, key: &str| at.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let in_errors = |at: &Value| {
        let errors = at.get("errors").cloned().unwrap_or_default();
        let (messages, codes) = (list(&errors, "error_msgs"), list(&errors, "codes"));
        if messages.is_empty() { codes } else { messages }
    };
    let records = list(body, "error_records").into_iter().map(|record| record.get("reason").cloned().unwrap_or(record));
    let logged = list(body, "event_logs").into_iter().flat_map(|log| in_errors(&log));
    let all = in_errors(body).into_iter().chain(records).chain(logged);
    all.map(|error| error.as_str().map_or_else(|| "an error without words".to_owned(), quote)).collect()
}
