//! Awin: Conversion API, its older GET, and the validation API for refunds.
//!
//! Orders: <https://help.awin.com/apidocs/conversion-api>. The GET: <https://help.awin.com/developers/docs/direct-s2s>. Refunds:
//! <https://help.awin.com/apidocs/approve-decline-amend-batch-transactions-for-a-given-advertiser>. The answer to orders (200, 206, lists by
//! reference) is known from public integrations only.

use serde_json::{Value, json};

use super::{
    look::{self, Faults, Look},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Awin;

impl Judge for Awin {
    fn name(&self) -> &'static str {
        "awin"
    }

    fn judge(&self, call: &Call, memory: &Memory) -> Verdict {
        let faults = Faults::default();
        let body = call.json();
        match (call.method.as_str(), call.parts().as_slice()) {
            ("POST", ["s2s", "advertiser", advertiser, "orders"]) => {
                account(advertiser, &faults);
                oauth::fixed(call.header("x-api-key"), "x-api-key", &faults);
                let orders = faults.look(&body).at("orders");
                if orders.required() {
                    orders.list(1, 1000);
                }
                let items = orders.items().iter().map(|order| order_of(order, call)).collect();
                Verdict { items, ..faults.verdict("events") }
            }
            ("POST", ["advertisers", advertiser, "transactions", "batch"]) => {
                account(advertiser, &faults);
                oauth::fixed(call.bearer(), "authorization", &faults);
                let root = faults.look(&body);
                root.must(body.is_array(), "must be a list of actions");
                root.list(1, 40_000);
                let items = root.items().iter().map(action_of).collect();
                Verdict { items, ..faults.verdict("refund") }
            }
            ("GET", ["advertisers", advertiser, "transactions", "jobs", job]) => {
                account(advertiser, &faults);
                oauth::fixed(call.bearer(), "authorization", &faults);
                if !memory.jobs.contains_key(*job) {
                    faults.add(Concern::Address, "path", "names no job of the validation API");
                }
                faults.verdict("status")
            }
            ("GET", ["sread.php"]) => {
                let query = call.query_object();
                let item = sread(&faults.look(&query).single());
                Verdict { items: vec![item], ..faults.verdict("events") }
            }
            _ => {
                faults.add(Concern::Address, "path", "is no endpoint of the Conversion API, the validation API or sread.php");
                faults.verdict("unknown")
            }
        }
    }

    fn answer(&self, call: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer {
        if call.path.ends_with("sread.php") {
            // It takes anything and says nothing.
            return Answer::new(200, "image/gif", "");
        }
        let whole = verdict.faults.iter().filter(|fault| fault.concern != Concern::Item).min_by_key(|fault| fault.concern);
        if let Some(fault) = whole {
            let status = match fault.concern {
                Concern::Auth => 401,
                Concern::Address => 404,
                _ => 400,
            };
            return super::json(status, &json!({"error": format!("{} {}", fault.field, fault.rule)}));
        }
        match verdict.what {
            "events" => orders(verdict, memory),
            "refund" => {
                let failed: Vec<Value> = verdict
                    .items
                    .iter()
                    .enumerate()
                    .filter_map(|(n, item)| {
                        let fault = verdict.of_item(n)?;
                        Some(json!({"orderRef": item.id, "code": format!("[400 BAD_REQUEST] {} {}", fault.field, fault.rule)}))
                    })
                    .collect();
                let done = json!({"status": "DONE", "transactions": verdict.items.len(), "errors": failed.len(), "failedTransactions": failed});
                let id = memory.promise("fake-job-", done);
                super::json(200, &json!({ "jobId": id }))
            }
            _ => super::json(200, call.parts().last().and_then(|job| memory.jobs.get(*job)).unwrap_or(&Value::Null)),
        }
    }
}

fn account(advertiser: &str, faults: &Faults) {
    if !look::digits(advertiser) {
        faults.add(Concern::Address, "path", "must hold the advertiser's digits");
    }
}

fn orders(verdict: &Verdict, memory: &mut Memory) -> Answer {
    let batch = format!("fake-batch-{}", memory.number());
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (n, item) in verdict.items.iter().enumerate() {
        match verdict.of_item(n) {
            None => good.push(json!({"orderReference": item.id, "correlationId": format!("{batch}-{n}")})),
            Some(fault) => {
                bad.push(json!({"order": {"orderReference": item.id}, "errors": [{"field": fault.field, "message": fault.rule}]}));
            }
        }
    }
    let status = match (good.len(), bad.len()) {
        (_, 0) => 200,
        (0, _) => 400,
        _ => 206,
    };
    super::json(status, &json!({"batchId": batch, "successfulOrders": good, "pendingOrders": [], "failedOrders": bad}))
}

fn money(value: &Look<'_>, currency: &str) {
    value.required();
    value.number(0.0);
    value.money(currency);
}

fn order_of(order: &Look<'_>, call: &Call) -> Item {
    order.only(&[
        "orderReference",
        "amount",
        "channel",
        "currency",
        "awc",
        "voucher",
        "customerAcquisition",
        "isTest",
        "transactionTime",
        "commissionGroups",
        "basket",
        "custom",
        "publisherId",
        "clickTime",
    ]);
    let (reference, amount, currency) = (order.at("orderReference"), order.at("amount"), order.at("currency"));
    reference.required();
    reference.is_text("must be 50 characters or less: the rest is cut off", |text| text.chars().count() <= 50);
    currency.required();
    currency.currency();
    money(&amount, currency.text());
    order.at("channel").required();
    order.at("channel").string();
    let by_publisher = order.at("publisherId").there() && order.at("clickTime").there();
    order.must(order.at("awc").there() || order.at("voucher").there() || by_publisher, "must have awc, voucher, or publisherId with clickTime");
    order.at("awc").is_text("must be Awin's own click checksum", checksum);
    order.at("customerAcquisition").one_of(&["NEW", "RETURNING"]);
    order.at("isTest").boolean();
    order.at("transactionTime").unix_seconds(call.now, 365);
    let groups = order.at("commissionGroups");
    groups.required();
    groups.list(1, 100);
    groups.each().iter().for_each(|group| {
        group.at("code").required();
        money(&group.at("amount"), currency.text());
    });
    let parts: Vec<_> = groups.each().iter().map(|group| group.at("amount").written().parse::<rust_decimal::Decimal>()).collect();
    if let (Ok(whole), Ok(sum)) = (amount.written().parse(), parts.into_iter().sum::<Result<rust_decimal::Decimal, _>>()) {
        groups.must(!groups.there() || sum == whole, "must add up to the amount");
    }
    for product in order.at("basket").each() {
        ["id", "name", "price", "quantity"].iter().for_each(|key| {
            product.at(key).required();
        });
        ["id", "name", "sku", "category"].iter().for_each(|key| {
            product.at(key).is_text("must not hold a |", |text| !text.contains('|'));
        });
        product.at("price").number(0.0);
        product.at("quantity").integer();
    }
    order.at("custom").names().iter().for_each(|key| {
        order.at("custom").at(key).string();
        order.at("custom").must(look::digits(key), "must have numbers for names");
    });
    Item { name: "order".to_owned(), id: reference.text().to_owned(), amount: look::amount(&amount, &currency) }
}

/// Characters of Awin's checksum; `gclid_..` of its Google shopping partners fits too.
fn checksum(text: &str) -> bool {
    text.len() <= 500 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-' | b','))
}

fn action_of(action: &Look<'_>) -> Item {
    let (verb, transaction) = (action.at("action"), action.at("transaction"));
    verb.required();
    verb.one_of(&["approve", "decline", "amend"]);
    let (reference, currency, amount) = (transaction.at("orderRef"), transaction.at("currency"), transaction.at("saleAmount"));
    if transaction.required() && !transaction.at("transactionId").there() {
        reference.required();
        transaction.at("transactionDate").required();
        transaction.at("transactionDate").is_text("must be YYYY-MM-DDTHH:MM:SS, local and without an offset", |text| {
            text.len() == 19 && text.contains('T') && text.parse::<jiff::civil::DateTime>().is_ok()
        });
        transaction.at("timezone").required();
        transaction.at("timezone").is_text("must be a zone of IANA", |text| jiff::tz::TimeZone::get(text).is_ok());
    }
    match verb.text() {
        "decline" => {
            transaction.at("declineReason").required();
        }
        "amend" => {
            transaction.at("amendReason").required();
            currency.required();
            currency.currency();
            money(&amount, currency.text());
            transaction.at("transactionParts").required();
            transaction.at("transactionParts").each().iter().for_each(|part| {
                part.at("commissionGroupCode").required();
                money(&part.at("amount"), currency.text());
            });
        }
        _ => {}
    }
    Item { name: verb.text().to_owned(), id: reference.text().to_owned(), amount: look::amount(&amount, &currency) }
}

fn sread(query: &Look<'_>) -> Item {
    ["tt", "tv", "merchant", "amount", "ch", "parts", "cr", "ref", "testmode"].iter().for_each(|key| {
        query.at(key).required();
    });
    query.at("tt").one_of(&["ss"]);
    query.at("tv").one_of(&["2"]);
    query.at("merchant").is_text("must be the advertiser's digits", look::digits);
    query.at("amount").money(query.at("cr").text());
    query.at("cr").currency();
    query.at("testmode").one_of(&["0", "1"]);
    query.at("parts").is_text("must be CODE:AMOUNT, joined by |", |text| text.split('|').all(|part| part.contains(':')));
    query.at("cks").is_text("must be Awin's own click checksum", checksum);
    query.at("ref").is_text("must be 50 characters or less: the rest is cut off", |text| text.chars().count() <= 50);
    query.must(query.at("vc").there() || query.at("cks").there(), "must have cks or vc");
    query.at("customeracquisition").one_of(&["NEW", "RETURNING"]);
    Item { name: "order".to_owned(), id: query.at("ref").text().to_owned(), amount: look::amount(&query.at("amount"), &query.at("cr")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{
        script::Chance,
        testing::{self, NOW},
    };

    fn good() -> Call {
        let body = json!({"orders": [{
            "orderReference": "SO-1001", "amount": 85.50, "channel": "aw", "currency": "GBP", "awc": "1001_1403695822_a430d81e22c9e8687f423efcf024fbaa",
            "voucher": "", "customerAcquisition": "NEW", "isTest": false, "transactionTime": NOW - 60, "commissionGroups": [{"code": "DEFAULT", "amount": 85.50}],
            "basket": [{"id": "p1", "name": "Mug", "price": 42.75, "quantity": 2, "sku": "MUG-1", "category": "Kitchen"}], "custom": {"1": "postbackd"}}]});
        testing::post("/s2s/advertiser/1001/orders", &body).with("x-api-key", "k")
    }

    fn refunds() -> Call {
        let body = json!([
            {"action": "decline", "transaction": {"orderRef": "SO-1001", "transactionDate": "2026-11-02T10:04:00", "timezone": "Europe/London",
                                                  "declineReason": "order returned"}},
            {"action": "amend", "approve": false, "transaction": {"orderRef": "SO-1002", "transactionDate": "2026-11-02T10:04:00", "timezone": "UTC",
             "amendReason": "partial return", "currency": "GBP", "saleAmount": 42.75, "transactionParts": [{"amount": 42.75, "commissionGroupCode": "DEFAULT"}]}}]);
        testing::post("/advertisers/1001/transactions/batch", &body).with("authorization", "Bearer t")
    }

    #[test]
    fn orders_of_the_conversion_api() {
        let memory = Memory::default();
        assert!(testing::taken(&Awin, &good(), &memory, 200).body.contains(r#""successfulOrders":[{"orderReference":"SO-1001""#));
        testing::table(
            &Awin,
            &good(),
            &memory,
            &[
                (
                    "/orders/0/orderReference",
                    json!("x".repeat(51)),
                    "orders[0].orderReference must be 50 characters or less: the rest is cut off",
                    400,
                    "failedOrders",
                ),
                ("/orders/0/amount", json!("85.50"), "orders[0].amount must be a JSON number", 400, "failedOrders"),
                ("/orders/0/amount", json!(85.40), "orders[0].commissionGroups must add up to the amount", 400, "failedOrders"),
                ("/orders/0/currency", Value::Null, "orders[0].currency is required and missing", 400, "failedOrders"),
                ("/orders/0/channel", Value::Null, "orders[0].channel is required and missing", 400, "failedOrders"),
                ("/orders/0/awc", Value::Null, "orders[0] must have awc, voucher, or publisherId with clickTime", 400, "failedOrders"),
                ("/orders/0/customerAcquisition", json!("new"), "orders[0].customerAcquisition must be one of NEW, RETURNING", 400, "failedOrders"),
                (
                    "/orders/0/transactionTime",
                    json!(NOW * 1000),
                    "orders[0].transactionTime must be Unix seconds, and these are milliseconds or smaller units",
                    400,
                    "failedOrders",
                ),
                ("/orders/0/commissionGroups", Value::Null, "orders[0].commissionGroups is required and missing", 400, "failedOrders"),
                ("/orders/0/basket/0/name", json!("a|b"), "orders[0].basket[0].name must not hold a |", 400, "failedOrders"),
                ("/orders/0/basket/0/quantity", json!("2"), "orders[0].basket[0].quantity must be a whole JSON number", 400, "failedOrders"),
                ("/orders/0/custom/1", json!(5), "orders[0].custom.1 must be a text", 400, "failedOrders"),
                ("/orders", json!([]), "orders is required and missing", 400, "error"),
            ],
        );
        let bearer = good().without("x-api-key").with("authorization", "Bearer k");
        testing::refused(&Awin, &bearer, &memory, "x-api-key is required and missing", 401, "x-api-key");
        testing::scripted(
            &Awin,
            &good(),
            &memory,
            &[
                (Chance::Throttled, 429, ""),
                (Chance::Down, 503, ""),
                (Chance::Expired, 401, ""),
                (Chance::Invalid, 400, "error"),
                (Chance::Partial, 400, "failedOrders"),
            ],
        );
    }

    #[test]
    fn refunds_of_the_validation_api() {
        let mut memory = Memory::default();
        testing::taken(&Awin, &refunds(), &memory, 200);
        testing::table(
            &Awin,
            &refunds(),
            &memory,
            &[
                ("/0/transaction/declineReason", Value::Null, "[0].transaction.declineReason is required and missing", 200, "jobId"),
                (
                    "/0/transaction/transactionDate",
                    json!("2026-11-02T10:04:00Z"),
                    "[0].transaction.transactionDate must be YYYY-MM-DDTHH:MM:SS, local and without an offset",
                    200,
                    "jobId",
                ),
                ("/0/transaction/timezone", json!("CEST-2"), "[0].transaction.timezone must be a zone of IANA", 200, "jobId"),
                ("/1/transaction/saleAmount", json!(-42.75), "[1].transaction.saleAmount must be 0 or more", 200, "jobId"),
                ("/1/transaction/amendReason", Value::Null, "[1].transaction.amendReason is required and missing", 200, "jobId"),
                ("/1/action", json!("cancel"), "[1].action must be one of approve, decline, amend", 200, "jobId"),
            ],
        );
        testing::refused(&Awin, &refunds().without("authorization"), &memory, "authorization is required and missing", 401, "");
        testing::ask(&Awin, &refunds(), &mut memory);
        let job = testing::get("/advertisers/1001/transactions/jobs/fake-job-1?output=errors").with("authorization", "Bearer t");
        assert!(testing::taken(&Awin, &job, &memory, 200).body.contains("DONE"));
    }

    #[test]
    fn the_get_that_never_says_no() {
        let good =
            "/sread.php?tt=ss&tv=2&merchant=1001&amount=85.50&ch=aw&parts=DEFAULT:85.50&vc=&cr=GBP&ref=SO-1001&testmode=0&cks=1001_1403695822_a430";
        let memory = Memory::default();
        testing::taken(&Awin, &testing::get(good), &memory, 200);
        for (from, to, fault) in [
            ("tt=ss", "tt=ns", "tt must be one of ss"),
            ("parts=DEFAULT:85.50", "parts=85.50", "parts must be CODE:AMOUNT, joined by |"),
            ("amount=85.50", "amount=85,50", "amount must be a decimal with a point and without thousands separators"),
            ("&cks=1001_1403695822_a430", "", " must have cks or vc"),
            ("&ref=SO-1001", "", "ref is required and missing"),
        ] {
            testing::refused(&Awin, &testing::get(&good.replace(from, to)), &memory, fault, 200, "");
        }
    }
}
