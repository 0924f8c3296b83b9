//! Every macro of a template, out of one delivery.

use std::collections::BTreeMap;

use jiff::Timestamp;
use minijinja::Value;
use rust_decimal::Decimal;

use super::{form::Form, settings::Settings};
use crate::{
    delivery::{Delivery, RefundShape, Refunding, Said},
    event::Object,
    money::{Currency, micros, minor_units},
    template::{
        filters,
        values::{Missing, Num, Part, from_json, missing},
    },
};

mod goods;
mod names;
mod sample;

use goods::{goods, new_customer};
pub use names::KNOWN;
pub(super) use names::PERSONAL;
pub(super) use sample::sample;

pub(super) type Macros = BTreeMap<String, Value>;

pub(super) fn value(macros: &Macros) -> Value {
    Value::from_pairs(macros.iter().map(|(name, value)| (name.as_str(), value.clone())))
}

pub(super) fn lookup(macros: &Value, path: &str) -> Value {
    path.split('.').try_fold(macros.clone(), |at, key| at.get_attr(key)).unwrap_or(Value::UNDEFINED)
}

pub(super) fn of(settings: &Settings, form: &Form, delivery: &Delivery, now: Timestamp) -> Macros {
    let needed = &settings.needed;
    let event = &delivery.event;
    let refund = delivery.refund.as_ref();
    let mut macros = Macros::new();
    let mut put = |name: &str, value: Value| {
        macros.insert(name.to_owned(), value);
    };
    let optional = |name: &str, value: Option<Value>| value.unwrap_or_else(|| missing(name, needed));

    let purchase_said = refund.map_or(&delivery.said, |refund| &refund.purchase);
    let mut who = delivery.who.clone();
    if !settings.allow_pii {
        who.retain(|key, _| !PERSONAL.contains(&key.as_str()));
    }
    // What was said once is said again: the frozen click ids win over what is known now.
    for (key, id) in purchase_said.click.iter().chain(&delivery.said.click) {
        who.insert(key.clone(), serde_json::Value::from(id.as_str()));
    }
    let id = settings.click_param.iter().find_map(|key| match who.get(key) {
        Some(serde_json::Value::String(text)) if !text.is_empty() => Some(Value::from(text.as_str())),
        Some(serde_json::Value::Number(number)) => Some(Value::from(number.to_string())),
        _ => None,
    });
    put(
        "click_id",
        id.unwrap_or_else(|| Value::from_object(Missing { name: crate::route::either(&settings.click_param), needed: needed.contains("click_id") })),
    );
    put("order_id", event.reference.as_str().into());
    put("event_id", delivery.event_id.as_str().into());
    put("refund_id", optional("refund_id", event.refund_ref.as_deref().map(Value::from)));
    put("generation", delivery.generation.into());
    put("attempt", delivery.attempt.into());
    put("kind", event.kind.as_str().into());
    put("event", delivery.said.name.as_deref().unwrap_or(&form.name).into());

    let currency = delivery.said.currency.or(purchase_said.currency);
    let money = |name: &str, amount: Option<Decimal>| optional(name, amount.map(|amount| Num::money(amount, currency)));
    let told = match (refund, settings.refunds) {
        (None, _) => delivery.said.value,
        (Some(refund), RefundShape::Restate | RefundShape::Cancel) => Some(refund.remaining),
        (Some(refund), RefundShape::Negative) => Some(-refund.amount),
        (Some(refund), RefundShape::Event | RefundShape::None) => Some(refund.amount),
    };
    // Rounded once, so that decimal, minor units and micros tell the same.
    let told = told.map(|amount| currency.map_or(amount, |currency| crate::money::round(amount, currency.exponent())));
    put("amount", money("amount", told));
    put("value", money("value", told));
    let units = |units: Option<i128>| units.map(|units| Num::plain(units.to_string()));
    put("amount_minor", optional("amount_minor", units(told.zip(currency).and_then(|(amount, currency)| minor_units(amount, currency)))));
    put("amount_micros", optional("amount_micros", units(told.and_then(micros))));
    put("currency", optional("currency", currency.map(|currency| currency.as_str().into())));
    put("refund_amount", money("refund_amount", refund.map(|refund| refund.amount)));
    put("original_amount", money("original_amount", purchase_said.value));
    put(
        "refunded_total",
        money("refunded_total", Some(refund.map_or(Decimal::ZERO, |refund| refund.total)).filter(|_| purchase_said.value.is_some())),
    );
    put("remaining", money("remaining", refund.map_or(purchase_said.value, |refund| Some(refund.remaining))));
    put("full", refund.is_some_and(|refund| refund.full).into());
    put("uncertain", refund.is_some_and(|refund| refund.uncertain).into());

    for (name, value) in times("time", delivery.said.at).into_iter().chain(times("now", now)) {
        put(&name, value);
    }
    goods(&mut put, settings, event, refund, currency);
    put("customer_status", optional("customer_status", new_customer(event, refund).map(|new| if new { "new" } else { "returning" }.into())));
    put("country", from_json("country", who.get("country").unwrap_or(&serde_json::Value::Null), needed));
    let hashes = [
        ("sha256_email", "email", filters::email as fn(&str) -> String, filters::sha256 as filters::Digester),
        ("sha256_phone", "phone", filters::phone, filters::sha256),
        ("md5_email", "email", filters::email, filters::md5),
        ("sha1_email", "email", filters::email, filters::sha1),
    ];
    for (name, key, normal, digest) in hashes {
        let text = who.get(key).and_then(serde_json::Value::as_str).map(normal).filter(|text| !text.is_empty());
        put(name, optional(name, text.map(|text| hex::encode(digest(&text)).into())));
    }
    put("purchase", purchase(settings, purchase_said, delivery, refund));
    put("answer", from_json("answer", refund.and_then(|refund| refund.answer.as_ref()).unwrap_or(&serde_json::Value::Null), needed));
    put("click", Part::value("click", texts(purchase_said.click.iter().chain(&delivery.said.click)), needed));
    put("who", Part::value("who", who, needed));
    put("more", Part::value("more", event.more.clone(), needed));
    put("separator", settings.separator.as_str().into());
    put("secret", Value::from_pairs(settings.secrets.iter().map(|(name, secret)| (name.as_str(), secret.reveal()))));
    macros
}

