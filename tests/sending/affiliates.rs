//! Affiliate networks, where a sale that is told twice is paid twice and a refund that is lost is paid for nothing: what their adapters
//! need of ledger and sender, with the real daemon and a real PostgreSQL.

use serde_json::{Value, json};

use super::{
    Stage,
    platforms::{DUE, answer, body, daemon},
};
use crate::support::receiver::Behaviour;

/// What a restatement leaves out is what this refund and those before it took back, however long ago and however often it is judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_partial_refund_leaves_out_what_the_first_took_back() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| {
        let (query, orders) = (body(arrival)["query"].to_string(), body(arrival)["variables"]["o"].clone());
        let mutation = ["createOrders", "restateOrders", "cancelOrders"].into_iter().find(|mutation| query.contains(mutation))?;
        let named: Vec<Value> = orders.as_array()?.iter().map(|order| json!({"orderId": order["orderId"]})).collect();
        answer(200, &json!({"data": {mutation: {"orders": named, "errors": null}}}))
    });
    let keys =
        "platform = \"cj\"\nenterprise = 1\nactions = { purchase = 155 }\ntoken = \"t\"\nitems = \"send\"\nbatch_wait = \"0s\"\nvalue = \"gross\"\n";
    let _daemon = daemon(&stage, keys).await;
    let items = r#"{"items": [{"id": "mug", "quantity": 2, "price": "40"}, {"id": "cup", "quantity": 1, "price": "20"}]}"#;
    stage.shop(&format!(r#"select postback.purchase('1', 100, 'EUR', '{{"cjevent": "c"}}', '{items}')"#)).await;
    stage.state(1, "delivered").await;
    // Long enough ago that CJ has processed it.
    stage.shop("update postback.receipt set answer = answer || '{\"sent\": 1}'").await;
    stage.shop(r#"select postback.refund('1', 'a', 40, '{"items": [{"id": "mug"}]}')"#).await;
    stage.state(2, "delivered").await;
    stage.shop(r#"select postback.refund('1', 'b', 20, '{"items": [{"id": "cup"}]}')"#).await;
    stage.state(3, "delivered").await;
    stage.shop("select postback.refund('1', 'c', 10)").await;
    stage.state(4, "delivered").await;
    stage.shop("select postback.retract('1')").await;
    stage.state(5, "delivered").await;
    let told: Vec<Value> = stage.receiver.log().iter().map(|arrival| body(arrival)["variables"]["o"][0].clone()).collect();
    let lines = |order: &Value| {
        let line = |item: &Value| format!("{}x{} {}", item["quantity"], item["unitPrice"].as_str().unwrap_or_default(), item["sku"]);
        order["items"].as_array().into_iter().flatten().map(line).collect::<Vec<_>>().join(", ")
    };
    let told: Vec<String> = told.iter().map(lines).collect();
    assert_eq!(told, [r#"2x40.00 "mug", 1x20.00 "cup""#, r#"1x40.00 "mug", 1x20.00 "cup""#, r#"1x40.00 "mug""#, r#"1x30.00 "mug""#, ""]);
}

/// impact queues, processes later, and finds an action to amend only then.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_is_confirmed_before_its_action_is_amended_and_reversed() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| match (arrival.method.as_str(), arrival.path.rsplit('/').next()?) {
        ("GET", id) if id.starts_with("A-") => answer(200, &json!({"Status": "Complete", "ErrorType": null, "ErrorReason": ""})),
        _ => answer(200, &json!({"Status": "QUEUED", "QueuedUri": format!("/Advertisers/IR1/APISubmissions/A-{}", arrival.n)})),
    });
    let keys = "platform = \"impact\"\naccount = \"IR1\"\nauth_token = \"t\"\ncampaign = 1\nevent_types = { purchase = 8180 }\nper_second = 100\nvalue = \"gross\"\n";
    let _daemon = daemon(&stage, keys).await;
    stage.shop(r#"select postback.purchase('1', 100, 'EUR', '{"irclickid": "c"}'); select postback.refund('1', 'r', 40)"#).await;
    stage.state(1, "accepted").await;
    stage
        .until("select exists (select from postback.pending where event = 2 and reason = 'waits for the platform''s word on the purchase')", "true")
        .await;
    // It was two hours ago.
    stage.shop("update postback.receipt set answer = answer || '{\"sent\": 1}'").await;
    stage.shop(DUE).await;
    stage.state(1, "delivered").await;
    stage.state(2, "accepted").await;
    stage.shop(DUE).await;
    stage.state(2, "delivered").await;
    stage.shop("select postback.retract('1')").await;
    stage.state(3, "accepted").await;
    let told = stage.receiver.log();
    let told: Vec<String> = told
        .iter()
        .filter(|arrival| arrival.method != "GET")
        .map(|arrival| format!("{} {} {:?} {:?}", arrival.method, arrival.path, arrival.param("Amount"), arrival.param("DispositionCode")))
        .collect();
    let wanted = [
        "POST /Advertisers/IR1/Conversions None None",
        "PUT /Advertisers/IR1/Actions Some(\"60.00\") None",
        "DELETE /Advertisers/IR1/Actions None Some(\"ITEM_RETURNED\")",
    ];
    assert_eq!(told, wanted);
}

/// Rakuten adds negative lines up: a refund of which nobody knows whether it arrived waits for a person, and the next one takes only its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_negative_line_is_never_sent_twice() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| match arrival.param("amtlist")?.as_str() {
        "-1000" => Some(Behaviour::status(500)),
        _ => Some(Behaviour::body(200, "<response><summary><good>1</good><bad>0</bad></summary></response>")),
    });
    let keys = "platform = \"rakuten\"\nmerchant = 7\nvalue = \"gross\"\nresend = \"safe\"\n";
    let _daemon = daemon(&stage, keys).await;
    let who = r#"{"ranSiteID": "s", "landed_at": "2026-01-02T10:04:00Z"}"#;
    stage.shop(&format!("select postback.purchase('1', 85.50, 'EUR', '{who}')")).await;
    stage.state(1, "delivered").await;
    stage.shop(r#"select postback.enrich('1', '{"landed_at": "2026-01-03T10:04:00Z"}'); select postback.refund('1', 'a', 10)"#).await;
    stage.until("select state from postback.pending where event = 3", "unknown").await;
    stage.shop("select postback.refund('1', 'b', 20)").await;
    stage.state(4, "delivered").await;
    stage.shop("select postback.retract('1')").await;
    stage.state(5, "delivered").await;
    stage.settled().await;
    let told: Vec<(String, String)> = stage.receiver.log().iter().filter_map(|a| Some((a.param("amtlist")?, a.param("land")?))).collect();
    let told: Vec<(&str, &str)> = told.iter().map(|(amount, land)| (amount.as_str(), land.as_str())).collect();
    assert_eq!(told, [("8550", "20260102_1004"), ("-1000", "20260102_1004"), ("-2000", "20260102_1004"), ("-5550", "20260102_1004")]);
}
