//! A platform that was away for a week: what waits for it costs the others nothing, and goes out in order when it is back.
//!
//! `cargo bench --bench week_down -- [ORDERS]` (100,000 orders unless told otherwise: a purchase and two refunds each, spread over
//! the last seven days; that takes five minutes on two cores). Exits with 1 when a promise is broken. Rates are per second of CPU
//! time that other programs left over.

mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    collections::HashMap,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use measure::{Meter, Promises, Sink, Spent, fill_with};
use support::{
    daemon::{Config, Daemon, QUERY},
    postgres::{Database, Local, Server},
};

fn main() -> Result<ExitCode> {
    let orders = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(orders))
}

/// What came at one destination.
#[derive(Default)]
struct Came {
    taken: AtomicU64,
    refused: AtomicU64,
    away: AtomicBool,
    /// How many events of an order were taken, and how many came out of turn.
    orders: Mutex<(HashMap<String, u64>, u64)>,
}

impl Came {
    fn answer(&self, target: &str) -> &'static [u8] {
        if self.away.load(Ordering::Acquire) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Sink::DOWN;
        }
        // purchase-A7, refund-A7-1, refund-A7-2
        let id = target.split_once("id=").map_or("", |(_, rest)| rest.split('&').next().unwrap_or_default());
        let mut parts = id.split('-').skip(1);
        let (order, turn) = (parts.next().unwrap_or_default(), parts.next().map_or(0, |turn| turn.parse().unwrap_or(9)));
        let mut guard = self.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (orders, out_of_turn) = &mut *guard;
        let before = orders.entry(order.to_owned()).or_default();
        *out_of_turn += u64::from(*before != turn);
        *before += 1;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Sink::TAKEN
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

async fn run(orders: i64) -> Result<ExitCode> {
    let server = Server::private().await;
    let total = orders as u64 * 3;
    println!("{total} events of {orders} orders over the last week, {}, fsync on", server.version());

    let (alone, _) = (Scene::set(&server, orders, &["well"]).await?).until("well", total).await?;
    say("alone", &alone, total);

    let mut scene = Scene::set(&server, orders, &["well", "away"]).await?;
    let (beside, memory) = scene.until("well", total).await?;
    say("beside one that is away", &beside, total);
    let waiting: i64 = scene.waiting().await?;
    let came = Arc::clone(&scene.came["away"]);
    came.away.store(false, Ordering::Release);
    let back = Instant::now();
    let (drain, drained) = scene.until("away", total).await?;
    say("that one back again", &drain, total);
    println!(
        "  {waiting} deliveries had waited, {} requests had been refused; all told {:.0} s after",
        came.refused.load(Ordering::Relaxed),
        back.elapsed().as_secs_f64()
    );
    let out_of_turn = came.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1;

    let mut promises = Promises::default();
    promises.at_least("deliveries that waited", waiting as f64, total as f64);
    promises.at_least("rate of the others against without it", alone.left() / beside.left(), 0.8);
    promises.at_most("told out of turn afterwards", out_of_turn as f64, 0.0);
    promises.at_most("memory, MB", memory.max(drained) / 1e6, 100.0);
    Ok(promises.kept())
}

fn say(what: &str, spent: &Spent, total: u64) {
    let [daemon, server, receiver] = spent.per(total);
    println!(
        "  {what}: {:.0}/s, {:.0}/s of what others left; a delivery: daemon {daemon:.1} us, PostgreSQL {server:.1} us, receiver {receiver:.1} us",
        total as f64 / spent.time.as_secs_f64(),
        total as f64 / spent.left() * 2.0
    );
}

/// A database full of events, and a daemon.
struct Scene {
    came: HashMap<&'static str, Arc<Came>>,
    daemon: Daemon,
    postmaster: u32,
    database: Database,
}

impl Scene {
    /// With these destinations; "away" answers 503.
    async fn set(server: &Local, orders: i64, names: &[&'static str]) -> Result<Self> {
        let came: HashMap<&'static str, Arc<Came>> = names.iter().map(|name| (*name, Arc::default())).collect();
        if let Some(away) = came.get("away") {
            away.away.store(true, Ordering::Release);
        }
        let answers = came.clone();
        let sink = Sink::start(move |target| {
            let name = target.trim_start_matches('/').split('?').next().unwrap_or_default();
            answers.get(name).map_or(Sink::DOWN, |came| came.answer(target))
        })?;
        let database = server.server().database().await;
        let db = database.connect().await;
        fill_with(&db, orders, &format!("clock_timestamp() - interval '7 days' * (1 - i / {orders}.0)")).await?;
        for turn in [1, 2] {
            let sql = format!(
                "insert into postback.event (kind, ref, payload, occurred_at)
                 select 'refund', e.ref, jsonb_build_object('refund_ref', '{turn}', 'amount', '1.00', 'more', '{{}}'::jsonb), e.occurred_at
                   from postback.event e where e.kind = 'purchase' order by e.id"
            );
            db.batch_execute(&sql).await?;
        }
        let mut config = Config::new(&database);
        for name in names {
            let url = sink.url(&format!("/{name}"));
            config = config.raw(&format!(
                "[destination.{name}]\nplatform = \"postback\"\nurl = '{url}?{QUERY}'\nkinds = [\"purchase\", \"refund\"]\nrefunds = \"event\"\n\
                 resend = \"safe\"\nstart = \"beginning\"\nretry = {{ max = \"10s\" }}\n"
            ));
        }
        let postmaster = std::fs::read_to_string(server.directory().join("data/postmaster.pid"))?;
        let postmaster = postmaster.lines().next().unwrap_or_default().parse().context("postmaster.pid")?;
        Ok(Self { came, daemon: Daemon::spawn(config).await, postmaster, database })
    }

    /// Waits until a destination has had `total`; what that took, and the daemon's memory at most.
    async fn until(&mut self, name: &str, total: u64) -> Result<(Spent, f64)> {
        let came = Arc::clone(&self.came[name]);
        let mut meter = Meter::start(self.daemon.pid(), self.postmaster);
        let (mut seen, mut moved, mut memory) = (came.taken(), Instant::now(), 0.0_f64);
        while came.taken() < total {
            tokio::time::sleep(Duration::from_millis(20)).await;
            memory = memory.max(self.daemon.rss() as f64);
            ensure!(self.daemon.ended().is_none(), "the daemon ended\n{}", self.daemon.stderr());
            if came.taken() > seen {
                (seen, moved) = (came.taken(), Instant::now());
            }
            // A breaker looks again every five minutes at the latest.
            ensure!(moved.elapsed() < Duration::from_secs(330), "{name} has had {seen} of {total} and no more\n{}", self.daemon.stderr());
        }
        Ok((meter.lap(), memory))
    }

    /// Deliveries to the one that is away that are not told: all that have no attempt but such as are to be repeated.
    async fn waiting(&self) -> Result<i64> {
        let sql = "select (select count(*) from postback.event) - (select count(*) from postback.attempt where destination = 'away' and outcome <> 'retry')";
        Ok(self.database.connect().await.query_one(sql, &[]).await?.get(0))
    }
}
