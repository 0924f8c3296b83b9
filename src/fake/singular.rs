//! Singular, events from server to server.
//!
//! Parameters: Singular's help pages (support.singular.net), "Server-to-Server EVENT Endpoint API Reference"; answers: "S2S API Response Codes &
//! Errors" there. The status is always 200.

use serde_json::{Value, json};

use super::{
    look::{self, Faults},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Singular;

const PLATFORMS: &[&str] = &["iOS", "Android", "PC", "Xbox", "Playstation", "Nintendo", "MetaQuest", "Web"];

impl Judge for Singular {
    fn name(&self) -> &'static str {
        "singular"
    }

    fn judge(&self, call: &Call, _: &Memory) -> Verdict {
        let faults = Faults::default();
        let second = call.path == "/api/v2/evt";
        if !matches!((call.method.as_str(), call.path.as_str()), ("GET", "/api/v1/evt" | "/api/v2/evt") | ("POST", "/api/v2/evt")) {
            faults.add(Concern::Address, "path", "must be GET /api/v1/evt or POST /api/v2/evt");
        }
        let form = if call.body.is_empty() { call.query_object() } else { call.form() };
        let look = faults.look(&form).single();
        oauth::fixed(Some(look.at("a").text()), "a", &faults);
        for key in ["p", "i", "n"] {
            look.at(key).required();
        }
        look.at("p").one_of(PLATFORMS);
        look.at("n").is_text("must be 1 to 32 characters of ASCII", |text| text.len() <= 32 && text.is_ascii());
        let uuid = |text: &str| text.len() == 36 && text.matches('-').count() == 4;
        let capital = |text: &str| uuid(text) && text == text.to_uppercase();
        match (second, look.at("p").text()) {
            (true, _) => {
                look.at("sdid").required();
                look.at("sdid").is_text("must be a UUID", uuid);
            }
            (false, "iOS") => {
                look.at("idfv").required();
            }
            (false, "Android") => {
                let device = ["aifa", "andi", "asid", "amid", "oaid"].iter().any(|key| look.at(key).there());
                look.must(device, "must have aifa, andi, asid, amid or oaid");
            }
            _ => {}
        }
        if !second {
            look.at("ve").required();
        }
        look.at("idfa").is_text("must be a UUID in capital letters", capital);
        look.at("idfv").is_text("must be a UUID in capital letters", capital);
        look.must(look.at("ip").there() != look.at("use_ip").there(), "must have exactly one of ip and use_ip");
        look.at("ip").is_text("must be an address of IP version 4", |text| text.parse::<std::net::Ipv4Addr>().is_ok());
        look.at("att_authorization_status").one_of(&["0", "1", "2", "3"]);
        let now = call.now.as_second();
        look.at("utime")
            .is_text("must be Unix seconds, not in the future", |text| text.parse::<i64>().is_ok_and(|at| (1_000_000_000..now + 600).contains(&at)));
        look.at("umilisec").is_text("must be Unix milliseconds, not in the future", |text| {
            text.parse::<i64>().is_ok_and(|at| (1_000_000_000_000..(now + 600) * 1000).contains(&at))
        });
        let (amount, currency) = (look.at("amt"), look.at("cur"));
        if amount.there() {
            currency.required();
        }
        amount.money(currency.text());
        currency.currency();
        for key in ["e", "global_properties", "data_sharing_options"] {
            look.at(key).is_text("must be an object in JSON", |text| serde_json::from_str::<Value>(text).is_ok_and(|it| it.is_object()));
        }
        let extra: Value = serde_json::from_str(look.at("e").text()).unwrap_or_default();
        let short = |text: &str| text.len() <= 500 && text.is_ascii();
        let fits = extra.as_object().is_none_or(|all| all.iter().all(|(key, value)| short(key) && value.as_str().is_none_or(short)));
        look.at("e").must(fits, "must have keys and values of 500 characters of ASCII at most");
        let id = look.at("purchase_transaction_id").text().to_owned();
        let item = Item { name: look.at("n").text().to_owned(), id, amount: look::amount(&amount, &currency) };
        Verdict { items: vec![item], ..faults.verdict("events") }
    }

    fn answer(&self, _: &Call, verdict: &Verdict, _: &mut Memory) -> Answer {
        match verdict.worst() {
            None => super::json(200, &json!({"status": "ok"})),
            Some(fault) if fault.concern == Concern::Address => super::json(404, &json!({"status": "error", "reason": "not found"})),
            Some(fault) if fault.rule.contains("missing") => {
                super::json(200, &json!({"status": "error", "reason": format!("missing argument: {}", fault.field)}))
            }
            Some(fault) if fault.field == "p" => super::json(200, &json!({"status": "error", "reason": "invalid platform"})),
            // What it says to a wrong key is not documented.
            Some(fault) if fault.concern == Concern::Auth => super::json(200, &json!({"status": "error", "reason": "invalid argument: a"})),
            Some(fault) => super::json(200, &json!({"status": "error", "reason": format!("invalid argument: {} {}", fault.field, fault.rule)})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{script::Chance, testing};

    const GOOD: &str = "a=sdkKey_x&p=iOS&i=com.example.shop&n=__iap__&idfa=660E1D86-6796-463A-BE86-897993136018&idfv=660E1D86-6796-463A-BE86-897993136018&ip=203.0.113.7&ve=17.5\
                        &att_authorization_status=3&utime=1793613840&amt=85.50&cur=USD&is_revenue_event=true&purchase_transaction_id=SO-1001&e=%7B%22order_id%22%3A%22SO-1001%22%7D";

    #[test]
    fn rules() {
        let memory = Memory::default();
        let call = |query: &str| testing::get(&format!("/api/v1/evt?{query}"));
        testing::taken(&Singular, &call(GOOD), &memory, 200);
        for (from, to, fault, said) in [
            ("a=sdkKey_x&", "", "a is required and missing", "missing argument: a"),
            ("p=iOS", "p=ios", &format!("p must be one of {}", PLATFORMS.join(", ")), "invalid platform"),
            ("&n=__iap__", &format!("&n={}", "x".repeat(33)), "n must be 1 to 32 characters of ASCII", "invalid argument"),
            ("&idfv=660E1D86-6796-463A-BE86-897993136018", "", "idfv is required and missing", "missing argument: idfv"),
            ("idfa=660E", "idfa=660e", "idfa must be a UUID in capital letters", "invalid argument"),
            ("&ip=203.0.113.7", "", " must have exactly one of ip and use_ip", "invalid argument"),
            ("203.0.113.7", "2001:db8::1", "ip must be an address of IP version 4", "invalid argument"),
            ("&cur=USD", "", "cur is required and missing", "missing argument: cur"),
            ("amt=85.50", "amt=$85", "amt must be a decimal with a point and without thousands separators", "invalid argument"),
            ("utime=1793613840", "utime=1793613840000", "utime must be Unix seconds, not in the future", "invalid argument"),
            ("%7D", "", "e must be an object in JSON", "invalid argument"),
        ] {
            testing::refused(&Singular, &call(&GOOD.replace(from, to)), &memory, fault, 200, said);
        }
        let second = "a=k&p=Android&i=com.example.shop&n=refund&sdid=40009df0-d618-4d81-9da1-cbb3337b8dec&use_ip=true";
        testing::taken(&Singular, &testing::form("POST", "/api/v2/evt", second), &memory, 200);
        testing::refused(
            &Singular,
            &testing::form("POST", "/api/v2/evt", &second.replace("sdid", "aifa")),
            &memory,
            "sdid is required and missing",
            200,
            "sdid",
        );
        testing::scripted(
            &Singular,
            &call(GOOD),
            &memory,
            &[
                (Chance::Throttled, 429, ""),
                (Chance::Down, 503, ""),
                (Chance::Expired, 200, "error"),
                (Chance::Invalid, 200, "error"),
                (Chance::Partial, 200, "error"),
            ],
        );
    }
}
