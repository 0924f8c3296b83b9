//! Which destination wants an event, and why not. Pure.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    destination::Destination,
    event::{Event, Kind, Object},
    when::{self, Expr},
};

/// `when = "..."`: a condition over the event, compiled at startup; see [`crate::when`] for the syntax.
#[derive(Clone)]
pub struct Filter {
    /// As written in the configuration.
    pub source: Arc<str>,
    expr: Arc<Expr>,
}

impl Filter {
    /// Parses a condition; the error says what is wrong in it.
    pub fn parse(source: &str) -> Result<Self, String> {
        Ok(Self { source: source.into(), expr: Arc::new(when::parse(source)?) })
    }

    /// Whether it holds for this event of this person.
    pub fn holds(&self, event: &Event, who: &Object) -> bool {
        self.expr.holds(event, who)
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter({})", self.source)
    }
}

const WHEN: &str = "not wanted here: when";

/// Why `to` does not want the event, in words that a marketer understands; `None`: it does.
///
/// `who` is the person as known now (the sale's for refunds, enriched). A refund or retract goes where its purchase went: the
/// condition was judged over the purchase and is not judged again over the refund's own amount.
pub fn skip(event: &Event, who: &Object, to: &Destination) -> Option<String> {
    let kind = if event.kind == Kind::Retract { Kind::Refund } else { event.kind };
    if !to.kinds.contains(&kind) {
        return Some(format!("{kind} not wanted here"));
    }
    if !to.apple && kind.is_plain() && crate::apple::tell::body(&event.more).is_some() {
        return Some("Apple's postback: not wanted here without apple = true".into());
    }
    if let Some(filter) = to.when.as_ref().filter(|_| !event.kind.takes_back())
        && !filter.holds(event, who)
    {
        return Some(format!("{WHEN} {}", filter.source));
    }
    without_consent(who, to).or_else(|| click(who, &to.click))
}

/// Why `to` must not be told about this person; `None`: it may.
pub fn without_consent(who: &Object, to: &Destination) -> Option<String> {
    to.consent.iter().find_map(|key| consent(who, key))
}

/// Why consent `key` does not stand; `None`: it was granted.
fn consent(who: &Object, key: &str) -> Option<String> {
    match consent_of(who, key) {
        Some(true) => None,
        Some(false) => Some(format!("consent: {key} denied")),
        None => Some(format!("consent: {key} unknown")),
    }
}

/// Whether `who.consent` grants or denies `key`; `None`: it says nothing, or nothing that can be understood.
pub fn consent_of(who: &Object, key: &str) -> Option<bool> {
    match who.get("consent").and_then(|consent| consent.get(key))? {
        Value::Bool(yes) => Some(*yes),
        Value::Number(number) => match number.to_string().as_str() {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "granted" | "true" | "1" | "yes" => Some(true),
            "denied" | "false" | "0" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// `no gclid, gbraid or wbraid` when none of the wanted click ids is known.
fn click(who: &Object, wanted: &[String]) -> Option<String> {
    let known = |key: &String| match who.get(key) {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Number(_)) => true,
        _ => false,
    };
    if wanted.is_empty() || wanted.iter().any(known) { None } else { Some(format!("no {}", either(wanted))) }
}

/// `a`, `a or b`, `a, b or c`.
pub fn either(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

/// Whether a reason given by [`skip`] may be undone by an `enrich`: a click id or a consent that came later.
pub fn depends_on_person(reason: &str) -> bool {
    reason.starts_with("no ") || reason.starts_with("consent: ") || reason.starts_with(WHEN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn who(value: Value) -> Object {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn consent_is_granted_or_it_is_not() {
        for yes in [json!("granted"), json!("TRUE"), json!(true), json!(1), json!("1")] {
            assert_eq!(consent(&who(json!({"consent": {"ad_user_data": yes}})), "ad_user_data"), None);
        }
        for no in [json!("denied"), json!(false), json!(0), json!("0")] {
            assert_eq!(consent(&who(json!({"consent": {"ad_user_data": no}})), "ad_user_data").as_deref(), Some("consent: ad_user_data denied"));
        }
        for unknown in [json!({}), json!({"consent": null}), json!({"consent": {"ad_user_data": "maybe"}}), json!({"consent": {"ad_user_data": 2}})] {
            assert_eq!(consent(&who(unknown), "ad_user_data").as_deref(), Some("consent: ad_user_data unknown"));
        }
    }

    #[test]
    fn one_of_the_click_ids_is_enough() {
        let wanted = ["gclid", "gbraid", "wbraid"].map(str::to_owned);
        assert_eq!(click(&who(json!({"wbraid": "w"})), &wanted), None);
        assert_eq!(click(&who(json!({"gclid": " "})), &wanted).as_deref(), Some("no gclid, gbraid or wbraid"));
        assert_eq!(click(&who(json!({})), &wanted[..1]).as_deref(), Some("no gclid"));
        assert_eq!(click(&who(json!({})), &[]), None);
    }
}
