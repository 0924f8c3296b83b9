//! Generic postback.
use jiff::Timestamp;

use super::Refusal;
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    event::Kind,
    outcome::{Outcome, Reply},
    request::{Method, Request},
};

/// Settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// URL
    pub url: String,
}

impl Settings {
    pub(super) fn parse(table: &toml::Table, _resolve: super::Resolve<'_>) -> Result<Self, super::SettingError> {
        let url = table.get("url").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { url })
    }
    pub(super) fn facts(&self) -> Facts {
        Facts { batch_max: 1, refund: RefundShape::Event, resend: Resend::Safe, accepted_is_enough: true }
    }
    pub(super) fn name_of(&self, kind: Kind) -> Option<String> {
        Some(kind.to_string())
    }
}

pub(super) fn request(settings: &Settings, batch: &[Delivery], _now: Timestamp) -> Result<Request, Refusal> {
    Ok(Request { method: Method::Get, url: format!("{}?id={}", settings.url, batch[0].event_id), headers: vec![], body: vec![] })
}

pub(super) fn outcome(_settings: &Settings, batch: &[Delivery], reply: &Reply, _now: Timestamp) -> Vec<Outcome> {
    batch.iter().map(|_| if reply.status < 300 { Outcome::delivered() } else { Outcome::retry(format!("HTTP {}", reply.status)) }).collect()
}
