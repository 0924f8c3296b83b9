//! The tables.

use postbackd::{
    apple::count::{Batch, Count, Label},
    outbox::apple::{self, Entry, Filter, Stored},
};

use crate::support::{
    postgres::database,
    sql::{all, fails, one, run},
};

const ID: &str = "6aafb7a5-0170-41b5-bbe4-fe71dedf1e30";

fn entry<'a>(identifier: &'a str, verdict: &'static str) -> Entry<'a> {
    Entry {
        protocol: "skadnetwork",
        version: Some("4.0"),
        verdict,
        reason: (verdict != "verified").then_some("signature"),
        environment: (verdict == "verified").then_some("production"),
        identifier,
        sequence: 0,
        app: 525_463_029,
        won: true,
        fields: r#"{"network":"com.example"}"#.into(),
        body: b"{ \"raw\":\t1}",
        keep: 3,
        say: None,
    }
}

fn saying<'a>() -> Entry<'a> {
    let more = r#"{"apple": {"sequence": 0}, "value": "49.90", "currency": "eur"}"#.to_owned();
    Entry { say: Some(("install", "skadnetwork-1-0".into(), more)), ..entry(ID, "verified") }
}

#[tokio::test]
async fn one_of_many_at_the_same_time_is_kept_and_told() {
    let database = database().await;
    let mut working = Vec::new();
    for _ in 0..8 {
        let db = database.connect().await;
        working.push(tokio::spawn(async move { apple::receive(&db, &saying()).await.expect("stored or not") }));
    }
    let mut became = Vec::new();
    for work in working {
        became.push(work.await.expect("no panic"));
    }
    assert_eq!(became.iter().filter(|one| **one == Stored::New).count(), 1, "{became:?}");
    assert_eq!(became.iter().filter(|one| **one == Stored::Duplicate).count(), 7);
    let db = database.connect().await;
    let said = "select e.kind || ' ' || e.ref || ' ' || e.payload::text from postback.event e join postback.apple_postback p on p.event = e.id";
    let want = r#"install skadnetwork-1-0 {"who": {}, "more": {"apple": {"sequence": 0}}, "value": "49.90", "currency": "EUR"}"#;
    assert_eq!(all::<String>(&db, said).await, [want]);
    assert_eq!(one::<i64>(&db, "select count(*) from postback.event").await, 1);
    assert_eq!(one::<Vec<u8>>(&db, "select body from postback.apple_postback").await, b"{ \"raw\":\t1}");
    // Other postbacks of the same install, and tests, stand beside it.
    for other in [Entry { sequence: 1, ..entry(ID, "verified") }, Entry { environment: Some("development"), ..entry(ID, "verified") }] {
        assert_eq!(apple::receive(&db, &other).await.expect("stored"), Stored::New, "{other:?}");
    }
}

