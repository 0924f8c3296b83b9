//! What an answer of the UET Conversions API means.
//!
//! | status, body | verdict |
//! |---|---|
//! | 200, `eventsReceived` | delivered; those that `details` names rejected, unless it is a warning |
//! | 200, fewer received than that leaves | the others sent again without them, in halves where none is named; retried where repeats are not dropped |
//! | 200, longer than what is read of an answer | in halves, where repeats are dropped |
//! | 400, `details` names places | those rejected, the others sent again without them |
//! | 400, nothing named | split; alone: rejected |
//! | 401, 403, 404 | halted: token, tag |
//! | 429, 5xx | retry |
//!
//! From connectors (2026-05 to 2026-08), which read `details[].index` from 0. Unverified: 403, 404, 429 and 5xx; whether `eventsReceived`
//! counts what was refused, so that neither is held against the others.

use jiff::Timestamp;
use serde_json::Value;

use super::{super::cut_short, settings::Capi};
use crate::outcome::{Outcome, Reply, by_api_status, by_index, quote};

pub(super) fn verdicts(to: &Capi, count: usize, reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    let body = reply.json().unwrap_or_default();
    let named: Vec<(usize, Outcome)> = details(&body).filter_map(read).filter(|(place, _)| *place < count).collect();
    match reply.status {
        200..=299 => {
            if let Some(split) = cut_short(reply, count, to.resend) {
                return vec![split; count];
            }
            let Some(received) = body.get("eventsReceived").and_then(Value::as_u64) else {
                return vec![Outcome::retry(format!("HTTP {}, but no answer of the Conversions API", reply.status)); count];
            };
            let refused = named.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Rejected { .. })).count() as u64;
            let why = format!("Microsoft received {received} of {count} events");
            let rest = match received + refused >= count as u64 {
                true => Outcome::delivered(),
                false if to.resend => Outcome::Split { why },
                false => Outcome::retry(why),
            };
            by_index(count, named, &rest)
        }
        400 => {
            let mut refused = named.into_iter().filter(|(_, outcome)| matches!(outcome, Outcome::Rejected { .. })).peekable();
            let why = match refused.peek() {
                Some(_) => "refused for another event of its request".to_owned(),
                None => words(&body),
            };
            by_index(count, refused, &Outcome::Split { why })
        }
        _ => vec![by_api_status(reply, now, &renew(to)); count],
    }
}

fn renew(to: &Capi) -> String {
    let secret = to.access_token.name();
    format!("make a token at UET tag {} (a new one takes up to 15 minutes to work), put it into {secret}, reload and resume", to.tag)
}

fn details(body: &Value) -> impl Iterator<Item = &Value> {
    body.pointer("/error/details").and_then(Value::as_array).into_iter().flatten()
}

/// A place in `data`, and what is said of it.
fn read(detail: &Value) -> Option<(usize, Outcome)> {
    let place = usize::try_from(detail.get("index")?.as_u64()?).ok()?;
    let text = |key: &str| detail.get(key).and_then(Value::as_str).map(quote).filter(|text| !text.is_empty());
    // Never the attempted value.
    let why = ["errorCode", "propertyName", "errorMessage"].into_iter().filter_map(text).collect::<Vec<_>>().join(": ");
    let why = if why.is_empty() { "no reason given".to_owned() } else { why };
    let warning = detail.get("isWarning").and_then(Value::as_bool) == Some(true);
    Some((place, if warning { Outcome::noted(format!("warning: {why}")) } else { Outcome::rejected(why) }))
}

fn words(body: &Value) -> String {
    body.pointer("/error/message").and_then(Value::as_str).map_or_else(|| "HTTP 400".to_owned(), quote)
}
