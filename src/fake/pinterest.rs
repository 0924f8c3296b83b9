//! Pinterest Conversions API v5.
//!
//! Types, required fields, answers and codes: Pinterest's OpenAPI document (GitHub pinterest/api-description, `v5/openapi.json`, operation
//! events/create), which refuses unknown fields. 20 events in test mode: <https://developers.pinterest.com/docs/conversions/conversions/>.

use serde_json::{Value, json};

use super::{
    look::{self, Faults, Look},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Pinterest;

const NAMES: &[&str] = &[
    "checkout",
    "signup",
    "lead",
    "app_install",
    "subscribe",
    "add_to_cart",
    "add_to_wishlist",
    "add_payment_info",
    "initiate_checkout",
    "page_visit",
    "view_category",
    "view_content",
    "search",
    "watch_video",
    "custom",
    "app_open",
    "contact",
];
const EVENT: &[&str] = &[
    "event_name",
    "action_source",
    "event_time",
    "event_id",
    "event_source_url",
    "opt_out",
    "partner_name",
    "user_data",
    "custom_data",
    "app_id",
    "app_name",
    "app_version",
    "device_brand",
    "device_carrier",
    "device_model",
    "device_type",
    "os_version",
    "wifi",
    "language",
];
const HASHED: &[&str] = &["em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id", "hashed_maids"];
const PLAIN: &[&str] = &["click_id", "client_ip_address", "client_user_agent", "partner_id"];
const CUSTOM: &[&str] = &[
    "currency",
    "value",
    "content_ids",
    "content_name",
    "content_category",
    "content_brand",
    "contents",
    "num_items",
    "order_id",
    "search_string",
    "opt_out_type",
    "np",
    "predicted_ltv",
];

impl Judge for Pinterest {
    fn name(&self) -> &'static str {
        "pinterest"
    }

    fn judge(&self, call: &Call, _: &Memory) -> Verdict {
        let (faults, body) = (Faults::default(), call.json());
        oauth::fixed(call.bearer(), "authorization", &faults);
        match (call.method.as_str(), call.parts().as_slice()) {
            ("POST", ["v5", "ad_accounts", account, "events"]) if look::digits(account) => {}
            ("GET", ["v5", "ad_accounts", account]) if look::digits(account) => return faults.verdict("probe"),
            _ => faults.add(Concern::Address, "path", "must be POST /v5/ad_accounts/ACCOUNT/events with the account's digits"),
        }
        let root = faults.look(&body);
        root.only(&["data"]);
        let data = root.at("data");
        if data.required() {
            data.list(1, if call.param("test") == Some("true") { 20 } else { 1000 });
        }
        let items = data.items().iter().map(|event| event_of(event, call)).collect();
        Verdict { items, ..faults.verdict("events") }
    }

    fn answer(&self, _: &Call, verdict: &Verdict, _: &mut Memory) -> Answer {
        let whole = verdict.faults.iter().filter(|fault| fault.concern != Concern::Item).min_by_key(|fault| fault.concern);
        if let Some(fault) = whole {
            let (status, code, message) = match fault.concern {
                Concern::Auth => (401, 2, "Authentication failed.".to_owned()),
                Concern::Address => (404, 1, "Not found.".to_owned()),
                _ => (400, 4196, format!("Invalid request: {} {}", fault.field, fault.rule)),
            };
            return super::json(status, &json!({"code": code, "message": message}));
        }
        if verdict.what == "probe" {
            return super::json(200, &json!({"id": "1", "name": "Fake"}));
        }
        let told: Vec<Value> = (0..verdict.items.len())
            .map(|n| match verdict.of_item(n) {
                None => json!({"status": "processed", "error_message": "", "warning_message": ""}),
                Some(fault) => json!({"status": "failed", "error_message": format!("{} {}", fault.field, fault.rule), "warning_message": ""}),
            })
            .collect();
        let processed = told.iter().filter(|one| one["status"] == "processed").count();
        let counts = json!({"num_events_received": told.len(), "num_events_processed": processed, "events": told});
        match processed == verdict.items.len() {
            true => super::json(200, &counts),
            false => super::json(422, &json!({"code": 4196, "message": "Some events failed", "details": counts})),
        }
    }

    fn throttled(&self, _: &Call) -> Answer {
        super::json(429, &json!({"code": 8, "message": "This request exceeded a rate limit."}))
    }
}