#[tokio::test]
async fn the_event_and_its_postback_are_one_transaction() {
    let database = database().await;
    let db = database.connect().await;
    run(&db, "create function public.no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
              create constraint trigger no after insert on postback.apple_postback deferrable initially deferred for each row execute function public.no()").await;
    assert!(apple::receive(&db, &saying()).await.is_err());
    assert_eq!(one::<i64>(&db, "select count(*) from postback.event").await, 0);
}

#[tokio::test]
async fn what_is_forged_holds_no_identifier_and_little_disk() {
    let database = database().await;
    let db = database.connect().await;
    for n in 0..10 {
        for verdict in ["invalid", "unverifiable"] {
            let stored = apple::receive(&db, &entry(ID, verdict)).await.expect("stored or not");
            assert_eq!(stored, if n < 3 { Stored::New } else { Stored::Full }, "{verdict} {n}");
        }
    }
    assert_eq!(apple::receive(&db, &entry(ID, "verified")).await.expect("stored"), Stored::New, "the real one comes last");
    assert_eq!(apple::receive(&db, &entry(ID, "verified")).await.expect("seen"), Stored::Duplicate);
    // Yesterday's do not count, and nothing at all is kept where nothing should be.
    run(&db, "update postback.apple_postback set received_at = received_at - interval '25 hours'").await;
    assert_eq!(apple::receive(&db, &entry(ID, "invalid")).await.expect("stored"), Stored::New);
    assert_eq!(apple::receive(&db, &Entry { keep: 0, ..entry(ID, "unverifiable") }).await.expect("not stored"), Stored::Full);
    // What any phone in developer mode can make is bounded too.
    let ids: Vec<String> = (0..5).map(|n| format!("00000000-0000-4000-8000-{n:012}")).collect();
    let mut kept = 0;
    for id in &ids {
        let test = Entry { environment: Some("development"), ..entry(id, "verified") };
        kept += usize::from(apple::receive(&db, &test).await.expect("stored or not") == Stored::New);
    }
    assert_eq!(kept, 3);
}

#[tokio::test]
async fn retention_keeps_what_a_device_may_send_again() {
    let database = database().await;
    let db = database.connect().await;
    let ages = [("verified", 59), ("verified", 61), ("invalid", 13), ("invalid", 15), ("unverifiable", 61)];
    for (n, (verdict, days)) in ages.iter().enumerate() {
        let id = format!("00000000-0000-4000-8000-{n:012}");
        assert_eq!(apple::receive(&db, &entry(&id, verdict)).await.expect("stored"), Stored::New);
        run(&db, &format!("update postback.apple_postback set received_at = now() - interval '{days} days' where identifier = '{id}'")).await;
    }
    let prune = include_str!("../../sql/prune_apple.sql");
    db.query_typed(prune, &[(&86_400.0f64, tokio_postgres::types::Type::FLOAT8)]).await.expect("pruning with a retention of a day");
    let left = "select verdict || ' ' || round(extract(epoch from now() - received_at) / 86400)::text from postback.apple_postback order by 1";
    assert_eq!(all::<String>(&db, left).await, ["verified 59"], "younger than a day's retention asks for, but within Apple's time");
    db.query_typed(prune, &[(&(59.0 * 86_400.0f64), tokio_postgres::types::Type::FLOAT8)]).await.expect("pruning");
    assert_eq!(one::<i64>(&db, "select count(*) from postback.apple_postback").await, 1);
}

#[tokio::test]
async fn numbers_add_up_over_daemons() {
    let database = database().await;
    let (db, other) = (database.connect().await, database.connect().await);
    let of = |verdict, count| Count { label: Label { protocol: "skadnetwork", version: "4.0", verdict, reason: "" }, count };
    let first = Batch { writer: 1, number: 1, counts: vec![of("verified", 2), of("malformed", 1)] };
    let others = Batch { writer: 2, number: 1, counts: vec![of("verified", 37)] };
    let second = Batch { number: 2, counts: vec![of("verified", 3)], ..first.clone() };
    for (db, batch) in [(&db, &first), (&other, &others), (&other, &first), (&db, &second), (&db, &second), (&db, &first)] {
        apple::count(db, batch).await.expect("counted, or known");
    }
    let numbers = apple::numbers(&db, None).await.expect("numbers");
    let told: Vec<(&str, i64)> = numbers.iter().map(|number| (number.verdict.as_str(), number.count)).collect();
    assert_eq!(told, [("malformed", 1), ("verified", 42)]);
}

#[tokio::test]
async fn lists_are_filtered_and_the_latest_come_first() {
    let database = database().await;
    let db = database.connect().await;
    let ids: Vec<String> = (0..4).map(|n| format!("00000000-0000-4000-8000-{n:012}")).collect();
    for (id, verdict, environment, app) in
        [(&ids[0], "verified", "production", 1), (&ids[1], "verified", "development", 1), (&ids[2], "verified", "production", 2)]
    {
        apple::receive(&db, &Entry { environment: Some(environment), app, ..entry(id, verdict) }).await.expect("stored");
    }
    apple::receive(&db, &entry(&ids[3], "invalid")).await.expect("stored");
    let count = async |filter: Filter| {
        let listed = apple::list(&db, &filter, 10, true).await.expect("a list").len();
        assert_eq!(apple::total(&db, &filter).await.expect("a number"), listed as i64);
        listed
    };
    assert_eq!(count(Filter::default()).await, 4);
    assert_eq!(count(Filter { app: Some(1), ..Filter::default() }).await, 2);
    assert_eq!(count(Filter { verdict: Some("verified".into()), ..Filter::default() }).await, 2);
    assert_eq!(count(Filter { verdict: Some("development".into()), ..Filter::default() }).await, 1);
    assert_eq!(count(Filter { protocol: Some("adattributionkit".into()), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { since: Some("2100-01-01T00:00:00Z".parse().expect("a time")), ..Filter::default() }).await, 0);
    let latest = apple::list(&db, &Filter::default(), 1, true).await.expect("a list").remove(0);
    assert_eq!(
        (latest.verdict.as_str(), latest.body.as_deref(), latest.fields["network"].as_str()),
        ("invalid", Some("eyAicmF3IjoJMX0="), Some("com.example"))
    );
}

/// The daemon's role stores by the function alone.
#[tokio::test]
async fn the_daemons_role_can_do_this_and_no_more() {
    let database = database().await;
    database.role("pbt_plain_daemon", &["postback_daemon"]).await;
    let db = database.connect_as("pbt_plain_daemon").await;
    assert_eq!(apple::receive(&db, &saying()).await.expect("stored"), Stored::New);
    for sql in ["update postback.apple_postback set won = true", "insert into postback.event (kind, ref, payload) values ('custom', 'x', '{}')"] {
        assert_eq!(fails(&db, sql).await.0, "42501", "{sql}");
    }
}
