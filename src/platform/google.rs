//! What Google's APIs share: consent, match keys, the one click id that counts, how young a click may be, key files. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::person;
use crate::{
    click,
    delivery::Delivery,
    event::Object,
    grant::{Grant, Means},
    route,
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

/// What `check` says of a key file that is none: only the first delivery would notice.
pub fn key_file_warning(grant: &Grant) -> Option<String> {
    let Means::ServiceAccount { key_file, .. } = &grant.means else { return None };
    let key: Option<Value> = serde_json::from_str(key_file.reveal()).ok();
    let good = key.is_some_and(|key| ["client_email", "private_key"].iter().all(|name| key[*name].is_string()));
    (!good).then(|| format!("{} is not the JSON key file of a service account", key_file.name()))
}
