//! `[destination.NAME]` with `platform = "google_data_manager"`.

use std::{sync::Arc, time::Duration};

use toml::Table;

use super::BATCH_MAX;
use crate::{
    grant::Grant,
    platform::{
        Resolve,
        google::Merchant,
        keys::{self, Parsed},
        names::Names,
        times::DAY,
    },
};

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) account: String,
    pub(super) login_account: Option<String>,
    pub(super) actions: Names,
    pub(super) grant: Arc<Grant>,
    pub(super) project: Option<String>,
    pub(super) base_url: String,
    pub(super) event_source: &'static str,
    pub(super) order_as_transaction: bool,
    pub(super) user_data: bool,
    pub(super) merchant: Option<Merchant>,
    pub(super) after_click: Duration,
    pub(super) max_age: Duration,
    pub(super) refund_max_age: Duration,
    pub(super) batch: usize,
    pub(super) batch_wait: Duration,
    pub(super) test: bool,
}

const KEYS: [&str; 19] = [
    "account",
    "login_account",
    "actions",
    "oauth",
    "service_account",
    "token_url",
    "project",
    "base_url",
    "event_source",
    "transaction_id",
    "user_data",
    "merchant_id",
    "feed_label",
    "feed_language",
    "after_click",
    "max_age",
    "refund_max_age",
    "batch",
    "batch_wait",
];
const SCOPE: &str = "https://www.googleapis.com/auth/datamanager";
/// Event: `eventSource`.
const SOURCES: [&str; 6] = ["WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER"];

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        Ok(Self {
            account: keys::digits(table, "account", "1234567890")?,
            login_account: keys::given(table, "login_account", |key| keys::digits(table, key, "9876543210"))?,
            actions: Names::parse_ids(table, "actions", "555111222")?,
            grant: keys::google_grant(table, SCOPE, resolve)?,
            project: keys::given(table, "project", |key| keys::path_part(table, key, "my-project-1"))?,
            base_url: keys::base_url(table, "base_url", "https://datamanager.googleapis.com")?,
            event_source: keys::word(table, "event_source", "WEB", &SOURCES)?,
            order_as_transaction: keys::choice(table, "transaction_id", false, &[("event_id", false), ("order", true)])?,
            user_data: keys::choice(table, "user_data", true, &[("send", true), ("never", false)])?,
            merchant: Merchant::parse(table, "feed_label")?,
            // Stated for the Google Ads API; unverified for this one.
            after_click: keys::span(table, "after_click", Duration::from_secs(6 * 3_600), DAY)?,
            // The longest window that a conversion action can have; unverified: what the API itself takes.
            max_age: keys::span(table, "max_age", 90 * DAY, 90 * DAY)?,
            // Stated for the Google Ads API; unverified for this one.
            refund_max_age: keys::span(table, "refund_max_age", 54 * DAY, 365 * DAY)?,
            batch: keys::whole(table, "batch", 100, 1..=BATCH_MAX)?,
            batch_wait: keys::batch_wait(table)?,
            test: false,
        })
    }
}
