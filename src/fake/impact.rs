//! impact.com: conversions, and changes of actions.
//!
//! Fields, enumerations and the queued answer: impact's OpenAPI documents for brands (Conversions, Actions; version 14), of
//! integrations.impact.com. Everything is queued; what became of it is asked later.

use serde_json::{Value, json};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    look::{self, Faults, Look},
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Impact;

const KEYS: &[&str] = &[
    "ClickId",
    "CustomerId",
    "CustomProfileId",
    "CustomClickId",
    "OrderPromoCode",
    "PromoCode",
    "MediaId",
    "MediaPartnerId",
    "UniqueUrl",
    "CallerId",
    "GoogAId",
    "AndroidId",
    "AppleIfa",
    "AppleIfv",
];
const DISPOSITIONS: &[&str] = &[
    "REJECTED",
    "CONS_INFO_INVALID",
    "CONS_ERROR",
    "CONS_FRAUD",
    "ITEM_RETURNED",
    "ITEM_OUT_OF_STOCK",
    "ORDER_ERROR",
    "PUB_ACT_DISPUTE",
    "NOT_COMPLIANCE_TERMS",
    "MP_RETURNED",
    "OTHER",
    "CREDITED_DIFFERENT_MP",
    "ADV_ACT_DISPUTE",
    "TEST_ACTION",
];
const REASONS: &[&str] = &[
    "ORDER_UPDATE",
    "ITEM_RETURNED",
    "CONS_FRAUD",
    "CONS_ERROR",
    "ORDER_ERROR",
    "PUB_ACT_DISPUTE",
    "ADV_ACT_DISPUTE",
    "NOT_COMPLIANCE_TERMS",
    "ITEM_OUT_OF_STOCK",
    "TEST_ACTION",
    "PARTNER_NOT_ACTIVE",
    "CREDITED_DIFFERENT_MP",
    "OTHER",
];

impl Judge for Impact {
    fn name(&self) -> &'static str {
        "impact"
    }

    fn judge(&self, call: &Call, memory: &Memory) -> Verdict {
        let (faults, form) = (Faults::default(), call.form());
        let look = faults.look(&form).single();
        let parts = call.parts();
        let account = match parts.as_slice() {
            ["Advertisers", account, ..] => account,
            _ => "",
        };
        basic(call, account, &faults);
        let item = match (call.method.as_str(), parts.get(2..)) {
            ("GET", Some(["APISubmissions"])) | ("GET", Some(["APISubmissions", ..])) if parts.len() <= 3 => return faults.verdict("probe"),
            ("GET", Some(["APISubmissions", id])) => {
                if !memory.jobs.contains_key(*id) {
                    faults.add(Concern::Address, "path", "names no submission");
                }
                return faults.verdict("status");
            }
            ("GET", _) if !account.is_empty() => return faults.verdict("probe"),
            ("POST", Some(["Conversions"])) => conversion(&look, call),
            ("PUT", Some(["Actions"])) => amendment(&look),
            ("DELETE", Some(["Actions"])) => {
                action(&look);
                look.at("DispositionCode").required();
                look.at("DispositionCode").one_of(DISPOSITIONS);
                Item { name: "reversal".to_owned(), id: look.at("OrderId").text().to_owned(), amount: String::new() }
            }
            _ => {
                faults.add(Concern::Address, "path", "must be POST Conversions, PUT or DELETE Actions, GET APISubmissions below /Advertisers/SID");
                return faults.verdict("unknown");
            }
        };
        if !call.header("content-type").is_some_and(|it| it.starts_with("application/x-www-form-urlencoded")) {
            faults.add(Concern::Request, "content-type", "must be application/x-www-form-urlencoded");
        }
        if !call.header("accept").is_some_and(|it| it.contains("application/json")) {
            faults.add(Concern::Request, "accept", "must be application/json, or the answer is XML");
        }
        let what = if call.method == "POST" { "events" } else { "refund" };
        Verdict { items: vec![item], ..faults.verdict(what) }
    }

    fn answer(&self, call: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer {
        // What the script refuses of a batch of one is refused later, in processing.
        let late = verdict.faults.iter().all(|fault| fault.field == "script" && fault.concern == Concern::Item);
        if let Some(fault) = verdict.worst().filter(|_| !late) {
            let status = match fault.concern {
                Concern::Auth => 401,
                Concern::Address => 404,
                _ => 400,
            };
            let errors = json!([{"field": fault.field, "level": "ERROR", "message": fault.rule}]);
            return super::json(status, &json!({"Status": "ERROR", "Message": format!("{} {}", fault.field, fault.rule), "errors": errors}));
        }
        let account = call.parts().get(1).copied().unwrap_or_default();
        match verdict.what {
            "status" => super::json(200, call.parts().last().and_then(|id| memory.jobs.get(*id)).unwrap_or(&Value::Null)),
            "probe" => super::json(200, &json!({"APISubmissions": []})),
            what => {
                let sort = match call.method.as_str() {
                    "POST" => "Conversion",
                    "PUT" => "Modification",
                    _ => "Reversal",
                };
                let item = verdict.items.first().cloned().unwrap_or_default();
                let twice = what == "events" && memory.taken.contains(&format!("{what} {} {}", item.name, item.id));
                let (error, reason) = match (late && !verdict.faults.is_empty(), twice) {
                    (true, _) => (json!("Validation"), "OUTSIDE_ASSOCIATION_WINDOW"),
                    (_, true) => (json!("Validation"), "CONV_DUPLICATE"),
                    _ => (Value::Null, ""),
                };
                let id = memory.promise("A-fake-", json!({"Type": sort, "Status": "Complete", "ErrorType": error, "ErrorReason": reason}));
                super::json(200, &json!({"Status": "QUEUED", "QueuedUri": format!("/Advertisers/{account}/APISubmissions/{id}")}))
            }
        }
    }

    fn throttled(&self, _: &Call) -> Answer {
        super::json(429, &json!({"Status": "ERROR", "Message": "Rate limit exceeded"}))
            .header("x-ratelimit-limit", "1000")
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", "1")
    }
}

