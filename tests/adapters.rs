//! What holds for every adapter, whatever a shop tells and whatever comes back: none panics, the same input gives the same bytes, each
//! event gets one verdict, the dedupe id and secrets stand where they belong and nowhere else. Settings are those of the golden cases.

use std::{fs, path::Path};

use postbackd::{
    event::{Event, Kind},
    outcome::Reply,
    platform::Settings,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::golden::{delivered, now, resolve};

/// The settings of all golden cases, each once.
fn all() -> Vec<Settings> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found = Vec::new();
    for platform in Settings::KNOWN.iter().filter(|platform| **platform != "postback") {
        let mut texts: Vec<String> = fs::read_dir(root.join(platform))
            .expect("golden cases")
            .filter_map(|case| fs::read_to_string(case.expect("a case").path().join("settings.toml")).ok())
            .collect();
        texts.sort();
        texts.dedup();
        for text in texts {
            let mut table: toml::Table = text.parse().expect("TOML");
            table.remove("mode");
            found.push(Settings::parse(platform, &table, &resolve).unwrap_or_else(|error| panic!("{platform}: {}: {error}", error.key)));
        }
    }
    found
}

const WHO: &[&str] = &[
    "email",
    "phone",
    "first_name",
    "last_name",
    "city",
    "state",
    "zip",
    "country",
    "external_id",
    "ip",
    "user_agent",
    "page_url",
    "clicked_at",
    "landed_at",
    "gclid",
    "gbraid",
    "fbclid",
    "fbc",
    "fbp",
    "awc",
    "ttclid",
    "msclkid",
    "_uetvid",
    "gaid",
    "gender",
    "birthday",
    "ttp",
    "ScCid",
    "scid",
    "epik",
    "irclickid",
    "cjevent",
    "ranSiteID",
    "idfa",
    "idfv",
    "android_id",
    "appsflyer_id",
    "adid",
    "web_uuid",
    "sdid",
    "asid",
    "platform",
    "os_version",
    "att",
    "tracking_enabled",
    "ga_client_id",
    "ga_session_id",
    "consent",
];
const MORE: &[&str] = &["items", "tax", "shipping", "discount", "coupon", "new_customer", "custom", "commission_group"];

fn nasty() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~äß€😀\\n\\t|&=;%\"'\\\\]{0,40}".prop_map(Value::from),
        Just(json!("2026-02-27T10:00:00Z")),
        Just(json!("79228162514264337593543950335")),
        Just(json!("-0.0000000000000000000000000001")),
        Just(json!("fb.1.1554763741205.x")),
        Just(json!("1001_1403695822_a430")),
        Just(json!("user@gmail.com")),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(vec!["id", "sku", "name", "quantity", "price", "category", "x"]), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

fn object(keys: &'static [&'static str]) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((prop::sample::select(keys), nasty()), 0..12)
        .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn money() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u64..1_000_000_000, 0u32..6).prop_map(|(units, digits)| rust_decimal::Decimal::new(units as i64, digits).to_string()),
        Just("79228162514264337593543950335".to_owned()),
        Just("0".to_owned())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn adapters_take_whatever_a_shop_tells(
        who in object(WHO), more in object(MORE), value in money(), back in money(), full in any::<bool>(), reference in "[ -~ä|]{1,60}",
        currency in prop::sample::select(vec!["EUR", "JPY", "KWD", "CLF", "XXX"]), kind in prop::sample::select(vec![
            Kind::Purchase, Kind::Refund, Kind::Lead, Kind::Signup, Kind::Install, Kind::Subscribe, Kind::Custom,
        ]),
        status in prop::sample::select(vec![200u16, 202, 204, 206, 207, 302, 400, 401, 403, 404, 422, 429, 500, 503, 999]),
        body in prop_oneof![nasty().prop_map(|value| value.to_string().into_bytes()), prop::collection::vec(any::<u8>(), 0..200)],
    ) {
        let payload = match kind {
            Kind::Refund => json!({"refund_ref": "r", "amount": back, "more": more}),
            _ => json!({"value": value, "currency": currency, "who": who, "more": more}),
        };
        let Ok(event) = Event::decode(7, kind.as_str(), &reference, &payload.to_string(), now()) else { return Ok(()) };
        let said = json!({"value": value, "currency": currency, "at": "2026-02-27T10:15:00Z", "name": "5"});
        let refund = json!({"total": back, "remaining": "1.00", "full": full, "purchase": {"said": said, "more": more}});
        let case = if kind == Kind::Refund { json!({"who": who, "refund": refund}) } else { json!({}) };
        let reply = Reply { status, headers: vec![("retry-after".into(), "7".into())], body, cut: false };
        for settings in all() {
            let delivery = delivered(event.clone(), &case, &settings);
            let batch = [delivery];
            let _ = (settings.not_before(&batch[0]), settings.expires(&batch[0]), settings.batch_key(&batch[0]), settings.facts());
            let request = settings.request(&batch, now());
            prop_assert_eq!(&request, &settings.request(&batch, now()));
            if let Ok(request) = &request {
                prop_assert!(url::Url::parse(&request.url).is_ok(), "{}", request.url);
                let json = request.headers.iter().any(|(name, value)| name == "Content-Type" && value.contains("json"));
                prop_assert!(!json || serde_json::from_slice::<Value>(&request.body).is_ok(), "a body that is no JSON");
                prop_assert!(request.headers.iter().all(|(_, value)| value.chars().all(|c| c == ' ' || c.is_ascii_graphic())), "a header that is none");
            }
            prop_assert_eq!(settings.outcome(&batch, &reply, now()).len(), 1);
        }
    }
}

/// Every request for a purchase carries the id by which the platform dedupes, the one of the refund's purchase where it restates that.
#[test]
fn adapters_tell_the_dedupe_id() {
    let mut who: Map<String, Value> = [
        "email",
        "gclid",
        "fbclid",
        "awc",
        "ttclid",
        "msclkid",
        "epik",
        "ScCid",
        "cjevent",
        "ranSiteID",
        "irclickid",
        "ga_client_id",
        "user_agent",
        "page_url",
    ]
    .into_iter()
    .map(|key| (key.to_owned(), if key == "email" { json!("user@example.com") } else { json!("1001_1403695822_a430") }))
    .collect();
    who.insert("landed_at".into(), json!("2026-02-27T10:00:00Z"));
    for (key, value) in [("platform", "android"), ("ip", "203.0.113.7"), ("appsflyer_id", "1415211453000-6513894"), ("adid", "a1"), ("sdid", "s1")] {
        who.insert(key.into(), json!(value));
    }
    let payload = json!({"value": "12.50", "currency": "EUR", "who": who, "more": {}}).to_string();
    let mut told = std::collections::BTreeSet::new();
    for settings in all() {
        let event = Event::decode(7, "purchase", "SO-77x", &payload, now()).expect("readable");
        let Ok(request) = settings.request(&[delivered(event, &json!({}), &settings)], now()) else { continue };
        // Microsoft's offline conversions have none: they are known by click, goal and time.
        let id = if request.url.ends_with("/OfflineConversions/Apply") { "2026-03-01T12:00:00Z" } else { "SO-77x" };
        assert!(request.to_text().contains(id), "{}", settings.platform());
        told.insert(settings.platform());
    }
    // `postback` is not among them, and `apple_relay` hands on what others said.
    assert_eq!(told.len(), Settings::KNOWN.len() - 2, "only {told:?} could tell a whole purchase; what do the others miss?");
}
