//! What the platforms' adapters ask of the sender: batches, requests refused for one of their events, tokens, and a last word that
//! comes later. With the real daemon, a real PostgreSQL and receivers that answer as the platforms do.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::Stage;
use crate::support::{
    daemon::{Config, Daemon},
    receiver::{Arrival, Behaviour},
};

pub(super) fn answer(status: u16, body: &Value) -> Option<Behaviour> {
    Some(Behaviour::body(status, body.to_string()).header("content-type", "application/json"))
}

pub(super) fn body(arrival: &Arrival) -> Value {
    serde_json::from_slice(&arrival.body).unwrap_or_default()
}

/// Dedupe ids of a request to Meta.
fn ids(arrival: &Arrival) -> Vec<String> {
    let body = body(arrival);
    body["data"].as_array().into_iter().flatten().filter_map(|event| event["event_id"].as_str().map(str::to_owned)).collect()
}

pub(super) async fn daemon(stage: &Stage, destination: &str) -> Daemon {
    let common = "start = \"beginning\"\nretry = { first = \"100ms\", max = \"1s\" }\nbreaker = { failures = 1000, open = \"100ms\" }\n";
    let base = stage.receiver.url("");
    let table = format!("[destination.d]\nbase_url = \"{base}\"\n{common}{destination}");
    Daemon::start(Config::new(&stage.database).raw(&table)).await
}

const META: &str = "platform = \"meta\"\ndataset = 1\naccess_token = \"t\"\nsource_url = \"https://shop.example/\"\nbatch_wait = \"500ms\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_refused_for_one_event_is_split_until_that_one_is_alone() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| match ids(arrival) {
        ids if ids.iter().any(|id| id == "purchase-7") => {
            answer(400, &json!({"error": {"code": 100, "error_subcode": 2804007, "message": "Invalid parameter"}}))
        }
        ids => answer(200, &json!({"events_received": ids.len()})),
    });
    let _daemon = daemon(&stage, META).await;
    stage
        .shop(r#"select postback.purchase(n::text, n, 'EUR', '{"email": "a@example.com", "user_agent": "UA"}') from generate_series(1, 12) n"#)
        .await;
    stage.state(7, "dead: error 100/2804007: Invalid parameter").await;
    for event in (1..=12).filter(|event| *event != 7) {
        stage.state(event, "delivered").await;
    }
    stage.settled().await;
    let log = stage.receiver.log();
    let largest = log.iter().map(|arrival| ids(arrival).len()).max();
    assert_eq!(largest, Some(12), "all of them waited for each other\n{}", stage.receiver.dump());
    let taken: Vec<String> = log.iter().filter(|arrival| arrival.taken()).flat_map(ids).collect();
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 11);
    assert_eq!(taken.len(), 11, "each was taken once");
    // 12 -> 6, 6 -> 3, 3 -> 2, 1 -> (1, 1): two requests a level.
    assert!(log.len() <= 10, "{}", stage.receiver.dump());
    assert_eq!(stage.text("select count(*) from postback.attempt where outcome = 'retry'").await, "0", "finding out is no attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_split_also_where_the_database_goes_away_meanwhile() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| {
        let ids = ids(arrival);
        let bad = ids.iter().any(|id| id == "purchase-7");
        let behaviour = if bad { answer(400, &json!({"error": {"code": 100}})) } else { answer(200, &json!({"events_received": ids.len()})) };
        // Every other answer comes while there is no session.
        behaviour.map(|behaviour| behaviour.after(Duration::from_millis(if arrival.n % 2 == 0 { 400 } else { 50 })))
    });
    let _daemon = daemon(&stage, META).await;
    stage
        .shop(r#"select postback.purchase(n::text, n, 'EUR', '{"email": "a@example.com", "user_agent": "UA"}') from generate_series(1, 12) n"#)
        .await;
    for requests in [1, 3, 5] {
        stage.receiver.wait_for(requests).await;
        let backends = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                         where datname = current_database() and application_name like 'postbackd%'";
        stage.shop(backends).await;
    }
    stage.state(7, "dead: error 100").await;
    for event in (1..=12).filter(|event| *event != 7) {
        stage.state(event, "delivered").await;
    }
    let taken: Vec<String> = stage.receiver.log().iter().filter(|arrival| arrival.taken()).flat_map(ids).collect();
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 11);
    assert_eq!(taken.len(), 11, "each was taken once\n{}", stage.receiver.dump());
    assert_eq!(stage.text("select count(*) from (select from postback.attempt group by event having count(*) > 1) twice").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_order_never_share_a_request_and_old_ones_spoil_none() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| answer(200, &json!({"events_received": ids(arrival).len()})));
    let _daemon = daemon(&stage, &format!("{META}refunds = \"event\"\n")).await;
    stage
        .shop(
            r#"select postback.purchase('1', 9, 'EUR', '{"email": "a@example.com", "user_agent": "UA"}');
               select postback.refund('1', 'r', 4);
               select postback.purchase('2', 9, 'EUR', '{"email": "a@example.com", "user_agent": "UA"}');
               insert into postback.event (kind, ref, payload, occurred_at) values
                 ('purchase', '3', '{"value": "9", "currency": "EUR", "who": {"email": "a@example.com", "user_agent": "UA"}}', now() - interval '8 days');
               select postback.purchase('4', 9, 'EUR', '{"email": "a@example.com"}')"#,
        )
        .await;
    stage.state(4, "dead: too old: 8 days, and meta does not take it any more").await;
    stage.state(5, "skipped: no user_agent, which events of a website need").await;
    stage.state(2, "delivered").await;
    stage.settled().await;
    let sent: Vec<Vec<String>> = stage.receiver.log().iter().map(ids).collect();
    assert_eq!(sent, [vec!["purchase-1".to_owned(), "purchase-2".into()], vec!["refund-1-r".into()]]);
}

