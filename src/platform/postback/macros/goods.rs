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
pub(super) fn goods(name: &str, settings: &Settings, event: &Event, refund: Option<&Refunding>, currency: Option<Currency>) -> Value {
    let needed: &Needed = &settings.needed;
    let plain = |key: &str| from_json(key, told(event, refund, key).unwrap_or(&serde_json::Value::Null), needed);
    let items = told(event, refund, "items").and_then(|items| items.as_array()).map_or(&[][..], Vec::as_slice);
    let list = |of: &dyn Fn(&serde_json::Value) -> String| {
        if items.is_empty() { missing(name, needed) } else { items.iter().map(of).collect::<Vec<_>>().join(&settings.separator).into() }
    };
    match name {
        "items" => from_json("items", &serde_json::Value::Array(items.to_vec()), needed),
        "items_sku" => list(&|item| item.get("id").map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).unwrap_or_default()),
        "items_qty" => list(&|item| number(item, "quantity").unwrap_or(Decimal::ONE).normalize().to_string()),
        "items_amount" => list(&|item| {
            let price = number(item, "price").unwrap_or_default();
            currency.map_or_else(|| price.to_string(), |currency| fixed(price, currency.exponent()))
        }),
        "quantity" if !items.is_empty() => {
            let sum = items.iter().try_fold(Decimal::ZERO, |sum, item| sum.checked_add(number(item, "quantity").unwrap_or(Decimal::ONE)));
            sum.map_or_else(|| plain("quantity"), |sum| Num::plain(sum.normalize().to_string()))
        }
        _ => plain(name),
    }
}

fn number(item: &serde_json::Value, key: &str) -> Option<Decimal> {
    match item.get(key)? {
        serde_json::Value::Number(number) => decimal(&number.to_string()),
        serde_json::Value::String(text) => decimal(text),
        _ => None,
    }
}
