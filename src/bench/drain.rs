//! How fast a backlog is delivered, against the bare HTTP client before the same receiver.
//!
//! A round is one of each, in turn: first the one, then the other. The daemon's clock runs from the moment when it owns the
//! outbox until every delivery is recorded durably; that of the control from its first request to its last answer. So the
//! daemon pays for reading, ledger, stream, judging, marks and commits, and the control for nothing of the kind.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{
    Bench, BenchError,
    child::Daemon,
    control::{self, Done, Job, Via},
    figure::{Figure, ratios},
    receiver::Receiver,
    scratch::Place,
};

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Events that wait in each round.
    pub events: u32,
    /// Rounds of daemon and control.
    pub rounds: usize,
    /// Requests at the same time, for both.
    pub in_flight: usize,
    /// Also the daemon's own transport in an empty loop: the part between it and the bare client is its price.
    pub transport: bool,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    bare: Vec<f64>,
    transport: Vec<f64>,
    drained: Vec<f64>,
    /// Microseconds of processor time per delivery or request, from here on.
    daemon: Vec<f64>,
    server: Vec<f64>,
    receiver: Vec<f64>,
    client: Vec<f64>,
    /// Of the receiver, when the control asked it.
    answered: Vec<f64>,
    transport_cpu: Vec<f64>,
}

/// Runs the rounds.
pub async fn measure(bench: &Bench, place: &Place, plan: Plan) -> Result<Vec<Figure>, BenchError> {
    let db = place.connect("bench").await?;
    let mut seen = Seen::default();
    let mut total = 0;
    for round in 1..=plan.rounds {
        bench.say(&format!("drain: round {round} of {}", plan.rounds));
        // The one that goes first changes, so that what a round does to the machine hits both.
        for daemon in [round % 2 == 0, round % 2 != 0] {
            match daemon {
                true => {
                    fill(&db, total, plan.events).await?;
                    total += i64::from(plan.events);
                    drained(bench, place, &db, plan, total, &mut seen).await?;
                }
                false => controlled(bench, plan, &mut seen).await?,
            }
        }
    }
    Ok(figures(plan, seen))
}

async fn controlled(bench: &Bench, plan: Plan, seen: &mut Seen) -> Result<(), BenchError> {
    let per = |seconds: f64| seconds * 1e6 / f64::from(plan.events);
    let receiver = Receiver::counting()?;
    let job = Job { to: receiver.address(), requests: plan.events, in_flight: plan.in_flight, via: Via::Bare };
    let before = receiver.spent();
    let Done { seconds, cpu } = control::run(&bench.binary, job).await?;
    seen.bare.push(f64::from(plan.events) / seconds);
    seen.client.extend(cpu.map(per));
    seen.answered.extend(receiver.spent().zip(before).map(|(after, before)| per((after - before).as_secs_f64())));
    if receiver.count() != u64::from(plan.events) {
        return Err(BenchError::Wrong(format!("the control made {} requests instead of {}", receiver.count(), plan.events)));
    }
    if plan.transport {
        let Done { seconds, cpu } = control::run(&bench.binary, Job { via: Via::Transport, ..job }).await?;
        seen.transport.push(f64::from(plan.events) / seconds);
        seen.transport_cpu.extend(cpu.map(per));
    }
    Ok(())
}

