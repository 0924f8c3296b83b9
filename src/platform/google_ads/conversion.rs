//! One of a request's `conversions`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{Refusal, goods, google},
    settings::{Merchant, Settings},
};
use crate::{
    delivery::Delivery,
    event::{Kind, Object},
    money,
};

/// conversion_upload_service: user identifiers of one conversion.
const IDENTIFIERS_MAX: usize = 5;

pub(super) fn of(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Value, Refusal> {
    let who = &delivery.who;
    let action = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    let mut conversion = Object::new();
    let click = google::click_id(who);
    if let Some((name, id)) = &click {
        conversion.insert((*name).to_owned(), id.as_str().into());
    }
    conversion.insert("conversionAction".into(), to.action(action).into());
    conversion.insert("conversionDateTime".into(), time(delivery.said.at.min(now)).into());
    match (delivery.said.value, delivery.said.currency) {
        (Some(value), Some(currency)) => {
            conversion.insert("conversionValue".into(), money::number(value, currency));
            conversion.insert("currencyCode".into(), currency.as_str().into());
        }
        _ if delivery.event.kind == Kind::Purchase => return Err(Refusal::dead("no value or no currency")),
        _ => {}
    }
    conversion.insert("orderId".into(), order_id(to, delivery).into());
    let people: Vec<Value> = match to.user_data {
        true => google::identifiers(who, "hashedEmail", "hashedPhoneNumber").take(IDENTIFIERS_MAX).collect(),
        false => Vec::new(),
    };
    if click.is_none() && people.is_empty() {
        return Err(Refusal::skip(if to.user_data { "no gclid, gbraid, wbraid, email or phone" } else { "no gclid, gbraid or wbraid" }));
    }
    if !people.is_empty() {
        conversion.insert("userIdentifiers".into(), people.into());
    }
    let consent = google::consent(who, ["adUserData", "adPersonalization"], ["GRANTED", "DENIED"]);
    if !consent.is_empty() {
        conversion.insert("consent".into(), consent.into());
    }
    if let Some(new) = goods::new_customer(delivery) {
        conversion.insert("customerType".into(), if new { "NEW" } else { "RETURNING" }.into());
    }
    let braid = click.as_ref().is_some_and(|(name, _)| *name != "gclid");
    if let Some(cart) = to.merchant.as_ref().filter(|_| !braid).and_then(|merchant| cart(merchant, delivery)) {
        conversion.insert("cartData".into(), cart);
    }
    Ok(conversion.into())
}

/// `2026-11-23 10:15:00+00:00`.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S+00:00").to_string()
}

/// What the tag on the page sends too where both count into one action. A refund says what its purchase's answer kept, whatever
/// is configured since.
pub(super) fn order_id(to: &Settings, delivery: &Delivery) -> String {
    let kept = delivery.refund.as_ref().and_then(|refund| refund.answer.as_ref()?.get("order_id")?.as_str());
    match (kept, &delivery.refund) {
        (Some(id), _) => id.to_owned(),
        _ if to.order_as_id && delivery.generation > 1 => format!("{}.{}", delivery.event.reference, delivery.generation),
        _ if to.order_as_id => delivery.event.reference.clone(),
        (None, Some(refund)) => refund.purchase_event_id.clone(),
        (None, None) => delivery.event_id.clone(),
    }
}

fn cart(merchant: &Merchant, delivery: &Delivery) -> Option<Value> {
    let currency = delivery.said.currency?;
    let item = |item: goods::Item| {
        let price = money::number(item.price.filter(|price| !price.is_sign_negative())?, currency);
        Some(json!({ "productId": item.id?, "quantity": goods::pieces(item.quantity).min(i32::MAX as u64), "unitPrice": price }))
    };
    let items: Vec<Value> = goods::items(delivery).into_iter().filter_map(item).collect();
    if items.is_empty() {
        return None;
    }
    let mut cart = Object::new();
    cart.insert("merchantId".into(), merchant.id.as_str().into());
    for (name, value) in [("feedCountryCode", &merchant.feed_country), ("feedLanguageCode", &merchant.feed_language)] {
        if let Some(value) = value {
            cart.insert(name.into(), value.as_str().into());
        }
    }
    if let Some(discount) = goods::number(goods::told(delivery, "discount")) {
        cart.insert("localTransactionCost".into(), money::number(discount, currency));
    }
    cart.insert("items".into(), items.into());
    Some(cart.into())
}
