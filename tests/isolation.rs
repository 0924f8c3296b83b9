//! One platform hangs, one answers 500, one resets every connection; a fourth one works. It must not notice.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::support::{
    daemon::{Config, Daemon},
    postgres::database,
    receiver::{Behaviour, Receiver},
    shop,
};

/// Orders in each half of the run, and the pause between two of them.
const ORDERS: usize = 400;
const PAUSE: Duration = Duration::from_millis(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_down_slows_nobody_else() {
    let database = database().await;
    // A receiver each: what they share should be the daemon and nothing else.
    let (healthy, hanging, failing, resetting) = (Receiver::start(), Receiver::start(), Receiver::start(), Receiver::start());
    shop::install(&database).await;
    let config = Config::new(&database)
        .destination("healthy", &healthy, &[])
        .destination("hanging", &hanging, &[("deadline", "\"2s\"")])
        .destination("failing", &failing, &[])
        .destination("resetting", &resetting, &[]);
    let client = database.connect().await;
    let daemon = Daemon::start(config).await;

    let before = latencies(&client, &healthy, "calm").await;
    let calm = daemon.rss();
    let mut places = Vec::new();
    for name in ["hanging", "failing", "resetting"] {
        places.push((name, place(&client, name).await));
    }
    hanging.always(Behaviour::Hang);
    failing.always(Behaviour::status(500));
    resetting.always(Behaviour::ResetAfterBody);
    let during = latencies(&client, &healthy, "storm").await;
    let stormy = daemon.rss();
    println!("healthy beside healthy: {before}; beside three that are down: {during}; memory {} and {} KiB", calm / 1024, stormy / 1024);
    assert!(during.median < before.median * 2 + Duration::from_millis(20), "median {before} became {during}");
    assert!(during.most < before.most * 2 + Duration::from_millis(250), "worst {before} became {during}");
    assert!(stormy < calm + 16 * 1024 * 1024, "memory grew from {calm} to {stormy} bytes over {ORDERS} orders");

    // Those that are down move as well: what they refuse is remembered aside and holds nobody behind it up.
    for (name, was) in &places {
        let until = Instant::now() + Duration::from_secs(30);
        while place(&client, name).await <= *was {
            assert!(Instant::now() < until, "{name} stands still at {was}\n{}", daemon.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    // And when they are well again, everything arrives without help.
    for receiver in [&hanging, &failing, &resetting] {
        receiver.always(Behaviour::status(200));
    }
    for receiver in [&hanging, &failing, &resetting] {
        let all = ORDERS * 2;
        let taken = |log: &[crate::support::receiver::Arrival]| {
            log.iter().filter(|arrival| arrival.taken()).map(|arrival| arrival.id()).collect::<std::collections::BTreeSet<_>>().len()
        };
        receiver.wait_within(Duration::from_secs(120), "every order after the storm", |log| taken(log) == all).await;
    }
}

/// How far a destination is in the stream.
async fn place(client: &Client, destination: &str) -> i64 {
    client.query_one("select seq from postback.position where destination = $1", &[&destination]).await.expect("reading the position").get(0)
}

/// Time from COMMIT to arrival.
struct Latency {
    median: Duration,
    most: Duration,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "median {:?}, most {:?}", self.median, self.most)
    }
}

/// Pays orders one after the other and measures when the receiver hears of each.
async fn latencies(client: &Client, receiver: &Receiver, name: &str) -> Latency {
    let mut committed = Vec::with_capacity(ORDERS);
    let mut tick = tokio::time::interval(PAUSE);
    for n in 0..ORDERS {
        tick.tick().await;
        let order = format!("{name}-{n}");
        client.execute("insert into shop.orders (id) values ($1)", &[&order]).await.expect("an order");
        client.execute("select shop.pay($1, 1000)", &[&order]).await.expect("paying");
        committed.push((format!("purchase-{order}"), Instant::now()));
    }
    let path = "/healthy";
    let wanted = committed.len();
    receiver
        .wait_until(&format!("{wanted} orders of {name}"), |log| log.iter().filter(|arrival| arrival.order().starts_with(name)).count() >= wanted)
        .await;
    let first = receiver.first(path);
    let mut times: Vec<Duration> = committed.iter().map(|(id, at)| first[id].saturating_duration_since(*at)).collect();
    times.sort_unstable();
    Latency { median: times[times.len() / 2], most: times[times.len() - 1] }
}
