//! Every macro at every position, filled with whatever a buyer may type: a value may be refused, but it never changes the
//! structure of a request.

use std::sync::LazyLock;

use postbackd::platform::{Settings, postback::MACROS};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::{delivery, now, resolve};

/// Pieces that have broken out of something somewhere.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "&",
            "=",
            "%",
            "%00",
            "%0d%0a",
            "%2e%2e%2f",
            "..",
            "/",
            "\\",
            "\"",
            "'",
            "#",
            "?",
            ";",
            "+",
            " ",
            "\r\n",
            "\n",
            "\0",
            "\t",
            "\u{1b}",
            "{{",
            "}}",
            "{% raw %}",
            "{{ secret.token }}",
            "\u{2028}",
            "\u{202e}",
            "\u{fdd0}",
            "\u{fdd1}",
            "\\u0000",
            "\\ud800",
            "<",
            ">",
            "null",
            "]}",
            "\",\"b\":2,\"x\":\"",
            "&b=2",
            "X-Evil: 1",
            "ü",
            "漢",
            "🛒",
            "a",
            "0",
            "-1",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A purchase or a refund in which everything that can be text is this text.
fn story(kind: &str, text: &str) -> Value {
    let who = json!({"cid": text, "email": text, "phone": text, "first_name": text, "country": text, "ip": text});
    let more =
        json!({"coupon": text, "new_customer": text, "custom": {"x": text, text: text}, "items": [{"id": text, "quantity": text, "price": "1.00"}]});
    let payload = match kind {
        "refund" => json!({"refund_ref": text, "amount": "2.50", "who": who, "more": more}),
        _ => json!({"value": "10.50", "currency": "EUR", "who": who, "more": more}),
    };
    let mut story = json!({"kind": kind, "ref": text, "payload": payload});
    if kind == "refund" {
        let said = json!({"value": "10.50", "currency": "EUR", "at": "2026-03-01T10:00:00Z", "click": {"cid": text}, "name": text});
        story["refund"] =
            json!({"total": "2.50", "remaining": "8.00", "full": false, "answer": {"id": text}, "purchase": {"said": said, "more": more}});
    }
    story
}

/// What can stand between the braces: every macro, and paths into those that are objects.
fn expressions() -> Vec<String> {
    let mut all: Vec<String> = MACROS.iter().map(|name| (*name).to_owned()).collect();
    all.extend(
        [
            "who.cid",
            "who.email",
            "more.coupon",
            "more.custom.x",
            "more.custom",
            "items[0].id",
            "click.cid",
            "purchase.event_id",
            "purchase.click.cid",
            "answer.id",
        ]
        .map(str::to_owned),
    );
    all
}

/// Position, and the settings that put an expression there.
const POSITIONS: [(&str, &str); 9] = [
    ("path", "url = 'https://t.example/p/{{ X }}/end?b=1'"),
    ("query", "url = 'https://t.example/p?a={{ X }}&b=1'"),
    ("query table", "url = 'https://t.example/p'\nquery = { a = '{{ X }}', b = '1' }"),
    ("form table", "url = 'https://t.example/p'\nmethod = 'POST'\nform = { a = '{{ X }}', b = '1' }"),
    ("form body", "url = 'https://t.example/p'\nmethod = 'POST'\nbody_type = 'form'\nbody = 'a={{ X }}&b=1'"),
    ("json in quotes", "url = 'https://t.example/p'\nmethod = 'POST'\nbody_type = 'json'\nbody = '{\"a\": \"<{{ X }}>\", \"b\": 1}'"),
    ("json bare", "url = 'https://t.example/p'\nmethod = 'POST'\nbody_type = 'json'\nbody = '{\"a\": {{ X }}, \"b\": 1}'"),
    ("header", "url = 'https://t.example/p?b=1'\nheaders = { X-A = 'v {{ X }}' }"),
    ("text", "url = 'https://t.example/p?b=1'\nmethod = 'POST'\nbody_type = 'text'\nbody = 'v {{ X }}'"),
];

