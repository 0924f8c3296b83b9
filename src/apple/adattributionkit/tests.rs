use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::apple::{
    Coarse,
    testing::{Signer, cases, sample},
};

const SAMPLE: &str = "adattributionkit-development.json";

fn header() -> Value {
    json!({"kid": "apple-cas-identifier/0", "alg": "ES256"})
}

fn payload() -> Value {
    json!({
        "postback-identifier": "85546EB7-FD39-44BC-8990-C98A4AC36A49", "ad-network-identifier": "example.adattributionkit",
        "advertised-item-identifier": 10_738_027_756_i64, "impression-type": "app-impression", "conversion-type": "download",
        "source-identifier": "1234", "did-win": true, "postback-sequence-index": 1,
    })
}

fn envelope(jws: &str) -> Value {
    json!({"jws-string": jws})
}

fn judged(body: &Value, keys: &Keys) -> Result<Received, Malformed> {
    read(body.to_string().as_bytes(), keys)
}

fn verdict(header: &Value, payload: &Value) -> Verdict {
    let signer = Signer::new();
    judged(&envelope(&signer.jws(header, payload)), &signer.keys).expect("readable").verdict
}

#[test]
fn apples_sample_is_of_its_development_tools() {
    let received = read(&sample(SAMPLE), Keys::apple()).expect("readable");
    assert_eq!(received.verdict, Verdict::Verified(Environment::Development));
    let postback = received.postback;
    assert_eq!(postback.kid.as_deref(), Some("apple-development-identifier/1"), "the escape of its slash is read");
    assert_eq!(postback.identifier, "85546eb7-fd39-44bc-8990-c98a4ac36a49", "in lower case");
    assert_eq!((postback.app, postback.sequence, postback.value), (10_738_027_756, 0, Some(24)));
    assert_eq!(postback.source.as_ref().and_then(|source| source.level(2)), Some("34"));
    assert_eq!((postback.interaction.as_deref(), postback.country.as_deref()), (Some("click"), Some("US")));
    assert!(!postback.is_install(), "a re-engagement");
}

#[test]
fn production_is_what_nothing_of_a_test_has() {
    assert_eq!(verdict(&header(), &payload()), Verdict::Verified(Environment::Production));
    let mut test = payload();
    test["publisher-item-identifier"] = json!(0);
    assert_eq!(verdict(&header(), &test), Verdict::Verified(Environment::Development));
    let mut test = payload();
    test["ad-network-identifier"] = json!(DEVELOPMENT_NETWORK);
    assert_eq!(verdict(&header(), &test), Verdict::Verified(Environment::Development));
    let development = json!({"kid": "apple-development-identifier/0", "alg": "ES256"});
    assert_eq!(verdict(&development, &payload()), Verdict::Verified(Environment::Development));
}

#[test]
fn headers_decide_nothing_but_the_key() {
    for (header, wanted) in [
        (json!({"kid": "apple-cas-identifier/1", "alg": "ES256"}), Verdict::Unverifiable(Reason::Kid)),
        (json!({"kid": "APPLE-CAS-IDENTIFIER/0", "alg": "ES256"}), Verdict::Unverifiable(Reason::Kid)),
        (json!({"alg": "ES256"}), Verdict::Unverifiable(Reason::Kid)),
        (json!({"kid": "apple-cas-identifier/0", "alg": "none"}), Verdict::Invalid(Reason::Algorithm)),
        (json!({"kid": "apple-cas-identifier/0", "alg": "HS256"}), Verdict::Invalid(Reason::Algorithm)),
        (json!({"kid": "apple-cas-identifier/0", "alg": "es256"}), Verdict::Invalid(Reason::Algorithm)),
        (json!({"kid": "apple-cas-identifier/0", "alg": "ES256", "crit": ["b64"], "b64": false}), Verdict::Invalid(Reason::Critical)),
        (
            json!({"kid": "apple-cas-identifier/0", "alg": "ES256", "typ": "JWT", "jku": "https://a.example/"}),
            Verdict::Verified(Environment::Production),
        ),
    ] {
        assert_eq!(verdict(&header, &payload()), wanted, "{header}");
    }
}

#[test]
fn every_signed_value_is_covered_and_the_envelope_is_not() {
    let signer = Signer::new();
    let jws = signer.jws(&header(), &payload());
    let parts: Vec<&str> = jws.split('.').collect();
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for key in payload().as_object().expect("an object").keys() {
        let mut altered = payload();
        altered[key] = match &altered[key] {
            Value::String(text) if text.len() == 4 => json!("1235"),
            Value::String(text) if text.len() == 36 => json!("85546EB7-FD39-44BC-8990-C98A4AC36A40"),
            Value::String(text) => json!(format!("{text}x")),
            Value::Bool(value) => json!(!value),
            _ => json!(2),
        };
        let body = envelope(&format!("{}.{}.{}", parts[0], encoded(&altered), parts[2]));
        assert_eq!(judged(&body, &signer.keys).expect(key).verdict, Verdict::Invalid(Reason::Signature), "{key}");
    }
    let body = envelope(&format!("{}.{}.{}", encoded(&json!({"alg": "ES256", "kid": "apple-cas-identifier/0", "x": 1})), parts[1], parts[2]));
    assert_eq!(judged(&body, &signer.keys).expect("readable").verdict, Verdict::Invalid(Reason::Signature));
    for bits in 0..16u32 {
        let mut body = envelope(&jws);
        let unsigned = [
            ("conversion-value", json!(0)),
            ("coarse-conversion-value", json!("low")),
            ("ad-interaction-type", json!("view")),
            ("country-code", json!("DE")),
        ];
        for (bit, (key, value)) in unsigned.into_iter().enumerate() {
            if bits & 1 << bit != 0 {
                body[key] = value;
            }
        }
        let received = judged(&body, &signer.keys).expect("readable");
        assert_eq!(received.verdict, Verdict::Verified(Environment::Production), "{bits:b}");
        assert_eq!((received.postback.value, received.postback.coarse), ((bits & 1 != 0).then_some(0), (bits & 2 != 0).then_some(Coarse::Low)));
    }
}

