//! `[alert]`: somebody outside hears once that something needs a person, and once that it is over, whoever owns the outbox by then.

use std::time::Duration;

use serde_json::Value;

use crate::{
    sending::Stage,
    support::{
        daemon::Daemon,
        receiver::{Behaviour, Receiver},
    },
};

/// What a webhook got: what, where, stage.
fn heard(hook: &Receiver) -> Vec<(String, String, String)> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let arrival = |body: &[u8]| {
        let value: Value = serde_json::from_slice(body).expect("a document");
        (text(&value, "what"), text(&value, "destination"), text(&value, "stage"))
    };
    hook.log().iter().filter(|arrival| arrival.taken()).map(|one| arrival(&one.body)).collect()
}

fn alert(what: &str, stage: &str) -> (String, String, String) {
    (what.to_owned(), "d".to_owned(), stage.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_once_across_restarts_and_once_when_it_is_over() {
    let stage = Stage::new().await;
    let hook = Receiver::start();
    // The first time nobody listens properly: that is told again, by whoever owns the outbox then.
    hook.next("/hook/canary-path", [Behaviour::status(500)]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("told");
    let more = format!(
        "[alert]\nwebhook = \"{}\"\ncommand = [\"/bin/sh\", \"-c\", \"cat >> {}; test -e {}\"]\ncalm = \"0s\"\n",
        hook.url("/hook/canary-path"),
        file.display(),
        directory.path().join("works").display()
    );
    stage.receiver.script(|arrival| (arrival.order() == "bad").then(|| Behaviour::status(400)));
    let config = stage.config(&[]).raw(&more);
    let mut daemon = Daemon::start(config.clone()).await;
    stage.shop("select postback.purchase('bad', 1, 'EUR', '{\"email\": \"canary@shop.example\"}'), postback.purchase('good', 1, 'EUR', '{}')").await;
    hook.wait_within(Duration::from_secs(40), "a first try", |log| !log.is_empty()).await;
    let told = daemon.wait_line("an alert could not be told").await;
    assert!(told.contains("HTTP 500") && !told.contains("canary"), "{told}");
    daemon.kill9();
    std::fs::write(directory.path().join("works"), "").expect("writing");
    daemon.again().await;
    hook.wait_within(Duration::from_secs(40), "the alert", |log| log.iter().any(|arrival| arrival.taken())).await;
    assert_eq!(heard(&hook), [alert("dead", "raised")]);
    stage.until("select string_agg(what, ',') from postback.alert", "dead").await;
    // Whoever owns it next knows; and something new is told then.
    assert!(daemon.term().await.success());
    stage.shop("update postback.position set halted = 'canary of a platform'").await;
    daemon.again().await;
    hook.wait_within(Duration::from_secs(40), "the second alert", |log| log.iter().filter(|arrival| arrival.taken()).count() >= 2).await;
    assert_eq!(heard(&hook), [alert("dead", "raised"), alert("halted", "raised")]);
    for what in [r#"{"do": "discard-dead", "select": {}}"#, r#"{"do": "resume", "destination": "d"}"#] {
        stage.command(what).await;
    }
    hook.wait_within(Duration::from_secs(60), "the end of both", |log| log.iter().filter(|arrival| arrival.taken()).count() >= 4).await;
    let mut over = heard(&hook)[2..].to_vec();
    over.sort();
    assert_eq!(over, [alert("dead", "over"), alert("halted", "over")]);
    stage.until("select count(*) from postback.alert", "0").await;
    let said = std::fs::read_to_string(&file).expect("what the program got");
    assert!(said.lines().count() >= 4 && said.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{said}");
    for text in [
        said,
        daemon.stderr(),
        String::from_utf8_lossy(&hook.log().iter().flat_map(|arrival| arrival.body.clone()).collect::<Vec<u8>>()).into_owned(),
    ] {
        assert!(!text.contains("canary"), "{text}");
    }
}
