//! Meta Conversions API.
//!
//! Fields and types: the server-side objects of Meta's own SDK (PyPI facebook-business 26, `adobjects/serverside`) and
//! <https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/server-event>. A batch is taken or refused whole, events
//! are 7 days old at most: <https://developers.facebook.com/docs/marketing-api/conversions-api/using-the-api>. Codes of errors:
//! <https://developers.facebook.com/docs/graph-api/guides/error-handling>.

use serde_json::{Value, json};

use super::{
    look::{self, Faults, Look},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Meta;

const SOURCES: &[&str] = &["website", "app", "email", "phone_call", "chat", "physical_store", "system_generated", "business_messaging", "other"];
/// SHA-256 each, or lists of such. `external_id` may be hashed and need not be.
const HASHED: &[&str] = &["em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country"];
const PLAIN: &[&str] = &["client_ip_address", "client_user_agent", "fbc", "fbp", "subscription_id", "lead_id", "madid", "anon_id"];
const TOP: &[&str] =
    &["data", "access_token", "appsecret_proof", "test_event_code", "partner_agent", "namespace_id", "upload_id", "upload_tag", "upload_source"];

impl Judge for Meta {
    fn name(&self) -> &'static str {
        "meta"
    }

    fn judge(&self, call: &Call, _: &Memory) -> Verdict {
        let (faults, body) = (Faults::default(), call.json());
        let root = faults.look(&body);
        let token = call.param("access_token").or_else(|| call.bearer()).unwrap_or(root.at("access_token").text());
        oauth::fixed(Some(token), "access_token", &faults);
        match call.parts().as_slice() {
            [version, dataset, "events"] if call.method == "POST" => {
                let numbered = version.strip_prefix('v').and_then(|v| v.split_once('.')).is_some_and(|(a, b)| look::digits(a) && look::digits(b));
                if !numbered || !look::digits(dataset) {
                    faults.add(Concern::Address, "path", "must be /vN.N/DATASET/events with the dataset's digits");
                }
            }
            [_, dataset] if call.method == "GET" && look::digits(dataset) => return faults.verdict("probe"),
            _ => faults.add(Concern::Address, "path", "must be POST /vN.N/DATASET/events"),
        }
        root.only(TOP);
        root.at("test_event_code").string();
        let data = root.at("data");
        if data.required() {
            data.list(1, 1000);
        }
        let items = data.items().iter().map(|event| event_of(event, call)).collect();
        Verdict { items, ..faults.verdict("events") }
    }

    fn answer(&self, _: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer {
        let trace = format!("Fake{}", memory.number());
        let Some(fault) = verdict.worst() else {
            return match verdict.what {
                "events" => super::json(200, &json!({"events_received": verdict.items.len(), "messages": [], "fbtrace_id": trace})),
                _ => super::json(200, &json!({"id": "1"})),
            };
        };
        let (status, code, subcode) = match fault.concern {
            Concern::Auth if fault.rule.contains("missing") => (401, 190, None),
            Concern::Auth => (401, 190, Some(463)),
            Concern::Address => (400, 100, Some(33)),
            _ if fault.field.ends_with("event_time") => (400, 100, Some(2_804_003)),
            _ => (400, 100, Some(2_804_007)),
        };
        let text = format!("{} {}", fault.field, fault.rule);
        let mut error = json!({"message": "Invalid parameter", "type": "OAuthException", "code": code, "is_transient": false,
                               "error_user_title": "Fake platform", "error_user_msg": text, "fbtrace_id": trace});
        if let Some(subcode) = subcode {
            error["error_subcode"] = Value::from(subcode);
        }
        super::json(status, &json!({ "error": error }))
    }

    fn throttled(&self, _: &Call) -> Answer {
        let error = json!({"message": "Application request limit reached", "type": "OAuthException", "code": 4, "fbtrace_id": "Fake"});
        super::json(429, &json!({ "error": error }))
    }

    fn down(&self, _: &Call) -> Answer {
        let error = json!({"message": "An unknown error occurred", "type": "OAuthException", "code": 1, "is_transient": true, "fbtrace_id": "Fake"});
        super::json(500, &json!({ "error": error }))
    }
}

fn event_of(event: &Look<'_>, call: &Call) -> Item {
    let name = event.at("event_name");
    name.required();
    name.string();
    event.at("event_id").string();
    let source = event.at("action_source");
    if source.required() {
        source.one_of(SOURCES);
    }
    let time = event.at("event_time");
    if time.required() {
        time.unix_seconds(call.now, if source.text() == "physical_store" { 62 } else { 7 });
    }
    let user = event.at("user_data");
    if user.required() {
        HASHED.iter().for_each(|key| user.at(key).sha256());
        PLAIN.iter().for_each(|key| user.at(key).plain());
        user.at("client_ip_address").is_text("must be an address of IP version 4 or 6", look::ip);
        user.at("fbc").is_text("must be fb.N.MILLISECONDS.FBCLID", cookie);
        user.at("fbp").is_text("must be fb.N.MILLISECONDS.NUMBER", cookie);
        let matching = user.names().iter().any(|key| *key != "client_user_agent");
        user.must(matching || source.text() == "website", "must have something to match a person by");
    }
    if source.text() == "website" {
        event.at("event_source_url").required();
        user.at("client_user_agent").required();
    }
    event.at("event_source_url").is_text("must be the address of a page", look::web);
    let (custom, value, currency) = (event.at("custom_data"), event.at("custom_data").at("value"), event.at("custom_data").at("currency"));
    if name.text() == "Purchase" {
        value.required();
        currency.required();
    }
    value.number(0.0);
    value.money(currency.text());
    currency.is_text("must be three letters of ISO 4217", |text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()));
    custom.at("order_id").string();
    custom.at("content_type").one_of(&["product", "product_group"]);
    for content in custom.at("contents").each() {
        content.at("id").required();
        content.at("quantity").number(0.0);
        content.at("item_price").number(0.0);
    }
    let options = event.at("data_processing_options");
    options.list(0, 1);
    options.each().iter().for_each(|option| {
        option.one_of(&["LDU"]);
        event.at("data_processing_options_country").must(event.at("data_processing_options_country").integer().is_some(), "goes with LDU");
        event.at("data_processing_options_state").must(event.at("data_processing_options_state").integer().is_some(), "goes with LDU");
    });
    Item { name: name.text().to_owned(), id: event.at("event_id").text().to_owned(), amount: look::amount(&value, &currency) }
}

