//! Any event that can be read at all, through every destination of the golden cases: a request or a refusal, the same every
//! time, and one verdict per delivery whatever the platform answers.

use std::{fs, path::Path, sync::LazyLock};

use postbackd::{
    delivery::Delivery,
    event::{Event, Kind, decimal},
    outcome::Reply,
    platform::Settings,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::values::{self, CANARY};
use crate::golden::{delivered, delivery, now, resolve};

/// One destination that uses everything, and those of the golden cases.
static DESTINATIONS: LazyLock<Vec<Settings>> = LazyLock::new(|| {
    let everything = r#"
        url = "https://t.example/{{ order_id }}?a={{ amount | decimal(12) }}&u={{ amount | micros }}&m={{ amount | minor }}&n={{ amount | negate }}"
        query = { items = "{{ items_sku }}{{ items_qty }}{{ items_amount }}{{ quantity }}", left = "{{ remaining }}{{ refunded_total }}" }
        body_type = "json"
        body = '''{"who": {{ who }}, "more": {{ more }}, "items": [{% for item in items %}{{ item.price }}, {% endfor %}0], "answer": {{ answer }},
          "e": "{{ sha256_email }}{{ sha256_phone }}", "at": "{{ time }}{{ now_us }}", "p": {{ purchase.value }}, "k": "{{ purchase.more | tojson }}"}'''
        headers = { X-Id = "{{ event_id | urlencode }}" }
        allow_pii = true
        allow_empty = true
        refunds = "negative"
        auth = { basic = { user = "u", password = { env = "P" } } }
        sign = { over = "query", key = { env = "K" }, name = "sig" }
        success = [200, 302]
        success_pattern = '(?s)^.{2,}$'
        failure_pattern = 'no|[^\x00-\x7f]'
        duplicate_pattern = 'known'
        retry_pattern = '(?i)retry|"again"\s*:\s*true'
        halt = [401, 599]
        answer = { id = "/id", deep = "/b/0/id", word = 'id=(\w*)', any = '(?s)^(.*)$' }
    "#;
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/postback");
    let files = fs::read_dir(cases)
        .expect("golden cases")
        .map(|case| fs::read_to_string(case.expect("a case").path().join("settings.toml")).expect("settings"));
    let parse = |text: String| Settings::parse("postback", &text.parse().expect("TOML"), &resolve).expect("settings");
    std::iter::once(everything.to_owned()).chain(files).map(parse).collect()
});

/// A row as the database may hold it, and what the ledger may say of it.
fn row() -> impl Strategy<Value = Value> {
    // The ledger holds decimals only.
    let amount = || values::number().prop_filter_map("no decimal", |number| Some(Value::from(decimal(&number.to_string())?.to_string())));
    let who = values::object(values::value()).prop_map(Value::Object);
    let more = values::object(values::value()).prop_map(Value::Object);
    let payload = (values::value(), values::number(), amount(), prop::sample::select(&["EUR", "jpy", "KWD", "CLF", "XXX", "E", ""][..]), values::text(), who, more)
        .prop_map(|(other, value, amount, currency, refund_ref, who, more)| {
            json!({"value": value, "amount": amount, "currency": currency, "refund_ref": refund_ref, "who": who, "more": more, "other": other})
        });
    let click = prop::collection::btree_map("cid|gclid|clickid", values::text(), 0..3);
    let said = (amount(), prop::option::of(values::text()), click)
        .prop_map(|(value, name, click)| json!({"value": value, "currency": "JPY", "at": "2026-03-01T10:00:00Z", "click": click, "name": name}));
    let refund = (amount(), amount(), any::<bool>(), said, values::value(), values::object(values::value()))
        .prop_map(|(total, remaining, full, said, answer, more)| json!({"total": total, "remaining": remaining, "full": full, "answer": answer, "purchase": {"said": said, "more": more}}));
    let at = prop::sample::select(&["-009999-01-02T02:00:00Z", "1969-12-31T23:59:59.999999Z", "2026-02-28T23:59:60Z", "9999-12-30T22:00:00Z"][..]);
    (prop::sample::select(&Kind::ALL[..]), values::text(), payload, refund, at).prop_map(|(kind, reference, payload, refund, at)| {
        let mut row = json!({"kind": kind.as_str(), "ref": reference, "at": at, "payload": payload});
        if kind.takes_back() {
            row["refund"] = refund;
        }
        row
    })
}

/// The delivery, if the row can be read.
fn read(row: &Value, settings: &Settings) -> Option<Delivery> {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let event = Event::decode(7, text("kind"), text("ref"), &row["payload"].to_string(), text("at").parse().ok()?).ok()?;
    Some(delivered(event, row, settings))
}

fn reply() -> impl Strategy<Value = Reply> {
    let status = prop_oneof![prop::sample::select(&[200u16, 204, 302, 401, 408, 409, 425, 429, 500, 503, 599][..]), 0u16..1000];
    let name = prop_oneof![prop::sample::select(&["retry-after", "location", "content-type"][..]).prop_map(str::to_owned), values::text()];
    let seen = prop::sample::select(&["30", "-1", "99999999999999999999", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 99 Nov 9999 99:99:99 GMT"][..]);
    let headers = prop::collection::vec((name, prop_oneof![seen.prop_map(str::to_owned), values::text()]), 0..4);
    let words = prop::sample::select(&["known", "no", "retry", "{\"again\": true, \"id\": 1}", "id=", "id=7", "[[[["][..])
        .prop_map(|text| text.as_bytes().to_vec());
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        values::value().prop_map(|json| json.to_string().into_bytes()),
        words,
        values::text().prop_map(String::into_bytes),
        Just(b"[".repeat(64 * 1024)),
    ];
    (status, headers, body, any::<bool>()).prop_map(|(status, headers, body, cut)| Reply { status, headers, body, cut })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_event_makes_the_same_request_twice(row in row()) {
        for settings in DESTINATIONS.iter() {
            let Some(delivery) = read(&row, settings) else { continue };
            let first = settings.request(std::slice::from_ref(&delivery), now());
            prop_assert_eq!(&first, &settings.request(&[delivery], now()));
            if let Ok(request) = first {
                prop_assert!(request.url.parse::<hyper::Uri>().is_ok());
            }
        }
    }

    #[test]
    fn any_answer_gets_one_verdict_per_delivery(reply in reply(), count in 0usize..4) {
        let row = json!({"kind": "purchase", "ref": CANARY, "payload": {"value": "1", "currency": "EUR"}});
        for settings in DESTINATIONS.iter() {
            let batch = vec![delivery(&row, settings); count];
            let verdicts = settings.outcome(&batch, &reply, now());
            prop_assert_eq!(verdicts.len(), count);
            prop_assert_eq!(&verdicts, &settings.outcome(&batch, &reply, now()));
        }
    }
}

/// The generator makes readable rows of every kind, or the properties above would look at nothing.
#[test]
fn rows_of_every_kind_are_read_and_sent() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let rows: Vec<Value> = (0..600).map(|_| row().new_tree(&mut runner).expect("a row").current()).collect();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Enrich) {
        let of_kind = rows.iter().filter(|row| row["kind"] == kind.as_str());
        let sent =
            of_kind.filter(|row| read(row, &DESTINATIONS[0]).is_some_and(|delivery| DESTINATIONS[0].request(&[delivery], now()).is_ok())).count();
        assert!(sent > 0, "no {kind} was ever sent");
    }
}
