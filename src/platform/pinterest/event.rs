//! One event of a request's `data`. Fields that Pinterest does not know are refused, so that there are none.

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
    money, route,
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
    if to.action_source == "web"
        && let Some(url) = person::text(who, "page_url").or_else(|| to.source_url.clone())
    {
        event.insert("event_source_url".into(), url.into());
    }
    if let Some(app) = &to.app_id {
        event.insert("app_id".into(), app.as_str().into());
    }
    if let Some(granted) = route::consent_of(who, "ad_user_data") {
        event.insert("opt_out".into(), (!granted).into());
    }
    event.insert("user_data".into(), user_data(who)?.into());
    let custom = custom_data(to, delivery)?;
    if !custom.is_empty() {
        event.insert("custom_data".into(), custom.into());
    }
    Ok(event.into())
}

/// events/create, user_data: lists of hashes.
const HASHED: [(&str, &str, Rule); 11] = [
    ("em", "email", person::email),
    ("ph", "phone", person::phone_digits),
    ("fn", "first_name", person::lower),
    ("ln", "last_name", person::lower),
    ("ge", "gender", person::gender),
    ("db", "birthday", person::birthday),
    ("ct", "city", person::alphanumeric),
    ("st", "state", person::alphanumeric),
    ("zp", "zip", person::digits),
    ("country", "country", person::country),
    ("external_id", "external_id", person::trimmed),
];

fn user_data(who: &Object) -> Result<Object, Refusal> {
    let mut user = Object::new();
    for (name, key, rule) in HASHED {
        person::put_hashes(&mut user, name, who, key, rule);
    }
    // Unverified: whether device ids are hashed in small letters, as the other platforms want them.
    let devices = ["idfa", "gaid"].iter().flat_map(|key| person::hashes(who, key, person::device)).collect::<Vec<_>>();
    if !devices.is_empty() {
        user.insert("hashed_maids".into(), json!(devices));
    }
    for (name, key) in [("click_id", "epik"), ("client_ip_address", "ip"), ("client_user_agent", "user_agent")] {
        person::put_plain(&mut user, name, who, key);
    }
    // ConversionEventsUserData: one of these; a click id alone is too little.
    let has = |name: &str| user.contains_key(name);
    let found = has("em") || has("hashed_maids") || has("client_ip_address") && has("client_user_agent");
    if found { Ok(user) } else { Err(Refusal::skip("no email, idfa, gaid, or ip with user_agent")) }
}

fn custom_data(to: &Settings, delivery: &Delivery) -> Result<Object, Refusal> {
    let mut custom = Object::new();
    if let Some((value, currency)) = goods::worth(delivery)? {
        custom.insert("currency".into(), currency.as_str().into());
        custom.insert("value".into(), money::major(value, currency).into());
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
    if to.limited.holds(&delivery.who) {
        custom.insert("opt_out_type".into(), "LDP".into());
    }
    Ok(custom)
}

/// The price is a text, the quantity a number.
fn content(delivery: &Delivery, id: &str, item: &goods::Item) -> Value {
    let mut content = json!({ "id": id, "quantity": goods::pieces(item.quantity) });
    if let Some((price, currency)) = item.price.zip(delivery.said.currency) {
        content["item_price"] = json!(money::major(price, currency));
    }
    let texts = [("item_name", &item.name), ("item_category", &item.category), ("item_brand", &item.brand)];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
        content[name] = json!(text);
    }
    content
}
