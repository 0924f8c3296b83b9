//! The real daemon, spoken to over TCP as devices, web servers and strangers do.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{AAK, SKAN, apple, port, post, post_from, read_status, sample, status};
use crate::support::{
    daemon::{Config, Daemon},
    postgres::{Database, database},
    proxy::{Fate, Proxy},
    receiver::Receiver,
    sql::{all, one, run},
};

const FINE: &str = "skadnetwork-4.0-fine.json";
const DEVELOPMENT: &str = "adattributionkit-development.json";

async fn kept(database: &Database) -> Vec<String> {
    let sql = "select concat_ws(' ', version, verdict, environment, identifier::text, case when event is null then '-' else 'said' end)
                 from postback.apple_postback order by identifier, verdict";
    all(&database.connect().await, sql).await
}

/// Numbers are written every two seconds.
async fn counted(database: &Database, verdict: &str, want: i64) {
    let db = database.connect().await;
    let sql = format!("select coalesce(sum(count), 0)::bigint from postback.apple_count where verdict = '{verdict}'");
    let began = Instant::now();
    loop {
        let found = one::<i64>(&db, &sql).await;
        if found == want {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{verdict} was counted {found} times and not {want}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until(db: &tokio_postgres::Client, question: &str) {
    let began = Instant::now();
    while !one::<bool>(db, question).await {
        assert!(began.elapsed() < Duration::from_secs(30), "not within 30 s: {question}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A daemon that has taken a postback, and somebody who then locks the table of them until his transaction ends.
async fn behind_a_lock() -> (Database, Daemon, u16, tokio_postgres::Client) {
    let database = database().await;
    let daemon = Daemon::start(Config::new(&database).raw(&apple(""))).await;
    let port = port(&daemon).await;
    assert_eq!(post(port, SKAN, &sample("skadnetwork-3.0.json")).await, 200);
    let holder = database.connect().await;
    run(&holder, "begin").await;
    run(&holder, "lock table postback.apple_postback in share mode").await;
    (database, daemon, port, holder)
}

/// How many of the listener's statements wait for a lock.
const WAITING: &str =
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%apple_receive%'";

#[tokio::test(flavor = "multi_thread")]
async fn what_devices_send_is_kept_once_and_what_others_send_is_not_believed() {
    let database = database().await;
    database.role("pbt_plain_daemon", &["postback_daemon"]).await;
    let config = Config::through(&database, &database.url_as("pbt_plain_daemon")).raw(&apple("forward = true"));
    let mut daemon = Daemon::start(config).await;
    let port = port(&daemon).await;
    for name in ["skadnetwork-2.2.json", "skadnetwork-3.0.json", "skadnetwork-3.0-lost.json", FINE, "skadnetwork-4.0-coarse.json", FINE] {
        assert_eq!(post(port, SKAN, &sample(name)).await, 200, "{name}");
    }
    // Two of Apple's samples have one identifier; who lost is told so and counts nowhere.
    let wanted = [
        "2.2 verified production 6aafb7a5-0170-41b5-bbe4-fe71dedf1e28 said",
        "4.0 verified production 6aafb7a5-0170-41b5-bbe4-fe71dedf1e30 said",
        "4.0 verified production 6aafb7a5-0170-41b5-bbe4-fe71dedf1e31 said",
        "3.0 verified production f9ac267a-a889-44ce-b5f7-0166d11461f0 -",
    ];
    assert_eq!(kept(&database).await, wanted);
    assert_eq!(post(port, SKAN.trim_end_matches('/'), &sample(FINE)).await, 200, "without the slash");
    assert_eq!(post(port, AAK, &sample(DEVELOPMENT)).await, 200, "of a test, and of another app");
    let forged = String::from_utf8(sample(FINE)).expect("text").replace("1e30", "1e3f");
    assert_eq!(post(port, SKAN, forged.as_bytes()).await, 200, "so that nobody comes again");
    assert_eq!(kept(&database).await.len(), 5, "a forged one is kept to be looked at");
    for (path, body, want) in [
        (SKAN, "", 400),
        (SKAN, "{", 400),
        (SKAN, "{\"version\":\"4.0\"}", 400),
        (AAK, std::str::from_utf8(&sample(FINE)).expect("text"), 400),
        ("/", "{}", 404),
        ("/metrics", "{}", 404),
        ("/.well-known/skadnetwork/report-attribution/x", "{}", 404),
        (SKAN, &"x".repeat(20_000), 413),
    ] {
        assert_eq!(post(port, path, body.as_bytes()).await, want, "{path}");
    }
    assert_eq!(status(port, format!("GET {SKAN} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await, 404);
    let chunked = format!("POST {SKAN} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4e20\r\n{}\r\n0\r\n\r\n", "x".repeat(20_000));
    assert_eq!(status(port, chunked.as_bytes()).await, 413, "whatever length is announced");
    assert_eq!(kept(&database).await.len(), 5);
    for (verdict, want) in [("verified", 3), ("lost", 1), ("duplicate", 3), ("unknown_app", 1), ("invalid", 1), ("malformed", 6)] {
        counted(&database, verdict, want).await;
    }
    assert!(daemon.term().await.success(), "{}", daemon.stderr());
    let log = daemon.stderr();
    assert!(!log.contains("6aafb7a5") && !log.contains("lost the database") && !log.contains("42501"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_postback_from_everywhere_at_once_is_one() {
    let database = database().await;
    let daemon = Daemon::start(Config::new(&database).raw(&apple("forward = true"))).await;
    let port = port(&daemon).await;
    let mut posts = tokio::task::JoinSet::new();
    for _ in 0..24 {
        posts.spawn(async move { post(port, SKAN, &sample(FINE)).await });
    }
    assert!(posts.join_all().await.iter().all(|status| *status == 200), "{}", daemon.stderr());
    let db = database.connect().await;
    assert_eq!(one::<i64>(&db, "select count(*) from postback.apple_postback").await, 1);
    assert_eq!(one::<i64>(&db, "select count(*) from postback.event").await, 1);
    counted(&database, "duplicate", 23).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_is_taken_and_keeps_the_port() {
    let database = database().await;
    let base = |more: &str| Config::new(&database).raw(&apple(more));
    let mut daemon = Daemon::start(base("")).await;
    let port = port(&daemon).await;
    assert_eq!(post(port, AAK, &sample(DEVELOPMENT)).await, 200);
    assert_eq!(kept(&database).await, Vec::<String>::new());
    daemon.configure(base("app.10738027756 = { name = \"Other\" }\ndevelopment = true\nforward = true\n"));
    daemon.hup();
    daemon.wait_line("configuration reloaded").await;
    assert_eq!(post(port, AAK, &sample(DEVELOPMENT)).await, 200, "at the same port");
    assert_eq!(kept(&database).await, ["verified development 85546eb7-fd39-44bc-8990-c98a4ac36a49 -"], "a test is never said");
}

/// Nothing is answered with 200 that is not kept; what a lost answer leaves open comes again and is one all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_comes_again_when_the_database_is_away() {
    let database = database().await;
    let proxy = Proxy::start(&database).await;
    let receiver = Receiver::start();
    let config = Config::through(&database, &proxy.url())
        .destination("d", &receiver, &[])
        .raw(&apple("forward = true\ndevelopment = true\napp.10738027756.name = \"Other\""));
    let daemon = Daemon::start(config).await;
    let port = port(&daemon).await;
    let fate =
        |fate: Fate| move |asked: &crate::support::proxy::Asked<'_>| if asked.sql.contains("apple_receive") { fate.clone() } else { Fate::Pass };
    proxy.script(fate(Fate::CutRequest));
    assert_eq!(post(port, SKAN, &sample(FINE)).await, 503);
    assert_eq!(post(port, AAK, &sample(DEVELOPMENT)).await, 500, "of which alone Apple says that the device comes again");
    assert_eq!(kept(&database).await, Vec::<String>::new());
    proxy.script(fate(Fate::Swallow));
    let silent = tokio::spawn(async move { post(port, SKAN, &sample(FINE)).await });
    // Meanwhile the outbox goes on.
    run(&database.connect().await, "select postback.purchase('1', 9, 'EUR', '{}')").await;
    receiver.wait_for(1).await;
    assert_eq!(silent.await.expect("no panic"), 503);
    proxy.script(fate(Fate::CutAnswer));
    assert_eq!(post(port, SKAN, &sample(FINE)).await, 503, "kept, but nobody heard it");
    proxy.script(fate(Fate::Pass));
    for (path, name) in [(SKAN, FINE), (AAK, DEVELOPMENT), (SKAN, FINE)] {
        assert_eq!(post(port, path, &sample(name)).await, 200, "{}", daemon.stderr());
    }
    let db = database.connect().await;
    assert_eq!(one::<i64>(&db, "select count(*) from postback.apple_postback").await, 2);
    assert_eq!(one::<i64>(&db, "select count(*) from postback.event where kind <> 'purchase'").await, 1);
    counted(&database, "failed", 4).await;
    assert!(!daemon.stderr().contains("lost the database"), "{}", daemon.stderr());
}

/// Somebody holds the table, for an index or a look at it. What waits for him ends at the server too: eight devices would else leave a
/// backend behind with every try, until the shop gets no connection any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_costs_the_shop_no_connections() {
    let (database, daemon, port, holder) = behind_a_lock().await;
    for _ in 0..2 {
        let tries = futures_util::future::join_all((0..8).map(|_| async { post(port, SKAN, &sample(FINE)).await })).await;
        assert_eq!(tries, [503; 8]);
    }
    assert_eq!(one::<i64>(&database.connect().await, WAITING).await, 0, "of sixteen that were told to come again");
    run(&holder, "commit").await;
    assert_eq!(post(port, SKAN, &sample(FINE)).await, 200, "{}", daemon.stderr());
}

/// A device that hangs up does not hold a connection's statement against the next one, and is counted.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_went_away_are_counted_too() {
    let (database, _daemon, port, holder) = behind_a_lock().await;
    let body = sample(FINE);
    let head = format!("POST {SKAN} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("writing");
    until(&database.connect().await, &format!("select ({WAITING}) > 0")).await;
    drop(stream);
    run(&holder, "commit").await;
    counted(&database, "verified", 2).await;
}

/// Numbers whose answer is lost are sent again: nobody knows whether they were written.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_count_once_whatever_becomes_of_the_answer() {
    let database = database().await;
    let proxy = Proxy::start(&database).await;
    let daemon = Daemon::start(Config::through(&database, &proxy.url()).raw(&apple(""))).await;
    let port = port(&daemon).await;
    let fate = |fate: Fate| move |asked: &crate::support::proxy::Asked<'_>| if asked.sql.contains("apple_count") { fate.clone() } else { Fate::Pass };
    proxy.script(fate(Fate::CutAnswer));
    assert_eq!(post(port, SKAN, &sample(FINE)).await, 200);
    counted(&database, "verified", 1).await;
    daemon.wait_line("could not be written down yet").await;
    proxy.script(fate(Fate::Pass));
    assert_eq!(post(port, SKAN, b"{").await, 400);
    counted(&database, "malformed", 1).await;
    let written = "select sum(count)::bigint from postback.apple_count where verdict = 'verified'";
    assert_eq!(one::<i64>(&database.connect().await, written).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_many_clients_have_an_end_and_the_outbox_goes_on() {
    let (database, receiver) = (database().await, Receiver::start());
    let config = Config::new(&database).destination("d", &receiver, &[]).raw(&apple("connections = 8"));
    let daemon = Daemon::start(config).await;
    let port = port(&daemon).await;
    let mut slow = Vec::new();
    for n in 0..8 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        let half = match n {
            0..4 => format!("POST {SKAN} HTTP/1.1\r\nHost: shop.example\r\nX-"),
            4..6 => format!("POST {SKAN} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 500\r\n\r\n{{"),
            _ => format!("POST {AAK} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 500\r\n\r\n{{"),
        };
        stream.write_all(half.as_bytes()).await.expect("writing");
        slow.push(stream);
    }
    // Until all eight were accepted a ninth may still come in.
    let began = Instant::now();
    while post(port, SKAN, &sample(FINE)).await == 200 {
        assert!(began.elapsed() < Duration::from_secs(4), "the ninth is served");
    }
    let db = database.connect().await;
    for n in 0..20 {
        run(&db, &format!("select postback.purchase('{n}', 9, 'EUR', '{{}}')")).await;
    }
    receiver.wait_for(20).await;
    let ends = futures_util::future::join_all(slow.iter_mut().map(read_status)).await;
    assert!(ends[..4].iter().all(|status| *status == 0 || *status == 408), "{ends:?}");
    assert_eq!(ends[4..], [408, 408, 500, 500], "each as it is brought to come again");
    assert!(began.elapsed() < Duration::from_secs(25), "they were given {:?}", began.elapsed());
    let began = Instant::now();
    while post(port, SKAN, &sample(FINE)).await != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "their places are free again");
    }
    let turned_away = "select count(*) >= 2 from postback.apple_count where verdict = 'limited' and count > 0
                        and (protocol, reason) in (('unknown', 'connections'), ('adattributionkit', 'too_slow'))";
    until(&db, turned_away).await;
}

/// Forged ones as fast as eight clients can, until the outbox has delivered what the shop said meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_bodies_fills_no_disk_and_holds_nobody_up() {
    let (database, receiver) = (database().await, Receiver::start());
    let config = Config::new(&database).destination("d", &receiver, &[]).raw(&apple("keep_unverified = 5"));
    let daemon = Daemon::start(config).await;
    let port = port(&daemon).await;
    let forged = String::from_utf8(sample(FINE)).expect("text").replace("com.example", "com.forged");
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let forged = forged.clone();
        flood.spawn(async move {
            loop {
                let status = post(port, SKAN, forged.as_bytes()).await;
                assert!([200, 429].contains(&status), "{status}");
            }
        });
    }
    let db = database.connect().await;
    for n in 0..50 {
        run(&db, &format!("select postback.purchase('{n}', 9, 'EUR', '{{}}')")).await;
    }
    receiver.wait_for(50).await;
    // They go on until they are told to stop.
    assert!(flood.try_join_next().is_none(), "{}", daemon.stderr());
    flood.shutdown().await;
    let rows = one::<i64>(&db, "select count(*) from postback.apple_postback").await;
    // Two at the same time may both have been the fifth.
    assert!((1..=6).contains(&rows), "{rows} are kept");
    assert_eq!(one::<i64>(&db, "select count(*) from postback.trouble").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_the_others_place() {
    let database = database().await;
    let daemon = Daemon::start(Config::new(&database).raw(&apple("per_address = 3"))).await;
    let port = port(&daemon).await;
    let from = async |address: &str, path: &str| post_from(port, path, &sample(FINE), &format!("X-Forwarded-For: {address}\r\n")).await;
    for _ in 0..3 {
        assert_eq!(from("198.51.100.7", SKAN).await, 200);
    }
    assert_eq!(from("198.51.100.7", SKAN).await, 429, "a device comes again after it");
    assert_eq!(from("198.51.100.7", AAK).await, 500, "of which alone Apple says that the device comes again");
    for before in ["1.1.1.1", "caf\u{e9}", "\u{9}"] {
        assert_eq!(from(&format!("{before}, 198.51.100.7"), SKAN).await, 429, "what a client writes itself helps nothing");
    }
    assert_eq!(from("203.0.113.9", SKAN).await, 200);
    assert_eq!(post(port, SKAN, &sample(FINE)).await, 200, "a web server that tells no address is not one address");
    counted(&database, "limited", 5).await;
    assert!(!daemon.stderr().contains("198.51.100.7"), "addresses are not logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_postbacks_too() {
    let database = database().await;
    let _owner = Daemon::start(Config::new(&database).daemon("instance", "\"a\"")).await;
    let standby = Daemon::spawn(Config::new(&database).daemon("instance", "\"b\"").raw(&apple("forward = true"))).await;
    standby.wait_line("standing by").await;
    assert_eq!(post(port(&standby).await, SKAN, &sample(FINE)).await, 200);
    assert_eq!(kept(&database).await, ["4.0 verified production 6aafb7a5-0170-41b5-bbe4-fe71dedf1e30 said"]);
}

/// A port that somebody else has is no reason not to deliver.
#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_waited_for_and_nothing_else_is() {
    let (database, receiver) = (database().await, Receiver::start());
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = taken.local_addr().expect("bound");
    let toml = apple("").replace("127.0.0.1:0", &at.to_string());
    let daemon = Daemon::start(Config::new(&database).destination("d", &receiver, &[]).raw(&toml)).await;
    daemon.wait_line("cannot listen for Apple's postbacks").await;
    run(&database.connect().await, "select postback.purchase('1', 9, 'EUR', '{}')").await;
    receiver.wait_for(1).await;
    drop(taken);
    assert_eq!(post(port(&daemon).await, SKAN, &sample(FINE)).await, 200);
}
