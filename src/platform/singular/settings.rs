//! `[destination.NAME]` with `platform = "singular"`.

use toml::Table;

use crate::{
    delivery::RefundShape,
    event::Kind,
    platform::{
        Resolve,
        device::Apps,
        keys::{self, Parsed},
        limited::Limited,
        names::Names,
    },
    secret::Secret,
};

/// By what a phone is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// By the ids of its system.
    V1,
    /// By Singular's own id.
    V2,
}

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) apps: Apps,
    pub(super) sdk_key: Secret,
    pub(super) sandbox_sdk_key: Option<Secret>,
    pub(super) version: Version,
    pub(super) names: Names,
    /// `Event`: without revenue, the amount stands among its attributes.
    pub(super) refunds: RefundShape,
    pub(super) limited: Limited,
    pub(super) base_url: String,
}

const KEYS: [&str; 8] = ["apps", "sdk_key", "sandbox_sdk_key", "version", "names", "refunds", "limited_data_use", "base_url"];

/// Singular's standard events; there is none for leads and refunds, and installs are the SDK's. `__iap__` is revenue by its name.
const NAMES: [(Kind, &str); 4] =
    [(Kind::Purchase, "__iap__"), (Kind::Refund, "refund"), (Kind::Signup, "sng_complete_registration"), (Kind::Subscribe, "sng_subscribe")];

/// EVENT endpoint: `n`.
const NAME_MAX: usize = 32;

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        let names = Names::parse(table, "names", &NAMES)?;
        if let Some((kind, name)) = names.iter().find(|(_, name)| !name.is_ascii() || name.len() > NAME_MAX) {
            let long = name.chars().count();
            return keys::wrong(format!("names.{kind}"), format!("at most {NAME_MAX} ASCII characters are expected, these are {long}"));
        }
        let shapes = [("event", RefundShape::Event), ("negative", RefundShape::Negative), ("none", RefundShape::None)];
        Ok(Self {
            apps: Apps::parse(table, ("com.example.shop", "com.example.shop"))?,
            sdk_key: keys::secret_key(table, "sdk_key", resolve)?,
            sandbox_sdk_key: keys::given(table, "sandbox_sdk_key", |key| keys::secret_key(table, key, resolve))?,
            version: keys::choice(table, "version", Version::V2, &[("v1", Version::V1), ("v2", Version::V2)])?,
            names,
            refunds: keys::choice(table, "refunds", RefundShape::Event, &shapes)?,
            limited: Limited::parse(table)?,
            base_url: keys::base_url(table, "base_url", "https://s2s.singular.net")?,
        })
    }
}
