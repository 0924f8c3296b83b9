//! `[destination.NAME]` with `platform = "microsoft"`.

use std::{sync::Arc, time::Duration};

use toml::Table;

use crate::{
    event::Kind,
    grant::{Grant, Means},
    platform::{
        Resolve,
        keys::{self, Parsed},
        names::Names,
        times::DAY,
    },
    secret::Secret,
};

/// Both APIs: conversions (or events) of one call.
const BATCH_MAX: usize = 1_000;
const HOUR: Duration = Duration::from_secs(3_600);
/// OfflineConversion: not older than 90 days.
pub(super) const OFFLINE_AGE: Duration = Duration::from_secs(90 * 86_400);
/// Conversions API: not older than 7 days.
const EVENT_AGE: Duration = Duration::from_secs(7 * 86_400);

const OFFLINE_URL: &str = "https://campaign.api.bingads.microsoft.com";
const TOKEN_URL: &str = "https://login.microsoftonline.com/common/oauth2/v2.0/token";
const SCOPE: &str = "https://ads.microsoft.com/msads.manage offline_access";
/// The sandbox's, of msads 13.0.30.1 and the sandbox page.
const SANDBOX_URL: &str = "https://campaign.api.sandbox.bingads.microsoft.com";
const SANDBOX_TOKEN_URL: &str = "https://login.windows-ppe.net/consumers/oauth2/v2.0/token";
const SANDBOX_SCOPE: &str = "https://api.ads.microsoft.com/msads.manage offline_access";

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) api: Api,
    /// Goals of offline conversions, or event names.
    pub(super) names: Names,
    pub(super) version: String,
    pub(super) base_url: String,
    pub(super) max_age: Duration,
    pub(super) batch: usize,
    pub(super) batch_wait: Duration,
}

/// Which of the two APIs.
#[derive(Clone, Debug)]
pub(super) enum Api {
    Offline(Offline),
    Capi(Capi),
}

/// Offline conversions of the Campaign Management API.
#[derive(Clone, Debug)]
pub(super) struct Offline {
    pub account: String,
    pub customer: String,
    pub developer_token: Secret,
    pub grant: Arc<Grant>,
    pub user_data: UserData,
    pub after_click: Duration,
    pub refund_after: Duration,
}

/// Hashed e-mail and phone beside or instead of the click id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserData {
    Never,
    WithoutClick,
    Always,
}

/// UET Conversions API.
#[derive(Clone, Debug)]
pub(super) struct Capi {
    pub tag: String,
    pub access_token: Secret,
    pub source_url: Option<String>,
    pub hash_external_id: bool,
    pub resend: bool,
}

const COMMON: [&str; 6] = ["api", "version", "base_url", "max_age", "batch", "batch_wait"];
const OFFLINE: [&str; 9] = ["goals", "account", "customer", "developer_token", "oauth", "token_url", "user_data", "after_click", "refund_after"];
const CAPI: [&str; 6] = ["tag", "access_token", "names", "source_url", "external_id", "resend"];

/// Free texts, which have to be the event action of a goal.
const NAMES: [(Kind, &str); 4] = [(Kind::Purchase, "purchase"), (Kind::Lead, "lead"), (Kind::Signup, "signup"), (Kind::Subscribe, "subscribe")];

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        let offline = keys::choice(table, "api", true, &[("offline", true), ("capi", false)])?;
        only(table, offline)?;
        let (api, names) = if offline { Offline::parse(table, resolve)? } else { Capi::parse(table, resolve)? };
        let age = if offline { OFFLINE_AGE } else { EVENT_AGE };
        Ok(Self {
            api,
            names,
            version: keys::version(table, if offline { "v13" } else { "v1" })?,
            base_url: keys::base_url(table, "base_url", if offline { OFFLINE_URL } else { "https://capi.uet.microsoft.com" })?,
            max_age: keys::span(table, "max_age", age, age)?,
            batch: keys::whole(table, "batch", 100, 1..=BATCH_MAX)?,
            batch_wait: keys::batch_wait(table)?,
        })
    }

    /// The sandbox, where those are not set to something else; it has credentials of its own.
    pub(super) fn use_sandbox(&mut self) -> Parsed<()> {
        let Api::Offline(offline) = &mut self.api else {
            return keys::wrong("mode", "the Conversions API has no test mode; use \"shadow\" to build requests and send nothing");
        };
        if self.base_url == OFFLINE_URL {
            SANDBOX_URL.clone_into(&mut self.base_url);
        }
        if offline.grant.token_url == TOKEN_URL {
            let mut grant = Grant::clone(&offline.grant);
            SANDBOX_TOKEN_URL.clone_into(&mut grant.token_url);
            if let Means::Refresh { scope, .. } = &mut grant.means {
                *scope = Some(SANDBOX_SCOPE.to_owned());
            }
            offline.grant = Arc::new(grant);
        }
        Ok(())
    }
}

/// A key of the other API is told from one that is nobody's.
fn only(table: &Table, offline: bool) -> Parsed<()> {
    let (own, others, other) = if offline { (&OFFLINE[..], &CAPI[..], "capi") } else { (&CAPI[..], &OFFLINE[..], "offline") };
    match table.keys().find(|key| others.contains(&key.as_str())) {
        Some(key) => keys::wrong(key, format!("only api = \"{other}\" has it: set that, or leave {key} out")),
        None => keys::only(table, "", &[own, &COMMON].concat()),
    }
}

impl Offline {
    fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<(Api, Names)> {
        let goals = Names::parse(table, "goals", &[])?;
        if goals.iter().next().is_none() {
            return keys::wrong("goals", "it is missing: goals = { purchase = \"Shop purchase\" }, names of offline conversion goals");
        }
        if goals.of(Kind::Refund).is_some() {
            return keys::wrong("goals.refund", "a refund adjusts its purchase's conversion and has no goal of its own: leave it out");
        }
        let uses = [("never", UserData::Never), ("without_click", UserData::WithoutClick), ("send", UserData::Always)];
        let offline = Self {
            account: keys::digits(table, "account", "1234567")?,
            customer: keys::digits(table, "customer", "7654321")?,
            developer_token: keys::header_key(table, "developer_token", resolve)?,
            grant: keys::refresh_grant(table, TOKEN_URL, Some(SCOPE), resolve)?,
            user_data: keys::choice(table, "user_data", UserData::Never, &uses)?,
            after_click: keys::span(table, "after_click", HOUR, DAY)?,
            // Unverified how soon an adjustment finds its conversion; those show up within five hours.
            refund_after: keys::span(table, "refund_after", 6 * HOUR, 7 * DAY)?,
        };
        Ok((Api::Offline(offline), goals))
    }
}

impl Capi {
    fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<(Api, Names)> {
        let names = Names::parse(table, "names", &NAMES)?;
        if names.of(Kind::Refund).is_some() {
            return keys::wrong("names.refund", "the Conversions API takes no refunds: leave it out, or set api = \"offline\"");
        }
        let capi = Self {
            tag: keys::digits(table, "tag", "12345678")?,
            access_token: keys::header_key(table, "access_token", resolve)?,
            source_url: keys::some_text(table, "source_url")?,
            // Unverified: connectors differ in whether they hash it.
            hash_external_id: keys::choice(table, "external_id", true, &[("hash", true), ("plain", false)])?,
            resend: keys::choice(table, "resend", true, &[("24h", true), ("never", false)])?,
        };
        Ok((Api::Capi(capi), names))
    }
}
