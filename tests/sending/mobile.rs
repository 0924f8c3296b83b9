//! Mobile partners, which count whatever comes twice: what their adapters need of ledger and sender, with the real daemon and a real
//! PostgreSQL.

use serde_json::{Value, json};

use super::{
    Stage,
    platforms::{answer, body, daemon},
};
use crate::support::receiver::Behaviour;

/// The app and the phone of a purchase are those of its refund, whatever is told of the buyer since.
#[tokio::test(flavor = "multi_thread")]
async fn a_refund_goes_to_the_app_in_which_its_purchase_was_told() {
    let stage = Stage::new().await;
    stage.receiver.script(|_| Some(Behaviour::body(200, "OK")));
    let keys = "platform = \"appsflyer\"\napps = { ios = \"id123456789\", android = \"com.example.shop\" }\ns2s_key = \"k\"\n";
    let _daemon = daemon(&stage, keys).await;
    stage.shop(r#"select postback.purchase('1', 85.5, 'USD', '{"appsflyer_id": "1-1", "idfv": "A", "platform": "ios"}')"#).await;
    stage.state(1, "delivered").await;
    stage.shop(r#"select postback.enrich('1', '{"appsflyer_id": "2-2", "platform": "android"}'); select postback.refund('1', 'a', 40)"#).await;
    stage.state(3, "delivered").await;
    stage.shop("select postback.retract('1')").await;
    stage.state(4, "delivered").await;
    let told: Vec<String> = stage
        .receiver
        .log()
        .iter()
        .map(|arrival| {
            let event = body(arrival);
            let value: Value = serde_json::from_str(event["eventValue"].as_str().unwrap_or_default()).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let parts = [&event["appsflyer_id"], &event["idfv"], &event["eventName"], &value["af_revenue"], &value["event_id"]].map(text);
            format!("{} {}", arrival.path, parts.join(" "))
        })
        .collect();
    let wanted = [
        "/inappevent/id123456789 1-1 A af_purchase 85.50 purchase-1",
        "/inappevent/id123456789 1-1 A cancel_purchase -40.00 refund-1-a",
        "/inappevent/id123456789 1-1 A cancel_purchase -45.50 retract-1",
    ];
    assert_eq!(told, wanted);
}

/// Adjust says that nothing was recorded: such an event is tried again, although it is sent at most once.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_is_not_known_yet_is_asked_for_again() {
    let stage = Stage::new().await;
    stage.receiver.script(|_| answer(404, &json!({"error": "Event request failed (Device not found)"})));
    let keys = "platform = \"adjust\"\napp_token = \"a\"\nevents = { purchase = \"f0ob4r\", refund = \"k2ab9x\" }\n";
    let _daemon = daemon(&stage, keys).await;
    stage.shop(r#"select postback.purchase('1', 85.5, 'USD', '{"adid": "a1"}'); select postback.refund('1', 'a', 40)"#).await;
    stage.until("select state || ' ' || reason from postback.pending where event = 1", "retrying HTTP 404: Device not found").await;
    let minutes = "select extract(minute from next_at - clock_timestamp()) between 9 and 15 from postback.pending where event = 1";
    stage.until(minutes, "true").await;
    assert_eq!(stage.text("select state from postback.pending where event = 2").await, "parked", "its refund waits");
    // An answer that is not Adjust's own leaves open whether it was recorded.
    stage.receiver.script(|_| Some(Behaviour::status(500)));
    stage.shop(r#"select postback.purchase('2', 9, 'USD', '{"adid": "a1"}')"#).await;
    stage.state(3, "unknown: HTTP 500; it may have arrived, and the platform counts every request").await;
}

/// Singular answers 200 to everything.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_singulars_is_tried_again_but_not_its_silence() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| match String::from_utf8_lossy(&arrival.body) {
        form if form.contains("purchase_transaction_id=silent") => Some(Behaviour::body(200, "<html>")),
        _ if arrival.n == 0 => answer(200, &json!({"status": "error", "reason": "internal queue error"})),
        _ => answer(200, &json!({"status": "ok"})),
    });
    let keys = "platform = \"singular\"\napps = { ios = \"com.example.shop\" }\nsdk_key = \"k\"\n";
    let _daemon = daemon(&stage, keys).await;
    stage.shop(r#"select postback.purchase('1', 9, 'USD', '{"sdid": "s", "ip": "203.0.113.7"}')"#).await;
    stage.state(1, "delivered").await;
    stage.shop(r#"select postback.purchase('silent', 9, 'USD', '{"sdid": "s", "ip": "203.0.113.7"}')"#).await;
    stage.until("select state from postback.pending where event = 2", "unknown").await;
    let outcomes = "select string_agg(event || ' ' || outcome, ', ' order by event, attempt) from postback.attempt";
    assert_eq!(stage.text(outcomes).await, "1 retry, 1 delivered, 2 unknown");
}
