//! `[destination.NAME]` with `platform = "awin"`.

use std::{collections::BTreeMap, time::Duration};

use jiff::tz::TimeZone;
use toml::Table;

use super::BATCH_MAX;
use crate::{
    event::Kind,
    platform::{
        Resolve,
        keys::{self, Parsed},
        names::Names,
    },
    secret::Secret,
};

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) advertiser: String,
    pub(super) api_key: Option<Secret>,
    pub(super) validation_token: Option<Secret>,
    pub(super) commission_groups: Names,
    pub(super) channel: String,
    pub(super) timezone: (String, TimeZone),
    pub(super) decline_reason: String,
    pub(super) amend_reason: String,
    pub(super) custom: BTreeMap<String, String>,
    pub(super) items: bool,
    pub(super) coupon_is_enough: bool,
    pub(super) resend: bool,
    pub(super) base_url: String,
    pub(super) pixel_url: String,
    pub(super) batch: usize,
    pub(super) batch_wait: Duration,
    pub(super) test: bool,
}

const KEYS: [&str; 16] = [
    "advertiser",
    "api_key",
    "validation_token",
    "commission_groups",
    "channel",
    "timezone",
    "decline_reason",
    "amend_reason",
    "custom",
    "items",
    "attribution",
    "resend",
    "base_url",
    "pixel_url",
    "batch",
    "batch_wait",
];

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        let text = |key: &str, default: &str| Ok(keys::some_text(table, key)?.unwrap_or_else(|| default.to_owned()));
        let secret = |key: &str| keys::given(table, key, |key| keys::header_key(table, key, resolve));
        let zone = text("timezone", "UTC")?;
        let Ok(rules) = TimeZone::get(&zone) else {
            return keys::wrong("timezone", format!("{zone:?} is no time zone, e.g. \"Europe/London\""));
        };
        let custom = keys::named(table, "custom", |value, key| match value.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => keys::wrong(key, "a text is expected"),
        })?;
        if let Some((key, _)) = custom.iter().find(|(key, _)| key.parse::<u8>().map_or(true, |number| number == 0)) {
            return keys::wrong(format!("custom.{key}"), "Awin numbers custom parameters: custom = { 1 = \"..\" }");
        }
        Ok(Self {
            advertiser: keys::digits(table, "advertiser", "1001")?,
            api_key: secret("api_key")?,
            validation_token: secret("validation_token")?,
            commission_groups: Names::parse(table, "commission_groups", &[(Kind::Purchase, "DEFAULT")])?,
            channel: text("channel", "aw")?,
            timezone: (zone, rules),
            decline_reason: text("decline_reason", "order returned")?,
            amend_reason: text("amend_reason", "partial return")?,
            custom: custom.into_iter().collect(),
            items: keys::choice(table, "items", true, &[("send", true), ("never", false)])?,
            coupon_is_enough: keys::choice(table, "attribution", false, &[("click", false), ("click_or_coupon", true)])?,
            resend: keys::resend(table)?,
            base_url: keys::base_url(table, "base_url", "https://api.awin.com")?,
            pixel_url: keys::base_url(table, "pixel_url", "https://www.awin1.com")?,
            batch: keys::whole(table, "batch", 100, 1..=BATCH_MAX)?,
            batch_wait: keys::span(table, "batch_wait", Duration::from_secs(10), Duration::from_secs(60))?,
            test: false,
        })
    }
}