const GOOGLE: &str = "platform = \"google_data_manager\"\naccount = 1234567890\nactions = { purchase = 5 }\nafter_click = \"0s\"\n\
     oauth = { client_id = \"c\", refresh_token = \"r\" }\n";

fn google(arrival: &Arrival, status: &str) -> Option<Behaviour> {
    match arrival.path.as_str() {
        "/token" => answer(200, &json!({"access_token": "fresh", "expires_in": 3600})),
        _ if arrival.header("authorization") != Some("Bearer fresh") => answer(401, &json!({})),
        "/v1/events:ingest" => answer(200, &json!({"requestId": format!("q{}", arrival.n)})),
        _ => answer(
            200,
            &json!({"requestStatusPerDestination": [{"destination": {"productDestinationId": "5"}, "requestStatus": status,
            "errorInfo": {"errorCounts": [{"recordCount": "1", "reason": "PROCESSING_ERROR_REASON_CLICK_NOT_FOUND"}]}}]}),
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_no_larger_than_the_platform_takes() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| answer(200, &json!({"events_received": ids(arrival).len()})));
    let _daemon = daemon(&stage, META).await;
    stage
        .shop(
            r#"select postback.purchase(n::text, n, 'EUR', '{"email": "a@example.com", "user_agent": "UA"}', jsonb_build_object('items',
                 (select jsonb_agg(jsonb_build_object('id', 'SKU-' || 100000 + i)) from generate_series(1, 900) i))) from generate_series(1, 40) n"#,
        )
        .await;
    stage.until("select count(*) from postback.attempt where outcome = 'delivered'", "40").await;
    let log = stage.receiver.log();
    assert!(log.iter().map(|arrival| arrival.body.len()).sum::<usize>() > 1_000_000, "they fit into one: the test proves nothing");
    assert!(log.iter().all(|arrival| arrival.body.len() <= 1_000_000 && ids(arrival).len() > 1), "{}", stage.receiver.dump());
}

/// The platform's clock is not waited for.
pub(super) const DUE: &str = "update postback.pending set next_at = now() where state = 'accepted'";

