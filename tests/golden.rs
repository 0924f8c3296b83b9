//! Walks `tests/golden/postback/*`: event and settings in, the exact request out; replies in, verdicts out.
//!
//! `POSTBACKD_UPDATE_GOLDEN=1 cargo test golden` writes what is built now; read the difference before committing it.

use std::{fs, path::Path, sync::Arc};

use jiff::Timestamp;
use postbackd::{
    delivery::{Delivery, Refunding, Said},
    event::{Event, Kind, event_id},
    money::Currency,
    outcome::{Outcome, Reply},
    platform::{Refusal, Settings},
    secret::Secret,
};
use rust_decimal::Decimal;
use serde_json::Value;

const NOW: &str = "2026-03-01T12:00:00Z";

pub fn now() -> Timestamp {
    NOW.parse().expect("a time")
}

/// Secrets stand for their own names, as in `preview`.
pub fn resolve(value: &toml::Value) -> Result<Secret, String> {
    let name = value.get("env").and_then(toml::Value::as_str).or(value.as_str()).ok_or("a secret is { env = \"NAME\" }")?;
    Ok(Secret::new(name, format!("<{name}>")))
}

fn object(value: &Value) -> serde_json::Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn amount(value: &Value) -> Decimal {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// `{"kind", "ref", "at", "payload", "refund": {total, remaining, full, purchase: {value, currency, at, click, name, more}, answer}}`
pub fn delivery(case: &Value, settings: &Settings) -> Delivery {
    let kind: Kind = case["kind"].as_str().expect("kind").parse().expect("a kind");
    let reference = case["ref"].as_str().unwrap_or("1001");
    let at: Timestamp = case["at"].as_str().unwrap_or("2026-03-01T11:59:58.123456Z").parse().expect("a time");
    let event = Event::decode(7, kind.as_str(), reference, &case["payload"].to_string(), at).expect("readable");
    let name = settings.name_of(kind);
    let refund = case.get("refund").map(|refund| {
        let purchase = &refund["purchase"];
        Refunding {
            refund_ref: event.refund_ref.clone(),
            amount: event.value.unwrap_or_default(),
            total: amount(&refund["total"]),
            remaining: amount(&refund["remaining"]),
            full: refund["full"].as_bool().unwrap_or(false),
            purchase: serde_json::from_value::<Said>(purchase["said"].clone()).expect("said"),
            purchase_event_id: event_id(Kind::Purchase, reference, None, 1),
            purchase_more: object(&purchase["more"]),
            answer: refund.get("answer").cloned(),
            uncertain: false,
        }
    });
    let currency = event.currency.or(refund.as_ref().and_then(|refund| refund.purchase.currency)).or(Currency::parse("USD"));
    let who = case.get("who").map_or_else(|| event.who.clone(), object);
    let said = Said { value: event.value, currency, at, click: Default::default(), name };
    let id = event_id(kind, reference, event.refund_ref.as_deref(), 1);
    Delivery { event: Arc::new(event), event_id: id, generation: 1, who, said, refund, attempt: 1 }
}

fn reply(text: &str) -> Reply {
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let mut lines = head.lines();
    let status = lines.next().expect("a status").trim().parse().expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Reply { status, headers, body: body.trim_end().as_bytes().to_vec(), cut: false }
}

fn verdict(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered { answer, note } => {
            let answer = answer.as_ref().map_or_else(String::new, |answer| format!(" {answer}"));
            format!("delivered{}{answer}\n", note.as_ref().map_or_else(String::new, |note| format!(" ({note})")))
        }
        Outcome::Accepted { .. } => "accepted\n".into(),
        Outcome::Retry { why, after, throttled } => format!("retry: {why}; after {after:?}; throttled {throttled}\n"),
        Outcome::Rejected { why } => format!("rejected: {why}\n"),
        Outcome::Halted { why, fix } => format!("halted: {why}; {fix}\n"),
    }
}

fn agree(path: &Path, got: &str, differing: &mut Vec<String>) {
    if std::env::var_os("POSTBACKD_UPDATE_GOLDEN").is_some() {
        fs::write(path, got).expect("writable");
    } else if fs::read_to_string(path).unwrap_or_default() != got {
        differing.push(format!("{}:\n{got}", path.display()));
    }
}

