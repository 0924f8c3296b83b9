//! CJ Affiliate: sales that followed a CJ link, by the Tracking API (GraphQL) or by its server-to-server GET; corrections and cancellations
//! by the Tracking API alone.
//!
//! Source: developers.cj.com (Tracking API overview, GraphQL references of Tracking and Commission Detail; schemas of 2026-08),
//! docs.cj.com/docs/s2s and /s2s-implementation (2026).
//! Method: POST, GraphQL, up to 10,000 orders, a bearer token; or GET, one order.
//! Money: decimals in major units, never negative, after discounts and without tax and delivery; items by price of one piece.
//! Dedup: order id, action and enterprise together, for ever as far as is known, across pixel, GET and API. So a repeat does no harm.
//! Success: the order is named in the answer, without an error; for the GET any 2xx. Neither says that it was paid: CJ processes within the
//! hour and drops what it knows already, cannot attribute, or has locked, without a word. With `company` set its commission report is
//! asked whether the sale is there.
//! Refunds: cancelled when nothing is left; else the whole order is told anew as it is now, which replaces what CJ has.
//! Not covered: file imports; ids of ads instead of `cjevent`.
//! Unverified: whether a batch with a wrong order is refused as a whole: the others are sent again, which does no harm.

mod answer;
mod commissions;
mod order;
mod pixel;
mod settings;
mod worth;

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

pub use settings::Settings;

use super::{Adapter, Refusal, SettingError, keys, times};
use crate::{
    delivery::{Awaiting, Confirm, Delivery, Facts, RefundShape, Resend},
    destination::Basis,
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

/// Processing takes up to an hour; with a margin, because a correction of what CJ does not know yet would be dropped.
const PROCESSED_AFTER: SignedDuration = SignedDuration::from_secs(2 * 3_600);
/// From then on, what is not in the commission report will not come into it.
const CONFIRM: Confirm =
    Confirm { first: Duration::from_secs(2 * 3_600), every: Duration::from_secs(2 * 3_600), until: Duration::from_secs(2 * 86_400) };

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts {
            batch_max: if self.graphql { self.batch } else { 1 },
            batch_wait: if self.graphql { self.batch_wait } else { Duration::ZERO },
            refund: if self.token.is_some() { RefundShape::Restate } else { RefundShape::None },
            resend: Resend::Safe,
            accepted_is_enough: self.company.is_none(),
            confirm: self.company.as_ref().map(|_| CONFIRM),
            ..Facts::PLAIN
        }
    }

    /// order subtotal, without tax and delivery.
    fn basis(&self) -> Basis {
        Basis { without_tax: true, without_shipping: true }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.actions.of(kind).map(str::to_owned)
    }

    fn batch_key(&self, delivery: &Delivery) -> Option<String> {
        Some(order::Call::of(delivery).mutation().into())
    }

    fn not_before(&self, delivery: &Delivery) -> Option<(Timestamp, String)> {
        let refund = delivery.refund.as_ref()?;
        let until = times::sent(refund).unwrap_or(refund.purchase.at).checked_add(PROCESSED_AFTER).ok()?;
        Some((until, "CJ may not have processed the purchase yet".into()))
    }

    fn expires(&self, delivery: &Delivery) -> Option<Timestamp> {
        self.refund_max_age.until(delivery)
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        match batch {
            [only] if !self.graphql && only.refund.is_none() => pixel::request(self, only, now),
            _ => order::request(self, batch, now),
        }
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        match batch {
            [only] if !self.graphql && only.refund.is_none() => vec![answer::pixel(self, only, reply, now)],
            _ => answer::orders(self, batch, reply, now),
        }
    }

    fn confirm(&self, awaiting: &Awaiting) -> Option<Request> {
        commissions::question(self, awaiting)
    }

    fn confirmed(&self, awaiting: &[Awaiting], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        commissions::found(self, awaiting, reply, now)
    }

    /// Validated, not posted; the same token.
    fn test_mode(&mut self) -> Result<(), SettingError> {
        if !self.graphql {
            return keys::wrong("mode", "the GET has no test mode; use api = \"graphql\", or \"shadow\" to build requests and send nothing");
        }
        (self.test, self.company) = (true, None);
        Ok(())
    }

    fn warnings(&self, kinds: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        let urls = [("base_url", &self.base_url), ("pixel_url", &self.pixel_url), ("commissions_url", &self.commissions_url)];
        let mut found = keys::clear_warnings(&urls.map(|(key, url)| (key, url.as_str())));
        if kinds.contains(&Kind::Refund) && self.token.is_none() {
            found.push("refunds are wanted but cannot be told: the GET takes none; set token, or take refund out of kinds".into());
        }
        if self.company.is_none() && !self.test {
            found.push("without company nobody asks whether CJ attributed a sale; what it drops when processing counts as delivered".into());
        }
        found
    }

    /// An order list without orders, where nothing is posted.
    fn probe(&self, _: Timestamp) -> Option<Request> {
        let token = self.token.as_ref()?;
        let body = json!({ "query": order::Call::Create.query(), "variables": { "o": [] } });
        Some(Request::json(format!("{}/graphqltest", self.base_url), &body).with("Authorization", format!("Bearer {}", token.reveal())))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        match answer::refused_token(reply) {
            Some(why) => Err(format!("{why}; {}", self.fix())),
            None => Ok(()),
        }
    }
}

impl Settings {
    fn fix(&self) -> String {
        let secret = self.token.as_ref().map_or("token", |token| token.name());
        format!("put a personal access token that may track for enterprise {} into {secret}, reload and resume", self.enterprise)
    }
}
