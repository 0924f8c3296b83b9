//! From the listener through the outbox to those that ask for it, and to nobody else.

use super::{SKAN, apple, port, post, sample};
use crate::support::{
    daemon::{Config, Daemon},
    postgres::database,
    receiver::{Behaviour, Receiver},
    sql::{all, run},
};

const FINE: &str = "skadnetwork-4.0-fine.json";

#[tokio::test(flavor = "multi_thread")]
async fn postbacks_are_told_as_they_came_or_by_a_template_and_only_where_they_are_wanted() {
    let (database, receiver) = (database().await, Receiver::start());
    // The first try fails, so that the body is built again for the second.
    receiver.next(SKAN, [Behaviour::status(503)]);
    let relay = format!(
        "[destination.relay]\nplatform = \"apple_relay\"\nbase_url = \"{}\"\nprotocols = [\"skadnetwork\"]\nstart = \"beginning\"\n[destination.relay.retry]\nfirst = \"100ms\"\n",
        receiver.url("")
    );
    let url = format!(
        "'{}?kind={{{{ kind }}}}&value={{{{ amount }}}}{{{{ currency }}}}&cv={{{{ more.apple.conversion_value }}}}&campaign={{{{ more.apple.source_2 }}}}&what={{{{ more.apple.meaning }}}}'",
        receiver.url("/template")
    );
    let own = [("kinds", "[\"install\"]"), ("refunds", "\"none\"")];
    let config = Config::new(&database)
        .destination("template", &receiver, &[("apple", "true"), ("kinds", "[\"install\"]"), ("refunds", "\"none\""), ("url", &url)])
        .destination("own", &receiver, &own)
        .raw(&relay)
        .raw(&apple("forward = true"));
    let daemon = Daemon::start(config).await;
    // White space and order are the device's own: a body that was written anew would differ.
    let body = String::from_utf8(sample(FINE)).expect("text").replacen('{', "{\t\"unknown\" : [ 1.50 ],\r\n", 1).into_bytes();
    assert_eq!(post(port(&daemon).await, SKAN, &body).await, 200);
    let db = database.connect().await;
    run(&db, "select postback.emit('install', 'phone-1', '{}')").await;
    receiver.wait_until("the shop's own install", |log| log.iter().any(|arrival| arrival.path == "/own" && arrival.taken())).await;
    receiver.wait_until("the relay", |log| log.iter().filter(|arrival| arrival.path == SKAN).count() == 2).await;
    // The shop's own install goes there too, and may come first.
    let whole = "kind=install&value=49.90EUR&cv=63&campaign=39&what=bought";
    receiver.wait_until("the template", |log| log.iter().any(|arrival| arrival.path == "/template" && arrival.raw_query == whole)).await;
    for arrival in receiver.at(SKAN) {
        assert_eq!((arrival.method.as_str(), arrival.header("content-type")), ("POST", Some("application/json")));
        assert_eq!(&arrival.body[..], &body[..], "not the bytes that came");
    }
    assert_eq!(receiver.at("/own").len(), 1);
    let skipped = "select destination || ' ' || outcome || ' ' || reason from postback.attempt where outcome = 'skipped' order by 1";
    let began = std::time::Instant::now();
    let want = ["own skipped Apple's postback: not wanted here without apple = true", "relay skipped no postback of Apple's"];
    while all::<String>(&db, skipped).await.iter().filter(|line| !line.starts_with("template")).ne(want) {
        assert!(began.elapsed().as_secs() < 30, "{:?}\n{}", all::<String>(&db, skipped).await, daemon.stderr());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // What came again is not told again; and a shop may have a word "apple" of its own.
    assert_eq!(post(port(&daemon).await, SKAN, &body).await, 200);
    run(&db, "select postback.emit('install', 'phone-2', '{}', '{\"apple\": {\"pay\": true}}')").await;
    receiver.wait_until("the next install", |log| log.iter().filter(|arrival| arrival.path == "/own").count() == 2).await;
    assert_eq!((receiver.at(SKAN).len(), receiver.at("/template").iter().filter(|arrival| arrival.raw_query.contains("cv=63")).count()), (2, 1));
}
