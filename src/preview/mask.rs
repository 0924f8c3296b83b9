//! A request without the buyer: what in it depends on personal data shows the name of that datum instead, whatever hash,
//! encoding or signature stands between them.
//!
//! How it knows: for each datum the same adapter builds the request once more for a buyer in whom just that datum is another. What
//! is not the same in both depends on it. So no list of platforms' fields has to be kept, and templates are covered too.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::apart::{Apart, Other};
use crate::{
    click,
    delivery::Delivery,
    event::Object,
    platform::{Refusal, Settings},
    request::Request,
};

/// Of `who`: what says nothing of the buyer.
const OPEN_WHO: [&str; 3] = ["consent", "clicked_at", "landed_at"];
/// Of `more`: what says what was sold. Everything else there is the shop's own and may name anybody.
const OPEN_MORE: [&str; 8] = ["items", "subtotal", "tax", "shipping", "discount", "coupon", "new_customer", "shop"];
/// Shorter values are found in too much that is not theirs.
const TELLING: usize = 4;

/// The request for this delivery as the destination's settings build it, with names in place of personal data.
pub fn masked(platform: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Request, Refusal> {
    let original = platform.request(std::slice::from_ref(delivery), now)?;
    let mut apart = Apart::of(&original);
    let data = personal(delivery);
    let mut others = Vec::new();
    for (place, key, value) in &data {
        let label = label(key, value);
        let built: Vec<Apart> = substitutes(key, value)
            .iter()
            .filter_map(|other| platform.request(&[with(delivery, *place, key, other)], now).ok())
            .map(|request| Apart::of(&request))
            .collect();
        if built.is_empty() {
            // Nobody else in whom this is another can be told of: then nobody knows what of it shows.
            others.push(Other { label: label.clone(), apart: None });
        }
        others.extend(built.into_iter().map(|apart| Other { label: label.clone(), apart: Some(apart) }));
    }
    apart.hide(&others);
    // A second way, for what a substitute happens to leave as it was.
    let values: Vec<(String, String)> = data
        .iter()
        .filter_map(|(_, key, value)| Some((label(key, value), value.as_str()?.trim().to_lowercase())))
        .filter(|(_, value)| value.chars().count() >= TELLING && !value.starts_with('['))
        .collect();
    apart.hide_values(&values);
    Ok(apart.together(&original))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Who,
    More,
}

/// Every datum of the buyer that an adapter may use.
fn personal(delivery: &Delivery) -> Vec<(Place, String, Value)> {
    let mut found: Vec<(Place, String, Value)> = Vec::new();
    let mut add = |place: Place, object: &Object, open: &[&str]| {
        for (key, value) in object.iter().filter(|(key, value)| !open.contains(&key.as_str()) && !value.is_null()) {
            if !found.iter().any(|(there, known, _)| *there == place && known == key) {
                found.push((place, key.clone(), value.clone()));
            }
        }
    };
    add(Place::Who, &delivery.who, &OPEN_WHO);
    add(Place::Who, &delivery.event.who, &OPEN_WHO);
    let refund = delivery.refund.as_ref();
    for said in refund.map(|refund| &refund.purchase).into_iter().chain([&delivery.said]) {
        let clicks = said.click.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        add(Place::Who, &clicks, &OPEN_WHO);
    }
    add(Place::More, &delivery.event.more, &OPEN_MORE);
    for more in refund.iter().flat_map(|refund| refund.earlier.iter().chain([&refund.purchase_more])) {
        add(Place::More, more, &OPEN_MORE);
    }
    found
}

/// Click ids are what a marketer compares with the platform's own lists: both ends are shown, which find nobody.
fn label(key: &str, value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let length = text.chars().count();
    if click::IN_URLS.contains(&key) && length >= 12 && text.is_ascii() {
        return format!("{key} {}..{}", &text[..4], &text[length - 2..]);
    }
    // A key may be the shop's own and hold anything, but it is part of how the shop writes, not of who bought.
    key.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// The delivery in which this datum is another, wherever it stands.
fn with(delivery: &Delivery, place: Place, key: &str, other: &Value) -> Delivery {
    let mut changed = delivery.clone();
    let put = |object: &mut Object| {
        if let Some(value) = object.get_mut(key) {
            value.clone_from(other);
        }
    };
    let mut event = (*changed.event).clone();
    match place {
        Place::Who => {
            put(&mut changed.who);
            put(&mut event.who);
            let text = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
            for said in changed.refund.as_mut().map(|refund| &mut refund.purchase).into_iter().chain([&mut changed.said]) {
                if let Some(value) = said.click.get_mut(key) {
                    value.clone_from(&text);
                }
            }
        }
        Place::More => {
            put(&mut event.more);
            if let Some(refund) = &mut changed.refund {
                refund.earlier.iter_mut().chain([&mut refund.purchase_more]).for_each(put);
            }
        }
    }
    changed.event = Arc::new(event);
    changed
}

/// Other values that the same rules will mostly take: the front half another, the back half another. Of click ids the back half
/// alone, because platforms check how they begin.
fn substitutes(key: &str, value: &Value) -> Vec<Value> {
    match key {
        "ip" => vec!["198.51.100.77".into(), "203.0.113.9".into(), "2001:db8::77".into()],
        "country" => vec![if value == "SE" { "NO".into() } else { "SE".into() }],
        "email" => vec!["other-buyer@other.example".into()],
        "phone" => vec!["+4915550000001".into(), "+15555550199".into()],
        "page_url" => vec!["https://other.example/else".into()],
        "user_agent" => vec!["Other/9.9 (else)".into()],
        _ if click::is_known(key) => vec![turned(value, &|n, length| n >= length / 2)],
        _ => vec![turned(value, &|n, length| n < length.div_ceil(2)), turned(value, &|n, length| n >= length / 2)],
    }
}

/// Letters and digits become their neighbours where `here` says so; the shape stays.
fn turned(value: &Value, here: &dyn Fn(usize, usize) -> bool) -> Value {
    match value {
        Value::String(text) => turned_text(text, here).into(),
        Value::Number(number) => serde_json::from_str(&turned_text(&number.to_string(), here)).unwrap_or_else(|_| 77.into()),
        Value::Bool(yes) => (!yes).into(),
        Value::Array(list) => list.iter().map(|value| turned(value, here)).collect(),
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), turned(value, here))).collect::<Object>().into(),
        Value::Null => Value::Null,
    }
}

fn turned_text(text: &str, here: &dyn Fn(usize, usize) -> bool) -> String {
    let length = text.chars().count();
    let turn = |(n, c): (usize, char)| match c {
        _ if !here(n, length) => c,
        '0'..='8' | 'a'..='y' | 'A'..='Y' => char::from(c as u8 + 1),
        // Not 0: a number must not begin with one.
        '9' => '1',
        'z' => 'a',
        'Z' => 'A',
        c if c.is_alphanumeric() => {
            if c == '\u{436}' {
                '\u{44f}'
            } else {
                '\u{436}'
            }
        }
        c => c,
    };
    let turned: String = text.chars().enumerate().map(turn).collect();
    if turned == text { format!("{text}x") } else { turned }
}
