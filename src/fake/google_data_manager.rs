//! Google Data Manager API, for Google Ads.
//!
//! Fields, types and reasons: the types of Google's own client (PyPI google-ads-datamanager 0.9, `datamanager_v1/types`) and
//! its utilities' rules for hashes (google-ads-datamanager-util); limits: <https://developers.google.com/data-manager/api/devguides/limits>. One bad field refuses the whole request; what is accepted is
//! processed later, and only counts of reasons are told then.

use serde_json::{Value, json};

use super::{
    look::{self, Faults, Look},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct GoogleDataManager;

const SCOPE: &str = "https://www.googleapis.com/auth/datamanager";
const TOP: &[&str] = &["destinations", "events", "consent", "encoding", "encryptionInfo", "validateOnly"];
const EVENT: &[&str] = &[
    "destinationReferences",
    "transactionId",
    "eventTimestamp",
    "lastUpdatedTimestamp",
    "eventSource",
    "currency",
    "conversionValue",
    "conversionCount",
    "adIdentifiers",
    "userData",
    "consent",
    "eventDeviceInfo",
    "cartData",
    "customVariables",
    "experimentalFields",
    "userProperties",
    "eventName",
    "clientId",
    "userId",
    "appInstanceId",
    "additionalEventParameters",
];

impl Judge for GoogleDataManager {
    fn name(&self) -> &'static str {
        "google_data_manager"
    }

    fn judge(&self, call: &Call, memory: &Memory) -> Verdict {
        let faults = Faults::default();
        match (call.method.as_str(), call.path.as_str()) {
            (_, "/token") => return oauth::judge(call, SCOPE),
            ("GET", "/v1/requestStatus:retrieve") => {
                oauth::bearer(call, memory, &faults);
                if !call.param("requestId").is_some_and(|id| memory.jobs.contains_key(id)) {
                    faults.add(Concern::Address, "requestId", "names no request that was taken");
                }
                return faults.verdict("status");
            }
            ("POST", "/v1/events:ingest") => {}
            _ => faults.add(Concern::Address, "path", "must be POST /v1/events:ingest or GET /v1/requestStatus:retrieve"),
        }
        oauth::bearer(call, memory, &faults);
        let body = call.json();
        let root = faults.look(&body);
        root.only(TOP);
        let destinations = root.at("destinations");
        if destinations.required() {
            destinations.list(1, 10);
        }
        destinations.each().iter().for_each(destination);
        let references: Vec<&str> = body["destinations"].as_array().into_iter().flatten().filter_map(|to| to["reference"].as_str()).collect();
        let events = root.at("events");
        if events.required() {
            events.list(1, 2000);
        }
        if body["events"].as_array().is_some_and(|events| events.iter().any(|event| event.get("userData").is_some())) {
            root.at("encoding").required();
        }
        root.at("encoding").one_of(&["HEX", "BASE64"]);
        root.at("validateOnly").boolean();
        consent(&root.at("consent"));
        let hex = body["encoding"] == "HEX";
        let items = events.items().iter().map(|event| event_of(event, call, &references, hex)).collect();
        Verdict { items, ..faults.verdict("events") }
    }

    fn answer(&self, call: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer {
        if verdict.what == "token" {
            return oauth::answer(call, verdict, memory);
        }
        if let Some(fault) = verdict.worst() {
            return refusal(fault);
        }
        if verdict.what == "status" {
            let job = call.param("requestId").and_then(|id| memory.jobs.get(id)).cloned().unwrap_or_default();
            return super::json(200, &job);
        }
        let body = call.json();
        if body["validateOnly"] == true {
            return super::json(200, &json!({}));
        }
        let count = verdict.items.len().to_string();
        let told = |to: &Value| json!({"destination": to, "requestStatus": "SUCCESS", "eventsIngestionStatus": {"recordCount": count}});
        let told: Vec<Value> = body["destinations"].as_array().into_iter().flatten().map(told).collect();
        let id = memory.promise("fake-request-", json!({ "requestStatusPerDestination": told }));
        super::json(200, &json!({ "requestId": id }))
    }

    fn throttled(&self, _: &Call) -> Answer {
        super::json(429, &json!({"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}))
    }

    fn down(&self, _: &Call) -> Answer {
        super::json(503, &json!({"error": {"code": 503, "message": "The service is currently unavailable.", "status": "UNAVAILABLE"}}))
    }

    fn settings(&self) -> &'static str {
        "token_url = \"{base}/token\""
    }
}

fn refusal(fault: &super::Fault) -> Answer {
    let (code, status, reason) = match fault.concern {
        Concern::Auth => (401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED"),
        Concern::Address => (404, "NOT_FOUND", "NOT_FOUND"),
        _ if fault.field.starts_with("destinations") => (400, "INVALID_ARGUMENT", "INVALID_DESTINATION"),
        _ if fault.rule.contains("missing") => (400, "INVALID_ARGUMENT", "REQUIRED_FIELD_MISSING"),
        _ if fault.field.ends_with("eventTimestamp") => (400, "INVALID_ARGUMENT", "EVENT_TIME_INVALID"),
        _ if fault.field.ends_with("urrency") => (400, "INVALID_ARGUMENT", "INVALID_CURRENCY_CODE"),
        _ if fault.rule.contains("SHA-256") => (400, "INVALID_ARGUMENT", "INVALID_SHA256_FORMAT"),
        _ => (400, "INVALID_ARGUMENT", "INVALID_FORMAT"),
    };
    // The whole event where the script refuses it: as reports show it.
    let field = match fault.item {
        Some(item) if fault.field == "script" => format!("events.events[{item}]"),
        Some(_) => format!("events.{}", snake(&fault.field)),
        None => snake(&fault.field),
    };
    let details = json!([
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "datamanager.googleapis.com"},
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": field, "description": fault.rule, "reason": reason}]}]);
    let message = format!("There was a problem with the request: {field} {}", fault.rule);
    super::json(code, &json!({"error": {"code": code, "message": message, "status": status, "details": details}}))
}

/// `eventSource` as `event_source`: violations name fields of the protocol buffer.
fn snake(path: &str) -> String {
    path.chars().fold(String::new(), |mut made, letter| {
        if letter.is_ascii_uppercase() {
            made.push('_');
        }
        made.push(letter.to_ascii_lowercase());
        made
    })
}

fn destination(to: &Look<'_>) {
    to.only(&["reference", "operatingAccount", "loginAccount", "linkedAccount", "productDestinationId"]);
    for (key, required) in [("operatingAccount", true), ("loginAccount", false), ("linkedAccount", false)] {
        let account = to.at(key);
        if required && !account.required() || !account.there() {
            continue;
        }
        account.at("accountType").required();
        account.at("accountId").required();
        account.at("accountId").is_text("must be digits without dashes", look::digits);
    }
    to.at("productDestinationId").required();
    to.at("productDestinationId").is_text("must be the conversion action's digits", look::digits);
}

fn consent(consent: &Look<'_>) {
    consent.only(&["adUserData", "adPersonalization"]);
    consent.at("adUserData").one_of(&["CONSENT_GRANTED", "CONSENT_DENIED", "CONSENT_STATUS_UNSPECIFIED"]);
    consent.at("adPersonalization").one_of(&["CONSENT_GRANTED", "CONSENT_DENIED", "CONSENT_STATUS_UNSPECIFIED"]);
}

fn event_of(event: &Look<'_>, call: &Call, references: &[&str], hex: bool) -> Item {
    event.only(EVENT);
    event.at("destinationReferences").each().iter().for_each(|one| {
        one.is_text("names no destination of the request", |text| references.contains(&text));
    });
    let (id, time, source) = (event.at("transactionId"), event.at("eventTimestamp"), event.at("eventSource"));
    id.is_text("must not consist of digits alone", |text| !look::digits(text));
    if time.required() {
        time.rfc3339(call.now, 90);
    }
    event.at("lastUpdatedTimestamp").rfc3339(call.now, 90);
    source.required();
    source.one_of(&["WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER"]);
    let (value, currency) = (event.at("conversionValue"), event.at("currency"));
    value.number(0.0);
    value.money(currency.text());
    if value.there() {
        currency.required();
    }
    currency.currency();
    consent(&event.at("consent"));
    let (ads, user) = (event.at("adIdentifiers"), event.at("userData"));
    event.must(ads.there() || user.there(), "must have adIdentifiers or userData");
    ads.only(&["gclid", "gbraid", "wbraid", "dclid", "sessionAttributes", "landingPageDeviceInfo", "mobileDeviceId", "matchIdentifiers"]);
    ["gclid", "gbraid", "wbraid", "dclid"].iter().for_each(|key| ads.at(key).plain());
    event.at("eventDeviceInfo").at("ipAddress").is_text("must be an address of IP version 4 or 6", look::ip);
    user.only(&["userIdentifiers"]);
    user.at("userIdentifiers").list(1, 10);
    for one in user.at("userIdentifiers").each() {
        one.must(one.names().len() == 1, "must be exactly one of emailAddress, phoneNumber, address");
        let address = one.at("address");
        for hashed in [one.at("emailAddress"), one.at("phoneNumber"), address.at("givenName"), address.at("familyName")] {
            hashed.is_text("must be SHA-256 in the encoding of the request", |text| {
                if hex { text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) } else { text.len() == 44 && text.ends_with('=') }
            });
        }
        if address.there() {
            ["givenName", "familyName", "regionCode", "postalCode"].iter().for_each(|key| {
                address.at(key).required();
            });
            address
                .at("regionCode")
                .is_text("must be two capital letters in clear", |text| text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()));
            address.at("postalCode").plain();
        }
    }
    for item in event.at("cartData").at("items").each() {
        item.only(&[
            "merchantProductId",
            "quantity",
            "unitPrice",
            "merchantId",
            "merchantFeedLabel",
            "merchantFeedLanguageCode",
            "additionalItemParameters",
            "itemId",
        ]);
        item.at("unitPrice").number(0.0);
    }
    Item { name: "conversion".to_owned(), id: id.text().to_owned(), amount: look::amount(&value, &currency) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{
        script::Chance,
        testing::{self, HASH},
    };

    fn good(memory: &mut Memory) -> Call {
        let call = testing::form("POST", "/token", "grant_type=refresh_token&client_id=c&refresh_token=r");
        testing::ask(&GoogleDataManager, &call, memory);
        let body = json!({
            "destinations": [{"reference": "d1", "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "1234567890"},
                              "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": "9876543210"}, "productDestinationId": "555111222"}],
            "events": [{"destinationReferences": ["d1"], "transactionId": "order-10042", "eventTimestamp": "2026-11-23T10:15:00Z", "eventSource": "WEB",
                        "currency": "EUR", "conversionValue": 49.9, "adIdentifiers": {"gclid": "EAIaIQ"},
                        "userData": {"userIdentifiers": [{"emailAddress": HASH}]},
                        "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"}}],
            "encoding": "HEX", "validateOnly": false});
        testing::post("/v1/events:ingest", &body).with("authorization", "Bearer fake-token-1")
    }

    #[test]
    fn rules() {
        let mut memory = Memory::default();
        let good = good(&mut memory);
        let answer = testing::taken(&GoogleDataManager, &good, &memory, 200);
        assert!(answer.body.contains("requestId"));
        let event = |field: &str| format!("events[0].{field}");
        testing::table(
            &GoogleDataManager,
            &good,
            &memory,
            &[
                (
                    "/events/0/transactionId",
                    json!("10042"),
                    &event("transactionId must not consist of digits alone"),
                    400,
                    "events.events[0].transaction_id",
                ),
                (
                    "/events/0/eventTimestamp",
                    json!("2026-11-23 10:15:00"),
                    &event("eventTimestamp must be a time of RFC 3339 with Z or an offset"),
                    400,
                    "EVENT_TIME_INVALID",
                ),
                (
                    "/events/0/eventTimestamp",
                    json!("2026-06-23T10:15:00Z"),
                    &event("eventTimestamp is older than 90 days"),
                    400,
                    "EVENT_TIME_INVALID",
                ),
                ("/events/0/eventSource", Value::Null, &event("eventSource is required and missing"), 400, "REQUIRED_FIELD_MISSING"),
                (
                    "/events/0/currency",
                    json!("eur"),
                    &event("currency must be a currency of ISO 4217 in capital letters"),
                    400,
                    "INVALID_CURRENCY_CODE",
                ),
                ("/events/0/currency", Value::Null, &event("currency is required and missing"), 400, "REQUIRED_FIELD_MISSING"),
                ("/events/0/conversionValue", json!("49.9"), &event("conversionValue must be a JSON number"), 400, "INVALID_FORMAT"),
                (
                    "/events/0/userData/userIdentifiers/0/emailAddress",
                    json!("a@b.c"),
                    &event("userData.userIdentifiers[0].emailAddress must be SHA-256 in the encoding of the request"),
                    400,
                    "INVALID_SHA256_FORMAT",
                ),
                (
                    "/events/0/userData/userIdentifiers/0/phoneNumber",
                    json!(HASH),
                    &event("userData.userIdentifiers[0] must be exactly one of emailAddress, phoneNumber, address"),
                    400,
                    "INVALID_FORMAT",
                ),
                (
                    "/events/0/adIdentifiers/gclid",
                    json!(HASH),
                    &event("adIdentifiers.gclid must be sent in clear, and this is a hash"),
                    400,
                    "INVALID_FORMAT",
                ),
                (
                    "/events/0/consent/adUserData",
                    json!("GRANTED"),
                    &event("consent.adUserData must be one of CONSENT_GRANTED, CONSENT_DENIED, CONSENT_STATUS_UNSPECIFIED"),
                    400,
                    "INVALID_FORMAT",
                ),
                (
                    "/events/0/destinationReferences/0",
                    json!("d2"),
                    &event("destinationReferences[0] names no destination of the request"),
                    400,
                    "INVALID_FORMAT",
                ),
                ("/events/0/value", json!(1), &event("value is no field of this platform"), 400, "INVALID_FORMAT"),
                (
                    "/encoding",
                    Value::Null,
                    "encoding is required and missing; events[0].userData.userIdentifiers[0].emailAddress must be SHA-256 in the encoding of the request",
                    400,
                    "REQUIRED_FIELD_MISSING",
                ),
                (
                    "/destinations/0/operatingAccount/accountId",
                    json!("123-456-7890"),
                    "destinations[0].operatingAccount.accountId must be digits without dashes",
                    400,
                    "INVALID_DESTINATION",
                ),
                (
                    "/destinations/0/productDestinationId",
                    Value::Null,
                    "destinations[0].productDestinationId is required and missing",
                    400,
                    "INVALID_DESTINATION",
                ),
                ("/events", json!([]), "events is required and missing", 400, "REQUIRED_FIELD_MISSING"),
            ],
        );
        let none = good.clone().without("authorization");
        testing::refused(&GoogleDataManager, &none, &memory, "authorization must be \"Bearer\" and an access token", 401, "UNAUTHENTICATED");
        testing::scripted(
            &GoogleDataManager,
            &good,
            &memory,
            &[
                (Chance::Throttled, 429, "RESOURCE_EXHAUSTED"),
                (Chance::Down, 503, "UNAVAILABLE"),
                (Chance::Expired, 401, "UNAUTHENTICATED"),
                (Chance::Partial, 400, r#""field":"events.events[0]""#),
                (Chance::Invalid, 400, "INVALID_ARGUMENT"),
            ],
        );
    }

    #[test]
    fn what_was_taken_is_processed_later() {
        let mut memory = Memory::default();
        let good = good(&mut memory);
        let (_, answer) = testing::ask(&GoogleDataManager, &good, &mut memory);
        let said: Value = serde_json::from_str(&answer.body).expect("JSON");
        let id = said["requestId"].as_str().expect("an id");
        let status = testing::get(&format!("/v1/requestStatus:retrieve?requestId={id}")).with("authorization", "Bearer fake-token-1");
        assert!(testing::taken(&GoogleDataManager, &status, &memory, 200).body.contains("SUCCESS"));
        let other = testing::get("/v1/requestStatus:retrieve?requestId=x").with("authorization", "Bearer fake-token-1");
        testing::refused(&GoogleDataManager, &other, &memory, "requestId names no request that was taken", 404, "NOT_FOUND");
    }
}