async fn drained(bench: &Bench, place: &Place, db: &Client, plan: Plan, total: i64, seen: &mut Seen) -> Result<(), BenchError> {
    let receiver = Receiver::counting()?;
    let server = bench.server(db, place).await?;
    let before = epoch(db).await?;
    let configuration = configuration(&receiver, plan.in_flight, "kinds = [\"purchase\"]");
    let mut daemon = Daemon::start(&bench.binary, place.database.url.reveal(), &configuration).await?;
    while epoch(db).await? == before {
        daemon.alive()?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    let spent = [daemon.spent(), server.and_then(|server| server.spent()), receiver.spent()];
    wait_recorded(db, &mut daemon, &receiver, u64::from(plan.events), total).await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = [daemon.spent(), server.and_then(|server| server.spent()), receiver.spent()];
    daemon.stop().await?;
    let delivered: i64 = db.query_one("select count(distinct event) from postback.attempt where outcome = 'delivered'", &[]).await?.get(0);
    if delivered != total || receiver.count() != u64::from(plan.events) {
        let (requests, events) = (receiver.count(), plan.events);
        return Err(BenchError::Wrong(format!(
            "of {total} events {delivered} are recorded as delivered, and the last {events} made {requests} requests"
        )));
    }
    seen.drained.push(f64::from(plan.events) / seconds);
    let rooms = [&mut seen.daemon, &mut seen.server, &mut seen.receiver];
    for ((before, after), room) in spent.into_iter().zip(after).zip(rooms) {
        let cpu = after.zip(before).map(|(after, before)| after.saturating_sub(before).as_secs_f64());
        room.extend(cpu.map(|seconds| seconds * 1e6 / f64::from(plan.events)));
    }
    Ok(())
}

fn figures(plan: Plan, seen: Seen) -> Vec<Figure> {
    let (events, in_flight) = (plan.events, plan.in_flight);
    let cpu = |key: &str, what: &str, unit, rounds: Vec<f64>| match Figure::new(key, what, unit, rounds) {
        none if none.rounds.is_empty() => none.remark("not visible from here"),
        some => some,
    };
    let sum = |parts: &[&Vec<f64>]| {
        let rounds = parts.iter().map(|part| part.len()).min().unwrap_or(0);
        (0..rounds).map(|round| parts.iter().map(|part| part[round]).sum()).collect::<Vec<f64>>()
    };
    let (control, daemon) = (sum(&[&seen.client, &seen.answered]), sum(&[&seen.daemon, &seen.server, &seen.receiver]));
    let mut figures = vec![
        Figure::new("drain.ratio", "daemon / bare HTTP client", "", ratios(&seen.drained, &seen.bare))
            .remark(format!("{events} events waiting, {in_flight} requests in flight, settle = 0")),
        Figure::new("drain.rate", "daemon: delivered and recorded", "/s", seen.drained),
        Figure::new("drain.control", "bare client, same receiver", "/s", seen.bare.clone()),
        cpu("drain.cpu.ratio", "CPU of all: bare client / daemon", "", ratios(&control, &daemon)),
        cpu("drain.cpu.daemon", "CPU per delivery: daemon", "us", seen.daemon),
        cpu("drain.cpu.server", "CPU per delivery: PostgreSQL", "us", seen.server),
        cpu("drain.cpu.receiver", "CPU per delivery: receiver", "us", seen.receiver),
        cpu("drain.cpu.control", "CPU per request: bare client", "us", seen.client),
        cpu("drain.cpu.answered", "CPU per request: receiver", "us", seen.answered),
    ];
    if plan.transport {
        figures.push(Figure::new(
            "drain.transport",
            "the daemon's transport in an empty loop / bare client",
            "",
            ratios(&seen.transport, &seen.bare),
        ));
        figures.push(cpu("drain.cpu.transport", "CPU per request: that loop", "us", seen.transport_cpu));
    }
    if let Some(figure) = figures.iter_mut().find(|figure| figure.key == "drain.cpu.ratio" && !figure.rounds.is_empty()) {
        figure.remark = Some("what the ratio would be if processors were the only limit".into());
    }
    figures
}

/// Purchases as a shop commits them, after the first `from`, five to a transaction, without anybody's round trips.
pub(super) async fn fill(db: &Client, from: i64, count: u32) -> Result<(), BenchError> {
    let sql = format!(
        "do $fill$
         begin
           set synchronous_commit = off;
           for i in {from} + 1 .. {from} + {count} loop
             perform postback.purchase('order-' || i, 140.98, 'EUR',
               jsonb_build_object('email', 'buyer' || i || '@example.com', 'gclid', md5(i::text) || md5(i::text || 'x'), 'ip', '203.0.113.9', 'country', 'DE'),
               jsonb_build_object('tax', 22.51, 'shipping', 4.90));
             if i % 5 = 0 then
               commit;
             end if;
           end loop;
         end $fill$"
    );
    db.batch_execute(&sql).await?;
    db.batch_execute("reset synchronous_commit").await?;
    Ok(())
}

/// The daemon's file: one destination that begins with the first event. `keys` are further ones of it.
pub(super) fn configuration(receiver: &Receiver, in_flight: usize, keys: &str) -> String {
    format!(
        "[database]\nurl = {{ env = \"POSTBACKD_BENCH_URL\" }}\n[daemon]\ninstance = \"postbackd-bench\"\nsettle = \"0s\"\n[log]\nlevel = \"warn\"\n\
         [destination.bench]\nplatform = \"postback\"\nstart = \"beginning\"\nresend = \"safe\"\nin_flight = {in_flight}\n{keys}\n\
         url = 'http://{}/pb?id={{{{ event_id }}}}&order={{{{ order_id }}}}&value={{{{ amount }}}}&currency={{{{ currency }}}}'\n",
        receiver.address()
    )
}

pub(super) async fn epoch(db: &Client) -> Result<i64, BenchError> {
    Ok(db.query_one("select epoch from postback.ingest", &[]).await?.get(0))
}

/// Waits for `requests` at the receiver, then until everything up to `seq` is recorded.
pub(super) async fn wait_recorded(db: &Client, daemon: &mut Daemon, receiver: &Receiver, requests: u64, seq: i64) -> Result<(), BenchError> {
    const STUCK: Duration = Duration::from_secs(60);
    let (mut moved, mut last) = (Instant::now(), 0);
    // Looking at a counter costs nobody anything; the database is asked only when the end is near.
    loop {
        let count = receiver.count();
        if count >= requests {
            let row = db.query_opt("select seq from postback.position where destination = 'bench'", &[]).await?;
            if row.is_some_and(|row| row.get::<_, i64>(0) >= seq) {
                return Ok(());
            }
        }
        if std::mem::replace(&mut last, count) != count {
            moved = Instant::now();
        } else if moved.elapsed() > STUCK {
            return Err(BenchError::Wrong(format!("{count} of {requests} requests came, then nothing for 60 s\n{}", daemon.said())));
        }
        daemon.alive()?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
