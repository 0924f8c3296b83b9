//! Much at once: what waits stays bounded and in order, and no table is walked to find it. `benches/million.rs` and
//! `benches/week_down.rs` are the large ones.

use std::{collections::BTreeMap, time::Duration};

use super::Stage;
use crate::support::{
    daemon::{Config, Daemon},
    receiver::Behaviour,
};

const ORDERS: usize = 1_500;

/// A purchase and a refund each; refunds come long after their purchases, as they do.
async fn sell(stage: &Stage) {
    stage.shop(&format!("select count(postback.purchase('A' || i, 9, 'EUR', '{{}}')) from generate_series(1, {ORDERS}) i")).await;
    stage.shop(&format!("select count(postback.refund('A' || i, 'r', 4)) from generate_series(1, {ORDERS}) i")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_away_costs_the_others_nothing_and_catches_up_in_order() {
    let stage = Stage::new().await;
    let quick = [("retry", "{ first = \"100ms\", max = \"1s\" }"), ("breaker", "{ open = \"100ms\" }")];
    let config = Config::new(&stage.database).destination("well", &stage.receiver, &quick).destination("away", &stage.receiver, &quick);
    stage.receiver.on("/away", Behaviour::status(503));
    let _daemon = Daemon::start(config).await;
    sell(&stage).await;
    let minute = Duration::from_secs(60);
    let taken = |path: &'static str| {
        move |log: &[crate::support::receiver::Arrival]| log.iter().filter(|a| a.path == path && a.taken()).count() == 2 * ORDERS
    };
    stage.receiver.wait_within(minute, "all at the one that is well", taken("/well")).await;
    // What waits, waits in the stream: only what was tried, or follows what was tried, has a row.
    let rows: usize = stage.text("select count(*) from postback.pending where destination = 'away'").await.parse().expect("a number");
    assert!(rows <= 1_000, "{rows} rows for what is merely waiting");
    assert_eq!(stage.text("select count(*) from postback.attempt where destination = 'away' and outcome <> 'retry'").await, "0");
    stage.receiver.on("/away", Behaviour::status(200));
    let log = stage.receiver.wait_within(minute, "all at the one that was away", taken("/away")).await;
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for arrival in log.iter().filter(|arrival| arrival.path == "/away" && arrival.taken()) {
        told.entry(arrival.order()).or_default().push(arrival.param("kind").unwrap_or_default());
    }
    assert_eq!(told.len(), ORDERS);
    for (order, kinds) in told {
        assert_eq!(kinds, ["purchase", "refund"], "order {order}");
    }
    assert_eq!(stage.receiver.most_together("/away"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_table_is_walked_while_the_planner_still_thinks_it_is_empty() {
    let stage = Stage::new().await;
    let mut daemon = stage.daemon(&[]).await;
    sell(&stage).await;
    stage.until("select count(*) from postback.attempt where outcome = 'delivered'", &(2 * ORDERS).to_string()).await;
    daemon.term().await;
    // Sessions hand their counts in when they end.
    stage.until("select bool_and(idx_scan > 0) from pg_stat_user_tables where relname in ('event', 'sale', 'refund', 'receipt')", "true").await;
    stage.until("select count(*) from pg_stat_activity where application_name like 'postbackd%' and datname = current_database()", "0").await;
    // A table of a page or two is rightly read as a whole.
    let walked = "select string_agg(relname || ' ' || seq_tup_read, ', ' order by relname) from pg_stat_user_tables
                   where schemaname = 'postback' and relname in ('event', 'log', 'sale', 'refund', 'receipt') and seq_tup_read > n_tup_ins / 10";
    assert_eq!(stage.text(walked).await, "-");
}
