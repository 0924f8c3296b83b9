use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::apple::testing::{Signer, cases, sample};

const ORDER_4: [&str; 11] = [
    "version",
    "ad-network-id",
    "source-identifier",
    "app-id",
    "transaction-id",
    "redownload",
    "source-app-id",
    "source-domain",
    "fidelity-type",
    "did-win",
    "postback-sequence-index",
];
const ORDER_3: [&str; 9] =
    ["version", "ad-network-id", "campaign-id", "app-id", "transaction-id", "redownload", "source-app-id", "fidelity-type", "did-win"];
const SAMPLES: [&str; 5] =
    ["skadnetwork-2.2.json", "skadnetwork-3.0.json", "skadnetwork-3.0-lost.json", "skadnetwork-4.0-fine.json", "skadnetwork-4.0-coarse.json"];

/// The order of what a version signs, out of the longest lists.
fn order(version: &str) -> &'static [&'static str] {
    match version {
        "2.0" | "2.1" => &ORDER_3[..7],
        "2.2" => &ORDER_3[..8],
        "3.0" => &ORDER_3,
        _ => &ORDER_4,
    }
}

fn parsed(name: &str) -> Value {
    serde_json::from_slice(&sample(name)).expect("JSON")
}

fn verdict(body: &Value, keys: &Keys) -> Result<Verdict, Malformed> {
    read(body.to_string().as_bytes(), keys).map(|received| received.verdict)
}

fn bare(version: &str) -> Value {
    let mut body = json!({
        "version": version, "ad-network-id": "example123.skadnetwork", "app-id": 525463029, "redownload": false,
        "transaction-id": "6AAFB7A5-0170-41b5-bbe4-fe71dedf1e28",
    });
    let more = match version {
        "2.0" | "2.1" => json!({"campaign-id": 42}),
        "2.2" => json!({"campaign-id": 42, "fidelity-type": 0}),
        "3.0" => json!({"campaign-id": 42, "fidelity-type": 0, "did-win": true}),
        _ => json!({"source-identifier": "0239", "fidelity-type": 0, "did-win": true, "postback-sequence-index": 2}),
    };
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
    body
}

#[test]
fn apples_samples_are_apples() {
    for name in SAMPLES {
        assert_eq!(read(&sample(name), Keys::apple()).expect(name).verdict, Verdict::Verified(Environment::Production), "{name}");
    }
    let fine = read(&sample("skadnetwork-4.0-fine.json"), Keys::apple()).expect("readable").postback;
    assert_eq!((fine.version.as_deref(), fine.app, fine.sequence, fine.value, fine.coarse), (Some("4.0"), 525_463_029, 0, Some(63), None));
    assert_eq!((fine.source.as_ref().map(SourceIdentifier::as_str), fine.source_domain.as_deref()), (Some("5239"), Some("example.com")));
    assert_eq!(fine.identifier, "6aafb7a5-0170-41b5-bbe4-fe71dedf1e30");
    let coarse = read(&sample("skadnetwork-4.0-coarse.json"), Keys::apple()).expect("readable").postback;
    assert_eq!((coarse.value, coarse.coarse), (None, Some(Coarse::High)));
    let lost = read(&sample("skadnetwork-3.0-lost.json"), Keys::apple()).expect("readable").postback;
    assert!(!lost.won() && lost.is_install());
}