/// User is the account's SID.
fn basic(call: &Call, account: &str, faults: &Faults) {
    let given = call.header("authorization").and_then(|it| it.strip_prefix("Basic "));
    let clear = given.and_then(|it| BASE64_STANDARD.decode(it).ok()).and_then(|it| String::from_utf8(it).ok()).unwrap_or_default();
    match clear.split_once(':') {
        Some((user, token)) if user == account && !token.is_empty() && token != "expired" => {}
        Some((user, _)) if user == account => faults.add(Concern::Auth, "authorization", "holds an empty or expired token"),
        Some(_) => faults.add(Concern::Auth, "authorization", "must have the SID of the path as its user"),
        None => faults.add(Concern::Auth, "authorization", "must be Basic, SID and token"),
    }
}

fn action(look: &Look<'_>) {
    if !look.at("ActionId").there() {
        look.at("ActionTrackerId").required();
        look.at("OrderId").required();
    }
    look.at("ActionTrackerId").is_text("must be digits", look::digits);
}

fn amendment(look: &Look<'_>) -> Item {
    action(look);
    look.at("Reason").required();
    look.at("Reason").one_of(REASONS);
    look.must(look.at("Amount").there() || look.at("ItemSubTotalDelta").there(), "must have Amount, the new total, or ItemSubTotalDelta");
    look.at("Amount").is_text("must be the new total, 0 or more", |text| !text.starts_with('-'));
    look.at("Amount").money("");
    look.at("Quantity").is_text("must be digits", look::digits);
    Item { name: "modification".to_owned(), id: look.at("OrderId").text().to_owned(), amount: look.at("Amount").written() }
}

