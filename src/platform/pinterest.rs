//! Pinterest Conversions API v5: events of a website, an app or a shop of bricks, of one ad account.
//!
//! Source: pinterest/api-description `v5/openapi.json` 5.23.0 (2025-12), events/create; developers.pinterest.com docs/conversions.
//! Method: POST, JSON, up to 1,000 events, a bearer token.   Money: decimal text, major units, advised without tax and delivery.
//! Dedup: event_id with the tag; events of a shop of bricks never.   Success: 200 or 422, with a verdict for each event in order.
//! What comes more than an hour after its time is counted as an offline event.   Refunds: none.

mod answer;
mod event;
mod settings;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

pub use settings::Settings;

use super::{Adapter, Refusal, SettingError, keys, person, unless_halted};
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    destination::Basis,
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

/// events/create.
const BATCH_MAX: usize = 1_000;
/// Unverified: a third party's word on `test=true`.
const BATCH_TEST: usize = 20;
/// events/create: 5,000 calls a minute for an ad account.
const PER_SECOND: u32 = 80;
/// Unverified: Pinterest states no limit of bytes; one connector stays below 2 MB.
const BYTES_MAX: usize = 1_000_000;
/// Unverified: no page states an age; third parties take 7 days for web and app, more for offline. What is too old fails alone and
/// spoils nothing, so that the guess that costs less is a long one; hence a setting.
const AGE: Duration = Duration::from_secs(30 * 86_400);
const AGE_MOST: Duration = Duration::from_secs(90 * 86_400);

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts {
            batch_max: if self.test { self.batch.min(BATCH_TEST) } else { self.batch },
            bytes_max: BYTES_MAX,
            batch_wait: self.batch_wait,
            per_second: Some(PER_SECOND),
            refund: RefundShape::None,
            // events/create: what took place offline cannot be deduplicated.
            resend: self.resend.filter(|_| self.action_source != "offline").map_or(Resend::Never, Resend::Within),
            age_max: Some(self.max_age),
            ..Facts::PLAIN
        }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.names.of(kind).map(str::to_owned)
    }

    /// docs/conversions: the total before tax and delivery.
    fn basis(&self) -> Basis {
        Basis { without_tax: true, without_shipping: true }
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        let events = batch.iter().map(|delivery| event::of(self, delivery, now)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.post(&events))
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        answer::verdicts(self, batch.len(), reply, now)
    }

    /// events/create: `test=true` gets the same answers, and nothing is recorded.
    fn test_mode(&mut self) -> Result<(), SettingError> {
        self.test = true;
        Ok(())
    }

    fn warnings(&self, _: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        keys::clear_warnings(&[("base_url", &self.base_url)]).into_iter().chain(self.names.unknown("Pinterest", &settings::EVENTS)).collect()
    }

    /// One event of nobody, which is not recorded.
    fn probe(&self, now: Timestamp) -> Option<Request> {
        let event = json!({
            "event_name": "page_visit",
            "action_source": self.action_source,
            "event_time": now.as_second(),
            "event_id": "postbackd-check",
            "user_data": { "em": [person::sha256("postbackd-check@example.com")] },
        });
        let only_test = Self { test: true, ..self.clone() };
        Some(only_test.post(&[event]))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        unless_halted(answer::verdicts(self, 1, reply, Timestamp::UNIX_EPOCH).pop())
    }
}

impl Settings {
    /// Whether what may have been taken can be sent again.
    fn repeats(&self) -> bool {
        self.facts().resend != Resend::Never || self.test
    }

    fn post(&self, events: &[Value]) -> Request {
        let query = if self.test { "?test=true" } else { "" };
        let url = format!("{}/{}/ad_accounts/{}/events{query}", self.base_url, self.version, self.ad_account);
        Request::json(url, &json!({ "data": events })).with("Authorization", format!("Bearer {}", self.access_token.reveal()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn settings(more: &str) -> Settings {
        let table = format!("ad_account = 549\naccess_token = 'T'\n{more}").parse().expect("TOML");
        Settings::parse(&table, &|_| Ok(Secret::new("T", "token"))).expect("settings")
    }

    #[test]
    fn what_took_place_offline_is_never_sent_twice() {
        let hours = |count: u64| Resend::Within(Duration::from_secs(count * 3_600));
        let resend = |more: &str| settings(more).facts().resend;
        assert_eq!(["", "resend = '1h'", "action_source = 'app_ios'"].map(resend), [hours(24), hours(1), hours(24)]);
        assert_eq!(["resend = 'never'", "action_source = 'offline'"].map(resend), [Resend::Never, Resend::Never]);
    }

    #[test]
    fn tests_and_probes_are_not_recorded() {
        let now = "2026-03-01T12:00:00Z".parse().expect("a time");
        let mut live = settings("batch = 1000");
        assert_eq!(live.probe(now).expect("a probe").url, "https://api.pinterest.com/v5/ad_accounts/549/events?test=true");
        assert_eq!((live.facts().batch_max, live.test_mode(), live.facts().batch_max), (1_000, Ok(()), BATCH_TEST));
        assert!(live.probed(&Reply::plain(403, r#"{"code": 29, "message": "You are not permitted"}"#)).is_err_and(|why| why.contains("549")));
        assert!(live.probed(&Reply::plain(400, r#"{"code": 4196, "message": "Invalid request"}"#)).is_ok());
    }

    #[test]
    fn names_that_pinterest_lacks_are_warned_about() {
        let warned = |more: &str| settings(more).warnings(&BTreeSet::new(), Timestamp::UNIX_EPOCH).join("; ");
        assert_eq!(warned(""), "");
        assert!(warned("names = { purchase = 'Checkout' }").contains("did you mean checkout?"));
    }
}
