//! One event of a request's `data`: the UET Conversions API.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{
        Refusal, goods,
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
        person::put_plain(&mut user, "externalId", who, "external_id");
    }
    person::put_plain(&mut user, "anonymousId", who, "_uetvid");
    person::put_plain(&mut user, "idfa", who, "idfa");
    person::put_plain(&mut user, "gaid", who, "gaid");
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
        custom.insert("transactionId".into(), transaction_id(delivery).into());
    }
    match (delivery.said.value, delivery.said.currency) {
        (Some(value), Some(currency)) => {
            custom.insert("value".into(), money::number(value, currency));
            custom.insert("currency".into(), currency.as_str().into());
            if purchase {
                custom.insert("ecommTotalValue".into(), money::number(value, currency));
            }
        }
        _ if purchase => return Err(Refusal::dead("a purchase needs value and currency")),
        _ => {}
    }
    if purchase {
        custom.insert("pageType".into(), "purchase".into());
        let items = items(delivery);
        if !items.is_empty() {
            custom.insert("itemIds".into(), items.iter().filter_map(|item| item.get("id").cloned()).collect());
            custom.insert("items".into(), items.into());
        }
    }
    Ok(custom)
}

/// The order; one that was sold anew after it was taken back is another transaction.
fn transaction_id(delivery: &Delivery) -> String {
    let reference = &delivery.event.reference;
    if delivery.generation > 1 { format!("{reference}.{}", delivery.generation) } else { reference.clone() }
}

fn items(delivery: &Delivery) -> Vec<Value> {
    let currency = delivery.said.currency;
    let item = |item: goods::Item| {
        let mut told = Object::new();
        told.insert("id".into(), item.id?.into());
        if let Some(name) = item.name {
            told.insert("name".into(), name.into());
        }
        if let Some((price, currency)) = item.price.zip(currency) {
            told.insert("price".into(), money::number(price, currency));
        }
        told.insert("quantity".into(), json!(goods::pieces(item.quantity)));
        Some(told.into())
    };
    goods::items(delivery).into_iter().filter_map(item).collect()
}
