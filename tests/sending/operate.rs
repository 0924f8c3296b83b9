//! What operators do: pause, halt and resume, rename, add, reload, stop.

use std::time::Duration;

use super::{Stage, state_sql};
use crate::support::{
    daemon::{Config, Daemon},
    receiver::Behaviour,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_halts_the_destination_and_burns_nothing() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::status(401));
    let daemon = stage.daemon(&[]).await;
    stage.shop("select count(postback.purchase(i::text, 1, 'EUR', '{}')) from generate_series(1, 40) i").await;
    stage.until("select halted is not null from postback.position", "true").await;
    daemon.wait_line("halted").await;
    assert_eq!(stage.text("select count(*) from postback.attempt").await, "0");
    assert_eq!(stage.text("select seq from postback.position").await, "0");
    stage.receiver.always(Behaviour::status(200));
    assert_eq!(stage.command(r#"{"do": "resume", "destination": "d"}"#).await, "d resumed");
    stage.until("select count(*) from postback.attempt where outcome = 'delivered' and attempt = 1", "40").await;
    assert_eq!(stage.text("select halted from postback.position").await, "-");
}

#[tokio::test(flavor = "multi_thread")]
async fn pausing_stops_a_number_and_resuming_goes_on() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[]).await;
    stage.shop("select postback.purchase('1', 1, 'EUR', '{}')").await;
    stage.state(1, "delivered").await;
    stage.command(r#"{"do": "pause", "destination": "d"}"#).await;
    stage.shop("select postback.purchase('2', 1, 'EUR', '{}')").await;
    stage.until("select last_seq from postback.ingest", "2").await;
    // A second command is answered after the first has taken effect at the destination's next look.
    assert_eq!(
        stage.command(r#"{"do": "pause", "destination": "nobody"}"#).await,
        "there is no destination \"nobody\"; \"postbackd status\" lists them"
    );
    assert_eq!(stage.ids(), ["purchase-1"]);
    stage.command(r#"{"do": "resume", "destination": "d"}"#).await;
    stage.state(2, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_destination_keeps_its_place_and_history() {
    let stage = Stage::new().await;
    let mut daemon = stage.daemon(&[]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.state(1, "delivered").await;
    daemon.configure(Config::new(&stage.database).destination("new", &stage.receiver, &[("was", "\"d\"")]));
    daemon.hup();
    stage.until("select string_agg(destination, ',') from postback.position", "new").await;
    stage.shop("select postback.refund('1', 'r', 4)").await;
    stage.until(&state_sql("new", 2), "delivered").await;
    assert_eq!(stage.receiver.at("/new").iter().map(|a| a.id()).collect::<Vec<_>>(), ["refund-1-r"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_destination_begins_where_it_is_told_to() {
    let stage = Stage::new().await;
    let mut daemon = stage.daemon(&[]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.state(1, "delivered").await;
    let config = stage.config(&[]).destination("now", &stage.receiver, &[("start", "\"now\"")]).destination(
        "all",
        &stage.receiver,
        &[("start", "\"beginning\"")],
    );
    daemon.configure(config);
    daemon.hup();
    stage.until(&state_sql("all", 1), "delivered").await;
    stage.until("select count(*) from postback.position", "3").await;
    stage.shop("select postback.refund('1', 'r', 4)").await;
    stage.until(&state_sql("now", 2), "skipped: purchase not sent here").await;
    stage.until(&state_sql("all", 2), "delivered").await;
    assert_eq!(stage.receiver.at("/now").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_is_refused_and_the_old_one_goes_on() {
    let stage = Stage::new().await;
    let mut daemon = stage.daemon(&[]).await;
    daemon.configure(stage.config(&[("knids", "[\"purchase\"]")]));
    daemon.hup();
    daemon.wait_line("kinds").await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.state(1, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloading_under_load_loses_and_repeats_nothing() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::status(200).after(Duration::from_millis(3)));
    let mut daemon = stage.daemon(&[]).await;
    for round in 0..8 {
        stage.shop(&format!("select count(postback.purchase('{round}-' || i, 1, 'EUR', '{{}}')) from generate_series(1, 100) i")).await;
        daemon.configure(stage.config(&[("in_flight", &(4 + round).to_string())]));
        daemon.hup();
        stage.receiver.wait_for(round * 100 + 20).await;
    }
    stage.until("select count(*) from postback.attempt where outcome = 'delivered'", "800").await;
    let mut ids = stage.ids();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), stage.ids().len()), (800, 800));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_drains_what_is_in_flight() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::status(200).after(Duration::from_millis(500)));
    let mut daemon = stage.daemon(&[("in_flight", "8")]).await;
    stage.shop("select count(postback.purchase(i::text, 1, 'EUR', '{}')) from generate_series(1, 30) i").await;
    stage.receiver.wait_for(8).await;
    let status = daemon.term().await;
    assert!(status.success(), "{status}");
    assert_eq!(stage.text("select count(*) from postback.attempt where outcome = 'delivered'").await, stage.receiver.log().len().to_string());
    assert_eq!(stage.text("select owner from postback.ingest").await, "-");
    stage.receiver.always(Behaviour::status(200));
    daemon.again().await;
    stage.until("select count(*) from postback.attempt where outcome = 'delivered'", "30").await;
    assert_eq!(stage.ids().len(), 30, "nothing is repeated after a clean stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_builds_and_records_and_sends_nothing() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[("mode", "\"shadow\"")]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.state(1, "skipped: shadow").await;
    assert_eq!(stage.receiver.log().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_says_everything_again_but_where_it_would_count_twice() {
    let stage = Stage::new().await;
    let config = stage.config(&[]).destination("once", &stage.receiver, &[("resend", "\"never\"")]);
    let _daemon = Daemon::start(config).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}'); select postback.refund('1', 'r', 4)").await;
    stage.until("select count(*) from postback.attempt where outcome = 'delivered'", "4").await;
    stage.command(r#"{"do": "replay", "since": "2020-01-01T00:00:00Z", "destinations": []}"#).await;
    stage.until("select count(*) from postback.attempt where outcome = 'delivered'", "6").await;
    stage.settled().await;
    assert_eq!(stage.ids(), ["purchase-1", "refund-1-r", "purchase-1", "refund-1-r"]);
    stage.until("select seq from postback.position where destination = 'once'", "4").await;
    assert_eq!(stage.receiver.at("/once").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_that_fails_holds_nobody_else() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| (arrival.order() == "bad").then(|| Behaviour::status(500)));
    let _daemon = stage.daemon(&[("retry", "{ first = \"3s\", max = \"30s\" }"), ("breaker", "{ failures = 1000, open = \"1s\" }")]).await;
    stage.shop("select postback.purchase('bad', 2, 'EUR', '{}'); select postback.refund('bad', 'r', 1)").await;
    stage.receiver.wait_for(1).await;
    stage.shop("select count(postback.purchase(i::text, 1, 'EUR', '{}')) from generate_series(1, 3000) i").await;
    stage.until("select count(*) from postback.attempt where outcome = 'delivered'", "3000").await;
    stage.until("select seq from postback.position", "3002").await;
    let rows = stage.text("select string_agg(event || ' ' || state, ', ' order by event) from postback.pending").await;
    assert_eq!(rows, "1 retrying, 2 parked");
}
