//! Walks `tests/golden/PLATFORM/CASE`: event(s) and settings in, the exact request out; replies in, verdicts out.
//!
//! | file | holds |
//! |---|---|
//! | `settings.toml` | the destination's own keys; `mode = "test"` switches to the platform's test mode |
//! | `event.json` | one event as [`delivery`] reads it, or a list of them: one batch |
//! | `request.http` | written: the request, or why there is none; before it, lines with `#`, when the platform would take each |
//! | `reply-*.http` | status, headers, an empty line, body |
//! | `reply-*.outcome` | written: a verdict per event |
//! | `confirm-*.http` | what the platform says later of what `reply-ok.http` accepted; `confirm.http` is written, and an `.outcome` each |
//!
//! `POSTBACKD_UPDATE_GOLDEN=1 cargo test golden` writes what is built now; read the difference before committing it.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use postbackd::{
    delivery::{Awaiting, Delivery, RefundShape, Refunding, Resend, Said},
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
    let by_reference = ["env", "file", "credential"].into_iter().find_map(|kind| value.get(kind)?.as_str());
    let name = by_reference.or(value.as_str()).ok_or("a secret is { env = \"NAME\" }")?;
    Ok(Secret::new(name, format!("<{name}>")))
}

fn object(value: &Value) -> serde_json::Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn amount(value: &Value) -> Decimal {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// `{"kind", "ref", "at", "payload", "refund": {amount (of a retract), total, remaining, full, purchase: {said: {value, currency, at, click, name}, more}, earlier: [more], answer}}`
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
            earlier: refund["earlier"].as_array().into_iter().flatten().map(object).collect(),
            answer: refund.get("answer").cloned(),
            uncertain: false,
        }
    });
    let currency = event.currency.or(refund.as_ref().and_then(|refund| refund.purchase.currency)).or(Currency::parse("USD"));
    let who = case.get("who").map_or_else(|| event.who.clone(), object);
    let value = event.value.or(refund.as_ref().map(|refund| refund.amount));
    let said = Said { value, currency, at, click: Default::default(), name };
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
        Outcome::Accepted { answer } => format!("accepted{}\n", answer.as_ref().map_or_else(String::new, |answer| format!(" {answer}"))),
        Outcome::Split { why } => format!("split: {why}\n"),
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

/// A request, or why there is none; before it what the platform's clock says.
fn written(settings: &Settings, batch: &[Delivery]) -> String {
    let mut text = String::new();
    for delivery in batch {
        if let Some((until, why)) = settings.not_before(delivery) {
            text.push_str(&format!("# {} not before {until}: {why}\n", delivery.event_id));
        }
        if let Some(expires) = settings.expires(delivery) {
            text.push_str(&format!("# {} before {expires}\n", delivery.event_id));
        }
    }
    text + &match settings.request(batch, now()) {
        Ok(request) => request.to_text(),
        Err(Refusal::Skip(why)) => format!("skipped: {why}\n"),
        Err(Refusal::Dead(why)) => format!("dead: {why}\n"),
    }
}

