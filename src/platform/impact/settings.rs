//! `[destination.NAME]` with `platform = "impact"`.

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

/// What a conversion must have so that it is worth sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribution {
    /// A click id.
    Click,
    /// A click id or a coupon.
    Coupon,
    /// Anything by which impact may know the customer.
    Any,
}

/// How an e-mail address is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Email {
    /// Not at all.
    Never,
    /// SHA-256 in hex.
    Sha256,
    /// SHA-1 in hex.
    Sha1,
}

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) account: String,
    pub(super) auth_token: Secret,
    pub(super) campaign: String,
    pub(super) event_types: Names,
    pub(super) attribution: Attribution,
    pub(super) items: bool,
    pub(super) item_refunds: bool,
    pub(super) reason: String,
    pub(super) disposition: &'static str,
    pub(super) email: Email,
    pub(super) ip: bool,
    pub(super) customer_status: bool,
    pub(super) consent_key: String,
    pub(super) property: Option<String>,
    pub(super) confirm: bool,
    pub(super) resend: bool,
    pub(super) refund_max_age: RefundAge,
    pub(super) version: Option<String>,
    pub(super) base_url: String,
}

const KEYS: [&str; 19] = [
    "account",
    "auth_token",
    "campaign",
    "event_types",
    "attribution",
    "items",
    "refunds",
    "reason",
    "disposition",
    "email",
    "ip",
    "customer_status",
    "tracking_consent",
    "property",
    "confirm",
    "resend",
    "refund_max_age",
    "version",
    "base_url",
];

/// actions: disposition codes of a reversal.
const DISPOSITIONS: [&str; 14] = [
    "ITEM_RETURNED",
    "REJECTED",
    "CONS_INFO_INVALID",
    "CONS_ERROR",
    "CONS_FRAUD",
    "ITEM_OUT_OF_STOCK",
    "ORDER_ERROR",
    "PUB_ACT_DISPUTE",
    "NOT_COMPLIANCE_TERMS",
    "MP_RETURNED",
    "OTHER",
    "CREDITED_DIFFERENT_MP",
    "ADV_ACT_DISPUTE",
    "TEST_ACTION",
];

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &KEYS)?;
        let flag = |key: &str, default: bool, yes: &str, no: &str| keys::choice(table, key, default, &[(yes, true), (no, false)]);
        let attribution = [("click", Attribution::Click), ("click_or_coupon", Attribution::Coupon), ("any", Attribution::Any)];
        let email = [("never", Email::Never), ("sha256", Email::Sha256), ("sha1", Email::Sha1)];
        let digits_of = |key: &str, like: &str| keys::given(table, key, |key| keys::digits(table, key, like));
        // Numbers, because a refund names the event type again, and it can do that by number only.
        let event_types = Names::parse_ids(table, "event_types", "8180")?;
        Ok(Self {
            account: keys::path_part(table, "account", "IRabc..")?,
            auth_token: keys::secret_key(table, "auth_token", resolve)?,
            campaign: keys::digits(table, "campaign", "3641")?,
            event_types,
            attribution: keys::choice(table, "attribution", Attribution::Click, &attribution)?,
            items: flag("items", true, "send", "never")?,
            item_refunds: flag("refunds", false, "items", "order")?,
            reason: reason(table)?,
            disposition: keys::word(table, "disposition", DISPOSITIONS[0], &DISPOSITIONS)?,
            email: keys::choice(table, "email", Email::Never, &email)?,
            ip: flag("ip", false, "send", "never")?,
            customer_status: flag("customer_status", true, "send", "never")?,
            consent_key: keys::some_text(table, "tracking_consent")?.unwrap_or_else(|| "ad_user_data".to_owned()),
            property: digits_of("property", "4321")?,
            confirm: flag("confirm", true, "ask", "never")?,
            resend: keys::resend(table)?,
            refund_max_age: RefundAge::parse(table)?,
            version: digits_of("version", "14")?,
            base_url: keys::base_url(table, "base_url", "https://api.impact.com")?,
        })
    }
}

/// actions: one of the reasons that every account has, or one of the event type's own.
fn reason(table: &Table) -> Parsed<String> {
    let reason = keys::text(table, "reason")?.unwrap_or("ITEM_RETURNED");
    let code = !reason.is_empty() && reason.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if code { Ok(reason.to_owned()) } else { keys::wrong("reason", "a reason code of the event type is expected, e.g. \"ITEM_RETURNED\"") }
}
