//! What a lost process leaves behind: what was said is repeated word for word, what must not be repeated is not.

use std::time::Duration;

use super::Stage;
use crate::support::{daemon::Daemon, receiver::Behaviour};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_first_is_said_again_whatever_came_since() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::status(503));
    let url = format!("'{}?id={{{{ event_id }}}}&click={{{{ who.gclid | default(\"none\") }}}}'", stage.receiver.url("/d"));
    let mut daemon = stage.daemon(&[("url", &url)]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{\"gclid\": \"first\"}')").await;
    stage.until("select count(*) > 0 from postback.receipt", "true").await;
    stage.shop("select postback.enrich('1', '{\"gclid\": \"second\"}')").await;
    stage.until("select last_seq from postback.ingest", "3").await;
    daemon.kill9();
    stage.receiver.forget();
    stage.receiver.always(Behaviour::status(200));
    daemon.again().await;
    stage.state(1, "delivered").await;
    let clicks: Vec<_> = stage.receiver.at("/d").iter().filter_map(|arrival| arrival.param("click")).collect();
    assert_eq!(clicks, ["first"]);
    assert_eq!(stage.text("select sent -> 'click' ->> 'gclid' from postback.receipt").await, "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_once_becomes_unknown_and_a_person_decides() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::Hang);
    let mut daemon = Daemon::start(stage.config(&[("resend", "\"never\""), ("deadline", "\"20s\"")]).daemon("drain", "\"20s\"")).await;
    stage
        .shop("select postback.purchase('1', 9, 'EUR', '{}'); select postback.refund('1', 'r', 4); select postback.purchase('2', 9, 'EUR', '{}')")
        .await;
    stage.receiver.wait_for(2).await;
    assert_eq!(stage.text("select string_agg(state, ',') from postback.pending where state = 'sending'").await, "sending,sending");
    daemon.kill9();
    stage.receiver.always(Behaviour::status(200));
    daemon.again().await;
    stage.until("select string_agg(event || ' ' || state, ', ' order by event) from postback.pending", "1 unknown, 3 unknown").await;
    stage.until("select left(reason, 22) from postback.attempt where event = 2", "purchase not sent here").await;
    assert_eq!(stage.receiver.log().len(), 2, "nothing is sent twice by itself");
    stage.command(r#"{"do": "resolve-unknown", "select": {"events": [1]}, "delivered": true}"#).await;
    stage.state(2, "delivered").await;
    stage.command(r#"{"do": "resolve-unknown", "select": {"events": [3]}, "delivered": false}"#).await;
    stage.state(3, "delivered").await;
    assert_eq!(stage.ids()[2..], ["refund-1-r", "purchase-2"]);
    assert_eq!(stage.text("select count(*) from postback.pending").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_once_is_not_repeated_after_a_broken_answer_but_after_a_refusal() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| match arrival.order().as_str() {
        "reset" => Some(Behaviour::ResetAfterBody),
        "refused" if arrival.n < 2 => Some(Behaviour::status(429)),
        _ => None,
    });
    let _daemon = stage.daemon(&[("resend", "\"never\"")]).await;
    stage.shop("select postback.purchase('reset', 9, 'EUR', '{}')").await;
    stage.until("select outcome from postback.attempt where event = 1", "unknown").await;
    stage.shop("select postback.purchase('refused', 9, 'EUR', '{}')").await;
    stage.state(2, "delivered").await;
    assert_eq!(stage.ids(), ["purchase-reset", "purchase-refused", "purchase-refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_may_have_been_sent_is_settled_before_it_is_taken_back() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::Hang);
    let mut daemon = Daemon::start(stage.config(&[("deadline", "\"20s\"")]).daemon("drain", "\"20s\"")).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.receiver.wait_for(1).await;
    daemon.kill9();
    stage.shop("select postback.retract('1')").await;
    stage.receiver.always(Behaviour::status(200));
    daemon.again().await;
    stage.settled().await;
    assert_eq!(stage.ids(), ["purchase-1", "purchase-1", "retract-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_retries_their_count_and_their_time() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::status(500));
    // Up to that long: any shorter one is as likely.
    let mut daemon = stage.daemon(&[("retry", "{ first = \"12h\", max = \"24h\" }")]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}'); select postback.refund('1', 'r', 1)").await;
    stage
        .until("select string_agg(event || ' ' || state || ' ' || attempts, ', ' order by event) from postback.pending", "1 retrying 1, 2 parked 0")
        .await;
    let due = stage.text("select next_at from postback.pending where event = 1").await;
    daemon.kill9();
    daemon.again().await;
    stage.shop("select postback.purchase('2', 9, 'EUR', '{}')").await;
    stage.receiver.wait_for(2).await;
    assert_eq!(stage.ids(), ["purchase-1", "purchase-2"]);
    assert_eq!(stage.text("select next_at from postback.pending where event = 1").await, due);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_may_go_away_while_requests_are_in_flight() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::status(200).after(Duration::from_millis(400)));
    let _daemon = stage.daemon(&[]).await;
    stage.shop("select count(postback.purchase(i::text, 1, 'EUR', '{}')) from generate_series(1, 20) i").await;
    stage.receiver.wait_for(20).await;
    stage
        .shop(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name like 'postbackd%'",
        )
        .await;
    stage.until("select count(*) from postback.attempt where outcome = 'delivered'", "20").await;
    assert_eq!(stage.ids().len(), 20, "an answer that came is a fact, also when the database was away");
}
