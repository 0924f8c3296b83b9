//! One event of a request's `data`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{
        Refusal, goods,
        person::{self, Rule},
    },
    settings::Settings,
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
    event.insert("event_name".into(), name.into());
    event.insert("action_source".into(), to.action_source.into());
    // Unverified: how far a time may lie ahead. A clock that is fast must not spoil a batch.
    event.insert("event_time".into(), delivery.said.at.min(now).as_second().into());
    event.insert("event_id".into(), delivery.event_id.as_str().into());
    if to.action_source == "WEB" {
        let url = person::text(who, "page_url").or_else(|| to.source_url.clone());
        event.insert("event_source_url".into(), url.ok_or_else(|| Refusal::skip("no page_url, and no source_url is set"))?.into());
    }
    event.insert("user_data".into(), user_data(who)?.into());
    let custom = custom_data(delivery)?;
    if !custom.is_empty() {
        event.insert("custom_data".into(), custom.into());
    }
    if to.limited.holds(who) {
        event.insert("data_processing_options".into(), json!([to.limited_as]));
        if to.limited_as == "LDU" {
            // Connectors' form of it: USA, California, so that Snap need not find out the state to apply it.
            event.insert("data_processing_options_country".into(), json!(1));
            event.insert("data_processing_options_state".into(), json!(1000));
        }
    }
    Ok(event.into())
}

/// Parameters, user data. Unverified: external_id, which connectors send and Snap's OpenAPI lacks; whether blanks and punctuation
/// inside of names go, which Snap's page says and its own library does not do; the same for places.
const HASHED: [(&str, &str, Rule); 10] = [
    ("em", "email", person::email),
    ("ph", "phone", person::phone_digits),
    ("fn", "first_name", person::lower),
    ("ln", "last_name", person::lower),
    ("ge", "gender", person::gender),
    ("ct", "city", person::unspaced),
    ("st", "state", person::unspaced),
    ("zp", "zip", person::unspaced),
    ("country", "country", person::country),
    ("external_id", "external_id", person::trimmed),
];

/// As they are: `_scid` is the pixel's cookie.
const PLAIN: [(&str, &str); 4] = [("sc_click_id", "ScCid"), ("sc_cookie1", "scid"), ("client_ip_address", "ip"), ("client_user_agent", "user_agent")];

fn user_data(who: &Object) -> Result<Object, Refusal> {
    let mut user = Object::new();
    for (name, key, rule) in HASHED {
        person::put_hashes(&mut user, name, who, key, rule);
    }
    for (name, key) in PLAIN {
        person::put_plain(&mut user, name, who, key);
    }
    // UsingTheAPI: one of these; a click id alone is too little.
    let has = |name: &str| user.contains_key(name);
    let found = has("em") || has("ph") || has("client_ip_address") && has("client_user_agent");
    if found { Ok(user) } else { Err(Refusal::skip("no email, phone, or ip with user_agent")) }
}

fn custom_data(delivery: &Delivery) -> Result<Object, Refusal> {
    let mut custom = Object::new();
    if let Some((value, currency)) = goods::worth(delivery)? {
        custom.insert("currency".into(), currency.as_str().into());
        custom.insert("value".into(), money::number(value, currency));
    }
    if delivery.event.kind == Kind::Purchase {
        custom.insert("order_id".into(), goods::order(delivery).into());
    }
    let items = goods::identified(delivery);
    if !items.is_empty() {
        custom.insert("num_items".into(), goods::count(&items).into());
        custom.insert("content_ids".into(), goods::ids(&items));
        custom.insert("contents".into(), items.iter().map(|(id, item)| content(delivery, id, item)).collect());
    }
    Ok(custom)
}

/// Quantity and price are texts here.
fn content(delivery: &Delivery, id: &str, item: &goods::Item) -> Value {
    let mut content = json!({ "id": id, "quantity": goods::pieces(item.quantity).to_string() });
    if let Some((price, currency)) = item.price.zip(delivery.said.currency) {
        content["item_price"] = json!(money::major(price, currency));
    }
    if let Some(brand) = &item.brand {
        content["brand"] = json!(brand);
    }
    content
}
