//! `[destination.NAME]` with `platform = "google_data_manager"`.

use std::{sync::Arc, time::Duration};

use toml::Table;

use super::BATCH_MAX;
use crate::{
    grant::Grant,
    platform::{
        Resolve,
        keys::{self, Parsed},
        names::Names,
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
    pub(super) age_max: Duration,
    pub(super) refund_window: Duration,
    pub(super) batch: usize,
    pub(super) batch_wait: Duration,
    pub(super) test: bool,
}

/// Whose products the items are.
#[derive(Clone, Debug)]
pub(super) struct Merchant {
    pub id: String,
    pub feed_label: Option<String>,
    pub feed_language: Option<String>,
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
    "age_max",
    "refund_window",
    "batch",
    "batch_wait",
];
const SCOPE: &str = "https://www.googleapis.com/auth/datamanager";
/// Event: `eventSource`.
const SOURCES: [&str; 6] = ["WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER"];
const DAY: Duration = Duration::from_secs(86_400);

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        let optional = |key: &str| keys::text(table, key).map(|text| text.map(str::to_owned));
        let actions = Names::parse(table, "actions", &[])?;
        if actions.iter().next().is_none() {
            return keys::wrong(
                "actions",
                "it is missing: actions = { purchase = \"555111222\" }, ids of conversion actions of type \"import from clicks\"",
            );
        }
        if let Some((kind, _)) = actions.iter().find(|(_, id)| !id.bytes().all(|b| b.is_ascii_digit())) {
            return keys::wrong(
                format!("actions.{kind}"),
                "the id of a conversion action is digits alone; Google Ads shows it as ctId in its page's address",
            );
        }
        if actions.of(crate::event::Kind::Refund).is_some() {
            return keys::wrong("actions.refund", "a refund adjusts its purchase's conversion and has no action of its own: leave it out");
        }
        let merchant =
            optional("merchant_id")?.map(|id| Ok(Merchant { id, feed_label: optional("feed_label")?, feed_language: optional("feed_language")? }));
        Ok(Self {
            account: keys::digits(table, "account", "1234567890")?,
            login_account: table.contains_key("login_account").then(|| keys::digits(table, "login_account", "9876543210")).transpose()?,
            actions,
            grant: keys::google_grant(table, SCOPE, resolve)?,
            project: table.contains_key("project").then(|| keys::path_part(table, "project", "my-project-1")).transpose()?,
            base_url: keys::base_url(table, "base_url", "https://datamanager.googleapis.com")?,
            event_source: keys::choice(table, "event_source", "WEB", &SOURCES.map(|source| (source, source)))?,
            order_as_transaction: keys::choice(table, "transaction_id", false, &[("event_id", false), ("order", true)])?,
            user_data: keys::choice(table, "user_data", true, &[("send", true), ("never", false)])?,
            merchant: merchant.transpose()?,
            // Stated for the Google Ads API; unverified for this one.
            after_click: keys::span(table, "after_click", Duration::from_secs(6 * 3_600), DAY)?,
            // The longest window that a conversion action can have; unverified: what the API itself takes.
            age_max: keys::span(table, "age_max", 90 * DAY, 90 * DAY)?,
            // Stated for the Google Ads API; unverified for this one.
            refund_window: keys::span(table, "refund_window", 54 * DAY, 365 * DAY)?,
            batch: keys::whole(table, "batch", 100, 1..=BATCH_MAX)?,
            batch_wait: keys::span(table, "batch_wait", Duration::from_secs(1), Duration::from_secs(600))?,
            test: false,
        })
    }
}
