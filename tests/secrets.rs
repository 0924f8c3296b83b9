//! A secret and a buyer's data with values that cannot be mistaken, through success, failure, refusal, death and halt, while
//! the platform echoes everything that it got: none of them is in any log line, in what a command prints, or in a table that
//! is not meant to hold it.

use std::{process::Command, time::Duration};

use serde_json::Value;

use crate::support::{
    daemon::{BINARY, Config, Daemon},
    postgres::{Database, database},
    receiver::{Arrival, Behaviour, Receiver},
    sql,
};

/// What only the daemon and the platform know.
const SECRETS: [&str; 4] = ["canary-bearer-7f3a", "canary-query-51c2", "canary-signing-90de", "canary-proxy-44b8"];
/// The password of the daemon's role.
const PASSWORD: &str = "canary-password-6d20";
/// What only the shop's database and the platform know.
const PERSON: [&str; 7] =
    ["canary.buyer@example.com", "+49155canary199", "Canaryanne", "Canaryson", "203.0.113.213", "CanaryAgent/7.1", "Canarytown"];
/// Personal too, and kept with what was said, because a refund must repeat it.
const CLICK: &str = "canary-click-b71e";

const ROLE: &str = "pbt_secrets_daemon";

fn who() -> Value {
    serde_json::json!({
        "email": PERSON[0], "phone": PERSON[1], "first_name": PERSON[2], "last_name": PERSON[3], "ip": PERSON[4], "user_agent": PERSON[5],
        "city": PERSON[6], "gclid": CLICK, "consent": {"ad_user_data": "denied"},
    })
}

/// Everything that came, so that whatever is taken over from an answer is taken over from this one.
fn echo(status: u16, arrival: &Arrival) -> Behaviour {
    let body =
        format!("{{\"error\": \"bad {} {:?} {}\"}}", arrival.raw_query, arrival.headers, String::from_utf8_lossy(&arrival.body)).replace('\\', "");
    Behaviour::body(status, body).header("x-echo", &arrival.raw_query.replace(|c: char| !c.is_ascii_graphic(), ""))
}

