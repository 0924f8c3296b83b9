//! `[destination.NAME]` with `platform = "tiktok"`.

use std::time::Duration;

use toml::Table;

use super::{AGE, AGE_MOST, BATCH_MAX};
use crate::{
    event::Kind,
    platform::{
        Resolve,
        keys::{self, Parsed},
        limited::Limited,
        names::Names,
    },
    secret::Secret,
};

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) event_source: Source,
    pub(super) event_source_id: String,
    pub(super) access_token: Secret,
    pub(super) version: String,
    pub(super) base_url: String,
    pub(super) names: Names,
    pub(super) source_url: Option<String>,
    pub(super) test_event_code: Option<String>,
    pub(super) test: bool,
    pub(super) refunds: bool,
    pub(super) resend: bool,
    pub(super) limited: Limited,
    pub(super) max_age: Duration,
    pub(super) batch: usize,
    pub(super) batch_wait: Duration,
}

/// Whose events they are: `event_source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A pixel's.
    Web,
    /// An offline event set's.
    Offline,
}

impl Source {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Offline => "offline",
        }
    }
}

const KEYS: [&str; 14] = [
    "event_source",
    "event_source_id",
    "access_token",
    "version",
    "base_url",
    "names",
    "source_url",
    "test_event_code",
    "refunds",
    "resend",
    "limited_data_use",
    "max_age",
    "batch",
    "batch_wait",
];

/// supported-standard-events; `Refund` is a custom one.
const NAMES: [(Kind, &str); 5] = [
    (Kind::Purchase, "Purchase"),
    (Kind::Refund, "Refund"),
    (Kind::Lead, "Lead"),
    (Kind::Signup, "CompleteRegistration"),
    (Kind::Subscribe, "Subscribe"),
];

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        Ok(Self {
            event_source: keys::choice(table, "event_source", Source::Web, &[("web", Source::Web), ("offline", Source::Offline)])?,
            event_source_id: keys::path_part(table, "event_source_id", "C4ABCDEFGHIJKLMNOPQR")?,
            access_token: keys::header_key(table, "access_token", resolve)?,
            version: keys::version(table, "v1.3")?,
            base_url: keys::base_url(table, "base_url", "https://business-api.tiktok.com")?,
            names: Names::parse(table, "names", &NAMES)?,
            source_url: keys::some_text(table, "source_url")?,
            test_event_code: keys::some_text(table, "test_event_code")?,
            test: false,
            refunds: keys::choice(table, "refunds", false, &[("none", false), ("event", true)])?,
            resend: keys::choice(table, "resend", true, &[("48h", true), ("never", false)])?,
            limited: Limited::parse(table)?,
            max_age: keys::span(table, "max_age", AGE, AGE_MOST)?,
            batch: keys::whole(table, "batch", 100, 1..=BATCH_MAX)?,
            batch_wait: keys::batch_wait(table)?,
        })
    }
}
