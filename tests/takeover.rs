//! Several daemons on one database: one reads and sends, others stand by; who goes away cleanly, is killed, is cut off or is
//! stopped and comes back. Nothing is lost, and nobody sends beside somebody else.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    sending::Stage,
    support::{
        daemon::{Config, Daemon},
        settled::{self, Run},
        shop::{self, Load},
    },
};

/// The destination `d`, told by `from` in a header, so that the receiver knows who sent; what is said is the same.
fn by(stage: &Stage, from: &str, keys: &[(&str, &str)]) -> Config {
    let headers = format!("{{ x-from = \"{from}\" }}");
    let mut all = vec![("headers", headers.as_str())];
    all.extend_from_slice(keys);
    stage.config(&all).daemon("instance", &format!("\"{from}\""))
}

/// Arrivals by who sent them.
fn sent_by(stage: &Stage, from: &str) -> Vec<String> {
    stage.receiver.at("/d").iter().filter(|arrival| arrival.header("x-from") == Some(from)).map(|arrival| arrival.id()).collect()
}

async fn standby(config: Config) -> Daemon {
    let daemon = Daemon::spawn(config).await;
    daemon.wait_line("standing by").await;
    daemon
}

async fn owner_is(stage: &Stage, instance: &str) {
    stage.until("select owner from postback.ingest", instance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_from_a_killed_owner_and_at_once_from_one_that_leaves() {
    let stage = Stage::new().await;
    let mut first = Daemon::start(by(&stage, "a", &[])).await;
    let mut second = standby(by(&stage, "b", &[])).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.state(1, "delivered").await;
    first.kill9();
    let killed = Instant::now();
    owner_is(&stage, "b").await;
    assert!(killed.elapsed() < Duration::from_secs(6), "reading was taken over after {:?}", killed.elapsed());
    stage.shop("select postback.purchase('2', 9, 'EUR', '{}')").await;
    stage.state(2, "delivered").await;
    // Its process is gone for certain: nobody waits for what it may still send.
    assert!(killed.elapsed() < Duration::from_secs(8), "sending was taken over after {:?}", killed.elapsed());
    let third = standby(by(&stage, "c", &[])).await;
    second.term().await;
    let left = Instant::now();
    stage.shop("select postback.purchase('3', 9, 'EUR', '{}')").await;
    stage.state(3, "delivered").await;
    assert!(left.elapsed() < Duration::from_secs(5), "after a clean end nobody waits, but it took {:?}", left.elapsed());
    owner_is(&stage, "c").await;
    drop((first, third));
    assert_eq!((sent_by(&stage, "a"), sent_by(&stage, "b"), sent_by(&stage, "c")), (ids([1]), ids([2]), ids([3])));
}

fn ids<const N: usize>(orders: [u32; N]) -> Vec<String> {
    orders.iter().map(|order| format!("purchase-{order}")).collect()
}

/// The owner's lock is gone at once, but it is only stopped: what it had begun may arrive until fence and deadline are over.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_sends_while_a_stopped_owner_may_have_requests_on_their_way() {
    let stage = Stage::new().await;
    let first = Daemon::start(by(&stage, "a", &[("deadline", "\"2s\"")]).daemon("fence", "\"2s\"")).await;
    let _second = standby(by(&stage, "b", &[("deadline", "\"1s\"")]).daemon("fence", "\"4s\"")).await;
    first.stop();
    stage.shop("select pg_terminate_backend(backend) from postback.daemon where instance = 'a'").await;
    owner_is(&stage, "b").await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.state(1, "delivered").await;
    // Its own fence and deadline count, not those of whoever takes over.
    let waited = "select extract(epoch from min(a.at) - (select checked from postback.daemon where instance = 'a')) from postback.attempt a";
    let waited: f64 = stage.text(waited).await.parse().expect("seconds");
    assert!((4.0..8.0).contains(&waited), "sent {waited} s after the last check of the former owner");
    first.cont();
    first.wait_line("standing by").await;
    assert_eq!(sent_by(&stage, "b"), ids([1]));
    assert_eq!(stage.text("select count(*) from postback.attempt").await, "1");
}

/// Stopped in the midst of work, longer than the server waits for it, and then continued.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_that_comes_back_commits_nothing_and_begins_nothing() {
    let stage = Stage::new().await;
    shop::install(&stage.database).await;
    let first = Daemon::start(by(&stage, "a", &[])).await;
    let _second = standby(by(&stage, "b", &[])).await;
    let running = shop::start(&stage.database, &Load::new(7).paused(Duration::from_millis(200))).await;
    stage.receiver.wait_for(50).await;
    first.stop();
    let stopped = Instant::now();
    owner_is(&stage, "b").await;
    assert!(stopped.elapsed() < Duration::from_secs(7), "reading was taken over after {:?}", stopped.elapsed());
    stage.receiver.wait_until("the new owner to send", |log| log.iter().any(|arrival| arrival.header("x-from") == Some("b"))).await;
    let before = sent_by(&stage, "a").len();
    let may_repeat: BTreeSet<String> = sent_by(&stage, "a").into_iter().collect();
    first.cont();
    first.wait_line("standing by").await;
    let record = running.stop().await;
    settled::wait(&stage.db, &["d".to_owned()], &record, Duration::from_secs(60)).await;
    assert_eq!(sent_by(&stage, "a").len(), before, "it began a request although another one had taken over\n{}", first.stderr());
    // Every write of the former owner would have found another epoch; what it had answers for was told again.
    let repeated = "select count(*) from (select event from postback.attempt where outcome = 'delivered' group by event having count(*) > 1) twice";
    assert_eq!(stage.text(repeated).await, "0");
    let run = Run { record: &record, receiver: &stage.receiver, allowed: &may_repeat };
    settled::assert_kept(&stage.db, &run, "d").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_that_start_together_owns_and_two_that_die_together_come_back() {
    let stage = Stage::new().await;
    let (mut first, mut second) = tokio::join!(Daemon::spawn(by(&stage, "a", &[])), Daemon::spawn(by(&stage, "b", &[])));
    for n in 1..=3 {
        stage.shop(&format!("select postback.purchase('{n}', 9, 'EUR', '{{}}')")).await;
        stage.state(n, "delivered").await;
        stage.until("select count(*) from postback.daemon where released is null and checked > now() - interval '6 s' and began > now() - interval '1 min'", "2").await;
        first.kill9();
        second.kill9();
        stage.shop("delete from postback.daemon where id not in (select daemon from postback.position)").await;
        tokio::join!(first.again(), second.again());
    }
    stage.shop("select postback.purchase('4', 9, 'EUR', '{}')").await;
    stage.state(4, "delivered").await;
    let mut all = stage.ids();
    all.sort();
    assert_eq!(all, ids([1, 2, 3, 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_daemon_does_not_wait_for_itself() {
    let stage = Stage::new().await;
    let mut daemon = stage.daemon(&[]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.state(1, "delivered").await;
    daemon.kill9();
    daemon.again().await;
    stage.shop("select postback.purchase('2', 9, 'EUR', '{}')").await;
    let began = Instant::now();
    stage.state(2, "delivered").await;
    assert!(began.elapsed() < Duration::from_secs(5), "restarted and sent after {:?}", began.elapsed());
    // Its lock is cut: it takes it again, and nobody else was there.
    let epoch = stage.text("select epoch from postback.ingest").await;
    stage.shop("select pg_terminate_backend(d.backend) from postback.daemon d join postback.ingest i on i.daemon = d.id").await;
    let began = Instant::now();
    stage.until(&format!("select epoch > {epoch} from postback.ingest"), "true").await;
    stage.shop("select postback.purchase('3', 9, 'EUR', '{}')").await;
    stage.state(3, "delivered").await;
    assert!(began.elapsed() < Duration::from_secs(5), "cut off and sent after {:?}", began.elapsed());
    // Stopped for longer than the server waits, and nobody took over.
    daemon.stop();
    stage.until("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'postbackd owner'", "0").await;
    stage.shop("select postback.purchase('4', 9, 'EUR', '{}')").await;
    daemon.cont();
    stage.state(4, "delivered").await;
    assert_eq!(stage.ids(), ids([1, 2, 3, 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_are_spread_over_daemons() {
    let stage = Stage::new().await;
    let config = |instance: &str, mine: &str| {
        let config = Config::new(&stage.database).daemon("instance", &format!("\"{instance}\"")).daemon("destinations", mine);
        config.destination("a", &stage.receiver, &[]).destination("b", &stage.receiver, &[])
    };
    let delivered = |n: i64, to: &str| format!("select outcome from postback.attempt where destination = '{to}' and event = {n}");
    let mut first = Daemon::spawn(config("one", "[\"a\"]")).await;
    owner_is(&stage, "one").await;
    let mut second = Daemon::spawn(config("two", "[\"b\"]")).await;
    stage
        .until("select string_agg(d.instance, ' ' order by destination) from postback.position join postback.daemon d on d.id = daemon", "one two")
        .await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.until(&delivered(1, "a"), "delivered").await;
    stage.until(&delivered(1, "b"), "delivered").await;
    // A command that the reader carries out reaches the one that sends.
    let epoch = stage.text("select epoch from postback.position where destination = 'b'").await;
    stage.command(r#"{"do": "pause", "destination": "b"}"#).await;
    stage.until(&format!("select epoch > {epoch} from postback.position where destination = 'b'"), "true").await;
    stage.shop("select postback.purchase('2', 9, 'EUR', '{}')").await;
    stage.until(&delivered(2, "a"), "delivered").await;
    assert_eq!(stage.text(&delivered(2, "b")).await, "-");
    stage.command(r#"{"do": "resume", "destination": "b"}"#).await;
    stage.until(&delivered(2, "b"), "delivered").await;
    // The one that read goes: the other reads on, and nobody touches what is not its own.
    first.kill9();
    owner_is(&stage, "two").await;
    stage.shop("select postback.purchase('3', 9, 'EUR', '{}')").await;
    stage.until(&delivered(3, "b"), "delivered").await;
    assert_eq!(stage.text(&delivered(3, "a")).await, "-");
    let mut third = Daemon::spawn(config("three", "[\"a\"]")).await;
    stage.until(&delivered(3, "a"), "delivered").await;
    third.term().await;
    second.term().await;
    assert_eq!(stage.receiver.log().len(), 6, "each of three purchases once at each of two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_not_renamed_while_another_daemon_works_its_old_name() {
    let stage = Stage::new().await;
    let alone = |instance: &str, name: &str, keys: &[(&str, &str)]| {
        let config = Config::new(&stage.database).daemon("instance", &format!("\"{instance}\"")).daemon("destinations", &format!("[\"{name}\"]"));
        config.destination(name, &stage.receiver, keys)
    };
    let delivered = |n: i64, to: &str| format!("select outcome from postback.attempt where destination = '{to}' and event = {n}");
    let mut old = Daemon::spawn(alone("one", "a", &[])).await;
    owner_is(&stage, "one").await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.until(&delivered(1, "a"), "delivered").await;
    let mut new = Daemon::spawn(alone("two", "b", &[("was", "\"a\"")])).await;
    new.wait_line("standing by: another daemon works this destination").await;
    // Told to stop while it waits, it takes nothing with it.
    assert!(new.term().await.success());
    assert_eq!(stage.text("select string_agg(destination, ' ') from postback.position").await, "a");
    stage.shop("select postback.purchase('2', 9, 'EUR', '{}')").await;
    stage.until(&delivered(2, "a"), "delivered").await;
    assert!(old.term().await.success());
    new.again().await;
    stage.shop("select postback.purchase('3', 9, 'EUR', '{}')").await;
    stage.until(&delivered(3, "b"), "delivered").await;
    assert_eq!(stage.text("select string_agg(destination, ' ') from postback.position").await, "b");
}
