//! The judge of a whole run: what the shop committed, what the tables say, and what the receiver got.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tokio_postgres::Client;

use super::{
    receiver::{Arrival, Receiver},
    shop::{Record, Said},
};

/// A run to be judged.
pub struct Run<'a> {
    /// What was committed.
    pub record: &'a Record,
    /// What arrived; destination NAME posts to path `/NAME`.
    pub receiver: &'a Receiver,
    /// Dedupe ids that a crash may have had repeated. Without a crash there are none.
    pub allowed: &'a BTreeSet<String>,
}

/// Deliveries that still go somewhere by themselves, of the kinds that every destination must name a state for. What is
/// parked behind a purchase that waits for a person or for the platform has its state.
const OPEN: &str = "select d.name, e.id, e.kind, e.ref
      from postback.event e cross join unnest($1::text[]) d(name)
     where e.kind in ('purchase', 'refund')
       and not exists (select from postback.attempt a where a.destination = d.name and a.event = e.id and a.outcome <> 'retry')
       and not exists (select from postback.pending p where p.destination = d.name and p.event = e.id and p.state in ('unknown', 'dead', 'accepted'))
       and not exists (select from postback.pending p join postback.pending first using (destination, order_ref)
                        where p.destination = d.name and p.event = e.id and p.state = 'parked' and first.state in ('unknown', 'dead', 'accepted'))
     order by e.id";

/// So long nothing may be recorded any more: what is parked behind an event that waits for a person may yet move, where that
/// event is not the one that it waits for, and the tables do not say.
const STILL: Duration = Duration::from_secs(2);

