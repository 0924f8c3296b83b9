//! AppsFlyer, events from server to server.
//!
//! Fields, patterns and answers: <https://dev.appsflyer.com/hc/reference/s2s-events-api3-overview> and its OpenAPI document; size and rate:
//! <https://support.appsflyer.com/hc/en-us/articles/207034486>. An id of an iOS app without its `id` is answered with OK, and the event is lost.

use serde_json::Value;

use super::{
    look::{self, Faults},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct AppsFlyer;

impl Judge for AppsFlyer {
    fn name(&self) -> &'static str {
        "appsflyer"
    }

    fn judge(&self, call: &Call, _: &Memory) -> Verdict {
        let (faults, body) = (Faults::default(), call.json());
        match (call.method.as_str(), call.parts().as_slice()) {
            ("POST", ["inappevent", app]) if app.contains('.') || app.strip_prefix("id").is_some_and(look::digits) => {}
            ("POST", ["inappevent", app]) if look::digits(app) => {
                faults.add(Concern::Request, "app_id", "must be id and the number in the App Store")
            }
            _ => faults.add(Concern::Address, "path", "must be POST /inappevent/APP"),
        }
        oauth::fixed(call.header("authentication"), "authentication", &faults);
        if call.header("authentication").is_some_and(|key| key.starts_with("Bearer ")) {
            faults.add(Concern::Auth, "authentication", "must be the key alone, without Bearer");
        }
        if call.body.len() > 1024 {
            faults.add(Concern::Request, "body", "must be 1 KB at most");
        }
        let root = faults.look(&body).single();
        root.must(body.is_object(), "must be one event in JSON");
        let id = root.at("appsflyer_id");
        id.required();
        id.is_text("must be 13 digits, - and digits", |text| {
            text.split_once('-').is_some_and(|(a, b)| a.len() == 13 && look::digits(a) && look::digits(b))
        });
        let name = root.at("eventName");
        name.required();
        name.string();
        let value = root.at("eventValue");
        value.is_text("must be JSON inside of a text", |text| {
            text.is_empty() || serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object())
        });
        root.must(body.get("eventValue").is_some(), "must have eventValue, empty where there is nothing to tell");
        let inner: Value = serde_json::from_str(value.text()).unwrap_or_default();
        let inside = faults.look(&inner).single();
        let currency =
            [root.at("eventCurrency"), inside.at("af_currency")].into_iter().find(|currency| currency.there()).unwrap_or(root.at("eventCurrency"));
        inside.at("af_revenue").money(currency.text());
        currency.currency();
        root.at("eventTime").is_text("must be yyyy-mm-dd hh:mm:ss.sss in UTC", |text| {
            text.len() == 23 && text.as_bytes()[10] == b' ' && text.replacen(' ', "T", 1).parse::<jiff::civil::DateTime>().is_ok()
        });
        root.at("ip").is_text("must be an address of IP version 4", |text| text.parse::<std::net::Ipv4Addr>().is_ok());
        for key in ["idfa", "idfv"] {
            root.at(key).is_text("must be a UUID in capital letters", |text| text.len() == 36 && text == text.to_uppercase());
        }
        for key in ["email_hashed", "phone_number_hashed", "phone_number_e164_hashed", "first_name_hashed", "last_name_hashed"] {
            root.at(key).sha256();
        }
        if root.at("att").integer().is_some_and(|att| !(0..=3).contains(&att)) {
            root.at("att").fault("must be 0 to 3");
        }
        let amount = look::amount(&inside.at("af_revenue"), &currency);
        let item = Item { name: name.text().to_owned(), id: inside.at("af_order_id").text().to_owned(), amount };
        Verdict { items: vec![item], ..faults.verdict("events") }
    }

    fn answer(&self, _: &Call, verdict: &Verdict, _: &mut Memory) -> Answer {
        let said = |status, text: &str| Answer::new(status, "text/plain", text);
        match verdict.worst() {
            None => said(200, "OK"),
            Some(fault) if fault.field == "app_id" => said(200, "OK"),
            Some(fault) if fault.concern == Concern::Auth => said(401, "Unauthorized"),
            Some(fault) if fault.concern == Concern::Address => said(404, "Not Found"),
            Some(fault) if fault.field == "appsflyer_id" => said(400, "appsflyer_id is a mandatory field"),
            Some(fault) if fault.field == "eventValue" => said(500, "Internal Server Error"),
            Some(fault) => said(400, &format!("Bad request: {} {}", fault.field, fault.rule)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake::{script::Chance, testing};

    #[test]
    fn rules() {
        let value =
            r#"{"af_revenue":"85.50","af_currency":"USD","af_order_id":"SO-1001","af_content_id":["MUG-1"],"af_quantity":[2],"af_price":[42.75]}"#;
        let body = json!({
            "appsflyer_id": "1415211453000-6513894", "customer_user_id": "c-77", "eventName": "af_purchase", "eventValue": value, "eventCurrency": "USD",
            "eventTime": "2026-11-02 10:04:00.000", "ip": "203.0.113.7", "os": "17.5", "bundleIdentifier": "com.example.shop"});
        let good = testing::post("/inappevent/id123456789", &body).with("authentication", "k");
        let memory = Memory::default();
        assert_eq!(testing::taken(&AppsFlyer, &good, &memory, 200).body, "OK");
        testing::taken(&AppsFlyer, &good.clone().at("/inappevent/com.example.shop"), &memory, 200);
        testing::table(
            &AppsFlyer,
            &good,
            &memory,
            &[
                ("/appsflyer_id", Value::Null, "appsflyer_id is required and missing", 400, "mandatory"),
                ("/appsflyer_id", json!("123-4"), "appsflyer_id must be 13 digits, - and digits", 400, "mandatory"),
                ("/eventName", Value::Null, "eventName is required and missing", 400, "Bad request"),
                ("/eventValue", json!({"af_revenue": "85.50"}), "eventValue must be a text", 500, ""),
                ("/eventValue", json!("af_revenue=1"), "eventValue must be JSON inside of a text", 500, ""),
                (
                    "/eventValue",
                    json!(value.replace("85.50", "$85.50")),
                    "af_revenue must be a decimal with a point and without thousands separators",
                    400,
                    "",
                ),
                ("/eventTime", json!("2026-11-02T10:04:00Z"), "eventTime must be yyyy-mm-dd hh:mm:ss.sss in UTC", 400, ""),
                ("/eventCurrency", json!("usd"), "eventCurrency must be a currency of ISO 4217 in capital letters", 400, ""),
                ("/ip", json!("2001:db8::1"), "ip must be an address of IP version 4", 400, ""),
                ("/email_hashed", json!("a@b.c"), "email_hashed must be SHA-256 in 64 digits of lower-case hex", 400, ""),
                ("/os", json!("x".repeat(1024)), "body must be 1 KB at most", 400, ""),
            ],
        );
        testing::refused(
            &AppsFlyer,
            &good.clone().at("/inappevent/123456789"),
            &memory,
            "app_id must be id and the number in the App Store",
            200,
            "OK",
        );
        testing::refused(&AppsFlyer, &good.clone().without("authentication"), &memory, "authentication is required and missing", 401, "Unauthorized");
        let bearer = good.clone().with("authentication", "Bearer k");
        testing::refused(&AppsFlyer, &bearer, &memory, "authentication must be the key alone, without Bearer", 401, "Unauthorized");
        testing::scripted(
            &AppsFlyer,
            &good,
            &memory,
            &[
                (Chance::Throttled, 429, ""),
                (Chance::Down, 503, ""),
                (Chance::Expired, 401, ""),
                (Chance::Invalid, 400, ""),
                (Chance::Partial, 400, ""),
            ],
        );
        let refund = json!(value.replace("85.50", "-42.75"));
        let mut refunded = body;
        refunded["eventValue"] = refund;
        testing::taken(&AppsFlyer, &good.body(&refunded), &memory, 200);
    }
}
