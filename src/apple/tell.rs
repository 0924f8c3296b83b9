//! A postback as it is kept, shown and told: its members under the house's names, and the event that is said of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{Postback, meaning::App};
use crate::event::Kind;

/// Under this name an event's `more` holds Apple's postback. Destinations get such events only where they ask for them.
pub const KEY: &str = "apple";
/// Within it: the body as it came, in base64.
pub const BODY: &str = "body";

/// What is said of one postback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// `install` for the first postback of a download, else `custom`.
    pub kind: Kind,
    /// One for each postback.
    pub reference: String,
    /// `more`: [`KEY`], and what the conversion value is worth.
    pub more: Value,
}

/// What it says, as one object; what it does not say is left out.
pub fn decoded(postback: &Postback, app: Option<&App>) -> Map<String, Value> {
    let Postback { source, .. } = postback;
    let level = |digits: usize| source.as_ref().and_then(|source| source.level(digits)).map(Value::from);
    let meaning = app.and_then(|app| app.meaning(postback));
    let value = meaning.and_then(|meaning| meaning.value).zip(app.and_then(|app| app.currency));
    let members = [
        ("protocol", Some(postback.protocol.word().into())),
        ("version", postback.version.as_deref().map(Value::from)),
        ("key", postback.kid.as_deref().map(Value::from)),
        ("identifier", Some(postback.identifier.as_str().into())),
        ("sequence", Some(postback.sequence.into())),
        ("app", Some(postback.app.into())),
        ("app_name", app.and_then(|app| app.name.as_deref()).map(Value::from)),
        ("network", Some(postback.network.as_str().into())),
        ("campaign", postback.campaign.map(Value::from)),
        ("source_identifier", source.as_ref().map(|source| source.as_str().into())),
        ("source_2", level(2)),
        ("source_3", level(3)),
        ("source_4", level(4)),
        ("source_app", postback.source_app.map(Value::from)),
        ("source_domain", postback.source_domain.as_deref().map(Value::from)),
        ("fidelity", postback.fidelity.map(Value::from)),
        ("redownload", postback.redownload.map(Value::from)),
        ("conversion_type", postback.conversion_type.as_deref().map(Value::from)),
        ("impression_type", postback.impression_type.as_deref().map(Value::from)),
        ("marketplace", postback.marketplace.as_deref().map(Value::from)),
        ("did_win", postback.did_win.map(Value::from)),
        ("conversion_value", postback.value.map(Value::from)),
        ("coarse_value", postback.coarse.map(|coarse| coarse.word().into())),
        ("country", postback.country.as_deref().map(Value::from)),
        ("interaction", postback.interaction.as_deref().map(Value::from)),
        ("meaning", meaning.filter(|meaning| !meaning.text.is_empty()).map(|meaning| meaning.text.as_str().into())),
        ("value", value.map(|(value, currency)| crate::money::major(value, currency).into())),
        ("currency", value.map(|(_, currency)| currency.as_str().into())),
    ];
    members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The event of a postback that counts; `body` as it came.
pub fn saying(postback: &Postback, app: &App, body: &[u8]) -> Saying {
    let mut apple = decoded(postback, Some(app));
    apple.insert(BODY.to_owned(), STANDARD.encode(body).into());
    let mut more = json!({});
    for key in ["value", "currency"] {
        if let Some(value) = apple.get(key) {
            more[key] = value.clone();
        }
    }
    more[KEY] = apple.into();
    let kind = if postback.is_install() { Kind::Install } else { Kind::Custom };
    Saying { kind, reference: reference(postback.protocol.word(), &postback.identifier, postback.sequence), more }
}

/// By which the event of a postback is looked up.
pub fn reference(protocol: &str, identifier: &str, sequence: u8) -> String {
    format!("{protocol}-{identifier}-{sequence}")
}

/// The body of an event's postback as it came, byte for byte; `None`: it is no event of Apple's.
pub fn body(more: &Map<String, Value>) -> Option<Vec<u8>> {
    STANDARD.decode(more.get(KEY)?.get(BODY)?.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        apple::{Coarse, Keys, Protocol, meaning::Meaning, testing::sample},
        money::Currency,
    };

    fn app() -> App {
        let worth = |text: &str, value: &str| Meaning { text: text.into(), value: value.parse().ok() };
        App {
            id: 525_463_029,
            name: Some("Shop".into()),
            currency: Currency::parse("EUR"),
            fine: vec![(0, 0, worth("opened", "")), (60, 63, worth("bought", "49.9"))],
            coarse: vec![(None, Coarse::High, worth("much", "30")), (Some(2), Coarse::High, worth("late", ""))],
        }
    }

    #[test]
    fn a_postback_is_told_with_its_meaning_and_its_own_bytes() {
        let body_of = sample("skadnetwork-4.0-fine.json");
        let postback = Protocol::SkAdNetwork.read(&body_of, Keys::apple()).expect("readable").postback;
        let said = saying(&postback, &app(), &body_of);
        assert_eq!((said.kind, said.reference.as_str()), (Kind::Install, "skadnetwork-6aafb7a5-0170-41b5-bbe4-fe71dedf1e30-0"));
        assert_eq!((&said.more["value"], &said.more["currency"]), (&json!("49.90"), &json!("EUR")));
        let apple = &said.more["apple"];
        assert_eq!(
            (&apple["meaning"], &apple["source_2"], &apple["source_3"], &apple["app_name"]),
            (&json!("bought"), &json!("39"), &json!("239"), &json!("Shop"))
        );
        assert_eq!(apple.get("campaign"), None, "4.0 has none");
        assert_eq!(body(said.more.as_object().expect("an object")), Some(body_of));
        assert_eq!(body(&Map::new()), None);
    }

    #[test]
    fn later_windows_may_mean_something_else() {
        let body = sample("skadnetwork-4.0-coarse.json");
        let mut postback = Protocol::SkAdNetwork.read(&body, Keys::apple()).expect("readable").postback;
        let meaning = |postback: &Postback| app().meaning(postback).map(|meaning| meaning.text.clone());
        assert_eq!(meaning(&postback).as_deref(), Some("much"));
        postback.sequence = 2;
        assert_eq!(meaning(&postback).as_deref(), Some("late"));
        assert_eq!(saying(&postback, &app(), &body).kind, Kind::Custom);
        postback.value = Some(5);
        assert_eq!(meaning(&postback).as_deref(), Some("late"), "a fine value without a meaning says nothing");
        postback.coarse = None;
        assert_eq!(meaning(&postback), None);
    }
}
