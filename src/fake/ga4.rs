//! Google Analytics 4, Measurement Protocol.
//!
//! <https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference>, its list of recommended events, and
//! <https://developers.google.com/analytics/devguides/collection/ga4/uid-data> for hashes. The collecting endpoint says 204 to everything; the debug
//! endpoint says what is wrong.

use serde_json::{Value, json};

use super::{
    look::{self, Faults, Look},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Ga4;

const TOP: &[&str] = &[
    "client_id",
    "app_instance_id",
    "user_id",
    "timestamp_micros",
    "consent",
    "events",
    "user_data",
    "user_properties",
    "user_location",
    "ip_override",
    "device",
    "user_agent",
    "non_personalized_ads",
    "validation_behavior",
];
const RESERVED: &[&str] = &[
    "ad_activeview",
    "ad_click",
    "ad_exposure",
    "ad_query",
    "ad_reward",
    "adunit_exposure",
    "app_clear_data",
    "app_exception",
    "app_install",
    "app_remove",
    "app_store_refund",
    "app_update",
    "app_upgrade",
    "dynamic_link_app_open",
    "error",
    "first_open",
    "first_visit",
    "in_app_purchase",
    "session_start",
    "user_engagement",
];

impl Judge for Ga4 {
    fn name(&self) -> &'static str {
        "ga4"
    }

    fn judge(&self, call: &Call, _: &Memory) -> Verdict {
        let (faults, body) = (Faults::default(), call.json());
        if call.method != "POST" || !matches!(call.path.as_str(), "/mp/collect" | "/debug/mp/collect") {
            faults.add(Concern::Address, "path", "must be POST /mp/collect or /debug/mp/collect");
        }
        oauth::fixed(call.param("api_secret"), "api_secret", &faults);
        let app = call.param("firebase_app_id").is_some_and(|id| !id.is_empty());
        if !app && !call.param("measurement_id").is_some_and(|id| id.starts_with("G-")) {
            faults.add(Concern::Request, "measurement_id", "must be G-.., or firebase_app_id must be told");
        }
        if call.body.len() >= 130_000 {
            faults.add(Concern::Request, "body", "must be smaller than 130 kB");
        }
        let root = faults.look(&body);
        root.only(TOP);
        let id = root.at(if app { "app_instance_id" } else { "client_id" });
        id.required();
        id.string();
        root.at("user_id").is_text("must hold no e-mail address", |text| !text.contains('@'));
        micros(&root.at("timestamp_micros"), call);
        for key in ["ad_user_data", "ad_personalization"] {
            root.at("consent").at(key).one_of(&["GRANTED", "DENIED"]);
        }
        let user = root.at("user_data");
        user.at("sha256_email_address").sha256();
        user.at("sha256_phone_number").sha256();
        let addresses = if user.at("address").each().is_empty() { vec![user.at("address")] } else { user.at("address").each() };
        for address in addresses {
            ["sha256_first_name", "sha256_last_name", "sha256_street"].iter().for_each(|key| address.at(key).sha256());
            ["city", "region", "postal_code", "country"].iter().for_each(|key| address.at(key).plain());
        }
        let events = root.at("events");
        if events.required() {
            events.list(1, 25);
        }
        let items = events.items().iter().map(|event| event_of(event, call)).collect();
        // The reference requires them, and the collecting endpoint counts revenue without.
        let bare = events.each().iter().any(|event| event.at("name").text() == "purchase" && !event.at("params").at("items").there());
        let notes = Vec::from_iter(bare.then(|| "a purchase without items: reports of items stay empty".to_owned()));
        Verdict { items, notes, ..faults.verdict("events") }
    }

    fn answer(&self, call: &Call, verdict: &Verdict, _: &mut Memory) -> Answer {
        if verdict.first(Concern::Address).is_some() {
            return Answer::new(404, "text/html", "");
        }
        if !call.path.starts_with("/debug") {
            return Answer { status: 204, headers: Vec::new(), body: String::new() };
        }
        let code = |fault: &super::Fault| if fault.rule.contains("missing") { "VALUE_REQUIRED" } else { "VALUE_INVALID" };
        // It does not look at the secret.
        let wrong = verdict.faults.iter().filter(|fault| fault.concern != Concern::Auth);
        let wrong: Vec<Value> =
            wrong.map(|fault| json!({"fieldPath": fault.field, "description": fault.rule, "validationCode": code(fault)})).collect();
        super::json(200, &json!({ "validationMessages": wrong }))
    }
}

fn micros(at: &Look<'_>, call: &Call) {
    let Some(micros) = at.integer() else { return };
    let age = call.now.as_microsecond() - micros;
    if micros < 1_000_000_000_000_000 {
        at.fault("must be Unix microseconds, and these are larger units");
    } else if age > 72 * 3_600_000_000 {
        at.fault("is older than 72 hours");
    } else if age < -600_000_000 {
        at.fault("is in the future");
    }
}

