//! Walks `tests/golden/postback/*`: event and settings in, the exact request out; replies in, verdicts out.
//!
//! `POSTBACKD_UPDATE_GOLDEN=1 cargo test golden` writes what is built now; read the difference before committing it.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use postbackd::{
    delivery::{Delivery, RefundShape, Refunding, Resend, Said},
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

/// `{"kind", "ref", "at", "payload", "refund": {amount (of a retract), total, remaining, full, purchase: {value, currency, at, click, name, more}, answer}}`
pub fn delivery(case: &Value, settings: &Settings) -> Delivery {
    let kind: Kind = case["kind"].as_str().expect("kind").parse().expect("a kind");
    let reference = case["ref"].as_str().unwrap_or("1001");
    let at: Timestamp = case["at"].as_str().unwrap_or("2026-03-01T11:59:58.123456Z").parse().expect("a time");
    delivered(Event::decode(7, kind.as_str(), reference, &case["payload"].to_string(), at).expect("readable"), case, settings)
}

/// The same for an event that is read already.
pub fn delivered(event: Event, case: &Value, settings: &Settings) -> Delivery {
    let (kind, at) = (event.kind, event.occurred_at);
    let name = settings.name_of(kind);
    let refund = case.get("refund").map(|refund| {
        let purchase = &refund["purchase"];
        Refunding {
            refund_ref: event.refund_ref.clone(),
            amount: event.value.unwrap_or_else(|| amount(&refund["amount"])),
            total: amount(&refund["total"]),
            remaining: amount(&refund["remaining"]),
            full: refund["full"].as_bool().unwrap_or(false),
            purchase: serde_json::from_value::<Said>(purchase["said"].clone()).expect("said"),
            purchase_event_id: event_id(Kind::Purchase, &event.reference, None, 1),
            purchase_more: object(&purchase["more"]),
            answer: refund.get("answer").cloned(),
            uncertain: false,
        }
    });
    let currency = event.currency.or(refund.as_ref().and_then(|refund| refund.purchase.currency)).or(Currency::parse("USD"));
    let who = case.get("who").map_or_else(|| event.who.clone(), object);
    let said = Said { value: event.value, currency, at, click: Default::default(), name };
    let id = event_id(kind, &event.reference, event.refund_ref.as_deref(), 1);
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
        ("url = 'https://t.example/?a={{ amont }}'", "url", "did you mean amount?"),
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
        ("url = 'https://t.example/'\nresend = '0h'", "resend", "48h"),
        ("url = 'https://t.example/'\nresend = '99999999999999999999d'", "resend", "48h"),
        ("url = 'https://t.example/'\nheaders = { 'X A' = '1' }", "headers.X A", "cannot be set"),
        ("url = 'https://t.example/'\nauth = { header = { name = 'X:A', value = 'S' } }", "auth.header", "header name"),
        ("url = 'https://t.example/'\nauth = { header = { name = 'Host', value = 'S' } }", "auth.header", "header name"),
        ("url = 'https://t.example/'\nauth = { basic = { user = 'a:b', password = 'S' } }", "auth.basic", "colon"),
        ("url = 'https://t.example/'\nauth = { bearer = 'S' }\nheaders = { authorization = 'x' }", "headers.authorization", "twice"),
        ("url = 'https://t.example/'\nauth = { header = { name = 'X-A', value = 'S' } }\nlead.headers = { x-a = 'x' }", "headers.x-a", "twice"),
        ("url = 'https://t.example/'\nsign = { key = 'S', name = 'X-A', in = 'header' }\nheaders = { X-a = 'x' }", "headers.X-a", "twice"),
        ("url = 'https://t.example/'\nsign = { key = 'S', name = 'X:A', in = 'header' }", "sign.name", "header name"),
        ("url = 'https://t.example/'\nsign = { key = 'S', name = 'X-A', in = 'header', prefix = 'ü' }", "sign.prefix", "header cannot carry"),
    ] {
        let error = settings(text).expect_err(text);
        assert!(error.starts_with(&format!("{key}:")) && error.contains(word), "{text}\n{error}");
    }
}

#[test]
fn golden_facts() {
    let facts = |text: &str| settings(&format!("url = 'https://t.example/'\n{text}")).expect(text).facts();
    let within = |seconds| Resend::Within(Duration::from_secs(seconds));
    for (text, resend) in [
        ("", Resend::Never),
        ("resend = 'never'", Resend::Never),
        ("resend = 'safe'", Resend::Safe),
        ("resend = '1m'", within(60)),
        ("resend = '48h'", within(172_800)),
        ("resend = '7d'", within(604_800)),
    ] {
        assert_eq!(facts(text).resend, resend, "{text}");
    }
    for (text, refund) in [
        ("", RefundShape::None),
        ("refunds = 'restate'", RefundShape::Restate),
        ("refunds = 'cancel'", RefundShape::Cancel),
        ("refunds = 'event'", RefundShape::Event),
        ("refunds = 'negative'", RefundShape::Negative),
    ] {
        assert_eq!(facts(text).refund, refund, "{text}");
    }
    assert_eq!(facts("").batch_max, 1);
}

#[test]
fn golden_warnings() {
    let kinds = BTreeSet::from([Kind::Purchase, Kind::Refund]);
    let warnings = |text: &str| settings(text).expect(text).warnings(&kinds).join("; ");
    for quiet in ["https://t.example/?a={{ order_id }}", "http://127.0.0.1:9/", "http://[::1]/", "http://localhost:80?a=1"] {
        assert_eq!(warnings(&format!("url = '{quiet}'")), "");
    }
    for loud in ["http://t.example/", "http://127.0.0.1.example/", "http://localhost.example/", "http://10.0.0.1?a=1"] {
        assert_eq!(warnings(&format!("url = '{loud}'")), "purchase, refund: the URL is not https: click ids and secrets cross the network in clear");
    }
    let long = "x".repeat(3_000);
    assert!(warnings(&format!("url = 'https://t.example/?a={long}'")).starts_with("purchase, refund: the URL is about 3100"));
    assert!(warnings(&format!("url = 'https://t.example/'\nlead.url = 'https://t.example/?a={long}'")).is_empty(), "leads do not go there");
}
