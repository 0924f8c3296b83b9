//! `[destination.NAME]` with `platform = "appsflyer"`.

use toml::Table;

use crate::{
    event::Kind,
    platform::{
        Resolve,
        device::{Apps, System},
        keys::{self, Parsed},
        limited::Limited,
        names::Names,
    },
    secret::Secret,
};

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) apps: Apps,
    pub(super) ios_bundle: Option<String>,
    pub(super) s2s_key: Secret,
    pub(super) names: Names,
    pub(super) refunds: bool,
    pub(super) user_data: bool,
    pub(super) limited: Limited,
    pub(super) base_url: String,
}

const KEYS: [&str; 8] = ["apps", "ios_bundle", "s2s_key", "names", "refunds", "user_data", "limited_data_use", "base_url"];

/// AppsFlyer's names for in-app events. There is none for leads, and installs are the SDK's. One for refunds is not fixed either.
const NAMES: [(Kind, &str); 4] = [
    (Kind::Purchase, "af_purchase"),
    (Kind::Refund, "cancel_purchase"),
    (Kind::Signup, "af_complete_registration"),
    (Kind::Subscribe, "af_subscribe"),
];

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        let apps = Apps::parse(table, ("id123456789", "com.example.shop"))?;
        let digits = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        // Without the two letters AppsFlyer answers 200 and loses every event.
        if apps.on(System::Ios).is_some_and(|app| !app.strip_prefix("id").is_some_and(digits)) {
            return keys::wrong("apps.ios", "id and the number in the App Store are expected: \"id123456789\"");
        }
        if apps.on(System::Android).is_some_and(digits) {
            return keys::wrong("apps.android", "the name of the package is expected: \"com.example.shop\"");
        }
        Ok(Self {
            apps,
            ios_bundle: keys::some_text(table, "ios_bundle")?,
            s2s_key: keys::header_key(table, "s2s_key", resolve)?,
            names: Names::parse(table, "names", &NAMES)?,
            refunds: keys::choice(table, "refunds", true, &[("negative", true), ("none", false)])?,
            user_data: keys::choice(table, "user_data", false, &[("send", true), ("never", false)])?,
            limited: Limited::parse(table)?,
            base_url: keys::base_url(table, "base_url", "https://api3.appsflyer.com")?,
        })
    }
}
