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
    click,
    delivery::Delivery,
    event::{Kind, Object},
    money,
};

pub(super) fn of(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Value, Refusal> {
    let name = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    let who = &delivery.who;
    let mut event = Object::new();
    event.insert("event_name".into(), name.into());
    // Unverified: how far a time may lie ahead. A clock that is fast must not spoil a batch.
    event.insert("event_time".into(), delivery.said.at.min(now).as_second().into());
    event.insert("event_id".into(), delivery.event_id.as_str().into());
    event.insert("action_source".into(), to.action_source.into());
    if to.action_source == "website" {
        let url = person::text(who, "page_url").or_else(|| to.source_url.clone());
        event.insert("event_source_url".into(), url.ok_or_else(|| Refusal::skip("no page_url, and no source_url is set"))?.into());
        if person::text(who, "user_agent").is_none() {
            return Err(Refusal::skip("no user_agent, which events of a website need"));
        }
    }
    event.insert("user_data".into(), user_data(to, delivery)?.into());
    let custom = custom_data(delivery)?;
    if !custom.is_empty() {
        event.insert("custom_data".into(), custom.into());
    }
    if let Some(refund) = &delivery.refund {
        let original = json!({
            "event_name": refund.purchase.name,
            "event_time": refund.purchase.at.as_second(),
            "order_id": goods::order(delivery),
            "event_id": refund.purchase_event_id,
        });
        event.insert("original_event_data".into(), original);
    }
    if to.limited.holds(who) {
        // 0 and 0: Meta finds country and state by the IP address.
        event.insert("data_processing_options".into(), json!(["LDU"]));
        event.insert("data_processing_options_country".into(), json!(0));
        event.insert("data_processing_options_state".into(), json!(0));
    }
    Ok(event.into())
}

/// user_data: each field's rule as Meta's own libraries have it.
const HASHED: [(&str, &str, Rule); 10] = [
    ("em", "email", person::email),
    ("ph", "phone", person::phone_digits),
    ("fn", "first_name", person::lower),
    ("ln", "last_name", person::lower),
    ("ct", "city", person::place),
    ("st", "state", person::place),
    ("zp", "zip", person::zip),
    ("country", "country", person::country),
    ("ge", "gender", person::gender),
    ("db", "birthday", person::birthday),
];

fn user_data(to: &Settings, delivery: &Delivery) -> Result<Object, Refusal> {
    let who = &delivery.who;
    let mut user = Object::new();
    for (name, key, rule) in HASHED {
        person::put_hashes(&mut user, name, who, key, rule);
    }
    match to.hash_external_id {
        true => person::put_hashes(&mut user, "external_id", who, "external_id", person::trimmed),
        false => {
            if let Some(id) = person::customer(who) {
                user.insert("external_id".into(), id.into());
            }
        }
    }
    person::put_plain(&mut user, "client_ip_address", who, "ip");
    person::put_plain(&mut user, "client_user_agent", who, "user_agent");
    if let Some(fbc) = fbc(to, delivery) {
        user.insert("fbc".into(), fbc.into());
    }
    if let Some(fbp) = person::text(who, "fbp").filter(|fbp| is_cookie(fbp)) {
        user.insert("fbp".into(), fbp.into());
    }
    // Unverified: which combinations Meta calls too little (subcode 2804003 and its neighbours); one key of its own is the least.
    let finds = ["em", "ph", "external_id", "fbc", "fbp", "client_ip_address"];
    if finds.iter().any(|name| user.contains_key(*name)) { Ok(user) } else { Err(Refusal::skip("no email, phone, external_id, fbc, fbp or ip")) }
}

/// The cookie's value as it is, or one made of `fbclid` and the time of the click; never one without a click.
fn fbc(to: &Settings, delivery: &Delivery) -> Option<String> {
    let who = &delivery.who;
    if let Some(fbc) = person::text(who, "fbc").filter(|fbc| is_cookie(fbc)) {
        return Some(fbc);
    }
    let fbclid = person::text(who, "fbclid")?;
    // Without a time of its own the click was no later than the order.
    let order = delivery.refund.as_ref().map_or(delivery.said.at, |refund| refund.purchase.at);
    let at = click::time(who).or(to.order_as_click.then_some(order))?;
    Some(format!("fb.1.{}.{fbclid}", at.as_millisecond()))
}

/// `fb.1.1554763741205.AbCdEf`, perhaps with a fifth part that newer scripts append.
fn is_cookie(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    matches!(parts[..], [fb, index, at, id] | [fb, index, at, id, _] if fb == "fb" && number(index) && number(at) && !id.is_empty())
}

fn custom_data(delivery: &Delivery) -> Result<Object, Refusal> {
    let mut custom = Object::new();
    if let Some((value, currency)) = goods::worth(delivery)? {
        custom.insert("currency".into(), currency.as_str().into());
        custom.insert("value".into(), money::number(value, currency));
    }
    if delivery.event.kind == Kind::Purchase || delivery.refund.is_some() {
        custom.insert("order_id".into(), goods::order(delivery).into());
    }
    let items = goods::identified(delivery);
    if !items.is_empty() {
        let contents = items.iter().map(|(id, item)| {
            let mut content = json!({ "id": id, "quantity": goods::pieces(item.quantity) });
            if let Some((price, currency)) = item.price.zip(delivery.said.currency) {
                content["item_price"] = money::number(price, currency);
            }
            content
        });
        custom.insert("content_type".into(), "product".into());
        custom.insert("content_ids".into(), goods::ids(&items));
        custom.insert("contents".into(), contents.collect());
        custom.insert("num_items".into(), goods::count(&items).into());
    }
    Ok(custom)
}