/// What is signed cannot be altered, left out or put in; what is not signed can.
#[test]
fn every_signed_value_is_covered_and_no_other() {
    for name in SAMPLES {
        let body = parsed(name);
        let signed = order(body["version"].as_str().expect("a version"));
        for key in signed {
            for other in [
                json!(7),
                json!("7"),
                json!("77"),
                json!(true),
                json!(false),
                json!(1),
                json!(0),
                json!("example.org"),
                json!("2.2"),
                json!("3.0"),
                Value::Null,
            ] {
                let mut altered = body.clone();
                if altered.get(key).map(Value::to_string) == Some(other.to_string()) {
                    continue;
                }
                // Of a boolean, 1 and 0 are another way to say the same.
                if *key == "redownload" && other == json!(i32::from(body[key] == json!(true))) {
                    continue;
                }
                altered[key] = other;
                let verdict = verdict(&altered, Keys::apple());
                assert!(!matches!(verdict, Ok(Verdict::Verified(_))), "{name}: {key} became {}: {verdict:?}", altered[key]);
            }
            let mut without = body.clone();
            if without.as_object_mut().and_then(|members| members.remove(*key)).is_some() {
                assert!(!matches!(verdict(&without, Keys::apple()), Ok(Verdict::Verified(_))), "{name} without {key}");
            }
        }
        for (key, other) in [("conversion-value", json!(0)), ("country-code", json!("DE")), ("something-new", json!({"x": [1]}))] {
            let mut altered = body.clone();
            altered[key] = other;
            assert_eq!(verdict(&altered, Keys::apple()), Ok(Verdict::Verified(Environment::Production)), "{name}: {key} is not signed");
        }
    }
}

/// A domain of digits would be signed like an app's id, and the other way round; an edge between two values could be moved.
#[test]
fn one_value_cannot_pass_for_another() {
    let signer = Signer::new();
    let mut app = bare("4.0");
    app["source-app-id"] = json!(1_234_567);
    let app = signer.skadnetwork(app, &ORDER_4);
    assert_eq!(verdict(&app, &signer.keys), Ok(Verdict::Verified(Environment::Production)));
    let mut domain = app.clone();
    domain.as_object_mut().expect("an object").remove("source-app-id");
    domain["source-domain"] = json!("1234567");
    assert_eq!(verdict(&domain, &signer.keys).map_err(|why| why.why), Err("source-domain: a domain is expected".into()));
    let mut both = app.clone();
    both["source-domain"] = json!("example.com");
    assert_eq!(verdict(&both, &signer.keys).map_err(|why| why.word), Err("ambiguous"));
    let mut moved = app;
    moved["ad-network-id"] = json!("example123.skadnetwork\u{2063}0239");
    assert!(verdict(&moved, &signer.keys).is_err());
}

#[test]
fn every_combination_of_optional_members_is_verified() {
    let signer = Signer::new();
    for version in ["2.1", "2.2", "3.0", "4.0"] {
        for bits in 0..64u32 {
            let mut body = bare(version);
            let mut put = |bit: u32, key: &str, value: Value| {
                if bits & 1 << bit != 0 {
                    body[key] = value;
                }
            };
            put(0, "source-app-id", json!(1_234_567_891));
            put(1, "conversion-value", json!(63));
            put(2, "coarse-conversion-value", json!("medium"));
            put(3, "country-code", json!("US"));
            put(4, "source-domain", json!("example.com"));
            put(5, "redownload", json!(true));
            let body = signer.skadnetwork(body, order(version));
            let received = read(body.to_string().as_bytes(), &signer.keys);
            if version == "4.0" && bits & 0b10001 == 0b10001 {
                assert_eq!(received.map_err(|why| why.word), Err("ambiguous"));
                continue;
            }
            let received = received.unwrap_or_else(|why| panic!("{version} {bits:b}: {why}"));
            assert_eq!(received.verdict, Verdict::Verified(Environment::Production), "{version} {bits:b}");
            let postback = received.postback;
            assert_eq!(postback.source_app.is_some(), bits & 1 != 0);
            assert_eq!(postback.value, (bits & 2 != 0).then_some(63));
            assert_eq!(postback.coarse, (version == "4.0" && bits & 4 != 0).then_some(Coarse::Medium), "{version} has none of it");
            assert_eq!(postback.redownload, Some(bits & 32 != 0));
            assert_eq!(postback.sequence, if version == "4.0" { 2 } else { 0 });
            assert_eq!(postback.identifier, "6aafb7a5-0170-41b5-bbe4-fe71dedf1e28", "in lower case, and signed as it came");
        }
    }
}

