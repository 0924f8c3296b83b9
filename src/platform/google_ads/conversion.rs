//! One of a request's `conversions`.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::{
        Refusal, goods,
        google::{self, CartNames},
    },
    settings::Settings,
};
use crate::{delivery::Delivery, event::Object, money};

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
    if let Some((value, currency)) = goods::worth(delivery)? {
        conversion.insert("conversionValue".into(), money::number(value, currency));
        conversion.insert("currencyCode".into(), currency.as_str().into());
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
    if let Some(cart) = to.merchant.as_ref().filter(|_| !braid).and_then(|merchant| google::cart(merchant, delivery, &CART)) {
        conversion.insert("cartData".into(), cart.into());
    }
    Ok(conversion.into())
}

/// `2026-11-23 10:15:00+00:00`.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S+00:00").to_string()
}

/// A refund says what its purchase's answer kept, whatever is configured since.
pub(super) fn order_id(to: &Settings, delivery: &Delivery) -> String {
    let kept = delivery.refund.as_ref().and_then(|refund| refund.kept("order_id")?.as_str());
    kept.map_or_else(|| google::transaction_id(to.order_as_transaction, delivery), str::to_owned)
}

const CART: CartNames = CartNames {
    feed: "feedCountryCode",
    language: "feedLanguageCode",
    discount: "localTransactionCost",
    product: "productId",
    quantity: |pieces| pieces.min(i32::MAX as u64).into(),
};
