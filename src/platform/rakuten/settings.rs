//! `[destination.NAME]` with `platform = "rakuten"`.

use toml::Table;

use crate::{
    event::Kind,
    platform::{
        Resolve,
        keys::{self, Parsed},
        names::Names,
        times::RefundAge,
    },
};

/// How an account counts money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amounts {
    /// Times 100, whatever the currency.
    Cents,
    /// Major units.
    Units,
    /// Not said: times 100, for currencies of which there is no doubt.
    Unsaid,
}

/// Where a returning customer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Never,
    /// `custstatus`.
    Field,
    /// There, and as `R_` before the ids and names of articles.
    Sku,
}

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) merchant: String,
    pub(super) names: Names,
    pub(super) items: bool,
    pub(super) amounts: Amounts,
    pub(super) customer_status: Status,
    pub(super) resend: bool,
    pub(super) refund_max_age: RefundAge,
    pub(super) base_url: String,
}

const KEYS: [&str; 8] = ["merchant", "names", "items", "amounts", "customer_status", "resend", "refund_max_age", "base_url"];

impl Settings {
    /// There are no secrets: Rakuten lets an advertiser's id alone do.
    pub(in crate::platform) fn parse(table: &Table, _: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        let status = [("field", Status::Field), ("sku", Status::Sku), ("never", Status::Never)];
        Ok(Self {
            merchant: keys::digits(table, "merchant", "12345")?,
            names: Names::parse(table, "names", &[(Kind::Purchase, "sale")])?,
            items: keys::choice(table, "items", true, &[("send", true), ("never", false)])?,
            amounts: keys::choice(table, "amounts", Amounts::Unsaid, &[("cents", Amounts::Cents), ("units", Amounts::Units)])?,
            customer_status: keys::choice(table, "customer_status", Status::Field, &status)?,
            resend: keys::resend(table)?,
            refund_max_age: RefundAge::parse(table)?,
            base_url: keys::base_url(table, "base_url", "https://track.linksynergy.com")?,
        })
    }
}
