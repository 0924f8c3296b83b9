//! Each page answers from indexes, however much there is.
//!
//! `POSTBACKD_PAGE_EVENTS=5000000 cargo test --test it -- page::plans --nocapture` fills the tables with ten million attempts and prints the
//! plans and times of docs/page.md.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use postbackd::{
    command::Selection,
    outbox::{
        apple::{self, Filter},
        inspect::{self, Before},
    },
};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::{Visitor, with_open_page};
use crate::{
    sending::Stage,
    support::{daemon::Daemon, postgres::Database, sql::run},
};

/// A session that is told the plan of each of its statements, those within functions included.
async fn telling(database: &Database) -> (Client, Arc<Mutex<Vec<String>>>) {
    let (db, mut connection) = tokio_postgres::connect(database.url(), NoTls).await.expect("a session");
    let kept = Arc::<Mutex<Vec<String>>>::default();
    let keep = Arc::clone(&kept);
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notice(notice) = message {
                keep.lock().unwrap_or_else(PoisonError::into_inner).push(notice.message().to_owned());
            }
        }
    });
    run(
        &db,
        "load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_analyze = on; set auto_explain.log_nested_statements = on;
         set auto_explain.log_level = notice; set client_min_messages = notice",
    )
    .await;
    (db, kept)
}

/// As many events as wanted, each told to two destinations, a tenth with receipts; dead letters and unknowns among the last of them.
async fn fill(db: &Client, events: i64) {
    // Four months of a shop.
    let apart = 120.0 * 86_400.0 / events as f64;
    let fill = format!(
        "insert into postback.event (txid, id, kind, ref, payload, occurred_at)
           select '3', n, 'purchase', n::text, '{{\"value\": \"10.00\", \"currency\": \"EUR\", \"who\": {{\"gclid\": \"CanaryClick-0123456789\"}}}}', now() - ({events} - n) * interval '1 s' * {apart} from generate_series(1, {events}) n;
         select setval('postback.event_seq', {events});
         insert into postback.log (seq, event, at) select n, n, now() - ({events} - n) * interval '1 s' * {apart} from generate_series(1, {events}) n;
         insert into postback.sale (order_ref, generation, event, value, currency) select n::text, 1, n, 10, 'EUR' from generate_series(1, {events}) n;
         insert into postback.refund (order_ref, refund_ref, event, generation, amount, total_after) select n::text, 'r', n, 1, 1, 1 from generate_series(5, {events}, 10) n;
         insert into postback.mention (ref, event) select n::text, n from generate_series(5, {events}, 10) n;
         insert into postback.once (kind, ref, event) select 'lead', n::text, n from generate_series(5, {events}, 10) n;
         insert into postback.position (destination, seq, horizon, epoch, started) select d, {events}, {events}, 0, 0 from unnest(array['d', 'e']) d;
         insert into postback.attempt (destination, event, attempt, seq, at, outcome, status, duration_ms)
           select d, n, 1, n, now() - ({events} - n) * interval '1 s' * {apart}, case when n > {events} - 30 and d = 'd' then 'dead' when n > {events} - 40 and d = 'd' then 'unknown' else 'delivered' end, 200, 90
             from generate_series(1, {events}) n, unnest(array['d', 'e']) d;
         insert into postback.receipt (destination, event, sent) select 'e', n, '{{\"value\": \"10.00\"}}' from generate_series(1, {events}, 10) n;
         insert into postback.pending (destination, event, seq, order_ref, state, attempts, since, reason)
           select 'd', n, n, n::text, case when n > {events} - 30 then 'dead' else 'unknown' end, 1, now(), 'HTTP ' || 400 + n % 7 from generate_series({events} - 39, {events}) n;
         insert into postback.tally select d, date_bin('5 min', now(), '2000-01-01 00:00+00') - n * interval '5 min', 'delivered', 100, 200, null, now()
           from generate_series(0, 34560) n, unnest(array['d', 'e']) d;
         insert into postback.command (who, what, answer) select 'Ada', '{{\"do\": \"pause\", \"destination\": \"d\"}}', '{{\"ok\": true, \"count\": 1, \"text\": \"d paused\"}}' from generate_series(1, 2000);
         insert into postback.apple_postback (protocol, verdict, environment, identifier, sequence, app, won, fields, body, received_at)
           select 'skadnetwork', case when n % 50 = 0 then 'invalid' else 'verified' end, case when n % 50 <> 0 then 'production' end, gen_random_uuid(), 0, 1, true, '{{\"network\": \"a\"}}', 'x', now() - n * interval '1 min'
             from generate_series(1, {events} / 10) n;
         insert into postback.apple_count select current_date - n, 'skadnetwork', '4.0', 'verified', '', 1 from generate_series(0, 60) n;
         update postback.ingest set snap = pg_current_snapshot()::text, last_seq = {events};
         update postback.reached set seq = {events}"
    );
    for statement in fill.split(";\n") {
        run(db, statement).await;
    }
    run(db, "vacuum analyze").await;
}

