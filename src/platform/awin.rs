//! Awin: sales by the Conversion API (or, without a key, by its unauthenticated GET); refunds by the validation API, which has
//! credentials of its own.
//!
//! Source: help.awin.com/apidocs/conversion-api (2026-05), /developers/docs/direct-s2s (2026-04),
//! /apidocs/approve-decline-amend-batch-transactions (2024-12), .../check-the-status-of-validation-batch-job (2024-08).
//! Method: POST, JSON, up to 1,000 orders, the key in `x-api-key`; or GET, one order, no key. Validation: POST, JSON, a bearer token.
//! Money: JSON number, major units, after discounts and without tax and delivery.
//! Dedup: unverified: what a repeated order reference does. So a sale is sent at most once unless `resend` says otherwise.
//! Success: Conversion API: per order in the body; GET: any 2xx, without a word on the order.
//! Refunds: decline (all of it) or amend (what is left), by order reference and the very time that was told; only while the
//! transaction is pending. They are jobs whose result is asked for later.
//! Not covered: a publisher's id with the time of the click instead of `awc`, `sn` of cashback visits, webhooks, approving.
//! Unverified: the answers of the Conversion API (from other implementations, not from Awin's pages).

mod answer;
mod order;
mod settings;
mod validation;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

pub use settings::Settings;

use super::{Adapter, Refusal, SettingError, keys};
use crate::{
    delivery::{Awaiting, Confirm, Delivery, Facts, RefundShape, Resend},
    destination::Basis,
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

/// conversion-api: up to 1,000 orders of a call. No more than this, so that the answer, which names each, stays under 64 KiB: where it cannot be
/// read, nobody knows which orders were taken, and none of them may be sent again.
const BATCH_MAX: usize = 250;
/// Unverified: how long a validation job takes.
const CONFIRM: Confirm = Confirm { first: Duration::from_secs(300), every: Duration::from_secs(900), until: Duration::from_secs(3 * 86_400) };

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts {
            batch_max: if self.api_key.is_some() { self.batch } else { 1 },
            // conversion-api: not more often than each 10 seconds; 20 calls a minute in all, which full batches alone could exceed.
            batch_wait: if self.api_key.is_some() { self.batch_wait } else { Duration::ZERO },
            per_second: Some(1),
            refund: if self.validation_token.is_some() { RefundShape::Restate } else { RefundShape::None },
            resend: if self.resend { Resend::Safe } else { Resend::Never },
            confirm: self.validation_token.as_ref().map(|_| CONFIRM),
            ..Facts::PLAIN
        }
    }

    /// parameter-guidance: after discounts, before tax, delivery and fees.
    fn basis(&self) -> Basis {
        Basis { without_tax: true, without_shipping: true }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.commission_groups.of(kind).map(str::to_owned)
    }

    /// What is left is told, so that it does no harm to tell it twice.
    fn resend(&self, kind: Kind) -> Resend {
        if kind.takes_back() { Resend::Safe } else { self.facts().resend }
    }

    fn batch_key(&self, delivery: &Delivery) -> Option<String> {
        Some(if delivery.refund.is_some() { "validation" } else { "orders" }.into())
    }

    fn request(&self, batch: &[Delivery], _: Timestamp) -> Result<Request, Refusal> {
        match batch {
            [first, ..] if first.refund.is_some() => validation::request(self, batch),
            [only] if self.api_key.is_none() => order::pixel(self, only),
            _ => order::request(self, batch),
        }
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        match batch {
            [first, ..] if first.refund.is_some() => validation::outcomes(self, batch, reply, now),
            _ if self.api_key.is_none() => vec![answer::pixel(reply, now); batch.len()],
            _ => answer::orders(self, batch, reply, now),
        }
    }

    fn confirm(&self, awaiting: &Awaiting) -> Option<Request> {
        validation::job(self, awaiting.answer.get("job")?.as_str()?)
    }

    fn confirmed(&self, awaiting: &[Awaiting], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        let body: Value = reply.json().unwrap_or_default();
        awaiting.iter().map(|awaiting| validation::confirmed(self, awaiting, &body, reply, now)).collect()
    }

    /// Test sales carry no commission.
    fn test_mode(&mut self) -> Result<(), SettingError> {
        self.test = true;
        Ok(())
    }

    fn warnings(&self, kinds: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        let mut found = keys::clear_warnings(&[("base_url", &self.base_url), ("pixel_url", &self.pixel_url)]);
        if kinds.contains(&Kind::Refund) && self.validation_token.is_none() {
            found.push("refunds are wanted but cannot be told: set validation_token, or take refund out of kinds".into());
        }
        if self.api_key.is_none() {
            found.push("without api_key sales go by sread.php, which never says whether it took them".into());
        }
        found
    }
}
