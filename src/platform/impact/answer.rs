//! What impact answers, at once and when it has processed a submission.
//!
//! | status | verdict |
//! |---|---|
//! | 200 `QUEUED` | accepted; delivered where nobody asks later |
//! | 400, 200 `ERROR` | rejected, with the fields that are named |
//! | 401, 403, 404 | halted |
//! | 429 | retry after `X-RateLimit-Reset` seconds, all slow down |
//! | 5xx | retry |
//!
//! | submission | verdict |
//! |---|---|
//! | `Queued`, `In Progress`, not listed yet | none yet |
//! | `Complete` without an error | delivered |
//! | `CONV_DUPLICATE` | delivered |
//! | any other error | rejected |

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::settings::Settings;
use crate::{
    delivery::{Awaiting, Delivery},
    event::Kind,
    outcome::{Outcome, Reply, by_api_status, quote},
};

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// By status, where the body says nothing.
fn by_status(to: &Settings, reply: &Reply, now: Timestamp) -> Outcome {
    if reply.status == 429 {
        // rate-limits: seconds until the hour's count begins anew.
        let reset = reply.header("x-ratelimit-reset").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        if let Some(reset) = reset {
            return Outcome::throttled("HTTP 429", Some(reset.min(Duration::from_secs(3_600))));
        }
    }
    match by_api_status(reply, now, &to.fix()) {
        Outcome::Halted { why, .. } if reply.status == 403 => {
            let fix = format!("allow the token in {} to submit conversions and to change actions, and resume", to.auth_token.name());
            Outcome::halted(why, fix)
        }
        Outcome::Delivered { .. } => Outcome::retry(format!("HTTP {}, and impact does not say that it queued it", reply.status)),
        other => other,
    }
}

pub(super) fn queued(to: &Settings, delivery: &Delivery, reply: &Reply, now: Timestamp) -> Outcome {
    let body = reply.json().unwrap_or_default();
    let status = text(&body, "Status");
    match reply.status {
        200..=299 if status.eq_ignore_ascii_case("QUEUED") => {
            let id = submission(text(&body, "QueuedUri"));
            let answer = json!({ "submission": id, "sent": now.as_second() });
            match id {
                Some(_) if to.confirm => Outcome::Accepted { answer: Some(answer) },
                // Only a purchase is followed by something that asks for it.
                _ => Outcome::Delivered { answer: (delivery.event.kind == Kind::Purchase).then_some(answer), note: Some("queued".into()) },
            }
        }
        400 => Outcome::rejected(errors(&body)),
        200..=299 if status.eq_ignore_ascii_case("ERROR") => Outcome::rejected(errors(&body)),
        _ => by_status(to, reply, now),
    }
}

/// The id at the end of `/Advertisers/{AccountSID}/APISubmissions/{id}`.
fn submission(uri: &str) -> Option<&str> {
    let id = uri.rsplit_once("/APISubmissions/")?.1;
    (!id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')).then_some(id)
}

/// The documents write `errors`, `field` and `message` in lower case, the page on errors with capitals.
fn errors(body: &Value) -> String {
    let either = |of: &Value, small: &str, large: &str| [small, large].map(|key| text(of, key).to_owned()).concat();
    let list = body.get("errors").or_else(|| body.get("Errors")).and_then(Value::as_array);
    let each = list.into_iter().flatten().map(|error| {
        let (field, message) = (either(error, "field", "Field"), either(error, "message", "Message"));
        if field.is_empty() { quote(&message) } else { format!("{}: {}", quote(&field), quote(&message)) }
    });
    let said = each.filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ");
    match (said.is_empty(), either(body, "message", "Message")) {
        (false, _) => said,
        (true, message) if !message.is_empty() => quote(&message),
        _ => "HTTP 400 without a reason".into(),
    }
}

pub(super) fn processed(to: &Settings, awaiting: &Awaiting, reply: &Reply, now: Timestamp) -> Outcome {
    let not_yet = || Outcome::Accepted { answer: Some(awaiting.answer.clone()) };
    let body = match reply.json() {
        Some(body) if (200..=299).contains(&reply.status) => body,
        _ if reply.status == 404 => return not_yet(),
        _ => {
            return match by_status(to, reply, now) {
                Outcome::Rejected { why } => Outcome::retry(why),
                Outcome::Halted { why, .. } if reply.status == 403 => {
                    let fix =
                        format!("allow the token in {} to read API submissions, or set confirm = \"never\", reload and resume", to.auth_token.name());
                    Outcome::halted(why, fix)
                }
                other => other,
            };
        }
    };
    if !text(&body, "Status").eq_ignore_ascii_case("Complete") {
        return not_yet();
    }
    let (class, reason) = (text(&body, "ErrorType").trim(), text(&body, "ErrorReason").trim());
    if class.is_empty() && reason.is_empty() {
        return Outcome::delivered();
    }
    // Reasons are listed side by side.
    let is = |word: &str| reason.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|have| have == word);
    if is("CONV_DUPLICATE") {
        return Outcome::noted("duplicate");
    }
    let words = [class, reason].into_iter().filter(|text| !text.is_empty()).map(quote).collect::<Vec<_>>().join(": ");
    Outcome::rejected(format!("not processed: {words}"))
}
