//! `postbackd bench` as its user runs it: every figure is there, and the server is afterwards as it was, whatever happened.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_postgres::{Client, NoTls};

use crate::support::{
    daemon::BINARY,
    postgres::{Local, Server},
};

/// Everything that a bench could leave: databases, roles, memberships, settings of either. Sessions too, and the processes
/// behind them: they are waited for.
async fn traces(url: &str) -> Vec<String> {
    let db = connect(url).await;
    let until = Instant::now() + Duration::from_secs(20);
    let sessions = "select count(*) from pg_stat_activity where application_name like 'postbackd%'";
    while db.query_one(sessions, &[]).await.expect("the sessions").get::<_, i64>(0) > 0 {
        assert!(Instant::now() < until, "sessions of a bench are still there after 20 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sql = "select 'database ' || datname from pg_database
         union all select 'role ' || rolname || coalesce(': ' || shobj_description(oid, 'pg_authid'), '') from pg_authid
         union all select 'member ' || roleid::regrole || ' ' || member::regrole from pg_auth_members
         union all select 'setting ' || setdatabase || ' ' || setrole from pg_db_role_setting
          order by 1";
    db.query(sql, &[]).await.expect("the catalogue").iter().map(|row| row.get(0)).collect()
}

async fn connect(url: &str) -> Client {
    let (client, driver) = tokio_postgres::connect(url, NoTls).await.expect("a session");
    tokio::spawn(driver);
    client
}

fn bench(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["bench", "--url", url]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(url: &str, arguments: &[&str]) -> Output {
    let mut command = bench(url, arguments);
    tokio::task::spawn_blocking(move || command.output()).await.expect("a thread").expect("running postbackd")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn server() -> Local {
    Server::private().await
}

const SMALL: [&str; 7] = ["--quick", "--rounds", "1", "--events", "40", "--silence", "1s"];

#[tokio::test]
async fn every_figure_is_measured_and_nothing_stays() {
    let server = server().await;
    let before = traces(server.url()).await;
    let output = run(server.url(), &[&SMALL[..], &["--json", "--checkpoint"]].concat()).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "", "nobody watches, so nothing is told");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let figures = report["figures"].as_array().expect("figures");
    for figure in figures {
        let rounds = figure["rounds"].as_array().expect("rounds");
        // pg_walinspect is not everywhere, and the server may be in a container: then the figure says why it is empty.
        match rounds.len() {
            0 => assert!(figure["median"].is_null() && figure["remark"].is_string(), "{figure}"),
            _ => assert!(figure["median"].is_number() && figure["min"].as_f64() <= figure["max"].as_f64(), "{figure}"),
        }
    }
    let median = |key: &str| figures.iter().find(|figure| figure["key"] == key).and_then(|figure| figure["median"].as_f64());
    for key in [
        "shop.on.captured.ratio",
        "shop.off.captured.ratio",
        "shop.on.captured.wal",
        "drain.ratio",
        "latency.poll.p50",
        "latency.listen.p99",
        "latency.silence.p99",
        "wal.event",
        "wal.receipt",
        "wal.checkpoint.event",
        "wal.single",
        "idle.resident",
    ] {
        assert!(median(key).is_some_and(|value| value > 0.0), "{key}: {:?}\n{report:#}", median(key));
    }
    assert!(median("wal.receipt") > median("wal.event"), "a receipt is a row more");
    assert!(report["machine"]["kernel"].is_string() && report["server"]["settings"][0] == serde_json::json!(["fsync", "on"]), "{report:#}");
    assert_eq!(traces(server.url()).await, before);
}

#[tokio::test]
async fn the_shops_own_schema_is_not_touched() {
    let server = server().await;
    connect(server.url()).await.batch_execute("create database shop").await.expect("a database");
    let shop = format!("{}/shop", server.url().trim_end_matches("/postgres"));
    let installed = Command::new(BINARY).args(["schema", "install", "--url", &shop]).output().expect("running postbackd");
    assert!(installed.status.success(), "{}", stderr(&installed));
    let db = connect(&shop).await;
    db.batch_execute("select postback.purchase('1001', 9.99, 'EUR', '{}')").await.expect("an order");
    let rows = "select (select count(*) from postback.event), (select last_value from postback.event_seq), (select epoch from postback.ingest)";
    let seen = |row: tokio_postgres::Row| (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2));
    let (before, kept) = (traces(server.url()).await, seen(db.query_one(rows, &[]).await.expect("the rows")));
    let output = run(&shop, &["--quick", "--rounds", "1", "--events", "40", "--room", "drain", "--room", "wal"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("DELIVERING A BACKLOG") && table.contains("fsync = on") && !table.contains("SHOP'S"), "{table}");
    assert_eq!(seen(db.query_one(rows, &[]).await.expect("the rows")), kept);
    assert_eq!(traces(server.url()).await, before);
}

/// Waits until the bench is at work in its database of this room, with a daemon where it has one.
async fn at_work(url: &str, room: &str, purpose: &str) {
    let db = connect(url).await;
    let sql = format!("select count(*) from pg_stat_activity where datname like 'postbackd\\_bench\\_%\\_{room}' and application_name = '{purpose}'");
    let until = Instant::now() + Duration::from_secs(60);
    while db.query_one(&sql, &[]).await.expect("the sessions").get::<_, i64>(0) == 0 {
        assert!(Instant::now() < until, "no session {purpose:?} in room {room} within 60 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn interrupted_it_leaves_nothing() {
    let server = server().await;
    let before = traces(server.url()).await;
    for (signal, room, purpose) in
        [("INT", "shop", "postbackd bench shop"), ("TERM", "drain", "postbackd pool"), ("HUP", "latency", "postbackd owner")]
    {
        let running = bench(server.url(), &["--room", room]).spawn().expect("running postbackd");
        at_work(server.url(), room, purpose).await;
        let sent = Command::new("kill").args([&format!("-{signal}"), &running.id().to_string()]).status().expect("kill");
        assert!(sent.success());
        let output = tokio::task::spawn_blocking(move || running.wait_with_output()).await.expect("a thread").expect("waiting");
        assert_eq!(output.status.code(), Some(1), "{signal}: {}", stderr(&output));
        assert!(stderr(&output).contains("interrupted") && output.stdout.is_empty(), "{signal}: {}", stderr(&output));
        assert_eq!(traces(server.url()).await, before, "{signal}");
    }
}

#[tokio::test]
async fn killed_its_processes_go_and_the_next_one_cleans_up() {
    let server = server().await;
    let before = traces(server.url()).await;
    let mut running = bench(server.url(), &["--room", "drain"]).spawn().expect("running postbackd");
    at_work(server.url(), "drain", "postbackd owner").await;
    running.kill().expect("SIGKILL");
    running.wait().expect("waiting");
    assert_ne!(traces(server.url()).await, before, "a bench that was killed cannot clean up");
    let output = run(server.url(), &["--quick", "--rounds", "1", "--events", "40", "--room", "drain"]).await;
    assert!(output.status.success() && stderr(&output).contains("left behind"), "{}", stderr(&output));
    assert_eq!(traces(server.url()).await, before);
}

#[tokio::test]
async fn a_server_that_crashes_meanwhile_is_cleaned_up_too() {
    let server = server().await;
    let before = traces(server.url()).await;
    let running = bench(server.url(), &["--room", "shop"]).spawn().expect("running postbackd");
    at_work(server.url(), "shop", "postbackd bench shop").await;
    server.crash().expect("a crash and a start");
    let output = tokio::task::spawn_blocking(move || running.wait_with_output()).await.expect("a thread").expect("waiting");
    assert!(!output.status.success() && output.stdout.is_empty(), "half a measurement is none: {}", stderr(&output));
    assert_eq!(traces(server.url()).await, before);
}

#[tokio::test]
async fn without_rights_it_says_which_and_does_nothing() {
    let server = server().await;
    let db = connect(server.url()).await;
    db.batch_execute("create role plain login; create role maker login createdb; create role helper login createdb createrole").await.expect("roles");
    let before = traces(server.url()).await;
    let url_as = |role: &str| server.url().replace("postgres@", &format!("{role}@"));
    let refused = async |role: &str, want: &[&str]| {
        let output = run(&url_as(role), &SMALL).await;
        assert_eq!(output.status.code(), Some(1), "{role}: {}", stderr(&output));
        assert!(want.iter().all(|want| stderr(&output).contains(want)), "{role}: {}", stderr(&output));
    };
    refused("plain", &["plain may not create databases", "alter role plain createdb"]).await;
    refused("maker", &["postback_owner, postback_daemon, postback_reader", "may not create them", "alter role maker createrole"]).await;
    assert_eq!(traces(server.url()).await, before);
    let rooms = ["--quick", "--rounds", "1", "--events", "40", "--room", "shop", "--room", "wal", "--json"];
    let output = run(&url_as("helper"), &rooms).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(traces(server.url()).await, before);
    // With the schema in the shop's database the roles are there: membership is enough.
    db.batch_execute("create role postback_owner; create role postback_daemon; create role postback_reader").await.expect("roles");
    refused("maker", &["not a member of postback_owner", "grant postback_owner to maker"]).await;
    db.batch_execute("grant postback_owner to maker").await.expect("a grant");
    let before = traces(server.url()).await;
    let output = run(&url_as("maker"), &rooms).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(traces(server.url()).await, before);
}

#[tokio::test]
async fn a_standby_and_a_second_bench_are_refused() {
    let server = server().await;
    let running = bench(server.url(), &["--room", "shop"]).spawn().expect("running postbackd");
    at_work(server.url(), "shop", "postbackd bench shop").await;
    let second = run(server.url(), &SMALL).await;
    assert!(!second.status.success() && stderr(&second).contains("another postbackd bench"), "{}", stderr(&second));
    let sent = Command::new("kill").args(["-INT", &running.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    tokio::task::spawn_blocking(move || running.wait_with_output()).await.expect("a thread").expect("waiting");

    server.down("fast").expect("a stop");
    std::fs::write(server.directory().join("data/standby.signal"), "").expect("standby.signal");
    server.up().expect("a start as standby");
    let output = run(server.url(), &SMALL).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("standby in recovery") && stderr(&output).contains("primary"), "{}", stderr(&output));
}
