//! PostgreSQL dies at random instants under load, with everybody's commits asynchronous: what recovery took back was never
//! sent, what survived ends in a named state, and a repeat needs a request that was on the wire.
//!
//! Recovery hands out ids and transaction ids again, so events are told apart by their order's reference, which the shop
//! never uses twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::{
    crash::may_repeat,
    support::{
        daemon::{Config, Daemon},
        postgres::{Database, Server},
        receiver::{Behaviour, Receiver},
        rng::{self, Rng},
        settled::{self, Run},
        shop::{self, Record, Said},
    },
};

/// How often the server dies; POSTBACKD_TEST_CRASHES for more or fewer.
const CRASHES: u64 = 50;
const WRITERS: u64 = 6;
/// No step takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the shop said, by dedupe id, whether or not it was there after recovery.
type Sayings = BTreeMap<String, Saying>;

#[derive(Clone, Copy)]
struct Saying {
    commit_sent: Instant,
    /// COMMIT was answered.
    answered: bool,
    /// `postback.event.id` at that time: recovery may give it to somebody else.
    id: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_recovery_took_back_was_ever_sent() {
    let crashes = std::env::var("POSTBACKD_TEST_CRASHES").ok().map_or(CRASHES, |text| text.parse().expect("POSTBACKD_TEST_CRASHES is a number"));
    let seed = rng::seed("crashes of the server");
    let mut rng = Rng::new(seed);
    let local = Server::private().await;
    // Recovery would otherwise sync every file of the cluster by itself, which takes seconds on a busy disk.
    local.set("recovery_init_sync_method = syncfs");
    local.crash().expect("a restart with that");
    let database = local.server().database().await;
    shop::install(&database).await;
    // For everybody: the daemon has to insist on durability by itself.
    let sql = format!("alter database {} set synchronous_commit = off", database.name());
    database.connect().await.batch_execute(&sql).await.expect("asynchronous commits");
    let receiver = Receiver::start();
    let slow = Arc::new(AtomicBool::new(false));
    let slow_now = Arc::clone(&slow);
    receiver.script(move |arrival| {
        let wait = if slow_now.load(Ordering::Relaxed) { 400 } else { arrival.n as u64 * 7 % 12 };
        Some(Behaviour::status(if arrival.n % 23 == 5 { 503 } else { 200 }).after(Duration::from_millis(wait)))
    });
    let quick = ("retry", "{ first = \"100ms\", max = \"1s\" }");
    let config = Config::new(&database).destination("safe", &receiver, &[("resend", "\"safe\""), ("in_flight", "256"), quick]);
    let both = config.clone().destination("once", &receiver, &[("resend", "\"never\""), quick]);
    let names = both.names();
    let mut daemon = Daemon::start(config).await;
    let (mut said, mut allowed, mut killed) = (Sayings::new(), BTreeSet::new(), 0);
    let began = Instant::now();
    for crash in 0..crashes {
        // A completion, or the word that something at most once is being sent, is a durable commit, and takes whatever was
        // committed before it along. Where nothing but ingest stands between the shop's commits and the wire, there is neither.
        slow.store(crash < crashes / 2 && rng.percent(60), Ordering::Relaxed);
        let hard = rng.percent(60);
        // The WAL writer hands every full page to the kernel, which does not crash here: the more is lost without it.
        let stopped = if hard { Some(local.without_wal_writer().await) } else { None };
        let arrived = receiver.log().len();
        let shop = Shop::start(&database, seed, crash).await;
        // Sometimes while the daemon is still finding its way back, mostly while it works.
        if rng.percent(80) {
            receiver.wait_within(PATIENCE, &format!("a delivery before crash {crash}"), |log| log.len() > arrived).await;
        }
        tokio::time::sleep(Duration::from_micros(rng.below(400_000))).await;
        assert!(daemon.ended().is_none(), "postbackd ended by itself before crash {crash}\n{}", daemon.stderr());
        let machine = rng.percent(25) || crash == crashes / 2;
        if hard { local.kill9() } else { local.down("immediate") }.expect("stopping the server");
        drop(stopped);
        if machine {
            daemon.kill9();
        }
        said.append(&mut shop.stop().await);
        local.up().unwrap_or_else(|why| panic!("no recovery after crash {crash}: {why}"));
        if crash == crashes / 2 {
            daemon.configure(both.clone());
        }
        if machine {
            // The whole machine: only then something may be repeated.
            killed += 1;
            may_repeat(&database.connect().await, &mut allowed).await;
            daemon.again().await;
        }
    }
    slow.store(false, Ordering::Relaxed);
    let shop = Shop::start(&database, seed, crashes).await;
    said.append(&mut shop.stop().await);

    let client = database.connect().await;
    let record = survivors(&client, &said).await;
    let survived: BTreeSet<&str> = record.committed.iter().map(|said| said.event_id.as_str()).collect();
    let ids: BTreeSet<i64> = record.committed.iter().map(|said| said.id).collect();
    let lost: Vec<(&String, &Saying)> = said.iter().filter(|(id, _)| !survived.contains(id.as_str())).collect();
    let promised = lost.iter().filter(|(_, saying)| saying.answered).count();
    let reused = lost.iter().filter(|(_, saying)| ids.contains(&saying.id)).count();
    println!(
        "{crashes} crashes in {:?}, {killed} with the daemon: {} events survived, {} were lost, {promised} of them after an answered COMMIT; \
         the ids of {reused} were given out again; {} may be repeated",
        began.elapsed(),
        record.committed.len(),
        lost.len(),
        allowed.len()
    );
    for arrival in receiver.log() {
        assert!(survived.contains(arrival.id().as_str()), "{} was sent and recovery took it back\n{}", arrival.id(), daemon.stderr());
    }
    settled::wait(&client, &names, &record, Duration::from_secs(60)).await;
    let run = Run { record: &record, receiver: &receiver, allowed: &allowed };
    settled::assert_kept(&client, &run, "safe").await;
    settled::assert_kept_at_most_once(&client, &run, "once").await;
    assert!(crashes < 20 || promised > 0, "no crash took back what had been answered: they do not test anything");
}

/// What the recovered database holds, with when the shop said it.
async fn survivors(client: &Client, said: &Sayings) -> Record {
    let sql = "select e.id, e.kind, e.ref, postback.event_id(e.kind, e.ref, e.payload ->> 'refund_ref'), postback.event_id('purchase', e.ref)
                 from postback.event e order by e.id";
    let mut record = Record::default();
    for row in client.query(sql, &[]).await.expect("reading events") {
        let event_id: String = row.get(3);
        let Saying { commit_sent, .. } = *said.get(&event_id).unwrap_or_else(|| panic!("{event_id} is there and nobody said it"));
        record.committed.push(Said {
            id: row.get(0),
            kind: row.get(1),
            order: row.get(2),
            event_id,
            purchase: row.get(4),
            commit_sent,
            committed: commit_sent,
        });
    }
    record
}

/// Writers of one life of the server.
struct Shop {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Sayings>>,
}

impl Shop {
    async fn start(database: &Database, seed: u64, life: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            let client = database.connect().await;
            let rng = Rng::new(seed ^ ((life << 16) + number + 1));
            let writer = Writer { client, rng, name: format!("C{life}-W{number}"), orders: 0, paid: Vec::new(), said: Sayings::new() };
            writers.push(tokio::spawn(writer.run(Arc::clone(&stop))));
        }
        Self { stop, writers }
    }

