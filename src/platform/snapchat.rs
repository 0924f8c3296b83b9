//! Snapchat Conversions API v3: events of a website's Snap pixel, or of a shop of bricks under the same pixel.
//!
//! Source: developers.snap.com, Conversions-API (UsingTheAPI, Parameters, Deduplication, VerifySetUp, 2025); Snapchat/business-sdk-v3-java
//! `api/openapi.yaml` (2025-05); snap-business-sdk 1.0.0 (hashes).
//! Method: POST, JSON, up to 2,000 events, the token in the query.   Money: JSON number, major units; items' prices are texts.
//! Dedup: event_id within the pixel, against the pixel's `client_dedup_id`.   Success: 200 and `status` VALID.
//! Refunds: none.   A bad event is said to be named by a number, but nobody says whether that counts from 0 or 1: found by halving.
//! Not covered: events of apps, which need the device's `extinfo`.

mod answer;
mod event;
mod settings;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

pub use settings::Settings;

use super::{Adapter, Refusal, SettingError, keys, person, times, unless_halted};
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
    template::place::encode,
};

/// Unverified: no page of Snap's states it, connectors and a third party's schema do.
const BATCH_MAX: usize = 2_000;
/// Unverified: the window in which a repeated event_id is dropped; Snap's pages know one for pixel and server, hence the setting.
const DEDUPES_FOR: Duration = Duration::from_secs(48 * 3_600);
/// Introduction: no more than 37 days back.
const AGE_MAX: Duration = Duration::from_secs(37 * 86_400);
/// Unverified: Snap states no limit of bytes; this one keeps a request well below what web servers refuse.
const BYTES_MAX: usize = 1_000_000;

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts {
            batch_max: self.batch,
            bytes_max: BYTES_MAX,
            batch_wait: self.batch_wait,
            refund: RefundShape::None,
            resend: if self.resend { Resend::Within(DEDUPES_FOR) } else { Resend::Never },
            age_max: Some(AGE_MAX.saturating_sub(times::MARGIN)),
            ..Facts::PLAIN
        }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.names.of(kind).map(str::to_owned)
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        let events = batch.iter().map(|delivery| event::of(self, delivery, now)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.post(&events))
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        vec![answer::verdict(self, batch.len(), reply, now); batch.len()]
    }

    /// VerifySetUp: the same request to another address, which checks it and counts nothing.
    fn test_mode(&mut self) -> Result<(), SettingError> {
        self.test = true;
        Ok(())
    }

    fn warnings(&self, kinds: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        let no_lead = kinds.contains(&Kind::Lead) && self.names.of(Kind::Lead).is_none();
        let lead = no_lead.then(|| "Snap has no event for leads, they are skipped; names = { lead = \"CUSTOM_EVENT_1\" } sends them".to_owned());
        keys::clear_warnings(&[("base_url", &self.base_url)]).into_iter().chain(self.names.unknown("Snap", &settings::EVENTS)).chain(lead).collect()
    }

    /// One event of nobody, to the address that counts nothing.
    fn probe(&self, now: Timestamp) -> Option<Request> {
        let event = json!({
            "event_name": "PAGE_VIEW",
            "action_source": self.action_source,
            "event_time": now.as_second(),
            "event_id": "postbackd-check",
            "event_source_url": self.source_url.as_deref().unwrap_or("https://example.com/"),
            "user_data": { "em": [person::sha256("postbackd-check@example.com")] },
        });
        let only_validate = Self { test: true, ..self.clone() };
        Some(only_validate.post(&[event]))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        unless_halted(answer::verdict(self, 1, reply, Timestamp::UNIX_EPOCH))
    }
}

impl Settings {
    fn post(&self, events: &[Value]) -> Request {
        let path = if self.test { "events/validate" } else { "events" };
        let token = encode(self.access_token.reveal());
        let url = format!("{}/{}/{}/{path}?access_token={token}", self.base_url, self.version, self.pixel);
        Request::json(url, &json!({ "data": events }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn settings(more: &str) -> Settings {
        let table = format!("pixel = 'p'\naccess_token = 'T'\n{more}").parse().expect("TOML");
        Settings::parse(&table, &|_| Ok(Secret::new("T", "to ken"))).expect("settings")
    }

    #[test]
    fn a_probe_counts_nothing_and_its_answer_tells_tokens_from_events() {
        let now = "2026-03-01T12:00:00Z".parse().expect("a time");
        let request = settings("").probe(now).expect("a probe");
        assert_eq!(request.url, "https://tr.snapchat.com/v3/p/events/validate?access_token=to%20ken");
        assert!(settings("").probed(&Reply::plain(401, "{}")).is_err_and(|why| why.contains("into T")));
        assert!(settings("").probed(&Reply::plain(400, r#"{"status": "INVALID", "reason": "Invalid access token"}"#)).is_err());
        assert!(settings("").probed(&Reply::plain(400, r#"{"status": "INVALID", "reason": "Insufficient PII"}"#)).is_ok());
    }

    #[test]
    fn kinds_and_names_that_snap_lacks_are_warned_about() {
        let warned = |more: &str, kinds: &[Kind]| settings(more).warnings(&kinds.iter().copied().collect(), Timestamp::UNIX_EPOCH).join("; ");
        assert_eq!(warned("", &[Kind::Purchase]), "");
        assert!(warned("", &[Kind::Lead]).starts_with("Snap has no event for leads"));
        assert_eq!(warned("names = { lead = 'CUSTOM_EVENT_1' }", &[Kind::Lead]), "");
        assert!(warned("names = { lead = 'LEAD' }", &[Kind::Lead]).contains("not known to have an event \"LEAD\""));
    }
}