#[test]
fn golden_postbacks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/postback");
    let mut cases: Vec<_> = fs::read_dir(&root).expect("golden cases").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    assert!(cases.len() >= 10, "golden cases are missing");
    let mut differing = Vec::new();
    for case in cases {
        let read = |name: &str| fs::read_to_string(case.join(name)).unwrap_or_else(|error| panic!("{}/{name}: {error}", case.display()));
        let table: toml::Table = read("settings.toml").parse().expect("TOML");
        let settings = Settings::parse("postback", &table, &resolve).unwrap_or_else(|error| panic!("{}: {}: {error}", case.display(), error.key));
        let delivery = delivery(&serde_json::from_str(&read("event.json")).expect("JSON"), &settings);
        let batch = [delivery];
        let text = match settings.request(&batch, now()) {
            Ok(request) => request.to_text(),
            Err(Refusal::Skip(why)) => format!("skipped: {why}\n"),
            Err(Refusal::Dead(why)) => format!("dead: {why}\n"),
        };
        agree(&case.join("request.http"), &text, &mut differing);
        for entry in fs::read_dir(&case).expect("a case") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("reply-") && name.ends_with(".http") {
                let outcome = &settings.outcome(&batch, &reply(&fs::read_to_string(&path).expect("a reply")), now())[0];
                agree(&path.with_extension("outcome"), &verdict(outcome), &mut differing);
            }
        }
    }
    assert!(differing.is_empty(), "these differ:\n{}", differing.join("\n"));
}

#[test]
fn golden_examples_parse() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/postback");
    let mut count = 0;
    for entry in fs::read_dir(root).expect("examples") {
        let path = entry.expect("an entry").path();
        let file: toml::Table = fs::read_to_string(&path).expect("readable").parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (name, table) in file["destination"].as_table().expect("destinations") {
            let mut table = table.as_table().expect("a table").clone();
            assert_eq!(table.remove("platform").and_then(|platform| platform.as_str().map(str::to_owned)).as_deref(), Some("postback"));
            for common in ["kinds", "when", "consent", "click", "mode", "start", "deadline", "hold"] {
                table.remove(common);
            }
            Settings::parse("postback", &table, &resolve).unwrap_or_else(|error| panic!("{} {name}: {}: {error}", path.display(), error.key));
            count += 1;
        }
    }
    assert!(count >= 8);
}

fn settings(text: &str) -> Result<Settings, String> {
    let table: toml::Table = text.parse().expect("TOML");
    Settings::parse("postback", &table, &resolve).map_err(|error| format!("{}: {error}", error.key))
}

#[test]
fn golden_mistakes_name_the_key_and_the_nearest_known_one() {
    for (text, key, word) in [
        ("url = 'https://t.example/?a={{ amont }}'", "url", "did you mean \"amount\""),
        ("url = 'https://t.example/?a={{ amount | micro }}'", "url", "micros"),
        ("url = 'https://{{ click_id }}/'", "url", "constant"),
        ("url = 'https://t.example/'\nsucces = [200]", "succes", "success"),
        ("url = 'https://t.example/'\nrefund.ulr = 'x'", "refund.ulr", "url"),
        ("url = 'https://t.example/?e={{ who.email | sha256 }}'", "url", "allow_pii"),
        ("url = 'https://t.example/?e={{ sha256_email }}'", "url", "allow_pii"),
        ("url = 'https://t.example/?e={{ secret.tokn }}'\nsecrets.token = {env='T'}", "url", "token"),
        ("url = 'https://t.example/'\nbody = '{\"a\": {{ amount }}'\nbody_type = 'json'", "body", "not JSON"),
        ("url = 'https://t.example/'\nbody = 'x'", "body_type", "json"),
        ("url = 'https://t.example/a b'", "url", "percent-encoded"),
        ("url = 'https://t.example/'\nsuccess_pattern = '('", "success_pattern", "group"),
        ("url = 'https://t.example/?t={{ time | date(\"%Y\", \"Mars/Base\") }}'", "url", "time zone"),
        ("preset = 'binm'", "preset", "binom"),
        ("preset = 'binom'", "domain", "domain"),
        ("preset = 'binom'\ndomain = 'a@b'", "domain", "host name"),
        ("refunds = 'none'", "url", "needs url"),
        ("url = 'https://t.example/'\nresend = 'sometimes'", "resend", "48h"),
    ] {
        let error = settings(text).expect_err(text);
        assert!(error.starts_with(&format!("{key}:")) && error.contains(word), "{text}\n{error}");
    }
}

