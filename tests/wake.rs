//! `wake = "listen"`: a commit wakes the daemon long before it would look by itself, and the connection that listens comes back.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::support::{
    daemon::{Config, Daemon},
    postgres::{Database, database},
    receiver::Receiver,
};

/// Far above what a wake-up takes on a busy machine, below the rest of the pause that [`Stage::asleep`] finds.
const SOON: Duration = Duration::from_millis(1500);
/// How often the daemon looks by itself while nothing happens.
const IDLE: &str = "\"10s\"";

struct Stage {
    receiver: Receiver,
    shop: Client,
    daemon: Daemon,
    _database: Database,
}

impl Stage {
    async fn new(wake: &str) -> Self {
        let (database, receiver) = (database().await, Receiver::start());
        let config = Config::new(&database).destination("d", &receiver, &[]).daemon("wake", wake).daemon("poll_idle", IDLE);
        let daemon = Daemon::start(config).await;
        Self { shop: database.connect().await, receiver, daemon, _database: database }
    }

    /// Waits until the reader will not look by itself for two more seconds. Its pauses double from 5 ms: one that has lasted
    /// more than 2.56 s lasts 5.12 s.
    async fn asleep(&self) {
        let began = Instant::now();
        let sql = "select coalesce(max(extract(epoch from clock_timestamp() - state_change)), 0)::float8
                     from pg_stat_activity where datname = current_database() and application_name = 'postbackd ingest' and state = 'idle'";
        loop {
            let idle: f64 = self.shop.query_one(sql, &[]).await.expect("looking at the reader").get(0);
            if idle > 2.7 {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "the reader is not at rest after 30 s\n{}", self.daemon.stderr());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn order(&self, name: &str) -> Instant {
        self.shop.batch_execute(&format!("select postback.purchase('{name}', 9, 'EUR', '{{}}')")).await.expect("an order");
        Instant::now()
    }

    async fn took(&self, name: &str, committed: Instant) -> Duration {
        let log = self.receiver.wait_until(&format!("order {name}"), |log| log.iter().any(|arrival| arrival.order() == name)).await;
        let at = log.iter().find(|arrival| arrival.order() == name).expect("waited for").at;
        at.saturating_duration_since(committed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_wakes_a_daemon_that_listens() {
    let stage = Stage::new("\"listen\"").await;
    stage.asleep().await;
    let committed = stage.order("1").await;
    let took = stage.took("1", committed).await;
    println!("woken after {took:?}");
    assert!(took < SOON, "the commit woke nobody: {took:?}\n{}", stage.daemon.stderr());

    // The connection that listens is ended: it comes back by itself, and what was committed meanwhile wakes the daemon then.
    stage.asleep().await;
    let sql = "select pid, pg_terminate_backend(pid, 5000) from pg_stat_activity
                where datname = current_database() and application_name = 'postbackd listen'";
    let old: i32 = stage.shop.query_one(sql, &[]).await.expect("ending the one that listens").get(0);
    let committed = stage.order("2").await;
    let took = stage.took("2", committed).await;
    println!("woken by its return after {took:?}");
    assert!(took < SOON, "what was committed while nobody listened was found after {took:?}\n{}", stage.daemon.stderr());
    let sql = "select pid from pg_stat_activity where datname = current_database() and application_name = 'postbackd listen'";
    let new: i32 = stage.shop.query_one(sql, &[]).await.expect("the new one").get(0);
    assert_ne!(old, new);

    stage.asleep().await;
    let committed = stage.order("3").await;
    let took = stage.took("3", committed).await;
    println!("woken again after {took:?}");
    assert!(took < SOON, "the new connection hears nothing: {took:?}\n{}", stage.daemon.stderr());
}

/// What makes the other test mean something: without LISTEN the same daemon sleeps on.
#[tokio::test(flavor = "multi_thread")]
async fn without_listening_the_same_daemon_sleeps_on() {
    let stage = Stage::new("\"poll\"").await;
    stage.asleep().await;
    let committed = stage.order("1").await;
    let took = stage.took("1", committed).await;
    println!("found after {took:?}");
    assert!(took > SOON, "something woke it after {took:?}");
}