#[test]
fn apples_tests_are_no_production() {
    let signer = Signer::new();
    let mut body = bare("3.0");
    body["source-app-id"] = json!(0);
    assert_eq!(verdict(&signer.skadnetwork(body, &ORDER_3), &signer.keys), Ok(Verdict::Verified(Environment::Development)));
}

#[test]
fn old_and_unknown_versions_are_told_by_name() {
    let signer = Signer::new();
    for (version, reason) in [("2.0", Reason::P192), ("5.0", Reason::Version), ("4.1", Reason::Version)] {
        let body = signer.skadnetwork(bare(version), order(version));
        assert_eq!(verdict(&body, &signer.keys), Ok(Verdict::Unverifiable(reason)), "{version}");
    }
    let mut first = signer.skadnetwork(bare("2.0"), &[]);
    first.as_object_mut().expect("an object").remove("version");
    let received = read(first.to_string().as_bytes(), &signer.keys).expect("readable");
    assert_eq!((received.verdict, received.postback.version), (Verdict::Unverifiable(Reason::P192), None));
}

#[test]
fn signatures_are_der_in_base64_and_nothing_else() {
    let good = parsed("skadnetwork-4.0-fine.json");
    let text = good["attribution-signature"].as_str().expect("a text").to_owned();
    for (altered, reason) in [
        (String::new(), Reason::Signature),
        (text.replace('=', ""), Reason::Encoding),
        (text.replace('/', "_"), Reason::Encoding),
        (format!("{text}\n"), Reason::Encoding),
        (STANDARD.encode([0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00]), Reason::Signature),
        (STANDARD.encode([0; 64]), Reason::Signature),
    ] {
        let mut body = good.clone();
        body["attribution-signature"] = json!(altered);
        assert_eq!(verdict(&body, Keys::apple()), Ok(Verdict::Invalid(reason)), "{altered:?}");
    }
}

#[test]
fn what_is_missing_or_of_another_type_is_told_by_name() {
    let good = parsed("skadnetwork-4.0-fine.json");
    let refused = |key: &str, value: Option<Value>| {
        let mut body = good.clone();
        let members = body.as_object_mut().expect("an object");
        match value {
            Some(value) => _ = members.insert(key.to_owned(), value),
            None => _ = members.remove(key),
        }
        let why = read(body.to_string().as_bytes(), Keys::apple()).err();
        why.unwrap_or_else(|| panic!("{key} of {body}"))
    };
    for key in ["ad-network-id", "source-identifier", "app-id", "transaction-id", "redownload", "fidelity-type", "did-win", "postback-sequence-index"]
    {
        assert_eq!(refused(key, None), Malformed::new("missing_key", format!("{key} is missing")));
        let why = refused(key, Some(Value::Null));
        assert!(why.word == "wrong_type" && why.why.starts_with(key), "{key}: {why}");
    }
    for (key, values) in [
        ("app-id", vec![json!("525463029"), json!(0), json!(-5), json!(1.5), json!(9_223_372_036_854_775_808_u64), json!([525_463_029])]),
        ("source-identifier", vec![json!(5239), json!("5"), json!("52391"), json!("52a9"), json!("")]),
        ("transaction-id", vec![json!("6aafb7a5"), json!("6aafb7a5-0170-41b5-bbe4-fe71dedf1eXX"), json!(7)]),
        ("redownload", vec![json!("false"), json!(2)]),
        ("did-win", vec![json!(1), json!("true")]),
        ("fidelity-type", vec![json!(2), json!("1"), json!(true)]),
        ("postback-sequence-index", vec![json!(3), json!("0"), json!(0.0)]),
        ("source-domain", vec![json!(5), json!("a\nb"), json!("x".repeat(256))]),
        ("version", vec![json!(4.0), json!("four"), json!("")]),
        ("attribution-signature", vec![json!(5), json!({})]),
    ] {
        for value in values {
            let why = refused(key, Some(value.clone()));
            assert!(why.word == "wrong_type" && why.why.starts_with(key), "{key} = {value}: {why}");
        }
    }
}

