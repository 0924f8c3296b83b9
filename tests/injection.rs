//! Every macro and filter at every position of a request, filled with whatever a buyer may type: a value may be refused, but
//! it arrives as it is, and the request around it is the one that a harmless value makes.

mod positions;
mod values;
mod whole;

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::Timestamp;
use postbackd::{
    delivery::Delivery,
    platform::{Refusal, Settings, postback::MACROS},
    template::filters::FILTERS,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::{delivery, now};
use positions::{ALL, Parts, Position};
use values::{CANARY, FIXED};

/// A purchase or a refund in which everything that can be text is this text, and `custom.deep` is this JSON.
fn story(kind: &str, text: &str, deep: &Value) -> Value {
    let who = json!({"cid": text, "email": text, "phone": text, "first_name": text, "country": text, "ip": text, "deep": deep});
    let more = json!({"coupon": text, "new_customer": text, "custom": {"x": text, text: text, "deep": deep},
        "items": [{"id": text, "quantity": text, "price": "1.00", "deep": deep}, {"id": text, "quantity": 2, "price": text}]});
    let payload = match kind {
        "refund" => json!({"refund_ref": text, "amount": "2.50", "who": who, "more": more}),
        _ => json!({"value": "10.50", "currency": "EUR", "who": who, "more": more}),
    };
    let mut story = json!({"kind": kind, "ref": text, "payload": payload});
    if kind == "refund" {
        let said = json!({"value": "10.50", "currency": "EUR", "at": "2026-03-01T10:00:00Z", "click": {"cid": text}, "name": text});
        story["who"] = who;
        story["refund"] = json!({"total": "2.50", "remaining": "8.00", "full": false, "answer": {"id": text, "deep": deep}, "purchase": {"said": said, "more": more}});
    }
    story
}

/// Macros that print the story's text and nothing else, in every story.
const PLAIN: [&str; 7] = ["order_id", "click_id", "who.cid", "who.email", "more.coupon", "more.custom.x", "items[0].id"];

/// What can stand between the braces: every macro there is, paths into those that are objects, every filter there is, and
/// values as arguments of filters. A macro or filter that is new is in, or asked for here.
fn expressions() -> Vec<String> {
    let macros = MACROS.iter().map(|name| match *name {
        "loop" => "{% for item in items %}{{ loop.index }}{{ item.id }}{% endfor %}".to_owned(),
        "secret" => "secret.token".to_owned(),
        name => name.to_owned(),
    });
    let filters = FILTERS.iter().map(|name| match *name {
        "join" => "more.custom.deep | join(order_id)".to_owned(),
        "pluck" => "items | pluck('id')".to_owned(),
        "first" | "last" => format!("items | pluck('id') | {name}"),
        "default" => "more.nothing | default(order_id)".to_owned(),
        "replace" => "order_id | replace('a', order_id)".to_owned(),
        "truncate" => "order_id | truncate(3)".to_owned(),
        "hmac_sha256" | "hmac_sha1" | "hmac_md5" => format!("order_id | {name}(secret.token)"),
        "minor" => "more.custom.x | minor('EUR')".to_owned(),
        "decimal" => "more.custom.x | decimal(3)".to_owned(),
        "date" => "time | date('%A %d %B %Y')".to_owned(),
        "number" | "micros" | "negate" => format!("more.custom.x | {name}"),
        "lower" | "upper" | "trim" | "length" | "sha256" | "sha1" | "md5" | "base64" | "urlencode" | "tojson" | "email" | "phone" => {
            format!("order_id | {name}")
        }
        name => panic!("the filter {name:?} is new: say here how it is used"),
    });
    let more = [
        "click.cid",
        "purchase.event_id",
        "purchase.event",
        "purchase.click.cid",
        "purchase.more.coupon",
        "answer.id",
        "more.custom",
        "more.custom.deep",
        "who.deep",
        "answer.deep",
        "items[1].price",
        "order_id ~ '\"&' ~ more.coupon",
        "order_id if more.custom.x is equal(1) else more.coupon",
        "'x' | hmac_sha256(order_id)",
        "time | date(order_id)",
        "more.custom.x | date('%Y')",
        "amount | minor(order_id)",
        "items | pluck(order_id)",
        "more[order_id]",
        "{% if more.custom.x is above(1) %}{{ order_id }}{% endif %}",
        "{% if order_id is in(more.custom.deep) %}{{ order_id }}{% endif %}",
        "{% set x = more.coupon %}{{ x }}",
    ];
    macros.chain(filters).chain(PLAIN.map(str::to_owned)).chain(more.map(str::to_owned)).collect()
}

struct Cell<'a> {
    position: &'a Position,
    expression: String,
    settings: Settings,
}

