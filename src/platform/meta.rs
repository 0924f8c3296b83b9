//! Meta (Facebook, Instagram) Conversions API: events of a website into a dataset, which is the pixel's id too.
//!
//! Source: developers.facebook.com, conversions-api (server-event, using-the-api, fbp-and-fbc, original-event, 2026-02);
//! facebook-business 26.0.3 `adobjects/serverside`; facebook/capi-param-builder 1.3.2.
//! Method: POST, JSON, up to 1,000 events, the token in the body.   Money: JSON number, major units.
//! Dedup: event_id + event_name, 48 hours, with the pixel too.   Success: 200 and `events_received`.
//! All or nothing: one bad event refuses the whole request.   Refunds: none; a custom event for reporting if wanted.

mod answer;
mod event;
mod settings;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::json;

pub use settings::Settings;

use super::{Adapter, Refusal, SettingError, keys, times, unless_halted};
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    event::Kind,
    outcome::{Outcome, Reply},
    request::{Method, Request},
    template::place::encode,
};

/// using-the-api: events of one request.
const BATCH_MAX: usize = 1_000;
/// deduplicate-pixel-and-server-events.
const DEDUPES_FOR: Duration = Duration::from_secs(48 * 3_600);
/// using-the-api: 7 days, 62 for `physical_store`.
const AGE_MAX: Duration = Duration::from_secs(7 * 86_400);
const AGE_MAX_STORE: Duration = Duration::from_secs(62 * 86_400);
/// Unverified: Meta states no limit of bytes; this one keeps a request well below what web servers refuse.
const BYTES_MAX: usize = 1_000_000;

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts {
            batch_max: self.batch,
            bytes_max: BYTES_MAX,
            batch_wait: self.batch_wait,
            refund: if self.refunds { RefundShape::Event } else { RefundShape::None },
            // Unverified: that repeats from server to server are dropped like those between pixel and server; hence the setting.
            resend: if self.resend { Resend::Within(DEDUPES_FOR) } else { Resend::Never },
            age_max: Some(if self.action_source == "physical_store" { AGE_MAX_STORE } else { AGE_MAX }.saturating_sub(times::MARGIN)),
            ..Facts::PLAIN
        }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.names.of(kind).map(str::to_owned)
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        let events = batch.iter().map(|delivery| event::of(self, delivery, now)).collect::<Result<Vec<_>, _>>()?;
        let mut body = json!({ "data": events, "partner_agent": concat!("postbackd-", env!("CARGO_PKG_VERSION")) });
        if let Some(code) = self.test_event_code.as_ref().filter(|_| self.test) {
            body["test_event_code"] = json!(code);
        }
        body["access_token"] = json!(self.access_token.reveal());
        if let Some(proof) = self.proof() {
            body["appsecret_proof"] = json!(proof);
        }
        Ok(Request::json(format!("{}/events", self.dataset_url()), &body))
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        vec![answer::verdict(self, batch.len(), reply, now); batch.len()]
    }

    fn test_mode(&mut self) -> Result<(), SettingError> {
        if self.test_event_code.is_none() {
            return keys::wrong("test_event_code", "mode = \"test\" needs it: Events Manager > Test events shows it, e.g. \"TEST12345\"");
        }
        self.test = true;
        Ok(())
    }

    fn warnings(&self, _: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        keys::clear_warnings(&[("base_url", &self.base_url)])
    }

    /// Unverified: that a dataset token may read its dataset's id; a refusal for the token's sake is told from others by its code.
    fn probe(&self, _: Timestamp) -> Option<Request> {
        let proof = self.proof().map_or_else(String::new, |proof| format!("&appsecret_proof={proof}"));
        let url = format!("{}?fields=id&access_token={}{proof}", self.dataset_url(), encode(self.access_token.reveal()));
        Some(Request::new(Method::Get, url))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        unless_halted(answer::verdict(self, 1, reply, Timestamp::UNIX_EPOCH))
    }
}
