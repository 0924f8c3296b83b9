//! One event of a request's `data`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{
        Refusal, goods,
        person::{self, Rule},
    },
    settings::{Settings, Source},
};
use crate::{
    delivery::Delivery,
    event::{Kind, Object},
    money,
};

pub(super) fn of(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Value, Refusal> {
    let name = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    let who = &delivery.who;
    let mut event = Object::new();
    event.insert("event".into(), name.into());
    // Unverified: how far a time may lie ahead. A clock that is fast must not spoil a batch.
    event.insert("event_time".into(), delivery.said.at.min(now).as_second().into());
    event.insert("event_id".into(), delivery.event_id.as_str().into());
    event.insert("user".into(), user(who)?.into());
    if to.event_source == Source::Web {
        // Unverified: that an event of a website is refused without its page.
        let url = person::text(who, "page_url").or_else(|| to.source_url.clone());
        let url = url.ok_or_else(|| Refusal::skip("no page_url, and no source_url is set"))?;
        event.insert("page".into(), json!({ "url": url }));
        if to.limited.holds(who) {
            event.insert("limited_data_use".into(), true.into());
        }
    }
    let properties = properties(delivery)?;
    if !properties.is_empty() {
        event.insert("properties".into(), properties.into());
    }
    Ok(event.into())
}

/// Hashed, as many as are known.
const HASHED: [(&str, &str, Rule); 3] =
    [("email", "email", person::email), ("phone", "phone", person::phone_e164), ("external_id", "external_id", person::trimmed)];
/// Hashed, one of each.
const HASHED_ONCE: [(&str, &str, Rule); 3] =
    [("first_name", "first_name", person::unspaced), ("last_name", "last_name", person::unspaced), ("zip_code", "zip", person::alphanumeric)];
/// As they are, in small letters.
const PLACES: [(&str, &str, Rule); 3] =
    [("city", "city", person::alphanumeric), ("state", "state", person::alphanumeric), ("country", "country", person::country)];

fn user(who: &Object) -> Result<Object, Refusal> {
    let mut user = Object::new();
    for (name, key) in [("ttclid", "ttclid"), ("ttp", "ttp")] {
        person::put_plain(&mut user, name, who, key);
    }
    for (name, key, rule) in HASHED {
        person::put_hashes(&mut user, name, who, key, rule);
    }
    for (name, key, rule) in HASHED_ONCE {
        if let Some(hash) = person::hashes(who, key, rule).into_iter().next() {
            user.insert(name.into(), hash.into());
        }
    }
    for (name, key, rule) in PLACES {
        // A hash is no place's name.
        let place = person::text(who, key).filter(|text| !person::is_hash(text)).and_then(|text| rule(&text));
        if let Some(place) = place {
            user.insert(name.into(), place.into());
        }
    }
    person::put_plain(&mut user, "ip", who, "ip");
    person::put_plain(&mut user, "user_agent", who, "user_agent");
    let has = |name: &str| user.contains_key(name);
    let found = ["email", "phone", "external_id", "ttclid", "ttp"].into_iter().any(has) || has("ip") && has("user_agent");
    if found { Ok(user) } else { Err(Refusal::skip("no email, phone, external_id, ttclid, ttp, or ip with user_agent")) }
}

fn properties(delivery: &Delivery) -> Result<Object, Refusal> {
    let mut properties = Object::new();
    if let Some((value, currency)) = goods::worth(delivery)? {
        properties.insert("currency".into(), currency.as_str().into());
        properties.insert("value".into(), money::number(value, currency));
    }
    if delivery.event.kind == Kind::Purchase || delivery.refund.is_some() {
        properties.insert("order_id".into(), goods::order(delivery).into());
    }
    let contents: Vec<Value> = goods::identified(delivery).into_iter().map(|(id, item)| content(delivery, id, item)).collect();
    if !contents.is_empty() {
        properties.insert("content_type".into(), "product".into());
        properties.insert("contents".into(), contents.into());
    }
    Ok(properties)
}

/// `content_id` has to be a text: a number is refused with 40002.
fn content(delivery: &Delivery, id: String, item: goods::Item) -> Value {
    let mut content = json!({ "content_id": id });
    let texts = [("content_name", item.name), ("content_category", item.category), ("brand", item.brand)];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        content[name] = json!(text);
    }
    content["quantity"] = json!(goods::pieces(item.quantity));
    if let Some((price, currency)) = item.price.zip(delivery.said.currency) {
        content["price"] = money::number(price, currency);
    }
    content
}
