//! What Google's APIs share: consent, match keys, the one click id that counts, how young a click may be, ids of conversions, carts, key
//! files. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use toml::Table;

use super::{
    goods::{self, Item},
    keys::{self, Parsed},
    person,
};
use crate::{
    click,
    delivery::Delivery,
    event::Object,
    grant::{Grant, Means},
    money, route,
};

/// `ad_user_data` and `ad_personalization` of `who.consent`, under an API's names for them and its words for granted and denied; what
/// nobody was asked is left out.
pub fn consent(who: &Object, names: [&str; 2], words: [&str; 2]) -> Object {
    let mut consent = Object::new();
    for (name, key) in names.into_iter().zip(["ad_user_data", "ad_personalization"]) {
        if let Some(granted) = route::consent_of(who, key) {
            consent.insert(name.to_owned(), words[usize::from(!granted)].into());
        }
    }
    consent
}

/// The one click id that Google Ads wants, by its name: gclid before gbraid before wbraid.
pub fn click_id(who: &Object) -> Option<(&'static str, String)> {
    ["gclid", "gbraid", "wbraid"].into_iter().find_map(|name| Some((name, person::text(who, name)?)))
}

/// Google Ads knows a click only some hours after it.
pub fn not_before(delivery: &Delivery, after_click: Duration) -> Option<(Timestamp, String)> {
    // Without a time of its own the click may have been as late as the order.
    let clicked = click::time(&delivery.who).unwrap_or(delivery.said.at).min(delivery.said.at);
    let until = clicked.checked_add(SignedDuration::try_from(after_click).ok()?).ok()?;
    Some((until, format!("Google knows a click only after {}", crate::retry::words(after_click))))
}

/// E-mail addresses and phones hashed by Google's rules, each in an object of its own under an API's name for it.
pub fn identifiers<'a>(who: &Object, email: &'a str, phone: &'a str) -> impl Iterator<Item = Value> + use<'a> {
    let emails = person::hashes(who, "email", person::email_google).into_iter().map(move |hash| json!({ email: hash }));
    let phones = person::hashes(who, "phone", person::phone_google).into_iter().map(move |hash| json!({ phone: hash }));
    emails.chain(phones)
}

/// By what a conversion is known: what the tag on the page sends too, where both count into one. A refund names its purchase's.
pub fn transaction_id(order: bool, delivery: &Delivery) -> String {
    match &delivery.refund {
        _ if order => goods::order(delivery),
        Some(refund) => refund.purchase_event_id.clone(),
        None => delivery.event_id.clone(),
    }
}

/// The Merchant Center account whose products the items are.
#[derive(Clone, Debug)]
pub struct Merchant {
    id: String,
    feed: Option<String>,
    language: Option<String>,
}

impl Merchant {
    /// `merchant_id`, `feed_language` and, under a name of the API's own, which feed it is.
    pub(super) fn parse(table: &Table, feed: &str) -> Parsed<Option<Self>> {
        let Some(id) = keys::given(table, "merchant_id", |key| keys::digits(table, key, "1234567"))? else { return Ok(None) };
        Ok(Some(Self { id, feed: keys::some_text(table, feed)?, language: keys::some_text(table, "feed_language")? }))
    }
}

/// What an API calls the parts of a cart.
pub struct CartNames {
    /// Which feed.
    pub feed: &'static str,
    /// The feed's language.
    pub language: &'static str,
    /// What was taken off the order as a whole.
    pub discount: &'static str,
    /// An item's id.
    pub product: &'static str,
    /// How it writes a quantity.
    pub quantity: fn(u64) -> Value,
}

/// `cartData`: the items that have id and price; `None` without any.
pub fn cart(merchant: &Merchant, delivery: &Delivery, names: &CartNames) -> Option<Object> {
    let currency = delivery.said.currency?;
    let item = |(id, item): (String, Item)| {
        let price = money::number(item.price?, currency);
        Some(json!({ names.product: id, "quantity": (names.quantity)(goods::pieces(item.quantity)), "unitPrice": price }))
    };
    let items: Vec<Value> = goods::identified(delivery).into_iter().filter_map(item).collect();
    if items.is_empty() {
        return None;
    }
    let mut cart = Object::new();
    cart.insert("merchantId".into(), merchant.id.as_str().into());
    for (name, value) in [(names.feed, &merchant.feed), (names.language, &merchant.language)] {
        if let Some(value) = value {
            cart.insert(name.into(), value.as_str().into());
        }
    }
    if let Some(discount) = goods::number(goods::told(delivery, "discount")).filter(|discount| !discount.is_sign_negative()) {
        cart.insert(names.discount.into(), money::number(discount, currency));
    }
    cart.insert("items".into(), items.into());
    Some(cart)
}

/// What `check` says of a key file that is none: only the first delivery would notice.
pub fn key_file_warning(grant: &Grant) -> Option<String> {
    let Means::ServiceAccount { key_file, .. } = &grant.means else { return None };
    let key: Option<Value> = serde_json::from_str(key_file.reveal()).ok();
    let good = key.is_some_and(|key| ["client_email", "private_key"].iter().all(|name| key[*name].is_string()));
    (!good).then(|| format!("{} is not the JSON key file of a service account", key_file.name()))
}
