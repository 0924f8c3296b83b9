//! The commands against a real database: what they print, how they end, and what they never say.

use std::process::{Command, Output, Stdio};

use crate::support::{
    daemon::{BINARY, Config, command},
    postgres::{self, Database},
    receiver::{Behaviour, Receiver},
};

const CANARY: &str = "canary-secret-4711";

fn run(database: &Database, arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(["--url", database.url(), "--config", "/nonexistent/postbackd.toml"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("running postbackd")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {}", text(output)))
}

fn exits(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
}

/// A stream of six: what a daemon would have left behind at destination `t`.
async fn history(database: &Database) {
    let client = database.connect().await;
    // Committed before the snapshot is taken, as a reader finds it.
    let said = "
      select postback.purchase(n::text, 10, 'EUR', '{\"email\": \"canary@example.com\", \"gclid\": \"canary-click\"}') from generate_series(1001, 1005) n;
      select postback.refund('1001', 'r1', 4);";
    client.batch_execute(said).await.expect("six events");
    let sql = "
      update postback.ingest set snap = pg_current_snapshot()::text, last_seq = 6;
      insert into postback.log select row_number() over (order by id), id, null, null, now() from postback.event;
      insert into postback.sale (order_ref, generation, event, value, currency, refunded)
        select ref, 1, id, 10, 'EUR', case ref when '1001' then 4 else 0 end from postback.event where kind = 'purchase';
      insert into postback.refund select '1001', 'r1', id, 1, 4, 4 from postback.event where kind = 'refund';
      insert into postback.position (destination, seq, horizon, epoch, started) values ('t', 5, 5, 0, 0);
      insert into postback.attempt select 't', event, 1, seq, now(), case seq when 1 then 'delivered' when 2 then 'skipped' when 5 then 'retry' else 'dead' end,
             case seq when 2 then null else 400 + seq end, 300, case seq when 2 then 'no gclid' else 'HTTP ' || 400 + seq end from postback.log where seq <= 5;
      insert into postback.pending select 't', event, seq, (1000 + seq)::text, case seq when 5 then 'retrying' else 'dead' end, 1,
             case seq when 5 then now() + interval '1 hour' end, now(), 'HTTP ' || 400 + seq from postback.log where seq between 3 and 5;
      insert into postback.tally select 't', date_bin('5 min', now(), '2000-01-01 00:00+00'), outcome, count(*), max(status), max(reason), now()
        from postback.attempt group by outcome;";
    client.batch_execute(sql).await.expect("a history");
}

#[tokio::test]
async fn status_counts_what_waits_and_works_without_a_file() {
    let database = postgres::database().await;
    history(&database).await;
    let output = run(&database, &["status"]);
    exits(&output, 0);
    let shown = text(&output);
    assert!(shown.contains("nobody: no daemon is running") && shown.contains("everything committed is read"), "{shown}");
    let there = &json(&run(&database, &["status", "--json"]))["destinations"][0];
    let want = [("seq", 5), ("waiting", 2), ("retrying", 1), ("dead", 2), ("unknown", 0), ("delivered_hour", 1), ("skipped_hour", 1)];
    for (key, value) in want {
        assert_eq!(there[key], value, "{key} in {there}");
    }
    database.connect().await.batch_execute("select postback.purchase('1006', 10, 'EUR', '{}')").await.expect("one more");
    assert_eq!(json(&run(&database, &["status", "--json"]))["unread"], 1);
}

#[tokio::test]
async fn order_says_what_became_of_every_event() {
    let database = postgres::database().await;
    history(&database).await;
    let order = json(&run(&database, &["order", "1001", "--json"]));
    assert_eq!(order["sales"][0]["refunded"], "4");
    let state = |event: usize| order["events"][event]["deliveries"][0]["state"].as_str().map(str::to_owned);
    assert_eq!((state(0).as_deref(), state(1).as_deref()), (Some("delivered"), Some("waiting")), "{order}");
    assert_eq!(order["events"][1]["refund_ref"], "r1");
    let shown = text(&run(&database, &["order", "1005"]));
    assert!(shown.contains("retrying") && shown.contains("HTTP 405"), "{shown}");
    let unknown = run(&database, &["order", "nobody"]);
    exits(&unknown, 1);
    assert!(text(&unknown).contains("trouble list"), "{}", text(&unknown));
}

#[tokio::test]
async fn actions_are_carried_out_without_a_daemon() {
    let database = postgres::database().await;
    history(&database).await;
    let client = database.connect().await;
    let list = json(&run(&database, &["dead", "list", "--json"]));
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    let event = list[0]["event"].to_string();
    exits(&run(&database, &["dead", "show", &event]), 0);
    let refused = run(&database, &["dead", "retry", "--all"]);
    exits(&refused, 2);
    assert!(text(&refused).contains("would retry 2 dead deliveries") && text(&refused).contains("--yes"), "{}", text(&refused));
    exits(&run(&database, &["dead", "retry"]), 2);
    let retried = run(&database, &["dead", "retry", &event]);
    exits(&retried, 0);
    assert!(text(&retried).contains("1 delivery judged again"), "{}", text(&retried));
    let states = "select count(*) filter (where state = 'dead'), count(*) filter (where state = 'retrying') from postback.pending";
    let row = client.query_one(states, &[]).await.expect("states");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 2));
    exits(&run(&database, &["dead", "discard", "--all", "--yes"]), 0);
    exits(&run(&database, &["dead", "discard", "--all", "--yes"]), 1);

    exits(&run(&database, &["pause", "t"]), 0);
    assert!(text(&run(&database, &["status"])).contains("paused: postbackd resume t"));
    exits(&run(&database, &["resume", "t"]), 0);
    let misspelt = run(&database, &["pause", "T"]);
    exits(&misspelt, 1);
    assert!(text(&misspelt).contains("did you mean t?"), "{}", text(&misspelt));
    exits(&run(&database, &["replay", "--since", "1h", "--yes"]), 0);
    let owner = client.query_one("select owner is null, last_seq from postback.ingest", &[]).await.expect("the ingest row");
    assert_eq!((owner.get::<_, bool>(0), owner.get::<_, i64>(1)), (true, 12), "released, and six more in the stream");
}