/// What is not signed cannot make a signed postback worth nothing.
#[test]
fn an_odd_value_that_is_not_signed_is_left_out() {
    let good = parsed("skadnetwork-4.0-fine.json");
    for (key, values) in [
        ("conversion-value", vec![Value::Null, json!(64), json!("63"), json!(-1), json!(6.3e1)]),
        ("coarse-conversion-value", vec![Value::Null, json!("HIGH"), json!("none"), json!(1)]),
        ("country-code", vec![Value::Null, json!(5), json!(""), json!("U\u{1b}S")]),
    ] {
        for value in values {
            let mut body = good.clone();
            body[key] = value.clone();
            let Received { postback, verdict } =
                read(body.to_string().as_bytes(), Keys::apple()).unwrap_or_else(|why| panic!("{key} = {value}: {why}"));
            assert_eq!(verdict, Verdict::Verified(Environment::Production), "{key} = {value}");
            let kept = match key {
                "conversion-value" => postback.value.is_some(),
                "country-code" => postback.country.is_some(),
                _ => postback.coarse.is_some(),
            };
            assert!(!kept, "{key} = {value}");
        }
    }
}

#[test]
fn order_and_blanks_do_not_matter_and_duplicates_do() {
    let body = parsed("skadnetwork-3.0.json");
    let mut members: Vec<(String, Value)> = body.as_object().cloned().expect("an object").into_iter().collect();
    for _ in 0..members.len() {
        members.rotate_left(1);
        let text: Vec<String> = members.iter().map(|(key, value)| format!("\n\t{key:?} : {value}\r\n")).collect();
        let text = format!("{{{}}}", text.join(","));
        assert_eq!(read(text.as_bytes(), Keys::apple()).map(|received| received.verdict), Ok(Verdict::Verified(Environment::Production)));
    }
    let text = body.to_string().replacen('{', "{\"campaign-id\":43,", 1);
    assert_eq!(read(text.as_bytes(), Keys::apple()).map_err(|why| why.word), Err("duplicate_key"));
    let huge = body.to_string().replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(crate::apple::BODY_MAX)), 1);
    assert_eq!(Protocol::SkAdNetwork.read(huge.as_bytes(), Keys::apple()).map_err(|why| why.word), Err("too_large"));
}

proptest! {
    #![proptest_config(cases(128))]

    /// One altered byte: it is no postback, or not Apple's, or it says the same in all that is signed.
    #[test]
    fn no_altered_body_is_verified(name in prop::sample::select(SAMPLES.to_vec()), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let good = sample(name);
        let mut altered = good.clone();
        let at = at.index(altered.len());
        altered[at] = byte;
        if let Ok(Received { postback, verdict: Verdict::Verified(_) }) = read(&altered, Keys::apple()) {
            let said = read(&good, Keys::apple()).expect("readable").postback;
            let unsigned = |postback: Postback| Postback { value: None, coarse: None, country: None, ..postback };
            prop_assert_eq!(unsigned(postback), unsigned(said));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, Keys::apple());
    }

    /// Members of the right names with anything in them.
    #[test]
    fn no_values_make_it_panic(values in prop::collection::vec((prop::sample::select(ORDER_4.to_vec()), "(\"[^\"\\\\]{0,40}\"|-?[0-9]{1,20}|true|null|\\[\\])"), 0..14)) {
        let body: Vec<String> = values.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
        if let Ok(received) = read(format!("{{{}}}", body.join(",")).as_bytes(), Keys::apple()) {
            prop_assert!(!matches!(received.verdict, Verdict::Verified(_)));
        }
    }
}
