//! Adjust, events from server to server.
//!
//! Parameters, answers and their texts: <https://dev.adjust.com/en/api/s2s-api/events>.

use serde_json::{Value, json};

use super::{
    look::{self, Faults},
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Adjust;

const DEVICES: &[&str] = &["adid", "idfa", "idfv", "gps_adid", "fire_adid", "oaid", "web_uuid", "android_id", "android_id_lower_sha1"];

impl Judge for Adjust {
    fn name(&self) -> &'static str {
        "adjust"
    }

    fn judge(&self, call: &Call, memory: &Memory) -> Verdict {
        let faults = Faults::default();
        if !matches!(call.method.as_str(), "POST" | "GET") || call.path.trim_end_matches('/') != "/event" {
            faults.add(Concern::Address, "path", "must be POST or GET /event");
        }
        // Only apps with S2S Security need one.
        match call.header("authorization").map(|it| it.strip_prefix("Bearer ")) {
            Some(None | Some("")) => faults.add(Concern::Auth, "authorization", "must be Bearer and the token"),
            Some(Some("expired")) => faults.add(Concern::Auth, "authorization", "has expired"),
            _ => {}
        }
        let form = if call.body.is_empty() { call.query_object() } else { call.form() };
        let look = faults.look(&form).single();
        look.at("s2s").required();
        look.at("s2s").one_of(&["1"]);
        for token in ["app_token", "event_token"] {
            look.at(token).required();
        }
        look.must(DEVICES.iter().any(|key| look.at(key).there()), "must have a device: adid, idfa, gps_adid or another");
        let uuid = |text: &str| text.len() == 36 && text.matches('-').count() == 4;
        look.at("idfa").is_text("must be a UUID in capital letters", |text| uuid(text) && text == text.to_uppercase());
        look.at("gps_adid").is_text("must be a UUID in small letters", |text| uuid(text) && text == text.to_lowercase());
        look.at("environment").one_of(&["production", "sandbox"]);
        look.at("created_at_unix").is_text("must be Unix seconds, not in the future", |text| {
            text.parse::<i64>().is_ok_and(|seconds| (1_000_000_000..call.now.as_second() + 600).contains(&seconds))
        });
        let (revenue, currency) = (look.at("revenue"), look.at("currency"));
        if revenue.there() {
            currency.required();
        }
        currency.currency();
        revenue.is_text("must not be negative", |text| !text.starts_with('-'));
        revenue.money(currency.text());
        look.at("ip_address").is_text("must be an address of IP version 4", |text| text.parse::<std::net::Ipv4Addr>().is_ok());
        for key in ["callback_params", "partner_params"] {
            look.at(key).is_text("must be an object of texts in JSON", |text| {
                serde_json::from_str::<Value>(text).is_ok_and(|it| it.as_object().is_some_and(|object| object.values().all(Value::is_string)))
            });
        }
        let id = look.at("deduplication_id").text();
        let known = !id.is_empty() && memory.taken.iter().any(|taken| taken.ends_with(&format!(" {id}")));
        let item = Item { name: look.at("event_token").text().to_owned(), id: id.to_owned(), amount: look::amount(&revenue, &currency) };
        let mut verdict = Verdict { items: vec![item], ..faults.verdict("events") };
        if known {
            verdict.notes.push("Adjust counts it again unless the event is set to unique".to_owned());
        }
        verdict
    }

    fn answer(&self, _: &Call, verdict: &Verdict, _: &mut Memory) -> Answer {
        let failed = |status, text: &str| super::json(status, &json!({"error": format!("Event request failed ({text})")}));
        match verdict.worst() {
            None => Answer::new(200, "text/plain", "OK"),
            Some(fault) => match (fault.concern, fault.field.as_str()) {
                (Concern::Auth, _) => failed(401, "Failed to authorize request"),
                (Concern::Address, _) => failed(404, "Not found"),
                (_, "app_token") => failed(400, "Invalid app token"),
                (_, "event_token") => failed(400, "Invalid event token"),
                (_, "revenue" | "currency") => failed(400, "Invalid revenue"),
                (_, "callback_params" | "partner_params") => failed(400, "Invalid callback parameters"),
                (_, "created_at_unix") => failed(400, "Bad event state"),
                (_, "") => failed(404, "Device not found"),
                _ => failed(400, &format!("{} {}", fault.field, fault.rule)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{script::Chance, testing};

    const GOOD: &str = "s2s=1&app_token=4w565xzmb54d&event_token=f0ob4r&environment=production&gps_adid=660e1d86-6796-463a-be86-897993136018&revenue=85.50&currency=USD\
                        &created_at_unix=1793613840&ip_address=203.0.113.7&callback_params=%7B%22order_id%22%3A%22SO-1001%22%7D&deduplication_id=SO-1001";

    #[test]
    fn rules() {
        let memory = Memory::default();
        let call = |form: &str| testing::form("POST", "/event", form).with("authorization", "Bearer t");
        testing::taken(&Adjust, &call(GOOD), &memory, 200);
        testing::taken(&Adjust, &testing::get(&format!("/event?{GOOD}")), &memory, 200);
        for (from, to, fault, status, said) in [
            ("s2s=1&", "", "s2s is required and missing", 400, "s2s"),
            ("event_token=f0ob4r&", "", "event_token is required and missing", 400, "Invalid event token"),
            ("app_token=4w565xzmb54d&", "", "app_token is required and missing", 400, "Invalid app token"),
            ("&gps_adid=660e1d86-6796-463a-be86-897993136018", "", " must have a device: adid, idfa, gps_adid or another", 404, "Device not found"),
            ("660e1d86", "660E1D86", "gps_adid must be a UUID in small letters", 400, ""),
            ("&currency=USD", "", "currency is required and missing", 400, "Invalid revenue"),
            ("85.50", "-85.50", "revenue must not be negative", 400, "Invalid revenue"),
            ("=1793613840", "=1793613840000", "created_at_unix must be Unix seconds, not in the future", 400, "Bad event state"),
            ("%22SO-1001%22%7D", "5%7D", "callback_params must be an object of texts in JSON", 400, "Invalid callback parameters"),
            ("203.0.113.7", "2001:db8::1", "ip_address must be an address of IP version 4", 400, ""),
            ("environment=production", "environment=test", "environment must be one of production, sandbox", 400, ""),
        ] {
            testing::refused(&Adjust, &call(&GOOD.replace(from, to)), &memory, fault, status, said);
        }
        testing::scripted(
            &Adjust,
            &call(GOOD),
            &memory,
            &[
                (Chance::Throttled, 429, ""),
                (Chance::Down, 503, ""),
                (Chance::Expired, 401, "authorize"),
                (Chance::Invalid, 400, ""),
                (Chance::Partial, 400, ""),
            ],
        );
    }
}
