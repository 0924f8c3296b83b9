//! `[destination.NAME]` with `platform = "ga4"`.

use toml::Table;

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
    pub(super) measurement_id: String,
    pub(super) api_secret: Secret,
    pub(super) base_url: String,
    pub(super) names: Names,
    pub(super) order_as_transaction: bool,
    pub(super) order_as_client: bool,
    pub(super) user_id: bool,
    pub(super) user_data: bool,
    pub(super) purchases_repeat: bool,
    pub(super) debug_view: bool,
    pub(super) test: bool,
}

const KEYS: [&str; 10] =
    ["measurement_id", "api_secret", "base_url", "names", "transaction_id", "without_client_id", "user_id", "user_data", "resend", "debug_view"];

/// reference/events: recommended events.
const NAMES: [(Kind, &str); 4] = [(Kind::Purchase, "purchase"), (Kind::Refund, "refund"), (Kind::Lead, "generate_lead"), (Kind::Signup, "sign_up")];
/// reference: events that only Google's own libraries may send.
const RESERVED: [&str; 10] = [
    "ad_click",
    "ad_impression",
    "app_remove",
    "app_update",
    "error",
    "first_open",
    "first_visit",
    "in_app_purchase",
    "session_start",
    "user_engagement",
];
/// Unverified: characters of an event's name.
const NAME_MAX: usize = 40;

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        let measurement_id = keys::path_part(table, "measurement_id", "G-ABC123DEF4")?;
        if !measurement_id.starts_with("G-") {
            return keys::wrong("measurement_id", "it begins with G-: Admin > Data streams shows it, e.g. \"G-ABC123DEF4\"");
        }
        let names = Names::parse(table, "names", &NAMES)?;
        for (kind, name) in names.iter() {
            if RESERVED.contains(&name) {
                return keys::wrong(format!("names.{kind}"), format!("Google Analytics keeps {name:?} for itself and refuses it"));
            }
            let plain = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !plain || name.len() > NAME_MAX {
                return keys::wrong(format!("names.{kind}"), format!("letters, digits and _ are expected, a letter first, {NAME_MAX} at most"));
            }
        }
        Ok(Self {
            measurement_id,
            api_secret: keys::secret_key(table, "api_secret", resolve)?,
            base_url: keys::base_url(table, "base_url", "https://www.google-analytics.com")?,
            names,
            order_as_transaction: keys::choice(table, "transaction_id", true, &[("order", true), ("event_id", false)])?,
            order_as_client: keys::choice(table, "without_client_id", false, &[("skip", false), ("order", true)])?,
            user_id: keys::choice(table, "user_id", true, &[("external_id", true), ("never", false)])?,
            user_data: keys::choice(table, "user_data", false, &[("send", true), ("never", false)])?,
            purchases_repeat: keys::choice(table, "resend", false, &[("never", false), ("purchases", true)])?,
            debug_view: keys::flag(table, "debug_view")?,
            test: false,
        })
    }
}