fn event_of(event: &Look<'_>, call: &Call) -> Item {
    event.only(EVENT);
    let (name, source) = (event.at("event_name"), event.at("action_source"));
    name.required();
    name.one_of(NAMES);
    source.required();
    source.one_of(&["web", "app_ios", "app_android", "offline"]);
    event.at("event_id").required();
    event.at("event_id").string();
    if event.at("event_time").required() {
        event.at("event_time").unix_seconds(call.now, 90);
    }
    event.at("event_source_url").is_text("must be the address of a page", look::web);
    event.at("opt_out").boolean();
    let user = event.at("user_data");
    if user.required() {
        user.only(&[HASHED, PLAIN].concat());
        for key in HASHED {
            user.at(key).list(0, 100);
            user.at(key).sha256();
        }
        PLAIN.iter().for_each(|key| user.at(key).plain());
        user.at("client_ip_address").is_text("must be an address of IP version 4 or 6", look::ip);
        let both = user.at("client_ip_address").there() && user.at("client_user_agent").there();
        let matched = user.at("em").there() || user.at("hashed_maids").there() || both;
        user.must(matched, "must have em, hashed_maids, or client_ip_address with client_user_agent");
    }
    let custom = event.at("custom_data");
    custom.only(CUSTOM);
    let (value, currency) = (custom.at("value"), custom.at("currency"));
    if name.text() == "checkout" {
        value.required();
    }
    if value.there() {
        currency.required();
    }
    value.is_text("must be 0 or more", |text| !text.starts_with('-'));
    value.money(currency.text());
    currency.currency();
    custom.at("order_id").string();
    custom.at("num_items").integer();
    custom.at("content_ids").each().iter().for_each(|id| {
        id.string();
    });
    for content in custom.at("contents").each() {
        content.only(&["id", "item_price", "quantity", "item_name", "item_brand", "item_category"]);
        content.at("item_price").string();
        content.at("quantity").integer();
    }
    Item { name: name.text().to_owned(), id: event.at("event_id").text().to_owned(), amount: look::amount(&value, &currency) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{
        script::Chance,
        testing::{self, HASH, NOW},
    };

    #[test]
    fn rules() {
        let body = json!({"data": [{
            "event_name": "checkout", "action_source": "web", "event_time": NOW - 60, "event_id": "order-10042", "event_source_url": "https://shop.example/done",
            "user_data": {"em": [HASH], "ph": [HASH], "external_id": [HASH], "click_id": "dj0yJnU9", "client_ip_address": "203.0.113.7", "client_user_agent": "Mozilla/5.0"},
            "custom_data": {"currency": "EUR", "value": "49.90", "order_id": "10042", "num_items": 1, "content_ids": ["SKU-1"],
                            "contents": [{"id": "SKU-1", "item_price": "49.90", "quantity": 1}]}}]});
        let good = testing::post("/v5/ad_accounts/549755885175/events", &body).with("authorization", "Bearer t");
        let memory = Memory::default();
        assert!(testing::taken(&Pinterest, &good, &memory, 200).body.contains(r#""num_events_processed":1"#));
        let wrong = r#""status":"failed""#;
        testing::table(
            &Pinterest,
            &good,
            &memory,
            &[
                ("/data/0/event_name", json!("purchase"), &format!("data[0].event_name must be one of {}", NAMES.join(", ")), 422, wrong),
                ("/data/0/event_id", Value::Null, "data[0].event_id is required and missing", 422, wrong),
                (
                    "/data/0/event_time",
                    json!(NOW * 1000),
                    "data[0].event_time must be Unix seconds, and these are milliseconds or smaller units",
                    422,
                    wrong,
                ),
                ("/data/0/action_source", json!("website"), "data[0].action_source must be one of web, app_ios, app_android, offline", 422, wrong),
                ("/data/0/user_data/em", json!(HASH), "data[0].user_data.em must be a list", 422, wrong),
                ("/data/0/user_data/em/0", json!("a@b.c"), "data[0].user_data.em[0] must be SHA-256 in 64 digits of lower-case hex", 422, wrong),
                ("/data/0/user_data/fbc", json!("x"), "data[0].user_data.fbc is no field of this platform", 422, wrong),
                ("/data/0/custom_data/value", json!(49.90), "data[0].custom_data.value must be a text", 422, wrong),
                ("/data/0/custom_data/currency", Value::Null, "data[0].custom_data.currency is required and missing", 422, wrong),
                ("/data/0/custom_data/num_items", json!("1"), "data[0].custom_data.num_items must be a whole JSON number", 422, wrong),
                ("/data/0/custom_data/contents/0/item_price", json!(49.90), "data[0].custom_data.contents[0].item_price must be a text", 422, wrong),
                ("/test", json!(true), "test is no field of this platform", 400, "4196"),
            ],
        );
        testing::refused(&Pinterest, &good.clone().without("authorization"), &memory, "authorization is required and missing", 401, "Authentication");
        testing::scripted(
            &Pinterest,
            &good,
            &memory,
            &[
                (Chance::Throttled, 429, "8"),
                (Chance::Down, 503, ""),
                (Chance::Expired, 401, ""),
                (Chance::Invalid, 400, "4196"),
                (Chance::Partial, 422, wrong),
            ],
        );
    }
}
