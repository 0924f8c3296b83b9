//! Microsoft Advertising: offline conversions of the Campaign Management API, and the UET Conversions API.
//!
//! Offline: Microsoft's own client (PyPI msads 13, `models/campaign`) and <https://learn.microsoft.com/en-us/advertising/campaign-management-service/offlineconversion>.
//! UET: <https://learn.microsoft.com/en-us/advertising/guides/uet-conversion-api-integration>.

use serde_json::{Value, json};

use super::{
    look::{self, Faults, Look},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Microsoft;

const SCOPE: &str = "https://ads.microsoft.com/msads.manage";
const SERVICE: &str = "/CampaignManagement/v13/";
const HEADERS: &[&str] = &["developertoken", "customeraccountid", "customerid"];
const PAGES: &[&str] = &["home", "product", "category", "searchresults", "cart", "purchase", "other"];

impl Judge for Microsoft {
    fn name(&self) -> &'static str {
        "microsoft"
    }

    fn judge(&self, call: &Call, memory: &Memory) -> Verdict {
        if call.path.ends_with("/token") {
            let faults = Faults::default();
            let form = call.form();
            faults.look(&form).at("scope").required();
            let scope = faults.verdict("token");
            let mut verdict = oauth::judge(call, SCOPE);
            verdict.faults.extend(scope.faults);
            return verdict;
        }
        let (faults, body) = (Faults::default(), call.json());
        let root = faults.look(&body);
        if let ("POST", ["v1", tag, "events"]) = (call.method.as_str(), call.parts().as_slice()) {
            oauth::fixed(call.bearer(), "authorization", &faults);
            if !look::digits(tag) {
                faults.add(Concern::Address, "path", "must hold the UET tag's digits");
            }
            root.only(&["data", "continueOnValidationError", "dataProvider"]);
            root.at("continueOnValidationError").boolean();
            if root.at("data").required() {
                root.at("data").list(1, 1000);
            }
            let items = root.at("data").items().iter().map(|event| uet(event, call)).collect();
            return Verdict { items, ..faults.verdict("events") };
        }
        oauth::bearer(call, memory, &faults);
        for header in HEADERS {
            if call.header(header).is_none_or(str::is_empty) {
                faults.add(Concern::Auth, header, "is required and missing");
            }
        }
        let (key, what) = match (call.method.as_str(), call.path.strip_prefix(SERVICE)) {
            ("POST", Some("OfflineConversions/Apply")) => ("OfflineConversions", "events"),
            ("POST", Some("OfflineConversionAdjustments/Apply")) => ("OfflineConversionAdjustments", "refund"),
            ("POST", Some(_)) => return faults.verdict("status"),
            _ => {
                faults.add(
                    Concern::Address,
                    "path",
                    "must be POST OfflineConversions/Apply or OfflineConversionAdjustments/Apply of v13, or /v1/TAG/events",
                );
                return faults.verdict("unknown");
            }
        };
        root.only(&[key]);
        if root.at(key).required() {
            root.at(key).list(1, 1000);
        }
        let items = root.at(key).items().iter().map(|one| offline(one, call, what == "refund")).collect();
        Verdict { items, ..faults.verdict(what) }
    }

    fn answer(&self, call: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer {
        if verdict.what == "token" {
            let mut answer = oauth::answer(call, verdict, memory);
            if let Ok(Value::Object(mut said)) = serde_json::from_str(&answer.body) {
                // It gives a new one with every access token.
                if answer.status == 200 {
                    said.insert("refresh_token".to_owned(), json!(format!("fake-refresh-{}", memory.number())));
                }
                answer.body = Value::Object(said).to_string();
            }
            return answer;
        }
        let whole = verdict.faults.iter().filter(|fault| fault.concern != Concern::Item).min_by_key(|fault| fault.concern);
        if let Some(fault) = whole {
            let (status, code, name) = match fault.concern {
                Concern::Auth => (401, 109, "AuthenticationTokenExpired"),
                Concern::Address => (404, 404, "NotFound"),
                _ => (400, 202, "InvalidRequest"),
            };
            let error = json!({"Code": code, "ErrorCode": name, "Message": format!("{} {}", fault.field, fault.rule)});
            return match call.path.starts_with("/v1/") {
                true => super::json(status, &json!({"error": {"code": name, "message": format!("{} {}", fault.field, fault.rule), "details": []}})),
                false => super::json(status, &json!({"TrackingId": "fake", "Errors": [error]})),
            };
        }
        let wrong = (0..verdict.items.len()).filter_map(|n| Some((n, verdict.of_item(n)?)));
        if call.path.starts_with("/v1/") {
            let details: Vec<Value> = wrong
                .map(|(n, fault)| json!({"index": n, "propertyName": fault.field, "errorMessage": fault.rule, "errorCode": "Invalid", "isWarning": false}))
                .collect();
            let goes_on = call.json()["continueOnValidationError"] == true;
            return match details.len() {
                0 => super::json(200, &json!({"eventsReceived": verdict.items.len(), "traceId": "fake"})),
                bad if goes_on && bad < verdict.items.len() => super::json(
                    200,
                    &json!({"eventsReceived": verdict.items.len() - bad, "error": {"code": "ValidationError", "message": "Some events are invalid", "details": details}, "traceId": "fake"}),
                ),
                _ => super::json(
                    400,
                    &json!({"eventsReceived": 0, "error": {"code": "ValidationError", "message": "Invalid events", "details": details}, "traceId": "fake"}),
                ),
            };
        }
        let errors: Vec<Value> = wrong
            .map(|(n, fault)| json!({"Index": n, "Code": 5401, "ErrorCode": "OfflineConversionInvalid", "Message": fault.rule, "FieldPath": fault.field, "Details": null}))
            .collect();
        super::json(200, &json!({ "PartialErrors": errors }))
    }

    fn throttled(&self, call: &Call) -> Answer {
        match call.path.starts_with("/v1/") {
            true => super::json(429, &json!({"error": {"code": "TooManyRequests", "message": "Too many requests", "details": []}})),
            // The real one wants a minute.
            false => super::json(429, &json!({"TrackingId": "fake", "Errors": [{"Code": 117, "ErrorCode": "CallRateExceeded", "Message": "Wait"}]}))
                .header("retry-after", "1"),
        }
    }

    fn settings(&self) -> &'static str {
        "token_url = \"{base}/token\""
    }
}

