//! impact.com: conversions that followed a partner's link; refunds amend or reverse the action that became of one.
//!
//! Source: integrations.impact.com/brand-api-reference: OpenAPI documents conversions (v13), actions (v14) and submissions (v14), pages
//! rate-limits, versioning, status-codes-and-errors (2026-08).
//! Method: POST, for refunds PUT and DELETE, a form, one conversion; HTTP Basic.
//! Money: decimal text in major units, after discounts and without tax and delivery; impact subtracts discounts that are told apart.
//! Dedup: none that is promised: an order id counts once only within the event type's own deduplication window (`CONV_DUPLICATE`), and
//! there is no idempotency key. So a conversion is sent at most once unless `resend` says otherwise.
//! Success: 200 with `QUEUED`; what became of it is asked for later, under the submission that the answer names.
//! Refunds: reversed when nothing is left; else the new total, or the new quantity and amount of every item. Absolute, so that a
//! repeat does no harm. Only until the action's locking date, after which the submission's verdict says that it was too late.
//! Not covered: file submissions, call tracking, action inquiries.

mod action;
mod answer;
mod conversion;
mod settings;

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

pub use settings::Settings;

use super::{Adapter, Refusal, form, keys, single, times};
use crate::{
    delivery::{Awaiting, Confirm, Delivery, Facts, RefundShape, Resend},
    destination::Basis,
    event::Kind,
    outcome::{Outcome, Reply},
    request::{Method, Request},
};

/// Unverified: how long a submission is processed; an action may take half an hour to show.
const CONFIRM: Confirm = Confirm { first: Duration::from_secs(900), every: Duration::from_secs(1_800), until: Duration::from_secs(3 * 86_400) };
/// Unverified, with a margin over that half hour: before, there may be no action yet that a refund could find.
const ACTION_AFTER: SignedDuration = SignedDuration::from_secs(2 * 3_600);
/// rate-limits: calls of an account.
const PER_HOUR: u32 = 1_000;
/// A submission that never was, to ask whether the token may read submissions.
const NO_SUBMISSION: &str = "A-00000000-0000-0000-0000-000000000000";

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts {
            // rate-limits: over all endpoints together, so that questions what became of a submission count too. What is too fast is told
            // to slow down and loses nothing.
            per_hour: Some(PER_HOUR),
            refund: RefundShape::Restate,
            resend: if self.resend { Resend::Safe } else { Resend::Never },
            // What was not attributed has no action that a refund could amend.
            accepted_is_enough: false,
            confirm: self.confirm.then_some(CONFIRM),
            ..Facts::PLAIN
        }
    }

    /// conversions: subtotal after discounts, tax and delivery.
    fn basis(&self) -> Basis {
        Basis { without_tax: true, without_shipping: true }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.event_types.of(kind).map(str::to_owned)
    }

    /// Refunds tell absolute values.
    fn resend(&self, kind: Kind) -> Resend {
        if kind.takes_back() { Resend::Safe } else { self.facts().resend }
    }

    fn not_before(&self, delivery: &Delivery) -> Option<(Timestamp, String)> {
        let refund = delivery.refund.as_ref()?;
        let until = times::sent(refund).unwrap_or(refund.purchase.at).checked_add(ACTION_AFTER).ok()?;
        Some((until, "impact may not have made an action of the purchase yet".into()))
    }

    fn expires(&self, delivery: &Delivery) -> Option<Timestamp> {
        self.refund_max_age.until(delivery)
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        let delivery = single(batch)?;
        let request = match &delivery.refund {
            Some(refund) => action::request(self, delivery, refund)?,
            None => conversion::request(self, delivery, now)?,
        };
        Ok(self.authorized(request))
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        batch.iter().map(|delivery| answer::queued(self, delivery, reply, now)).collect()
    }

    fn confirm(&self, awaiting: &Awaiting) -> Option<Request> {
        Some(self.submission(awaiting.answer.get("submission")?.as_str()?))
    }

    fn confirmed(&self, awaiting: &[Awaiting], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        awaiting.iter().map(|awaiting| answer::processed(self, awaiting, reply, now)).collect()
    }

    fn warnings(&self, _: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        let mut found = keys::clear_warnings(&[("base_url", &self.base_url)]);
        if !self.confirm {
            found.push("confirm = \"never\": what impact queues counts as delivered, also what it drops when it is processed".into());
        }
        found
    }

    fn probe(&self, _: Timestamp) -> Option<Request> {
        Some(self.submission(NO_SUBMISSION))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        match reply.status {
            401 => Err(format!("account or token is refused (HTTP 401); {}", self.fix())),
            403 if self.confirm => Err("the token may not read API submissions: give it that scope, or set confirm = \"never\"".into()),
            _ => Ok(()),
        }
    }
}

impl Settings {
    fn url(&self, resource: &str) -> String {
        format!("{}/Advertisers/{}/{resource}", self.base_url, self.account)
    }

    fn submission(&self, id: &str) -> Request {
        self.authorized(Request::new(Method::Get, self.url(&format!("APISubmissions/{id}"))))
    }

    fn authorized(&self, request: Request) -> Request {
        // Without it some endpoints answer with XML.
        let request = form::basic(request, &self.account, &self.auth_token).with("Accept", "application/json");
        match &self.version {
            Some(version) => request.with("IR-Version", version),
            None => request,
        }
    }

    fn fix(&self) -> String {
        format!("put a valid token of account {} into {}, reload and resume", self.account, self.auth_token.name())
    }
}