struct Stage {
    database: Database,
    receiver: Receiver,
    directory: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let (database, receiver) = (database().await, Receiver::start());
        database.role(ROLE, &["postback_daemon"]).await;
        let db = database.connect().await;
        db.batch_execute(&format!("alter role {ROLE} password '{PASSWORD}'")).await.expect("its password");
        receiver.script(|arrival| {
            Some(match arrival.path.as_str() {
                "/failing" => echo(503, arrival),
                "/refusing" => echo(400, arrival),
                "/halting" => echo(401, arrival),
                "/resetting" => Behaviour::ResetAfterBody,
                _ => echo(200, arrival),
            })
        });
        Self { database, receiver, directory: tempfile::tempdir().expect("a directory") }
    }

    fn secret(&self, name: &str, value: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, value).expect("writing a secret");
        format!("{{ file = {:?} }}", path.display().to_string())
    }

    fn config(&self) -> Config {
        let bearer = format!("{{ bearer = {} }}", self.secret("bearer", SECRETS[0]));
        let query = format!("{{ query = {{ name = \"key\", value = {} }} }}", self.secret("query", SECRETS[1]));
        let proxy = self.secret("proxy", &format!("http://buyer:{}@127.0.0.1:1", SECRETS[3]));
        let sign = format!("{{ over = \"query\", key = {}, name = \"sig\", in = \"query\" }}", self.secret("signing", SECRETS[2]));
        let told = "&e={{ who.email }}&p={{ who.phone }}&n={{ who.first_name }}&l={{ who.last_name }}&i={{ who.ip }}&u={{ who.user_agent }}&t={{ who.city }}&c={{ who.gclid }}";
        let url = |name: &str| format!("'{}?{}{told}'", self.receiver.url(&format!("/{name}")), crate::support::daemon::QUERY);
        let broken = |name: &str, what: &str| format!("'{}?x={{{{ {what} }}}}'", self.receiver.url(&format!("/{name}")));
        let quick = ("retry", "{ first = \"100ms\", max = \"1s\" }");
        let through = self.database.url_as(ROLE).replace("postbackd-test", PASSWORD);
        Config::through(&self.database, &through)
            .destination("good", &self.receiver, &[("allow_pii", "true"), ("url", &url("good")), ("auth", &bearer), ("sign", &sign)])
            .destination("failing", &self.receiver, &[("allow_pii", "true"), ("url", &url("failing")), ("auth", &query), quick])
            .destination("refusing", &self.receiver, &[("allow_pii", "true"), ("url", &url("refusing")), ("auth", &query)])
            .destination("halting", &self.receiver, &[("allow_pii", "true"), ("url", &url("halting")), ("auth", &bearer)])
            .destination("resetting", &self.receiver, &[("allow_pii", "true"), ("url", &url("resetting")), ("auth", &query), ("resend", "\"never\"")])
            .destination(
                "away",
                &self.receiver,
                &[("allow_pii", "true"), ("url", &url("away").replace("127.0.0.1", "canary.invalid")), ("proxy", &proxy), quick],
            )
            .destination("consent", &self.receiver, &[("allow_pii", "true"), ("url", &url("consent")), ("consent", "[\"ad_user_data\"]")])
            .destination("unnumbered", &self.receiver, &[("allow_pii", "true"), ("url", &broken("unnumbered", "more.tax | number"))])
            .raw("\n[log]\nlevel = \"trace\"\n[web]\nlisten = \"127.0.0.1:0\"\n")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_secret_nor_a_buyer_is_where_it_does_not_belong() {
    let stage = Stage::new().await;
    let db = stage.database.connect().await;
    let mut daemon = Daemon::start(stage.config()).await;
    let who = who();
    // A shop that puts things where they do not belong.
    let purchase = "select postback.purchase($1, 12.5, 'EUR', $2::text::jsonb, jsonb_build_object('tax', ($2::text::jsonb) -> 'phone'))";
    db.execute(purchase, &[&"1001", &who.to_string()]).await.expect("an order");
    db.execute("select postback.refund('1001', 'r1', 3)", &[]).await.expect("a refund");
    // Late data, refused data, and an event that nobody can read.
    db.execute("select postback.enrich('1001', $1::text::jsonb)", &[&who.to_string()]).await.expect("enriched");
    db.execute("select postback.purchase('1002', 'NaN', 'EUR', $1::text::jsonb)", &[&who.to_string()]).await.expect("never raises");
    let unreadable = "insert into postback.event (kind, ref, payload) values ('purchase', '1003', jsonb_build_object('value', $1::text, 'currency', $1::text, 'who', $1::text))";
    db.execute(unreadable, &[&PERSON[0]]).await.expect("an unreadable event");

    for (destination, outcome) in [
        ("good", "delivered"),
        ("failing", "retry"),
        ("refusing", "dead"),
        ("resetting", "unknown"),
        ("away", "retry"),
        ("consent", "skipped"),
        ("unnumbered", "dead"),
    ] {
        until(
            &db,
            &format!("{destination}: {outcome}"),
            &format!("select exists (select from postback.attempt where destination = '{destination}' and event = 1 and outcome = '{outcome}')"),
            &daemon,
        )
        .await;
    }
    until(&db, "halting: halted", "select halted is not null from postback.position where destination = 'halting'", &daemon).await;
    until(
        &db,
        "a dead letter",
        "select exists (select from postback.attempt where event = (select id from postback.event where ref = '1003') and outcome = 'dead')",
        &daemon,
    )
    .await;
    // A person's word on what was lost and what was refused.
    for arguments in [
        &["dead", "retry", "--all", "--yes"][..],
        &["unknown", "resolve", "--all", "--delivered", "--yes"],
        &["trouble", "retry", "--all", "--yes"],
        &["pause", "good"],
        &["resume", "good"],
    ] {
        let _ = postbackd(&stage, arguments);
    }

    // What is searched for is where it belongs, or nothing would prove anything.
    let good = stage.receiver.at("/good");
    assert!(good.iter().any(|arrival| arrival.header("authorization").is_some_and(|value| value.contains(SECRETS[0]))));
    assert!(
        good.iter().any(|arrival| arrival.param("e").as_deref() == Some(PERSON[0]) && arrival.param("c").as_deref() == Some(CLICK)),
        "{}",
        stage.receiver.dump()
    );
    assert!(stage.receiver.at("/refusing").iter().any(|arrival| arrival.param("key").as_deref() == Some(SECRETS[1])));
    let held = "select (select string_agg(e::text, '') from postback.event e) || (select string_agg(s::text, '') from postback.sale s) || (select string_agg(t::text, '') from postback.trouble t)";
    let held: String = sql::one(&db, held).await;
    assert!(PERSON.iter().all(|word| held.contains(word)), "{held}");

    let all: Vec<&str> = SECRETS.into_iter().chain([PASSWORD]).chain(PERSON).chain([CLICK]).collect();
    // Tables, but for the three that are meant to hold a buyer: as a dump would show them.
    for (table, row) in rows(&db).await {
        // What was said is kept with its click id.
        let words = all.iter().filter(|word| !(table == "receipt" && **word == CLICK));
        found(words, &row, &format!("table {table}"));
    }
    for json in [&[][..], &["--json"]] {
        for command in [
            &["status"][..],
            &["order", "1001"],
            &["order", "1003"],
            &["dead", "list"],
            &["unknown", "list"],
            &["trouble", "list"],
            &["check", "--connect"],
            &["doctor"],
            &["schema", "status"],
        ] {
            let arguments: Vec<&str> = command.iter().chain(json).copied().collect();
            found(&all, &postbackd(&stage, &arguments), &format!("postbackd {}", arguments.join(" ")));
        }
        for event in sql::all::<i64>(&db, "select distinct event from postback.attempt where outcome in ('dead', 'unknown') order by 1").await {
            let event = event.to_string();
            let arguments: Vec<&str> = ["dead", "show", &event].into_iter().chain(json.iter().copied()).collect();
            found(&all, &postbackd(&stage, &arguments), "postbackd dead show");
        }
        // A preview shows the request, a buyer's data included; secrets go by their names.
        let arguments: Vec<&str> = ["preview", "--order", "1001"].into_iter().chain(json.iter().copied()).collect();
        let preview = postbackd(&stage, &arguments);
        assert!(preview.contains("1001"), "{preview}");
        found(SECRETS.iter().chain([&PASSWORD]), &preview, "postbackd preview");
    }
    let visitor = crate::page::Visitor::new(&daemon).await;
    let paths = ["/", "/order?ref=1001", "/order?ref=1003", "/order", "/dead", "/unknown", "/actions", "/report", "/report.csv"].map(str::to_owned);
    for path in paths.into_iter().chain(stage.config().names().iter().map(|name| format!("/destination/{name}"))) {
        let page = crate::page::unescaped(&visitor.get(&path).await.page());
        found(&all, &page, &path);
        let request = "/good?id=purchase-1001&order=1001&value=12.50&kind=purchase&e=[email]";
        assert!(path != "/order?ref=1001" || page.contains(request), "{page}");
    }
    assert!(daemon.term().await.success(), "{}", daemon.stderr());
    let log = daemon.stderr();
    assert!(log.contains("halting"), "{log}");
    println!("{} lines, {} bytes of log", log.lines().count(), log.len());
    found(&all, &log, "the log");
}

/// Fails when one of these stands in a text, in clear or as a URL, JSON or base64 would write it.
fn found<'a>(words: impl IntoIterator<Item = &'a &'a str>, text: &str, place: &str) {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    for word in words {
        let escaped: String = url::form_urlencoded::byte_serialize(word.as_bytes()).collect();
        for form in [(*word).to_owned(), escaped, BASE64_STANDARD.encode(word)] {
            if let Some(at) = text.find(&form) {
                let around = text[..at].char_indices().rev().nth(200).map_or(0, |(at, _)| at);
                let end = text[at..].char_indices().nth(200).map_or(text.len(), |(more, _)| at + more);
                panic!("{word:?} stands in {place}: ...{}...", &text[around..end]);
            }
        }
    }
}

