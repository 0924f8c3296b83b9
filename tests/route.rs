//! Which destination wants what: `route::skip` over destinations as the configuration makes them.

use std::path::Path;

use postbackd::{
    config::{Config, SecretMode},
    destination::Destination,
    event::Event,
    route,
};
use serde_json::{Value, json};

fn destination(keys: &str) -> Destination {
    let file = format!(
        "[database]\nurl = 'postgres://postbackd@localhost/shop'\n[destination.d]\nplatform = 'postback'\nurl = 'https://t.example/'\n{keys}"
    );
    let config =
        Config::parse(&file, Path::new("/t/test.toml"), SecretMode::Reveal, &|_| None).unwrap_or_else(|problems| panic!("{keys}: {problems}"));
    Destination::clone(&config.destinations[0])
}

/// An event of 20 EUR (a refund of 5) whose own row says nothing of the person: what is known of it now is the argument.
fn skip(keys: &str, kind: &str, who: &Value) -> Option<String> {
    let payload = match kind {
        "refund" => json!({"refund_ref": "r1", "amount": "5.00", "more": {"coupon": "LATE"}}),
        "retract" | "enrich" => json!({"who": {"gclid": "of the event"}}),
        _ => json!({"value": "20.00", "currency": "EUR", "who": {"country": "FR"}, "more": {"coupon": "SPRING"}}),
    };
    let event = Event::decode(7, kind, "1001", &payload.to_string(), "2026-03-01T10:00:00Z".parse().expect("a time")).expect("readable");
    route::skip(&event, who.as_object().expect("an object"), &destination(keys))
}

const ALL: &str = "kinds = ['purchase', 'refund', 'lead', 'signup', 'install', 'subscribe', 'custom']\n";
const STRICT: &str = "when = 'value >= 30'\nconsent = ['ad_user_data']\nclick = ['gclid']\n";

#[test]
fn who_wants_what() {
    let known = || json!({"gclid": "g", "country": "DE", "consent": {"ad_user_data": true, "mail": "denied"}});
    let nobody = || json!({});
    let when = "not wanted here: when value >= 30";
    // Keys, kind, person, why not, and whether an enrich may change that.
    for (keys, kind, who, why, hope) in [
        // Kinds.
        ("", "purchase", nobody(), None, false),
        ("", "refund", nobody(), None, false),
        ("", "retract", nobody(), None, false),
        ("", "lead", nobody(), Some("lead not wanted here"), false),
        ("", "custom", known(), Some("custom not wanted here"), false),
        ("", "enrich", known(), Some("enrich not wanted here"), false),
        (ALL, "signup", nobody(), None, false),
        (ALL, "enrich", nobody(), Some("enrich not wanted here"), false),
        ("kinds = ['purchase']", "refund", known(), Some("refund not wanted here"), false),
        ("kinds = ['purchase']", "retract", known(), Some("refund not wanted here"), false),
        ("kinds = ['lead']", "purchase", known(), Some("purchase not wanted here"), false),
        // Conditions: over the purchase, with the person as known now; what takes back goes where the purchase went.
        ("when = 'value >= 20'", "purchase", nobody(), None, false),
        ("when = 'value >= 30'", "purchase", known(), Some(when), true),
        ("when = 'value >= 30'", "refund", known(), None, false),
        ("when = 'value >= 30'", "retract", known(), None, false),
        ("when = \"more.coupon == 'SPRING'\"", "purchase", nobody(), None, false),
        ("when = \"more.coupon == 'SPRING'\"", "refund", nobody(), None, false),
        ("when = \"who.country == 'DE'\"", "purchase", known(), None, false),
        ("when = \"who.country == 'FR'\"", "purchase", known(), Some("not wanted here: when who.country == 'FR'"), true),
        ("when = \"kind == 'lead' and who.country is defined\"\nkinds = ['lead', 'purchase']", "lead", known(), None, false),
        ("when = \"kind == 'lead'\"", "purchase", known(), Some("not wanted here: when kind == 'lead'"), true),
        // Consent: granted or not, for what takes back too.
        ("consent = ['ad_user_data']", "purchase", known(), None, false),
        ("consent = ['ad_user_data']", "purchase", nobody(), Some("consent: ad_user_data unknown"), true),
        ("consent = ['mail']", "purchase", known(), Some("consent: mail denied"), true),
        ("consent = ['mail']", "refund", known(), Some("consent: mail denied"), true),
        ("consent = ['ad_user_data', 'mail', 'x']", "purchase", known(), Some("consent: mail denied"), true),
        ("consent = ['ad_user_data']", "purchase", json!({"consent": "granted"}), Some("consent: ad_user_data unknown"), true),
        // Click ids: one is enough, and it must say something.
        ("click = ['gclid']", "purchase", known(), None, false),
        ("click = ['fbclid', 'gclid']", "purchase", known(), None, false),
        ("click = ['fbclid']", "purchase", known(), Some("no fbclid"), true),
        ("click = ['fbclid', 'fbc', 'fbp']", "purchase", known(), Some("no fbclid, fbc or fbp"), true),
        ("click = ['gclid', 'gbraid']", "purchase", json!({"gclid": "", "gbraid": " "}), Some("no gclid or gbraid"), true),
        ("click = ['cid']", "purchase", json!({"cid": 7}), None, false),
        ("click = ['cid']", "purchase", json!({"cid": true}), Some("no cid"), true),
        ("click = ['cid']", "refund", nobody(), Some("no cid"), true),
        ("click = ['gclid']", "retract", nobody(), Some("no gclid"), true),
        // What is said first of several reasons: what nobody can change, then what lasts longest.
        (STRICT, "lead", nobody(), Some("lead not wanted here"), false),
        (STRICT, "purchase", nobody(), Some(when), true),
        (STRICT, "refund", nobody(), Some("consent: ad_user_data unknown"), true),
        (STRICT, "refund", json!({"consent": {"ad_user_data": true}}), Some("no gclid"), true),
        (STRICT, "refund", known(), None, false),
    ] {
        let found = skip(keys, kind, &who);
        assert_eq!(found.as_deref(), why, "{kind} with {keys:?} and {who}");
        assert_eq!(found.is_some_and(|why| route::depends_on_person(&why)), hope, "{kind} with {keys:?} and {who}");
    }
}

/// The reasons that judge makes of its own are none that an enrich undoes.
#[test]
fn only_reasons_of_the_person_wait_for_the_person() {
    for reason in [
        "said before",
        "refund not wanted here",
        "platform takes no refunds",
        "purchase not sent here",
        "nothing left to take back",
        "order retracted",
        "shadow",
    ] {
        assert!(!route::depends_on_person(reason), "{reason}");
    }
}
