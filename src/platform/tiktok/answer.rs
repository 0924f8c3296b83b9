//! What an answer of the Events API means: the body's `code`, not the status.
//!
//! | code | verdict |
//! |---|---|
//! | 0 | delivered |
//! | 20001 | some failed: those that the message names are rejected; nothing named: halved, and a single one is delivered with a note |
//! | 40001; 40101-40105 | halted: permission, token |
//! | 40000, 40002 that names `event_source` | halted: the pixel's code |
//! | 40000, 40002 | those that the message names are rejected, the others sent again; nothing named: split; alone: rejected |
//! | 40100 | retry, the destination slows down |
//! | 40700, 50000-59999, anything else | retry |
//!
//! Codes: rudder-transformer `tiktok_ads/networkHandler.js` and its recorded answers (2026-08). Unverified: 40000, 40101-40105 and
//! 5xxxx; what 20001 holds in its `data`; that the others of a request are taken with 20001 and are not with 40002.

use jiff::Timestamp;
use serde_json::Value;

use super::settings::Settings;
use crate::outcome::{Outcome, Reply, by_api_status, by_index, quote, retry_after};

pub(super) fn verdicts(to: &Settings, count: usize, reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    let body = reply.json().unwrap_or_default();
    let said = body.get("message").and_then(Value::as_str).unwrap_or_default();
    let Some(code) = body.get("code").and_then(Value::as_i64).filter(|code| *code != 0) else {
        return vec![without_error(to, &body, reply, now); count];
    };
    let why = format!("code {code}{}", if said.is_empty() { String::new() } else { format!(": {}", quote(said)) });
    let bad = |(n, words): (usize, String)| (n < count).then(|| (n, Outcome::rejected(format!("code {code}: {words}"))));
    let named = || places(said).into_iter().filter_map(bad).collect::<Vec<_>>();
    match code {
        20_001 => {
            let (named, note) = (named(), format!("partly: {why}"));
            let taken = Outcome::noted(note);
            let rest = match named.is_empty() {
                false => Outcome::delivered(),
                // Where repeats are dropped, it can be found out which failed.
                true if count > 1 && to.resend => Outcome::Split { why },
                true => taken,
            };
            by_index(count, named, &rest)
        }
        40_000 | 40_002 if !of_everybody(said) => {
            let named = named();
            let others = "refused for another event of its request".to_owned();
            let rest = Outcome::Split { why: if named.is_empty() { why } else { others } };
            by_index(count, named, &rest)
        }
        _ => vec![of_all(to, code, why, reply, now); count],
    }
}

fn without_error(to: &Settings, body: &Value, reply: &Reply, now: Timestamp) -> Outcome {
    match reply.status {
        200..=299 if body.get("code").is_some_and(|code| code.as_i64() == Some(0)) => Outcome::delivered(),
        200..=299 => Outcome::retry(format!("HTTP {}, but no answer of the Events API", reply.status)),
        _ => by_api_status(reply, now, &renew(to)),
    }
}

fn of_all(to: &Settings, code: i64, why: String, reply: &Reply, now: Timestamp) -> Outcome {
    match code {
        40_001 => Outcome::halted(
            format!("the access token may not write to {} ({why})", to.event_source_id),
            format!("correct event_source_id, or {}", renew(to)),
        ),
        40_101..=40_105 => Outcome::halted(format!("the access token is refused ({why})"), renew(to)),
        40_000 | 40_002 => Outcome::halted(
            format!("the event source {} is refused ({why})", to.event_source_id),
            "correct event_source and event_source_id, reload and resume",
        ),
        40_100 => Outcome::throttled(why, retry_after(reply, now)),
        _ if matches!(reply.status, 401 | 403) => by_api_status(reply, now, &renew(to)),
        _ => Outcome::Retry { why, after: retry_after(reply, now), throttled: reply.status == 429 },
    }
}

fn renew(to: &Settings) -> String {
    format!("make a new token in Events Manager > Settings, put it into {}, reload and resume", to.access_token.name())
}

/// Whether it is the request's head that is refused. Unverified: its words.
fn of_everybody(said: &str) -> bool {
    places(said).is_empty() && (said.contains("event_source") || said.contains("pixel_code"))
}

/// The places in `data` that a message names, and what it says of each: `Batch.0.properties.contents.3.content_id: Not a valid string`.
fn places(said: &str) -> Vec<(usize, String)> {
    let mut parts = said.split("Batch.");
    parts.next();
    let place = |part: &str| {
        let (digits, words) = part.split_at(part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len()));
        let words = words.trim_start_matches('.').trim_end_matches([' ', ',', ';']);
        Some((digits.parse().ok()?, shown(words)))
    };
    parts.filter_map(place).collect()
}

/// `contents.3.content_id` as `contents[3].content_id`, which a quotation lets stand.
fn shown(words: &str) -> String {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let mut out = String::new();
    for part in words.split('.') {
        match (number(part), out.is_empty()) {
            (true, _) => out.push_str(&format!("[{part}]")),
            (false, true) => out.push_str(part),
            (false, false) => out.push_str(&format!(".{part}")),
        }
    }
    quote(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_events_are_named_within_the_message() {
        let named = |said: &str| places(said).into_iter().map(|(n, words)| format!("{n} {words}")).collect::<Vec<_>>();
        assert_eq!(
            named("Batch.0.properties.contents.3.content_id: Not a valid string"),
            ["0 properties.contents[3].content_id: Not a valid string"]
        );
        assert_eq!(named("2 errors. Batch.12.event: Missing; Batch.7.user: jo@shop.example"), ["12 event: Missing", "7 user: ***"]);
        assert!(named("Batch.x, Batch., the batch").is_empty());
        assert!(of_everybody("Invalid event_source_id") && !of_everybody("Batch.1.event_source_url: no URL"));
    }
}
