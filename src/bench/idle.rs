//! What a daemon costs that has nothing to do: its memory, its processor time, and what it makes PostgreSQL spend.
//!
//! It has worked before, so that its memory is that of a daemon in use. The server's time is measured without and with the
//! daemon in every round, because a server has work of its own; the difference is what the daemon causes.

use std::time::{Duration, Instant};

use super::{
    Bench, BenchError, cpu,
    drain::{self, configuration, wait_recorded},
    figure::Figure,
    latency::started,
    receiver::Receiver,
    scratch::Place,
};

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds without and with a daemon.
    pub rounds: usize,
    /// Events that the daemon delivers first.
    pub events: u32,
    /// Nothing happens for so long before anything is measured.
    pub silence: Duration,
    /// How long is measured, without and with.
    pub window: Duration,
}

#[derive(Default)]
struct Seen {
    resident: Vec<f64>,
    daemon: Vec<f64>,
    without: Vec<f64>,
    caused: Vec<f64>,
    both: Vec<f64>,
}

/// Runs the rounds.
pub async fn measure(bench: &Bench, place: &Place, plan: Plan) -> Result<Vec<Figure>, BenchError> {
    let db = place.connect("bench").await?;
    let (mut seen, mut total) = (Seen::default(), 0);
    for round in 1..=plan.rounds {
        bench.say(&format!("idle: round {round} of {}", plan.rounds));
        let server = bench.server(&db, place).await?;
        drain::fill(&db, total, plan.events).await?;
        total += i64::from(plan.events);
        // The fill made work for the server's own processes too.
        tokio::time::sleep(plan.silence.min(Duration::from_secs(5))).await;
        let (without, _) = share(server, || None, plan.window).await;
        let receiver = Receiver::counting()?;
        let mut daemon = started(bench, place, &db, &configuration(&receiver, 32, "kinds = [\"purchase\"]")).await?;
        wait_recorded(&db, &mut daemon, &receiver, u64::from(plan.events), total).await?;
        bench.say(&format!("idle: round {round} of {}, silence", plan.rounds));
        tokio::time::sleep(plan.silence).await;
        let (with, own) = share(server, || daemon.spent(), plan.window).await;
        daemon.alive()?;
        let caused = with.zip(without).map(|(with, without)| with - without);
        seen.resident.extend(daemon.resident().map(|bytes| bytes as f64 / 1e6));
        seen.daemon.extend(own);
        seen.without.extend(without);
        seen.caused.extend(caused);
        seen.both.extend(own.zip(caused).map(|(own, caused)| own + caused));
        daemon.stop().await?;
    }
    Ok(figures(plan, seen))
}

/// Processor time of the server and of another in the window, in per cent of one core.
async fn share(server: Option<cpu::Server>, other: impl Fn() -> Option<Duration>, window: Duration) -> (Option<f64>, Option<f64>) {
    let look = || [server.and_then(|server| server.spent()), other()];
    let (before, began) = (look(), Instant::now());
    tokio::time::sleep(window).await;
    let (after, took) = (look(), began.elapsed().as_secs_f64());
    let per_cent = |at: usize| after[at].zip(before[at]).map(|(after, before)| after.saturating_sub(before).as_secs_f64() / took * 100.0);
    (per_cent(0), per_cent(1))
}

fn figures(plan: Plan, seen: Seen) -> Vec<Figure> {
    let about = format!("after {} events and {} s of silence, over {} s", plan.events, plan.silence.as_secs(), plan.window.as_secs());
    let figures = [
        Figure::new("idle.resident", "daemon: resident memory", "MB", seen.resident).remark(about),
        Figure::new("idle.cpu", "daemon and what it makes PostgreSQL spend, of one core", "%", seen.both),
        Figure::new("idle.cpu.daemon", "  the daemon", "%", seen.daemon),
        Figure::new("idle.cpu.caused", "  PostgreSQL: with the daemon, less without", "%", seen.caused),
        Figure::new("idle.cpu.without", "PostgreSQL without the daemon", "%", seen.without),
    ];
    figures.into_iter().map(|figure| if figure.rounds.is_empty() { figure.remark("not visible from here") } else { figure }).collect()
}
