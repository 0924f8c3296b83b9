//! Google Ads API: click conversions and their adjustments.
//!
//! Fields and codes: <https://developers.google.com/google-ads/api/reference/rpc/v26/UploadClickConversionsRequest>,
//! `UploadConversionAdjustmentsRequest`, `ConversionUploadErrorEnum` and `ConversionAdjustmentUploadErrorEnum` beside it. With `partialFailure` every
//! item has a result, which is empty where it failed.

use serde_json::{Value, json};

use super::{
    look::{self, Faults, Look},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct GoogleAds;

const SCOPE: &str = "https://www.googleapis.com/auth/adwords";

impl Judge for GoogleAds {
    fn name(&self) -> &'static str {
        "google_ads"
    }

    fn judge(&self, call: &Call, memory: &Memory) -> Verdict {
        if call.path == "/token" {
            return oauth::judge(call, SCOPE);
        }
        let (faults, body) = (Faults::default(), call.json());
        oauth::bearer(call, memory, &faults);
        match call.header("developer-token") {
            Some(token) if !token.is_empty() => {}
            _ => faults.add(Concern::Auth, "developer-token", "is required and missing"),
        }
        if !call.header("login-customer-id").is_none_or(look::digits) {
            faults.add(Concern::Request, "login-customer-id", "must be digits without dashes");
        }
        let parts = call.parts();
        let method = match (call.method.as_str(), parts.as_slice()) {
            ("POST", [version, "customers", rest]) if version.starts_with('v') => {
                rest.split_once(':').filter(|(id, _)| id.len() == 10 && look::digits(id))
            }
            _ => None,
        };
        let root = faults.look(&body);
        let (key, adjusts) = match method {
            Some((_, "uploadClickConversions")) => ("conversions", false),
            Some((_, "uploadConversionAdjustments")) => ("conversionAdjustments", true),
            _ => {
                faults.add(Concern::Address, "path", "must be POST /vN/customers/TEN_DIGITS:uploadClickConversions or :uploadConversionAdjustments");
                return faults.verdict("unknown");
            }
        };
        root.only(&[key, "partialFailure", "validateOnly", "jobId", "debugEnabled"]);
        root.at("partialFailure").must(body["partialFailure"] == true, "must be true");
        root.at("validateOnly").boolean();
        let list = root.at(key);
        if list.required() {
            list.list(1, 2000);
        }
        let read = |one: &Look<'_>| if adjusts { adjustment(one) } else { conversion(one) };
        let items: Vec<Item> = list.items().iter().map(read).collect();
        let mut verdict = Verdict { items, ..faults.verdict(if adjusts { "refund" } else { "events" }) };
        if !adjusts {
            let again = verdict.items.iter().filter(|item| memory.jobs.contains_key(&item.id)).count();
            if again > 0 {
                verdict.notes.push(format!("{again} order ids are in use already"));
            }
        }
        verdict
    }

    fn answer(&self, call: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer {
        if verdict.what == "token" {
            return oauth::answer(call, verdict, memory);
        }
        let whole = verdict.faults.iter().filter(|fault| fault.concern != Concern::Item).min_by_key(|fault| fault.concern);
        if let Some(fault) = whole {
            let (code, status, kind, name) = match fault.concern {
                Concern::Auth => (401, "UNAUTHENTICATED", "authenticationError", "OAUTH_TOKEN_EXPIRED"),
                Concern::Address => (404, "NOT_FOUND", "requestError", "UNKNOWN"),
                _ => (400, "INVALID_ARGUMENT", "requestError", "REQUIRED_FIELD_MISSING"),
            };
            let errors = json!([{"errorCode": {kind: name}, "message": format!("{} {}", fault.field, fault.rule)}]);
            let details = json!([{"@type": "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure", "errors": errors}]);
            return super::json(code, &json!({"error": {"code": code, "message": fault.rule, "status": status, "details": details}}));
        }
        let adjusts = verdict.what == "refund";
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for (n, item) in verdict.items.iter().enumerate() {
            let wrong = match verdict.of_item(n) {
                Some(fault) => Some((name(fault), format!("{} {}", fault.field, fault.rule))),
                None if adjusts && !memory.jobs.contains_key(&item.id) => Some(("CONVERSION_NOT_FOUND", "there is no such conversion".to_owned())),
                None if !adjusts && memory.jobs.contains_key(&item.id) => Some(("ORDER_ID_ALREADY_IN_USE", "the order id is in use".to_owned())),
                None => None,
            };
            if let Some((name, message)) = wrong {
                let kind = if adjusts { "conversionAdjustmentUploadError" } else { "conversionUploadError" };
                let at = if adjusts { "conversion_adjustments" } else { "conversions" };
                errors
                    .push(json!({"errorCode": {kind: name}, "message": message, "location": {"fieldPathElements": [{"fieldName": at, "index": n}]}}));
                results.push(json!({}));
            } else {
                memory.jobs.insert(item.id.clone(), Value::Null);
                results.push(json!({"orderId": item.id}));
            }
        }
        let mut said = json!({ "results": results });
        if !errors.is_empty() {
            let details = json!([{"@type": "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure", "errors": errors}]);
            said["partialFailureError"] = json!({"code": 3, "message": "Multiple errors in 'details'.", "details": details});
        }
        super::json(200, &said)
    }

    fn throttled(&self, _: &Call) -> Answer {
        let errors = json!([{"errorCode": {"quotaError": "RESOURCE_TEMPORARILY_EXHAUSTED"}, "message": "Too many requests. Retry in 1 seconds."}]);
        let details = json!([{"@type": "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure", "errors": errors}]);
        super::json(
            429,
            &json!({"error": {"code": 429, "message": "Resource has been exhausted", "status": "RESOURCE_EXHAUSTED", "details": details}}),
        )
    }

    fn settings(&self) -> &'static str {
        "token_url = \"{base}/token\""
    }
}

