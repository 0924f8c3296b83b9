//! pg_dump and restore, and what a logical copy looks like.

use super::*;

/// The original sends on after the dump; the shop moves to the copy nevertheless.
async fn moves(from_burns: u32, to_burns: u32) {
    let shop = Shop::new().await;
    let (stage, old) = (&shop.stage, &shop.stage.db);
    burn(old, from_burns).await;
    let mut daemon = Daemon::start(shop.config()).await;
    for order in ["1", "2", "3"] {
        purchase(old, order).await;
    }
    shop.settled(old, &["1", "2", "3"]).await;
    hang(&stage.receiver, "hanging");
    purchase(old, "hanging").await;
    stage.receiver.wait_until("both on the wire", |log| log.iter().filter(|arrival| arrival.order() == "hanging").count() == 2).await;
    daemon.kill9();
    // Committed, and not read when the dump is taken.
    purchase(old, "left").await;
    run(old, "select postback.refund('1', 'r', 4); select postback.purchase('also left', 10, 'EUR', '{}')").await;
    let other = foreign();
    let copy = dump_into(&shop, &other).await;
    let new = copy.connect().await;
    burn(&new, to_burns).await;
    let (there, here) = (xid(old).await, xid(&new).await);
    assert_eq!(there > here, from_burns > to_burns, "{there} and {here}");

    // After the dump the original sends what the copy does not know to be sent.
    answer(&stage.receiver);
    daemon.again().await;
    shop.settled(old, &["hanging", "left", "also left", "1"]).await;
    daemon.term().await;
    let before = stage.receiver.log().len();

    let config = shop.config_at(copy.url());
    let why = refused(&config).await;
    assert!(why.contains("postbackd rebase") && why.contains("another cluster"), "{why}");
    purchase(&new, "early").await;
    // The shop is open meanwhile: this one commits when the rebase is over.
    let open = copy.connect().await;
    run(&open, "begin; select postback.purchase('open meanwhile', 10, 'EUR', '{}')").await;
    let plan = ends(&config, &["rebase"], 0);
    assert!(plan.contains("Nothing was done; say --yes") && plan.contains("4 of them have no place in the stream"), "{plan}");
    refused(&config).await;
    let done = json(&config, &["rebase", "--yes", "--json"]);
    assert_eq!((&done["done"], &done["unread"]), (&true.into(), &4.into()), "{done}");
    assert_eq!(done["neutralised"].as_i64().expect("a number") > 0, from_burns > to_burns, "{done}");
    assert_eq!(stage.receiver.log().len(), before, "a database that is not at home says nothing\n{}", stage.receiver.dump());
    let again = json(&config, &["rebase", "--yes", "--json"]);
    assert_eq!(again["done"], false, "{again}");

    let mut moved = Daemon::start(config.clone()).await;
    purchase(&new, "after").await;
    shop.settled(&new, &["after"]).await;
    run(&open, "commit").await;
    shop.settled(&new, &["1", "2", "3", "hanging", "left", "also left", "early", "open meanwhile"]).await;
    // When the new cluster comes to the old one's transactions, nothing is met again.
    burn(&new, from_burns + 1_000).await;
    purchase(&new, "late").await;
    shop.settled(&new, &["late"]).await;
    moved.term().await;
    shop.nothing_counted_twice();
    let doubled: i64 =
        one(&new, "select count(*) from (select event from postback.log where cause is null group by event having count(*) <> 1) x").await;
    assert_eq!(doubled, 0);
    let missing: i64 = one(&new, "select count(*) from postback.event e where not exists (select from postback.log l where l.event = e.id)").await;
    assert_eq!(missing, 0, "every event has its place in the stream");
    let safe = shop.came("/safe");
    for id in ["purchase-hanging", "purchase-left", "purchase-also left", "refund-1-r"] {
        assert!(safe.get(id).is_some_and(|count| *count >= 2), "{id} is said again where that is safe: {safe:?}");
    }
    assert_eq!((safe["purchase-1"], safe["purchase-after"], safe["purchase-early"]), (1, 1, 1), "what is recorded is not repeated");
    let unknown = "select string_agg(e.ref, ', ' order by e.ref) from postback.pending p join postback.event e on e.id = p.event
                    where p.destination = 'once' and p.state = 'unknown'";
    assert_eq!(one::<String>(&new, unknown).await, "1, also left, early, hanging, left");
    let once = shop.came("/once");
    assert!(["after", "open meanwhile", "late"].iter().all(|order| once.contains_key(&format!("purchase-{order}"))), "{once:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_goes_on_in_a_cluster_with_fewer_transactions_behind_it() {
    moves(3_000, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_goes_on_in_a_cluster_with_more_transactions_behind_it() {
    moves(0, 3_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_in_doubt_when_the_daemon_was_stopped_first() {
    let shop = Shop::new().await;
    let old = &shop.stage.db;
    let mut daemon = Daemon::start(shop.config()).await;
    purchase(old, "1").await;
    shop.settled(old, &["1"]).await;
    daemon.term().await;
    purchase(old, "left").await;
    let other = foreign();
    let copy = dump_into(&shop, &other).await;
    let new = copy.connect().await;
    // A plain member of postback_daemon may do it all.
    copy.role("pbt_daemon", &["postback_daemon"]).await;
    let config = shop.config_at(&copy.url_as("pbt_daemon"));
    refused(&config).await;
    let why = ends(&config, &["rebase", "--same-xids", "--yes"], 1);
    assert!(why.contains("transaction ids are not the same here"), "{why}");
    // One that does not come to its end changes nothing.
    run(&new, "begin isolation level repeatable read; select postback.rebase(null, false, false, false); rollback").await;
    refused(&config).await;
    let done = json(&config, &["rebase", "--stopped", "--yes", "--json"]);
    assert_eq!((&done["in_doubt"], &done["unread"]), (&0.into(), &1.into()), "{done}");
    let _moved = Daemon::start(config).await;
    shop.settled(&new, &["1", "left"]).await;
    for path in ["/safe", "/once"] {
        assert_eq!(shop.came(path), BTreeMap::from([("purchase-1".into(), 1), ("purchase-left".into(), 1)]), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_killed_was_not_stopped() {
    let shop = Shop::new().await;
    let mut daemon = Daemon::start(shop.config()).await;
    purchase(&shop.stage.db, "1").await;
    shop.settled(&shop.stage.db, &["1"]).await;
    daemon.kill9();
    let other = foreign();
    let copy = dump_into(&shop, &other).await;
    let why = ends(&shop.config_at(copy.url()), &["rebase", "--stopped", "--yes"], 1);
    assert!(why.contains("without --stopped"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sequences_that_a_logical_copy_left_behind_catch_up() {
    let shop = Shop::new().await;
    let old = &shop.stage.db;
    run(old, "select postback.note('the shop', null, 'nothing new'), postback.note('the shop', null, 'nothing new')").await;
    let mut daemon = Daemon::start(shop.config()).await;
    for order in ["1", "2", "3", "4"] {
        purchase(old, order).await;
    }
    shop.settled(old, &["1", "2", "3", "4"]).await;
    daemon.term().await;
    let other = foreign();
    let copy = dump_into(&shop, &other).await;
    let new = copy.connect().await;
    // Rows come over, sequences do not; and retention has taken the oldest event, whose id the ledger still names.
    run(
        &new,
        "select setval('postback.event_seq', 1, false), setval(pg_get_serial_sequence('postback.trouble', 'id'), 1, false), setval('postback.epoch_seq', 1, false);
         delete from postback.attempt where event = 1; delete from postback.log where event = 1; delete from postback.event where id = 1;",
    )
    .await;
    purchase(&new, "takes the id of order 1").await;
    let config = shop.config_at(copy.url());
    let done = json(&config, &["rebase", "--stopped", "--yes", "--json"]);
    assert_eq!(done["renumbered"], 1, "{done}");
    assert_eq!(done["sequences"].as_array().map(Vec::len), Some(3), "{done}");
    let _moved = Daemon::start(config).await;
    purchase(&new, "5").await;
    run(&new, "select postback.refund('1', 'r', 4)").await;
    shop.settled(&new, &["takes the id of order 1", "5"]).await;
    shop.nothing_counted_twice();
    let ids: Vec<_> = shop.came("/once").into_keys().collect();
    let want = ["purchase-1", "purchase-2", "purchase-3", "purchase-4", "purchase-5", "purchase-takes the id of order 1"];
    assert_eq!(ids.iter().filter(|id| id.starts_with("purchase")).collect::<Vec<_>>(), want.iter().collect::<Vec<_>>());
    let lowest: i64 = one(&new, "select min(id) from postback.event where ref in ('5', 'takes the id of order 1')").await;
    assert!(lowest > 1_000, "{lowest}");
    assert_eq!(one::<i64>(&new, "select count(*) from postback.trouble").await, 2, "nothing failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_gets_a_name_of_its_own_and_leaves_the_original_alone() {
    let shop = Shop::new().await;
    let old = &shop.stage.db;
    let expecting = |config: Config, name: &str| config.database("expect", &format!("\"{name}\""));
    let mut daemon = Daemon::start(expecting(shop.config(), "shop-prod")).await;
    purchase(old, "1").await;
    shop.settled(old, &["1"]).await;
    let other = foreign();
    let copy = dump_into(&shop, &other).await;
    let new = copy.connect().await;
    let staging = expecting(shop.config_at(copy.url()), "shop-staging");
    refused(&staging).await;
    let why = ends(&staging, &["rebase", "--yes"], 6);
    assert!(why.contains("postbackd adopt shop-staging"), "a copy is not production moved: {why}");
    let asked = ends(&staging, &["adopt", "shop-staging"], 2);
    assert!(asked.contains("say --yes"), "{asked}");
    refused(&staging).await;
    ends(&staging, &["adopt", "shop-staging", "--yes"], 0);
    refused(&expecting(shop.config_at(copy.url()), "shop-prod")).await;
    refused(&shop.config_at(copy.url())).await;
    let _staging = Daemon::start(staging).await;
    purchase(&new, "of staging").await;
    shop.settled(&new, &["of staging"]).await;
    let why = ends(&expecting(shop.config(), "shop-prod"), &["adopt", "another", "--yes"], 1);
    assert!(why.contains("a daemon is at work"), "{why}");
    purchase(old, "2").await;
    shop.settled(old, &["2"]).await;
    assert_eq!(one::<String>(old, "select name from postback.identity").await, "shop-prod");
    assert!(daemon.term().await.success());
    shop.nothing_counted_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logical_copy_goes_on_after_the_switch() {
    let shop = Shop::new().await;
    let (stage, old) = (&shop.stage, &shop.stage.db);
    run(old, "alter system set wal_level = logical").await;
    shop.local.down("fast").and_then(|()| shop.local.up()).expect("a restart");
    let old = &stage.database.connect().await;
    let other = foreign();
    drop(other.server().database().await); // its template makes the roles
    let copy = other.server().bare_database().await;
    shop.local.run("pg_dump", &["-s", "-f", "schema.sql", "-d", stage.database.url()]).expect("the schema");
    let file = other.directory().join("schema.sql");
    std::fs::copy(shop.local.directory().join("schema.sql"), &file).expect("the schema");
    other.run("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file.to_str().expect("a path"), "-d", copy.url()]).expect("restoring it");
    let new = copy.connect().await;

    let mut daemon = Daemon::start(shop.config()).await;
    purchase(old, "1").await;
    shop.settled(old, &["1"]).await;
    run(old, "create publication moving for all tables").await;
    run(&new, &format!("create subscription moving connection '{}' publication moving", stage.database.url())).await;
    // The daemon works on while the copy follows.
    for order in ["2", "3"] {
        purchase(old, order).await;
    }
    shop.settled(old, &["1", "2", "3"]).await;
    until(&new, "select count(*) = 6 from postback.attempt where outcome = 'delivered'").await;
    until(&new, "select count(*) = 0 from pg_subscription_rel where srsubstate <> 'r'").await;
    assert!(refused(&shop.config_at(copy.url())).await.contains("another cluster"));
    daemon.term().await;
    purchase(old, "left").await;
    until(&new, "select count(*) = 4 from postback.event").await;
    until(&new, "select daemon is null and owner is null from postback.ingest").await;
    run(&new, "drop subscription moving").await;

    let config = shop.config_at(copy.url());
    let done = json(&config, &["rebase", "--stopped", "--yes", "--json"]);
    assert_eq!(done["unread"], 1, "{done}");
    let behind: Vec<_> = done["sequences"].as_array().expect("a list").iter().map(|moved| moved["sequence"].as_str().expect("a name")).collect();
    assert!(behind.contains(&"postback.event_seq") && behind.contains(&"postback.epoch_seq"), "{behind:?}");
    let _moved = Daemon::start(config).await;
    purchase(&new, "after").await;
    run(&new, "select postback.refund('1', 'r', 4)").await;
    shop.settled(&new, &["1", "2", "3", "left", "after"]).await;
    for path in ["/safe", "/once"] {
        let came = shop.came(path);
        assert!(came.len() == 6 && came.values().all(|count| *count == 1), "{path}: {came:?}");
    }
}