#[tokio::test]
async fn an_owner_that_does_not_answer_is_reported_and_the_command_stays() {
    let database = postgres::database().await;
    history(&database).await;
    let owner = database.connect().await;
    owner.query("select pg_advisory_lock(1885501284, 1)", &[]).await.expect("the owner's lock");
    let output = run(&database, &["pause", "t", "--wait", "200ms"]);
    exits(&output, 5);
    let open: i64 = owner.query_one("select count(*) from postback.command where answer is null", &[]).await.expect("commands").get(0);
    assert_eq!(open, 1);
    assert_eq!(json(&run(&database, &["status", "--json"]))["owned"], true);
}

#[tokio::test]
async fn schema_is_installed_shown_and_removed() {
    let database = postgres::bare_database().await;
    let missing = run(&database, &["status"]);
    exits(&missing, 4);
    assert!(text(&missing).contains("schema install"), "{}", text(&missing));
    exits(&run(&database, &["schema", "status"]), 4);
    exits(&run(&database, &["schema", "install"]), 0);
    assert!(text(&run(&database, &["schema", "install"])).contains("already"));
    let status = json(&run(&database, &["schema", "status", "--json"]));
    let newest = status["applied"].as_array().and_then(|applied| applied.last()).map(|row| row["version"].clone());
    assert_eq!((&status["fits"], newest.as_ref()), (&true.into(), Some(&status["wanted"])));
    database.connect().await.batch_execute("select postback.purchase('1', 1, 'EUR', '{}')").await.expect("an event");
    exits(&run(&database, &["schema", "uninstall"]), 2);
    exits(&run(&database, &["schema", "uninstall", "--yes"]), 1);
    exits(&run(&database, &["schema", "uninstall", "--yes", "--force"]), 0);
    exits(&run(&database, &["schema", "uninstall", "--yes"]), 4);
    assert!(text(&run(&database, &["schema", "sql"])).contains("create schema postback"));
}

