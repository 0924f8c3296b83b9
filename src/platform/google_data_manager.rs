//! Google Data Manager API: offline and additional conversions of Google Ads, the way that is open to new accounts.
//!
//! Source: developers.google.com/data-manager/api (send-events, conversion-adjustments, diagnostics, limits, 2026); google-ads-datamanager 0.9.4.
//! Method: POST, JSON, up to 2,000 events, OAuth token.   Money: JSON number, major units.
//! Dedup: transactionId within a conversion action, for ever: a repeat is an adjustment.
//! Success: 200 with a requestId means accepted; requestStatus says later what became of it, as counts and not by event.
//! All or nothing: one bad event refuses the whole request, and is named.
//! Refunds: the same conversion again with what is left; nothing left leaves a conversion of 0.
//! Not covered: GA4 and Floodlight destinations, retraction (Google Ads API alone can), session attributes.

mod answer;
mod event;
mod settings;
mod status;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

pub use settings::Settings;

use super::{Adapter, Refusal, SettingError, google, keys, times, unless_halted};
use crate::{
    delivery::{Awaiting, Confirm, Delivery, Facts, RefundShape, Resend},
    event::Kind,
    outcome::{Outcome, Reply},
    request::{Method, Request},
    template::place::encode,
};

/// limits: events of one request.
const BATCH_MAX: usize = 2_000;
/// limits: destinations of one request.
const DESTINATIONS_MAX: usize = 10;
/// limits: 300 requests a minute for a cloud project.
const PER_SECOND: u32 = 5;
/// diagnostics: first after 30 minutes, then with growing waits; processing may take 24 hours. The answer is kept for about 50 days.
const CONFIRM: Confirm = Confirm { first: Duration::from_secs(1_800), every: Duration::from_secs(1_800), until: Duration::from_secs(3 * 86_400) };

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts {
            batch_max: self.batch,
            batch_wait: self.batch_wait,
            per_second: Some(PER_SECOND),
            refund: RefundShape::Restate,
            resend: Resend::Safe,
            // What was accepted and then not processed would be made a new conversion by its adjustment.
            accepted_is_enough: false,
            age_max: Some(self.max_age.saturating_sub(times::MARGIN)),
            confirm: (!self.test).then_some(CONFIRM),
            ..Facts::PLAIN
        }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.actions.of(kind).map(str::to_owned)
    }

    fn not_before(&self, delivery: &Delivery) -> Option<(Timestamp, String)> {
        if delivery.refund.is_some() || event::click_ids(delivery).is_empty() {
            return None;
        }
        google::not_before(delivery, self.after_click)
    }

    fn expires(&self, delivery: &Delivery) -> Option<Timestamp> {
        times::until(delivery, self.max_age, self.refund_max_age)
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        let mut destinations: Vec<&str> = Vec::new();
        for delivery in batch {
            let action = event::action(delivery)?;
            if !destinations.contains(&action) {
                destinations.push(action);
            }
        }
        if destinations.len() > DESTINATIONS_MAX {
            return Err(Refusal::dead("more than ten conversion actions in one request"));
        }
        let events = batch.iter().map(|delivery| event::of(self, delivery, now)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.ingest(&destinations, &events))
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        answer::verdicts(self, batch, reply, now)
    }

    fn confirm(&self, awaiting: &Awaiting) -> Option<Request> {
        let id = awaiting.answer.get("request_id")?.as_str()?;
        let url = format!("{}/v1/requestStatus:retrieve?requestId={}", self.base_url, encode(id));
        Some(self.authorized(Request::new(Method::Get, url)))
    }

    fn confirmed(&self, awaiting: &[Awaiting], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        status::verdicts(self, awaiting, reply, now)
    }

    fn test_mode(&mut self) -> Result<(), SettingError> {
        self.test = true;
        Ok(())
    }

    fn warnings(&self, _: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        keys::clear_warnings(&[("base_url", &self.base_url), ("token_url", &self.grant.token_url)])
            .into_iter()
            .chain(google::key_file_warning(&self.grant))
            .collect()
    }

    /// A conversion that Google is asked to validate and to forget. Its click id is none, which only a credential that works is told.
    fn probe(&self, now: Timestamp) -> Option<Request> {
        let (_, action) = self.actions.iter().next()?;
        let event = json!({
            "destinationReferences": [action],
            "transactionId": "postbackd-check",
            "eventTimestamp": times::rfc3339(now),
            "eventSource": self.event_source,
            "adIdentifiers": { "gclid": "postbackd-check" },
        });
        let only_validate = Self { test: true, ..self.clone() };
        Some(only_validate.ingest(&[action], &[event]))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        unless_halted(answer::of_all(self, reply, Timestamp::UNIX_EPOCH))
    }
}

impl Settings {
    fn ingest(&self, actions: &[&str], events: &[Value]) -> Request {
        let account = |id: &str| json!({ "accountType": "GOOGLE_ADS", "accountId": id });
        let destination = |action: &&str| {
            let mut destination = json!({ "reference": action, "operatingAccount": account(&self.account) });
            if let Some(login) = &self.login_account {
                destination["loginAccount"] = account(login);
            }
            destination["productDestinationId"] = json!(action);
            destination
        };
        let body = json!({
            "destinations": actions.iter().map(destination).collect::<Vec<_>>(),
            "events": events,
            "encoding": "HEX",
            "validateOnly": self.test,
        });
        self.authorized(Request::json(format!("{}/v1/events:ingest", self.base_url), &body))
    }

    fn authorized(&self, request: Request) -> Request {
        let request = request.granted(&self.grant);
        match &self.project {
            Some(project) => request.with("x-goog-user-project", project.as_str()),
            None => request,
        }
    }
}
