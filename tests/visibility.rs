//! Who reads an outbox while others write it. The two readers that everybody writes first are caught here, so that it is
//! known that the load is hard enough and that the judge sees what is wrong; then comes the real one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_postgres::Client;

use crate::support::{
    daemon::{Config, Daemon},
    postgres::{Database, Server, database},
    receiver::Receiver,
    rng, settled,
    shop::{self, Load, Record},
    stream::{Read, judge},
};

/// A reader that is asked again and again; it keeps its place itself.
trait Reader: Send + 'static {
    fn read(&mut self, client: &Client) -> impl Future<Output = Vec<i64>> + Send;
}

/// `id > last`: ids are drawn before they are committed.
struct ById(i64);

impl Reader for ById {
    async fn read(&mut self, client: &Client) -> Vec<i64> {
        let rows = client.query("select id from postback.event where id > $1 order by id", &[&self.0]).await.expect("reading");
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        self.0 = ids.last().copied().unwrap_or(self.0);
        ids
    }
}

/// `(txid, id) > last` below the horizon of running transactions: it misses nothing, and a transaction with an early xid
/// that writes late stands before the one whose purchase it refunds.
struct ByTransaction(String, i64);

impl Reader for ByTransaction {
    async fn read(&mut self, client: &Client) -> Vec<i64> {
        let sql = "select txid::text as place, id from postback.event
                    where txid < pg_snapshot_xmin(pg_current_snapshot()) and (txid, id) > ($1::text::xid8, $2) order by txid, id";
        let rows = client.query(sql, &[&self.0, &self.1]).await.expect("reading");
        if let Some(last) = rows.last() {
            (self.0, self.1) = (last.get(0), last.get(1));
        }
        rows.iter().map(|row| row.get(1)).collect()
    }
}

/// What became visible between two snapshots, in id order: the control, in its simplest form.
struct ByWindow(Option<String>);

impl Reader for ByWindow {
    async fn read(&mut self, client: &Client) -> Vec<i64> {
        client.batch_execute("begin isolation level repeatable read, read only").await.expect("begin");
        let now: String = client.query_one("select pg_current_snapshot()::text", &[]).await.expect("a snapshot").get(0);
        let sql = "select id from postback.event where $1::text is null or not pg_visible_in_snapshot(txid, $1::text::pg_snapshot) order by id";
        let rows = client.query(sql, &[&self.0]).await.expect("reading");
        client.batch_execute("commit").await.expect("commit");
        self.0 = Some(now);
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// Runs a reader beside the load; reads once more when the shop is at rest.
async fn beside_load(database: &Database, reader: impl Reader, name: &str) -> (Record, Vec<Read>, Instant) {
    shop::install(database).await;
    let running = shop::start(database, &Load::new(rng::seed(name))).await;
    let stop = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn(read_until(database.connect().await, reader, Arc::clone(&stop)));
    let writing = database.connect().await;
    wait_for_events(&writing, 1500).await;
    let stopping = Instant::now();
    let record = running.stop().await;
    stop.store(true, Ordering::Relaxed);
    (record, reading.await.expect("the reader"), stopping)
}

async fn read_until(client: Client, mut reader: impl Reader, stop: Arc<AtomicBool>) -> Vec<Read> {
    let mut read = Vec::new();
    loop {
        let last = stop.load(Ordering::Relaxed);
        let ids = reader.read(&client).await;
        let at = Some(Instant::now());
        read.extend(ids.into_iter().map(|id| Read { id, at }));
        if last {
            return read;
        }
    }
}

async fn wait_for_events(client: &Client, count: i64) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let there: i64 = client.query_one("select count(*) from postback.event", &[]).await.expect("counting").get(0);
        if there >= count {
            return;
        }
        assert!(Instant::now() < until, "the shop said {there} of {count} things in a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_by_id_is_caught_missing_events() {
    let (record, read, _) = beside_load(&database().await, ById(0), "reader by id").await;
    let faults = judge(&record, &read);
    println!("{} committed, {} missed", record.committed.len(), faults.missed.len());
    assert!(!faults.missed.is_empty(), "the load does not catch a reader by id: {faults:?}");
    assert!(faults.early.is_empty() && faults.foreign.is_empty() && faults.twice.is_empty(), "the judge is wrong: {faults:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_by_txid_is_caught_inverting_and_stalling() {
    // A server of its own: the horizon is held back by transactions of every database, and so by the other tests.
    let local = Server::private().await;
    let (record, read, stopping) = beside_load(&local.server().database().await, ByTransaction("0".into(), 0), "reader by txid").await;
    let faults = judge(&record, &read);
    println!("{} committed, {} inverted", record.committed.len(), faults.inverted.len());
    assert!(!faults.inverted.is_empty(), "the load does not catch a reader by (txid, id): {faults:?}");
    assert!(read.iter().all(|event| event.at.is_some_and(|at| at >= stopping)), "the open transaction did not stall it");
    assert!(
        faults.missed.is_empty() && faults.early.is_empty() && faults.foreign.is_empty() && faults.twice.is_empty(),
        "the judge is wrong: {faults:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_by_windows_is_not_blamed() {
    let (record, read, stopping) = beside_load(&database().await, ByWindow(None), "reader by windows").await;
    let faults = judge(&record, &read);
    assert!(faults.none(), "the judge is wrong, or windows are: {faults:?}");
    assert!(read.iter().filter(|event| event.at.is_some_and(|at| at < stopping)).count() > 1000, "it stalled");
    assert!(record.rolled_back.len() > 100, "the load rolled back next to nothing: {}", record.rolled_back.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_misses_nothing_and_tells_nothing_early_or_out_of_order() {
    let database = database().await;
    let receiver = Receiver::start();
    shop::install(&database).await;
    let config = Config::new(&database).destination("one", &receiver, &[]).destination("two", &receiver, &[]);
    let names = config.names();
    let _daemon = Daemon::start(config).await;
    let running = shop::start(&database, &Load::new(rng::seed("the daemon beside 12 writers"))).await;
    let client = database.connect().await;
    wait_for_events(&client, 3000).await;
    let stopping = Instant::now();
    let record = running.stop().await;
    settled::wait(&client, &names, &record, Duration::from_secs(60)).await;
    let rows = client.query("select event from postback.log where cause is null order by seq", &[]).await.expect("the stream");
    let stream: Vec<Read> = rows.iter().map(|row| Read { id: row.get(0), at: None }).collect();
    let faults = judge(&record, &stream);
    assert!(faults.none(), "the numbered stream: {faults:?}");
    let run = settled::Run { record: &record, receiver: &receiver, allowed: &Default::default() };
    for name in &names {
        settled::assert_kept(&client, &run, name).await;
    }
    let before = receiver.log().iter().filter(|arrival| arrival.at < stopping).count();
    assert!(before > record.committed.len() / 4, "the open transaction stalled it: {before} requests while it was open");
}