#[test]
fn every_combination_of_optional_values_is_verified() {
    let signer = Signer::new();
    let optional = ["publisher-item-identifier", "marketplace-identifier", "impression-type", "conversion-type", "source-identifier", "did-win"];
    for bits in 0..64u32 {
        let mut payload = payload();
        payload["publisher-item-identifier"] = json!(5_838_492);
        payload["marketplace-identifier"] = json!("com.apple.AppStore");
        for (bit, key) in optional.iter().enumerate() {
            if bits & 1 << bit == 0 {
                payload.as_object_mut().expect("an object").remove(*key);
            }
        }
        let received = judged(&envelope(&signer.jws(&header(), &payload)), &signer.keys).expect("readable");
        assert_eq!(received.verdict, Verdict::Verified(Environment::Production), "{bits:b}");
        assert_eq!(received.postback.marketplace.is_some(), bits & 2 != 0);
    }
}

#[test]
fn encodings_are_apples_and_no_other() {
    let signer = Signer::new();
    let jws = signer.jws(&header(), &payload());
    let (signed, signature) = jws.rsplit_once('.').expect("three parts");
    let raw = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    for (signature, reason) in [
        (format!("{signature}=="), Reason::Encoding),
        (base64::engine::general_purpose::STANDARD_NO_PAD.encode([0xff; 64]), Reason::Encoding),
        (String::new(), Reason::Signature),
        (URL_SAFE_NO_PAD.encode(&raw[..63]), Reason::Signature),
        (URL_SAFE_NO_PAD.encode([&raw[..], &[0]].concat()), Reason::Signature),
        (URL_SAFE_NO_PAD.encode([0; 64]), Reason::Signature),
    ] {
        let received = judged(&envelope(&format!("{signed}.{signature}")), &signer.keys).expect("readable");
        assert_eq!(received.verdict, Verdict::Invalid(reason), "{signature}");
    }
    for jws in ["", "a", "a.b", "a.b.c.d", "..", "e30.e30.", "e30=.e30=.", " e30.e30.", "W10.e30.AA"] {
        assert!(judged(&envelope(jws), &signer.keys).is_err(), "{jws:?}");
    }
}

#[test]
fn what_is_wrong_is_told_by_name() {
    let signer = Signer::new();
    let refused = |key: &str, value: Value| {
        let mut payload = payload();
        payload[key] = value;
        judged(&envelope(&signer.jws(&header(), &payload)), &signer.keys).expect_err(key).why
    };
    for (key, value) in [
        ("postback-identifier", json!("85546EB7")),
        ("postback-sequence-index", json!(3)),
        ("postback-sequence-index", json!("0")),
        ("advertised-item-identifier", json!("10738027756")),
        ("source-identifier", json!(1234)),
        ("did-win", json!("true")),
        ("conversion-type", json!(1)),
    ] {
        let why = refused(key, value);
        assert!(why.starts_with(&format!("payload of jws-string: {key}: ")), "{why}");
    }
    assert_eq!(judged(&json!({}), &signer.keys).map_err(|why| why.why), Err("jws-string is missing".into()));
    let twice = r#"{"jws-string":"a","jws-string":"b"}"#;
    assert_eq!(read(twice.as_bytes(), &signer.keys).map_err(|why| why.word), Err("duplicate_key"));
    let payload = r#"{"postback-identifier":"85546EB7-FD39-44BC-8990-C98A4AC36A49","postback-identifier":"85546EB7-FD39-44BC-8990-C98A4AC36A49"}"#;
    let body = envelope(&format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header().to_string()), URL_SAFE_NO_PAD.encode(payload)));
    assert_eq!(judged(&body, &signer.keys).map_err(|why| why.word), Err("duplicate_key"));
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn no_altered_jws_is_verified(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let good = sample(SAMPLE);
        let mut altered = good.clone();
        let at = at.index(altered.len());
        altered[at] = byte;
        if let Ok(Received { postback, verdict: Verdict::Verified(_) }) = read(&altered, Keys::apple()) {
            let said = read(&good, Keys::apple()).expect("readable").postback;
            let unsigned = |postback: Postback| Postback { value: None, coarse: None, country: None, interaction: None, ..postback };
            prop_assert_eq!(unsigned(postback), unsigned(said));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..5)) {
        let _ = read(&bytes, Keys::apple());
        let jws: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        let _ = judged(&envelope(&jws.join(".")), Keys::apple());
    }
}