fn texts<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> Object {
    pairs.map(|(key, text)| (key.clone(), serde_json::Value::from(text.as_str()))).collect()
}

fn times(prefix: &str, at: Timestamp) -> Vec<(String, Value)> {
    // Whole microseconds: that is what PostgreSQL keeps.
    let us = at.as_microsecond();
    let at = Timestamp::from_microsecond(us).unwrap_or(at);
    let seconds = us.div_euclid(1_000_000);
    vec![
        (prefix.to_owned(), at.to_string().into()),
        (format!("{prefix}_unix"), Num::plain(seconds.to_string())),
        (format!("{prefix}_s"), Num::plain(seconds.to_string())),
        (format!("{prefix}_ms"), Num::plain(us.div_euclid(1_000).to_string())),
        (format!("{prefix}_us"), Num::plain(us.to_string())),
        (format!("{prefix}_iso"), at.to_string().into()),
        (format!("{prefix}_sql"), at.strftime("%Y-%m-%d %H:%M:%S").to_string().into()),
    ]
}

fn purchase(settings: &Settings, said: &Said, delivery: &Delivery, refund: Option<&Refunding>) -> Value {
    let needed = &settings.needed;
    let text = |text: Option<&str>, name: &str| text.map_or_else(|| missing(name, needed), Value::from);
    let mut macros: Macros = times("time", said.at).into_iter().collect();
    macros.insert("value".into(), said.value.map_or_else(|| missing("purchase.value", needed), |value| Num::money(value, said.currency)));
    macros.insert("currency".into(), text(said.currency.as_ref().map(Currency::as_str), "purchase.currency"));
    macros.insert("event".into(), text(said.name.as_deref(), "purchase.event"));
    macros.insert("event_id".into(), refund.map_or(delivery.event_id.as_str(), |refund| refund.purchase_event_id.as_str()).into());
    macros.insert("click".into(), Part::value("click", texts(said.click.iter()), needed));
    macros.insert(
        "more".into(),
        Part::value("more", refund.map_or_else(|| delivery.event.more.clone(), |refund| refund.purchase_more.clone()), needed),
    );
    value(&macros)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::event::Kind;

    #[test]
    fn what_is_known_is_there() {
        let table = "url = 'https://t.example/'\nrefunds = 'event'".parse().expect("TOML");
        let settings = Settings::parse(&table, &|_| Err(String::new())).expect("settings");
        for kind in [Kind::Purchase, Kind::Refund] {
            let macros = of(&settings, settings.form(kind).expect("a form"), &sample(&settings, kind), Timestamp::UNIX_EPOCH);
            // `status` is rendered by the template of that name, `loop` exists inside {% for %}.
            let there: BTreeSet<&str> = macros.keys().map(String::as_str).chain(["status", "loop"]).collect();
            assert_eq!(there, KNOWN.into_iter().collect(), "{kind}");
        }
    }
}
