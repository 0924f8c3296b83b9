//! CJ Affiliate: the Tracking API in GraphQL, and the older GET.
//!
//! Types: the schema that `tracking.api.cj.com/graphql` tells of itself (GitHub api-evangelist/cj-affiliate has a copy). The GET: <https://docs.cj.com/docs/s2s>. Faults come with status 200; duplicates and locked orders are dropped later without a word.

use serde_json::{Value, json};

use super::{
    look::{self, Faults, Look},
    oauth,
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Cj;

const REASONS: &[&str] = &[
    "BadDebt",
    "Bankruptcy",
    "BookingCanceled",
    "CannotShipSoldOut",
    "Compliance",
    "DuplicateOrder",
    "InvalidCreditCard",
    "Other",
    "ReturnedMerchandise",
    "UnqualifiedLead",
];
const MUTATIONS: &[(&str, &str)] = &[("createOrders", "newOrders"), ("restateOrders", "restatedOrders"), ("cancelOrders", "cancelledOrders")];

impl Judge for Cj {
    fn name(&self) -> &'static str {
        "cj"
    }

    fn judge(&self, call: &Call, _: &Memory) -> Verdict {
        let faults = Faults::default();
        if (call.method.as_str(), call.path.as_str()) == ("GET", "/u") {
            let query = call.query_object();
            let item = sale(&faults.look(&query).single(), call);
            return Verdict { items: vec![item], ..faults.verdict("events") };
        }
        oauth::fixed(call.bearer(), "authorization", &faults);
        match (call.method.as_str(), call.path.as_str()) {
            ("POST", "/graphql" | "/graphqltest") => {}
            ("POST", "/query") => return faults.verdict("report"),
            _ => faults.add(Concern::Address, "path", "must be POST /graphql, POST /graphqltest or GET /u"),
        }
        let body = call.json();
        let (root, query) = (faults.look(&body), body["query"].as_str().unwrap_or_default());
        root.at("query").required();
        let Some((mutation, argument)) = MUTATIONS.iter().find(|(mutation, _)| query.contains(mutation)) else {
            if query.contains("__typename") || query.contains("__schema") || query.trim_start().starts_with("query") {
                return faults.verdict("probe");
            }
            root.at("query").fault("must be one of createOrders, restateOrders, cancelOrders");
            return faults.verdict("unknown");
        };
        root.at("query").must(query.contains(argument), &format!("must give its orders as {argument}"));
        let (opened, closed) = (query.matches('{').count(), query.matches('}').count());
        root.at("query").must(query.contains("mutation") && opened == closed, "Invalid Syntax");
        // By whatever name the variable has.
        let variables = root.at("variables");
        let orders = variables.names().first().map(|name| variables.at(name));
        let Some(orders) = orders else {
            variables.required();
            return faults.verdict("events");
        };
        orders.required();
        orders.list(1, 10_000);
        let items = orders.items().iter().map(|order| order_of(order, mutation, call)).collect();
        Verdict { items, ..faults.verdict(if *mutation == "createOrders" { "events" } else { "refund" }) }
    }

    fn answer(&self, call: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer {
        if call.path == "/u" {
            return Answer::new(200, "image/gif", "");
        }
        if let Some(fault) = verdict.faults.iter().filter(|fault| fault.concern != Concern::Item).min_by_key(|fault| fault.concern) {
            return match fault.concern {
                Concern::Auth if fault.rule.contains("missing") => super::json(401, &json!({"errors": [{"message": "Missing Token"}]})),
                Concern::Auth => super::json(401, &json!({"errors": [{"message": "Invalid Token"}]})),
                Concern::Address => super::json(404, &json!({"errors": [{"message": "Not Found"}]})),
                _ => super::json(200, &json!({"data": null, "errors": [{"message": format!("{} {}", fault.field, fault.rule)}]})),
            };
        }
        let query = call.json()["query"].as_str().unwrap_or_default().to_owned();
        let Some((mutation, _)) = MUTATIONS.iter().find(|(mutation, _)| query.contains(mutation)) else {
            return super::json(200, &json!({"data": {"__typename": "Query"}}));
        };
        // Whether one fault spoils the others is not documented; here it does.
        let wrong: Vec<Value> =
            verdict.faults.iter().map(|fault| json!({"message": format!("{} {}", fault.field, fault.rule), "fields": [fault.field]})).collect();
        let batch = memory.number();
        let orders: Vec<Value> = match wrong.is_empty() {
            true => verdict
                .items
                .iter()
                .map(|item| json!({"submissionId": format!("fake-{batch}"), "batchId": batch.to_string(), "orderId": item.id}))
                .collect(),
            false => Vec::new(),
        };
        let errors = if wrong.is_empty() { Value::Null } else { json!(wrong) };
        super::json(200, &json!({"data": {*mutation: {"orders": orders, "errors": errors}}}))
    }
}

fn order_id(id: &Look<'_>) {
    id.required();
    id.is_text("must be 96 letters, digits, - or _ at most", |text| {
        text.len() <= 96 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    });
}

/// Non-negative, as a text or as a number.
fn decimal(value: &Look<'_>, currency: &str) {
    value.must(!value.written().starts_with('-'), "must be a NonNegativeDecimalNumber");
    value.money(currency);
}

fn order_of(order: &Look<'_>, mutation: &str, call: &Call) -> Item {
    let create = mutation == "createOrders";
    let time = order.at(if create { "eventTime" } else { "updateTime" });
    if time.required() {
        time.rfc3339(call.now, 3650);
    }
    order.at("enterpriseId").required();
    order.at("actionTrackerId").required();
    order.at("actionTrackerId").must(order.at("actionTrackerId").integer().is_some_and(|id| id >= 0), "must be a whole number, 0 or more");
    let (id, currency) = (order.at("orderId"), order.at("currency"));
    order_id(&id);
    order.at("correctionReason").one_of(REASONS);
    let item = Item { name: mutation.to_owned(), id: id.text().to_owned(), amount: look::amount(&order.at("amount"), &currency) };
    if mutation == "cancelOrders" {
        order.only(&["enterpriseId", "actionTrackerId", "orderId", "updateTime", "correctionReason", "status"]);
        order.at("status").one_of(&["Declined"]);
        return item;
    }
    let common = [
        "enterpriseId",
        "actionTrackerId",
        "orderId",
        "cjEvent",
        "adId",
        "promotionalPropertyId",
        "amount",
        "discount",
        "currency",
        "coupon",
        "items",
        "ids",
        "sid",
        "bypassChannel",
        "verticalParameters",
        "customParameters",
    ];
    let own: &[&str] = if create { &["eventTime"] } else { &["updateTime", "status", "correctionReason"] };
    order.only(&[common.as_slice(), own].concat());
    order.at("status").one_of(&["Pending", "Accepted"]);
    order.at("cjEvent").is_text("must be 64 characters or less", |text| text.len() <= 64);
    order.at("coupon").is_text("must be 256 characters or less", |text| text.len() <= 256);
    currency.currency();
    decimal(&order.at("amount"), currency.text());
    decimal(&order.at("discount"), currency.text());
    let items = order.at("items");
    items.list(0, 100);
    order.must(!(order.at("amount").there() && items.there()), "must have amount or items, not both");
    for line in items.each() {
        line.only(&["sku", "unitPrice", "quantity", "discount", "itemId"]);
        line.at("sku").required();
        line.at("sku").is_text("must be 100 letters, digits, - or _ at most", |text| {
            text.len() <= 100 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
        line.at("unitPrice").required();
        decimal(&line.at("unitPrice"), currency.text());
        line.at("quantity").required();
        line.at("quantity").integer();
    }
    item
}

fn sale(query: &Look<'_>, call: &Call) -> Item {
    ["CID", "TYPE", "EVENTTIME", "OID", "CURRENCY"].iter().for_each(|key| {
        query.at(key).required();
    });
    query.at("METHOD").required();
    query.at("METHOD").one_of(&["S2S"]);
    query.at("EVENTTIME").rfc3339(call.now, 3650);
    order_id(&query.at("OID"));
    query.at("CURRENCY").currency();
    query.at("CUST_STATUS").one_of(&["New", "Return", "Lapsed"]);
    for name in query.names() {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        match stem {
            "AMT" | "AMOUNT" | "DCNT" | "DISCOUNT" => decimal(&query.at(name), query.at("CURRENCY").text()),
            "QTY" => {
                query.at(name).is_text("must be digits", look::digits);
            }
            _ => {}
        }
    }
    Item { name: "sale".to_owned(), id: query.at("OID").text().to_owned(), amount: look::amount(&query.at("AMOUNT"), &query.at("CURRENCY")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{script::Chance, testing};

    fn graphql(query: &str, order: &Value) -> Call {
        testing::post("/graphql", &json!({"query": query, "variables": {"o": [order]}})).with("authorization", "Bearer t")
    }

    #[test]
    fn rules() {
        let memory = Memory::default();
        let create = "mutation($o:[OrderCreateRequest!]!){createOrders(newOrders:$o){orders{submissionId batchId orderId} errors{message fields}}}";
        let good = graphql(
            create,
            &json!({
            "enterpriseId": "1113122", "actionTrackerId": 155, "orderId": "SO-1001", "eventTime": "2026-11-02T10:04:00Z", "cjEvent": "5b1a8148b3a811eb80e89e3f0a1c0e12",
            "discount": "5.00", "currency": "USD", "coupon": "FALL5", "items": [{"sku": "MUG-1", "unitPrice": "42.75", "quantity": 2, "discount": "0"}]}),
        );
        assert!(testing::taken(&Cj, &good, &memory, 200).body.contains(r#""orderId":"SO-1001""#));
        let order = |fault: &str| format!("variables.o[0]{fault}");
        let errors = r#""errors":[{"#;
        testing::table(
            &Cj,
            &good,
            &memory,
            &[
                ("/variables/o/0/orderId", json!("SO 1"), &order(".orderId must be 96 letters, digits, - or _ at most"), 200, errors),
                ("/variables/o/0/enterpriseId", Value::Null, &order(".enterpriseId is required and missing"), 200, errors),
                (
                    "/variables/o/0/actionTrackerId",
                    json!("155"),
                    &order(".actionTrackerId must be a whole JSON number; variables.o[0].actionTrackerId must be a whole number, 0 or more"),
                    200,
                    errors,
                ),
                ("/variables/o/0/eventTime", json!("2026-11-26T18:00:00Z"), &order(".eventTime is in the future"), 200, errors),
                ("/variables/o/0/eventTime", json!("2026-11-02"), &order(".eventTime must be a time of RFC 3339 with Z or an offset"), 200, errors),
                ("/variables/o/0/items/0/sku", json!("a b"), &order(".items[0].sku must be 100 letters, digits, - or _ at most"), 200, errors),
                ("/variables/o/0/items/0/unitPrice", json!("-1"), &order(".items[0].unitPrice must be a NonNegativeDecimalNumber"), 200, errors),
                ("/variables/o/0/amount", json!("85.50"), &order(" must have amount or items, not both"), 200, errors),
                ("/variables/o/0/updateTime", json!("2026-11-02T10:04:00Z"), &order(".updateTime is no field of this platform"), 200, errors),
                ("/query", json!("mutation{createOrders(newOrders:$o)"), "query Invalid Syntax", 200, errors),
            ],
        );
        testing::refused(&Cj, &good.clone().without("authorization"), &memory, "authorization is required and missing", 401, "Missing Token");
        testing::scripted(
            &Cj,
            &good,
            &memory,
            &[
                (Chance::Throttled, 429, ""),
                (Chance::Down, 503, ""),
                (Chance::Expired, 401, "Invalid Token"),
                (Chance::Invalid, 200, errors),
                (Chance::Partial, 200, errors),
            ],
        );
        let cancel = "mutation($o:[OrderCancelRequest!]!){cancelOrders(cancelledOrders:$o){orders{submissionId orderId} errors{message fields}}}";
        let order = json!({"enterpriseId": "1", "actionTrackerId": 155, "orderId": "SO-1001", "updateTime": "2026-11-02T10:04:00Z", "correctionReason": "ReturnedMerchandise"});
        testing::taken(&Cj, &graphql(cancel, &order), &memory, 200);
        testing::table(
            &Cj,
            &graphql(cancel, &order),
            &memory,
            &[
                (
                    "/variables/o/0/correctionReason",
                    json!("returned"),
                    &format!("variables.o[0].correctionReason must be one of {}", REASONS.join(", ")),
                    200,
                    errors,
                ),
                ("/variables/o/0/updateTime", Value::Null, "variables.o[0].updateTime is required and missing", 200, errors),
                ("/variables/o/0/amount", json!("1"), "variables.o[0].amount is no field of this platform", 200, errors),
            ],
        );
        let get = "/u?CID=1&TYPE=155&METHOD=S2S&CJEVENT=5b1a&EVENTTIME=2026-11-02T10:04:00Z&OID=SO-1001&CURRENCY=USD&ITEM1=MUG-1&AMT1=42.75&QTY1=2";
        testing::taken(&Cj, &testing::get(get), &memory, 200);
        testing::refused(&Cj, &testing::get(&get.replace("42.75", "-42.75")), &memory, "AMT1 must be a NonNegativeDecimalNumber", 200, "");
        testing::refused(&Cj, &testing::get(&get.replace("METHOD=S2S&", "")), &memory, "METHOD is required and missing", 200, "");
    }
}
