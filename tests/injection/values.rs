//! What a buyer, a shop's form or a broken script may have put into an order: texts and JSON that have broken out of
//! something somewhere.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Stands in every nasty text, so that a message which repeats a value is seen.
pub const CANARY: &str = "Zq7canary";

/// Tried one by one, always.
pub const FIXED: &[&str] = &[
    "",
    " ",
    ".",
    "..",
    "../../etc",
    "%2e%2e/",
    "%2e%2e%2f",
    "%00",
    "%",
    "100%",
    "%zz",
    "%0d%0aX-Evil:%201",
    "a&b=c",
    "&b=2",
    "a=b",
    "a;b",
    "+ +",
    "#frag?x=1",
    "?",
    "/",
    "//evil.example/",
    "@evil.example",
    ":80",
    "\\",
    "\\\\",
    "\\\"",
    "\"",
    "\"quoted\"",
    "\",\"b\":2,\"x\":\"",
    "'",
    "]}",
    "b",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "79228162514264337593543950335",
    "\0",
    "nul\0nul",
    "\n",
    "line\nbreak\r\nX-Evil: 1\r\n\r\nGET / HTTP/1.1",
    "\t",
    "\u{7f}\u{1b}\u{85}",
    "\u{2028}\u{2029}",
    "\u{202e}rtl\u{200f}",
    "\u{feff}",
    "\u{fdd0}m61\u{fdd1}",
    "\\u0000",
    "\\ud800",
    "\\u0022",
    "{{ secret.token }}",
    "{% raw %}",
    "{#",
    "}}",
    "<script>",
    "ünï€ 漢字 🛒",
    "e\u{301}",
];

/// Texts made of the same pieces and of any character.
pub fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![3 => prop::sample::select(FIXED).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

/// Numbers that fit nowhere, and some that do.
pub fn number() -> impl Strategy<Value = Value> {
    const NUMBERS: &[&str] = &[
        "0",
        "-0",
        "1",
        "-1",
        "2.675",
        "0.0000000000000000000000000001",
        "79228162514264337593543950335",
        "-79228162514264337593543950335",
        "79228162514264337593543950336",
        "1e28",
        "1e300",
        "1E-30",
        "12345678901234567890.123456789",
    ];
    prop::sample::select(NUMBERS).prop_map(|text| serde_json::from_str(text).expect("a number"))
}

/// Any JSON, with the keys that adapters look for among others.
pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        number().prop_map(|n| n.to_string().into()),
        text().prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from);
        prop_oneof![list, object(inner).prop_map(Value::Object)]
    })
}

/// An object of such values.
pub fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    const KEYS: &[&str] = &["id", "price", "quantity", "items", "email", "phone", "cid", "gclid", "coupon", "new_customer", "custom", "country", "b"];
    let key = prop_oneof![2 => prop::sample::select(KEYS).prop_map(str::to_owned), 1 => text()];
    prop::collection::vec((key, inner), 0..8).prop_map(|entries| entries.into_iter().collect())
}

/// As deep as a payload can be read.
pub fn deep() -> Value {
    (0..60).fold(json!(CANARY), |inner, _| json!([{ "\"": inner }]))
}
