//! What Adjust answers: the status, and `{"error": "Event request failed (WHY)"}`.
//!
//! | answer | verdict |
//! |---|---|
//! | 200 `OK`, or an object without an error (conversion values for SKAdNetwork) | delivered |
//! | 200 with anything else | retry, which at most once means unknown |
//! | 400 Ignoring event, earlier unique event tracked | delivered: a duplicate |
//! | 400 Invalid app token, Invalid event token; 403 App is inactive, Event token blocklisted; 404 App token not found | halted |
//! | 400 Bad event state, Invalid revenue, Invalid callback parameters, others; 403 Tracking disabled; 413 | rejected |
//! | 404 Device not found | retry: the install may be known later; after three of them rejected |
//! | 451 Device is opted out | rejected: the buyer wants it so |
//! | 401, other 403 and 404, 3xx | halted |
//! | 429, 5xx | retry |
//!
//! An event with an error is not recorded, so that it can be sent again also where repeats are counted.

use std::time::Duration;

use jiff::Timestamp;

use super::settings::Settings;
use crate::{
    event::Kind,
    outcome::{Outcome, Reply, by_api_status, quote},
};

/// How long to wait for an install to become known. The app was opened before, or there were no ids; minutes are the rule.
const INSTALLS: [Duration; 3] = [Duration::from_secs(600), Duration::from_secs(3_600), Duration::from_secs(6 * 3_600)];

/// `WHY` out of `Event request failed (WHY)`.
fn error(reply: &Reply) -> Option<String> {
    let body = reply.json()?;
    let text = body.get("error")?.as_str()?.trim();
    let inner = text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map(|(why, _)| why.trim());
    Some(inner.filter(|why| !why.is_empty()).unwrap_or(text).to_owned())
}

/// A refusal in Adjust's own words: nothing was recorded.
pub(super) fn refused(reply: &Reply) -> bool {
    (400..=499).contains(&reply.status) && error(reply).is_some()
}

fn taken(reply: &Reply) -> bool {
    let text = reply.text();
    text.trim().trim_matches('"').eq_ignore_ascii_case("ok") || reply.json().is_some_and(|body| body.is_object() && body.get("error").is_none())
}

/// Of an event of `kind`, sent for the `attempt`th time.
pub(super) fn outcome(to: &Settings, kind: Kind, attempt: u32, reply: &Reply, now: Timestamp) -> Outcome {
    let why = error(reply);
    let says = |word: &str| why.as_ref().is_some_and(|why| why.to_ascii_lowercase().contains(word));
    let words = || format!("HTTP {}: {}", reply.status, quote(why.as_deref().unwrap_or("no reason given")));
    match reply.status {
        200..=299 if taken(reply) => Outcome::delivered(),
        200..=299 => Outcome::retry(format!("HTTP {}, but no OK of Adjust's", reply.status)),
        400 if says("earlier unique event") => Outcome::noted("duplicate: the event is a unique one there"),
        400 if says("app token") => Outcome::halted(words(), format!("correct app_token (it is {}), reload and resume", to.app_token)),
        400 | 403 if says("event token") => {
            let kind = if kind.takes_back() { "refund" } else { kind.as_str() };
            Outcome::halted(words(), format!("correct events.{kind}, or allow that event in Adjust; reload and resume"))
        }
        403 if says("tracking disabled") => Outcome::rejected(words()),
        403 if says("inactive") => Outcome::halted(words(), "activate the app in Adjust, or correct app_token; resume"),
        404 if says("device not found") => match wait(attempt) {
            Some(after) => Outcome::Retry { why: words(), after: Some(after), throttled: false },
            None => Outcome::rejected(words()),
        },
        404 if says("app token") => Outcome::halted(words(), format!("correct app_token (it is {}), reload and resume", to.app_token)),
        400 | 413 | 451 => Outcome::rejected(words()),
        _ => by_api_status(reply, now, &renew(to)),
    }
}

/// How long to wait after an attempt that found no phone; `None`: no more.
fn wait(attempt: u32) -> Option<Duration> {
    INSTALLS.get(usize::try_from(attempt).ok()?.checked_sub(1)?).copied()
}

fn renew(to: &Settings) -> String {
    match &to.token {
        Some(token) => format!("put a token of the app (All settings > S2S Security) into {}, reload and resume", token.name()),
        None => "S2S Security is on for this app: set token = SECRET (All settings > S2S Security), reload and resume".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_that_stay_unknown_are_given_up() {
        assert_eq!(
            [1, 2, 3, 4, u32::MAX].map(|attempt| wait(attempt).map(|wait| wait.as_secs())),
            [Some(600), Some(3_600), Some(21_600), None, None]
        );
    }

    #[test]
    fn reasons_stand_in_brackets() {
        let why = |body: &str| error(&Reply::plain(400, body));
        assert_eq!(why(r#"{"error": "Event request failed (Bad event state (late))"}"#).as_deref(), Some("Bad event state (late)"));
        assert_eq!(why(r#"{"error": "Event request failed"}"#).as_deref(), Some("Event request failed"));
        assert_eq!((why(r#"{"error": 7}"#), why("[]"), why("<html>")), (None, None, None));
    }
}