fn directories(at: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(at).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
    let mut found: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// One case; what differs is added.
fn case(platform: &str, case: &Path, differing: &mut Vec<String>) {
    let read = |name: &str| fs::read_to_string(case.join(name)).unwrap_or_else(|error| panic!("{}/{name}: {error}", case.display()));
    let mut table: toml::Table = read("settings.toml").parse().expect("TOML");
    let test = table.remove("mode").is_some();
    let mut settings = Settings::parse(platform, &table, &resolve).unwrap_or_else(|error| panic!("{}: {}: {error}", case.display(), error.key));
    if test {
        settings.test_mode().expect("a test mode");
    }
    let events: Value = serde_json::from_str(&read("event.json")).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    let batch: Vec<Delivery> = events.as_array().unwrap_or(&vec![events.clone()]).iter().map(|event| delivery(event, &settings)).collect();
    assert!(batch.len() <= settings.facts().batch_max, "{}: more than a batch", case.display());
    let keys: BTreeSet<_> = batch.iter().map(|delivery| settings.batch_key(delivery)).collect();
    assert!(keys.len() == 1, "{}: these never share a request", case.display());
    let text = written(&settings, &batch);
    assert_eq!(text, written(&settings, &batch), "the same input gives other bytes");
    agree(&case.join("request.http"), &text, differing);
    if platform != "postback" {
        nothing_raw(&events, &text, case);
        assert!(!format!("{settings:?}").contains("<"), "{}: Debug shows a secret", case.display());
    }
    for entry in fs::read_dir(case).expect("a case") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.ends_with(".http") {
            continue;
        }
        let text = |name: &str| reply(&fs::read_to_string(case.join(name)).unwrap_or_else(|error| panic!("{}/{name}: {error}", case.display())));
        let outcomes = if name.starts_with("reply-") {
            settings.outcome(&batch, &text(name), now())
        } else if name.starts_with("confirm-") {
            let awaiting: Vec<Awaiting> = batch.iter().zip(settings.outcome(&batch, &text("reply-ok.http"), now())).filter_map(awaited).collect();
            let requests: Vec<_> = awaiting.iter().map(|awaiting| settings.confirm(awaiting).expect("a confirmation")).collect();
            assert!(requests.windows(2).all(|pair| pair[0] == pair[1]), "one question for the whole batch");
            agree(&case.join("confirm.http"), &requests[0].to_text(), differing);
            settings.confirmed(&awaiting, &text(name), now())
        } else {
            continue;
        };
        assert_eq!(outcomes.len(), batch.len(), "{}: one verdict per event", path.display());
        agree(&path.with_extension("outcome"), &outcomes.iter().map(verdict).collect::<String>(), differing);
    }
}

/// Addresses and numbers of people are never sent as they are. Golden cases hold none that stands elsewhere in the request for good reason.
fn nothing_raw(events: &Value, text: &str, case: &Path) {
    for event in events.as_array().unwrap_or(&vec![events.clone()]) {
        let of = |who: &Value| {
            ["email", "phone", "first_name", "last_name", "city"].map(|key| who[key].as_str().unwrap_or_default().trim().to_lowercase())
        };
        for raw in of(&event["payload"]["who"]).into_iter().chain(of(&event["who"])).filter(|raw| raw.len() > 3) {
            assert!(!text.to_lowercase().contains(&raw), "{}: {raw:?} is in the request", case.display());
        }
    }
}

fn awaited((delivery, outcome): (&Delivery, Outcome)) -> Option<Awaiting> {
    let Outcome::Accepted { answer: Some(answer) } = outcome else { return None };
    Some(Awaiting { event: delivery.event.id, reference: delivery.event.reference.clone(), said: delivery.said.clone(), answer })
}

#[test]
fn golden_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut differing = Vec::new();
    for platform in Settings::KNOWN {
        let cases = directories(&root.join(platform));
        assert!(cases.len() >= 4, "{platform}: golden cases are missing");
        cases.iter().for_each(|path| case(platform, path, &mut differing));
    }
    assert!(differing.is_empty(), "these differ:\n{}", differing.join("\n"));
}

