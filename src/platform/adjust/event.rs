//! One event: a form.

use jiff::Timestamp;

use super::{
    super::{Refusal, device, form::Pairs, goods, person},
    settings::Settings,
};
use crate::{
    delivery::{Delivery, RefundShape},
    event::{Kind, Object},
    money,
    request::Request,
};

/// Parameters, keys of `who`, how they are written: "Device IDs" of the events page. Adjust takes all that are known.
type Written = fn(&Object, &str) -> Option<String>;
const IDS: [(&str, &str, Written); 8] = [
    ("adid", "adid", device::lower),
    ("idfa", "idfa", device::upper),
    ("gps_adid", "gaid", device::lower),
    ("fire_adid", "fire_adid", device::lower),
    ("oaid", "oaid", device::lower),
    ("web_uuid", "web_uuid", device::opaque),
    ("idfv", "idfv", device::upper),
    ("android_id", "android_id", bare),
];

/// In small letters, without hyphens.
fn bare(who: &Object, key: &str) -> Option<String> {
    device::lower(who, key).map(|id| id.replace('-', ""))
}

pub(super) fn request(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Request, Refusal> {
    let event = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    let who = &delivery.who;
    let mut form = Pairs::default();
    form.put("s2s", "1").put("app_token", &to.app_token).put("event_token", event);
    form.put("environment", if to.sandbox { "sandbox" } else { "production" });
    let mut known = false;
    for (name, key, written) in IDS {
        let id = written(who, key);
        known |= id.is_some();
        form.put_some(name, id);
    }
    if !known {
        return Err(Refusal::skip("no adid, idfa, gaid, fire_adid, oaid, web_uuid, idfv or android_id"));
    }
    form.put("created_at_unix", delivery.said.at.min(now).as_second().to_string());
    let amount = goods::worth(delivery)?.map(|(amount, currency)| (money::major(amount, currency), currency.as_str().to_owned()));
    let revenue = amount.as_ref().filter(|_| delivery.refund.is_none() || to.refunds == RefundShape::Negative);
    if let Some((amount, currency)) = revenue {
        form.put("revenue", if delivery.refund.is_some() { format!("-{amount}") } else { amount.clone() }).put("currency", currency);
    }
    form.put_some("ip_address", device::ipv4(who)).put_some("user_agent", person::text(who, "user_agent"));
    form.put_some("att_status", device::att(who).map(|att| att.to_string()));
    form.put_some("tracking_enabled", device::tracking_enabled(who).map(|yes| if yes { "1" } else { "0" }));
    form.put("callback_params", callback(delivery, amount).to_string());
    // Unverified: that it is looked at in events of servers; the SDK has it.
    form.put("deduplication_id", &delivery.event_id);
    Ok(to.post(&form))
}

/// Handed to the shop's own callbacks: an object whose values are texts.
fn callback(delivery: &Delivery, amount: Option<(String, String)>) -> serde_json::Value {
    let mut params = Object::new();
    let of_order = delivery.event.kind == Kind::Purchase || delivery.refund.is_some();
    params.insert(if of_order { "order_id" } else { "ref" }.into(), delivery.event.reference.as_str().into());
    params.insert("event_id".into(), delivery.event_id.as_str().into());
    if let Some((amount, currency)) = amount.filter(|_| delivery.refund.is_some()) {
        params.insert("refunded".into(), amount.into());
        params.insert("currency".into(), currency.into());
    }
    if let Some(coupon) = goods::coupon(delivery) {
        params.insert("coupon".into(), coupon.into());
    }
    params.into()
}
