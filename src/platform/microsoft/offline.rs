//! Offline conversions, and the adjustments by which refunds are told. Click id, goal and time are a conversion's key: a repeat has
//! to carry exactly those, and so has an adjustment. The time is therefore never moved, not even where it is ahead of the clock.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    super::{Refusal, goods, person, times},
    settings::{Offline, Settings, UserData},
};
use crate::{
    click,
    delivery::{Delivery, Refunding},
    event::Object,
    money,
    request::Request,
    retry::words,
};

/// What `batch_key` keeps apart: they have addresses of their own.
pub(super) const CONVERSIONS: &str = "OfflineConversions";
pub(super) const ADJUSTMENTS: &str = "OfflineConversionAdjustments";

/// One call; `what` is both a part of the address and the name of the list.
pub(super) fn apply(to: &Settings, offline: &Offline, what: &str, list: &[Value]) -> Request {
    let url = format!("{}/CampaignManagement/{}/{what}/Apply", to.base_url, to.version);
    Request::json(url, &json!({ what: list }))
        .with("DeveloperToken", offline.developer_token.reveal())
        .with("CustomerAccountId", offline.account.as_str())
        .with("CustomerId", offline.customer.as_str())
        .granted(&offline.grant)
}

pub(super) fn conversion(offline: &Offline, delivery: &Delivery) -> Result<Value, Refusal> {
    let name = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    let mut conversion = key(offline, delivery, name, delivery.said.at)?;
    // Without a value the goal's own is counted, which may be what is wanted of a lead.
    if let Some((value, currency)) = goods::worth(delivery)? {
        conversion.insert("ConversionValue".into(), money::number(value, currency));
        conversion.insert("ConversionCurrencyCode".into(), currency.as_str().into());
    }
    Ok(conversion.into())
}

/// All of it is retracted; what is left of a part is told anew.
pub(super) fn adjustment(offline: &Offline, delivery: &Delivery, refund: &Refunding) -> Result<Value, Refusal> {
    let sale = &refund.purchase;
    let name = sale.name.as_deref().ok_or_else(|| Refusal::dead("its purchase was told without a goal"))?;
    let mut adjustment = key(offline, delivery, name, sale.at)?;
    adjustment.insert("AdjustmentTime".into(), times::rfc3339(adjusted_at(delivery, refund)).into());
    if refund.full {
        adjustment.insert("AdjustmentType".into(), "Retract".into());
        return Ok(adjustment.into());
    }
    let currency = goods::currency_of(refund)?;
    adjustment.insert("AdjustmentType".into(), "Restate".into());
    adjustment.insert("AdjustmentValue".into(), money::number(refund.remaining, currency));
    adjustment.insert("AdjustmentCurrencyCode".into(), currency.as_str().into());
    Ok(adjustment.into())
}

/// Not before the conversion; at the same second one was refused.
fn adjusted_at(delivery: &Delivery, refund: &Refunding) -> Timestamp {
    let after = refund.purchase.at.checked_add(SignedDuration::from_secs(1)).unwrap_or(refund.purchase.at);
    delivery.said.at.max(after)
}

/// Whom the conversion is of, its goal and its time.
fn key(offline: &Offline, delivery: &Delivery, name: &str, at: Timestamp) -> Result<Object, Refusal> {
    let mut key = Object::new();
    let click = click_id(&delivery.who);
    if let Some(click) = &click {
        key.insert("MicrosoftClickId".into(), click.as_str().into());
    }
    if offline.user_data == UserData::Always || offline.user_data == UserData::WithoutClick && click.is_none() {
        let mut put = |name: &str, key_of_person: &str, rule: person::Rule| {
            if let Some(hash) = person::hashes(&delivery.who, key_of_person, rule).into_iter().next() {
                key.insert(name.into(), hash.into());
            }
        };
        put("HashedEmailAddress", "email", person::email_microsoft);
        put("HashedPhoneNumber", "phone", person::phone_e164);
    }
    if key.is_empty() {
        return Err(Refusal::skip(match offline.user_data {
            UserData::Never => "no msclkid",
            UserData::WithoutClick | UserData::Always => "no msclkid, email or phone",
        }));
    }
    key.insert("ConversionName".into(), name.into());
    key.insert("ConversionTime".into(), times::rfc3339(at).into());
    Ok(key)
}

/// The click id, also out of the tag's cookie `_uetmsclkid`, which writes `_uet` before it.
pub(super) fn click_id(who: &Object) -> Option<String> {
    let text = person::text(who, "msclkid")?;
    let id = text.strip_prefix("_uet").unwrap_or(&text);
    let good = !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    good.then(|| id.to_owned())
}

/// A conversion waits for its click to be known, an adjustment for its conversion; nothing may lie ahead of the clock.
pub(super) fn not_before(offline: &Offline, delivery: &Delivery) -> Option<(Timestamp, String)> {
    let after = |at: Timestamp, wait: std::time::Duration| at.checked_add(SignedDuration::try_from(wait).ok()?).ok();
    if let Some(refund) = &delivery.refund {
        let applied = refund.kept("applied").and_then(|at| at.as_str()?.parse().ok());
        let until = after(applied.unwrap_or(refund.purchase.at), offline.refund_after)?.max(adjusted_at(delivery, refund));
        return Some((until, format!("Microsoft finds a conversion to adjust only after {}", words(offline.refund_after))));
    }
    if click_id(&delivery.who).is_none() {
        return Some((delivery.said.at, "it lies ahead of the clock".into()));
    }
    // Without a time of its own the click may have been as late as the order.
    let clicked = click::time(&delivery.who).unwrap_or(delivery.said.at).min(delivery.said.at);
    let until = after(clicked, offline.after_click)?.max(delivery.said.at);
    Some((until, format!("Microsoft knows a click only after {}", words(offline.after_click))))
}

/// What a person is to do about a credential that is refused.
pub(super) fn renew(offline: &Offline) -> String {
    let (token, developer) = (offline.grant.secret().name(), offline.developer_token.name());
    format!("renew {token}, see that {developer} is the developer token of this environment, reload and resume")
}
