//! `[destination.NAME]` with `platform = "adjust"`.

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

/// How money that was taken back is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refunds {
    /// An event without revenue; the amount stands in `callback_params`.
    Event,
    /// An event with negative revenue.
    Negative,
    /// Not at all.
    None,
}

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) app_token: String,
    pub(super) events: Names,
    pub(super) token: Option<Secret>,
    pub(super) refunds: Refunds,
    pub(super) resend: bool,
    pub(super) sandbox: bool,
    pub(super) base_url: String,
}

const KEYS: [&str; 6] = ["app_token", "events", "token", "refunds", "resend", "base_url"];

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        let events = Names::parse(table, "events", &[])?;
        if events.iter().next().is_none() {
            return keys::wrong("events", "it is missing: events = { purchase = \"f0ob4r\" }, a token for each kind");
        }
        let plain = |token: &str| token.bytes().all(|b| b.is_ascii_alphanumeric());
        if let Some((kind, _)) = events.iter().find(|(_, token)| !plain(token)) {
            return keys::wrong(
                format!("events.{kind}"),
                "a token of letters and digits is expected, e.g. \"f0ob4r\": Adjust shows it with the event",
            );
        }
        let shapes = [("event", Refunds::Event), ("negative", Refunds::Negative), ("none", Refunds::None)];
        let refunds = keys::choice(table, "refunds", if events.of(Kind::Refund).is_some() { Refunds::Event } else { Refunds::None }, &shapes)?;
        if refunds != Refunds::None && events.of(Kind::Refund).is_none() {
            return keys::wrong("events", "refunds need an event of their own: events = { refund = \"k2ab9x\" }");
        }
        Ok(Self {
            app_token: keys::path_part(table, "app_token", "4w565xzmb54d")?,
            events,
            token: keys::given(table, "token", |key| keys::header_key(table, key, resolve))?,
            refunds,
            resend: keys::choice(table, "resend", false, &[("never", false), ("safe", true)])?,
            sandbox: false,
            base_url: keys::base_url(table, "base_url", "https://s2s.adjust.com")?,
        })
    }
}
