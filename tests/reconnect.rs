//! Sessions ended, servers restarted, connections that go silent: the daemon notices within a stated time, and deliveries go
//! on by themselves within 5 s of the database's return.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio_postgres::Client;

use crate::support::{
    daemon::{Config, Daemon},
    postgres::{Database, Local, Server, database},
    proxy::{Fate, Proxy},
    receiver::Receiver,
};

/// From the database's return to the next delivery.
const RETURN: Duration = Duration::from_secs(5);
/// Proof every second, three seconds for its answer, and a busy machine.
const OWNER_SILENT: Duration = Duration::from_secs(6);
/// Each statement has 30 s at the server and five more for the way. The reader asks for a snapshot nearly all the time and gives
/// that six seconds, but silence may fall while it asks for something else.
const STATEMENT_SILENT: Duration = Duration::from_secs(35);

/// A session that begins gives each statement six seconds; the server ends what it left behind after five.
const BEGIN_SILENT: Duration = Duration::from_secs(6 + 6 + 5);
/// Statements of the session with the locks until deliveries go, at least.
const BEGINNING: usize = 8;

/// A shop, a receiver and a daemon between which things break.
struct Stage {
    database: Database,
    receiver: Receiver,
    shop: Client,
    orders: usize,
}

impl Stage {
    async fn new(database: Database) -> Self {
        let shop = database.connect().await;
        Self { database, receiver: Receiver::start(), shop, orders: 0 }
    }

    fn config(&self, url: &str) -> Config {
        // Each failed attempt is to be seen, of which a person is told one a minute.
        Config::through(&self.database, url).destination("d", &self.receiver, &[]).environment("POSTBACKD_LOG", "info,postbackd::daemon=debug")
    }

    /// Pays an order; its name.
    async fn order(&mut self) -> String {
        self.orders += 1;
        let order = format!("{}", self.orders);
        let sql = format!("select postback.purchase('{order}', 9, 'EUR', '{{}}')");
        self.shop.batch_execute(&sql).await.expect("an order");
        order
    }

    /// Waits for an order's arrival; how long it took since `began`.
    async fn arrives(&self, order: &str, began: Instant, within: Duration, daemon: &Daemon, when: &str) -> Duration {
        let what = format!("order {order} {when}");
        let log = self.receiver.wait_within(within, &what, |log| log.iter().any(|arrival| arrival.order() == order)).await;
        let at = log.iter().find(|arrival| arrival.order() == order).expect("waited for").at;
        let took = at.saturating_duration_since(began);
        println!("{when}: order {order} after {took:?}");
        assert!(took <= within, "{what} took {took:?}\n{}", daemon.stderr());
        took
    }

    /// One more order arrives at once.
    async fn works(&mut self, daemon: &Daemon) {
        let (order, began) = (self.order().await, Instant::now());
        self.arrives(&order, began, RETURN, daemon, "while all is well").await;
    }

    /// Every order came exactly once.
    fn each_once(&self) {
        let mut orders: Vec<usize> = self.receiver.at("/d").iter().map(|arrival| arrival.order().parse().expect("a number")).collect();
        orders.sort_unstable();
        assert_eq!(orders, (1..=self.orders).collect::<Vec<_>>(), "{}", self.receiver.dump());
    }

