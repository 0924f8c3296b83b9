//! Snapchat Conversions API v3.
//!
//! Types: Snap's OpenAPI document (GitHub Snapchat/business-sdk-v3-java, `api/openapi.yaml`); rules and age: "Using the
//! API" of Conversions API at developers.snap.com. That failed items come as `error_records` with their index is a
//! third party's word.

use serde_json::{Value, json};

use super::{
    look::{self, Faults, Look},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Snapchat;

const NAMES: &[&str] = &[
    "PURCHASE",
    "SIGN_UP",
    "APP_INSTALL",
    "SUBSCRIBE",
    "START_TRIAL",
    "ADD_CART",
    "ADD_BILLING",
    "ADD_TO_WISHLIST",
    "START_CHECKOUT",
    "VIEW_CONTENT",
    "PAGE_VIEW",
    "LIST_VIEW",
    "SEARCH",
    "LOGIN",
    "SAVE",
    "SHARE",
    "INVITE",
    "RESERVE",
    "RATE",
    "SPENT_CREDITS",
    "LEVEL_COMPLETE",
    "ACHIEVEMENT_UNLOCKED",
    "COMPLETE_TUTORIAL",
    "AD_CLICK",
    "AD_VIEW",
    "APP_OPEN",
    "CUSTOM_EVENT_1",
    "CUSTOM_EVENT_2",
    "CUSTOM_EVENT_3",
    "CUSTOM_EVENT_4",
    "CUSTOM_EVENT_5",
];
const EVENT: &[&str] = &[
    "event_name",
    "action_source",
    "event_time",
    "event_id",
    "event_source_url",
    "user_data",
    "custom_data",
    "app_data",
    "data_processing_options",
    "data_processing_options_country",
    "data_processing_options_state",
    "integration",
    "test_event_code",
];

impl Judge for Snapchat {
    fn name(&self) -> &'static str {
        "snapchat"
    }

    fn judge(&self, call: &Call, _: &Memory) -> Verdict {
        let (faults, body) = (Faults::default(), call.json());
        match (call.method.as_str(), call.parts().as_slice()) {
            ("POST", ["v3", _, "events"] | ["v3", _, "events", "validate"]) => {}
            _ => faults.add(Concern::Address, "path", "must be POST /v3/PIXEL/events or its validate"),
        }
        oauth::fixed(call.param("access_token").or(call.bearer()), "access_token", &faults);
        let root = faults.look(&body);
        root.only(&["data", "test_event_code"]);
        let data = root.at("data");
        if data.required() {
            data.list(1, 2000);
        }
        let items = data.items().iter().map(|event| event_of(event, call)).collect();
        Verdict { items, ..faults.verdict("events") }
    }

    fn answer(&self, call: &Call, verdict: &Verdict, _: &mut Memory) -> Answer {
        let refusal =
            |status, fault: &super::Fault| super::json(status, &json!({"status": "FAILED", "reason": format!("{} {}", fault.field, fault.rule)}));
        match verdict.worst() {
            None if call.path.ends_with("/validate") => super::json(200, &json!({"status": "VALID"})),
            None => super::json(200, &json!({"status": "OK", "reason": "All events were received"})),
            Some(fault) => match fault.concern {
                Concern::Auth => refusal(401, fault),
                Concern::Address => refusal(404, fault),
                Concern::Request => refusal(400, fault),
                Concern::Item => {
                    let record = |n| Some(json!({"index": n, "reason": verdict.of_item(n).map(|fault| format!("{} {}", fault.field, fault.rule))?}));
                    let records: Vec<Value> = (0..verdict.items.len()).filter_map(record).collect();
                    let whole = records.len() == verdict.items.len();
                    let said =
                        json!({"status": if whole { "FAILED" } else { "PARTIAL" }, "reason": "Some events are invalid", "error_records": records});
                    super::json(if whole { 400 } else { 200 }, &said)
                }
            },
        }
    }
}

