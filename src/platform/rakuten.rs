//! Rakuten Advertising (LinkShare): a GET per order; refunds are the same order with negative amounts.
//!
//! Source: Rakuten's own server-side tag (github.com/Rakuten-Advertising-Developers/Affiliate-for-Server-Side-GTM, 3.4.1, 2026), RudderStack's
//! rakuten destination (2026-08), Commanders Act's (2026); Rakuten gives its field manual to advertisers only.
//! Method: GET, one order, no credential but the merchant's id.
//! Money: totals of lines, times 100 or in major units as the account counts, after discounts and without tax and delivery.
//! Dedup: unverified: that a repeated order is dropped, so that a sale is sent at most once unless `resend` says otherwise. Negative lines add
//! up: a refund is never sent twice on its own.
//! Success: 200 and an XML body with `<good>` lines and no `<error>`; without a body of that kind nobody knows.
//! Refunds: the lines that came back with negative amounts, under the order id, click id and times that were told. Within the program's own
//! window (LinkShare Japan: until the end of the next month).
//! Not covered: the signed `nvp` of old integrations, the Transactions API (its paths are not public), files.

mod answer;
mod order;
mod settings;

use std::collections::BTreeSet;

use jiff::Timestamp;

pub use settings::Settings;

use super::{Adapter, Refusal, keys, single};
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    destination::Basis,
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        let resend = if self.resend { Resend::Safe } else { Resend::Never };
        Facts { refund: RefundShape::Negative, resend, ..Facts::PLAIN }
    }

    /// Amounts of lines, without tax and delivery.
    fn basis(&self) -> Basis {
        Basis { without_tax: true, without_shipping: true }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.names.of(kind).map(str::to_owned)
    }

    /// Negative lines add up.
    fn resend(&self, kind: Kind) -> Resend {
        if kind.takes_back() { Resend::Never } else { self.facts().resend }
    }

    fn expires(&self, delivery: &Delivery) -> Option<Timestamp> {
        self.refund_max_age.until(delivery)
    }

    fn request(&self, batch: &[Delivery], _: Timestamp) -> Result<Request, Refusal> {
        order::request(self, single(batch)?)
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        batch.iter().map(|delivery| answer::outcome(self, delivery, reply, now)).collect()
    }

    fn warnings(&self, _: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        keys::clear_warnings(&[("base_url", &self.base_url)])
    }
}
