//! A standby waits, is promoted with its last marks missing, and goes on.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_goes_on_and_counts_nothing_twice() {
    let shop = Shop::new().await;
    let (stage, primary) = (&shop.stage, &shop.stage.db);
    let standby = Local::copy_of(&shop.local, true).expect("a standby");
    let mut url = url::Url::parse(standby.url()).expect("a URL");
    url.set_path(stage.database.name());
    let following = standby.server().connect().await;
    let (there, driver) = tokio_postgres::connect(url.as_str(), tokio_postgres::NoTls).await.expect("the standby");
    tokio::spawn(driver);
    let replicated = |sql: &'static str| until(&there, sql);

    let mut daemon = Daemon::start(shop.config().daemon("settle", "\"4s\"")).await;
    let mut waiting = Daemon::spawn(shop.config_at(url.as_str()).daemon("settle", "\"4s\"")).await;
    waiting.wait_line("standby in recovery").await;
    purchase(primary, "told").await;
    shop.settled(primary, &["told"]).await;
    replicated("select count(*) = 2 from postback.attempt where outcome = 'delivered'").await;

    // One is refused for now, and its rows in pending are replicated; one has not settled yet.
    stage.receiver.script(|arrival| (arrival.order() == "refused").then(|| Behaviour::status(429)));
    purchase(primary, "refused").await;
    replicated("select count(distinct destination) = 2 from postback.attempt where outcome = 'retry'").await;
    purchase(primary, "fresh").await;
    replicated("select count(*) = 3 from postback.log").await;
    // And one is committed, and not in the stream when the standby hears the last of it.
    daemon.stop();
    purchase(primary, "unread").await;
    replicated("select count(*) = 4 from postback.event").await;
    run(&following, "alter system set primary_conninfo = ''").await;
    run(&following, "select pg_reload_conf()").await;
    until(&following, "select count(*) = 0 from pg_stat_wal_receiver").await;
    assert!(stage.receiver.log().iter().all(|arrival| arrival.order() != "fresh"), "cut too late to test anything");

    // The primary tells all; nobody else ever learns of it.
    daemon.cont();
    answer(&stage.receiver);
    shop.settled(primary, &["refused", "fresh", "unread"]).await;
    daemon.kill9();
    shop.local.down("immediate").expect("the end of the primary");
    assert!(waiting.ended().is_none(), "{}", waiting.stderr());
    assert_eq!(one::<i64>(&there, "select count(*) from postback.attempt where outcome = 'delivered'").await, 2, "the marks were to be lost");
    assert_eq!(one::<i64>(&there, "select count(*) from postback.log").await, 3, "and a place in the stream");
    standby.promote().expect("a promotion");

    waiting.wait_line("a standby was promoted").await;
    run(&there, "select postback.purchase('new', 10, 'EUR', '{}')").await;
    shop.settled(&there, &["told", "refused", "fresh", "unread", "new"]).await;
    shop.nothing_counted_twice();
    let once = "select string_agg(e.ref, ', ' order by e.ref) from postback.pending p join postback.event e on e.id = p.event
                 where p.destination = 'once' and p.state = 'unknown'";
    assert_eq!(one::<String>(&there, once).await, "fresh, refused, unread");
    let (safe, once) = (shop.came("/safe"), shop.came("/once"));
    assert!(safe["purchase-fresh"] == 2 && safe["purchase-told"] == 1 && safe["purchase-new"] == 1, "{safe:?}");
    assert!(once["purchase-told"] == 1 && once["purchase-new"] == 1, "{once:?}");
    // Once noted, a timeline is home.
    waiting.term().await;
    waiting.again().await;
    purchase(&there, "later").await;
    shop.settled(&there, &["later"]).await;
    // A person's word is not doubted.
    ends(&shop.config_at(url.as_str()), &["unknown", "resolve", "--not-delivered", "--all", "--yes"], 0);
    shop.stage
        .receiver
        .wait_until("all, as a person asked", |log| {
            ["fresh", "refused", "unread"]
                .iter()
                .all(|order| log.iter().filter(|a| a.path == "/once" && a.order() == *order && a.taken()).count() == 2)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovered_backup_is_rebased_because_more_than_minutes_may_be_missing() {
    let shop = Shop::new().await;
    let (stage, original) = (&shop.stage, &shop.stage.db);
    let mut daemon = Daemon::start(shop.config()).await;
    stage.receiver.script(|arrival| (arrival.order() == "refused").then(|| Behaviour::status(429).header("retry-after", "1")));
    purchase(original, "refused").await;
    stage.until("select count(distinct destination) from postback.attempt where outcome = 'retry'", "2").await;
    let backup = Local::copy_of(&shop.local, true).expect("a backup");
    answer(&stage.receiver);
    shop.settled(original, &["refused"]).await;
    daemon.term().await;
    let ahead = backup.server().connect().await;
    run(&ahead, "alter system set primary_conninfo = ''").await;
    run(&ahead, "select pg_reload_conf()").await;
    backup.promote().expect("the end of the recovery");
    let mut url = url::Url::parse(backup.url()).expect("a URL");
    url.set_path(stage.database.name());
    let config = shop.config_at(url.as_str());
    let check = ends(&config, &["check"], 0);
    assert!(check.contains("on a new timeline"), "{check}");
    let (db, driver) = tokio_postgres::connect(url.as_str(), tokio_postgres::NoTls).await.expect("the recovered one");
    tokio::spawn(driver);
    // As if the backup had been recovered to a moment before the marks.
    run(&db, "delete from postback.attempt where outcome <> 'retry'; update postback.position set seq = 0, horizon = 16").await;
    let done = json(&config, &["rebase", "--yes", "--json"]);
    assert_eq!((&done["done"], &done["neutralised"]), (&true.into(), &0.into()), "{done}");
    assert_eq!(json(&config, &["rebase", "--json"])["plan"], serde_json::Value::Null);
    let _recovered = Daemon::start(config).await;
    purchase(&db, "new").await;
    shop.settled(&db, &["refused", "new"]).await;
    shop.nothing_counted_twice();
    assert_eq!(
        one::<String>(&db, "select outcome from postback.attempt where destination = 'once' and event = 1 order by attempt desc limit 1").await,
        "unknown"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_synchronous_standby_nothing_is_sent_that_a_failover_could_lose() {
    let shop = Shop::new().await;
    let (stage, primary) = (&shop.stage, &shop.stage.db);
    let standby = Local::copy_of(&shop.local, true).expect("a standby");
    let follower = standby.server().connect().await;
    until(primary, "select count(*) = 1 from pg_stat_replication where state = 'streaming'").await;
    let follow: String = one(&follower, "show primary_conninfo").await;
    let _daemon = Daemon::start(shop.config()).await;
    run(primary, "alter system set synchronous_standby_names = 'walreceiver'").await;
    run(primary, "select pg_reload_conf(); set synchronous_commit = local").await;
    until(primary, "select count(*) = 1 from pg_stat_replication where sync_state = 'sync'").await;
    purchase(primary, "replicated").await;
    shop.settled(primary, &["replicated"]).await;
    run(&follower, "alter system set primary_conninfo = ''").await;
    run(&follower, "select pg_reload_conf()").await;
    until(primary, "select count(*) = 0 from pg_stat_replication").await;
    // The shop does not wait; postbackd does.
    purchase(primary, "not yet").await;
    until(primary, "select count(*) > 0 from pg_stat_activity where application_name like 'postbackd%' and wait_event = 'SyncRep'").await;
    assert!(stage.receiver.log().iter().all(|arrival| arrival.order() == "replicated"), "{}", stage.receiver.dump());
    run(&follower, &format!("alter system set primary_conninfo = '{}'", follow.replace('\'', "''"))).await;
    run(&follower, "select pg_reload_conf()").await;
    shop.settled(primary, &["not yet"]).await;
    shop.nothing_counted_twice();
}
