//! TikTok Events API (2.0): events of a website's pixel, or of an offline event set.
//!
//! Source: business-api.tiktok.com, Events API 2.0 (`event/track`, v1.3); ads.tiktok.com help (event-deduplication 2025-05,
//! supported-standard-events 2025-09); tiktok/gtm-template-eapi 2024-05; connectors of Segment and RudderStack 2026-08.
//! Method: POST, JSON, up to 1,000 events of one pixel, the token in `Access-Token`.   Money: JSON number, major units.
//! Dedup: event + event_id within the pixel, 48 hours from the first, with the pixel too.
//! Success: `code` 0; the HTTP status is nearly always 200.   A bad event is named within the message, as `Batch.N`.
//! Refunds: none; a custom event for reporting if wanted.   Not covered: event sources `app` and `crm`.

mod answer;
mod event;
mod settings;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

pub use settings::Settings;

use super::{Adapter, Refusal, SettingError, keys, times, unless_halted};
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

/// Events of one request, as connectors send them.
const BATCH_MAX: usize = 1_000;
/// event-deduplication: from the first event on.
const DEDUPES_FOR: Duration = Duration::from_secs(48 * 3_600);
/// Unverified: no page of TikTok's states an age; third parties take 7 days for a pixel and 28 for offline events, hence a setting.
const AGE: Duration = Duration::from_secs(7 * 86_400);
const AGE_MOST: Duration = Duration::from_secs(28 * 86_400);
/// Unverified: TikTok states no limit of bytes; this one keeps a request well below what web servers refuse.
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
            age_max: Some(self.max_age.saturating_sub(times::MARGIN)),
            ..Facts::PLAIN
        }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.names.of(kind).map(str::to_owned)
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        let events = batch.iter().map(|delivery| event::of(self, delivery, now)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.track(&events))
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        answer::verdicts(self, batch.len(), reply, now)
    }

    fn test_mode(&mut self) -> Result<(), SettingError> {
        if self.test_event_code.is_none() {
            return keys::wrong("test_event_code", "mode = \"test\" needs it: Events Manager > Test events shows it, e.g. \"TEST12345\"");
        }
        self.test = true;
        Ok(())
    }

    fn warnings(&self, _: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        let old = ["CompletePayment", "PlaceAnOrder", "SubmitForm"];
        let renamed = self.names.iter().filter(|(_, name)| old.contains(name)).map(|(kind, name)| {
            format!("names.{kind}: TikTok has renamed {name:?}; what the pixel on the page sends has to have the same name, or both are counted")
        });
        keys::clear_warnings(&[("base_url", &self.base_url)]).into_iter().chain(renamed).collect()
    }

    /// No event at all, which leaves nothing behind. Unverified: that the token is looked at before the list; where it is not, a bad
    /// token passes here and halts the destination with the first event.
    fn probe(&self, _: Timestamp) -> Option<Request> {
        Some(self.track(&[]))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        unless_halted(answer::verdicts(self, 1, reply, Timestamp::UNIX_EPOCH).pop())
    }
}

impl Settings {
    fn track(&self, events: &[Value]) -> Request {
        let mut body = json!({ "event_source": self.event_source.as_str(), "event_source_id": self.event_source_id });
        if let Some(code) = self.test_event_code.as_ref().filter(|_| self.test) {
            body["test_event_code"] = json!(code);
        }
        body["data"] = json!(events);
        // Without the slash at its end the address is another one.
        let url = format!("{}/open_api/{}/event/track/", self.base_url, self.version);
        Request::json(url, &body).with("Access-Token", self.access_token.reveal())
    }
}
