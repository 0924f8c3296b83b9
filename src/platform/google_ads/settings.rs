//! `[destination.NAME]` with `platform = "google_ads"`.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
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
    secret::Secret,
};

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) account: String,
    pub(super) login_account: Option<String>,
    pub(super) developer_token: Secret,
    pub(super) actions: Names,
    pub(super) grant: Arc<Grant>,
    pub(super) version: String,
    pub(super) base_url: String,
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
    "developer_token",
    "actions",
    "oauth",
    "service_account",
    "token_url",
    "version",
    "base_url",
    "transaction_id",
    "user_data",
    "merchant_id",
    "feed_country",
    "feed_language",
    "after_click",
    "max_age",
    "refund_max_age",
    "batch",
    "batch_wait",
];
const SCOPE: &str = "https://www.googleapis.com/auth/adwords";
/// google-ads 34.0.0 (2026-10) has these; unverified: that a version lives for about a year, and when each of them came.
const VERSIONS: [(&str, &str); 4] = [("v23", "2027-01-01"), ("v24", "2027-04-01"), ("v25", "2027-07-01"), ("v26", "2027-10-01")];
const EARLY: SignedDuration = SignedDuration::from_hours(60 * 24);

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        Ok(Self {
            account: keys::digits(table, "account", "1234567890")?,
            login_account: keys::given(table, "login_account", |key| keys::digits(table, key, "9876543210"))?,
            developer_token: keys::header_key(table, "developer_token", resolve)?,
            actions: Names::parse_ids(table, "actions", "555111222")?,
            grant: keys::google_grant(table, SCOPE, resolve)?,
            version: keys::version(table, "v26")?,
            base_url: keys::base_url(table, "base_url", "https://googleads.googleapis.com")?,
            order_as_transaction: keys::choice(table, "transaction_id", false, &[("event_id", false), ("order", true)])?,
            user_data: keys::choice(table, "user_data", true, &[("send", true), ("never", false)])?,
            merchant: Merchant::parse(table, "feed_country")?,
            after_click: keys::span(table, "after_click", Duration::from_secs(6 * 3_600), DAY)?,
            // Unverified: the longest window that a conversion action can have.
            max_age: keys::span(table, "max_age", 90 * DAY, 90 * DAY)?,
            refund_max_age: keys::span(table, "refund_max_age", 54 * DAY, 54 * DAY)?,
            batch: keys::whole(table, "batch", 40, 1..=BATCH_MAX)?,
            batch_wait: keys::batch_wait(table)?,
            test: false,
        })
    }

    /// When the version is expected to end; one that is older than all known ones has ended before them.
    pub(super) fn version_end(&self) -> Option<Timestamp> {
        let (oldest, ends) = VERSIONS.first()?;
        match VERSIONS.iter().find(|(version, _)| *version == self.version) {
            Some((_, ends)) => day(ends),
            None if number(&self.version)? < number(oldest)? => day(ends),
            None => None,
        }
    }

    /// What `check` says of a version that is gone, or soon will be.
    pub(super) fn version_warning(&self, now: Timestamp) -> Option<String> {
        let (newest, _) = VERSIONS.last()?;
        let Some((_, ends)) = VERSIONS.iter().find(|(version, _)| *version == self.version) else {
            return (number(&self.version) < number(newest))
                .then(|| format!("version {} of the Google Ads API is not known to be served any more; the newest known is {newest}", self.version));
        };
        let near = day(ends).is_some_and(|ends| ends.duration_since(now) < EARLY);
        near.then(|| {
            format!("version {} of the Google Ads API is expected to end about {ends}; see its sunset page, and set a newer version", self.version)
        })
    }
}

fn number(version: &str) -> Option<u32> {
    version.trim_start_matches('v').split('.').next()?.parse().ok()
}

fn day(date: &str) -> Option<Timestamp> {
    format!("{date}T00:00:00Z").parse().ok()
}
