//! A pool in transaction mode between everything of ours and the server: what works, what is refused and how it is explained.

use std::{
    collections::BTreeSet,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::{
    crash::may_repeat,
    support::{
        daemon::{BINARY, Config, Daemon, command},
        pgbouncer::PgBouncer,
        postgres::{Database, bare_database, database},
        receiver::{Behaviour, Receiver},
        rng::{self, Rng},
        settled::{self, Run},
        shop::{self, Load},
        sql::one,
    },
};

/// The daemon's login role.
const ROLE: &str = "pbt_pooled";

async fn pooled(keys: &[&str]) -> (Database, PgBouncer) {
    let database = database().await;
    database.role(ROLE, &["postback_daemon"]).await;
    let pool = PgBouncer::start(&database, &[ROLE], keys).await;
    (database, pool)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a client of the pool must find as it was, whoever had the server process before: settings, prepared statements,
/// channels listened to, advisory locks.
const STATE: &str = "select concat_ws(' ', current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'),
    current_setting('idle_session_timeout'), current_setting('synchronous_commit'), current_setting('search_path'), current_setting('enable_seqscan'),
    current_setting('enable_sort'), current_setting('jit'), current_setting('transaction_read_only'), current_setting('client_min_messages'),
    nullif(current_setting('postback.guarded', true), ''), nullif(current_setting('postback.enabled', true), ''), nullif(current_setting('postback.retry', true), ''),
    (select count(*) from pg_prepared_statements), (select count(*) from pg_listening_channels()),
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()))";

async fn state(url: &str) -> Result<String, tokio_postgres::Error> {
    let (client, driver) = tokio_postgres::connect(url, NoTls).await?;
    let driver = tokio::spawn(driver);
    let found = client.simple_query(STATE).await?.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    drop(client);
    let _ = driver.await;
    Ok(found.expect("a row"))
}