fn event_of(event: &Look<'_>, call: &Call) -> Item {
    event.only(EVENT);
    let (name, source) = (event.at("event_name"), event.at("action_source"));
    name.required();
    name.one_of(NAMES);
    source.required();
    source.one_of(&["WEB", "MOBILE_APP", "OFFLINE", "website", "app"]);
    event.at("event_id").string();
    if event.at("event_time").required() {
        event.at("event_time").unix_seconds(call.now, 37);
    }
    if matches!(source.text(), "WEB" | "website") {
        event.at("event_source_url").required();
    }
    event.at("event_source_url").is_text("must be the address of a page", look::web);
    let user = event.at("user_data");
    if user.required() {
        ["em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id"].iter().for_each(|key| user.at(key).sha256());
        ["sc_click_id", "sc_cookie1", "client_ip_address", "client_user_agent", "idfv", "madid"].iter().for_each(|key| user.at(key).plain());
        user.at("client_ip_address").is_text("must be an address of IP version 4 or 6", look::ip);
        let either = ["em", "ph", "madid", "mobile_ad_id"].iter().any(|key| user.at(key).there());
        let both = user.at("client_ip_address").there() && user.at("client_user_agent").there();
        user.must(either || both, "must have em, ph, madid, or client_ip_address with client_user_agent");
    }
    let custom = event.at("custom_data");
    let (value, currency) = (custom.at("value"), custom.at("currency"));
    if name.text() == "PURCHASE" {
        value.required();
        currency.required();
    }
    value.money(currency.text());
    value.must(!value.written().starts_with('-'), "must be 0 or more");
    currency.currency();
    custom.at("order_id").string();
    custom.at("num_items").integer();
    custom.at("contents").each().iter().for_each(|content| {
        content.at("quantity").string();
        content.at("item_price").string();
        content.at("item_price").money(currency.text());
    });
    event.at("data_processing_options").each().iter().for_each(|option| {
        option.one_of(&["LDU", "LMU"]);
    });
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
            "event_name": "PURCHASE", "action_source": "WEB", "event_time": NOW - 60, "event_id": "order-10042", "event_source_url": "https://shop.example/done",
            "user_data": {"em": [HASH], "ph": [HASH], "sc_click_id": "0f1e", "sc_cookie1": "aa11", "client_ip_address": "203.0.113.7", "client_user_agent": "Mozilla/5.0"},
            "custom_data": {"currency": "EUR", "value": 49.90, "order_id": "10042", "num_items": 1, "content_ids": ["SKU-1"],
                            "contents": [{"id": "SKU-1", "quantity": "1", "item_price": "49.90", "brand": "Acme"}]}}]});
        let good = testing::post("/v3/pixel/events?access_token=t", &body);
        let memory = Memory::default();
        testing::taken(&Snapchat, &good, &memory, 200);
        assert!(testing::taken(&Snapchat, &good.clone().at("/v3/pixel/events/validate"), &memory, 200).body.contains("VALID"));
        let wrong = "error_records";
        testing::table(
            &Snapchat,
            &good,
            &memory,
            &[
                ("/data/0/event_name", json!("Purchase"), &format!("data[0].event_name must be one of {}", NAMES.join(", ")), 400, wrong),
                ("/data/0/action_source", Value::Null, "data[0].action_source is required and missing", 400, wrong),
                ("/data/0/event_time", json!(NOW - 38 * 86_400), "data[0].event_time is older than 37 days", 400, wrong),
                ("/data/0/event_source_url", Value::Null, "data[0].event_source_url is required and missing", 400, wrong),
                (
                    "/data/0/user_data/em/0",
                    json!("a@example.com"),
                    "data[0].user_data.em[0] must be SHA-256 in 64 digits of lower-case hex",
                    400,
                    wrong,
                ),
                (
                    "/data/0/user_data",
                    json!({"sc_click_id": "x"}),
                    "data[0].user_data must have em, ph, madid, or client_ip_address with client_user_agent",
                    400,
                    wrong,
                ),
                (
                    "/data/0/custom_data/currency",
                    json!("eur"),
                    "data[0].custom_data.currency must be a currency of ISO 4217 in capital letters",
                    400,
                    wrong,
                ),
                ("/data/0/custom_data/value", Value::Null, "data[0].custom_data.value is required and missing", 400, wrong),
                ("/data/0/custom_data/contents/0/quantity", json!(1), "data[0].custom_data.contents[0].quantity must be a text", 400, wrong),
                ("/data/0/event", json!("x"), "data[0].event is no field of this platform", 400, wrong),
            ],
        );
        let mut none = good.clone();
        none.query.clear();
        testing::refused(&Snapchat, &none, &memory, "access_token is required and missing", 401, "FAILED");
        testing::scripted(
            &Snapchat,
            &good,
            &memory,
            &[
                (Chance::Throttled, 429, ""),
                (Chance::Down, 503, ""),
                (Chance::Expired, 401, "FAILED"),
                (Chance::Invalid, 400, "FAILED"),
                (Chance::Partial, 400, wrong),
            ],
        );
    }
}
