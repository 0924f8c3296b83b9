//! One event: a form, or for V1 a query.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{
        Refusal,
        device::{self, System},
        form::Pairs,
        goods, person,
    },
    settings::{Settings, Version},
};
use crate::{
    delivery::{Delivery, RefundShape},
    event::{Kind, Object},
    money,
    request::Request,
    route,
};

/// EVENT endpoint: characters of an attribute's value.
const ATTRIBUTE_MAX: usize = 500;

pub(super) fn request(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Request, Refusal> {
    let name = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    let who = &delivery.who;
    let (system, app) = to.apps.of(delivery)?;
    let mut form = Pairs::default();
    form.put("a", to.sdk_key.reveal()).put("p", name_of(system));
    form.put("i", app).put("n", name);
    phone(to.version, system, who, &mut form)?;
    // Either this or use_ip, which would take the server's own address; the country alone does not replace it.
    form.put("ip", device::ipv4(who).ok_or_else(|| Refusal::skip("no ip, or none of IPv4, which Singular wants"))?);
    form.put_some("ve", person::text(who, "os_version"));
    if system == System::Ios {
        // 0 also where an app does not ask.
        form.put("att_authorization_status", device::att(who).unwrap_or(0).to_string());
    }
    form.put("umilisec", delivery.said.at.min(now).as_millisecond().to_string());
    let amount = goods::worth(delivery)?.map(|(amount, currency)| (money::major(amount, currency), currency.as_str().to_owned()));
    if let Some((amount, currency)) = amount.as_ref().filter(|_| delivery.refund.is_none() || to.refunds == RefundShape::Negative) {
        form.put("amt", if delivery.refund.is_some() { format!("-{amount}") } else { amount.clone() }).put("cur", currency);
        form.put("is_revenue_event", "true");
    }
    let of_order = delivery.event.kind == Kind::Purchase || delivery.refund.is_some();
    if of_order {
        form.put("purchase_transaction_id", &delivery.event.reference);
    }
    if let [goods::Item { id: Some(id), .. }] = &goods::items(delivery)[..] {
        form.put("purchase_product_id", id);
    }
    form.put_some("custom_user_id", person::customer(who));
    form.put("e", attributes(delivery, of_order, amount));
    if let Some(limit) = limit(to, who) {
        form.put("data_sharing_options", json!({ "limit_data_sharing": limit }).to_string());
    }
    Ok(to.send(&form))
}

/// `p`.
pub(super) fn name_of(system: System) -> &'static str {
    match system {
        System::Ios => "iOS",
        System::Android => "Android",
    }
}

/// By what the phone is found.
fn phone(version: Version, system: System, who: &Object, form: &mut Pairs) -> Result<(), Refusal> {
    match (version, system) {
        (Version::V2, _) => {
            let id = device::opaque(who, "sdid").or_else(|| device::opaque(who, "singular_id"));
            form.put("sdid", id.ok_or_else(|| Refusal::skip("no sdid"))?);
        }
        (Version::V1, System::Ios) => {
            form.put("idfv", device::upper(who, "idfv").ok_or_else(|| Refusal::skip("no idfv"))?).put_some("idfa", device::upper(who, "idfa"));
        }
        (Version::V1, System::Android) => {
            let ids = [("aifa", "gaid"), ("asid", "asid"), ("andi", "android_id"), ("amid", "fire_adid"), ("oaid", "oaid")];
            let ids: Vec<_> = ids.into_iter().filter_map(|(name, key)| Some((name, device::lower(who, key)?))).collect();
            if ids.is_empty() {
                return Err(Refusal::skip("no gaid, asid, android_id, fire_adid or oaid"));
            }
            ids.into_iter().for_each(|(name, id)| _ = form.put(name, id));
        }
    }
    Ok(())
}

/// `e`: an object of short texts in ASCII.
fn attributes(delivery: &Delivery, of_order: bool, amount: Option<(String, String)>) -> String {
    let mut found = Object::new();
    let mut put = |key: &str, text: &str| {
        found.insert(key.to_owned(), text.chars().filter(char::is_ascii).take(ATTRIBUTE_MAX).collect::<String>().into());
    };
    put(if of_order { "order_id" } else { "ref" }, &delivery.event.reference);
    // Nothing dedupes by it; it finds an event again.
    put("event_id", &delivery.event_id);
    if let Some((amount, currency)) = amount.filter(|_| delivery.refund.is_some()) {
        put("refunded", &amount);
        put("currency", &currency);
    }
    if let Some(coupon) = goods::coupon(delivery) {
        put("coupon", &coupon);
    }
    Value::Object(found).to_string()
}

/// Whether the data are shared no further; `None`: the person said nothing.
fn limit(to: &Settings, who: &Object) -> Option<bool> {
    if to.limited.holds(who) { Some(true) } else { route::consent_of(who, "ad_user_data").map(|granted| !granted) }
}