/// Another client of the same pool, which looks all the time. Gives what it found beside `usual`, and how often it looked.
async fn neighbour(url: String, usual: String, stop: Arc<AtomicBool>) -> (BTreeSet<String>, u64) {
    let (mut found, mut looks) = (BTreeSet::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        match state(&url).await {
            Ok(state) if state == usual => looks += 1,
            Ok(state) => drop(found.insert(state)),
            // The pooler is away just now.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    (found, looks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_once_and_nothing_stays_behind_in_the_pool() {
    let seed = rng::seed("through a pool");
    let mut rng = Rng::new(seed);
    let (database, mut pool) = pooled(&[]).await;
    shop::install(&database).await;
    let receiver = Receiver::start();
    receiver.script(|arrival| {
        let status = if arrival.n % 23 == 5 { 503 } else { 200 };
        Some(Behaviour::status(status).after(Duration::from_millis(arrival.n as u64 * 7 % 12)))
    });
    let url = pool.url_as(&database, ROLE);
    let usual = state(&url).await.expect("a look before");
    let config = Config::at(&url).direct(&database.url_as(ROLE)).destination("safe", &receiver, &[("resend", "\"safe\"")]).destination(
        "once",
        &receiver,
        &[("resend", "\"never\"")],
    );
    let names = config.names();
    let client = database.connect().await;
    let mut daemon = Daemon::start(config).await;
    let stop = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn(neighbour(url, usual, Arc::clone(&stop)));
    let running = shop::start(&database, &Load::new(seed).paused(Duration::from_millis(300))).await;
    let mut allowed = BTreeSet::new();
    for round in 0..12 {
        // Random instants are the point here.
        tokio::time::sleep(Duration::from_millis(200 + rng.below(500))).await;
        assert!(daemon.ended().is_none(), "postbackd ended by itself in round {round}\n{}", daemon.stderr());
        match round % 3 {
            0 => {
                daemon.kill9();
                may_repeat(&client, &mut allowed).await;
                daemon.again().await;
            }
            1 => {
                pool.down();
                pool.up().await;
            }
            _ => {
                // What was asked for is carried out by the daemon while it works.
                let asked = "insert into postback.command (what) values ('{\"do\": \"pause\", \"destination\": \"safe\"}'), ('{\"do\": \"resume\", \"destination\": \"safe\"}')";
                client.batch_execute(asked).await.expect("asking");
            }
        }
    }
    let record = running.stop().await;
    settled::wait(&client, &names, &record, Duration::from_secs(120)).await;
    stop.store(true, Ordering::Relaxed);
    let (found, looks) = looking.await.expect("the neighbour");
    println!("{} events, {} may be repeated, the neighbour looked {looks} times", record.committed.len(), allowed.len());
    let run = Run { record: &record, receiver: &receiver, allowed: &allowed };
    settled::assert_kept(&client, &run, "safe").await;
    settled::assert_kept_at_most_once(&client, &run, "once").await;
    assert!(looks > 100, "the neighbour looked only {looks} times");
    assert!(found.is_empty(), "another client of the pool found {found:#?}");
    assert!(daemon.term().await.success());
    let left =
        "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(one::<i64>(&client, left).await, 0, "a lock was left behind");
}

/// Waits for the end; a daemon that runs is one that was not refused.
async fn ends(config: &Config, arguments: &[&str]) -> Output {
    let (config, arguments): (Config, Vec<String>) = (config.clone(), arguments.iter().map(|word| (*word).to_owned()).collect());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("postbackd.toml");
    std::fs::write(&path, config.toml()).expect("writing the configuration");
    let mut child = Command::new(BINARY);
    child.arg("--config").arg(&path).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("starting postbackd");
    let until = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("waiting").is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            panic!("it still runs: {}", text(&child.wait_with_output().expect("its output")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.wait_with_output().expect("its output")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_takes_no_lock_through_a_pool_and_says_what_to_do() {
    let receiver = Receiver::start();
    // Also where the pool has one place, and where it takes turns.
    for keys in [["default_pool_size = 1"], ["server_round_robin = 1"], ["min_pool_size = 3"]] {
        let (database, pool) = pooled(&keys).await;
        let config = Config::at(&pool.url_as(&database, ROLE)).destination("d", &receiver, &[]);
        let also_pooled = config.clone().direct(&pool.url_as(&database, ROLE));
        for config in [&config, &also_pooled] {
            let refused = ends(config, &["run"]).await;
            let said = text(&refused);
            assert_eq!(refused.status.code(), Some(2), "{keys:?}: {said}");
            assert!(said.contains("is a pool in transaction mode") && said.contains("direct = "), "{keys:?}: {said}");
        }
        let db = database.connect().await;
        let locks = "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";
        assert_eq!((one::<i64>(&db, "select epoch from postback.ingest").await, one::<i64>(&db, locks).await), (0, 0), "{keys:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_at_another_database_is_no_lock() {
    let (database, pool) = pooled(&[]).await;
    let (receiver, other) = (Receiver::start(), crate::support::postgres::database().await);
    let config = Config::at(&pool.url_as(&database, ROLE)).direct(&other.url_as(ROLE)).destination("d", &receiver, &[]);
    let refused = ends(&config, &["run"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(text(&refused).contains("lead to different databases") && text(&refused).contains(other.name()), "{}", text(&refused));
    assert!(text(&command(&config, &["check"])).contains("lead to different databases"));
    let db = other.connect().await;
    assert_eq!(one::<i64>(&db, "select epoch from postback.ingest").await, 0, "it has not become the owner there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listen_goes_by_the_direct_connection() {
    let (database, pool) = pooled(&[]).await;
    let receiver = Receiver::start();
    // By polling alone every order but the first would wait for about a second.
    let config = Config::at(&pool.url_as(&database, ROLE)).direct(&database.url_as(ROLE)).destination("d", &receiver, &[]);
    let config = config.daemon("wake", "\"listen\"").daemon("poll", "\"1s\"").daemon("poll_idle", "\"10s\"");
    let _daemon = Daemon::start(config).await;
    let db = database.connect().await;
    let listening = "select count(*) from pg_stat_activity where application_name = 'postbackd listen' and datname = current_database() and state = 'idle' and query like 'listen%'";
    let until = Instant::now() + Duration::from_secs(20);
    while one::<i64>(&db, listening).await == 0 {
        assert!(Instant::now() < until, "nobody listens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    for order in ["1", "2", "3", "4", "5", "6"] {
        db.batch_execute(&format!("select postback.purchase('{order}', 1, 'EUR', '{{}}')")).await.expect("an order");
        receiver.wait_until("the order", |log| log.iter().any(|arrival| arrival.order() == order)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(3), "nobody was woken: {:?}", began.elapsed());
    assert_eq!(
        one::<i64>(&db, "select count(*) from pg_stat_activity where application_name = 'postbackd listen'  and datname = current_database()").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_what_works_through_a_pool_and_what_needs_a_session() {
    let (database, pool) = pooled(&["default_pool_size = 1"]).await;
    let url = pool.url_as(&database, ROLE);
    let alone = command(&Config::at(&url), &["check", "--connect"]);
    let said = text(&alone);
    assert_eq!(alone.status.code(), Some(2), "{said}");
    assert!(
        said.contains("url is a pool in transaction mode")
            && said.contains("\"postbackd run\" will not start")
            && said.contains("set [database] direct"),
        "{said}"
    );
    let both = command(&Config::at(&url).direct(&database.url_as(ROLE)), &["check", "--connect"]);
    let said = text(&both);
    assert_eq!(both.status.code(), Some(0), "{said}");
    assert!(said.contains("statements go through it") && said.contains("lock and LISTEN have a session"), "{said}");
    let wrong = command(&Config::at(&url).direct("postgres://u@127.0.0.1:1/d"), &["check"]);
    assert!(wrong.status.code() == Some(3) && text(&wrong).contains("127.0.0.1:1/d"), "{}", text(&wrong));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_in_session_mode_is_as_good_as_none() {
    let (database, pool) = pooled(&["pool_mode = session", "default_pool_size = 20"]).await;
    let receiver = Receiver::start();
    let config = Config::at(&pool.url_as(&database, ROLE)).destination("d", &receiver, &[]);
    let said = text(&command(&config, &["check"]));
    assert!(said.contains("keeps one server process for one client") && said.contains("lock and LISTEN have a session"), "{said}");
    let db = database.connect().await;
    db.batch_execute("select postback.purchase('1', 1, 'EUR', '{}')").await.expect("an order");
    let output = ends_after_delivery(&config, &receiver).await;
    assert!(output.contains("owner of the outbox"), "{output}");
}

/// A daemon by that configuration, until something arrived; what it said.
async fn ends_after_delivery(config: &Config, receiver: &Receiver) -> String {
    let mut daemon = Daemon::spawn(config.clone()).await;
    receiver.wait_for(1).await;
    assert!(daemon.term().await.success(), "{}", daemon.stderr());
    daemon.stderr()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_works_through_a_pool_of_one_place() {
    let database = bare_database().await;
    let pool = PgBouncer::start(&database, &[], &["default_pool_size = 1"]).await;
    let receiver = Receiver::start();
    let config = Config::at(&pool.url()).direct(database.url()).destination("d", &receiver, &[]);
    let works = |arguments: &[&str]| {
        // Twice: what is left behind in the pool's one session meets the next.
        for _ in 0..2 {
            let output = command(&config, arguments);
            assert!(matches!(output.status.code(), Some(0)), "{arguments:?}: {:?} {}", output.status, text(&output));
        }
    };
    for arguments in [&["schema", "install", "--app-role", "pg_monitor"][..], &["schema", "upgrade"], &["schema", "status"]] {
        works(arguments);
    }
    let db = database.connect().await;
    db.batch_execute("select postback.purchase('1001', 10, 'EUR', '{}'), postback.purchase(null, 1, 'EUR', '{}')")
        .await
        .expect("an order, and trouble");
    let mut daemon = Daemon::start(config.clone()).await;
    receiver.wait_for(1).await;
    for arguments in [
        &["status"][..],
        &["order", "1001"],
        &["trouble", "list"],
        &["dead", "list"],
        &["unknown", "list"],
        &["preview", "--order", "1001"],
        &["pause", "d"],
        &["resume", "d"],
        &["check"],
    ] {
        if arguments != ["check"] {
            works(arguments);
        }
    }
    works(&["replay", "--since", "1h", "--yes"]);
    let trouble = command(&config, &["trouble", "retry", "1", "--map", r#"{"ref": "1002"}"#]);
    assert!(trouble.status.success(), "{}", text(&trouble));
    receiver.wait_until("what was in trouble", |log| log.iter().any(|arrival| arrival.order() == "1002")).await;
    assert!(text(&command(&config, &["doctor"])).contains("nothing is attached"));
    assert!(daemon.term().await.success());
    // Without a daemon the command becomes the owner itself, by the direct connection.
    works(&["pause", "d"]);
    let through_the_pool = command(&Config::at(&pool.url()), &["resume", "d", "--wait", "1s"]);
    assert_eq!(through_the_pool.status.code(), Some(5), "{}", text(&through_the_pool));
    assert!(text(&through_the_pool).contains("is a pool in transaction mode"), "{}", text(&through_the_pool));
    let removed = command(&config, &["schema", "uninstall", "--yes", "--force"]);
    assert!(removed.status.success(), "{}", text(&removed));
}