#[test]
fn golden_nasty_values_stay_values() {
    let nasty = [
        "a&b=c",
        "100%",
        "%0d%0a",
        "\"quoted\"",
        "it's",
        "line\nbreak\r\nX-Evil: 1",
        "\0nul",
        "{{ secret.token }}",
        "{% raw %}",
        "ünï€ 漢字",
        "\u{202e}rtl",
        "../../etc",
        "#frag?x=1",
        "\\",
        "\u{fdd0}m61\u{fdd1}",
        "<script>",
        "+ +",
        "\u{7f}\u{1b}",
    ];
    let mut values: Vec<String> = nasty.iter().map(|text| (*text).to_owned()).collect();
    values.push("x&\"\n".repeat(250_000));
    let settings = settings(
        r#"
        url = "https://t.example/p/{{ order_id }}/x?cid={{ click_id }}&c={{ more.coupon }}&i={{ items_sku }}&v={{ amount }}"
        click_param = "cid"
        body_type = "json"
        body = '{"id": {{ order_id }}, "in": "<{{ click_id }}>", "items": {{ items }}, "more": {{ more }}, "v": {{ amount }}, "none": {{ more.none }}, "end": 1}'
        query = { q = "{{ click_id }}-" }
        "#,
    )
    .expect("settings");
    for value in values {
        let case = serde_json::json!({"kind": "purchase", "ref": value, "payload": {"value": "10.50", "currency": "USD",
            "who": {"cid": value}, "more": {"coupon": value, "items": [{"id": value, "price": "1"}]}}});
        let request = settings.request(&[delivery(&case, &settings)], now()).expect("a request");
        assert!(request.url.bytes().all(|byte| byte.is_ascii_graphic()), "{value:?}");
        let url = url::Url::parse(&request.url).expect("a URL");
        assert_eq!((url.host_str(), url.fragment()), (Some("t.example"), None));
        let path: Vec<_> = url.path_segments().expect("a path").collect();
        assert_eq!(path.len(), 3);
        assert_eq!(percent_encoding::percent_decode_str(path[1]).decode_utf8().expect("UTF-8"), value);
        let want = [("cid", value.clone()), ("c", value.clone()), ("i", value.clone()), ("v", "10.50".into()), ("q", format!("{value}-"))];
        assert_eq!(url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect::<Vec<_>>(), want.map(|(k, v)| (k.to_owned(), v)));
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(body["id"], value.as_str());
        assert_eq!(body["in"], format!("<{value}>"));
        assert_eq!(body["items"][0]["id"], value.as_str());
        assert_eq!(body["more"]["coupon"], value.as_str());
        assert_eq!((body["v"].to_string().as_str(), &body["none"], body["end"].to_string().as_str()), ("10.50", &Value::Null, "1"));
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(7));
    }
}

#[test]
fn golden_no_value_breaks_out_of_form_or_header() {
    let settings = settings(
        "url = 'https://t.example/'\nbody_type = 'form'\nbody = 'a={{ click_id }}&b={{ order_id }}'\nclick_param = 'cid'\nheaders.X-Order = 'o {{ order_id }}'",
    )
    .expect("settings");
    for (value, stands) in [("a&b=c", true), ("x\r\nEvil: 1", false), ("ü", false), ("\0", false)] {
        let case = serde_json::json!({"kind": "purchase", "ref": value, "payload": {"value": "1", "currency": "USD", "who": {"cid": value}}});
        match settings.request(&[delivery(&case, &settings)], now()) {
            Ok(request) => {
                assert!(stands);
                let pairs: Vec<_> = url::form_urlencoded::parse(&request.body).into_owned().collect();
                assert_eq!(pairs, [("a".to_owned(), value.to_owned()), ("b".to_owned(), value.to_owned())]);
                assert_eq!(request.headers[1], ("X-Order".to_owned(), format!("o {value}")));
            }
            Err(refusal) => assert!(!stands && matches!(refusal, Refusal::Dead(_)), "{value:?} {refusal:?}"),
        }
    }
}
