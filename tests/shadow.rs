//! A changed configuration over past events: what differs is named, and nothing is sent or written.

use serde_json::{Value, json};

use crate::support::{
    daemon::{Config, Daemon, command},
    postgres,
    receiver::Receiver,
};

fn shown(config: &Config, arguments: &[&str]) -> Value {
    let output = command(config, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_configuration_is_compared_with_the_one_in_force() {
    let database = postgres::database().await;
    let receiver = Receiver::start();
    let shop = database.connect().await;
    let old = Config::new(&database).destination("kept", &receiver, &[]).destination("old", &receiver, &[]).destination("gone", &receiver, &[]);
    let mut daemon = Daemon::start(old.clone()).await;
    shop.batch_execute(
        "select postback.purchase('1001', 10.50, 'EUR', '{\"gclid\": \"abc\"}'); select postback.purchase('1002', 7, 'EUR', '{}');
         select postback.refund('1001', 'r1', 2.25);",
    )
    .await
    .expect("three events");
    receiver.wait_for(9).await;
    assert!(daemon.term().await.success());
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("new.toml");
    let new = Config::new(&database)
        .destination("kept", &receiver, &[("when", "\"kind == 'refund' or value > 8\"")])
        .destination("renamed", &receiver, &[("was", "\"old\""), ("headers", "{ X-Shop = \"de\" }")])
        .destination("more", &receiver, &[]);
    std::fs::write(&file, new.toml()).expect("writing");
    let file = file.display().to_string();
    let before: i64 = shop.query_one("select count(*) from postback.attempt", &[]).await.expect("a count").get(0);

    let all = shown(&old, &["shadow", &file, "--json"]);
    assert_eq!((&all["events"], &all["limited"]), (&json!(3), &json!(false)), "{all:#}");
    let of = |name: &str, what: &str| all["destinations"][name][what].as_u64();
    let numbers = |name: &str| ["same", "changed", "begins", "ends"].map(|what| of(name, what).unwrap_or(99));
    // URLs hold the destination's name, so that a renamed one differs there.
    assert_eq!(numbers("kept"), [2, 0, 0, 1], "{all:#}");
    assert_eq!(numbers("renamed"), [0, 3, 0, 0], "{all:#}");
    assert_eq!(numbers("gone"), [0, 0, 0, 3], "{all:#}");
    assert_eq!(numbers("more"), [0, 0, 3, 0], "{all:#}");
    assert_eq!(all["destinations"].as_object().map(|all| all.len()), Some(4), "the old name has no entry of its own: {all:#}");
    let row =
        |name: &str, what: &str| all["destinations"][name]["rows"].as_array().and_then(|rows| rows.iter().find(|row| row["what"] == what)).cloned();
    let header = row("renamed", "header X-Shop").unwrap_or_else(|| panic!("{all:#}"));
    assert_eq!((&header["events"], &header["before"], &header["after"]), (&json!(3), &Value::Null, &json!("de")));
    let skipped = row("kept", "request").unwrap_or_else(|| panic!("{all:#}"));
    assert_eq!((&skipped["reference"], &skipped["before"]), (&json!("1002"), &json!("sent")));

    let one = shown(&old, &["shadow", &file, "--json", "--destination", "more", "--limit", "2"]);
    assert_eq!((&one["events"], &one["limited"], &one["destinations"]["more"]["begins"]), (&json!(2), &json!(true), &json!(2)), "{one:#}");
    let text = command(&old, &["shadow", &file]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("more: 0 as before, 3 sent that were not") && text.contains("header X-Shop"), "{text}");

    assert_eq!(command(&old, &["shadow", &file, "--destination", "nobody"]).status.code(), Some(2));
    assert_eq!(command(&old, &["shadow", &file, "--since", "2100-01-01T00:00:00Z"]).status.code(), Some(1));
    let after: i64 = shop.query_one("select count(*) from postback.attempt", &[]).await.expect("a count").get(0);
    assert_eq!((after, receiver.log().len()), (before, 9), "it sent or wrote something");
}