/// `fb.1.1794900000123.AbC`, with a fifth part in newer cookies.
fn cookie(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    (4..=5).contains(&parts.len())
        && parts[0] == "fb"
        && look::digits(parts[1])
        && parts[2].len() == 13
        && look::digits(parts[2])
        && !parts[3].is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{
        script::Chance,
        testing::{self, HASH, NOW},
    };

    fn good() -> Call {
        let body = json!({"data": [{
            "event_name": "Purchase", "event_time": NOW - 60, "event_id": "order-10042", "action_source": "website",
            "event_source_url": "https://shop.example/checkout/done",
            "user_data": {"em": [HASH], "ph": [HASH], "external_id": [HASH], "client_ip_address": "203.0.113.7", "client_user_agent": "Mozilla/5.0",
                          "fbc": "fb.1.1794900000123.AbCdEf", "fbp": "fb.1.1794800000123.987654321"},
            "custom_data": {"currency": "EUR", "value": 49.90, "order_id": "10042", "content_type": "product", "content_ids": ["SKU-1"],
                            "contents": [{"id": "SKU-1", "quantity": 1, "item_price": 49.90}]}}]});
        testing::post("/v26.0/123/events?access_token=t", &body)
    }

    #[test]
    fn rules() {
        let memory = Memory::default();
        let answer = testing::taken(&Meta, &good(), &memory, 200);
        assert!(answer.body.contains(r#""events_received":1"#));
        let wrong = "2804007";
        testing::table(
            &Meta,
            &good(),
            &memory,
            &[
                ("/data/0/event_name", Value::Null, "data[0].event_name is required and missing", 400, wrong),
                ("/data/0/event_time", json!(NOW - 8 * 86_400), "data[0].event_time is older than 7 days", 400, "2804003"),
                ("/data/0/event_time", json!(NOW + 3600), "data[0].event_time is in the future", 400, "2804003"),
                (
                    "/data/0/event_time",
                    json!(NOW * 1000),
                    "data[0].event_time must be Unix seconds, and these are milliseconds or smaller units",
                    400,
                    "2804003",
                ),
                ("/data/0/event_time", json!(NOW.to_string()), "data[0].event_time must be a whole JSON number", 400, "2804003"),
                ("/data/0/action_source", json!("web"), &format!("data[0].action_source must be one of {}", SOURCES.join(", ")), 400, wrong),
                ("/data/0/event_source_url", Value::Null, "data[0].event_source_url is required and missing", 400, wrong),
                ("/data/0/event_source_url", json!("shop"), "data[0].event_source_url must be the address of a page", 400, wrong),
                ("/data/0/user_data/client_user_agent", Value::Null, "data[0].user_data.client_user_agent is required and missing", 400, wrong),
                (
                    "/data/0/user_data/em/0",
                    json!("a@example.com"),
                    "data[0].user_data.em[0] must be SHA-256 in 64 digits of lower-case hex",
                    400,
                    wrong,
                ),
                (
                    "/data/0/user_data/ph/0",
                    json!(HASH.to_uppercase()),
                    "data[0].user_data.ph[0] must be SHA-256 in 64 digits of lower-case hex",
                    400,
                    wrong,
                ),
                (
                    "/data/0/user_data/client_user_agent",
                    json!(HASH),
                    "data[0].user_data.client_user_agent must be sent in clear, and this is a hash",
                    400,
                    wrong,
                ),
                ("/data/0/user_data/fbc", json!("AbCdEf"), "data[0].user_data.fbc must be fb.N.MILLISECONDS.FBCLID", 400, wrong),
                ("/data/0/user_data/fbc", json!("fb.1.1794900000.AbC"), "data[0].user_data.fbc must be fb.N.MILLISECONDS.FBCLID", 400, wrong),
                ("/data/0/custom_data/value", json!("49.90"), "data[0].custom_data.value must be a JSON number", 400, wrong),
                ("/data/0/custom_data/value", json!(-1), "data[0].custom_data.value must be 0 or more", 400, wrong),
                ("/data/0/custom_data/value", Value::Null, "data[0].custom_data.value is required and missing", 400, wrong),
                (
                    "/data/0/custom_data/currency",
                    json!("JPY"),
                    "data[0].custom_data.value has more than 0 digits behind the point, which JPY does not have",
                    400,
                    wrong,
                ),
                ("/data/0/custom_data/currency", json!("EURO"), "data[0].custom_data.currency must be three letters of ISO 4217", 400, wrong),
                ("/data/0/custom_data/contents/0/id", Value::Null, "data[0].custom_data.contents[0].id is required and missing", 400, wrong),
                ("/data", json!([]), "data is required and missing", 400, wrong),
                ("/events", json!([1]), "events is no field of this platform", 400, wrong),
            ],
        );
        testing::refused(&Meta, &good().at("/v26.0/pixel/events"), &memory, "path must be /vN.N/DATASET/events with the dataset's digits", 400, "33");
        let mut none = good();
        none.query.clear();
        testing::refused(&Meta, &none, &memory, "access_token is required and missing", 401, "190");
        testing::scripted(
            &Meta,
            &good(),
            &memory,
            &[
                (Chance::Throttled, 429, r#""code":4"#),
                (Chance::Down, 500, r#""is_transient":true"#),
                (Chance::Expired, 401, "463"),
                (Chance::Invalid, 400, wrong),
                (Chance::Partial, 400, wrong),
            ],
        );
    }
}
