//! `[destination.NAME]` with `platform = "meta"`.

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
    template::filters::hmac,
};

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) dataset: String,
    pub(super) access_token: Secret,
    pub(super) app_secret: Option<Secret>,
    pub(super) version: String,
    pub(super) base_url: String,
    pub(super) names: Names,
    pub(super) action_source: &'static str,
    pub(super) source_url: Option<String>,
    pub(super) test_event_code: Option<String>,
    pub(super) test: bool,
    pub(super) refunds: bool,
    pub(super) resend: bool,
    pub(super) hash_external_id: bool,
    pub(super) limited: Limited,
    pub(super) order_as_click: bool,
    pub(super) batch: usize,
    pub(super) batch_wait: Duration,
}

const KEYS: [&str; 16] = [
    "dataset",
    "access_token",
    "app_secret",
    "version",
    "base_url",
    "names",
    "action_source",
    "source_url",
    "test_event_code",
    "refunds",
    "resend",
    "external_id",
    "limited_data_use",
    "fbc_without_click_time",
    "batch",
    "batch_wait",
];

/// server-event: standard events; `Refund` is a custom one.
const NAMES: [(Kind, &str); 5] = [
    (Kind::Purchase, "Purchase"),
    (Kind::Refund, "Refund"),
    (Kind::Lead, "Lead"),
    (Kind::Signup, "CompleteRegistration"),
    (Kind::Subscribe, "Subscribe"),
];

/// server-event: `action_source`.
const SOURCES: [&str; 9] = ["website", "app", "email", "phone_call", "chat", "physical_store", "system_generated", "business_messaging", "other"];

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        Ok(Self {
            dataset: keys::digits(table, "dataset", "1234567890123456")?,
            access_token: keys::secret_key(table, "access_token", resolve)?,
            app_secret: keys::given(table, "app_secret", |key| keys::secret_key(table, key, resolve))?,
            version: keys::version(table, "v26.0")?,
            base_url: keys::base_url(table, "base_url", "https://graph.facebook.com")?,
            names: Names::parse(table, "names", &NAMES)?,
            action_source: keys::word(table, "action_source", "website", &SOURCES)?,
            source_url: keys::some_text(table, "source_url")?,
            test_event_code: keys::some_text(table, "test_event_code")?,
            test: false,
            refunds: keys::choice(table, "refunds", false, &[("none", false), ("event", true)])?,
            resend: keys::choice(table, "resend", true, &[("48h", true), ("never", false)])?,
            hash_external_id: keys::choice(table, "external_id", true, &[("hash", true), ("plain", false)])?,
            limited: Limited::parse(table)?,
            order_as_click: keys::choice(table, "fbc_without_click_time", true, &[("order_time", true), ("leave_out", false)])?,
            batch: keys::whole(table, "batch", 100, 1..=BATCH_MAX)?,
            batch_wait: keys::batch_wait(table)?,
        })
    }

    pub(super) fn dataset_url(&self) -> String {
        format!("{}/{}/{}", self.base_url, self.version, self.dataset)
    }

    /// `appsecret_proof`, for apps that require it: HMAC-SHA256 of the token under the app's secret, in hex.
    pub(super) fn proof(&self) -> Option<String> {
        let secret = self.app_secret.as_ref()?;
        Some(hex::encode(hmac("sha256", secret.reveal(), self.access_token.reveal().as_bytes())?))
    }
}
