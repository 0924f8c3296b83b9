//! The body of a request: one event of one client.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{
    super::{Refusal, goods, google, lines, person},
    settings::Settings,
};
use crate::{
    delivery::Delivery,
    event::{Kind, Object},
    money::{self, Currency},
};

/// Unverified: characters of a parameter's value; longer ones are cut by Google or dropped.
const TEXT_MAX: usize = 100;
/// reference/events, purchase: items of one event.
const ITEMS_MAX: usize = 200;

pub(super) fn body(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Value, Refusal> {
    let who = &delivery.who;
    let name = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    let mut body = Object::new();
    body.insert("client_id".into(), client_id(to, delivery)?.into());
    if let Some(id) = person::customer(who).filter(|_| to.user_id) {
        body.insert("user_id".into(), id.into());
    }
    body.insert("timestamp_micros".into(), delivery.said.at.min(now).as_microsecond().into());
    let consent = google::consent(who, ["ad_user_data", "ad_personalization"], ["GRANTED", "DENIED"]);
    if !consent.is_empty() {
        body.insert("consent".into(), consent.into());
    }
    let people = if to.user_data { user_data(who) } else { Object::new() };
    if !people.is_empty() {
        body.insert("user_data".into(), people.into());
    }
    if to.test {
        body.insert("validation_behavior".into(), "ENFORCE_RECOMMENDATIONS".into());
    }
    body.insert("events".into(), json!([{ "name": name, "params": params(to, delivery)? }]));
    Ok(body.into())
}

fn params(to: &Settings, delivery: &Delivery) -> Result<Object, Refusal> {
    let mut params = Object::new();
    if delivery.event.kind == Kind::Purchase || delivery.refund.is_some() {
        params.insert("transaction_id".into(), transaction_id(to, delivery)?.into());
    }
    if let Some((value, currency)) = goods::worth(delivery)? {
        params.insert("currency".into(), currency.as_str().into());
        params.insert("value".into(), money::number(value, currency));
        for name in ["tax", "shipping"] {
            if let Some(part) = part(delivery, name) {
                params.insert(name.into(), money::number(part, currency));
            }
        }
    }
    if let Some(coupon) = goods::coupon(delivery) {
        params.insert("coupon".into(), cut(&coupon).into());
    }
    if let Some(session) = person::text(&delivery.who, "ga_session_id").and_then(|text| session_id(&text)) {
        params.insert("session_id".into(), session.into());
    }
    if delivery.refund.is_none() {
        // Without it the person is not counted as active; a refund is nobody's activity.
        params.insert("engagement_time_msec".into(), 1.into());
    }
    if to.debug_view {
        params.insert("debug_mode".into(), 1.into());
    }
    let items: Vec<Value> = items(delivery).iter().filter_map(|sold| item(sold, delivery.said.currency)).take(ITEMS_MAX).collect();
    if !items.is_empty() {
        params.insert("items".into(), items.into());
    }
    Ok(params)
}

fn transaction_id(to: &Settings, delivery: &Delivery) -> Result<String, Refusal> {
    let id = google::transaction_id(to.order_as_transaction, delivery);
    // A refund under an id that was cut would find nothing.
    if id.chars().count() > TEXT_MAX { Err(Refusal::dead("a transaction id of more than 100 characters")) } else { Ok(id) }
}

/// Tax or delivery: of the purchase, of a refund of all of it at once, or what a refund names itself.
fn part(delivery: &Delivery, name: &str) -> Option<Decimal> {
    let at_once = delivery.refund.as_ref().is_some_and(|refund| Some(refund.amount) == refund.purchase.value);
    let told = if at_once { goods::told(delivery, name) } else { delivery.event.more.get(name) };
    goods::number(told).filter(|part| !part.is_sign_negative())
}

/// `who.ga_client_id`: the cookie `_ga` (`GA1.1.1234567890.1794800000`), or what stands at its end.
fn client_id(to: &Settings, delivery: &Delivery) -> Result<String, Refusal> {
    let told = person::text(&delivery.who, "ga_client_id").filter(|text| !text.contains('@'));
    if let Some(id) = told.and_then(|text| of_cookie(&text)) {
        return Ok(id);
    }
    if !to.order_as_client {
        return Err(Refusal::skip("no ga_client_id, which is the visitor's _ga cookie"));
    }
    // A client of the order's own, the same for its refunds. It has the shape of those that browsers make up.
    let first = delivery.refund.as_ref().map_or(delivery.said.at, |refund| refund.purchase.at);
    let random = u32::from_str_radix(&person::sha256(&delivery.event.reference)[..8], 16).unwrap_or(1);
    Ok(format!("{random}.{}", first.as_second()))
}

fn of_cookie(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('.').collect();
    match parts[..] {
        [version, _, .., random, second] if version.starts_with("GA") => (parts.len() >= 4).then(|| format!("{random}.{second}")),
        [version, ..] if version.starts_with("GA") => None,
        // Shops may give out client ids of their own.
        _ => Some(text.to_owned()),
    }
}

/// `who.ga_session_id`: the cookie `_ga_STREAM` (`GS1.1.1794999000.3.0...`; unverified: `GS2.1.s1794999000$o3$g0...`), or the number in it.
fn session_id(text: &str) -> Option<String> {
    let id = match text.split('.').collect::<Vec<_>>()[..] {
        ["GS1", _, id, ..] => id,
        ["GS2", _, rest, ..] => rest.split('$').find_map(|part| part.strip_prefix('s'))?,
        [id] => id,
        _ => return None,
    };
    (!id.is_empty() && id.bytes().all(|b| b.is_ascii_digit())).then(|| id.to_owned())
}

/// uid-data: addresses and names hashed; country, region, city and post code in clear.
fn user_data(who: &Object) -> Object {
    let mut user = Object::new();
    person::put_hashes(&mut user, "sha256_email_address", who, "email", person::email_google);
    person::put_hashes(&mut user, "sha256_phone_number", who, "phone", person::phone_google);
    let mut address = Object::new();
    for (name, key) in [("sha256_first_name", "first_name"), ("sha256_last_name", "last_name")] {
        if let Some(hash) = person::hashes(who, key, letters).into_iter().next() {
            address.insert(name.into(), hash.into());
        }
    }
    // A place alone is nobody's address.
    if !address.is_empty() {
        for (name, key) in [("city", "city"), ("region", "state"), ("postal_code", "zip"), ("country", "country")] {
            if let Some(text) = person::text(who, key).filter(|text| !person::is_hash(text)) {
                address.insert(name.into(), text.into());
            }
        }
        user.insert("address".into(), json!([address]));
    }
    user
}

/// In lower case, without digits and symbols.
fn letters(text: &str) -> Option<String> {
    let kept: String = text.to_lowercase().chars().filter(|c| c.is_alphabetic() || c.is_whitespace()).collect();
    person::trimmed(&kept)
}

/// What is sold, or taken back by this refund and no other.
fn items(delivery: &Delivery) -> Vec<goods::Item> {
    let Some(refund) = delivery.refund.as_ref().filter(|refund| refund.full && !refund.earlier.is_empty()) else {
        return goods::items(delivery);
    };
    let digits = delivery.said.currency.map_or(2, |currency| currency.exponent());
    let rest = lines::returned(delivery, refund.amount, digits, str::to_owned).unwrap_or_default();
    let item = |line: lines::Line| goods::Item {
        price: line.worth.checked_div(line.quantity),
        id: Some(line.sku),
        name: line.name,
        quantity: line.quantity,
        category: line.category,
        brand: None,
    };
    rest.into_iter().map(item).collect()
}

fn item(sold: &goods::Item, currency: Option<Currency>) -> Option<Value> {
    let mut item = Object::new();
    let texts = [("item_id", &sold.id), ("item_name", &sold.name), ("item_brand", &sold.brand), ("item_category", &sold.category)];
    for (name, text) in texts {
        if let Some(text) = text {
            item.insert(name.into(), cut(text).into());
        }
    }
    if !item.contains_key("item_id") && !item.contains_key("item_name") {
        return None;
    }
    if let Some((price, currency)) = sold.price.zip(currency) {
        item.insert("price".into(), money::number(price, currency));
    }
    item.insert("quantity".into(), goods::pieces(sold.quantity).into());
    Some(item.into())
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_visits_are_read_from_cookies_or_bare() {
        for (cookie, want) in [
            ("GA1.1.1234567890.1794800000", Some("1234567890.1794800000")),
            ("GA1.2-2.1234567890.1794800000", Some("1234567890.1794800000")),
            ("1234567890.1794800000", Some("1234567890.1794800000")),
            ("amp-x_1", Some("amp-x_1")),
            ("GA1.1.5", None),
        ] {
            assert_eq!(of_cookie(cookie).as_deref(), want, "{cookie}");
        }
        for (cookie, want) in [
            ("GS1.1.1794999000.3.1.1794999100.0.0.0", Some("1794999000")),
            ("GS2.1.s1794999000$o3$g1$t1794999100$j0$l0$h0", Some("1794999000")),
            ("1794999000", Some("1794999000")),
            ("GS3.1.1794999000", None),
            ("GS2.1.o3", None),
            ("visit", None),
        ] {
            assert_eq!(session_id(cookie).as_deref(), want, "{cookie}");
        }
    }

    #[test]
    fn names_lose_digits_and_symbols() {
        assert_eq!(letters(" Anne-Marie 2. O'Neil ").as_deref(), Some("annemarie  oneil"));
        assert_eq!(letters("42!"), None);
    }
}
