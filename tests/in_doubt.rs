//! A connection that is lost between a COMMIT and its answer, or while the COMMIT is still under way: the stream has no gap,
//! nothing is there twice, and a write that goes through late, in a later session, matches nothing or is seen.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_postgres::Client;

use crate::support::{
    daemon::{Config, Daemon},
    postgres::database,
    proxy::{Asked, Fate, Late, Proxy, READER},
    receiver::{Behaviour, Receiver},
    rng::{self, Rng},
    settled::{self, Run},
    shop::{self, Load},
};

/// Longest wait for any single thing.
const PATIENCE: Duration = Duration::from_secs(30);

/// The two writes that everything hangs on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Write {
    Ingest,
    Completion,
}

impl Write {
    fn is(self, asked: &Asked<'_>) -> bool {
        let begins = match self {
            Self::Ingest => "with me as (\nupdate postback.ingest",
            Self::Completion => "with me as (\nupdate postback.position",
        };
        asked.sql.starts_with(begins)
    }
}

/// What happens to one of them.
#[derive(Clone, Copy, Debug)]
enum Blow {
    CutRequest,
    CutAnswer,
    /// Lost by the client at once, carried out at once: perhaps before the next session, perhaps beside it.
    Orphan,
    /// Carried out when the next session has begun.
    Late,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_a_commit_the_stream_has_no_gap_and_nothing_twice() {
    let seed = rng::seed("commits in doubt");
    let mut rng = Rng::new(seed);
    let database = database().await;
    shop::install(&database).await;
    let proxy = Proxy::start(&database).await;
    let receiver = Receiver::start();
    receiver.script(|arrival| {
        let slow = Duration::from_millis(arrival.n as u64 * 7 % 12);
        Some(Behaviour::status(if arrival.n % 23 == 5 { 503 } else { 200 }).after(slow))
    });
    let quick = ("retry", "{ first = \"100ms\", max = \"1s\" }");
    let config = Config::through(&database, &proxy.url()).destination("safe", &receiver, &[("resend", "\"safe\""), quick]).destination(
        "once",
        &receiver,
        &[("resend", "\"never\""), quick],
    );
    let names = config.names();
    let mut blows: Vec<(Write, Blow)> = [Write::Ingest, Write::Completion]
        .into_iter()
        .flat_map(|write| [Blow::CutRequest, Blow::CutAnswer, Blow::CutAnswer, Blow::Orphan, Blow::Late].map(|blow| (write, blow)))
        .collect();
    for n in (1..blows.len()).rev() {
        blows.swap(n, rng.below(n as u64 + 1) as usize);
    }
    println!("{blows:?}");
    let mut struck = strike(&proxy, blows.clone(), rng);
    let daemon = Daemon::start(config).await;
    let running = shop::start(&database, &Load::new(seed).paused(Duration::from_millis(300))).await;
    let client = database.connect().await;
    for (write, blow) in &blows {
        let (at, late) = next(&mut struck, &format!("{write:?} for {blow:?}")).await;
        if let Some(late) = late {
            let matched = match blow {
                Blow::Late => {
                    until(&format!("a session after {blow:?}"), || proxy.sessions(READER) > at).await;
                    if *write == Write::Completion {
                        // Until the new session has claimed the position, the old one's write is seen by that claim.
                        claimed(&client).await;
                    }
                    let matched = late.release().await;
                    assert_eq!(matched, Some(0), "{write:?} of a former session was carried out in a later one\n{}", daemon.stderr());
                    matched
                }
                _ => late.release().await,
            };
            println!("{write:?}, {blow:?}: matched {matched:?}");
        }
    }
    let record = running.stop().await;
    settled::wait(&client, &names, &record, Duration::from_secs(60)).await;
    assert_stream_whole(&client).await;
    let run = Run { record: &record, receiver: &receiver, allowed: &BTreeSet::new() };
    settled::assert_kept(&client, &run, "safe").await;
    settled::assert_kept_at_most_once(&client, &run, "once").await;
    for name in &names {
        assert_attempts_are_what_came(&client, &run, name).await;
    }
    // And it knows of everything whether it was sent: nobody has to find out.
    let sql = "select coalesce(string_agg(distinct reason, '; '), '') from postback.attempt where outcome = 'unknown' and status is null";
    let doubts: String = client.query_one(sql, &[]).await.expect("reading doubts").get(0);
    assert_eq!(doubts, "");
}

/// The daemon lived throughout: it has recorded every answer, and each once.
async fn assert_attempts_are_what_came(client: &Client, run: &Run<'_>, destination: &str) {
    let mut came: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for arrival in run.receiver.at(&format!("/{destination}")) {
        came.entry(arrival.id()).or_default().extend(arrival.answered.map(|(_, status)| i32::from(status)));
    }
    let said = run.record.by_id();
    let mut recorded: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    let sql = "select event, status from postback.attempt where destination = $1 and status is not null order by event, attempt";
    for row in client.query(sql, &[&destination]).await.expect("reading attempts") {
        recorded.entry(said[&row.get(0)].event_id.clone()).or_default().push(row.get(1));
    }
    let wrong: Vec<_> =
        came.iter().filter(|(id, answers)| recorded.get(*id) != Some(answers)).map(|(id, answers)| (id, answers, recorded.get(id))).collect();
    assert!(wrong.is_empty(), "{destination}: id, what was answered, what is recorded: {wrong:?}");
}

/// Deals the blows in order, each to a write of its kind: to one of the next few.
fn strike(proxy: &Proxy, blows: Vec<(Write, Blow)>, mut rng: Rng) -> mpsc::UnboundedReceiver<(usize, Option<Late>)> {
    let (struck, receiver) = mpsc::unbounded_channel();
    let mut blows = VecDeque::from(blows);
    let mut skip = rng.below(4);
    proxy.script(move |asked| {
        let Some((write, blow)) = blows.front().copied().filter(|(write, _)| write.is(asked)) else { return Fate::Pass };
        let _ = write;
        if skip > 0 {
            skip -= 1;
            return Fate::Pass;
        }
        skip = rng.below(4);
        blows.pop_front();
        let late = Late::default();
        let fate = match blow {
            Blow::CutRequest => Fate::CutRequest,
            Blow::CutAnswer => Fate::CutAnswer,
            Blow::Orphan | Blow::Late => Fate::Late(late.clone()),
        };
        let late = matches!(fate, Fate::Late(_)).then_some(late);
        let _ = struck.send((asked.begun, late));
        fate
    });
    receiver
}

async fn next<T>(from: &mut mpsc::UnboundedReceiver<T>, what: &str) -> T {
    match tokio::time::timeout(PATIENCE, from.recv()).await {
        Ok(Some(value)) => value,
        _ => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Waits until every destination has its position in the present session.
async fn claimed(client: &Client) {
    let began = Instant::now();
    let sql = "select count(*) from postback.position p, postback.ingest i where p.daemon is distinct from i.daemon";
    while client.query_one(sql, &[]).await.expect("reading positions").get::<_, i64>(0) > 0 {
        assert!(began.elapsed() < PATIENCE, "a position is not claimed after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Numbers without a gap, every committed event exactly once by its commit.
async fn assert_stream_whole(client: &Client) {
    let sql = "select (select count(*) from postback.log), (select coalesce(max(seq), 0) from postback.log), (select last_seq from postback.ingest),
                      (select count(*) from postback.event), (select count(*) from postback.log where cause is null),
                      (select count(distinct event) from postback.log where cause is null)";
    let row = client.query_one(sql, &[]).await.expect("reading the stream");
    let [rows, last, last_seq, events, by_commit, distinct]: [i64; 6] = std::array::from_fn(|n| row.get(n));
    assert!(rows == last && last == last_seq, "{rows} numbers up to {last}, last_seq {last_seq}: there is a gap");
    assert!(events == by_commit && by_commit == distinct, "{events} events are in the stream {by_commit} times, {distinct} of them");
}

/// A write stands still in the middle, its client gone, while the next session begins: that one waits for it and sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_still_running_is_waited_for() {
    for (write, table) in [(Write::Ingest, "log"), (Write::Completion, "attempt")] {
        let database = database().await;
        let receiver = Receiver::start();
        let (shop, judge, gate) = (database.connect().await, database.connect().await, database.connect().await);
        // Whoever writes to the table stands still in the middle of its statement for as long as the gate is shut.
        let stand = format!(
            "create function public.stand() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock_shared(4711); return new; end $$;
             create trigger stand before insert on postback.{table} for each row execute function public.stand()"
        );
        judge.batch_execute(&stand).await.expect("a trigger of the test");
        let proxy = Proxy::start(&database).await;
        let mut struck = strike(&proxy, vec![(write, Blow::Orphan)], Rng::new(0));
        let daemon = Daemon::start(Config::through(&database, &proxy.url()).destination("d", &receiver, &[])).await;
        let mut orders = 0;
        gate.batch_execute("select pg_advisory_lock(4711)").await.expect("shutting the gate");
        let late = loop {
            orders += 1;
            shop.batch_execute(&format!("select postback.purchase('{orders}', 9, 'EUR', '{{}}')")).await.expect("an order");
            // Those that pass before it are let through, one at a time.
            tokio::select! {
                struck = struck.recv() => break struck.expect("the script is there").1.expect("a late one"),
                () = waiting(&judge, table) => {
                    gate.batch_execute("select pg_advisory_unlock(4711)").await.expect("opening the gate");
                    settled_up_to(&judge, orders).await;
                    gate.batch_execute("select pg_advisory_lock(4711)").await.expect("shutting the gate");
                }
            }
        };
        let released = tokio::spawn(async move { late.release().await });
        waiting(&judge, table).await;
        // The next session is there and waits for the row that the old write holds.
        let behind = "select exists (select from pg_stat_activity where datname = current_database() and application_name like 'postbackd%'
                                        and cardinality(pg_blocking_pids(pid)) > 0 and wait_event in ('transactionid', 'tuple'))";
        holds(&judge, behind, &daemon).await;
        gate.batch_execute("select pg_advisory_unlock(4711)").await.expect("opening the gate");
        assert_eq!(released.await.expect("released"), Some(1), "the old write went through, and was waited for");
        settled_up_to(&judge, orders).await;
        assert_stream_whole(&judge).await;
        let came: Vec<String> = receiver.at("/d").iter().map(|arrival| arrival.order()).collect();
        assert_eq!(came, (1..=orders).map(|order| order.to_string()).collect::<Vec<_>>(), "{}", daemon.stderr());
        let attempts = "select count(*) from postback.attempt";
        assert_eq!(judge.query_one(attempts, &[]).await.expect("attempts").get::<_, i64>(0), orders);
    }
}

/// Until a write stands at the gate.
async fn waiting(judge: &Client, table: &str) {
    let sql = "select exists (select from pg_stat_activity where datname = current_database() and application_name like 'postbackd%' and wait_event = 'advisory')";
    let began = Instant::now();
    while !judge.query_one(sql, &[]).await.expect("looking at the gate").get::<_, bool>(0) {
        assert!(began.elapsed() < PATIENCE, "nobody writes to postback.{table} within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn holds(judge: &Client, question: &str, daemon: &Daemon) {
    let began = Instant::now();
    while !judge.query_one(question, &[]).await.expect("asking").get::<_, bool>(0) {
        assert!(began.elapsed() < PATIENCE, "not true after {PATIENCE:?}: {question}\n{}", daemon.stderr());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn settled_up_to(judge: &Client, orders: i64) {
    let began = Instant::now();
    let sql = "select count(distinct event) from postback.attempt where outcome = 'delivered'";
    loop {
        let delivered: i64 = judge.query_one(sql, &[]).await.expect("reading attempts").get(0);
        if delivered >= orders {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{delivered} of {orders} delivered after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