/// Every expression at every position where the configuration takes it.
static TABLE: LazyLock<Vec<Cell<'static>>> = LazyLock::new(|| {
    let all = ALL.iter().flat_map(|position| expressions().into_iter().map(move |expression| (position, expression)));
    all.filter_map(|(position, expression)| Some(Cell { position, settings: position.with(&expression).ok()?, expression })).collect()
});

/// The shape of each position, from a value that can do no harm.
static SHAPES: LazyLock<BTreeMap<&str, String>> = LazyLock::new(|| {
    let plain = TABLE.iter().filter(|cell| cell.expression == "order_id");
    plain
        .map(|cell| (cell.position.name, cell.read(&delivery(&story("purchase", "7", &json!(7)), &cell.settings)).expect("harmless").shape))
        .collect()
});

impl Cell<'_> {
    /// The request as a receiver reads it, or why there is none.
    fn read(&self, delivery: &Delivery) -> Result<Parts, Refusal> {
        let request = self.settings.request(std::slice::from_ref(delivery), now())?;
        Ok(self.position.read(&request).unwrap_or_else(|| panic!("malformed: {} at {}\n{}", self.expression, self.position.name, request.to_text())))
    }
}

/// A value of a receiver as text: positions that have no JSON can only carry that.
fn printed(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Looks at every cell; answers how many requests there were.
fn holds(kind: &str, text: &str, deep: &Value) -> Result<usize, TestCaseError> {
    let story = story(kind, text, deep);
    let delivery = delivery(&story, &TABLE[0].settings);
    // What an expression prints, from the first position that took it.
    let mut prints: BTreeMap<&str, String> = PLAIN.iter().map(|name| (*name, text.to_owned())).collect();
    let mut built = 0;
    for cell in TABLE.iter() {
        let at = format!("{} at {}", cell.expression, cell.position.name);
        match cell.read(&delivery) {
            Ok(parts) => {
                built += 1;
                prop_assert_eq!(&parts.shape, &SHAPES[cell.position.name], "{}", &at);
                // Where JSON stands bare, text that is JSON already becomes part of it.
                let bare = matches!(cell.position.name, "json bare" | "json in a list") && cell.expression.ends_with("tojson");
                let found = if bare { parts.value.to_string() } else { printed(&parts.value) };
                let want = prints.entry(&cell.expression).or_insert_with(|| found.clone());
                match cell.position.name {
                    // Control characters become spaces there.
                    "text" => prop_assert_eq!(found, want.replace(|c: char| c.is_control() && c != '\t', " "), "{}", &at),
                    _ => prop_assert_eq!(&found, want, "{}", &at),
                }
            }
            Err(Refusal::Skip(why) | Refusal::Dead(why)) => prop_assert!(!why.contains(CANARY), "{at} tells a value: {why}"),
        }
    }
    Ok(built)
}

#[test]
fn every_macro_and_filter_stands_at_every_position() {
    let cells = ALL.iter().flat_map(|position| expressions().into_iter().map(move |expression| (position, expression)));
    // A block may print nothing or several things, which is no JSON where one value is wanted.
    let refused: Vec<String> = cells
        .filter(|(_, expression)| !expression.starts_with("{%"))
        .filter_map(|(position, expression)| Some(format!("{expression} at {}: {}", position.name, position.with(&expression).err()?)))
        .collect();
    assert!(refused.is_empty(), "these would be looked at by no test:\n{}", refused.join("\n"));
    for expression in expressions() {
        assert!(TABLE.iter().filter(|cell| cell.expression == expression).count() > 9, "{expression} is taken almost nowhere");
    }
}

#[test]
fn no_fixed_value_changes_a_request() {
    for text in FIXED {
        holds("refund", text, &json!([text, {*text: text}])).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    }
}

#[test]
fn neither_do_deep_ones() {
    let built = holds("refund", CANARY, &values::deep()).unwrap_or_else(|error| panic!("{error}"));
    assert!(built > TABLE.len() / 2, "{built}");
}

#[test]
fn a_key_that_stands_twice_in_json_is_refused() {
    for (body, twice) in [
        (r#"{"{{ order_id }}": 1, "b": 2}"#, true),
        (r#"{"b": 2, "{{ order_id }}": 1}"#, true),
        (r#"{"x": [{"{{ order_id }}": 1, "{{ more.coupon }}": 2}], "b": 1}"#, true),
        (r#"{"x": {"\u0062": 1, {{ order_id }}: 1}}"#, true),
        (r#"{"x": {"{{ order_id }}": 1}, "y": {"{{ order_id }}": 1}, "b": 1}"#, false),
    ] {
        let text = format!("url = 'https://t.example/'\nbody_type = 'json'\nbody = '{body}'");
        let settings = Settings::parse("postback", &toml::from_str(&text).expect("TOML"), &crate::golden::resolve).expect("settings");
        let request = settings.request(&[delivery(&story("purchase", "b", &json!(0)), &settings)], now());
        assert_eq!(request.is_err(), twice, "{body}");
        if let Err(refusal) = request {
            assert!(matches!(&refusal, Refusal::Dead(why) if why.contains("same key twice")), "{refusal:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_changes_a_request(text in values::text(), deep in values::value(), refund in any::<bool>()) {
        holds(if refund { "refund" } else { "purchase" }, &format!("{text}{CANARY}"), &deep)?;
    }
}

/// Megabytes fill a body; a request line of that length nobody takes, and that is said before it is tried.
#[test]
fn megabytes_are_carried_or_refused() {
    let text = "x&\"".repeat(350_000);
    let payload = json!({"value": "1", "currency": "EUR", "who": {"cid": text, "email": text}, "more": {"coupon": text, "custom": {"x": text}, "items": [{"id": text}]}});
    let story = json!({"kind": "purchase", "ref": text, "payload": payload});
    let expression = PLAIN.join(" ~ ");
    for position in &ALL {
        let settings = position.with(&expression).expect("settings");
        let cell = Cell { position, settings, expression: expression.clone() };
        match (cell.read(&delivery(&story, &cell.settings)), position.name) {
            (Err(Refusal::Dead(why)), "path" | "part of a path segment" | "query" | "query key" | "query table") => {
                assert!(why.contains("characters long"), "{why}")
            }
            (Ok(parts), name) => {
                assert_eq!(parts.shape, SHAPES[name]);
                assert!(parts.value == text.repeat(PLAIN.len()), "another value at {name}");
            }
            (Err(refusal), name) => panic!("at {name}: {refusal:?}"),
        }
    }
}

/// Every hour of the calendar that PostgreSQL can hold and a shop can mean.
#[test]
fn times_have_no_bounds_that_matter() {
    for cell in TABLE.iter().filter(|cell| cell.expression.contains("time") && cell.position.name == "json in quotes") {
        for at in ["-009999-01-02T02:00:00Z", "1969-12-31T23:59:59.999999Z", "9999-12-30T22:00:00Z"] {
            let mut delivery = delivery(&story("purchase", "7", &json!(7)), &cell.settings);
            delivery.said.at = at.parse::<Timestamp>().expect("a time");
            assert!(!matches!(cell.read(&delivery), Ok(parts) if parts.shape != SHAPES[cell.position.name]), "{at}");
        }
    }
}
