//! What `/metrics`, `/ready` and `postbackd health` say is what happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use postbackd::{
    http::{self, Transport as _},
    request::{Method, Request},
};
use serde_json::{Value, json};

use crate::{
    sending::Stage,
    support::{
        daemon::{Config, Daemon, command},
        receiver::Behaviour,
    },
};

const TOKEN: &str = "canary-token-0123456789";

async fn get(address: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let mut request = Request::new(Method::Get, format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.with(name, *value);
    }
    let answer = http::Client::direct().expect("a client").send(request, Duration::from_secs(30)).await.expect("an answer");
    assert!(!answer.cut, "{path} is long");
    (answer.status, answer.header("content-type").unwrap_or_default().to_owned(), String::from_utf8(answer.body).expect("text"))
}

/// Samples by name and labels, with every line judged by the format.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    let mut typed = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(typed.insert(rest.split(' ').next().expect("a name").to_owned()), "two TYPE lines: {line}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let name = sample.split('{').next().expect("a name");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).filter(|name| typed.contains(*name)).unwrap_or(name);
        assert!(typed.contains(family), "no TYPE before {line}");
        assert!(all.insert(sample.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}"))).is_none(), "twice: {line}");
    }
    all
}

async fn scraped(address: &str) -> BTreeMap<String, f64> {
    let (status, kind, text) = get(address, "/metrics", &[]).await;
    assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"), "{text}");
    samples(&text)
}

