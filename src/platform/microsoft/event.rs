//! One event of a request's `data`: the UET Conversions API.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{
        Refusal, device, goods,
        person::{self, Rule},
    },
    offline,
    settings::Capi,
};
use crate::{
    delivery::Delivery,
    event::{Kind, Object},
    money, route,
};

pub(super) fn of(to: &Capi, delivery: &Delivery, now: Timestamp) -> Result<Value, Refusal> {
    let name = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    let who = &delivery.who;
    let mut event = Object::new();
    event.insert("eventType".into(), "custom".into());
    event.insert("eventName".into(), name.into());
    event.insert("eventId".into(), delivery.event_id.as_str().into());
    // Unverified: how far a time may lie ahead. A clock that is fast must not spoil a batch.
    event.insert("eventTime".into(), delivery.said.at.min(now).as_second().into());
    if let Some(consent) = consent(who) {
        event.insert("adStorageConsent".into(), consent.into());
    }
    if let Some(url) = person::text(who, "page_url").or_else(|| to.source_url.clone()) {
        event.insert("eventSourceUrl".into(), url.into());
    }
    event.insert("userData".into(), user(to, who)?.into());
    let custom = custom(delivery)?;
    if !custom.is_empty() {
        event.insert("customData".into(), custom.into());
    }
    Ok(event.into())
}

/// `G` or `D`; `None`: unknown. Whoever does not want their data used for ads is denied too.
fn consent(who: &Object) -> Option<&'static str> {
    let (storage, user_data) = (route::consent_of(who, "ad_storage"), route::consent_of(who, "ad_user_data"));
    match (storage, user_data) {
        (Some(false), _) | (_, Some(false)) => Some("D"),
        (Some(true), _) => Some("G"),
        (None, _) => None,
    }
}

fn user(to: &Capi, who: &Object) -> Result<Object, Refusal> {
    let mut user = Object::new();
    if let Some(click) = offline::click_id(who) {
        user.insert("msclkid".into(), click.into());
    }
    let mut hashed = |name: &str, key: &str, rule: Rule| {
        if let Some(hash) = person::hashes(who, key, rule).into_iter().next() {
            user.insert(name.into(), hash.into());
        }
    };
    // Unverified: connectors differ in dots and `+..` of an address, and in the `+` of a phone number.
    hashed("em", "email", person::email_microsoft);
    hashed("ph", "phone", person::phone_e164);
    if to.hash_external_id {
        hashed("externalId", "external_id", person::trimmed);
    } else {
        user.extend(person::customer(who).map(|id| ("externalId".to_owned(), id.into())));
    }
    person::put_plain(&mut user, "anonymousId", who, "_uetvid");
    for key in ["idfa", "gaid"] {
        if let Some(id) = device::plain(who, key) {
            user.insert(key.into(), id.into());
        }
    }
    person::put_plain(&mut user, "clientIpAddress", who, "ip");
    person::put_plain(&mut user, "clientUserAgent", who, "user_agent");
    let has = |name: &str| user.contains_key(name);
    let found = ["msclkid", "em", "ph", "externalId", "anonymousId", "idfa", "gaid"].into_iter().any(has);
    if found || has("clientIpAddress") && has("clientUserAgent") {
        Ok(user)
    } else {
        Err(Refusal::skip("no msclkid, email, phone, external_id, _uetvid, idfa, gaid, or ip with user_agent"))
    }
}

fn custom(delivery: &Delivery) -> Result<Object, Refusal> {
    let mut custom = Object::new();
    let purchase = delivery.event.kind == Kind::Purchase;
    if purchase {
        custom.insert("transactionId".into(), goods::order(delivery).into());
    }
    if let Some((value, currency)) = goods::worth(delivery)? {
        custom.insert("value".into(), money::number(value, currency));
        custom.insert("currency".into(), currency.as_str().into());
        if purchase {
            custom.insert("ecommTotalValue".into(), money::number(value, currency));
        }
    }
    if purchase {
        custom.insert("pageType".into(), "purchase".into());
        let items = goods::identified(delivery);
        if !items.is_empty() {
            custom.insert("itemIds".into(), goods::ids(&items));
            custom.insert("items".into(), items.iter().map(|(id, item)| told(delivery, id, item)).collect());
        }
    }
    Ok(custom)
}

fn told(delivery: &Delivery, id: &str, item: &goods::Item) -> Value {
    let mut told = json!({ "id": id });
    if let Some(name) = &item.name {
        told["name"] = json!(name);
    }
    if let Some((price, currency)) = item.price.zip(delivery.said.currency) {
        told["price"] = money::number(price, currency);
    }
    told["quantity"] = json!(goods::pieces(item.quantity));
    told
}
