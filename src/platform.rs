//! The adapters: event(s) in, HTTP request out; reply in, verdict per event out. Pure, one file each.
//!
//! A new platform is one file with its goldens, one line in [`Settings`], one row in the README.

pub mod postback;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    delivery::{Delivery, Facts},
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

/// Parsed settings of one destination, by platform.
#[derive(Clone, Debug)]
pub enum Settings {
    /// Any tracker or network that takes a postback URL.
    Postback(Box<postback::Settings>),
}

/// Why no request can be built for a delivery, ever: it becomes `skipped` (the platform does not want it) or `dead`
/// (something is wrong with it). Texts name fields, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `skipped: ..`
    Skip(String),
    /// `dead: ..`
    Dead(String),
}

/// A key of `[destination.NAME]` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingError {
    /// Dotted path below the destination's table, e.g. `refund.url`; the configuration finds the line.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Turns a value of the configuration (text or `{ env = ".." }`, `{ file = ".." }`, `{ credential = ".." }`) into a secret;
/// the error says what was tried.
pub type Resolve<'a> = &'a dyn Fn(&toml::Value) -> Result<crate::secret::Secret, String>;

impl Settings {
    /// Parses a destination's own keys: `table` holds what is left when the keys common to all platforms are taken out.
    pub fn parse(platform: &str, table: &toml::Table, resolve: Resolve<'_>) -> Result<Self, SettingError> {
        match platform {
            "postback" => Ok(Self::Postback(Box::new(postback::Settings::parse(table, resolve)?))),
            other => {
                Err(SettingError { key: "platform".into(), message: format!("there is no platform {other:?}; known: {}", Self::KNOWN.join(", ")) })
            }
        }
    }

    /// Names for `platform = "..."`.
    pub const KNOWN: [&'static str; 1] = ["postback"];

    /// The name in `platform = "..."`.
    pub fn platform(&self) -> &'static str {
        match self {
            Self::Postback(_) => "postback",
        }
    }

    /// What is true of the platform under these settings.
    pub fn facts(&self) -> Facts {
        match self {
            Self::Postback(settings) => settings.facts(),
        }
    }

    /// The platform's name for a kind; `None`: it has no such conversion (`skipped: kind not mapped`).
    pub fn name_of(&self, kind: Kind) -> Option<String> {
        match self {
            Self::Postback(settings) => settings.name_of(kind),
        }
    }

    /// What is worth a word about these kinds although it is no error; `check` prints it. No secrets.
    pub fn warnings(&self, kinds: &BTreeSet<Kind>) -> Vec<String> {
        match self {
            Self::Postback(settings) => settings.warnings(kinds),
        }
    }

    /// Deliveries in one request must agree on this; `None`: any may share one.
    pub fn batch_key(&self, delivery: &Delivery) -> Option<String> {
        let _ = delivery;
        match self {
            Self::Postback(_) => None,
        }
    }

    /// The request for a batch of at most `facts().batch_max` deliveries.
    pub fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        match self {
            Self::Postback(settings) => postback::request(settings, batch, now),
        }
    }

    /// One verdict per delivery of the batch, in its order.
    pub fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        match self {
            Self::Postback(settings) => postback::outcome(settings, batch, reply, now),
        }
    }
}