#[tokio::test]
async fn check_names_every_problem_and_its_fix() {
    let database = postgres::database().await;
    let receiver = Receiver::start();
    let good = Config::new(&database).destination("t", &receiver, &[]);
    let output = command(&good, &["check", "--connect", "--json"]);
    exits(&output, 0);
    let found = json(&output).to_string();
    for want in ["direct connection", "can be reached", "has the daemon's privileges", "is a superuser"] {
        assert!(found.contains(want), "{want}: {found}");
    }
    assert!(!found.contains("PREPARE TRANSACTION"), "{found}");
    let output = command(&good.clone().daemon("wake", "\"listen\""), &["check", "--json"]);
    exits(&output, 0);
    let prepares = database.connect().await.query_one("select current_setting('max_prepared_transactions')::int > 0", &[]).await.expect("a setting");
    assert_eq!(json(&output).to_string().contains("PREPARE TRANSACTION"), prepares.get::<_, bool>(0));
    let long = format!("\"http://trk.example/?x={}&id={{{{ event_id }}}}\"", "x".repeat(2_100));
    let output = command(&Config::new(&database).destination("t", &receiver, &[("url", &long)]), &["check", "--json"]);
    exits(&output, 0);
    let warnings: Vec<String> = json(&output)
        .as_array()
        .expect("findings")
        .iter()
        .filter(|finding| finding["severity"] == "warning")
        .map(|finding| finding["what"].to_string())
        .collect();
    for want in ["destination t: purchase, refund: the URL is about 2200", "destination t: purchase, refund: the URL is not https"] {
        assert!(warnings.iter().any(|what| what.contains(want)), "{want}: {warnings:?}");
    }
    // The credential is tried by the platform's harmless call.
    let meta = |more: &str| {
        let table = "[destination.m]\nplatform = \"meta\"\ndataset = 1\naccess_token = { env = \"PATH\" }\n";
        Config::new(&database).raw(&format!("{table}base_url = \"{}\"\n{more}", receiver.url("/graph")))
    };
    let output = command(&meta(""), &["check", "--connect", "--json"]);
    exits(&output, 0);
    assert!(json(&output).to_string().contains("destination m: the credential works (HTTP 200)"), "{}", text(&output));
    receiver.on("/graph/v26.0/1", Behaviour::body(400, r#"{"error": {"code": 190, "message": "Session has expired"}}"#));
    let output = command(&meta(""), &["check", "--connect", "--json"]);
    exits(&output, 1);
    let found = json(&output).to_string();
    assert!(found.contains("the access token is refused (error 190: Session has expired)") && found.contains("put it into env PATH"), "{found}");
    assert!(!found.contains("/usr/bin"), "the token is in it");
    let bad = Config::new(&database).daemon("pol", "5").destination("t", &receiver, &[("mode", "\"lve\"")]);
    let output = command(&bad, &["check"]);
    exits(&output, 2);
    let shown = text(&output);
    assert!(shown.contains("did you mean poll?") && shown.contains("did you mean live?") && shown.contains("2 errors"), "{shown}");
    database.role("pbt_cli_nobody", &[]).await;
    let output =
        Command::new(BINARY).args(["check", "--url", &database.url_as("pbt_cli_nobody"), "--config", "/nonexistent"]).output().expect("check");
    assert!(text(&output).contains("grant postback_daemon to"), "{}", text(&output));
    assert_ne!(output.status.code(), Some(0));
}

#[tokio::test]
async fn preview_prints_requests_and_no_secret() {
    let database = postgres::database().await;
    let receiver = Receiver::start();
    history(&database).await;
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("token");
    std::fs::write(&secret, CANARY).expect("writing");
    let proxy = format!("{{ file = {secret:?} }}");
    let config = Config::new(&database).destination("t", &receiver, &[("proxy", &proxy)]);
    let output = command(&config, &["preview", "--order", "1001"]);
    exits(&output, 0);
    let shown = text(&output);
    assert!(shown.contains("curl -sS") && shown.contains("purchase-1001"), "{shown}");
    assert!(!shown.contains(CANARY));
    let event = directory.path().join("event.json");
    std::fs::write(&event, r#"{"kind": "purchase", "ref": "77", "value": "5", "currency": "EUR"}"#).expect("writing");
    let output = command(&config, &["preview", "--file", &event.display().to_string(), "--json"]);
    exits(&output, 0);
    assert!(json(&output)[0]["curl"].as_str().is_some_and(|curl| curl.contains("purchase-77")), "{}", text(&output));
}

/// Before the first `run` nobody has read anything, and a preview shows what will be told all the same.
#[tokio::test]
async fn preview_shows_what_no_daemon_has_read_yet() {
    let database = postgres::database().await;
    let receiver = Receiver::start();
    let shop = database.connect().await;
    shop.batch_execute(
        "select postback.purchase('7', 90, 'EUR', '{}'); select postback.refund('7', 'r1', 30); select postback.purchase('7', 90, 'EUR', '{}');
         select postback.emit('lead', '8', '{}')",
    )
    .await
    .expect("four events");
    let config = Config::new(&database).destination("t", &receiver, &[("kinds", "[\"purchase\", \"refund\", \"lead\"]")]);
    let shown = json(&command(&config, &["preview", "--order", "7", "--json"]));
    let url = |n: usize| shown[n]["request"]["url"].as_str().unwrap_or_default();
    assert!(url(0).contains("purchase-7") && url(1).contains("refund-7-r1") && url(1).contains("order=7"), "{shown}");
    assert_eq!(shown[2]["none"], "skipped: said before");
    assert!(text(&command(&config, &["preview", "--order", "8"])).contains("lead-8"));
}

#[tokio::test]
async fn nothing_personal_and_no_password_is_ever_printed() {
    let database = postgres::database().await;
    history(&database).await;
    for arguments in [
        &["status"][..],
        &["order", "1001"],
        &["dead", "list"],
        &["dead", "list", "--json"],
        &["unknown", "list"],
        &["trouble", "list"],
        &["doctor"],
        &["check"],
        &["--help"],
        &["run", "--help"],
    ] {
        let shown = text(&run(&database, arguments));
        assert!(!shown.contains("canary"), "{arguments:?}: {shown}");
    }
    let url = format!("postgres://u:{CANARY}@127.0.0.1:1/d");
    for arguments in [&["status"][..], &["check"], &["status", "--help"]] {
        let output = Command::new(BINARY).args(["--config", "/nonexistent"]).args(arguments).env("POSTBACKD_URL", &url).output().expect("postbackd");
        assert!(!text(&output).contains(CANARY), "{}", text(&output));
    }
    let output = Command::new(BINARY).args(["status", "--url", &url]).output().expect("postbackd");
    exits(&output, 3);
    assert!(!text(&output).contains(CANARY) && text(&output).contains("127.0.0.1:1/d as u"), "{}", text(&output));
}

#[tokio::test]
async fn trouble_is_listed_and_said_again() {
    let database = postgres::database().await;
    let client = database.connect().await;
    client.batch_execute("select postback.purchase('9', 'NaN', 'EUR', '{}')").await.expect("it never raises");
    let list = json(&run(&database, &["trouble", "list", "--json"]));
    let id = list[0]["id"].to_string();
    assert!(list[0].get("message").is_none(), "{list}");
    exits(&run(&database, &["trouble", "retry"]), 2);
    exits(&run(&database, &["trouble", "retry", &id]), 1);
    exits(&run(&database, &["trouble", "retry", &id, "--map", "[]"]), 2);
    let output = run(&database, &["trouble", "retry", &id, "--map", r#"{"amount": "5"}"#, "--json"]);
    exits(&output, 0);
    assert_eq!(json(&output)[0]["said"], true);
    assert_eq!(json(&run(&database, &["trouble", "list", "--json"])), serde_json::json!([]));
}

#[tokio::test]
async fn trouble_that_will_never_be_said_is_discarded() {
    let database = postgres::database().await;
    let client = database.connect().await;
    client.batch_execute("select postback.purchase(ref, 'NaN', 'EUR', '{}') from unnest(array['t1', 't2']) ref").await.expect("it never raises");
    let shown = text(&run(&database, &["trouble", "list"]));
    assert!(!shown.contains("t1") && shown.contains("trouble list --messages"), "{shown}");
    let shown = text(&run(&database, &["trouble", "list", "--messages"]));
    assert!(shown.contains("t1") && shown.contains("value is NaN"), "{shown}");
    let list = json(&run(&database, &["trouble", "list", "--json"]));
    let id = list[0]["id"].to_string();
    exits(&run(&database, &["trouble", "discard"]), 2);
    exits(&run(&database, &["trouble", "discard", &id]), 2);
    assert_eq!(json(&run(&database, &["trouble", "list", "--json"])), list, "nobody was asked");
    let output = run(&database, &["trouble", "discard", &id, "--yes", "--json"]);
    exits(&output, 0);
    assert_eq!(json(&output)["discarded"], serde_json::json!([list[0]["id"]]));
    exits(&run(&database, &["trouble", "discard", &id, "--yes"]), 1);
    let left = json(&run(&database, &["trouble", "list", "--json"]));
    assert_eq!(left, serde_json::json!([list[1]]));
    let row = client
        .query_one("select count(*) filter (where done is not null and answer ~ '^discarded by ') from postback.trouble", &[])
        .await
        .expect("rows");
    assert_eq!(row.get::<_, i64>(0), 1, "it stays, with who did that");
}
