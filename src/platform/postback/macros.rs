//! The macros of templates, out of one delivery.

use std::sync::Arc;

use jiff::Timestamp;
use minijinja::{Value, value::Object as Lookup};
use rust_decimal::Decimal;

use super::{form::Form, settings::Settings};
use crate::{
    delivery::{Delivery, RefundShape, Said},
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
pub(super) use names::{PERSONAL, named};
pub(super) use sample::sample;

/// Everything a template may ask of one delivery. A value is made when its name is asked for: most templates name five of fifty.
pub(super) struct Macros<'a> {
    settings: &'a Settings,
    form: &'a Form,
    delivery: &'a Delivery,
    now: Timestamp,
    /// What was said of the purchase; of a purchase itself what is said now.
    purchase: &'a Said,
    currency: Option<Currency>,
    told: Option<Decimal>,
}

/// Values by name, as the templates of one form see them.
#[derive(Clone, Debug)]
struct Given(Vec<(&'static str, Value)>);

impl Lookup for Given {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
    }
}

pub(super) fn lookup(macros: &Value, path: &str) -> Value {
    path.split('.').try_fold(macros.clone(), |at, key| at.get_attr(key)).unwrap_or(Value::UNDEFINED)
}

impl<'a> Macros<'a> {
    pub fn of(settings: &'a Settings, form: &'a Form, delivery: &'a Delivery, now: Timestamp) -> Self {
        let refund = delivery.refund.as_ref();
        let purchase = refund.map_or(&delivery.said, |refund| &refund.purchase);
        let currency = delivery.said.currency.or(purchase.currency);
        let told = match (refund, settings.refunds) {
            (None, _) => delivery.said.value,
            (Some(refund), RefundShape::Restate | RefundShape::Cancel) => Some(refund.remaining),
            (Some(refund), RefundShape::Negative) => Some(-refund.amount),
            (Some(refund), RefundShape::Event | RefundShape::None) => Some(refund.amount),
        };
        // Rounded once, so that decimal, minor units and micros tell the same.
        let told = told.map(|amount| currency.map_or(amount, |currency| crate::money::round(amount, currency.exponent())));
        Self { settings, form, delivery, now, purchase, currency, told }
    }

    /// The values of these names; `status` is what the template of that name gave.
    pub fn values(&self, names: &[&'static str], status: Option<&str>) -> Value {
        let value = |name: &'static str| match name {
            "status" => Some((name, status?.into())),
            _ => Some((name, self.value(name)?)),
        };
        Value::from_object(Given(names.iter().filter_map(|name| value(name)).collect()))
    }

    /// One value; `None` for a name that is not known, and for `status` and `loop`, which templates make.
    fn value(&self, name: &str) -> Option<Value> {
        let Self { settings, delivery, purchase, .. } = self;
        let (event, refund) = (&delivery.event, delivery.refund.as_ref());
        let optional = |value: Option<Value>| value.unwrap_or_else(|| missing(name, &settings.needed));
        let money = |amount: Option<Decimal>| optional(amount.map(|amount| Num::money(amount, self.currency)));
        let units = |units: Option<i128>| optional(units.map(|units| Num::plain(units.to_string())));
        Some(match name {
            "click_id" => self.click_id(),
            "order_id" => event.reference.as_str().into(),
            "event_id" => delivery.event_id.as_str().into(),
            "refund_id" => optional(event.refund_ref.as_deref().map(Value::from)),
            "generation" => delivery.generation.into(),
            "attempt" => delivery.attempt.into(),
            "kind" => event.kind.as_str().into(),
            "event" => delivery.said.name.as_deref().unwrap_or(&self.form.name).into(),
            "amount" | "value" => money(self.told),
            "amount_minor" => units(self.told.zip(self.currency).and_then(|(amount, currency)| minor_units(amount, currency))),
            "amount_micros" => units(self.told.and_then(micros)),
            "currency" => optional(self.currency.map(|currency| currency.as_str().into())),
            "refund_amount" => money(refund.map(|refund| refund.amount)),
            "original_amount" => money(purchase.value),
            "refunded_total" => money(purchase.value.map(|_| refund.map_or(Decimal::ZERO, |refund| refund.total))),
            "remaining" => money(refund.map_or(purchase.value, |refund| Some(refund.remaining))),
            "full" => refund.is_some_and(|refund| refund.full).into(),
            "uncertain" => refund.is_some_and(|refund| refund.uncertain).into(),
            "coupon" | "items" | "items_sku" | "items_qty" | "items_amount" | "quantity" => goods(name, settings, event, refund, self.currency),
            "customer_status" => optional(new_customer(event, refund).map(|new| if new { "new" } else { "returning" }.into())),
            "country" => from_json("country", &self.who("country").unwrap_or_default(), &settings.needed),
            "sha256_email" => self.hash(name, "email", filters::email, filters::sha256),
            "sha256_phone" => self.hash(name, "phone", filters::phone, filters::sha256),
            "md5_email" => self.hash(name, "email", filters::email, filters::md5),
            "sha1_email" => self.hash(name, "email", filters::email, filters::sha1),
            "purchase" => self.purchase(),
            "answer" => from_json("answer", refund.and_then(|refund| refund.answer.as_ref()).unwrap_or(&serde_json::Value::Null), &settings.needed),
            "click" => Part::value("click", texts(purchase.click.iter().chain(&delivery.said.click)), &settings.needed),
            "who" => Part::value("who", self.whole_who(), &settings.needed),
            "more" => Part::value("more", event.more.clone(), &settings.needed),
            "separator" => settings.separator.as_str().into(),
            "secret" => Value::from_pairs(settings.secrets.iter().map(|(name, secret)| (name.as_str(), secret.reveal()))),
            _ => match name.split_once('_').map_or((name, ""), |(first, rest)| (first, rest)) {
                ("time", form) => time(delivery.said.at, form)?,
                ("now", form) => time(self.now, form)?,
                _ => return None,
            },
        })
    }

    /// One key of `who`. What was said once is said again: the frozen click ids win over what is known now.
    fn who(&self, key: &str) -> Option<serde_json::Value> {
        let frozen = self.delivery.said.click.get(key).or_else(|| self.purchase.click.get(key));
        let allowed = self.settings.allow_pii || !PERSONAL.contains(&key);
        frozen.map(|id| id.as_str().into()).or_else(|| self.delivery.who.get(key).filter(|_| allowed).cloned())
    }

    fn whole_who(&self) -> Object {
        let mut who = self.delivery.who.clone();
        if !self.settings.allow_pii {
            who.retain(|key, _| !PERSONAL.contains(&key.as_str()));
        }
        for (key, id) in self.purchase.click.iter().chain(&self.delivery.said.click) {
            who.insert(key.clone(), serde_json::Value::from(id.as_str()));
        }
        who
    }

    fn click_id(&self) -> Value {
        let settings = self.settings;
        let id = settings.click_param.iter().find_map(|key| match self.who(key)? {
            serde_json::Value::String(text) if !text.is_empty() => Some(Value::from(text)),
            serde_json::Value::Number(number) => Some(Value::from(number.to_string())),
            _ => None,
        });
        let none = || Missing { name: crate::route::either(&settings.click_param), needed: settings.needed.contains("click_id") };
        id.unwrap_or_else(|| Value::from_object(none()))
    }

    fn hash(&self, name: &str, key: &str, normal: fn(&str) -> String, digest: filters::Digester) -> Value {
        let who = self.who(key);
        let text = who.as_ref().and_then(serde_json::Value::as_str).map(normal).filter(|text| !text.is_empty());
        text.map_or_else(|| missing(name, &self.settings.needed), |text| hex::encode(digest(&text)).into())
    }

    /// `purchase.*`: the purchase as it was said.
    fn purchase(&self) -> Value {
        let (needed, said, refund) = (&self.settings.needed, self.purchase, self.delivery.refund.as_ref());
        let text = |text: Option<&str>, name: &str| text.map_or_else(|| missing(name, needed), Value::from);
        let mut all: Vec<(&'static str, Value)> = TIMES.iter().filter_map(|(name, form)| Some((*name, time(said.at, form)?))).collect();
        let more = refund.map_or(&self.delivery.event.more, |refund| &refund.purchase_more);
        all.extend([
            ("value", said.value.map_or_else(|| missing("purchase.value", needed), |value| Num::money(value, said.currency))),
            ("currency", text(said.currency.as_ref().map(Currency::as_str), "purchase.currency")),
            ("event", text(said.name.as_deref(), "purchase.event")),
            ("event_id", refund.map_or(self.delivery.event_id.as_str(), |refund| refund.purchase_event_id.as_str()).into()),
            ("click", Part::value("click", texts(said.click.iter()), needed)),
            ("more", Part::value("more", more.clone(), needed)),
        ]);
        Value::from_pairs(all)
    }
}

fn texts<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> Object {
    pairs.map(|(key, text)| (key.clone(), serde_json::Value::from(text.as_str()))).collect()
}

/// A time in one of the forms that trackers take: `time` alone, or `time_ms`.
fn time(at: Timestamp, form: &str) -> Option<Value> {
    // Whole microseconds: that is what PostgreSQL keeps.
    let us = at.as_microsecond();
    let at = Timestamp::from_microsecond(us).unwrap_or(at);
    Some(match form {
        "" | "iso" => at.to_string().into(),
        "unix" | "s" => Num::plain(us.div_euclid(1_000_000).to_string()),
        "ms" => Num::plain(us.div_euclid(1_000).to_string()),
        "us" => Num::plain(us.to_string()),
        "sql" => at.strftime("%Y-%m-%d %H:%M:%S").to_string().into(),
        _ => return None,
    })
}

const TIMES: [(&str, &str); 7] =
    [("time", ""), ("time_unix", "unix"), ("time_s", "s"), ("time_ms", "ms"), ("time_us", "us"), ("time_iso", "iso"), ("time_sql", "sql")];

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
            let sample = sample(&settings, kind);
            let macros = Macros::of(&settings, settings.form(kind).expect("a form"), &sample, Timestamp::UNIX_EPOCH);
            let absent: BTreeSet<&str> = KNOWN.into_iter().filter(|name| macros.value(name).is_none()).collect();
            // `status` is rendered by the template of that name, `loop` exists inside {% for %}.
            assert_eq!(absent, BTreeSet::from(["status", "loop"]), "{kind}");
        }
    }
}
