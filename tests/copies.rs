//! Copies, restores and failovers, with real clusters: a copy says nothing, the shop that has moved goes on, and what was
//! counted once is not counted twice.

mod files;
mod promoted;
mod restored;
mod upgraded;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    sending::Stage,
    support::{
        daemon::{Config, Daemon, command},
        postgres::{Database, Local, Server},
        receiver::{Arrival, Behaviour, Receiver},
        sql::{one, run},
    },
};

/// A shop in a cluster of its own.
struct Shop {
    local: Local,
    stage: Stage,
}

impl Shop {
    async fn new() -> Self {
        let local = Server::private().await;
        let database = local.server().database().await;
        let db = database.connect().await;
        Self { local, stage: Stage { database, receiver: Receiver::start(), db } }
    }

    /// Two destinations for the database behind `url`: one that dedupes and one that counts every request.
    fn config_at(&self, url: &str) -> Config {
        let quick = [("retry", "{ first = \"100ms\", max = \"1s\" }"), ("breaker", "{ failures = 1000, open = \"100ms\" }"), ("deadline", "\"10s\"")];
        let with = |resend| [&quick[..], &[("resend", resend)]].concat();
        Config::at(url).destination("safe", &self.stage.receiver, &with("\"safe\"")).destination("once", &self.stage.receiver, &with("\"never\""))
    }

    fn config(&self) -> Config {
        self.config_at(self.stage.database.url())
    }

    /// Waits until both destinations have named a state for every event of these orders.
    async fn settled(&self, db: &tokio_postgres::Client, orders: &[&str]) {
        let sql = "select count(*)::text from postback.event e cross join unnest(array['safe', 'once']) d(name)
             where e.ref = any($1) and e.kind in ('purchase', 'refund')
               and not exists (select from postback.attempt a where a.destination = d.name and a.event = e.id and a.outcome <> 'retry')";
        let began = Instant::now();
        loop {
            let open: String = db.query_one(sql, &[&orders]).await.expect("what is open").get(0);
            if open == "0" {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{open} deliveries of {orders:?} are open\n{}", self.stage.receiver.dump());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How often each dedupe id may have been taken on a path: what was refused was not.
    fn came(&self, path: &str) -> BTreeMap<String, usize> {
        let mut came = BTreeMap::new();
        for arrival in self.stage.receiver.at(path).iter().filter(|arrival| arrival.taken() || arrival.answered.is_none()) {
            *came.entry(arrival.id()).or_insert(0) += 1;
        }
        came
    }

    /// The promise: where every request counts, none was made twice; where it is deduped, repeats say the same.
    fn nothing_counted_twice(&self) {
        let twice: Vec<_> = self.came("/once").into_iter().filter(|(_, count)| *count > 1).collect();
        assert_eq!(twice, [], "told twice where it counts twice\n{}", self.stage.receiver.dump());
        let mut said: BTreeMap<String, Arrival> = BTreeMap::new();
        for arrival in self.stage.receiver.at("/safe") {
            let first = said.entry(arrival.id()).or_insert_with(|| arrival.clone());
            assert_eq!(first.raw_query, arrival.raw_query, "repeated in other words");
        }
    }
}

async fn purchase(db: &tokio_postgres::Client, order: &str) {
    run(db, &format!("select postback.purchase('{order}', 10, 'EUR', '{{}}')")).await;
}

/// Another cluster.
fn foreign() -> Local {
    Local::foreign().expect("another cluster")
}

/// Transactions that nobody misses.
async fn burn(db: &tokio_postgres::Client, count: u32) {
    run(db, &format!("do $$ begin for i in 1..{count} loop perform pg_current_xact_id(); commit; end loop; end $$")).await;
}

async fn xid(db: &tokio_postgres::Client) -> i64 {
    one(db, "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").await
}

/// `pg_dump` into another cluster, where the roles are there already.
async fn dump_into(from: &Shop, to: &Local) -> Database {
    drop(to.server().database().await); // its template makes the roles
    let copy = to.server().bare_database().await;
    let file = to.directory().join("dump.sql");
    let file = file.to_str().expect("a path");
    from.local.run("pg_dump", &["-f", "dump.sql", "-d", from.stage.database.url()]).expect("pg_dump");
    std::fs::copy(from.local.directory().join("dump.sql"), file).expect("the dump");
    to.run("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, "-d", copy.url()]).expect("restoring the dump");
    copy
}

/// Starts a daemon that must refuse; returns what it said.
async fn refused(config: &Config) -> String {
    let mut daemon = Daemon::spawn(config.clone()).await;
    let began = Instant::now();
    loop {
        if let Some(status) = daemon.ended() {
            assert_eq!(status.code(), Some(6), "{}", daemon.stderr());
            return daemon.wait_line("nothing is read or sent").await;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it did not refuse\n{}", daemon.stderr());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a command that must end with this code; returns what it printed.
fn ends(config: &Config, arguments: &[&str], code: i32) -> String {
    let output = command(config, arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    text
}

fn json(config: &Config, arguments: &[&str]) -> serde_json::Value {
    let text = ends(config, arguments, 0);
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{arguments:?}: {why}: {text}"))
}

/// Orders that are never answered, for as long as `Hang` is wanted.
fn hang(receiver: &Receiver, order: &'static str) {
    receiver.script(move |arrival| (arrival.order() == order).then_some(Behaviour::Hang));
}

fn answer(receiver: &Receiver) {
    receiver.script(|_| None);
}

/// Waits until a boolean is true.
async fn until(db: &tokio_postgres::Client, sql: &str) {
    let began = Instant::now();
    while !one::<bool>(db, sql).await {
        assert!(began.elapsed() < Duration::from_secs(20), "{sql}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
