//! What an answer means: next to nothing.
//!
//! | answer | verdict |
//! |---|---|
//! | 2xx | delivered, whatever was in the request; a page of HTML is somebody else's: retry |
//! | 408, 429, 5xx | retry |
//! | 401, 403, 404, 3xx | halted; Google documents none of them |
//! | other 4xx (413) | rejected |
//! | debug: 200, `validationMessages` empty | delivered (validated) |
//! | debug: messages about stream or secret | halted |
//! | debug: other messages | rejected |
//!
//! Unverified: all but 2xx and the messages of the debug endpoint.

use jiff::Timestamp;
use serde_json::Value;

use super::settings::Settings;
use crate::outcome::{Outcome, Reply, by_api_status, quote};

pub(super) fn verdict(to: &Settings, reply: &Reply, now: Timestamp) -> Outcome {
    let html = reply.text().trim_start().starts_with('<');
    match reply.status {
        200..=299 if to.test => validated(to, reply),
        200..=299 if html => Outcome::retry(format!("HTTP {} with a page, but no answer of Google Analytics", reply.status)),
        200..=299 => Outcome::delivered(),
        _ => by_api_status(reply, now, &fix(to)),
    }
}

fn fix(to: &Settings) -> String {
    format!(
        "correct measurement_id, or make a new secret in Admin > Data streams > Measurement Protocol API secrets, put it into {}, reload and resume",
        to.api_secret.name()
    )
}

fn validated(to: &Settings, reply: &Reply) -> Outcome {
    let body = reply.json().unwrap_or_default();
    let Some(messages) = body.get("validationMessages").and_then(Value::as_array) else {
        return Outcome::retry(format!("HTTP {}, but no answer of the debug endpoint", reply.status));
    };
    let text = |message: &Value, key: &str| message.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(first) = messages.first() else {
        return Outcome::noted("validated");
    };
    let why = [text(first, "validationCode"), quote(&text(first, "fieldPath")), quote(&text(first, "description"))];
    let why = why.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let of_stream = |message: &Value| ["measurement_id", "api_secret"].iter().any(|key| text(message, "fieldPath").contains(key));
    match messages.iter().any(of_stream) {
        true => Outcome::halted(format!("Google Analytics does not know the stream: {why}"), fix(to)),
        false => Outcome::rejected(if why.is_empty() { "not valid, without a reason".to_owned() } else { why }),
    }
}