fn name(fault: &super::Fault) -> &'static str {
    match fault.field.rsplit('.').next() {
        Some("conversionAction") => "NO_CONVERSION_ACTION_FOUND",
        Some("hashedEmail" | "hashedPhoneNumber") => "INVALID_USER_IDENTIFIER",
        Some("gbraid") => "GBRAID_WBRAID_BOTH_SET",
        _ => "UNPARSEABLE_GCLID",
    }
}

/// `2026-11-23 10:15:00+00:00`
fn time(at: &Look<'_>) {
    at.required();
    at.is_text("must be yyyy-MM-dd HH:mm:ss+HH:MM", |text| {
        text.len() == 25
            && text.as_bytes()[10] == b' '
            && matches!(text.as_bytes()[19], b'+' | b'-')
            && text.replacen(' ', "T", 1).parse::<jiff::Timestamp>().is_ok()
    });
}

fn action(at: &Look<'_>) {
    at.required();
    at.is_text("must be customers/N/conversionActions/N", |text| {
        matches!(text.split('/').collect::<Vec<_>>().as_slice(), ["customers", a, "conversionActions", b] if look::digits(a) && look::digits(b))
    });
}

fn conversion(one: &Look<'_>) -> Item {
    one.only(&[
        "gclid",
        "gbraid",
        "wbraid",
        "conversionAction",
        "conversionDateTime",
        "conversionValue",
        "currencyCode",
        "orderId",
        "userIdentifiers",
        "consent",
        "cartData",
        "customVariables",
        "conversionEnvironment",
        "externalAttributionData",
        "customerType",
        "userIpAddress",
        "sessionAttributesEncoded",
        "sessionAttributesKeyValuePairs",
    ]);
    action(&one.at("conversionAction"));
    time(&one.at("conversionDateTime"));
    let (value, currency) = (one.at("conversionValue"), one.at("currencyCode"));
    value.number(0.0);
    value.money(currency.text());
    currency.currency();
    let clicks = ["gclid", "gbraid", "wbraid"].iter().any(|key| one.at(key).there());
    one.must(clicks || one.at("userIdentifiers").there(), "must have gclid, gbraid, wbraid or userIdentifiers");
    one.at("gbraid").must(!(one.at("gbraid").there() && one.at("wbraid").there()), "must not come with wbraid");
    one.at("userIdentifiers").list(0, 5);
    for identifier in one.at("userIdentifiers").each() {
        identifier.only(&["hashedEmail", "hashedPhoneNumber", "userIdentifierSource"]);
        identifier.at("hashedEmail").sha256();
        identifier.at("hashedPhoneNumber").sha256();
    }
    one.at("consent").at("adUserData").one_of(&["GRANTED", "DENIED"]);
    one.at("consent").at("adPersonalization").one_of(&["GRANTED", "DENIED"]);
    one.at("orderId").string();
    let id = match one.at("orderId").there() {
        true => one.at("orderId").text().to_owned(),
        false => look::digest(&format!("{} {}", one.at("gclid").text(), one.at("conversionDateTime").text())),
    };
    Item { name: "conversion".to_owned(), id, amount: look::amount(&value, &currency) }
}