    /// Waits until a session of this name is there.
    async fn session(&self, name: &str) {
        let began = Instant::now();
        let sql = "select count(*) from pg_stat_activity where datname = current_database() and application_name = $1";
        while self.shop.query_one(sql, &[&name]).await.expect("looking for sessions").get::<_, i64>(0) == 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "no session {name:?} after 20 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Ends sessions whose name begins so; returns how many.
async fn terminate(shop: &Client, name: &str) -> i64 {
    let sql = "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity
                where datname = current_database() and application_name like $1 || '%'";
    shop.query_one(sql, &[&name]).await.expect("ending sessions").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_may_be_ended_and_all_together() {
    let mut stage = Stage::new(database().await).await;
    let config = stage.config(stage.database.url()).daemon("wake", "\"listen\"");
    let mut daemon = Daemon::start(config).await;
    for name in ["postbackd owner", "postbackd ingest", "postbackd pool", "postbackd listen", "postbackd"] {
        // One round finds the daemon at rest, one right after the last blow.
        for _ in 0..2 {
            stage.session(if name == "postbackd" { "postbackd owner" } else { name }).await;
            let ended = terminate(&stage.shop, name).await;
            let (order, began) = (stage.order().await, Instant::now());
            assert!(ended > 0, "no session {name:?} to end\n{}", daemon.stderr());
            stage.arrives(&order, began, RETURN, &daemon, &format!("{ended} of {name:?} ended")).await;
        }
        stage.works(&daemon).await;
    }
    stage.each_once();
    assert!(daemon.ended().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_go_on_within_five_seconds_of_the_servers_return() {
    let local = Server::private().await;
    for (mode, failures) in [("fast", 1), ("immediate", 1), ("fast", 12)] {
        let mut stage = Stage::new(local.server().database().await).await;
        let daemon = Daemon::start(stage.config(stage.database.url())).await;
        stage.works(&daemon).await;
        local.down(mode).expect("stopping the server");
        // Until the daemon waits as long as it ever does.
        attempts(&daemon, failures).await;
        // A line for each reason, and not for each second.
        let told: Vec<String> = daemon.stderr().lines().filter(|line| line.contains(" cannot reach the database;")).map(str::to_owned).collect();
        assert!((1..=4).contains(&told.len()), "{failures} attempts failed: {told:#?}");
        let returned = up(&local).await;
        stage.shop = stage.database.connect().await;
        let order = stage.order().await;
        stage.arrives(&order, returned, RETURN, &daemon, &format!("server stopped ({mode}), {failures} attempts failed, server back")).await;
        stage.each_once();
    }
}

/// Starts the server; the first moment at which it answered.
async fn up(local: &Local) -> Instant {
    local.up().unwrap_or_else(|why| panic!("the server does not come back: {why}"));
    Instant::now()
}

/// Waits until so many attempts to reach the database have failed.
async fn attempts(daemon: &Daemon, failures: usize) {
    let began = Instant::now();
    while daemon.stderr().matches("cannot reach the database").count() < failures {
        assert!(began.elapsed() < Duration::from_secs(60), "fewer than {failures} attempts in 60 s\n{}", daemon.stderr());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_is_noticed_and_its_return_too() {
    let mut stage = Stage::new(database().await).await;
    let proxy = Proxy::start(&stage.database).await;
    let daemon = Daemon::start(stage.config(&proxy.url())).await;
    stage.works(&daemon).await;
    let began = Instant::now();
    proxy.freeze("");
    lost(&daemon, 1, OWNER_SILENT, began, "everything silent").await;
    let order = stage.order().await;
    // The next connections are taken and never answered.
    attempts(&daemon, 1).await;
    let returned = Instant::now();
    proxy.thaw();
    stage.arrives(&order, returned, RETURN, &daemon, "the way is open again").await;
    stage.each_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fall_silent_for_ever_are_replaced() {
    let mut stage = Stage::new(database().await).await;
    let proxy = Proxy::start(&stage.database).await;
    let daemon = Daemon::start(stage.config(&proxy.url())).await;
    stage.works(&daemon).await;
    // The server believes that the old owner's session is alive, until it has been idle for 5 s.
    let began = Instant::now();
    proxy.freeze_existing("");
    let order = stage.order().await;
    lost(&daemon, 1, OWNER_SILENT, began, "all connections silent").await;
    stage.arrives(&order, began, OWNER_SILENT + RETURN, &daemon, "new connections work").await;
    proxy.thaw();
    stage.works(&daemon).await;

    let began = Instant::now();
    proxy.freeze_existing("postbackd ingest");
    let order = stage.order().await;
    stage.arrives(&order, began, STATEMENT_SILENT + RETURN, &daemon, "the reader silent").await;
    proxy.thaw();
    stage.works(&daemon).await;
    stage.each_once();
}

/// Whichever statement a new session is at when the way falls silent: before it owns anything nobody else watches it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_falls_silent_while_it_begins_begins_again() {
    let mut trials = tokio::task::JoinSet::new();
    for swallowed in 0..BEGINNING {
        trials.spawn(async move {
            let mut stage = Stage::new(database().await).await;
            let proxy = Proxy::start(&stage.database).await;
            let (mut seen, mut last) = (0, String::new());
            let what = Arc::new(Mutex::new(None));
            let told = Arc::clone(&what);
            proxy.script(move |asked| {
                if asked.who != "postbackd owner" {
                    return Fate::Pass;
                }
                seen += 1;
                last.clear();
                last.push_str(asked.sql);
                if seen != swallowed + 1 {
                    return Fate::Pass;
                }
                *told.lock().expect("alone") = Some(last.split_whitespace().collect::<Vec<_>>().join(" "));
                Fate::Swallow
            });
            let config = stage.config(&proxy.url());
            let began = Instant::now();
            let daemon = Daemon::spawn(config).await;
            let order = stage.order().await;
            // Once the server has noticed as well, whose session may still hold the lock.
            stage.arrives(&order, began, BEGIN_SILENT, &daemon, &format!("statement {swallowed} of the first session swallowed")).await;
            stage.each_once();
            what.lock().expect("alone").take().unwrap_or_else(|| panic!("there were only {swallowed} statements"))
        });
    }
    while let Some(swallowed) = trials.join_next().await {
        println!("swallowed: {:.100}", swallowed.expect("a trial"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_falls_silent_is_replaced() {
    let mut stage = Stage::new(database().await).await;
    let proxy = Proxy::start(&stage.database).await;
    let daemon = Daemon::start(stage.config(&proxy.url())).await;
    stage.works(&daemon).await;
    let began = Instant::now();
    proxy.freeze_existing("postbackd pool");
    let order = stage.order().await;
    stage.arrives(&order, began, STATEMENT_SILENT + RETURN, &daemon, "the pool silent").await;
    stage.each_once();
}

/// Waits for the n-th time that the daemon says that it has lost the database.
async fn lost(daemon: &Daemon, times: usize, within: Duration, began: Instant, when: &str) {
    while daemon.stderr().matches("lost the database").count() < times {
        assert!(began.elapsed() < within, "{when}: not noticed within {within:?}\n{}", daemon.stderr());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{when}: noticed after {:?}", began.elapsed());
}
