//! `[destination.NAME]` with `platform = "cj"`.

use std::time::Duration;

use toml::Table;

use crate::{
    platform::{
        Resolve,
        keys::{self, Parsed},
        names::Names,
        times::RefundAge,
    },
    secret::Secret,
};

/// Tracking API: orders of a request are up to 10,000; no more than this, so that the answer, which names each, stays under 64 KiB.
const BATCH_MAX: usize = 500;

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) enterprise: String,
    pub(super) actions: Names,
    pub(super) graphql: bool,
    pub(super) token: Option<Secret>,
    pub(super) signature: Option<Secret>,
    pub(super) items: bool,
    pub(super) without_click: bool,
    pub(super) numbers: bool,
    pub(super) correction_reason: &'static str,
    pub(super) open_ended: bool,
    pub(super) restated_status: &'static str,
    pub(super) vertical: Option<&'static str>,
    pub(super) company: Option<String>,
    pub(super) refund_max_age: RefundAge,
    pub(super) base_url: String,
    pub(super) pixel_url: String,
    pub(super) commissions_url: String,
    pub(super) batch: usize,
    pub(super) batch_wait: Duration,
    pub(super) test: bool,
}

const KEYS: [&str; 19] = [
    "enterprise",
    "actions",
    "api",
    "token",
    "signature",
    "items",
    "attribution",
    "amounts",
    "correction_reason",
    "locking",
    "restated_status",
    "vertical",
    "company",
    "refund_max_age",
    "base_url",
    "pixel_url",
    "commissions_url",
    "batch",
    "batch_wait",
];

/// Tracking API: `CorrectionReason`.
const REASONS: [&str; 10] = [
    "ReturnedMerchandise",
    "BadDebt",
    "Bankruptcy",
    "BookingCanceled",
    "CannotShipSoldOut",
    "Compliance",
    "DuplicateOrder",
    "InvalidCreditCard",
    "Other",
    "UnqualifiedLead",
];
/// Tracking API: `VerticalType`.
const VERTICALS: [&str; 4] = ["Retail", "Finance", "Travel", "NetworkServices"];

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        let secret = |key: &str| keys::given(table, key, |key| keys::header_key(table, key, resolve));
        let graphql = keys::choice(table, "api", true, &[("graphql", true), ("get", false)])?;
        let token = if graphql { Some(keys::header_key(table, "token", resolve)?) } else { secret("token")? };
        if graphql && table.contains_key("signature") {
            return keys::wrong("signature", "only the GET takes one: set api = \"get\", or leave it out");
        }
        // What is told the wrong way is not paid, and only the person who set the action up knows which it is.
        if !table.contains_key("items") {
            return keys::wrong("items", "it is missing: items = \"send\" for an item-based action, \"never\" for a simple one");
        }
        let company = keys::given(table, "company", |key| keys::digits(table, key, "1234567"))?;
        if company.is_some() && token.is_none() {
            return keys::wrong("company", "the commission report is asked with a token: set token too");
        }
        Ok(Self {
            enterprise: keys::digits(table, "enterprise", "1113122")?,
            actions: Names::parse_ids(table, "actions", "155")?,
            graphql,
            token,
            signature: secret("signature")?,
            items: keys::choice(table, "items", true, &[("send", true), ("never", false)])?,
            without_click: keys::choice(table, "attribution", false, &[("click", false), ("all", true)])?,
            numbers: keys::choice(table, "amounts", false, &[("text", false), ("number", true)])?,
            correction_reason: keys::word(table, "correction_reason", REASONS[0], &REASONS)?,
            open_ended: keys::choice(table, "locking", false, &[("automatic", false), ("open_ended", true)])?,
            restated_status: keys::word(table, "restated_status", "Pending", &["Pending", "Accepted"])?,
            vertical: keys::given(table, "vertical", |key| keys::word(table, key, VERTICALS[0], &VERTICALS))?,
            company,
            refund_max_age: RefundAge::parse(table)?,
            base_url: keys::base_url(table, "base_url", "https://tracking.api.cj.com")?,
            pixel_url: keys::base_url(table, "pixel_url", "https://www.emjcd.com")?,
            commissions_url: keys::base_url(table, "commissions_url", "https://commissions.api.cj.com")?,
            batch: keys::whole(table, "batch", 250, 1..=BATCH_MAX)?,
            batch_wait: keys::batch_wait(table)?,
            test: false,
        })
    }
}