/// The refund waits for nothing else.
const PARKED: &str = "select exists (select from postback.pending where event = 2 and reason = 'waits for the platform''s word on the purchase')";

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_waits_for_the_word_on_what_was_accepted() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| google(arrival, "SUCCESS"));
    let _daemon = daemon(&stage, &format!("{GOOGLE}token_url = \"{}\"\n", stage.receiver.url("/token"))).await;
    stage.shop(r#"select postback.purchase('1', 100, 'EUR', '{"gclid": "g"}'); select postback.refund('1', 'r', 40)"#).await;
    stage.state(1, "accepted").await;
    stage.until(PARKED, "true").await;
    assert_eq!(stage.text("select next_at > now() + interval '29 minutes' from postback.pending where event = 1").await, "true");
    assert_eq!(stage.text("select answer ->> 'action' from postback.receipt where event = 1").await, "5");
    stage.shop(DUE).await;
    stage.state(1, "delivered").await;
    stage.state(2, "accepted").await;
    stage.shop(DUE).await;
    stage.state(2, "delivered").await;
    assert_eq!(stage.text("select count(*) from postback.pending").await, "0");
    let log = stage.receiver.log();
    let ingested: Vec<Value> = log.iter().filter(|arrival| arrival.path == "/v1/events:ingest").map(|a| body(a)["events"][0].clone()).collect();
    let told = |n: usize| (ingested[n]["transactionId"].as_str(), ingested[n]["conversionValue"].to_string());
    assert_eq!((told(0), told(1)), ((Some("purchase-1"), "100.00".into()), (Some("purchase-1"), "60.00".into())));
    assert_eq!(log.iter().filter(|arrival| arrival.path == "/token").count(), 1, "one token for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_and_not_processed_is_dead_and_its_refund_is_not_told() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| google(arrival, "FAILED"));
    let _daemon = daemon(&stage, &format!("{GOOGLE}token_url = \"{}\"\n", stage.receiver.url("/token"))).await;
    stage.shop(r#"select postback.purchase('1', 100, 'EUR', '{"gclid": "g"}'); select postback.refund('1', 'r', 40)"#).await;
    stage.until(PARKED, "true").await;
    stage.shop(DUE).await;
    stage.state(1, "dead: not processed: CLICK_NOT_FOUND 1").await;
    stage.state(2, "skipped: purchase not sent here: not processed: CLICK_NOT_FOUND 1").await;
    assert_eq!(stage.text("select string_agg(state, ' ') from postback.pending").await, "dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_credential_halts_and_burns_nothing() {
    let stage = Stage::new().await;
    stage.receiver.on("/token", Behaviour::body(400, r#"{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}"#));
    let _daemon = daemon(&stage, &format!("{GOOGLE}token_url = \"{}\"\n", stage.receiver.url("/token"))).await;
    stage.shop(r#"select postback.purchase(n::text, 9, 'EUR', '{"gclid": "g"}') from generate_series(1, 3) n"#).await;
    let halted = "no access token for the configuration file (HTTP 400 invalid_grant Token has been expired or revoked.); renew the configuration file, reload and resume";
    stage.until("select halted from postback.position", halted).await;
    assert_eq!(stage.text("select count(*) from postback.attempt").await, "0");
    stage.receiver.script(|arrival| google(arrival, "SUCCESS"));
    stage.command(r#"{"do": "resume", "destination": "d"}"#).await;
    for event in 1..=3 {
        stage.state(event, "accepted").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_and_refunds_of_awin_take_different_ways() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| match arrival.path.as_str() {
        "/s2s/advertiser/7/orders" if arrival.header("x-api-key") == Some("k") => {
            let orders = body(arrival)["orders"].as_array().cloned().unwrap_or_default();
            let reference = |order: &Value| json!({"orderReference": order["orderReference"], "correlationId": "c"});
            match orders.iter().any(|order| order["orderReference"] == "lost") {
                true => Some(Behaviour::status(500)),
                false => answer(200, &json!({"batchId": "b", "successfulOrders": orders.iter().map(reference).collect::<Vec<_>>()})),
            }
        }
        "/advertisers/7/transactions/batch" if arrival.header("authorization") == Some("Bearer v") => answer(200, &json!({"jobId": "j"})),
        _ => answer(401, &json!({})),
    });
    let keys = "platform = \"awin\"\nadvertiser = 7\napi_key = \"k\"\nvalidation_token = \"v\"\nbatch_wait = \"100ms\"\nvalue = \"gross\"\n";
    let _daemon = daemon(&stage, keys).await;
    stage.shop(r#"select postback.purchase('1', 100, 'GBP', '{"awc": "a"}')"#).await;
    stage.state(1, "delivered").await;
    stage.shop("select postback.refund('1', 'r', 40); select postback.refund('1', 's', 60)").await;
    stage.state(3, "accepted").await;
    stage.state(2, "accepted: covered by event 3").await;
    let log = stage.receiver.log();
    let refund = log.iter().find(|arrival| arrival.path.ends_with("batch")).map(body).expect("a refund");
    assert_eq!(refund[0]["action"], "decline", "nothing is left");
    let said = stage
        .text("select to_char((sent ->> 'at')::timestamptz at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS') from postback.receipt where event = 1")
        .await;
    assert_eq!(refund[0]["transaction"]["transactionDate"], json!(said), "the very time that was told");
    // An answer that is no verdict leaves a sale that might be counted twice to a person.
    stage.shop(r#"select postback.purchase('lost', 100, 'GBP', '{"awc": "a"}')"#).await;
    stage.state(4, "unknown: HTTP 500; it may have arrived, and the platform counts every request").await;
    assert_eq!(stage.text("select string_agg(event || ' ' || state, ', ' order by event) from postback.pending").await, "3 accepted, 4 unknown");
}
