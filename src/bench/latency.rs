//! From the moment when the shop's COMMIT returned to the request at the receiver: with one order every 200 ms, and with the
//! first order after a silence, when the daemon polls slowly. By polling and with `wake = "listen"`, in turn.
//!
//! The receiver is on loopback, so the way there is in the figure and nobody's network is. Orders do not come in step with the
//! daemon's polls: each is late by a random part of a poll.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use tokio_postgres::Client;

use super::{
    Bench, BenchError,
    child::Daemon,
    drain::{configuration, epoch},
    figure::{Figure, percentile},
    receiver::Receiver,
    scratch::Place,
};

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds of both ways to be woken.
    pub rounds: usize,
    /// Orders of a round, for each.
    pub events: u32,
    /// Between two orders.
    pub every: Duration,
    /// Before a first order.
    pub silence: Duration,
    /// First orders of a round, by polling.
    pub silences: u32,
}

/// Milliseconds, a list a round.
#[derive(Default)]
struct Seen {
    poll: Vec<Vec<f64>>,
    listen: Vec<Vec<f64>>,
    silent: Vec<Vec<f64>>,
}

/// Runs the rounds.
pub async fn measure(bench: &Bench, place: &Place, plan: Plan) -> Result<Vec<Figure>, BenchError> {
    let mut shop = Shop { db: place.connect("bench shop").await?, orders: 0 };
    let mut seen = Seen::default();
    for round in 1..=plan.rounds {
        bench.say(&format!("latency: round {round} of {}", plan.rounds));
        for listen in [round % 2 == 0, round % 2 != 0] {
            let mut receiver = Receiver::telling()?;
            let wake = if listen { "listen" } else { "poll" };
            let configuration =
                configuration(&receiver, 32, "kinds = [\"purchase\"]").replace("[daemon]\n", &format!("[daemon]\nwake = \"{wake}\"\n"));
            let mut daemon = started(bench, place, &shop.db, &configuration).await?;
            // The first one opens connections, of the daemon as well as ours.
            shop.sold(&mut receiver, &mut daemon).await?;
            let steady = steady(&mut shop, &mut receiver, &mut daemon, plan).await?;
            match listen {
                true => seen.listen.push(steady),
                false => {
                    seen.poll.push(steady);
                    let silent = silent(bench, &mut shop, &mut receiver, &mut daemon, plan).await?;
                    seen.silent.extend((!silent.is_empty()).then_some(silent));
                }
            }
            daemon.stop().await?;
        }
    }
    Ok(figures(plan, &seen))
}

/// A daemon that owns the outbox.
pub(super) async fn started(bench: &Bench, place: &Place, db: &Client, configuration: &str) -> Result<Daemon, BenchError> {
    let before = epoch(db).await?;
    let mut daemon = Daemon::start(&bench.binary, place.database.url.reveal(), configuration).await?;
    while epoch(db).await? == before {
        daemon.alive()?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(daemon)
}

async fn steady(shop: &mut Shop, receiver: &mut Receiver, daemon: &mut Daemon, plan: Plan) -> Result<Vec<f64>, BenchError> {
    let mut took = Vec::new();
    let mut due = tokio::time::Instant::now();
    for _ in 0..plan.events {
        due += plan.every;
        tokio::time::sleep_until(due + out_of_step(10)).await;
        took.push(shop.sold(receiver, daemon).await?);
    }
    Ok(took)
}

async fn silent(bench: &Bench, shop: &mut Shop, receiver: &mut Receiver, daemon: &mut Daemon, plan: Plan) -> Result<Vec<f64>, BenchError> {
    let mut took = Vec::new();
    for number in 1..=plan.silences {
        bench.say(&format!("latency: silence {number} of {}", plan.silences));
        tokio::time::sleep(plan.silence + out_of_step(100)).await;
        took.push(shop.sold(receiver, daemon).await?);
    }
    Ok(took)
}

/// Up to so many milliseconds.
fn out_of_step(most: u64) -> Duration {
    Duration::from_micros(rand::rng().random_range(0..most * 1000))
}

/// The one who sells.
pub(super) struct Shop {
    pub db: Client,
    /// Sold so far: orders are numbered.
    pub orders: u32,
}

impl Shop {
    /// One order: milliseconds from its COMMIT's return to its request. Negative where the request came before the answer.
    pub(super) async fn sold(&mut self, receiver: &mut Receiver, daemon: &mut Daemon) -> Result<f64, BenchError> {
        let order = self.order().await?;
        let committed = Instant::now();
        let wanted = format!("purchase-{order}");
        let arrived = async {
            loop {
                match receiver.next().await {
                    Some(arrival) if arrival.id == wanted => return Ok(arrival.at),
                    Some(_) => {}
                    None => return Err(BenchError::Wrong("the receiver has ended".into())),
                }
            }
        };
        let Ok(arrived) = tokio::time::timeout(Duration::from_secs(30), arrived).await else {
            daemon.alive()?;
            return Err(BenchError::Wrong(format!("{order} did not arrive within 30 s\n{}", daemon.said())));
        };
        let at = arrived?;
        let after = at.saturating_duration_since(committed).as_secs_f64();
        Ok((after - committed.saturating_duration_since(at).as_secs_f64()) * 1e3)
    }

    /// An order in a transaction of its own; what it is called.
    pub(super) async fn order(&mut self) -> Result<String, BenchError> {
        self.orders += 1;
        let order = format!("single-{}", self.orders);
        let sql = format!(
            "select postback.purchase('{order}', 140.98, 'EUR', '{{\"email\": \"buyer@example.com\", \"gclid\": \"EAIaIQobChMI{:016x}\"}}')",
            rand::rng().random::<u64>()
        );
        let sale = self.db.transaction().await?;
        sale.batch_execute(&sql).await?;
        sale.commit().await?;
        Ok(order)
    }
}

fn figures(plan: Plan, seen: &Seen) -> Vec<Figure> {
    let of = |rounds: &[Vec<f64>], share| rounds.iter().filter_map(|round| percentile(round, share)).collect::<Vec<f64>>();
    let steady = format!("{} orders a round, one every {} ms", plan.events, plan.every.as_millis());
    let mut figures = vec![
        Figure::new("latency.poll.p50", "polling: p50", "ms", of(&seen.poll, 50)).remark(steady),
        Figure::new("latency.poll.p99", "polling: p99", "ms", of(&seen.poll, 99)),
        Figure::new("latency.listen.p50", "wake = \"listen\": p50", "ms", of(&seen.listen, 50)),
        Figure::new("latency.listen.p99", "wake = \"listen\": p99", "ms", of(&seen.listen, 99)),
    ];
    if !seen.silent.is_empty() {
        let silence = format!("{} first orders a round, each after {} s of silence", plan.silences, plan.silence.as_secs_f64());
        figures.extend([
            Figure::new("latency.silence.p50", "polling, first order after silence: p50", "ms", of(&seen.silent, 50)).remark(silence),
            Figure::new("latency.silence.p99", "polling, first order after silence: p99", "ms", of(&seen.silent, 99)),
        ]);
    }
    figures
}