/// What the database says is up to two seconds old.
async fn until(address: &str, what: &str, holds: impl Fn(&BTreeMap<String, f64>) -> bool) -> BTreeMap<String, f64> {
    let began = Instant::now();
    loop {
        let have = scraped(address).await;
        if holds(&have) {
            return have;
        }
        assert!(began.elapsed().as_secs() < 30, "not {what} within 30 s: {have:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn web(config: Config, more: &str) -> Config {
    config.raw(&format!("[web]\nlisten = \"127.0.0.1:0\"\n{more}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| match arrival.order().as_str() {
        "bad" => Some(Behaviour::status(400)),
        "late" if arrival.n < 3 => Some(Behaviour::status(503)),
        _ => None,
    });
    let daemon = Daemon::start(web(stage.config(&[("retry", "{ first = \"100ms\", max = \"1s\" }"), ("click", "[\"gclid\"]")]), "")).await;
    let address = daemon.web().await;
    stage
        .shop(
            "select postback.purchase('good', 10, 'EUR', '{\"gclid\": \"g\"}'), postback.purchase('bad', 10, 'EUR', '{\"gclid\": \"g\"}'),
                    postback.purchase('none', 10, 'EUR', '{}'), postback.refund('good', 'r', 1), postback.emit('lead', 'l', '{}')",
        )
        .await;
    stage.settled().await;
    let delivered = |outcome: &str, kind: &str| {
        format!("postbackd_deliveries_total{{destination=\"d\",platform=\"postback\",kind=\"{kind}\",outcome=\"{outcome}\"}}")
    };
    let have = until(&address, "all on record", |have| {
        have.get("postbackd_pending_events{destination=\"d\",state=\"dead\"}") == Some(&1.0)
            && have.get(&delivered("delivered", "refund")) == Some(&1.0)
    })
    .await;
    let of = |name: &str| *have.get(name).unwrap_or_else(|| panic!("no {name}: {have:#?}"));
    assert_eq!((of(&delivered("delivered", "purchase")), of(&delivered("dead", "purchase")), of(&delivered("skipped", "purchase"))), (1.0, 1.0, 1.0));
    assert_eq!((of("postbackd_events_read_total{kind=\"purchase\"}"), of("postbackd_events_read_total{kind=\"lead\"}")), (3.0, 1.0));
    assert_eq!(of("postbackd_requests_total{destination=\"d\",purpose=\"deliver\",class=\"4xx\"}"), 1.0);
    assert_eq!(of("postbackd_requests_total{destination=\"d\",purpose=\"deliver\",class=\"2xx\"}"), 2.0);
    assert_eq!(of("postbackd_event_to_delivered_seconds_count{destination=\"d\"}"), 2.0);
    assert_eq!(of("postbackd_event_to_first_attempt_seconds_count{destination=\"d\"}"), 3.0);
    assert_eq!((of("postbackd_owner"), of("postbackd_owned"), of("postbackd_database_up"), of("postbackd_ready")), (1.0, 1.0, 1.0, 1.0));
    assert_eq!(of("postbackd_breaker_state{destination=\"d\",state=\"closed\"}"), 1.0);
    assert_eq!((of("postbackd_oldest_undelivered_seconds{destination=\"d\"}"), of("postbackd_trouble_rows")), (0.0, 0.0));
    // What is promised to be there is: every name that is described and not about what this daemon does not have.
    let absent = [
        "postbackd_alert_hooks_total",
        "postbackd_paid_orders_without_event",
        "postbackd_listen_up",
        "postbackd_api_version_ends_timestamp_seconds",
        "postbackd_token_ends_timestamp_seconds",
        "postbackd_tokens_missed_total",
        "postbackd_apple_postbacks_total",
    ];
    for one in postbackd::metrics::names::ALL {
        assert_eq!(have.keys().any(|sample| sample.starts_with(one.name)), !absent.contains(&one.name), "{}", one.name);
    }
    // Where Prometheus' own tool is at hand it judges the text too.
    if let Some(promtool) = std::env::var_os("POSTBACKD_TEST_PROMTOOL") {
        let text = get(&address, "/metrics", &[]).await.2;
        let mut tool = Command::new(promtool).args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("promtool");
        tool.stdin.take().expect("its input").write_all(text.as_bytes()).expect("writing");
        let said = tool.wait_with_output().expect("its end");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    }
    assert!(have.len() < 300, "{} samples for one destination", have.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_says_whether_deliveries_move_and_why_not() {
    let stage = Stage::new().await;
    let config = web(stage.config(&[("retry", "{ first = \"100ms\", max = \"1s\" }")]), "overdue = \"1s\"\n");
    let daemon = Daemon::start(config).await;
    let address = daemon.web().await;
    until(&address, "ready", |have| have.get("postbackd_ready") == Some(&1.0)).await;
    let health = |address: &str| {
        let config = stage.config(&[]).raw(&format!("[web]\nlisten = \"{address}\"\n"));
        let output = command(&config, &["health"]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    assert_eq!(health(&address), (Some(0), "ready\n".to_owned()));
    stage.receiver.always(Behaviour::status(503));
    stage.shop("select postback.purchase('1', 1, 'EUR', '{}')").await;
    let have = until(&address, "overdue", |have| have.get("postbackd_ready") == Some(&0.0)).await;
    assert!(have["postbackd_oldest_overdue_seconds{destination=\"d\"}"] >= 1.0);
    let (status, kind, text) = get(&address, "/ready", &[("Accept", "application/json")]).await;
    let said: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (status, kind.as_str(), said["reasons"][0]["what"].as_str(), said["reasons"][0]["destination"].as_str()),
        (503, "application/json", Some("overdue"), Some("d")),
        "{text}"
    );
    let (code, text) = health(&address);
    assert!(code == Some(1) && text.starts_with("not ready\nthe oldest event for d has been due for"), "{code:?} {text}");
    // A pause is as it should be.
    assert!(stage.command(r#"{"do": "pause", "destination": "d"}"#).await.starts_with("d paused"));
    until(&address, "ready again", |have| have.get("postbackd_ready") == Some(&1.0)).await;
    drop(daemon);
    let (code, text) = health(&address);
    assert!(code == Some(1) && text.contains("no daemon answers at http://127.0.0.1"), "{code:?} {text}");
    assert_eq!(command(&stage.config(&[]), &["health"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_metrics_say_so_and_the_rest_goes_on() {
    let stage = Stage::new().await;
    let proxy = crate::support::proxy::Proxy::start(&stage.database).await;
    let config = web(Config::through(&stage.database, &proxy.url()).destination("d", &stage.receiver, &[]), "");
    let daemon = Daemon::start(config).await;
    let address = daemon.web().await;
    until(&address, "up", |have| have.get("postbackd_database_up") == Some(&1.0)).await;
    proxy.freeze("");
    let have = until(&address, "away", |have| have.get("postbackd_database_up") == Some(&0.0)).await;
    assert_eq!((have["postbackd_ready"], have.get("postbackd_trouble_rows")), (0.0, None), "what is not known is not told");
    assert_eq!(get(&address, "/live", &[]).await.0, 200);
    let (status, _, text) = get(&address, "/ready", &[]).await;
    assert!(status == 503 && text.starts_with("not ready\ndatabase: "), "{text}");
    proxy.thaw();
    until(&address, "up again", |have| have.get("postbackd_ready") == Some(&1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_asked_for_and_strangers_names_are_refused() {
    let stage = Stage::new().await;
    let daemon = Daemon::start(web(stage.config(&[]), &format!("token = \"{TOKEN}\"\n"))).await;
    let address = daemon.web().await;
    for (headers, status) in [
        (&[][..], 401),
        (&[("Authorization", "Bearer wrong-token-0123456789")], 401),
        (&[("Authorization", TOKEN)], 401),
        (&[("Authorization", "Bearer canary-token-0123456789")], 200),
        (&[("Authorization", "Bearer canary-token-0123456789"), ("Host", "shop.example")], 200),
    ] {
        let (got, _, text) = get(&address, "/metrics", headers).await;
        assert!(got == status && !text.contains("canary"), "{headers:?}: {got} {text}");
    }
    // Whether it is ready is no secret; why not is.
    stage.shop("update postback.position set halted = 'token of canary is dead', seq = seq").await;
    let (_, _, text) = get(&address, "/ready", &[]).await;
    assert!(text.lines().count() == 1, "{text}");
    drop(daemon);
    let daemon = Daemon::start(web(stage.config(&[]), "")).await;
    let address = daemon.web().await;
    assert_eq!(get(&address, "/metrics", &[("Host", "evil.example")]).await.0, 401);
    assert_eq!(get(&address, "/metrics", &[("Host", "localhost:1")]).await.0, 200);
}

/// What people read, what Prometheus is told to watch and what a dashboard shows are the names that there are.
#[test]
fn documents_and_examples_name_what_there_is() {
    let path = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let here = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let all = postbackd::metrics::names::ALL;
    let table = here("docs/metrics.md");
    for one in all {
        let labels: Vec<String> = one.labels.iter().map(|label| format!("`{label}`")).collect();
        let line = format!("| `{}` | {} | {} | {} |", one.name, one.metric.as_str(), labels.join(", "), one.help);
        assert!(table.contains(&line), "docs/metrics.md lacks:\n{line}");
    }
    let known = |name: &str| {
        all.iter().any(|one| one.name == name || name.strip_prefix(one.name).is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end)))
    };
    for file in ["docs/metrics.md", "docs/runbook.md", "examples/alerts.yml", "tests/alerts_test.yml", "examples/grafana.json", "README.md"] {
        let text = here(file);
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|word| word.starts_with("postbackd_"));
        let unknown: Vec<&str> = words.filter(|word| !known(word) && !word.starts_with("postbackd_bench")).collect();
        assert!(unknown.is_empty(), "{file} names what there is not: {unknown:?}");
    }
    let (rules, runbook, tried) = (here("examples/alerts.yml"), here("docs/runbook.md"), here("tests/alerts_test.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 12);
    for alert in &alerts {
        assert!(runbook.contains(&format!("\n## {alert}\n")), "docs/runbook.md says nothing of {alert}");
        let link = format!("runbook_url: \"docs/runbook.md#{}\"", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} has no link");
        assert!(tried.contains(&link), "tests/alerts_test.yml never has {alert} fire");
    }
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(sections.filter(|section| !alerts.contains(section)).collect::<Vec<_>>(), Vec::<&str>::new());
    let dashboard: Value = serde_json::from_str(&here("examples/grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() > 10 && panels.iter().all(|panel| panel["targets"][0]["expr"].is_string()));
    let asked = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("what a panel asks"));
    let asked: Vec<&str> = asked.map(|target| target["expr"].as_str().expect("an expression")).collect();
    // Where Prometheus' own tool is at hand it reads what the dashboard asks, and tries the rules.
    let Some(promtool) = std::env::var_os("POSTBACKD_TEST_PROMTOOL") else { return };
    let rule = |(at, expr): (usize, &&str)| format!("  - record: panel{at}\n    expr: {}\n", json!(expr.replace("$shop", ".*")));
    let dashboard = format!("groups:\n- name: dashboard\n  rules:\n{}", asked.iter().enumerate().map(rule).collect::<String>());
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("dashboard.yml");
    std::fs::write(&file, dashboard).expect("writing");
    for (what, file) in [("check", file), ("check", path("examples/alerts.yml")), ("test", path("tests/alerts_test.yml"))] {
        let said = Command::new(&promtool).args([what, "rules"]).arg(file).output().expect("promtool");
        assert!(said.status.success(), "{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    }
}
