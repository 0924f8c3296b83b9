//! A sale, a lead ... as impact takes it.

use jiff::Timestamp;
use sha1::{Digest as _, Sha1};

use super::{
    super::{
        Refusal, device,
        form::Pairs,
        goods,
        lines::{self, Line},
        person, times,
    },
    settings::{Attribution, Email, Settings},
};
use crate::{
    delivery::Delivery,
    money::{self, Currency},
    request::{Method, Request},
    route,
};

/// conversions: by what impact may know the customer, besides the click.
const DEVICES: [(&str, &str); 4] = [("gaid", "GoogAId"), ("android_id", "AndroidId"), ("idfa", "AppleIfa"), ("idfv", "AppleIfv")];

/// Commas and blanks part the ids of items in some of impact's reports.
pub(super) fn sku(text: &str) -> String {
    text.trim().replace(|c: char| c == ',' || c.is_whitespace(), "_")
}

pub(super) fn request(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Request, Refusal> {
    let who = &delivery.who;
    let event_type = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    // Which of the two a program's links carry is its own choice.
    let click = person::text(who, "irclickid").or_else(|| person::text(who, "im_ref"));
    let coupon = goods::coupon(delivery);
    let customer = person::customer(who);
    let device = DEVICES.into_iter().find_map(|(key, field)| Some((field, device::plain(who, key)?)));
    let lacks = match to.attribution {
        Attribution::Click => click.is_none().then_some("no irclickid"),
        Attribution::Coupon => (click.is_none() && coupon.is_none()).then_some("no irclickid and no coupon"),
        Attribution::Any => (click.is_none() && coupon.is_none() && customer.is_none() && device.is_none())
            .then_some("no irclickid, coupon, external_id or device id"),
    };
    if let Some(why) = lacks {
        return Err(Refusal::skip(why));
    }
    let mut form = Pairs::default();
    form.put("CampaignId", &to.campaign).put("EventTypeId", event_type).put("OrderId", goods::order(delivery));
    // Unverified: how far a time may lie ahead. What a clock that is fast told must not be refused for it.
    form.put("EventDate", times::rfc3339(delivery.said.at.min(now))).put_some("ClickId", click);
    form.put_some("CustomerId", customer).put_some("OrderPromoCode", coupon);
    if let Some((field, id)) = device {
        form.put(field, id).put_some("PropertyId", to.property.as_ref());
    }
    if let Some(new) = goods::new_customer(delivery).filter(|_| to.customer_status) {
        form.put("CustomerStatus", if new { "NEW" } else { "EXISTING" });
    }
    form.put_some("CustomerEmail", email(to, delivery));
    form.put_some("CustomerCountry", person::text(who, "country").as_deref().and_then(person::country).map(|country| country.to_uppercase()));
    form.put_some("IpAddress", person::text(who, "ip").filter(|_| to.ip));
    form.put_some("TrackingConsent", route::consent_of(who, &to.consent_key).map(|granted| granted.to_string()));
    if let (Some(value), Some(currency)) = (delivery.said.value, delivery.said.currency) {
        form.put("CurrencyCode", currency.as_str());
        match lines::sold(delivery, value, currency.exponent(), sku).filter(|_| to.items) {
            Some(sold) => {
                put_items(&mut form, &sold.lines, currency);
                if !sold.discount.is_zero() {
                    form.put("OrderDiscount", money::major(sold.discount, currency));
                }
            }
            None => _ = form.put("OrderSubTotalPostDiscount", money::major(value, currency)),
        }
    }
    Ok(form.form(Method::Post, &to.url("Conversions")))
}

/// Totals of lines and not prices, which could not always say the value to the cent; impact wants one of the two.
fn put_items(form: &mut Pairs, lines: &[Line], currency: Currency) {
    for (line, number) in lines.iter().zip(1..) {
        form.put(format!("ItemSku{number}"), &line.sku);
        form.put_some(format!("ItemName{number}"), line.name.as_ref()).put_some(format!("ItemCategory{number}"), line.category.as_ref());
        form.put(format!("ItemQuantity{number}"), goods::pieces(line.quantity).to_string());
        form.put(format!("ItemSubTotal{number}"), money::major(line.total, currency));
    }
}

/// Trimmed and, unverified: in lower case, in hex.
fn email(to: &Settings, delivery: &Delivery) -> Option<String> {
    let text = person::text(&delivery.who, "email")?;
    match to.email {
        Email::Never => None,
        Email::Sha256 => person::hashed(&text, person::email),
        Email::Sha1 => {
            let hash = text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
            if hash { Some(text.to_ascii_lowercase()) } else { person::email(&text).map(|normal| hex::encode(Sha1::digest(normal))) }
        }
    }
}