fn conversion(look: &Look<'_>, call: &Call) -> Item {
    look.at("CampaignId").required();
    look.at("CampaignId").is_text("must be digits", look::digits);
    look.at("OrderId").required();
    if look.at("EventDate").required() {
        look.at("EventDate").rfc3339(call.now, 365);
    }
    let typed = ["EventTypeId", "ActionTrackerId", "EventTypeCode"].iter().any(|key| look.at(key).there());
    look.must(typed, "must have EventTypeId, ActionTrackerId or EventTypeCode");
    look.at("EventTypeId").is_text("must be digits", look::digits);
    look.must(KEYS.iter().any(|key| look.at(key).there()), "must have something to attribute it by, as ClickId");
    look.at("CurrencyCode").currency();
    let currency = look.at("CurrencyCode");
    look.at("CustomerEmail").is_text("must be SHA-1 or SHA-256 in lower-case hex", |text| {
        matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    look.at("IpAddress").is_text("must be an address of IP version 4 or 6", look::ip);
    look.at("TrackingConsent").one_of(&["true", "false"]);
    look.at("Note").is_text("must be 255 characters or less", |text| text.chars().count() <= 255);
    let mut money = false;
    for name in look.names() {
        let (stem, n) = name.split_at(name.trim_end_matches(|c: char| c.is_ascii_digit()).len());
        let value = look.at(name);
        match stem {
            "ItemPrice"
            | "ItemSubTotal"
            | "ItemDiscount"
            | "ItemTotalDiscount"
            | "OrderDiscount"
            | "OrderSubTotalPostDiscount"
            | "Amount"
            | "OrderTax"
            | "OrderShipping" => {
                money = true;
                value.money(currency.text());
                value.is_text("must not be negative", |text| !text.starts_with('-'));
            }
            "ItemQuantity" => {
                value.is_text("must be digits", look::digits);
            }
            "Text" => {
                value.is_text("must be 64 characters or less", |text| text.chars().count() <= 64);
            }
            _ => {}
        }
        if stem == "ItemPrice" {
            value.must(!look.at(&format!("ItemSubTotal{n}")).there(), "must not come with ItemSubTotal of the same item");
        }
        if stem.starts_with("Item") && !n.is_empty() {
            look.at(&format!("ItemSku{n}")).must(look.at(&format!("ItemSku{n}")).there() || stem == "ItemSku", "is required with its item");
            value.must(!look.at("OrderSubTotalPostDiscount").there(), "must not come with OrderSubTotalPostDiscount");
        }
    }
    if money {
        currency.required();
    }
    let total = ["Amount", "OrderSubTotalPostDiscount", "ItemSubTotal1", "ItemPrice1"].iter().map(|key| look.at(key)).find(|value| value.there());
    let amount = total.map(|value| look::amount(&value, &currency)).unwrap_or_default();
    Item { name: "conversion".to_owned(), id: look.at("OrderId").text().to_owned(), amount }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{script::Chance, testing};

    const GOOD: &str = "CampaignId=3641&EventTypeId=8180&OrderId=SO-1001&EventDate=2026-11-02T10:04:00Z&ClickId=QiiWX&CurrencyCode=USD&CustomerStatus=NEW\
                        &ItemSku1=MUG-1&ItemName1=Mug&ItemCategory1=Kitchen&ItemQuantity1=2&ItemPrice1=42.75";

    fn call(method: &str, path: &str, form: &str) -> Call {
        testing::form(method, &format!("/Advertisers/IRabc/{path}"), form)
            .with("accept", "application/json")
            .with("authorization", "Basic SVJhYmM6dG9rZW4=")
    }

    #[test]
    fn rules() {
        let mut memory = Memory::default();
        let good = call("POST", "Conversions", GOOD);
        testing::taken(&Impact, &good, &memory, 200);
        for (from, to, fault) in [
            ("CampaignId=3641&", "", "CampaignId is required and missing"),
            ("&EventTypeId=8180", "", " must have EventTypeId, ActionTrackerId or EventTypeCode"),
            ("10:04:00Z", "10:04:00", "EventDate must be a time of RFC 3339 with Z or an offset"),
            ("&ClickId=QiiWX", "", " must have something to attribute it by, as ClickId"),
            ("&CurrencyCode=USD", "", "CurrencyCode is required and missing"),
            ("ItemPrice1=42.75", "ItemPrice1=42.75&ItemSubTotal1=85.50", "ItemPrice1 must not come with ItemSubTotal of the same item"),
            ("ItemPrice1=42.75", "ItemPrice1=42,75", "ItemPrice1 must be a decimal with a point and without thousands separators"),
            ("ItemQuantity1=2", "ItemQuantity1=2.0", "ItemQuantity1 must be digits"),
            ("ItemName1=Mug", "CustomerEmail=a@example.com", "CustomerEmail must be SHA-1 or SHA-256 in lower-case hex"),
        ] {
            testing::refused(&Impact, &call("POST", "Conversions", &GOOD.replace(from, to)), &memory, fault, 400, "ERROR");
        }
        let put = "ActionTrackerId=8180&OrderId=SO-1001&Reason=ITEM_RETURNED&Amount=42.75";
        testing::taken(&Impact, &call("PUT", "Actions", put), &memory, 200);
        testing::refused(&Impact, &call("PUT", "Actions", &put.replace("=42", "=-42")), &memory, "Amount must be the new total, 0 or more", 400, "");
        testing::refused(&Impact, &call("PUT", "Actions", &put.replace("OrderId=SO-1001", "")), &memory, "OrderId is required and missing", 400, "");
        let delete = "ActionTrackerId=8180&OrderId=SO-1001&DispositionCode=ITEM_RETURNED";
        testing::taken(&Impact, &call("DELETE", "Actions", delete), &memory, 200);
        let fault = "DispositionCode is required and missing";
        testing::refused(&Impact, &call("DELETE", "Actions", "ActionTrackerId=8180&OrderId=SO-1001"), &memory, fault, 400, "");
        let fault = "authorization must have the SID of the path as its user";
        testing::refused(&Impact, &good.clone().at("/Advertisers/IRother/Conversions"), &memory, fault, 401, "");
        testing::scripted(
            &Impact,
            &good,
            &memory,
            &[
                (Chance::Throttled, 429, ""),
                (Chance::Down, 503, ""),
                (Chance::Expired, 401, "ERROR"),
                (Chance::Invalid, 400, "ERROR"),
                (Chance::Partial, 200, "QUEUED"),
            ],
        );
        testing::ask(&Impact, &good, &mut memory);
        assert!(
            testing::taken(
                &Impact,
                &testing::get("/Advertisers/IRabc/APISubmissions/A-fake-1").with("authorization", "Basic SVJhYmM6dG9rZW4="),
                &memory,
                200
            )
            .body
            .contains("Complete")
        );
    }
}
