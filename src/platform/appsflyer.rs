//! AppsFlyer: events of a shop's apps that happen on its server.
//!
//! Source: AppsFlyer's OpenAPI "Server-to-server events API (for mobile)" 1.0 (2026-08); support.appsflyer.com 207034486 (limits);
//! RevenueCat's and RudderStack's requests (2026).
//! Method: POST, JSON, one event, the key in `authentication`.   Money: decimal text, major units, within `eventValue`.
//! Dedup: none, a repeat is counted: at most once.   Success: 200 `OK`, which means received; nothing is said later.
//! Refunds: an event of its own name with negative revenue, at its own time.
//! Time: what comes late is stamped with its arrival (unverified: from 02:00 UTC of the next day on), not refused, so that there is no age.
//! Not a preset of `postback`: JSON within JSON, cut to 1 KB, for one of two apps, and an answer that tells the key from the event.
//! Not covered: events of websites (Web S2S), TCF strings, `app_set_id` (which wants a scope), apps on other systems.

mod answer;
mod event;
mod settings;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use settings::Settings;

use super::{Adapter, Refusal, keys, single, unless_halted};
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

/// Help centre: 60,000 a minute.
const PER_SECOND: u32 = 1_000;

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        let refund = if self.refunds { RefundShape::Negative } else { RefundShape::None };
        Facts { per_second: Some(PER_SECOND), refund, resend: Resend::Never, ..Facts::PLAIN }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.names.of(kind).map(str::to_owned)
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        let delivery = single(batch)?;
        let (_, app) = self.apps.of(delivery)?;
        Ok(self.post(app, &event::of(self, delivery, now)?))
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        batch.iter().map(|delivery| answer::outcome(self, delivery, reply, now)).collect()
    }

    fn warnings(&self, kinds: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        let install = kinds.contains(&Kind::Install) && self.names.of(Kind::Install).is_some();
        let install = install.then(|| "names.install: the SDK in the app tells installs; an event of that name is counted beside them".to_owned());
        keys::clear_warnings(&[("base_url", &self.base_url)]).into_iter().chain(install).collect()
    }

    /// An event without its mandatory field, of which nothing can be recorded. Unverified: that the key is looked at before the body; where
    /// it is not, a bad key passes here and halts the destination with the first event.
    fn probe(&self, _: Timestamp) -> Option<Request> {
        Some(self.post(self.apps.any().1, &json!({ "eventName": "postbackd_check", "eventValue": "" })))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        unless_halted(answer::refused(self, reply, Timestamp::UNIX_EPOCH))
    }
}

impl Settings {
    fn post(&self, app: &str, event: &Value) -> Request {
        Request::json(format!("{}/inappevent/{app}", self.base_url), event).with("authentication", self.s2s_key.reveal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn settings() -> Settings {
        let table = "apps = { android = 'com.example.shop' }\ns2s_key = 'K'".parse().expect("TOML");
        Settings::parse(&table, &|_| Ok(Secret::new("K", "key"))).expect("settings")
    }

    #[test]
    fn a_probe_records_nothing_and_tells_keys_from_events() {
        let request = settings().probe(Timestamp::UNIX_EPOCH).expect("a probe");
        assert_eq!(request.url, "https://api3.appsflyer.com/inappevent/com.example.shop");
        assert!(!request.to_text().contains("appsflyer_id"));
        let probed = |status, body: &str| settings().probed(&Reply::plain(status, body));
        assert!(probed(400, "appsflyer_id is a mandatory field").is_ok());
        for (status, body) in [(400, "Failed to Authenticate"), (400, "app_id"), (401, "Unauthorized"), (403, "Forbidden")] {
            assert!(probed(status, body).is_err_and(|why| why.contains("into K")), "{body}");
        }
    }
}
