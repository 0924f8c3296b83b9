//! SIGHUP: what is wrong is refused as a whole, and what works goes on.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::support::{
    daemon::{Config, Daemon, command},
    postgres::{self, Database},
    receiver::Receiver,
};

#[tokio::test]
async fn a_wrong_file_is_refused_at_a_reload_and_the_daemon_goes_on() {
    let database = postgres::database().await;
    let receiver = Receiver::start();
    let good = Config::new(&database).destination("t", &receiver, &[]);
    let mut daemon = Daemon::start(good.clone()).await;
    daemon.configure(good.clone().daemon("settle", "5").daemon("pol", "\"5ms\""));
    daemon.hup();
    daemon.wait_line("not reloaded").await;
    assert!(daemon.stderr().contains("did you mean poll?") && daemon.stderr().contains("a duration with a unit"), "{}", daemon.stderr());
    daemon.configure(good.destination("u", &receiver, &[]));
    daemon.hup();
    daemon.wait_line("configuration reloaded").await;
    daemon.wait_ready().await;
    assert_eq!(daemon.term().await.code(), Some(0), "{}", daemon.stderr());
    assert_eq!(command(&Config::new(&database).daemon("settle", "5"), &["run"]).status.code(), Some(2));
}

async fn session(database: &Database) -> i64 {
    database.connect().await.query_one("select daemon from postback.ingest", &[]).await.expect("a row").get(0)
}

#[tokio::test]
async fn a_wrong_database_is_refused_at_a_reload_and_the_session_goes_on() {
    let (database, bare, receiver) = (postgres::database().await, postgres::bare_database().await, Receiver::start());
    let reader = "pbt_reload_reader";
    database.role(reader, &["postback_reader"]).await;
    let db = database.connect().await;
    let good = Config::new(&database).destination("t", &receiver, &[]).database("expect", "\"shop\"");
    let at = |url: &str| Config::at(url).destination("t", &receiver, &[]).database("expect", "\"shop\"");
    let mut daemon = Daemon::start(good.clone()).await;
    let before = session(&database).await;
    let wrong = [
        (good.clone().database("expect", "\"other\""), "[database] expect is \"other\""),
        (at(bare.url()), "schema postback is not installed"),
        (at(&database.url_as(reader)), "lacks "),
        (at("postgres://nobody@127.0.0.1:9/none"), "127.0.0.1:9/none"),
    ];
    for (n, (config, why)) in wrong.into_iter().enumerate() {
        daemon.configure(config);
        daemon.hup();
        let line = daemon.wait_line(why).await;
        assert!(line.contains("ERROR"), "{line}");
        let order = format!("o{n}");
        db.execute("select postback.purchase($1, 1, 'EUR', '{}')", &[&order]).await.expect("purchase");
        receiver.wait_until("the order", |all| all.iter().any(|arrival| arrival.order() == order)).await;
    }
    assert_eq!(session(&database).await, before, "{}", daemon.stderr());
    // What is right is taken, also where the way to the database changes.
    daemon.configure(good.clone().database("pool", "2").destination("u", &receiver, &[]));
    daemon.hup();
    daemon.wait_line("configuration reloaded").await;
    daemon.wait_line("a new session begins").await;
    db.execute("select postback.purchase('last', 1, 'EUR', '{}')", &[]).await.expect("purchase");
    receiver.wait_until("the order at both", |all| all.iter().filter(|arrival| arrival.order() == "last").count() == 2).await;
    assert!(daemon.term().await.success(), "{}", daemon.stderr());
}

#[tokio::test]
async fn a_client_that_cannot_be_made_is_refused_at_a_reload() {
    let (database, receiver, directory) = (postgres::database().await, Receiver::start(), tempfile::tempdir().expect("a directory"));
    let good = Config::new(&database).destination("t", &receiver, &[]);
    let mut daemon = Daemon::start(good.clone()).await;
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, "no certificate").expect("a file");
    daemon.configure(good.clone().destination("t", &receiver, &[("ca", &format!("{:?}", ca.display().to_string()))]));
    daemon.hup();
    daemon.wait_line("not reloaded").await;
    daemon.configure(good.destination("u", &receiver, &[]));
    daemon.hup();
    daemon.wait_ready().await;
    assert!(daemon.term().await.success(), "{}", daemon.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_reload() {
    let (database, receiver) = (postgres::database().await, Receiver::start());
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let good = Config::new(&database).destination("t", &receiver, &[]);
    let mut daemon = Daemon::start(good).await;
    let url = format!("postgres://nobody@{}/none", silent.local_addr().expect("bound"));
    daemon.configure(Config::at(&url).destination("t", &receiver, &[]).database("connect_timeout", "\"60s\""));
    daemon.hup();
    let asked = tokio::time::timeout(Duration::from_secs(30), silent.accept()).await.expect("it is asked").expect("a connection");
    assert!(daemon.term().await.success(), "{}", daemon.stderr());
    drop(asked);
}
