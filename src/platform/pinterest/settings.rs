//! `[destination.NAME]` with `platform = "pinterest"`.

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
    pub(super) ad_account: String,
    pub(super) access_token: Secret,
    pub(super) version: String,
    pub(super) base_url: String,
    pub(super) names: Names,
    pub(super) action_source: &'static str,
    pub(super) source_url: Option<String>,
    pub(super) app_id: Option<String>,
    pub(super) test: bool,
    pub(super) resend: Option<Duration>,
    pub(super) limited: Limited,
    pub(super) max_age: Duration,
    pub(super) batch: usize,
    pub(super) batch_wait: Duration,
}

const KEYS: [&str; 13] = [
    "ad_account",
    "access_token",
    "version",
    "base_url",
    "names",
    "action_source",
    "source_url",
    "app_id",
    "resend",
    "limited_data_use",
    "max_age",
    "batch",
    "batch_wait",
];

/// events/create: `event_name`. There is none for refunds.
const NAMES: [(Kind, &str); 6] = [
    (Kind::Purchase, "checkout"),
    (Kind::Lead, "lead"),
    (Kind::Signup, "signup"),
    (Kind::Install, "app_install"),
    (Kind::Subscribe, "subscribe"),
    (Kind::Custom, "custom"),
];

/// events/create, and the two more of docs/conversions.
pub(super) const EVENTS: [&str; 17] = [
    "add_payment_info",
    "add_to_cart",
    "add_to_wishlist",
    "app_install",
    "app_open",
    "checkout",
    "contact",
    "custom",
    "initiate_checkout",
    "lead",
    "page_visit",
    "search",
    "signup",
    "subscribe",
    "view_category",
    "view_content",
    "watch_video",
];

/// events/create: `action_source`.
const SOURCES: [&str; 4] = ["web", "app_ios", "app_android", "offline"];

const HOUR: Duration = Duration::from_secs(3_600);
/// Unverified: for how long Pinterest drops repeats. What comes an hour after its time is counted as offline, where none are
/// dropped, but then the first answer has to have been lost just before an outage of an hour.
const DAY: Duration = Duration::from_secs(86_400);

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        let action_source = keys::word(table, "action_source", "web", &SOURCES)?;
        let app_id = keys::scalar(table, "app_id")?;
        if app_id.is_some() && !action_source.starts_with("app_") {
            return keys::wrong("app_id", "it belongs to action_source = \"app_ios\" or \"app_android\"");
        }
        Ok(Self {
            ad_account: keys::digits(table, "ad_account", "549755885175")?,
            access_token: keys::header_key(table, "access_token", resolve)?,
            version: keys::version(table, "v5")?,
            base_url: keys::base_url(table, "base_url", "https://api.pinterest.com")?,
            names: Names::parse(table, "names", &NAMES)?,
            action_source,
            source_url: keys::some_text(table, "source_url")?,
            app_id,
            test: false,
            resend: keys::choice(table, "resend", Some(DAY), &[("24h", Some(DAY)), ("1h", Some(HOUR)), ("never", None)])?,
            limited: Limited::parse(table)?,
            max_age: keys::span(table, "max_age", AGE, AGE_MOST)?,
            batch: keys::whole(table, "batch", 100, 1..=BATCH_MAX)?,
            batch_wait: keys::batch_wait(table)?,
        })
    }
}