fn event_of(event: &Look<'_>, call: &Call) -> Item {
    event.only(&["name", "params", "timestamp_micros"]);
    let (name, params) = (event.at("name"), event.at("params"));
    name.required();
    name.is_text("must be 40 letters, digits and _ at most, and none of Google's own", |text| {
        text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !RESERVED.contains(&text)
    });
    micros(&event.at("timestamp_micros"), call);
    params.must(params.names().len() <= 25, "must have 25 parameters at most");
    for key in params.names().into_iter().filter(|key| *key != "items") {
        let param = params.at(key);
        param.must(key.len() <= 40 && param.text().chars().count() <= 100, "must have a name of 40 and a value of 100 characters at most");
        param.must(!param.text().contains('@'), "must hold no e-mail address");
    }
    let (value, currency, id) = (params.at("value"), params.at("currency"), params.at("transaction_id"));
    if matches!(name.text(), "purchase" | "refund") {
        id.required();
        value.required();
    }
    id.string();
    if value.there() {
        currency.required();
    }
    value.number(0.0);
    value.money(currency.text());
    currency.currency();
    for item in params.at("items").each() {
        item.must(item.at("item_id").there() || item.at("item_name").there(), "must have item_id or item_name");
        item.at("item_id").string();
        item.at("price").number(0.0);
        item.at("quantity").number(0.0);
    }
    Item { name: name.text().to_owned(), id: id.text().to_owned(), amount: look::amount(&value, &currency) }
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
        let body = json!({
            "client_id": "1234567890.1794800000", "user_id": "cust-77", "timestamp_micros": (NOW - 60) * 1_000_000,
            "consent": {"ad_user_data": "GRANTED", "ad_personalization": "GRANTED"}, "user_data": {"sha256_email_address": [HASH]},
            "events": [{"name": "purchase", "params": {
                "transaction_id": "10042", "currency": "EUR", "value": 49.9, "tax": 7.97, "shipping": 4.9, "coupon": "X", "session_id": "1794999000",
                "engagement_time_msec": 1, "items": [{"item_id": "SKU-1", "item_name": "Shirt", "price": 49.9, "quantity": 1}]}}]});
        let memory = Memory::default();
        let real = testing::post("/mp/collect?measurement_id=G-X&api_secret=s", &body);
        testing::taken(&Ga4, &real, &memory, 204);
        let good = testing::post("/debug/mp/collect?measurement_id=G-X&api_secret=s", &body);
        assert_eq!(testing::taken(&Ga4, &good, &memory, 200).body, r#"{"validationMessages":[]}"#);
        let wrong = "VALUE_INVALID";
        testing::table(
            &Ga4,
            &good,
            &memory,
            &[
                ("/client_id", Value::Null, "client_id is required and missing", 200, "VALUE_REQUIRED"),
                ("/user_id", json!("a@example.com"), "user_id must hold no e-mail address", 200, wrong),
                ("/timestamp_micros", json!(NOW), "timestamp_micros must be Unix microseconds, and these are larger units", 200, wrong),
                ("/timestamp_micros", json!((NOW - 73 * 3600) * 1_000_000), "timestamp_micros is older than 72 hours", 200, wrong),
                ("/consent/ad_user_data", json!("CONSENT_GRANTED"), "consent.ad_user_data must be one of GRANTED, DENIED", 200, wrong),
                (
                    "/user_data/sha256_email_address/0",
                    json!("x"),
                    "user_data.sha256_email_address[0] must be SHA-256 in 64 digits of lower-case hex",
                    200,
                    wrong,
                ),
                (
                    "/events/0/name",
                    json!("session_start"),
                    "events[0].name must be 40 letters, digits and _ at most, and none of Google's own",
                    200,
                    wrong,
                ),
                ("/events/0/params/transaction_id", Value::Null, "events[0].params.transaction_id is required and missing", 200, "VALUE_REQUIRED"),
                ("/events/0/params/value", json!("49.9"), "events[0].params.value must be a JSON number", 200, wrong),
                ("/events/0/params/value", json!(-49.9), "events[0].params.value must be 0 or more", 200, wrong),
                ("/events/0/params/currency", Value::Null, "events[0].params.currency is required and missing", 200, "VALUE_REQUIRED"),
                (
                    "/events/0/params/coupon",
                    json!("x".repeat(101)),
                    "events[0].params.coupon must have a name of 40 and a value of 100 characters at most",
                    200,
                    wrong,
                ),
                ("/data", json!([]), "data is no field of this platform", 200, wrong),
            ],
        );
        testing::scripted(
            &Ga4,
            &real,
            &memory,
            &[
                (Chance::Throttled, 429, ""),
                (Chance::Down, 503, ""),
                (Chance::Expired, 204, ""),
                (Chance::Invalid, 204, ""),
                (Chance::Partial, 204, ""),
            ],
        );
    }
}
