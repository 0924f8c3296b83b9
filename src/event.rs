//! [2 event] What a row of `postback.event` says, decoded. Knows no database.
//!
//! Payload shapes, as the SQL functions write them (money is decimal text; JSON numbers are read without a float too):
//!
//! | kind | payload |
//! |---|---|
//! | purchase | `{"value": "140.98", "currency": "USD", "who": {..}, "more": {..}}` |
//! | refund | `{"refund_ref": "r1", "amount": "12.50", "more": {..}}` |
//! | retract | `{"reason": ".."}` |
//! | enrich | `{"who": {..}}` |
//! | lead, signup, install, subscribe, custom | `{"who": {..}, "more": {..}}`, optionally `"value"` and `"currency"` |

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use crate::money::Currency;

mod skim;

/// An object of the payload: `who` or `more`.
pub type Object = Map<String, Value>;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    Purchase,
    Refund,
    Retract,
    Enrich,
    Lead,
    Signup,
    Install,
    Subscribe,
    Custom,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 9] =
        [Self::Purchase, Self::Refund, Self::Retract, Self::Enrich, Self::Lead, Self::Signup, Self::Install, Self::Subscribe, Self::Custom];

    /// As it stands in `postback.event.kind` and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Refund => "refund",
            Self::Retract => "retract",
            Self::Enrich => "enrich",
            Self::Lead => "lead",
            Self::Signup => "signup",
            Self::Install => "install",
            Self::Subscribe => "subscribe",
            Self::Custom => "custom",
        }
    }

    /// Whether it takes money back from a purchase.
    pub fn takes_back(self) -> bool {
        matches!(self, Self::Refund | Self::Retract)
    }

    /// Whether it stands on its own, outside an order's ledger.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Lead | Self::Signup | Self::Install | Self::Subscribe | Self::Custom)
    }
}

impl FromStr for Kind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row of the outbox, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `postback.event.id`.
    pub id: i64,
    /// What happened.
    pub kind: Kind,
    /// The order (or lead, account ...) as the shop calls it.
    pub reference: String,
    /// The refund as the shop calls it; refunds only.
    pub refund_ref: Option<String>,
    /// Purchase value or refund amount in major units, never negative; `None` where the kind has none.
    pub value: Option<Decimal>,
    /// Currency of `value`; a refund has its sale's.
    pub currency: Option<Currency>,
    /// The person: match keys, click ids, consent.
    pub who: Object,
    /// Everything else the shop told.
    pub more: Object,
    /// When it happened, by the database's clock or by the shop's word.
    pub occurred_at: Timestamp,
    /// The person was forgotten: what was known of them is gone.
    pub forgotten: bool,
}

