//! What AppsFlyer answers.
//!
//! | answer | verdict |
//! |---|---|
//! | 200 `OK` | delivered: received, which is all that is ever said |
//! | 200 with anything else | retry, which at most once means unknown |
//! | 400 Failed to Authenticate, app_id | halted |
//! | 400 appsflyer_id is a mandatory field, Bad request, Payload .., others; 413 | rejected |
//! | 401, 403, 404, 3xx | halted |
//! | 500 | retry, which at most once means unknown: only the page says that it is about the JSON |
//! | 429, 5xx | retry |

use jiff::Timestamp;

use super::settings::Settings;
use crate::{
    delivery::Delivery,
    outcome::{Outcome, Reply, by_api_status, quote},
};

pub(super) fn outcome(to: &Settings, delivery: &Delivery, reply: &Reply, now: Timestamp) -> Outcome {
    match reply.status {
        200..=299 if said(reply).eq_ignore_ascii_case("ok") => Outcome::Delivered { answer: to.apps.receipt(delivery), note: None },
        _ => refused(to, reply, now),
    }
}

/// What is wrong, for an answer that is no `OK`.
pub(super) fn refused(to: &Settings, reply: &Reply, now: Timestamp) -> Outcome {
    let words = format!("HTTP {}: {}", reply.status, quote(&said(reply)));
    match reply.status {
        200..=299 => Outcome::retry(format!("HTTP {}, but no OK of AppsFlyer's", reply.status)),
        400 if of_everybody(&said(reply)) => Outcome::halted(words, fix(to)),
        400 | 413 => Outcome::rejected(words),
        401 | 403 => Outcome::halted(format!("AppsFlyer refuses the key ({words})"), fix(to)),
        _ => by_api_status(reply, now, &fix(to)),
    }
}

/// A text, or a text as JSON.
fn said(reply: &Reply) -> String {
    let text = reply.text();
    text.trim().trim_matches('"').trim().to_owned()
}

/// The key or the app, not the event.
fn of_everybody(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    said.contains("authenticate") || said.contains("app_id")
}

fn fix(to: &Settings) -> String {
    format!(
        "put the server-to-server key of the account that has the apps into {}, correct apps, or ask AppsFlyer whether the plan includes these events; reload and resume",
        to.s2s_key.name()
    )
}
