//! The daemon with nothing but membership in `postback_daemon`, a dashboard with nothing but `postback_reader`, and a shop
//! whose own role has no right at all.

use std::{process::Command, time::Duration};

use crate::support::{
    daemon::{BINARY, Config, Daemon},
    postgres::database,
    receiver::{Behaviour, Receiver},
    shop, sql,
};

#[tokio::test(flavor = "multi_thread")]
async fn membership_in_postback_daemon_is_all_that_the_daemon_needs() {
    let (database, receiver) = (database().await, Receiver::start());
    shop::install(&database).await;
    let db = database.connect().await;
    database.role("pbt_plain_daemon", &["postback_daemon"]).await;
    database.role("pbt_plain_shop", &[]).await;
    sql::run(&db, "grant usage on schema shop to pbt_plain_shop; grant select, insert, update on all tables in schema shop to pbt_plain_shop").await;
    let alone = "select count(*) = 1 and bool_and(not rolsuper and not rolcreaterole and not rolcreatedb and rolconnlimit = -1)
                   from pg_roles r join pg_auth_members m on m.member = r.oid where rolname = 'pbt_plain_daemon'";
    assert!(sql::one::<bool>(&db, alone).await, "the role has more than this test is about");

    receiver.next("/d", [Behaviour::status(400)]);
    let config = Config::through(&database, &database.url_as("pbt_plain_daemon")).destination("d", &receiver, &[]).daemon("wake", "\"listen\"");
    let mut daemon = Daemon::start(config.clone()).await;
    let shop = database.connect_as("pbt_plain_shop").await;
    // A dead letter, which a person has sent again; a refund behind it; a late click; an order that is taken back.
    sql::run(&shop, "insert into shop.orders (id) values ('1'), ('2'); select shop.pay('1', 1250)").await;
    receiver.wait_for(1).await;
    until(&db, "select exists (select from postback.pending where state = 'dead')", &daemon).await;
    let path = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(path.path(), config.toml()).expect("writing the configuration");
    let run = |arguments: &[&str]| {
        let output = Command::new(BINARY).arg("--config").arg(path.path()).args(arguments).output().expect("postbackd");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {text}\n{}", daemon.stderr());
        text
    };
    run(&["dead", "retry", "--all", "--yes"]);
    sql::run(&shop, "select shop.give_back('1', 250, 'r1'); update shop.orders set gclid = 'c' where id = '1'; select shop.pay('2', 300)").await;
    receiver.wait_until("the refund", |log| log.iter().any(|arrival| arrival.id() == "refund-1-r1" && arrival.taken())).await;
    sql::run(&shop, "update shop.orders set state = 'cancelled' where id = '2'").await;
    // A column of another type breaks the shop's open session; the daemon makes the trigger anew and says what was missed.
    sql::run(&db, "alter table shop.payment alter column amount type numeric(14, 4)").await;
    sql::run(&shop, "insert into shop.orders (id) values ('3'); select shop.pay('3', 400)").await;
    receiver.wait_until("the order of the broken trigger", |log| log.iter().any(|arrival| arrival.order() == "3" && arrival.taken())).await;
    for arguments in [
        &["status"][..],
        &["order", "1"],
        &["order", "1", "--json"],
        &["trouble", "list"],
        &["dead", "list"],
        &["unknown", "list"],
        &["schema", "status"],
        &["preview", "--order", "1"],
        &["pause", "d"],
        &["resume", "d"],
        &["replay", "--since", "1h", "--yes"],
        &["check", "--connect"],
    ] {
        run(arguments);
    }
    assert!(daemon.term().await.success(), "{}", daemon.stderr());
    // Without the daemon a command takes the lock itself.
    let output = Command::new(BINARY).arg("--config").arg(path.path()).args(["pause", "d"]).output().expect("postbackd");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = daemon.stderr();
    let refused: Vec<&str> =
        log.lines().filter(|line| line.contains("42501") || line.contains("permission") || line.contains("lost the database")).collect();
    assert!(refused.is_empty(), "{refused:?}\n{log}");
}

#[tokio::test]
async fn a_dashboard_reads_everything_but_people_and_writes_nothing() {
    let database = database().await;
    database.role("pbt_plain_reader", &["postback_reader"]).await;
    let reader = database.connect_as("pbt_plain_reader").await;
    sql::run(&database.connect().await, "select postback.purchase('1', 9, 'EUR', '{\"email\": \"a@example.com\"}')").await;
    for readable in [
        "select id, kind, ref, refund_ref, event_id, value, currency, refunded_total, \"full\", occurred_at from postback.said",
        "select txid, id, kind, ref, occurred_at from postback.event",
        "select id, at, what, tab, operation, sqlstate, event, tries, done from postback.trouble",
        "select order_ref, generation, event, value, currency, refunded, retracted, who_seq from postback.sale",
        "select * from postback.log",
        "select * from postback.refund",
        "select * from postback.once",
        "select * from postback.position",
        "select * from postback.attempt",
        "select * from postback.pending",
        "select * from postback.ingest",
        "select * from postback.attached",
        "select * from postback.migration",
        "select id, received_at, protocol, version, verdict, reason, environment, identifier, sequence, app, won, fields, event from postback.apple_postback",
        "select * from postback.apple_count",
        "select * from postback.apple_writer",
        "select postback.event_id('purchase', '1')",
    ] {
        sql::run(&reader, readable).await;
    }
    for hidden in [
        "select who from postback.said",
        "select more from postback.said",
        "select * from postback.event",
        "select payload from postback.event",
        "select who from postback.sale",
        "select new_row from postback.trouble",
        "select message from postback.trouble",
        "select postback.purchase('2', 9, 'EUR', '{}')",
        "insert into postback.command (what) values ('{\"do\": \"pause\", \"destination\": \"d\"}')",
        "insert into postback.log (seq, event, at) values (1, 1, now())",
        "update postback.position set paused = true",
        "update postback.ingest set epoch = 0",
        "delete from postback.attempt",
        "delete from postback.event",
        "select nextval('postback.event_seq')",
        "select postback.off()",
        "select * from postback.heal()",
        "select body from postback.apple_postback",
        "delete from postback.apple_postback",
        "delete from postback.apple_count",
    ] {
        let (state, message, _) = sql::fails(&reader, hidden).await;
        assert_eq!(state, "42501", "{hidden}: {message}");
    }
}

async fn until(db: &tokio_postgres::Client, question: &str, daemon: &Daemon) {
    let began = std::time::Instant::now();
    while !sql::one::<bool>(db, question).await {
        assert!(began.elapsed() < Duration::from_secs(30), "not true after 30 s: {question}\n{}", daemon.stderr());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
