//! `postbackd apple`.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use super::{SKAN, apple, port, post, sample};
use crate::support::{
    daemon::{BINARY, Config, Daemon, command},
    postgres::database,
};

fn verify(body: &[u8], arguments: &[&str]) -> (Output, String) {
    let mut child = Command::new(BINARY)
        .args(["apple", "verify", "-"])
        .args(arguments)
        // What this machine may have is not looked at.
        .env("POSTBACKD_CONFIG", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/postbackd.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("postbackd");
    // Of what is too long it reads no more than it needs.
    let _ = child.stdin.take().expect("piped above").write_all(body);
    let output = child.wait_with_output().expect("an end");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, text)
}

#[test]
fn a_body_is_told_field_by_field_and_judged() {
    let fine = sample("skadnetwork-4.0-fine.json");
    let forged = String::from_utf8(fine.clone()).expect("text").replace("\"5239\"", "\"5238\"").into_bytes();
    let old =
        String::from_utf8(fine.clone()).expect("text").replace("\"4.0\"", "\"2.0\"").replace("\"source-identifier\"", "\"campaign-id\": 5, \"x\"");
    for (body, code, parts) in [
        (
            fine.clone(),
            0,
            &["verified (production): Apple's signature fits", "source_identifier  5239", "source_2           39", "conversion_value   63"][..],
        ),
        (sample("skadnetwork-3.0-lost.json"), 0, &["verified (production)", "another network won"]),
        (
            sample("adattributionkit-development.json"),
            0,
            &["verified (development)", "of a test", "key                apple-development-identifier/1"],
        ),
        (forged, 1, &["invalid: the signature does not fit", "source_identifier  5238"]),
        (old.into_bytes(), 1, &["unverifiable: SKAdNetwork 1.0 and 2.0 are signed on the curve P-192"]),
        (b"{\"version\": 4}".to_vec(), 1, &["malformed: version: a text is expected"]),
        (vec![b' '; 100_000], 1, &["malformed: "]),
    ] {
        let (output, text) = verify(&body, &[]);
        assert_eq!(output.status.code(), Some(code), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }
    let (output, text) = verify(&fine, &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {text}"));
    assert_eq!((&json["verdict"], &json["environment"], &json["fields"]["app"]), (&"verified".into(), &"production".into(), &525_463_029.into()));
    let (output, text) = verify(&fine, &["--protocol", "adattributionkit"]);
    assert!(output.status.code() == Some(1) && text.contains("malformed: jws-string is missing"), "as at the other path: {text}");
    let (output, text) = verify(&fine, &["--config", "/nonexistent.toml"]);
    assert!(output.status.code() == Some(2) && text.contains("/nonexistent.toml"), "{text}");
    let missing = Command::new(BINARY).args(["apple", "verify", "/nonexistent"]).output().expect("postbackd");
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_listed_and_what_came_is_counted() {
    let database = database().await;
    let config = Config::new(&database).raw(&apple("forward = true"));
    let mut daemon = Daemon::start(config.clone()).await;
    let port = port(&daemon).await;
    for name in ["skadnetwork-4.0-fine.json", "skadnetwork-4.0-coarse.json", "skadnetwork-3.0-lost.json", "skadnetwork-4.0-fine.json"] {
        assert_eq!(post(port, SKAN, &sample(name)).await, 200);
    }
    assert_eq!(post(port, SKAN, b"{}").await, 400);
    // The last numbers are written when it stops.
    assert!(daemon.term().await.success(), "{}", daemon.stderr());
    let text = |arguments: &[&str]| {
        let output = command(&config, arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let list = text(&["apple", "list"]);
    assert!(list.contains("49.90 EUR") && list.contains("bought") && list.contains("another network won"), "{list}");
    assert_eq!(list.lines().count(), 4, "{list}");
    assert!(text(&["apple", "list", "--limit", "1"]).contains("1 of 3"));
    assert!(text(&["apple", "list", "--verdict", "invalid"]).contains("no such postback is kept"));
    assert_eq!(text(&["apple", "list", "--app", "525463029", "--protocol", "skadnetwork", "--since", "1h"]).lines().count(), 4);
    let json: serde_json::Value = serde_json::from_str(&text(&["apple", "list", "--json", "--bodies", "--limit", "1"])).expect("JSON");
    assert_eq!(json[0]["fields"]["did_win"], false);
    assert!(json[0]["body"].as_str().is_some_and(|body| body.starts_with("ewog")), "{json}");
    let count = text(&["apple", "count"]);
    let rows: Vec<String> = count.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let wanted = ["skadnetwork malformed missing_key 1", "skadnetwork 3.0 lost 1", "skadnetwork 4.0 duplicate 1", "skadnetwork 4.0 verified 2"];
    assert_eq!(rows[1..], wanted, "{count}");
    assert_eq!(text(&["apple", "count", "--since", "2100-01-01T00:00:00Z"]).trim(), "nothing came");
}