fn click(at: &Look<'_>) {
    at.is_text("must be 32 digits of hex, with or without dashes, and without _uet", |text| {
        let bare = text.replace('-', "");
        bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
}

fn offline(one: &Look<'_>, call: &Call, adjusts: bool) -> Item {
    let (id, goal, at) = (one.at("MicrosoftClickId"), one.at("ConversionName"), one.at("ConversionTime"));
    click(&id);
    let identified = ["MicrosoftClickId", "HashedEmailAddress", "HashedPhoneNumber"].iter().any(|key| one.at(key).there());
    one.must(identified, "must have MicrosoftClickId, HashedEmailAddress or HashedPhoneNumber");
    one.at("HashedEmailAddress").sha256();
    one.at("HashedPhoneNumber").sha256();
    goal.required();
    if at.required() {
        at.rfc3339(call.now, 90);
    }
    let (value, currency) = match adjusts {
        true => (one.at("AdjustmentValue"), one.at("AdjustmentCurrencyCode")),
        false => (one.at("ConversionValue"), one.at("ConversionCurrencyCode")),
    };
    value.number(0.0);
    value.money(currency.text());
    currency.currency();
    if adjusts {
        let (kind, adjusted) = (one.at("AdjustmentType"), one.at("AdjustmentTime"));
        kind.required();
        kind.one_of(&["Restate", "Retract"]);
        if adjusted.required() {
            adjusted.rfc3339(call.now, 90);
        }
        let time = |look: &Look<'_>| look.text().parse::<jiff::Timestamp>();
        if let (Ok(first), Ok(second)) = (time(&at), time(&adjusted)) {
            adjusted.must(second > first, "must be later than ConversionTime");
        }
        match kind.text() {
            "Restate" => {
                value.required();
            }
            _ => {
                value.must(!value.there(), "must not come with Retract");
            }
        }
    }
    // Click, goal and time are what it knows a conversion by; a click id is nobody else's business.
    let key = look::digest(&format!("{} {} {}", id.text(), goal.text(), at.text()));
    let name = if adjusts { one.at("AdjustmentType").text() } else { goal.text() };
    Item { name: name.to_owned(), id: key, amount: look::amount(&value, &currency) }
}

fn uet(event: &Look<'_>, call: &Call) -> Item {
    let kind = event.at("eventType");
    kind.required();
    kind.one_of(&["pageLoad", "custom"]);
    event.at(if kind.text() == "custom" { "eventName" } else { "eventSourceUrl" }).required();
    event.at("eventSourceUrl").is_text("must be the address of a page", look::web);
    event.at("adStorageConsent").one_of(&["G", "D"]);
    event.at("eventId").string();
    if event.at("eventTime").required() {
        event.at("eventTime").unix_seconds(call.now, 7);
    }
    let (user, custom) = (event.at("userData"), event.at("customData"));
    user.required();
    ["em", "ph"].iter().for_each(|key| user.at(key).sha256());
    click(&user.at("msclkid"));
    ["anonymousId", "clientUserAgent"].iter().for_each(|key| user.at(key).plain());
    user.at("clientIpAddress").is_text("must be an address of IP version 4 or 6", look::ip);
    let (value, currency) = (custom.at("value"), custom.at("currency"));
    value.number(0.0);
    value.money(currency.text());
    if value.there() {
        currency.required();
    }
    currency.currency();
    custom.at("transactionId").string();
    custom.at("pageType").one_of(PAGES);
    if event.at("eventName").text() == "purchase" {
        custom.at("transactionId").required();
    }
    Item { name: event.at("eventName").text().to_owned(), id: event.at("eventId").text().to_owned(), amount: look::amount(&value, &currency) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{
        script::Chance,
        testing::{self, HASH, NOW},
    };

    const CLICK: &str = "1234567890abcdef1234567890abcdef";

    #[test]
    fn offline_conversions() {
        let mut memory = Memory::default();
        let token = testing::form(
            "POST",
            "/token",
            "grant_type=refresh_token&client_id=c&refresh_token=r&scope=https%3A%2F%2Fads.microsoft.com%2Fmsads.manage",
        );
        assert!(testing::ask(&Microsoft, &token, &mut memory).1.body.contains("fake-refresh-"));
        let call = |what: &str, body: Value| {
            let call = testing::post(&format!("{SERVICE}{what}/Apply"), &body).with("authorization", "Bearer fake-token-1");
            HEADERS.iter().fold(call, |call, header| call.with(header, "1"))
        };
        let good = call(
            "OfflineConversions",
            json!({"OfflineConversions": [{
            "MicrosoftClickId": CLICK, "ConversionName": "Shop purchase", "ConversionTime": "2026-11-23T10:15:00Z", "ConversionValue": 49.9, "ConversionCurrencyCode": "EUR"}]}),
        );
        assert_eq!(testing::taken(&Microsoft, &good, &memory, 200).body, r#"{"PartialErrors":[]}"#);
        let (at, wrong) = (|fault: &str| format!("OfflineConversions[0]{fault}"), r#""Index":0"#);
        testing::table(
            &Microsoft,
            &good,
            &memory,
            &[
                (
                    "/OfflineConversions/0/MicrosoftClickId",
                    json!(format!("_uet{CLICK}")),
                    &at(".MicrosoftClickId must be 32 digits of hex, with or without dashes, and without _uet"),
                    200,
                    wrong,
                ),
                (
                    "/OfflineConversions/0/MicrosoftClickId",
                    Value::Null,
                    &at(" must have MicrosoftClickId, HashedEmailAddress or HashedPhoneNumber"),
                    200,
                    wrong,
                ),
                ("/OfflineConversions/0/ConversionName", Value::Null, &at(".ConversionName is required and missing"), 200, wrong),
                ("/OfflineConversions/0/ConversionTime", json!("2026-07-23T10:15:00Z"), &at(".ConversionTime is older than 90 days"), 200, wrong),
                ("/OfflineConversions/0/ConversionValue", json!("49.9"), &at(".ConversionValue must be a JSON number"), 200, wrong),
                (
                    "/OfflineConversions/0/HashedEmailAddress",
                    json!("a@b.c"),
                    &at(".HashedEmailAddress must be SHA-256 in 64 digits of lower-case hex"),
                    200,
                    wrong,
                ),
                ("/conversions", json!([]), "conversions is no field of this platform", 400, "InvalidRequest"),
            ],
        );
        testing::refused(&Microsoft, &good.clone().without("developertoken"), &memory, "developertoken is required and missing", 401, "109");
        testing::scripted(
            &Microsoft,
            &good,
            &memory,
            &[
                (Chance::Throttled, 429, "117"),
                (Chance::Down, 503, ""),
                (Chance::Expired, 401, "109"),
                (Chance::Invalid, 400, ""),
                (Chance::Partial, 200, wrong),
            ],
        );
        let refund = call(
            "OfflineConversionAdjustments",
            json!({"OfflineConversionAdjustments": [{
            "MicrosoftClickId": CLICK, "ConversionName": "Shop purchase", "ConversionTime": "2026-11-23T10:15:00Z", "AdjustmentType": "Restate",
            "AdjustmentTime": "2026-11-25T09:00:00Z", "AdjustmentValue": 29.9, "AdjustmentCurrencyCode": "EUR"}]}),
        );
        testing::taken(&Microsoft, &refund, &memory, 200);
        let at = |fault: &str| format!("OfflineConversionAdjustments[0].{fault}");
        testing::table(
            &Microsoft,
            &refund,
            &memory,
            &[
                ("/OfflineConversionAdjustments/0/AdjustmentType", json!("Retract"), &at("AdjustmentValue must not come with Retract"), 200, wrong),
                ("/OfflineConversionAdjustments/0/AdjustmentValue", Value::Null, &at("AdjustmentValue is required and missing"), 200, wrong),
                (
                    "/OfflineConversionAdjustments/0/AdjustmentTime",
                    json!("2026-11-23T10:15:00Z"),
                    &at("AdjustmentTime must be later than ConversionTime"),
                    200,
                    wrong,
                ),
            ],
        );
    }

    #[test]
    fn uet_events() {
        let memory = Memory::default();
        let good = testing::post("/v1/12345/events", &json!({"data": [{
            "eventType": "custom", "eventName": "purchase", "eventId": "order-10042", "eventTime": NOW - 60, "adStorageConsent": "G", "eventSourceUrl": "https://shop.example/done",
            "userData": {"msclkid": CLICK, "em": HASH, "ph": HASH, "clientIpAddress": "203.0.113.7", "clientUserAgent": "Mozilla/5.0"},
            "customData": {"transactionId": "10042", "value": 49.9, "currency": "EUR", "pageType": "purchase"}}], "continueOnValidationError": true})).with("authorization", "Bearer t");
        assert!(testing::taken(&Microsoft, &good, &memory, 200).body.contains(r#""eventsReceived":1"#));
        let wrong = r#""index":0"#;
        testing::table(
            &Microsoft,
            &good,
            &memory,
            &[
                ("/data/0/eventName", Value::Null, "data[0].eventName is required and missing", 400, wrong),
                ("/data/0/eventTime", json!(NOW - 8 * 86_400), "data[0].eventTime is older than 7 days", 400, wrong),
                ("/data/0/adStorageConsent", json!("granted"), "data[0].adStorageConsent must be one of G, D", 400, wrong),
                ("/data/0/userData/em", json!("a@b.c"), "data[0].userData.em must be SHA-256 in 64 digits of lower-case hex", 400, wrong),
                ("/data/0/customData/transactionId", Value::Null, "data[0].customData.transactionId is required and missing", 400, wrong),
                ("/data/0/customData/value", json!("49.9"), "data[0].customData.value must be a JSON number", 400, wrong),
            ],
        );
        testing::refused(&Microsoft, &good.without("authorization"), &memory, "authorization is required and missing", 401, "");
    }
}
