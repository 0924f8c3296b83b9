//! TikTok Events API 2.0.
//!
//! Fields: TikTok's own template for Google's server container (GitHub tiktok/gtm-template-eapi) and Segment's connector (GitHub
//! segmentio/action-destinations, `tiktok-conversions`). Codes and the text of 40002: RudderStack's (GitHub rudderlabs/rudder-transformer,
//! `tiktok_ads`). The status is nearly always 200.

use serde_json::json;

use super::{
    look::{self, Faults, Look},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct TikTok;

impl Judge for TikTok {
    fn name(&self) -> &'static str {
        "tiktok"
    }

    fn judge(&self, call: &Call, _: &Memory) -> Verdict {
        let (faults, body) = (Faults::default(), call.json());
        match (call.method.as_str(), call.parts().as_slice()) {
            ("POST", ["open_api", version, "event", "track"]) if version.starts_with('v') && call.path.ends_with('/') => {}
            _ => faults.add(Concern::Address, "path", "must be POST /open_api/vN.N/event/track/ with the last slash"),
        }
        oauth::fixed(call.header("access-token"), "access-token", &faults);
        let root = faults.look(&body);
        root.only(&["event_source", "event_source_id", "data", "test_event_code", "partner_name"]);
        let source = root.at("event_source");
        source.required();
        source.one_of(&["web", "app", "offline", "crm"]);
        root.at("event_source_id").required();
        root.at("event_source_id").string();
        root.at("test_event_code").string();
        let data = root.at("data");
        if data.required() {
            data.list(1, 1000);
        }
        let items = data.items().iter().map(|event| event_of(event, source.text(), call)).collect();
        Verdict { items, ..faults.verdict("events") }
    }

    fn answer(&self, _: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer {
        let id = format!("fake{}", memory.number());
        let (code, message) = match verdict.worst() {
            None => (0, "OK".to_owned()),
            Some(fault) => {
                // `data[0].user.email` is `Batch.0.user.email` there.
                let place = match fault.item {
                    Some(n) => fault.field.replace(&format!("data[{n}]"), &format!("Batch.{n}")).replace('[', ".").replace(']', ""),
                    None => fault.field.clone(),
                };
                let place = if fault.field == "script" { format!("Batch.{}.event", fault.item.unwrap_or(0)) } else { place };
                match fault.concern {
                    Concern::Auth if fault.rule.contains("missing") => (40104, "Access token is empty".to_owned()),
                    Concern::Auth => (40105, "Access token is incorrect or has been revoked.".to_owned()),
                    Concern::Address => return super::json(404, &json!({"code": 40400, "message": "Not found", "request_id": id})),
                    _ => (40002, format!("{place}: {}", fault.rule)),
                }
            }
        };
        super::json(200, &json!({"code": code, "message": message, "request_id": id, "data": {}}))
    }

    fn throttled(&self, _: &Call) -> Answer {
        super::json(200, &json!({"code": 40100, "message": "Too many requests", "request_id": "fake", "data": {}}))
    }
}

fn event_of(event: &Look<'_>, source: &str, call: &Call) -> Item {
    event.only(&["event", "event_time", "event_id", "user", "page", "properties", "limited_data_use", "app", "lead"]);
    let name = event.at("event");
    name.required();
    name.string();
    event.at("event_id").string();
    if event.at("event_time").required() {
        event.at("event_time").unix_seconds(call.now, if source == "web" || source == "app" { 7 } else { 28 });
    }
    event.at("limited_data_use").boolean();
    let user = event.at("user");
    if user.required() {
        ["email", "phone", "external_id", "first_name", "last_name", "zip_code"].iter().for_each(|key| user.at(key).sha256());
        ["ttclid", "ttp", "ip", "user_agent", "city", "state", "country", "locale"].iter().for_each(|key| user.at(key).plain());
        ["city", "state", "country"].iter().for_each(|key| {
            user.at(key).is_text("must be letters and digits in lower case", |text| text.chars().all(|c| c.is_alphanumeric() && !c.is_uppercase()));
        });
        user.at("ip").is_text("must be an address of IP version 4 or 6", look::ip);
        let keys = ["email", "phone", "external_id", "ttclid", "ttp", "ip", "idfa", "idfv", "gaid"];
        user.must(keys.iter().any(|key| user.at(key).there()), "must have something to match a person by");
    }
    if source == "web" {
        event.at("page").at("url").required();
    }
    event.at("page").at("url").is_text("must be the address of a page", look::web);
    let properties = event.at("properties");
    let (value, currency) = (properties.at("value"), properties.at("currency"));
    if matches!(name.text(), "Purchase" | "CompletePayment") {
        value.required();
    }
    if value.there() {
        currency.required();
    }
    value.number(0.0);
    value.money(currency.text());
    currency.currency();
    properties.at("content_type").one_of(&["product", "product_group"]);
    ["order_id", "shop_id"].iter().for_each(|key| {
        properties.at(key).string();
    });
    for content in properties.at("contents").each() {
        content.at("content_id").is_text("Not a valid string", |_| true);
        content.at("quantity").number(0.0);
        content.at("price").number(0.0);
    }
    Item { name: name.text().to_owned(), id: event.at("event_id").text().to_owned(), amount: look::amount(&value, &currency) }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::fake::{
        script::Chance,
        testing::{self, HASH, NOW},
    };

    #[test]
    fn rules() {
        let body = json!({"event_source": "web", "event_source_id": "CXXX", "data": [{
            "event": "Purchase", "event_time": NOW - 60, "event_id": "order-10042",
            "user": {"ttclid": "E.C.P.abc", "ttp": "2F7h", "email": HASH, "phone": HASH, "external_id": HASH, "ip": "203.0.113.7", "user_agent": "Mozilla/5.0"},
            "page": {"url": "https://shop.example/checkout/done", "referrer": "https://shop.example/cart"},
            "properties": {"currency": "EUR", "value": 49.9, "order_id": "10042", "content_type": "product",
                           "contents": [{"content_id": "SKU-1", "content_name": "Shirt", "quantity": 1, "price": 49.9}]},
            "limited_data_use": false}]});
        let good = testing::post("/open_api/v1.3/event/track/", &body).with("access-token", "t");
        let memory = Memory::default();
        assert!(testing::taken(&TikTok, &good, &memory, 200).body.contains(r#""code":0"#));
        let wrong = "40002";
        testing::table(
            &TikTok,
            &good,
            &memory,
            &[
                ("/event_source", json!("website"), "event_source must be one of web, app, offline, crm", 200, wrong),
                ("/event_source_id", Value::Null, "event_source_id is required and missing", 200, wrong),
                ("/data/0/event", Value::Null, "data[0].event is required and missing", 200, "Batch.0.event"),
                ("/data/0/event_time", json!(NOW - 8 * 86_400), "data[0].event_time is older than 7 days", 200, wrong),
                ("/data/0/event_time", json!("2026"), "data[0].event_time must be a whole JSON number", 200, wrong),
                ("/data/0/user/email", json!("a@example.com"), "data[0].user.email must be SHA-256 in 64 digits of lower-case hex", 200, wrong),
                ("/data/0/user/ttclid", json!(HASH), "data[0].user.ttclid must be sent in clear, and this is a hash", 200, wrong),
                ("/data/0/user/city", json!("New York"), "data[0].user.city must be letters and digits in lower case", 200, wrong),
                ("/data/0/page/url", Value::Null, "data[0].page.url is required and missing", 200, wrong),
                ("/data/0/properties/value", json!("49.9"), "data[0].properties.value must be a JSON number", 200, wrong),
                ("/data/0/properties/currency", Value::Null, "data[0].properties.currency is required and missing", 200, wrong),
                (
                    "/data/0/properties/contents/0/content_id",
                    json!(1),
                    "data[0].properties.contents[0].content_id must be a text",
                    200,
                    "Batch.0.properties.contents.0.content_id",
                ),
                ("/data/0/limited_data_use", json!("no"), "data[0].limited_data_use must be true or false", 200, wrong),
                ("/data/0/event_name", json!("Purchase"), "data[0].event_name is no field of this platform", 200, wrong),
            ],
        );
        testing::refused(&TikTok, &good.clone().without("access-token"), &memory, "access-token is required and missing", 200, "40104");
        let path = "path must be POST /open_api/vN.N/event/track/ with the last slash";
        testing::refused(&TikTok, &good.clone().at("/open_api/v1.3/event/track"), &memory, path, 404, "");
        testing::scripted(
            &TikTok,
            &good,
            &memory,
            &[
                (Chance::Throttled, 200, "40100"),
                (Chance::Down, 503, ""),
                (Chance::Expired, 200, "40105"),
                (Chance::Invalid, 200, wrong),
                (Chance::Partial, 200, "Batch.0.event"),
            ],
        );
    }
}
