//! A million events waiting for two destinations: memory stays small, the end is as fast as the beginning, and a transaction
//! that somebody forgot to end changes nothing.
//!
//! `cargo bench --bench million -- [EVENTS]` (1,000,000 unless told otherwise; that takes ten minutes on two cores and 3 GB of
//! disk). Exits with 1 when a promise is broken. Rates are per second of CPU time that other programs left over, so that a busy
//! machine does not decide.

mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use measure::{Meter, Promises, Sink, Spent, fill};
use support::{
    daemon::{Config, Daemon, QUERY},
    postgres::{Local, Server},
};

const DESTINATIONS: [&str; 2] = ["one", "two"];
/// Bytes.
const MEMORY: f64 = 100e6;

fn main() -> Result<ExitCode> {
    let events = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(compare(events))
}

async fn compare(events: i64) -> Result<ExitCode> {
    let server = Server::private().await;
    println!("{events} events, {} destinations, {}, fsync on", DESTINATIONS.len(), server.version());
    let plain = drain(&server, events, false).await?;
    let held = drain(&server, events, true).await?;
    let mut promises = Promises::default();
    promises.at_most("memory, MB", plain.memory.max(held.memory) / 1e6, MEMORY / 1e6);
    promises.at_least("rate of the last tenth against the first", plain.last() / plain.first(), 0.8);
    promises.at_least("the same with a transaction held open", held.last() / held.first(), 0.8);
    promises.at_least("rate with a transaction held open against without", held.rate(events) / plain.rate(events), 0.9);
    Ok(promises.kept())
}

struct Run {
    /// Bytes at most.
    memory: f64,
    /// Each tenth of the deliveries.
    tenths: Vec<Spent>,
}

impl Run {
    fn first(&self) -> f64 {
        self.tenths.first().map_or(0.0, |tenth| 1.0 / tenth.left())
    }

    fn last(&self) -> f64 {
        self.tenths.last().map_or(0.0, |tenth| 1.0 / tenth.left())
    }

    fn rate(&self, events: i64) -> f64 {
        events as f64 / self.tenths.iter().map(Spent::left).sum::<f64>()
    }
}

async fn drain(server: &Local, events: i64, held: bool) -> Result<Run> {
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let counting = Arc::clone(&counts);
    let sink = Sink::start(move |target| {
        if let Some(index) = DESTINATIONS.iter().position(|name| target.strip_prefix('/').is_some_and(|path| path.starts_with(name))) {
            counting[index].fetch_add(1, Ordering::Relaxed);
        }
        Sink::TAKEN
    })?;
    let database = server.server().database().await;
    let db = database.connect().await;
    fill(&db, events).await?;
    let forgotten = database.connect().await;
    if held {
        // A snapshot that everything since then is invisible to, and a transaction id that every later snapshot lists.
        forgotten.batch_execute("begin isolation level repeatable read; select pg_current_xact_id(); select count(*) from postback.log").await?;
    }
    let mut config = Config::new(&database);
    for name in DESTINATIONS {
        let url = sink.url(&format!("/{name}"));
        config = config.raw(&format!(
            "[destination.{name}]\nplatform = \"postback\"\nurl = '{url}?{QUERY}'\nkinds = [\"purchase\"]\nresend = \"safe\"\nstart = \"beginning\"\n"
        ));
    }
    let postmaster = std::fs::read_to_string(server.directory().join("data/postmaster.pid"))?;
    let postmaster = postmaster.lines().next().unwrap_or_default().parse().context("postmaster.pid")?;
    let mut daemon = Daemon::spawn(config).await;
    let mut meter = Meter::start(daemon.pid(), postmaster);
    let mut run = Run { memory: 0.0, tenths: Vec::new() };
    let total = events as u64 * DESTINATIONS.len() as u64;
    let (mut seen, mut moved) = (0, Instant::now());
    println!("{}", if held { "with a transaction held open" } else { "nothing held open" });
    while run.tenths.len() < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let sent: u64 = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        run.memory = run.memory.max(daemon.rss() as f64);
        ensure!(daemon.ended().is_none(), "the daemon ended\n{}", daemon.stderr());
        if sent > seen {
            (seen, moved) = (sent, Instant::now());
        }
        ensure!(moved.elapsed() < Duration::from_secs(60), "nothing has been sent for a minute, {sent} of {total} are\n{}", daemon.stderr());
        if sent >= total * (run.tenths.len() as u64 + 1) / 10 {
            let spent = meter.lap();
            let [daemon_us, server_us, receiver_us] = spent.per(total / 10);
            println!(
                "  tenth {:2}: {:6.0}/s, {:6.0}/s of what others left; a delivery: daemon {daemon_us:5.1} us, PostgreSQL {server_us:5.1} us, \
                 receiver {receiver_us:4.1} us; memory up to {:.1} MB",
                run.tenths.len() + 1,
                total as f64 / 10.0 / spent.time.as_secs_f64(),
                total as f64 / 10.0 / spent.left() * 2.0,
                run.memory / 1e6
            );
            run.tenths.push(spent);
        }
    }
    let sent = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    ensure!(sent == [events as u64; 2], "each destination should have had {events}, they had {sent:?}");
    daemon.term().await;
    let told: i64 = db.query_one("select count(*) from postback.attempt where outcome = 'delivered'", &[]).await?.get(0);
    ensure!(told as u64 == total, "{told} deliveries are recorded of {total}");
    drop(forgotten);
    Ok(run)
}