/// Why a row cannot be an event. The text names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Unreadable {
    #[error("unknown kind")]
    Kind,
    #[error("payload is not a JSON object")]
    Payload,
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not a number")]
    Number(&'static str),
    #[error("{0} is negative")]
    Negative(&'static str),
    #[error("{0} is not an object")]
    Object(&'static str),
    #[error("currency is not three letters")]
    Currency,
}

impl Event {
    /// Reads one row.
    pub fn decode(id: i64, kind: &str, reference: &str, payload: &str, occurred_at: Timestamp) -> Result<Self, Unreadable> {
        let Ok(Value::Object(payload)) = serde_json::from_str(payload) else { return Err(Unreadable::Payload) };
        Self::read(id, kind, reference, payload, occurred_at)
    }

    /// What the ledger needs of it, readable exactly where [`Self::decode`] is: `more` stays empty, and `who` of all but an enrich.
    /// Those are most of a payload, and building them is most of what reading it costs.
    pub fn decode_books(id: i64, kind: &str, reference: &str, payload: &str, occurred_at: Timestamp) -> Result<Self, Unreadable> {
        let without = if kind == Kind::Enrich.as_str() { &["more"][..] } else { &["who", "more"] };
        Self::read(id, kind, reference, skim::object(payload, without).ok_or(Unreadable::Payload)?, occurred_at)
    }

    fn read(id: i64, kind: &str, reference: &str, mut payload: Object, occurred_at: Timestamp) -> Result<Self, Unreadable> {
        let kind: Kind = kind.parse().map_err(|()| Unreadable::Kind)?;
        let forgotten = payload.get("forgotten") == Some(&Value::Bool(true));
        let who = object(&mut payload, "who")?;
        let more = object(&mut payload, "more")?;
        let (value, currency, refund_ref) = match kind {
            Kind::Purchase => {
                let value = amount(&payload, "value")?.ok_or(Unreadable::Missing("value"))?;
                (Some(value), Some(currency(&payload)?.ok_or(Unreadable::Missing("currency"))?), None)
            }
            Kind::Refund => {
                let refund_ref = text(&payload, "refund_ref").ok_or(Unreadable::Missing("refund_ref"))?;
                (Some(amount(&payload, "amount")?.ok_or(Unreadable::Missing("amount"))?), None, Some(refund_ref))
            }
            Kind::Retract | Kind::Enrich => (None, None, None),
            _ => (amount(&payload, "value")?, currency(&payload)?, None),
        };
        Ok(Self { id, kind, reference: reference.to_owned(), refund_ref, value, currency, who, more, occurred_at, forgotten })
    }
}

/// The dedupe id that server and pixel share; `postback.event_id` in SQL prints the same.
///
/// `purchase-1001`, the second generation of that order `purchase-1001.2`, a refund `refund-1001-r1`.
pub fn event_id(kind: Kind, reference: &str, refund_ref: Option<&str>, generation: i32) -> String {
    let mut id = format!("{kind}-{reference}");
    if generation > 1 {
        id.push_str(&format!(".{generation}"));
    }
    if let Some(refund_ref) = refund_ref {
        id.push('-');
        id.push_str(refund_ref);
    }
    id
}

fn object(payload: &mut Object, key: &'static str) -> Result<Object, Unreadable> {
    match payload.remove(key) {
        None | Some(Value::Null) => Ok(Object::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(Unreadable::Object(key)),
    }
}

fn text(payload: &Object, key: &str) -> Option<String> {
    match payload.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn amount(payload: &Object, key: &'static str) -> Result<Option<Decimal>, Unreadable> {
    if payload.get(key).is_none_or(Value::is_null) {
        return Ok(None);
    }
    let text = text(payload, key).ok_or(Unreadable::Number(key))?;
    let amount = decimal(&text).ok_or(Unreadable::Number(key))?;
    if amount.is_sign_negative() && !amount.is_zero() { Err(Unreadable::Negative(key)) } else { Ok(Some(amount)) }
}

/// Exact decimal out of text, `1.5e3` included; `None` for NaN, infinities and what does not fit.
pub fn decimal(text: &str) -> Option<Decimal> {
    let text = text.trim();
    if text.contains(['e', 'E']) { Decimal::from_scientific(text).ok() } else { text.parse().ok() }
}

fn currency(payload: &Object) -> Result<Option<Currency>, Unreadable> {
    match payload.get("currency") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Currency::parse(text).map(Some).ok_or(Unreadable::Currency),
        Some(_) => Err(Unreadable::Currency),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(kind: &str, payload: &str) -> Result<Event, Unreadable> {
        Event::decode(7, kind, "1001", payload, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn money_keeps_every_digit() {
        for (json, want) in
            [("\"140.98\"", "140.98"), ("140.98", "140.98"), ("0.1", "0.1"), ("1234567890123456789.01", "1234567890123456789.01"), ("1.5e3", "1500")]
        {
            let event = decode("purchase", &format!(r#"{{"value":{json},"currency":"usd"}}"#)).expect("readable");
            assert_eq!(event.value.map(|v| v.normalize().to_string()), Some(want.to_owned()));
        }
    }

    #[test]
    fn bad_rows_say_which_key() {
        for (kind, payload, want) in [
            ("purchase", "[]", Unreadable::Payload),
            ("party", "{}", Unreadable::Kind),
            ("purchase", r#"{"currency":"USD"}"#, Unreadable::Missing("value")),
            ("purchase", r#"{"value":"NaN","currency":"USD"}"#, Unreadable::Number("value")),
            ("purchase", r#"{"value":"-1","currency":"USD"}"#, Unreadable::Negative("value")),
            ("purchase", r#"{"value":"1","currency":"dollars"}"#, Unreadable::Currency),
            ("refund", r#"{"amount":"1"}"#, Unreadable::Missing("refund_ref")),
            ("lead", r#"{"who":[]}"#, Unreadable::Object("who")),
        ] {
            assert_eq!(decode(kind, payload), Err(want), "{kind} {payload}");
        }
    }

    #[test]
    fn the_ledger_reads_the_same_and_less() {
        let whole = r#""who":{"email":"a@b.c","x":[1,{"y":null}]},"more":{"items":[{"price":"1.50"}]}"#;
        for kind in Kind::ALL.map(Kind::as_str).into_iter().chain(["party"]) {
            for payload in [
                format!(r#"{{"value":"1.50","currency":"EUR","refund_ref":7,"amount":2.50,{whole}}}"#),
                format!(r#"{{{whole},"value":1e3,"currency":"eur","refund_ref":"r","amount":"2"}}"#),
                r#"{"who":null,"more":null,"value":-1}"#.into(),
                r#"{"who":"text"}"#.into(),
                r#"{"more":[1,2],"value":"1","currency":"EUR"}"#.into(),
                r#"{"who":7,"who":{"a":1},"amount":"1","refund_ref":"r"}"#.into(),
                "[]".into(),
                "7".into(),
                "{".into(),
                r#"{"who":{"a":}}"#.into(),
                r#"{} {}"#.into(),
            ] {
                let decode =
                    |of: fn(i64, &str, &str, &str, Timestamp) -> Result<Event, Unreadable>| of(7, kind, "1001", &payload, Timestamp::UNIX_EPOCH);
                let full = decode(Event::decode).map(|event| {
                    let who = if event.kind == Kind::Enrich { event.who } else { Object::new() };
                    Event { who, more: Object::new(), ..event }
                });
                assert_eq!(decode(Event::decode_books), full, "{kind} {payload}");
            }
        }
    }

    #[test]
    fn dedupe_ids() {
        assert_eq!(event_id(Kind::Purchase, "1001", None, 1), "purchase-1001");
        assert_eq!(event_id(Kind::Purchase, "1001", None, 2), "purchase-1001.2");
        assert_eq!(event_id(Kind::Refund, "1001", Some("r1"), 1), "refund-1001-r1");
    }
}
