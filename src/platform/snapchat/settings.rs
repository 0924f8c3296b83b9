//! `[destination.NAME]` with `platform = "snapchat"`.

use std::time::Duration;

use toml::Table;

use super::BATCH_MAX;
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
    pub(super) pixel: String,
    pub(super) access_token: Secret,
    pub(super) version: String,
    pub(super) base_url: String,
    pub(super) names: Names,
    pub(super) action_source: &'static str,
    pub(super) source_url: Option<String>,
    pub(super) test: bool,
    pub(super) resend: bool,
    pub(super) limited: Limited,
    pub(super) limited_as: &'static str,
    pub(super) batch: usize,
    pub(super) batch_wait: Duration,
}

const KEYS: [&str; 12] = [
    "pixel",
    "access_token",
    "version",
    "base_url",
    "names",
    "action_source",
    "source_url",
    "resend",
    "limited_data_use",
    "limited_data_use_as",
    "batch",
    "batch_wait",
];

/// Parameters, server parameters. There is none for leads and refunds.
const NAMES: [(Kind, &str); 3] = [(Kind::Purchase, "PURCHASE"), (Kind::Signup, "SIGN_UP"), (Kind::Subscribe, "SUBSCRIBE")];

/// Parameters: all that Snap knows.
pub(super) const EVENTS: [&str; 31] = [
    "PURCHASE",
    "SAVE",
    "START_CHECKOUT",
    "ADD_CART",
    "VIEW_CONTENT",
    "ADD_BILLING",
    "SIGN_UP",
    "SEARCH",
    "PAGE_VIEW",
    "SUBSCRIBE",
    "AD_CLICK",
    "AD_VIEW",
    "COMPLETE_TUTORIAL",
    "LEVEL_COMPLETE",
    "INVITE",
    "LOGIN",
    "SHARE",
    "RESERVE",
    "ACHIEVEMENT_UNLOCKED",
    "ADD_TO_WISHLIST",
    "SPENT_CREDITS",
    "RATE",
    "START_TRIAL",
    "LIST_VIEW",
    "APP_INSTALL",
    "APP_OPEN",
    "CUSTOM_EVENT_1",
    "CUSTOM_EVENT_2",
    "CUSTOM_EVENT_3",
    "CUSTOM_EVENT_4",
    "CUSTOM_EVENT_5",
];

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        Ok(Self {
            pixel: keys::path_part(table, "pixel", "1ec32188-754e-4be2-8e55-c949a984a39f")?,
            access_token: keys::secret_key(table, "access_token", resolve)?,
            version: keys::version(table, "v3")?,
            base_url: keys::base_url(table, "base_url", "https://tr.snapchat.com")?,
            names: Names::parse(table, "names", &NAMES)?,
            action_source: keys::choice(table, "action_source", "WEB", &[("web", "WEB"), ("offline", "OFFLINE")])?,
            source_url: keys::some_text(table, "source_url")?,
            test: false,
            resend: keys::choice(table, "resend", true, &[("48h", true), ("never", false)])?,
            limited: Limited::parse(table)?,
            limited_as: keys::choice(table, "limited_data_use_as", "LMU", &[("LMU", "LMU"), ("LDU", "LDU")])?,
            batch: keys::whole(table, "batch", 100, 1..=BATCH_MAX)?,
            batch_wait: keys::batch_wait(table)?,
        })
    }
}