/// What may come in place of an answer, and what a platform may say: no adapter panics, none takes it for a delivery, and each
/// gives one verdict per event.
#[test]
fn golden_misfortunes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for platform in Settings::KNOWN.iter().filter(|platform| **platform != "postback") {
        for case in directories(&root.join(platform)) {
            let read = |name: &str| fs::read_to_string(case.join(name)).expect("readable");
            let mut table: toml::Table = read("settings.toml").parse().expect("TOML");
            table.remove("mode");
            let settings = Settings::parse(platform, &table, &resolve).expect("settings");
            let events: Value = serde_json::from_str(&read("event.json")).expect("JSON");
            let batch: Vec<Delivery> = events.as_array().unwrap_or(&vec![events.clone()]).iter().map(|event| delivery(event, &settings)).collect();
            for (text, wanted) in [
                ("500", "retry"),
                ("503\nRetry-After: 30\n\n<html>", "retry"),
                ("429\nRetry-After: 30\n\n{}", "retry"),
                ("502\n\n<html><body>Bad gateway", "retry"),
                ("401\n\n{}", "halted"),
            ] {
                let outcomes = settings.outcome(&batch, &reply(text), now());
                assert_eq!(outcomes.len(), batch.len());
                for outcome in outcomes {
                    assert!(verdict(&outcome).starts_with(wanted), "{}: {text:?}: {}", case.display(), verdict(&outcome));
                }
            }
            for text in ["200\n\n[]", "200\n\n{\"error\": 7, \"data\": []}", "400\n\nnull", "302\nLocation: /login", "207\n\n{\"a\": {}}"] {
                assert_eq!(settings.outcome(&batch, &reply(text), now()).len(), batch.len());
            }
        }
    }
}