/// May be read whole: a row for each destination or daemon, what a person has to deal with, and what is asked to be counted.
const SMALL: [&str; 9] = ["pg_database", "position", "ingest", "daemon", "reached", "pending", "trouble", "late", "apple_count"];

#[tokio::test(flavor = "multi_thread")]
async fn each_page_answers_from_indexes() {
    let stage = Stage::new().await;
    let events: i64 = std::env::var("POSTBACKD_PAGE_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(40_000);
    fill(&stage.db, events).await;
    let (db, plans) = telling(&stage.database).await;
    let (now, dead) = (Timestamp::now(), Selection::default());
    let reference = (events / 2).to_string();
    let before = Before { seq: events - 10, destination: "d".to_owned() };
    let ids = [events / 2];
    let report = |what: &str, began: Instant| {
        let told = std::mem::take(&mut *plans.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(!told.is_empty(), "no plan of {what}");
        println!(
            "-- {what}: {} statements, {:.1} ms\n{}",
            told.len(),
            began.elapsed().as_secs_f64() * 1e3,
            if events > 40_000 { told.join("\n") } else { String::new() }
        );
        let discarded =
            told.iter().flat_map(|plan| plan.lines()).filter_map(|line| line.trim().strip_prefix("Rows Removed by Filter: ")?.parse::<i64>().ok());
        assert!(discarded.max().unwrap_or(0) < 5_000, "{what} reads much more than it needs:\n{}", told.join("\n"));
        for line in told.iter().flat_map(|plan| plan.lines()).filter(|line| line.contains("Seq Scan on ")) {
            let table = line.split("Seq Scan on ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().trim_matches('"');
            assert!(SMALL.contains(&table), "{what} reads all of {table}:\n{}", told.join("\n"));
        }
    };
    // As the planner would have it, without the settings that a look is pinned by.
    macro_rules! planned {
        ($($what:literal: $look:expr;)+) => {$(
            let began = Instant::now();
            $look.await.expect($what);
            report($what, began);
        )+};
    }
    planned! {
        "status": inspect::status(&db);
        "tallies": inspect::tallies(&db, now - SignedDuration::from_hours(6));
        "faults": inspect::faults(&db);
        "last attempts": inspect::marks(&db, 12);
        "an order": inspect::order(&db, &reference);
        "its attempts": inspect::attempts(&db, ids[0], None);
        "its receipts": inspect::receipts(&db, &ids);
        "dead letters": inspect::newest(&db, "dead", &dead, None, 50);
        "their second page": inspect::newest(&db, "dead", &dead, Some(&before), 50);
        "their number": inspect::count(&db, "dead", &dead);
        "their reasons": inspect::reasons(&db, "dead", None);
        "attempts at a destination": inspect::marks_of(&db, "d", None, 50);
        "earlier ones": inspect::marks_of(&db, "e", Some(events / 2), 50);
        "actions": inspect::last_asked(&db, 100);
        "an action": inspect::asked_for(&db, 7);
        "Apple's numbers": apple::numbers(&db, Some(now));
        "Apple's postbacks": apple::list(&db, &Filter::default(), 50, false);
        "those that are verified": apple::list(&db, &Filter { verdict: Some("verified".into()), ..Filter::default() }, 50, false);
        "those that are not": apple::list(&db, &Filter { verdict: Some("invalid".into()), ..Filter::default() }, 50, false);
    }
    // The pages themselves.
    let daemon = Daemon::start(with_open_page(stage.config(&[]).destination("e", &stage.receiver, &[]))).await;
    let visitor = Visitor::new(&daemon).await;
    let pages = [
        "/",
        "/order",
        &format!("/order?ref={reference}"),
        "/dead",
        "/dead?reason=HTTP+403",
        "/unknown",
        "/destination/d",
        "/destination/e",
        "/actions",
        "/apple",
        "/report",
    ];
    for path in pages {
        let began = Instant::now();
        let page = visitor.get(path).await.page();
        println!("GET {path}: {:.0} ms, {} bytes", began.elapsed().as_secs_f64() * 1e3, page.len());
    }
}