/// Waits until every committed event has its outcome at every destination, and nothing moves any more.
pub async fn wait(client: &Client, destinations: &[String], record: &Record, within: Duration) {
    let until = Instant::now() + within;
    let (mut last, mut since) = (-1_i64, Instant::now());
    loop {
        let open = client.query(OPEN, &[&destinations]).await.expect("reading what is open");
        let recorded = client.query_one("select count(*) from postback.attempt", &[]).await.expect("counting attempts").get(0);
        if recorded != last || !open.is_empty() {
            (last, since) = (recorded, Instant::now());
        } else if since.elapsed() > STILL {
            return;
        }
        if Instant::now() > until {
            let mut text = format!("{} deliveries of {} events are not settled after {within:?}:\n", open.len(), record.committed.len());
            for row in open.iter().take(10) {
                text.push_str(&format!("  {}\n", explain(client, row.get(0), row.get(1)).await));
            }
            if let Some(row) = open.first() {
                let lane = "select coalesce(string_agg(p::text, E'\\n  ' order by p.seq), '-') from (
                                select * from postback.pending where destination = $1 and order_ref = $2 order by seq limit 5) p";
                let lane: String = client.query_one(lane, &[&row.get::<_, &str>(0), &row.get::<_, &str>(3)]).await.expect("its lane").get(0);
                text.push_str(&format!("the lane of the first begins with\n  {lane}\n"));
            }
            panic!("{text}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn explain(client: &Client, destination: &str, event: i64) -> String {
    let sql = "select concat_ws(', ', $1::text || ' event ' || e.id || ' ' || e.kind || ' of ' || e.ref,
                      'stream ' || coalesce((select string_agg(seq::text, '+') from postback.log where event = e.id), 'without it'),
                      'position ' || (select seq || '..' || horizon || coalesce(' halted: ' || halted, '') from postback.position where destination = $1),
                      'last_seq ' || (select last_seq from postback.ingest),
                      (select 'pending ' || state || ' ' || coalesce(reason, '') || ' next ' || coalesce(next_at::text, '-') from postback.pending p where p.destination = $1 and p.event = e.id),
                      (select 'beside ' || string_agg(p.event || ' ' || p.state || coalesce(' ' || p.next_at, ''), ', ' order by p.event) from postback.pending p where p.destination = $1 and p.order_ref = e.ref and p.event <> e.id),
                      (select string_agg(outcome || ' ' || coalesce(reason, ''), ' / ' order by attempt) from postback.attempt a where a.destination = $1 and a.event = e.id))
                 from postback.event e where e.id = $2";
    client.query_one(sql, &[&destination, &event]).await.expect("explaining").get(0)
}

/// Every promise that was broken at one destination, a line each. `at_most_once`: the platform counts every request.
pub async fn broken(client: &Client, run: &Run<'_>, destination: &str, at_most_once: bool) -> Vec<String> {
    let arrivals = run.receiver.at(&format!("/{destination}"));
    let mut broken = states(client, run, destination, &arrivals, at_most_once).await;
    let mut expected: BTreeMap<&str, &Said> = BTreeMap::new();
    for said in &run.record.committed {
        expected.entry(&said.event_id).or_insert(said);
    }
    told(run, &arrivals, &expected, &mut broken);
    repeats(run, &arrivals, at_most_once, &mut broken);
    broken
}

/// Panics with the first twenty broken promises.
pub async fn assert_kept(client: &Client, run: &Run<'_>, destination: &str) {
    complain(destination, broken(client, run, destination, false).await);
}

/// The same where a request must never be repeated.
pub async fn assert_kept_at_most_once(client: &Client, run: &Run<'_>, destination: &str) {
    complain(destination, broken(client, run, destination, true).await);
}

fn complain(destination: &str, broken: Vec<String>) {
    let first = broken.iter().take(20).map(|line| format!("  {line}\n")).collect::<String>();
    assert!(broken.is_empty(), "{} promises broken at {destination}:\n{first}", broken.len());
}

/// The tables: a named state for everything, nothing about what was not committed, and no claim that the receiver denies.
async fn states(client: &Client, run: &Run<'_>, destination: &str, arrivals: &[Arrival], at_most_once: bool) -> Vec<String> {
    let mut broken = Vec::new();
    // Both tables as of one moment: a delivery goes from one to the other.
    client.batch_execute("begin isolation level repeatable read").await.expect("begin");
    let sql = "select event, outcome, concat_ws(' ', reason, to_char(at, 'MI:SS.MS'), '(stream ' || seq || coalesce(' ' || (select cause from postback.log l where l.seq = attempt.seq), '') || ')') from postback.attempt where destination = $1 order by event, attempt";
    let mut outcomes: BTreeMap<i64, Vec<(String, String)>> = BTreeMap::new();
    for row in client.query(sql, &[&destination]).await.expect("reading attempts") {
        outcomes.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
    }
    let rows = client.query("select event, state from postback.pending where destination = $1", &[&destination]).await;
    client.batch_execute("commit").await.expect("commit");
    let pending: BTreeMap<i64, String> = rows.expect("reading pending").iter().map(|row| (row.get(0), row.get(1))).collect();
    let committed = run.record.by_id();
    let doubtful: BTreeSet<i64> = run.record.in_doubt.iter().copied().collect();
    for id in outcomes.keys().chain(pending.keys()).filter(|id| !committed.contains_key(id) && !doubtful.contains(id)) {
        broken.push(format!("event {id} has a row, and its transaction was rolled back or never was"));
    }
    let taken: BTreeSet<String> = arrivals.iter().filter(|arrival| arrival.taken()).map(Arrival::id).collect();
    for said in run.record.committed.iter().filter(|said| ["purchase", "refund"].contains(&said.kind.as_str())) {
        let name = format!("event {} {}", said.id, said.event_id);
        let all = outcomes.get(&said.id).map(Vec::as_slice).unwrap_or_default();
        match all.last() {
            None if pending.contains_key(&said.id) => {}
            None => broken.push(format!("{name} has no state")),
            Some((outcome, reason)) if outcome == "retry" && !pending.contains_key(&said.id) => {
                broken.push(format!("{name} is to be retried and nobody will: {reason}"))
            }
            Some((outcome, reason)) if outcome == "delivered" && !reason.starts_with("covered") && !taken.contains(&said.event_id) => {
                broken.push(format!("{name} is said to be delivered, and never was: {reason}"));
            }
            Some((outcome, reason)) if outcome == "unknown" && !at_most_once => {
                broken.push(format!("{name} is unknown where a resend is safe: {reason}"))
            }
            Some(_) => {}
        }
        if let Some((outcome, reason)) = all.last().filter(|(outcome, _)| outcome != "retry")
            && let Some(state) = pending.get(&said.id).filter(|state| ["retrying", "held", "parked", "sending"].contains(&state.as_str()))
        {
            broken.push(format!("{name} is {outcome} {reason} and yet {state}"));
        }
        let delivered = all.iter().filter(|(outcome, _)| outcome == "delivered").count();
        if delivered > 1 {
            let came: Vec<_> =
                arrivals.iter().filter(|arrival| arrival.id() == said.event_id).map(|arrival| arrival.answered.map(|(_, status)| status)).collect();
            broken.push(format!("{name} was marked as delivered {delivered} times: {all:?}, told and answered {came:?}"));
        }
    }
    broken
}

/// The wire: nothing that was not committed, nothing before COMMIT, every order in its causal order.
fn told(run: &Run<'_>, arrivals: &[Arrival], expected: &BTreeMap<&str, &Said>, broken: &mut Vec<String>) {
    let mut first: BTreeSet<String> = BTreeSet::new();
    let mut latest: BTreeMap<String, &Said> = BTreeMap::new();
    let mut taken: BTreeMap<String, Instant> = BTreeMap::new();
    for arrival in arrivals {
        if let Some((at, _)) = arrival.answered.filter(|_| arrival.taken()) {
            taken.entry(arrival.id()).or_insert(at);
        }
    }
    for arrival in arrivals {
        let id = arrival.id();
        let Some(said) = expected.get(id.as_str()).copied() else {
            if run.record.in_doubt.is_empty() {
                broken.push(format!("{id:?} was told and never committed"));
            }
            continue;
        };
        if arrival.at < said.commit_sent {
            broken.push(format!("{id} was told {:?} before its COMMIT", said.commit_sent - arrival.at));
        }
        if arrival.order() != said.order {
            broken.push(format!("{id} was told of order {:?}", arrival.order()));
        }
        if arrival.together > 1 && run.allowed.is_empty() {
            broken.push(format!("{id} was sent beside another event of its order"));
        }
        if said.kind == "refund" && taken.get(&said.purchase).is_none_or(|at| *at > arrival.at) {
            broken.push(format!("{id} was told before {} had been taken", said.purchase));
        }
        if first.insert(id.clone()) {
            let last = latest.entry(said.order.clone()).or_insert(said);
            if said.id < last.id {
                broken.push(format!("{id} was told after {}", last.event_id));
            }
            if said.id > last.id {
                *last = said;
            }
        }
    }
}

/// Repeats: none without a crash but of what was refused; always the same request; never where they count twice.
fn repeats(run: &Run<'_>, arrivals: &[Arrival], at_most_once: bool, broken: &mut Vec<String>) {
    let mut by_id: BTreeMap<String, Vec<&Arrival>> = BTreeMap::new();
    for arrival in arrivals {
        by_id.entry(arrival.id()).or_default().push(arrival);
    }
    for (id, all) in by_id.iter().filter(|(_, all)| all.len() > 1) {
        if all.iter().any(|arrival| arrival.raw_query != all[0].raw_query || arrival.body != all[0].body) {
            broken.push(format!("{id} was told in different words: {:?}", all.iter().map(|arrival| &arrival.raw_query).collect::<Vec<_>>()));
        }
        let refused = all.iter().filter(|arrival| arrival.answered.is_some() && !arrival.taken()).count();
        if at_most_once && all.len() - refused > 1 {
            let answers: Vec<_> = all.iter().map(|arrival| (arrival.at - all[0].at, arrival.answered.map(|(_, status)| status))).collect();
            broken.push(format!("{id} was sent {} times and may not be repeated; since the first, and answered: {answers:?}", all.len()));
        }
        let taken = all.iter().filter(|arrival| arrival.taken()).count();
        if taken > 1 && !run.allowed.contains(id) {
            broken.push(format!("{id} was taken {taken} times and no crash explains it"));
        }
    }
}
