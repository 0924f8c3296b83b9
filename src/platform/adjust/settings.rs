//! `[destination.NAME]` with `platform = "adjust"`.

use toml::Table;

use crate::{
    delivery::RefundShape,
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
    pub(super) app_token: String,
    pub(super) events: Names,
    pub(super) token: Option<Secret>,
    /// `Event`: without revenue, the amount stands in `callback_params`.
    pub(super) refunds: RefundShape,
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
        let shapes = [("event", RefundShape::Event), ("negative", RefundShape::Negative), ("none", RefundShape::None)];
        let refunds =
            keys::choice(table, "refunds", if events.of(Kind::Refund).is_some() { RefundShape::Event } else { RefundShape::None }, &shapes)?;
        if refunds != RefundShape::None && events.of(Kind::Refund).is_none() {
            return keys::wrong("events", "refunds need an event of their own: events = { refund = \"k2ab9x\" }");
        }
        Ok(Self {
            app_token: keys::path_part(table, "app_token", "4w565xzmb54d")?,
            events,
            token: keys::given(table, "token", |key| keys::header_key(table, key, resolve))?,
            refunds,
            resend: keys::resend(table)?,
            sandbox: false,
            base_url: keys::base_url(table, "base_url", "https://s2s.adjust.com")?,
        })
    }
}