fn settings(position: &str, expression: &str) -> Option<Settings> {
    let text = format!(
        "{}\nallow_pii = true\nallow_empty = true\nclick_param = 'cid'\nrefunds = 'event'\nsecrets.token = {{ env = 'TOKEN' }}",
        position.replace('X', expression).replace(&format!("{expression}-A"), "X-A")
    );
    Settings::parse("postback", &toml::from_str(&text).expect("TOML"), &resolve).ok()
}

/// Every expression at every position where the configuration takes it.
static TABLE: LazyLock<Vec<(&str, String, Settings)>> = LazyLock::new(|| {
    let all = POSITIONS.iter().flat_map(|(name, position)| expressions().into_iter().map(move |expression| (*name, *position, expression)));
    all.filter_map(|(name, position, expression)| settings(position, &expression).map(|settings| (name, expression, settings))).collect()
});

fn keys(pairs: url::form_urlencoded::Parse<'_>) -> Vec<String> {
    pairs.map(|(key, _)| key.into_owned()).collect()
}

/// The structure of the request is the template's own.
fn intact(position: &str, request: &postbackd::request::Request) -> Result<(), TestCaseError> {
    prop_assert!(request.url.bytes().all(|byte| byte.is_ascii_graphic()), "{}", request.url);
    let url = url::Url::parse(&request.url).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!((url.scheme(), url.host_str(), url.port(), url.fragment(), url.username()), ("https", Some("t.example"), None, None, ""));
    let segments = url.path_segments().map_or(0, Iterator::count);
    prop_assert_eq!(segments, if position == "path" { 3 } else { 1 });
    for (name, value) in &request.headers {
        prop_assert!(!name.chars().chain(value.chars()).any(char::is_control), "{name}");
    }
    let query = keys(url.query_pairs());
    match position {
        "path" | "header" | "text" => prop_assert_eq!(query, ["b"]),
        // An entry of a table whose value is empty is left out.
        "query table" => prop_assert!(query == ["a", "b"] || query == ["b"]),
        "query" => prop_assert_eq!(query, ["a", "b"]),
        "form table" | "form body" => {
            let form = keys(url::form_urlencoded::parse(&request.body));
            prop_assert!(form == ["a", "b"] || position == "form table" && form == ["b"], "{form:?}");
        }
        _ => {
            let body: Value = serde_json::from_slice(&request.body).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let object = body.as_object().ok_or_else(|| TestCaseError::fail("not an object"))?;
            prop_assert_eq!(object.keys().collect::<Vec<_>>(), ["a", "b"]);
            prop_assert_eq!(body["b"].to_string(), "1");
            prop_assert!(position != "json in quotes" || body["a"].as_str().is_some_and(|a| a.starts_with('<') && a.ends_with('>')));
        }
    }
    Ok(())
}

#[test]
fn every_macro_stands_somewhere() {
    // Parts of a longer expression only.
    for expression in expressions().iter().filter(|name| !["loop", "separator", "secret"].contains(&name.as_str())) {
        assert!(
            TABLE.iter().any(|(_, taken, _)| taken == expression),
            "{expression} is accepted nowhere: the test below would pass without looking at it"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_changes_the_structure_of_a_request(text in nasty(), refund in any::<bool>()) {
        let story = story(if refund { "refund" } else { "purchase" }, &text);
        let mut built = 0;
        for (position, expression, settings) in TABLE.iter() {
            let batch = [delivery(&story, settings)];
            let first = settings.request(&batch, now());
            prop_assert_eq!(&first, &settings.request(&batch, now()), "the same input gives the same bytes");
            if let Ok(request) = first {
                built += 1;
                intact(position, &request).map_err(|error| TestCaseError::fail(format!("{expression} in {position}: {error}\n{}", request.to_text())))?;
            }
        }
        prop_assert!(built > 100, "only {built} requests were built");
    }

    #[test]
    fn any_answer_gets_one_verdict(status in 100u16..600, body in prop::collection::vec(any::<u8>(), 0..200), header in nasty()) {
        let settings = settings(POSITIONS[1].1, "order_id").expect("settings");
        let reply = postbackd::outcome::Reply { status, headers: vec![("retry-after".into(), header)], body, cut: false };
        prop_assert_eq!(settings.outcome(&[delivery(&story("purchase", "1"), &settings)], &reply, now()).len(), 1);
    }
}
