//! kill -9 of the daemon at random instants under load: nothing is lost, what is repeated lies within the stated bound and
//! carries the same dedupe id, and what may not be repeated is not.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tokio_postgres::Client;

use crate::support::{
    daemon::{Config, Daemon},
    postgres::database,
    receiver::Receiver,
    rng::{self, Rng},
    settled::{self, Run},
    shop::{self, Load},
};

/// How often it is killed; POSTBACKD_TEST_KILLS for more or fewer.
const KILLS: u64 = 200;

/// Dedupe ids that may be told again after the death of a daemon: those in (seq, horizon] of a destination.
const WITHIN_HORIZON: &str = "select p.destination, s.event_id, l.seq - p.seq
      from postback.position p join postback.log l on l.seq > p.seq and l.seq <= p.horizon join postback.event e on e.id = l.event
      left join lateral (select max(generation) as now from postback.sale where order_ref = e.ref) g on true
      cross join lateral (select postback.event_id(e.kind, e.ref, e.payload ->> 'refund_ref', n) as event_id
                            from generate_series(1, coalesce(g.now, 1)) n) s";

/// What an open row of `pending` may have had on the wire: a retry that was due.
const IN_PENDING: &str = "select p.destination, s.event_id
      from postback.pending p join postback.event e on e.id = p.event
      left join lateral (select max(generation) as now from postback.sale where order_ref = e.ref) g on true
      cross join lateral (select postback.event_id(e.kind, e.ref, e.payload ->> 'refund_ref', n) as event_id
                            from generate_series(1, coalesce(g.now, 1)) n) s
     where p.state in ('retrying', 'held', 'parked')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_kills_lose_nothing_and_repeat_only_what_they_may() {
    let kills = std::env::var("POSTBACKD_TEST_KILLS").ok().map_or(KILLS, |text| text.parse().expect("POSTBACKD_TEST_KILLS is a number"));
    let seed = rng::seed("kills of the daemon");
    let mut rng = Rng::new(seed);
    let database = database().await;
    let receiver = Receiver::start();
    shop::install(&database).await;
    // Answers take a while, so that death finds requests on the wire, and some are refused, so that it finds retries.
    receiver.script(|arrival| {
        let slow = Duration::from_millis(arrival.n as u64 * 7 % 12);
        let status = if arrival.n % 23 == 5 { 503 } else { 200 };
        Some(crate::support::receiver::Behaviour::status(status).after(slow))
    });
    let config =
        Config::new(&database).destination("safe", &receiver, &[("resend", "\"safe\"")]).destination("once", &receiver, &[("resend", "\"never\"")]);
    let names = config.names();
    let client = database.connect().await;
    let mut daemon = Daemon::start(config).await;
    let running = shop::start(&database, &Load::new(seed).paused(Duration::from_millis(400))).await;
    let mut allowed = BTreeSet::new();
    let mut widest = 0;
    let began = Instant::now();
    for kill in 0..kills {
        // Random instants are the point here, from within the start of the process to well into its work.
        tokio::time::sleep(Duration::from_millis(rng.below(700))).await;
        assert!(daemon.ended().is_none(), "postbackd ended by itself before kill {kill}\n{}", daemon.stderr());
        daemon.kill9();
        widest = widest.max(may_repeat(&client, &mut allowed).await);
        daemon.again().await;
    }
    let record = running.stop().await;
    println!(
        "{kills} kills in {:?}: {} events, {} may be repeated, horizon - seq at most {widest}",
        began.elapsed(),
        record.committed.len(),
        allowed.len()
    );
    settled::wait(&client, &names, &record, Duration::from_secs(120)).await;
    let run = Run { record: &record, receiver: &receiver, allowed: &allowed };
    settled::assert_kept(&client, &run, "safe").await;
    settled::assert_kept_at_most_once(&client, &run, "once").await;
    let repeated = repeated(&receiver, "/safe");
    println!("{repeated} were repeated at the destination where that is safe");
    assert!(kills < 50 || repeated > 0, "no kill found a request on the wire: they do not test anything");
    assert!(!client.is_closed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_on_the_wire_when_the_daemon_dies_is_said_again_or_never() {
    let database = database().await;
    let receiver = Receiver::start();
    shop::install(&database).await;
    receiver.always(crate::support::receiver::Behaviour::Hang);
    let config =
        Config::new(&database).destination("safe", &receiver, &[("resend", "\"safe\"")]).destination("once", &receiver, &[("resend", "\"never\"")]);
    let names = config.names();
    let client = database.connect().await;
    let mut daemon = Daemon::start(config).await;
    client.batch_execute("insert into shop.orders (id) values ('A'); select shop.pay('A', 1250)").await.expect("an order");
    receiver
        .wait_until("both requests on the wire", |log| names.iter().all(|name| log.iter().any(|arrival| arrival.path == format!("/{name}"))))
        .await;
    daemon.kill9();
    receiver.always(crate::support::receiver::Behaviour::status(200));
    daemon.again().await;
    let log = receiver.wait_until("the safe one again", |log| log.iter().filter(|arrival| arrival.path == "/safe").count() == 2).await;
    let safe: Vec<_> = log.iter().filter(|arrival| arrival.path == "/safe").collect();
    assert_eq!((safe[0].id(), &safe[0].raw_query), (safe[1].id(), &safe[1].raw_query));
    wait_outcome(&client, "once", "unknown").await;
    wait_outcome(&client, "safe", "delivered").await;
    // The next order goes out: the one in doubt holds nobody up.
    client.batch_execute("insert into shop.orders (id) values ('B'); select shop.pay('B', 300)").await.expect("an order");
    receiver.wait_until("the next order", |log| log.iter().any(|arrival| arrival.path == "/once" && arrival.order() == "B")).await;
    assert_eq!(receiver.at("/once").iter().filter(|arrival| arrival.order() == "A").count(), 1, "told twice\n{}", receiver.dump());
}

async fn wait_outcome(client: &Client, destination: &str, outcome: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let sql = "select outcome, reason from postback.attempt where destination = $1 order by at, attempt";
        let rows = client.query(sql, &[&destination]).await.expect("reading attempts");
        if rows.iter().any(|row| row.get::<_, &str>(0) == outcome) {
            return;
        }
        let all: Vec<(String, Option<String>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert!(Instant::now() < until, "{destination} has no {outcome} after 30 s: {all:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Adds what the tables say may have been on the wire; returns the largest number of such events of one destination.
pub async fn may_repeat(client: &Client, allowed: &mut BTreeSet<String>) -> i64 {
    let mut widest = 0;
    for row in client.query(WITHIN_HORIZON, &[]).await.expect("reading the horizon") {
        allowed.insert(row.get(1));
        widest = widest.max(row.get::<_, i64>(2));
    }
    for row in client.query(IN_PENDING, &[]).await.expect("reading pending") {
        allowed.insert(row.get(1));
    }
    widest
}

/// Dedupe ids that were taken more than once.
fn repeated(receiver: &Receiver, path: &str) -> usize {
    let mut seen = BTreeSet::new();
    let taken: Vec<String> = receiver.at(path).iter().filter(|arrival| arrival.taken()).map(|arrival| arrival.id()).collect();
    taken.into_iter().filter(|id| !seen.insert(id.clone())).collect::<BTreeSet<_>>().len()
}