    /// Lets every writer finish its transaction, or its server die.
    async fn stop(self) -> Sayings {
        self.stop.store(true, Ordering::Relaxed);
        let mut said = Sayings::new();
        for writer in self.writers {
            said.append(&mut writer.await.expect("a writer"));
        }
        said
    }
}

struct Writer {
    client: Client,
    rng: Rng,
    name: String,
    orders: u64,
    /// Orders that this life's database has as paid, with what is left of them in cents.
    paid: Vec<(String, i64)>,
    said: Sayings,
}

impl Writer {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Sayings {
        while !stop.load(Ordering::Relaxed) {
            if let Err(why) = self.transaction().await {
                // What the dying server says last comes before the end of the connection.
                assert!(self.client.is_closed() || why.code().is_some_and(|code| code.code().starts_with("57P")), "{}: {why:?}", self.name);
                break;
            }
            tokio::time::sleep(Duration::from_micros(self.rng.below(100_000))).await;
        }
        self.said
    }

    async fn transaction(&mut self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("begin").await?;
        let mut said: Vec<String> = Vec::new();
        let (mut order, mut left) = match self.rng.below(100) {
            0..40 if !self.paid.is_empty() => {
                let index = self.rng.below(self.paid.len() as u64) as usize;
                self.paid.swap_remove(index)
            }
            _ => (String::new(), 0),
        };
        if order.is_empty() {
            self.orders += 1;
            order = format!("{}-{}", self.name, self.orders);
            left = 1000 + self.rng.below(9000) as i64;
            self.client.execute("insert into shop.orders (id) values ($1)", &[&order]).await?;
            self.client.execute("select shop.pay($1, $2)", &[&order, &left]).await?;
            said.push(format!("purchase-{order}"));
        }
        if self.rng.percent(50) {
            let cents = 1 + self.rng.below(left as u64 / 2) as i64;
            let number = format!("R{left}");
            self.client.execute("select shop.give_back($1, $2, $3)", &[&order, &cents, &format!("{order}-{number}")]).await?;
            said.push(format!("refund-{order}-{order}-{number}"));
            left -= cents;
        }
        if self.rng.percent(10) {
            return self.client.batch_execute("rollback").await;
        }
        if said.is_empty() {
            return self.client.batch_execute("commit").await;
        }
        let sql = "select postback.event_id(kind, ref, payload ->> 'refund_ref'), id from postback.event where txid = pg_current_xact_id()";
        let ids: BTreeMap<String, i64> = self.client.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert!(said.iter().eq(ids.keys()), "the shop meant {said:?} and said {ids:?}");
        let commit_sent = Instant::now();
        self.said.extend(ids.into_iter().map(|(event_id, id)| (event_id, Saying { commit_sent, answered: false, id })));
        self.client.batch_execute("commit").await?;
        for event_id in &said {
            if let Some(saying) = self.said.get_mut(event_id) {
                saying.answered = true;
            }
        }
        if left > 2 {
            self.paid.push((order, left));
        }
        Ok(())
    }
}