fn adjustment(one: &Look<'_>) -> Item {
    one.only(&[
        "orderId",
        "gclidDateTimePair",
        "conversionAction",
        "adjustmentType",
        "adjustmentDateTime",
        "restatementValue",
        "userIdentifiers",
        "userAgent",
    ]);
    action(&one.at("conversionAction"));
    time(&one.at("adjustmentDateTime"));
    let kind = one.at("adjustmentType");
    kind.required();
    kind.one_of(&["RETRACTION", "RESTATEMENT", "ENHANCEMENT"]);
    one.must(one.at("orderId").there() != one.at("gclidDateTimePair").there(), "must have exactly one of orderId and gclidDateTimePair");
    let (value, currency) = (one.at("restatementValue").at("adjustedValue"), one.at("restatementValue").at("currencyCode"));
    match kind.text() {
        "RESTATEMENT" => {
            value.required();
            value.number(0.0);
            value.money(currency.text());
            currency.currency();
        }
        "RETRACTION" => {
            one.at("restatementValue").must(!one.at("restatementValue").there(), "must not come with RETRACTION");
        }
        _ => {}
    }
    let pair = one.at("gclidDateTimePair");
    let id = match one.at("orderId").there() {
        true => one.at("orderId").text().to_owned(),
        false => look::digest(&format!("{} {}", pair.at("gclid").text(), pair.at("conversionDateTime").text())),
    };
    Item { name: kind.text().to_owned(), id, amount: look::amount(&value, &currency) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{
        script::Chance,
        testing::{self, HASH},
    };

    #[test]
    fn rules() {
        let mut memory = Memory::default();
        testing::ask(&GoogleAds, &testing::form("POST", "/token", "grant_type=refresh_token&client_id=c&refresh_token=r"), &mut memory);
        let call = |method: &str, body: Value| {
            testing::post(&format!("/v26/customers/1234567890:{method}"), &body)
                .with("authorization", "Bearer fake-token-1")
                .with("developer-token", "d")
        };
        let good = call(
            "uploadClickConversions",
            json!({"conversions": [{
            "gclid": "EAIaIQ", "conversionAction": "customers/1234567890/conversionActions/555111222", "conversionDateTime": "2026-11-23 10:15:00+00:00",
            "conversionValue": 49.9, "currencyCode": "EUR", "orderId": "10042", "userIdentifiers": [{"hashedEmail": HASH}],
            "consent": {"adUserData": "GRANTED", "adPersonalization": "GRANTED"}}], "partialFailure": true}),
        );
        testing::taken(&GoogleAds, &good, &memory, 200);
        let wrong = "partialFailureError";
        let at = |fault: &str| format!("conversions[0].{fault}");
        testing::table(
            &GoogleAds,
            &good,
            &memory,
            &[
                (
                    "/conversions/0/conversionAction",
                    json!("555111222"),
                    &at("conversionAction must be customers/N/conversionActions/N"),
                    200,
                    "NO_CONVERSION_ACTION_FOUND",
                ),
                (
                    "/conversions/0/conversionDateTime",
                    json!("2026-11-23T10:15:00Z"),
                    &at("conversionDateTime must be yyyy-MM-dd HH:mm:ss+HH:MM"),
                    200,
                    wrong,
                ),
                ("/conversions/0/conversionValue", json!("49.9"), &at("conversionValue must be a JSON number"), 200, wrong),
                (
                    "/conversions/0/userIdentifiers/0/hashedEmail",
                    json!("a@b.c"),
                    &at("userIdentifiers[0].hashedEmail must be SHA-256 in 64 digits of lower-case hex"),
                    200,
                    "INVALID_USER_IDENTIFIER",
                ),
                ("/conversions/0/consent/adUserData", json!("CONSENT_GRANTED"), &at("consent.adUserData must be one of GRANTED, DENIED"), 200, wrong),
                ("/conversions/0/transactionId", json!("x"), &at("transactionId is no field of this platform"), 200, wrong),
                ("/partialFailure", json!(false), "partialFailure must be true", 400, "INVALID_ARGUMENT"),
            ],
        );
        testing::refused(
            &GoogleAds,
            &good.clone().without("developer-token"),
            &memory,
            "developer-token is required and missing",
            401,
            "UNAUTHENTICATED",
        );
        testing::scripted(
            &GoogleAds,
            &good,
            &memory,
            &[
                (Chance::Throttled, 429, "RESOURCE_TEMPORARILY_EXHAUSTED"),
                (Chance::Down, 503, ""),
                (Chance::Expired, 401, "UNAUTHENTICATED"),
                (Chance::Invalid, 400, "INVALID_ARGUMENT"),
                (Chance::Partial, 200, wrong),
            ],
        );
        let refund = call(
            "uploadConversionAdjustments",
            json!({"conversionAdjustments": [{
            "orderId": "10042", "conversionAction": "customers/1234567890/conversionActions/555111222", "adjustmentType": "RESTATEMENT",
            "adjustmentDateTime": "2026-11-24 09:00:00+00:00", "restatementValue": {"adjustedValue": 29.9, "currencyCode": "EUR"}}], "partialFailure": true}),
        );
        assert!(testing::taken(&GoogleAds, &refund, &memory, 200).body.contains("CONVERSION_NOT_FOUND"));
        testing::ask(&GoogleAds, &good, &mut memory);
        assert!(testing::taken(&GoogleAds, &good, &memory, 200).body.contains("ORDER_ID_ALREADY_IN_USE"));
        assert!(!testing::taken(&GoogleAds, &refund, &memory, 200).body.contains(wrong));
        testing::table(
            &GoogleAds,
            &refund,
            &memory,
            &[
                (
                    "/conversionAdjustments/0/adjustmentType",
                    json!("RETRACTION"),
                    "conversionAdjustments[0].restatementValue must not come with RETRACTION",
                    200,
                    wrong,
                ),
                (
                    "/conversionAdjustments/0/orderId",
                    Value::Null,
                    "conversionAdjustments[0] must have exactly one of orderId and gclidDateTimePair",
                    200,
                    wrong,
                ),
                (
                    "/conversionAdjustments/0/restatementValue",
                    Value::Null,
                    "conversionAdjustments[0].restatementValue.adjustedValue is required and missing",
                    200,
                    wrong,
                ),
            ],
        );
    }
}
