//! One event: the body of a request.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{
        Refusal,
        device::{self, System},
        goods,
        person::{self, Rule},
    },
    settings::Settings,
};
use crate::{
    delivery::Delivery,
    event::{Kind, Object},
    money, route,
};

/// The OpenAPI and the help centre: up to 1 KB.
const BYTES_MAX: usize = 1_024;
/// What is left out of a body that is too long, in this order, once its items are.
const SPARE: [&str; 7] =
    ["ua", "first_name_hashed", "last_name_hashed", "phone_number_e164_hashed", "phone_number_hashed", "email_hashed", "customer_user_id"];

/// Fields, keys of `who`, what is hashed.
const HASHED: [(&str, &str, Rule); 5] = [
    ("email_hashed", "email", person::email),
    ("phone_number_hashed", "phone", person::phone_digits),
    ("phone_number_e164_hashed", "phone", person::phone_e164),
    ("first_name_hashed", "first_name", person::lower),
    ("last_name_hashed", "last_name", person::lower),
];

pub(super) fn of(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Value, Refusal> {
    let name = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    let (system, app) = to.apps.of(delivery)?;
    let who = &delivery.who;
    let id = device::opaque(who, "appsflyer_id").ok_or_else(|| Refusal::skip("no appsflyer_id"))?;
    let mut event = Object::new();
    event.insert("appsflyer_id".into(), id.into());
    event.insert("eventName".into(), name.into());
    // The future is replaced by the time of arrival.
    event.insert("eventTime".into(), delivery.said.at.min(now).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string().into());
    if let Some(currency) = delivery.said.currency.filter(|_| delivery.said.value.is_some()) {
        event.insert("eventCurrency".into(), currency.as_str().into());
    }
    let bundle = if system == System::Ios { to.ios_bundle.as_deref() } else { Some(app) };
    let texts = [
        ("bundleIdentifier", bundle.map(str::to_owned)),
        ("customer_user_id", person::customer(who)),
        ("ip", device::ipv4(who)),
        ("os", person::text(who, "os_version")),
        ("ua", person::text(who, "user_agent")),
    ];
    let ids = match system {
        System::Ios => vec![("idfa", device::upper(who, "idfa")), ("idfv", device::upper(who, "idfv"))],
        System::Android => vec![
            ("advertising_id", device::lower(who, "gaid")),
            ("oaid", device::lower(who, "oaid")),
            ("amazon_aid", device::lower(who, "fire_adid")),
        ],
    };
    for (field, text) in texts.into_iter().chain(ids).filter_map(|(field, text)| Some((field, text?))) {
        event.insert(field.into(), text.into());
    }
    match system {
        System::Ios => device::att(who).map(|att| event.insert("att".into(), att.into())),
        System::Android => device::tracking_enabled(who).map(|yes| event.insert("aie".into(), yes.into())),
    };
    if to.user_data {
        for (field, key, rule) in HASHED {
            if let Some(hash) = person::hashes(who, key, rule).into_iter().next() {
                event.insert(field.into(), hash.into());
            }
        }
    }
    consent(to, who, &mut event);
    fitted(event, delivery)
}

/// ManualConsent; and nobody but AppsFlyer gets what the person does not let go. Where consent was asked for, the law that wants it is
/// taken to apply unless the shop says otherwise.
fn consent(to: &Settings, who: &Object, event: &mut Object) {
    let asked = |key: &str| route::consent_of(who, key);
    let (data, personal) = (asked("ad_user_data"), asked("ad_personalization"));
    let applies = asked("gdpr_applies");
    if applies.is_some() || data.is_some() || personal.is_some() {
        let mut manual = Object::new();
        manual.insert("gdpr_applies".into(), applies.unwrap_or(true).into());
        for (field, word) in [("ad_user_data_enabled", data), ("ad_personalization_enabled", personal)] {
            if let Some(word) = word {
                manual.insert(field.into(), word.into());
            }
        }
        event.insert("consent_data".into(), json!({ "manual": manual }));
    }
    if to.limited.holds(who) || data == Some(false) {
        event.insert("sharing_filter".into(), "all".into());
    }
}

/// With as many items as there is room for, and without what can be spared.
fn fitted(mut event: Object, delivery: &Delivery) -> Result<Value, Refusal> {
    let mut items = goods::items(delivery);
    items.retain(|item| item.id.is_some());
    let mut spare = SPARE.into_iter();
    loop {
        event.insert("eventValue".into(), value(delivery, &items)?.to_string().into());
        let body = Value::Object(event.clone());
        if body.to_string().len() <= BYTES_MAX {
            return Ok(body);
        }
        if !items.is_empty() {
            items.truncate(items.len() / 2);
        } else if let Some(field) = spare.next() {
            event.remove(field);
        } else {
            return Err(Refusal::dead("more than the 1 KB that AppsFlyer takes"));
        }
    }
}

/// `eventValue`, which is JSON within a text.
fn value(delivery: &Delivery, items: &[goods::Item]) -> Result<Value, Refusal> {
    let mut value = Object::new();
    let of_order = delivery.event.kind == Kind::Purchase || delivery.event.kind.takes_back();
    if let Some((amount, currency)) = goods::worth(delivery)? {
        let amount = if delivery.refund.is_some() { -amount } else { amount };
        value.insert("af_revenue".into(), money::major(amount, currency).into());
        value.insert("af_currency".into(), currency.as_str().into());
    }
    value.insert(if of_order { "af_order_id" } else { "ref" }.into(), delivery.event.reference.as_str().into());
    // Nothing dedupes by it; it finds an event again.
    value.insert("event_id".into(), delivery.event_id.as_str().into());
    if !items.is_empty() {
        value.insert("af_content_id".into(), items.iter().map(|item| json!(item.id)).collect());
        value.insert("af_quantity".into(), items.iter().map(|item| json!(goods::pieces(item.quantity))).collect());
        let prices: Option<Vec<Value>> = items.iter().map(|item| Some(money::number(item.price?, delivery.said.currency?))).collect();
        if let Some(prices) = prices {
            value.insert("af_price".into(), prices.into());
        }
    }
    Ok(value.into())
}
