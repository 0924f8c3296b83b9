//! Google Analytics 4, Measurement Protocol: orders and refunds that the shop knows of, into a property's web stream.
//!
//! Source: developers.google.com/analytics, protocol/ga4 (reference, sending-events, 2026) and collection/ga4/uid-data;
//! googleanalytics/ga-dev-tools' event builder; segmentio/action-destinations and rudder-transformer (2026-08).
//! Method: POST, JSON, secret in the query. Events of one request are of one client, and an order has one: one event a request.
//! Money: JSON number, major units.   Identity: the browser's `_ga` cookie; click ids have no place, the visit ties the sale to a campaign.
//! Dedup: unverified: a purchase by its transaction id within the same client. There is no event id, and nothing of the kind for refunds.
//! Success: every 2xx, and that is no proof: a wrong secret, stream or field gets one too. Only the debug endpoint (`mode = "test"`) looks at it.
//! Refunds: `refund` with a positive amount, and the items that came back, which alone correct the items' own reports.
//! Not covered: app streams, user properties, IP address and place (the visit has them), street addresses.

mod answer;
mod event;
mod settings;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

pub use settings::Settings;

use super::{Adapter, Refusal, SettingError, form::Pairs, keys, single, times};
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    destination::Basis,
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

/// sending-events: 72 hours; unverified: what becomes of older ones, which are told the end of it or refused.
const AGE_MAX: Duration = Duration::from_secs(72 * 3_600);
/// sending-events: below 130 kB.
const BYTES_MAX: usize = 129_000;

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts {
            bytes_max: BYTES_MAX,
            refund: RefundShape::Event,
            resend: Resend::Never,
            age_max: Some(AGE_MAX.saturating_sub(times::MARGIN)),
            ..Facts::PLAIN
        }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.names.of(kind).map(str::to_owned)
    }

    /// What the items cost; tax and delivery have fields of their own. Unverified for the value that reports add up.
    fn basis(&self) -> Basis {
        Basis { without_tax: true, without_shipping: true }
    }

    fn resend(&self, kind: Kind) -> Resend {
        if self.test || self.purchases_repeat && kind == Kind::Purchase { Resend::Safe } else { Resend::Never }
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        Ok(self.post(&event::body(self, single(batch)?, now)?))
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        vec![answer::verdict(self, reply, now); batch.len()]
    }

    fn test_mode(&mut self) -> Result<(), SettingError> {
        self.test = true;
        Ok(())
    }

    fn warnings(&self, _: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        keys::clear_warnings(&[("base_url", &self.base_url)])
    }
}

impl Settings {
    fn post(&self, body: &serde_json::Value) -> Request {
        let mut query = Pairs::default();
        query.put("measurement_id", &self.measurement_id).put("api_secret", self.api_secret.reveal());
        let path = if self.test { "debug/mp/collect" } else { "mp/collect" };
        Request::json(format!("{}/{path}?{}", self.base_url, query.encoded()), body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn only_purchases_are_ever_repeated() {
        let settings = |more: &str| {
            let text = format!("measurement_id = 'G-1'\napi_secret = 's'\n{more}");
            let resolve = |value: &toml::Value| Ok(Secret::new("env S", value.as_str().unwrap_or_default()));
            Settings::parse(&text.parse().expect("TOML"), &resolve).expect("settings")
        };
        let of = |to: &Settings| [Kind::Purchase, Kind::Refund, Kind::Retract, Kind::Lead].map(|kind| to.resend(kind));
        let never = Resend::Never;
        assert_eq!(of(&settings("")), [never; 4]);
        assert_eq!(of(&settings("resend = 'purchases'")), [Resend::Safe, never, never, never]);
        let mut test = settings("");
        test.test_mode().expect("a test mode");
        assert_eq!(of(&test), [Resend::Safe; 4]);
    }
}
