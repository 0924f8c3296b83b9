//! What Google's APIs share: consent, the one click id that counts, how young a click may be. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::person;
use crate::{click, delivery::Delivery, event::Object, route};

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
