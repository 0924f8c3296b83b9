//! What was sold.

use minijinja::Value;
use rust_decimal::Decimal;

use super::super::settings::Settings;
use crate::{
    delivery::Refunding,
    event::{Event, decimal},
    money::{Currency, fixed},
    template::values::{Needed, Num, from_json, missing},
};

fn told<'a>(event: &'a Event, refund: Option<&'a Refunding>, key: &str) -> Option<&'a serde_json::Value> {
    event.more.get(key).or_else(|| refund.and_then(|refund| refund.purchase_more.get(key))).filter(|value| !value.is_null())
}

pub(super) fn new_customer(event: &Event, refund: Option<&Refunding>) -> Option<bool> {
    told(event, refund, "new_customer")?.as_bool()
}

/// Coupon, items, and the lists that trackers take: one entry per item, joined by `separator`.
pub(super) fn goods(put: &mut impl FnMut(&str, Value), settings: &Settings, event: &Event, refund: Option<&Refunding>, currency: Option<Currency>) {
    let needed: &Needed = &settings.needed;
    let null = serde_json::Value::Null;
    put("coupon", from_json("coupon", told(event, refund, "coupon").unwrap_or(&null), needed));
    let items = told(event, refund, "items").and_then(|items| items.as_array()).cloned().unwrap_or_default();
    let number = |item: &serde_json::Value, key: &str| match item.get(key) {
        Some(serde_json::Value::Number(number)) => decimal(&number.to_string()),
        Some(serde_json::Value::String(text)) => decimal(text),
        _ => None,
    };
    let list = |name: &str, of: &dyn Fn(&serde_json::Value) -> String| {
        if items.is_empty() { missing(name, needed) } else { Value::from(items.iter().map(of).collect::<Vec<_>>().join(&settings.separator)) }
    };
    put(
        "items_sku",
        list("items_sku", &|item| item.get("id").map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).unwrap_or_default()),
    );
    put("items_qty", list("items_qty", &|item| number(item, "quantity").unwrap_or(Decimal::ONE).normalize().to_string()));
    put(
        "items_amount",
        list("items_amount", &|item| {
            let price = number(item, "price").unwrap_or_default();
            currency.map_or_else(|| price.to_string(), |currency| fixed(price, currency.exponent()))
        }),
    );
    let counted = items.iter().try_fold(Decimal::ZERO, |sum, item| sum.checked_add(number(item, "quantity").unwrap_or(Decimal::ONE)));
    let quantity = counted.filter(|_| !items.is_empty()).map(|sum| Num::plain(sum.normalize().to_string()));
    put("quantity", quantity.unwrap_or_else(|| from_json("quantity", told(event, refund, "quantity").unwrap_or(&null), needed)));
    put("items", from_json("items", &serde_json::Value::Array(items), needed));
}