/// Every row of every table of the schema as JSON, without what is meant to hold a buyer.
async fn rows(db: &tokio_postgres::Client) -> Vec<(String, String)> {
    let tables: Vec<String> = sql::all(
        db,
        "select relname::text from pg_class where relnamespace = 'postback'::regnamespace and relkind = 'r' and relname not in ('event', 'trouble') order by 1",
    )
    .await;
    assert!(tables.len() > 10, "{tables:?}");
    let mut rows = Vec::new();
    for table in tables {
        for row in
            sql::all::<String>(db, &format!("select (to_jsonb(t) - case '{table}' when 'sale' then 'who' else '' end)::text from postback.{table} t"))
                .await
        {
            rows.push((table.clone(), row));
        }
    }
    rows
}

async fn until(db: &tokio_postgres::Client, what: &str, sql: &str, daemon: &Daemon) {
    let began = std::time::Instant::now();
    while !sql::one::<bool>(db, sql).await {
        assert!(began.elapsed() < Duration::from_secs(30), "30 s without {what}\n{}", daemon.stderr());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a command prints, on both outputs.
fn postbackd(stage: &Stage, arguments: &[&str]) -> String {
    let path = stage.directory.path().join("postbackd.toml");
    std::fs::write(&path, stage.config().toml()).expect("writing the configuration");
    let output = Command::new(BINARY).arg("--config").arg(&path).args(arguments).env("POSTBACKD_LOG", "trace").output().expect("postbackd");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