#[test]
fn golden_examples_parse() {
    let mut count = 0;
    for directory in ["examples/postback", "examples/platforms"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).expect("examples") {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("readable");
            // Keys that are commented out are examples too.
            let every: String = text
                .lines()
                .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#'])).unwrap_or(line).to_owned() + "\n")
                .collect();
            let texts = if directory.ends_with("platforms") { vec![text, every] } else { vec![text] };
            for text in texts {
                let file: toml::Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                for (name, table) in file["destination"].as_table().expect("destinations") {
                    let mut table = table.as_table().expect("a table").clone();
                    let platform = table.remove("platform").expect("a platform");
                    for common in ["kinds", "when", "consent", "click", "mode", "start", "deadline", "hold", "value", "retry", "per_hour"] {
                        table.remove(common);
                    }
                    Settings::parse(platform.as_str().expect("a text"), &table, &resolve)
                        .unwrap_or_else(|error| panic!("{} {name}: {}: {error}", path.display(), error.key));
                    count += 1;
                }
            }
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
fn golden_mistakes_of_platforms_name_the_key() {
    let oauth = "oauth = { client_id = 'c', refresh_token = { env = 'R' } }";
    for (platform, text, key, word) in [
        ("meta", "access_token = 't'", "dataset", "it is missing"),
        ("meta", "dataset = 'shop'\naccess_token = 't'", "dataset", "digits"),
        ("meta", "dataset = 1", "access_token", "{ credential ="),
        ("meta", "dataset = 1\naccess_token = 't'\nversion = '26'", "version", "v26.0"),
        ("meta", "dataset = 1\naccess_token = 't'\naction_source = 'web'", "action_source", "website"),
        ("meta", "dataset = 1\naccess_token = 't'\nbatch = 1001", "batch", "between 1 and 1000"),
        ("meta", "dataset = 1\naccess_token = 't'\nbatch_wait = '1h'", "batch_wait", "at most 10m"),
        ("meta", "dataset = 1\naccess_token = 't'\nnames = { purchse = 'x' }", "names.purchse", "did you mean purchase"),
        ("meta", "dataset = 1\naccess_token = 't'\nbase_url = 'graph.facebook.com'", "base_url", "https://graph.facebook.com"),
        ("meta", "dataset = 1\nacces_token = 't'", "acces_token", "did you mean access_token"),
        ("google_data_manager", "account = 1", "actions", "actions = { purchase"),
        ("google_data_manager", "account = 1\nactions = { purchase = 'buy' }", "actions.purchase", "digits"),
        ("google_data_manager", "account = 1\nactions = { purchase = 1, refund = 2 }", "actions.refund", "leave it out"),
        ("google_data_manager", "account = 1\nactions = { purchase = 1 }", "oauth", "it is missing"),
        ("google_data_manager", "account = 1\nactions = { purchase = 1 }\noauth = { client_id = 'c' }", "oauth", "refresh_token is missing"),
        ("google_data_manager", &format!("account = 1\nactions = {{ purchase = 1 }}\n{oauth}\nservice_account = 's'"), "oauth", "not both"),
        ("google_ads", "account = 'shop'", "account", "digits"),
        ("google_ads", "account = 1", "developer_token", "{ credential ="),
        ("google_ads", "account = 1\ndeveloper_token = 'd'", "actions", "actions = { purchase"),
        ("google_ads", "account = 1\ndeveloper_token = 'd'\nactions = { purchase = 'buy' }", "actions.purchase", "digits"),
        ("google_ads", "account = 1\ndeveloper_token = 'd'\nactions = { purchase = 1, refund = 2 }", "actions.refund", "leave it out"),
        ("google_ads", "account = 1\ndeveloper_token = 'd'\nactions = { purchase = 1 }", "oauth", "it is missing"),
        ("google_ads", &format!("account = 1\ndeveloper_token = 'd'\nactions = {{ purchase = 1 }}\n{oauth}\nversion = '26'"), "version", "v26"),
        (
            "google_ads",
            &format!("account = 1\ndeveloper_token = 'd'\nactions = {{ purchase = 1 }}\n{oauth}\nrefund_max_age = '55d'"),
            "refund_max_age",
            "at most 54d",
        ),
        (
            "google_ads",
            &format!("account = 1\ndeveloper_token = 'd'\nactions = {{ purchase = 1 }}\n{oauth}\nmerchant_id = 'm'"),
            "merchant_id",
            "digits",
        ),
        ("ga4", "api_secret = 's'", "measurement_id", "it is missing"),
        ("ga4", "measurement_id = 'UA-1-1'\napi_secret = 's'", "measurement_id", "begins with G-"),
        ("ga4", "measurement_id = 'G-A'", "api_secret", "{ credential ="),
        ("ga4", "measurement_id = 'G-A'\napi_secret = 's'\nnames = { install = 'first_open' }", "names.install", "for itself"),
        ("ga4", "measurement_id = 'G-A'\napi_secret = 's'\nnames = { lead = 'a lead' }", "names.lead", "letters, digits"),
        ("ga4", "measurement_id = 'G-A'\napi_secret = 's'\nresend = 'safe'", "resend", "never, purchases"),
        ("ga4", "measurement_id = 'G-A'\napi_secret = 's'\ndebug_view = 1", "debug_view", "true or false"),
        ("awin", "api_key = 'k'", "advertiser", "it is missing"),
        ("awin", "advertiser = 1\ntimezone = 'London'", "timezone", "Europe/London"),
        ("awin", "advertiser = 1\ncustom = { a = 'b' }", "custom.a", "numbers"),
        ("awin", "advertiser = 1\nbatch_wait = '5m'", "batch_wait", "at most 1m"),
        ("awin", "advertiser = 1\nbatch = 1000", "batch", "between 1 and 250"),
        ("microsoft", "account = 1\ncustomer = 2", "goals", "offline conversion goals"),
        ("microsoft", "goals = { purchase = 'Sale', refund = 'Back' }", "goals.refund", "leave it out"),
        ("microsoft", "account = 'X000ABCD'\ngoals = { purchase = 'Sale' }", "account", "digits"),
        ("microsoft", "account = 1\ncustomer = 2\ngoals = { purchase = 'Sale' }", "developer_token", "{ credential ="),
        ("microsoft", "account = 1\ncustomer = 2\ngoals = { purchase = 'Sale' }\ndeveloper_token = 't'", "oauth", "it is missing"),
        (
            "microsoft",
            &format!("account = 1\ncustomer = 2\ngoals = {{ purchase = 'Sale' }}\ndeveloper_token = 't'\n{oauth}\nuser_data = 'always'"),
            "user_data",
            "without_click",
        ),
        (
            "microsoft",
            &format!("account = 1\ncustomer = 2\ngoals = {{ purchase = 'Sale' }}\ndeveloper_token = 't'\n{oauth}\nmax_age = '91d'"),
            "max_age",
            "at most 90d",
        ),
        ("microsoft", "tag = 7\naccess_token = 't'", "access_token", "set that"),
        ("microsoft", "api = 'capi'\ngoals = { purchase = 'Sale' }", "goals", "only api = \"offline\""),
        ("microsoft", "api = 'uet'", "api", "offline, capi"),
        ("microsoft", "api = 'capi'\naccess_token = 't'", "tag", "it is missing"),
        ("microsoft", "api = 'capi'\ntag = 7\naccess_token = 't'\nnames = { refund = 'Back' }", "names.refund", "takes no refunds"),
        ("microsoft", "api = 'capi'\ntag = 7\naccess_token = 't'\nmax_age = '8d'", "max_age", "at most 7d"),
        ("microsoft", "api = 'capi'\ntag = 7\naccess_token = 't'\nuser_dat = 'send'", "user_dat", "unknown key"),
        ("tiktok", "access_token = 't'", "event_source_id", "it is missing"),
        ("tiktok", "event_source_id = 'a/b'\naccess_token = 't'", "event_source_id", "letters, digits"),
        ("tiktok", "event_source_id = 'C4'", "access_token", "{ credential ="),
        ("tiktok", "event_source_id = 'C4'\naccess_token = 'ü'", "access_token", "header cannot carry"),
        ("tiktok", "event_source_id = 'C4'\naccess_token = 't'\nevent_source = 'app'", "event_source", "web, offline"),
        ("tiktok", "event_source_id = 'C4'\naccess_token = 't'\nmax_age = '29d'", "max_age", "at most 28d"),
        ("tiktok", "event_source_id = 'C4'\naccess_token = 't'\nversion = '1.3'", "version", "v1.3"),
        ("tiktok", "pixel = 'C4'\naccess_token = 't'", "pixel", "unknown key"),
        ("snapchat", "access_token = 't'", "pixel", "it is missing"),
        ("snapchat", "pixel = '../x'\naccess_token = 't'", "pixel", "letters, digits"),
        ("snapchat", "pixel = 'p'", "access_token", "{ credential ="),
        ("snapchat", "pixel = 'p'\naccess_token = 't'\naction_source = 'WEB'", "action_source", "web, offline"),
        ("snapchat", "pixel = 'p'\naccess_token = 't'\nlimited_data_use_as = 'ldu'", "limited_data_use_as", "LDU"),
        ("snapchat", "pixel = 'p'\naccess_token = 't'\nbatch = 2001", "batch", "between 1 and 2000"),
        ("snapchat", "pixel = 'p'\naccess_token = 't'\nrefunds = 'event'", "refunds", "unknown key"),
        ("pinterest", "access_token = 't'", "ad_account", "it is missing"),
        ("pinterest", "ad_account = 'shop'\naccess_token = 't'", "ad_account", "digits"),
        ("pinterest", "ad_account = 1", "access_token", "{ credential ="),
        ("pinterest", "ad_account = 1\naccess_token = 't'\naction_source = 'website'", "action_source", "web, app_ios"),
        ("pinterest", "ad_account = 1\naccess_token = 't'\napp_id = 7", "app_id", "app_android"),
        ("pinterest", "ad_account = 1\naccess_token = 't'\nresend = '48h'", "resend", "24h, 1h, never"),
        ("pinterest", "ad_account = 1\naccess_token = 't'\nmax_age = '91d'", "max_age", "at most 90d"),
        ("impact", "account = 'a/b'\nevent_types = { purchase = 1 }", "account", "IRabc"),
        ("impact", "account = 'a'\nauth_token = 't'\ncampaign = 1", "event_types", "event_types = { purchase"),
        ("impact", "account = 'a'\nauth_token = 't'\ncampaign = 1\nevent_types = { purchase = 'SALE' }", "event_types.purchase", "digits"),
        ("impact", "account = 'a'\nauth_token = 't'\ncampaign = 1\nevent_types = { purchase = 1, refund = 2 }", "event_types.refund", "leave it out"),
        (
            "impact",
            "account = 'a'\nauth_token = 't'\ncampaign = 1\nevent_types = { purchase = 1 }\nreason = 'item returned'",
            "reason",
            "ITEM_RETURNED",
        ),
        ("impact", "account = 'a'\nauth_token = 't'\ncampaign = 1\nevent_types = { purchase = 1 }\nrefund_max_age = '9y'", "refund_max_age", "60d"),
        ("cj", "enterprise = 1\nactions = { purchase = 1 }", "token", "{ credential ="),
        ("cj", "token = 't'", "items", "item-based"),
        ("cj", "api = 'get'\nitems = 'send'\nenterprise = 1\nactions = { purchase = 'x' }", "actions.purchase", "digits"),
        ("cj", "api = 'get'\nitems = 'send'\ncompany = 7", "company", "set token"),
        ("cj", "token = 't'\nsignature = 's'", "signature", "api = \"get\""),
        ("cj", "api = 'grahpql'", "api", "did you mean graphql"),
        ("cj", "token = 't'\nitems = 'send'\nenterprise = 1\nactions = { purchase = 1 }\nbatch = 501", "batch", "between 1 and 500"),
        ("rakuten", "", "merchant", "it is missing"),
        ("rakuten", "merchant = 'shop'", "merchant", "digits"),
        ("rakuten", "merchant = 1\namounts = 'cent'", "amounts", "did you mean cents"),
        ("rakuten", "merchant = 1\nkey = 's'", "key", "unknown key"),
        ("appsflyer", "s2s_key = 'k'", "apps", "apps = { ios ="),
        ("appsflyer", "apps = { ios = 123456789 }\ns2s_key = 'k'", "apps.ios", "id123456789"),
        ("appsflyer", "apps = { android = '123456789' }\ns2s_key = 'k'", "apps.android", "com.example.shop"),
        ("appsflyer", "apps = { androd = 'a' }\ns2s_key = 'k'", "apps.androd", "did you mean android"),
        ("appsflyer", "apps = { android = 'a/b' }\ns2s_key = 'k'", "apps.android", "letters, digits"),
        ("appsflyer", "apps = { android = 'a' }", "s2s_key", "{ credential ="),
        ("appsflyer", "apps = { android = 'a' }\ns2s_key = 'k'\nrefunds = 'event'", "refunds", "negative, none"),
        ("adjust", "events = { purchase = 'f0ob4r' }", "app_token", "it is missing"),
        ("adjust", "app_token = 'a'", "events", "events = { purchase = \"f0ob4r\" }"),
        ("adjust", "app_token = 'a'\nevents = { purchase = 'a purchase' }", "events.purchase", "letters and digits"),
        ("adjust", "app_token = 'a'\nevents = { purchase = 'x' }\nrefunds = 'negative'", "events", "refund ="),
        ("adjust", "app_token = 'a'\nevents = { purchase = 'x' }\ntoken = 7", "token", "a secret is"),
        ("singular", "sdk_key = 'k'", "apps", "com.example.shop"),
        ("singular", "apps = { ios = 'a' }", "sdk_key", "{ credential ="),
        ("singular", "apps = { ios = 'a' }\nsdk_key = 'k'\nversion = 'v3'", "version", "v1, v2"),
        ("singular", "apps = { ios = 'a' }\nsdk_key = 'k'\nnames = { lead = 'käufer' }", "names.lead", "32 ASCII"),
        (
            "singular",
            "apps = { ios = 'a' }\nsdk_key = 'k'\nnames = { lead = 'a_name_that_is_longer_than_32_characters' }",
            "names.lead",
            "these are 40",
        ),
    ] {
        let table: toml::Table = text.parse().expect("TOML");
        let error = Settings::parse(platform, &table, &resolve).map(|_| ()).expect_err(text);
        assert!(error.key == key && error.message.contains(word), "{platform} {text}\n{}: {}", error.key, error.message);
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
    let warnings = |text: &str| settings(text).expect(text).warnings(&kinds, now()).join("; ");
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
