//! One event of a request's `events`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{
        Refusal, goods,
        google::{self, CartNames},
        person, times,
    },
    settings::Settings,
};
use crate::{delivery::Delivery, event::Object, money};

/// limits: user identifiers of one event.
const IDENTIFIERS_MAX: usize = 10;

pub(super) fn of(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Value, Refusal> {
    let who = &delivery.who;
    let mut event = Object::new();
    event.insert("destinationReferences".into(), json!([action(delivery)?]));
    event.insert("transactionId".into(), transaction_id(to, delivery)?.into());
    // An adjustment repeats the conversion's own time (unverified whether another would do) and says when it was made.
    let at = delivery.refund.as_ref().map_or(delivery.said.at, |refund| refund.purchase.at);
    event.insert("eventTimestamp".into(), times::rfc3339(at.min(now)).into());
    if delivery.refund.is_some() {
        event.insert("lastUpdatedTimestamp".into(), times::rfc3339(delivery.said.at.min(now)).into());
    }
    event.insert("eventSource".into(), to.event_source.into());
    if let Some((value, currency)) = goods::worth(delivery)? {
        let value = delivery.refund.as_ref().map_or(value, |refund| refund.remaining);
        event.insert("currency".into(), currency.as_str().into());
        event.insert("conversionValue".into(), money::number(value, currency));
    }
    let clicks = click_ids(delivery);
    let people = if to.user_data { identifiers(who) } else { Vec::new() };
    if clicks.is_empty() && people.is_empty() {
        return Err(Refusal::skip(if to.user_data {
            "no gclid, gbraid, wbraid, dclid, email or phone"
        } else {
            "no gclid, gbraid, wbraid or dclid"
        }));
    }
    let braid = clicks.contains_key("gbraid") || clicks.contains_key("wbraid");
    if !clicks.is_empty() {
        event.insert("adIdentifiers".into(), clicks.into());
    }
    if !people.is_empty() {
        event.insert("userData".into(), json!({ "userIdentifiers": people }));
    }
    let consent = google::consent(who, ["adUserData", "adPersonalization"], ["CONSENT_GRANTED", "CONSENT_DENIED"]);
    if !consent.is_empty() {
        event.insert("consent".into(), consent.into());
    }
    if let Some(new) = goods::new_customer(delivery).filter(|_| delivery.refund.is_none()) {
        event.insert("userProperties".into(), json!({ "customerType": if new { "NEW" } else { "RETURNING" } }));
    }
    // With a braid Google ignores it; an adjustment takes value and currency alone.
    if let Some(merchant) = to.merchant.as_ref().filter(|_| !braid && delivery.refund.is_none())
        && let Some(cart) = cart(merchant, delivery)
    {
        event.insert("cartData".into(), cart);
    }
    Ok(event.into())
}

/// The conversion action: the one of the purchase, as it was then, for its adjustment.
pub(super) fn action(delivery: &Delivery) -> Result<&str, Refusal> {
    let said = delivery.refund.as_ref().map_or(&delivery.said, |refund| &refund.purchase);
    said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))
}

/// A refund says what its purchase's answer kept, whatever is configured since: under another id it would be a new conversion. Digits
/// alone were refused by the live API (2026-08), though not by its validation.
pub(super) fn transaction_id(to: &Settings, delivery: &Delivery) -> Result<String, Refusal> {
    let kept = delivery.refund.as_ref().and_then(|refund| refund.kept("transaction_id")?.as_str());
    let id = kept.map_or_else(|| google::transaction_id(to.order_as_transaction, delivery), str::to_owned);
    if id.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::dead("Google refuses a transaction id of digits alone; set transaction_id = \"event_id\""));
    }
    Ok(id)
}

/// The one click id that Google Ads wants; dclid is another product's and goes beside it.
pub(super) fn click_ids(delivery: &Delivery) -> Object {
    let mut ids = Object::new();
    if let Some((name, id)) = google::click_id(&delivery.who) {
        ids.insert(name.into(), id.into());
    }
    person::put_plain(&mut ids, "dclid", &delivery.who, "dclid");
    ids
}

/// E-mail addresses and phones hashed; an address only whole, its country and post code in clear.
fn identifiers(who: &Object) -> Vec<Value> {
    let people = google::identifiers(who, "emailAddress", "phoneNumber");
    let address = || {
        let hash = |key: &str| person::hashes(who, key, person::lower).into_iter().next();
        let (given, family) = (hash("first_name")?, hash("last_name")?);
        let country = person::text(who, "country").and_then(|text| person::country(&text))?.to_uppercase();
        let code = person::text(who, "zip")?;
        Some(json!({ "address": { "givenName": given, "familyName": family, "regionCode": country, "postalCode": code } }))
    };
    people.chain(address()).take(IDENTIFIERS_MAX).collect()
}

const CART: CartNames = CartNames {
    feed: "merchantFeedLabel",
    language: "merchantFeedLanguageCode",
    discount: "transactionDiscount",
    product: "merchantProductId",
    // A 64-bit number of protocol buffers, which in JSON is a text.
    quantity: |pieces| pieces.to_string().into(),
};

fn cart(merchant: &google::Merchant, delivery: &Delivery) -> Option<Value> {
    let mut cart = google::cart(merchant, delivery, &CART)?;
    if let Some(coupon) = goods::coupon(delivery) {
        cart.insert("couponCodes".into(), coupon.split(',').collect());
    }
    Some(cart.into())
}
