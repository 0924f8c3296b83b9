//! `postbackd report`: counts and money that balance, judged by what a receiver got and what a shop's own books say.

mod lookup;

use std::{collections::BTreeMap, str::FromStr};

use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    sending::Stage,
    support::{
        daemon::{Config, Daemon, command},
        receiver::{Arrival, Behaviour},
        sql,
    },
};

/// Days before today, at noon in UTC; and the name of that day.
fn noon(days: i64) -> (String, String) {
    let day = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().saturating_sub(jiff::Span::new().days(days));
    (format!("{day}T12:00:00Z"), day.to_string())
}

pub(crate) fn dec(value: &Value) -> Decimal {
    Decimal::from_str(value.as_str().unwrap_or_else(|| panic!("no amount: {value}"))).expect("a decimal")
}

pub(crate) fn run(config: &Config, arguments: &[&str]) -> (Value, i32) {
    let mut all = vec!["report", "--json"];
    all.extend_from_slice(arguments);
    let output = command(config, &all);
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
    (value, output.status.code().unwrap_or(-1))
}

fn line<'a>(report: &'a Value, day: &str, destination: &str) -> &'a Value {
    let lines = report["lines"].as_array().expect("lines");
    lines.iter().find(|line| line["day"] == day && line["destination"] == destination).unwrap_or_else(|| panic!("no {day} {destination}: {report:#}"))
}

fn money<'a>(line: &'a Value, currency: &str) -> &'a Value {
    line["money"].as_array().expect("money").iter().find(|sum| sum["currency"] == currency).unwrap_or_else(|| panic!("no {currency}: {line:#}"))
}

const BOOKS: &str = "
  create schema shop;
  create table shop.paid (ref text primary key, value numeric, refunded numeric not null default 0, currency text, paid_at timestamptz);
  grant usage on schema shop to postback_owner; grant select on shop.paid to postback_owner;
  select postback.books('select ref as order_ref, value, refunded, currency, paid_at from shop.paid')";

/// All ways of telling refunds, states of all kinds, refunds on later days: what the report says a platform has is what the
/// receiver was told, and what it should have is what the books say.
#[tokio::test(flavor = "multi_thread")]
async fn it_balances_with_the_books_and_with_what_was_told() {
    let stage = Stage::new().await;
    stage.shop(BOOKS).await;
    let url = |name: &str| {
        format!(
            "'{}?id={{{{ event_id }}}}&order={{{{ order_id }}}}&value={{{{ amount }}}}&cur={{{{ currency }}}}'",
            stage.receiver.url(&format!("/{name}"))
        )
    };
    let urls: BTreeMap<&str, String> =
        ["event", "restate", "cancel", "negative", "none", "net", "click", "once"].map(|name| (name, url(name))).into();
    let destination = |config: Config, name: &str, keys: &[(&str, &str)]| {
        let mut all = vec![("url", urls[name].as_str()), ("retry", "{ first = \"100ms\", max = \"1s\" }"), ("refunds", "\"event\"")];
        all.extend_from_slice(keys);
        config.destination(name, &stage.receiver, &all)
    };
    let mut config = destination(Config::new(&stage.database), "event", &[]);
    for (name, keys) in [
        ("restate", &[("refunds", "\"restate\"")][..]),
        ("cancel", &[("refunds", "\"cancel\"")]),
        ("negative", &[("refunds", "\"negative\"")]),
        ("none", &[("refunds", "\"none\"")]),
        ("net", &[("value", "\"net_of_tax\"")]),
        ("click", &[("click", "[\"gclid\"]")]),
        ("once", &[("resend", "\"never\"")]),
    ] {
        config = destination(config, name, keys);
    }
    // A platform that refuses one order for good, one that answers one order with an error of its own, which nobody may repeat.
    stage.receiver.script(|arrival: &Arrival| match (arrival.path.as_str(), arrival.order().as_str()) {
        ("/event", "E") => Some(Behaviour::status(400)),
        ("/once", "A" | "B") => Some(Behaviour::status(500)),
        _ => None,
    });
    let ((at, day), (refund_at, refund_day)) = (noon(3), noon(1));
    let daemon = Daemon::start(config.clone()).await;
    let more = |extra: &str| format!("jsonb_build_object('occurred_at', '{at}'{extra})");
    stage
        .shop(&format!(
            "insert into shop.paid values ('A', 100, 40, 'EUR', '{at}'), ('B', 59.99, 0, 'eur', '{at}'), ('C', 20, 20, 'EUR', '{at}'), ('D', 45.5, 45.5, 'USD', '{at}'),
               ('E', 10, 5, 'EUR', '{at}'), ('F', 119, 59.5, 'EUR', '{at}'), ('G', 9004, 4, 'JPY', '{at}');
             select postback.purchase('A', 100, 'EUR', '{{}}', {tax0}), postback.purchase('B', 59.99, 'EUR', '{{\"gclid\": \"g\"}}', {tax0}),
                    postback.purchase('C', 20, 'EUR', '{{}}', {tax0}), postback.refund('C', 'all', 20),
                    postback.purchase('D', 45.5, 'USD', '{{}}', {tax0}), postback.purchase('E', 10, 'EUR', '{{}}', {tax0}),
                    postback.purchase('F', 119, 'EUR', '{{}}', {tax19}), postback.purchase('G', 9004, 'JPY', '{{}}', {tax0}),
                    postback.purchase('B', 59.99, 'EUR', '{{}}', {tax0})",
            tax0 = more(", 'tax', 0"),
            tax19 = more(", 'tax', 19.00"),
        ))
        .await;
    let settled = "select count(*) from postback.position p, postback.ingest i where p.seq < i.last_seq or i.last_seq = 0
                     or (select count(*) from postback.event) > (select count(distinct event) from postback.log)
                     or exists (select from postback.pending q where q.state in ('retrying', 'held', 'parked', 'sending'))";
    stage.until(settled, "0").await;
    let refund = format!("jsonb_build_object('occurred_at', '{refund_at}')");
    stage
        .shop(&format!(
            "select postback.refund('A', 'r1', 30, {refund}), postback.refund('E', 'r1', 5, {refund}), postback.refund('F', 'half', 59.5, {refund})"
        ))
        .await;
    stage.shop("select postback.refund('A', 'r2', 10), postback.refund('A', 'r2', 10), postback.retract('D'), postback.refund('G', 'r', 4)").await;
    stage.until(settled, "0").await;
    let unknown = r#"{"do": "resolve-unknown", "select": {"destination": "once", "order": "A"}, "delivered": true}"#;
    assert_eq!(stage.command(unknown).await, "1 delivery marked as delivered");
    stage.until(settled, "0").await;

    let (report, code) = run(&config, &["--day", &day]);
    assert_eq!(code, 0, "{report:#}");
    assert!(report["books"]["days"].as_array().expect("days").iter().all(|day| day["balances"] == true), "{:#}", report["books"]);
    assert_eq!(report["books"]["days"].as_array().map(Vec::len), Some(3), "a line per currency");
    let expected = BTreeMap::from([("EUR", "184.49"), ("USD", "0.00"), ("JPY", "9000")]);
    for (name, want) in [
        ("event", [5, 0, 1, 0, 0, 0, 1]),
        ("restate", [6, 0, 1, 0, 0, 0, 0]),
        ("cancel", [6, 0, 1, 0, 0, 0, 0]),
        ("negative", [6, 0, 1, 0, 0, 0, 0]),
        ("none", [6, 0, 1, 0, 0, 0, 0]),
        ("net", [6, 0, 1, 0, 0, 0, 0]),
        ("click", [1, 5, 1, 0, 0, 0, 0]),
        ("once", [5, 0, 1, 0, 0, 1, 0]),
    ] {
        let line = line(&report, &day, name);
        let sum = |value: &Value| value.as_object().map(|map| map.values().filter_map(Value::as_i64).sum::<i64>());
        let orders = &line["orders"];
        let have = [
            orders["delivered"].as_i64(),
            sum(&orders["skipped"]),
            orders["annulled"].as_i64(),
            orders["waiting"].as_i64(),
            orders["accepted"].as_i64(),
            orders["unknown"].as_i64(),
            sum(&orders["dead"]),
        ]
        .map(Option::unwrap_or_default);
        assert_eq!((orders["total"].as_i64(), have), (Some(7), want), "{name}: {line:#}");
        for (currency, should) in &expected {
            let sum = money(line, currency);
            assert_eq!((sum["expected"].as_str(), dec(&sum["unexplained"])), (Some(*should), Decimal::ZERO), "{name}: {sum:#}");
            let named: Decimal = sum["differences"].as_array().expect("differences").iter().map(|one| dec(&one["value"])).sum();
            assert_eq!(dec(&sum["expected"]) - dec(&sum["net"]), named, "{name}: {sum:#}");
            assert_eq!(dec(&sum["net"]), told(&stage, name, currency), "{name} {currency}: {sum:#}");
        }
    }
    let differences = |name: &str| money(line(&report, &day, name), "EUR")["differences"].clone();
    assert_eq!(differences("restate"), serde_json::json!([]));
    assert_eq!(differences("none")[0]["why"], "refund: platform takes no refunds");
    assert_eq!((differences("none")[0]["known"].as_bool(), dec(&differences("none")[0]["value"])), (Some(true), Decimal::new(-10450, 2)));
    assert_eq!(differences("cancel")[0]["why"], "refund: platform cancels whole orders only");
    assert_eq!(differences("net")[0]["why"], "told without tax or shipping, or rounded");

    // Refunds on their own days: r1 of A, E, F, then r2, G's, and the order that was taken back; C's stands with its order.
    let (later, _) = run(&config, &["--from", &refund_day]);
    for (name, delivered, skipped) in [("event", 2, 1), ("restate", 3, 0), ("none", 0, 3), ("click", 0, 3)] {
        let refunds = &line(&later, &refund_day, name)["refunds"];
        let skips: i64 = refunds["skipped"].as_object().expect("reasons").values().filter_map(Value::as_i64).sum();
        assert_eq!((refunds["total"].as_i64(), refunds["delivered"].as_i64(), skips), (Some(3), Some(delivered), skipped), "{name}: {refunds:#}");
    }
    let today = line(&later, &noon(0).1, "event");
    assert_eq!(
        (today["refunds"]["total"].as_i64(), today["refunds"]["delivered"].as_i64(), today["refunds"]["annulled"].as_i64()),
        (Some(4), Some(3), Some(1)),
        "{today:#}"
    );
    drop(daemon);
}

/// What a platform has by its own reckoning, out of the requests that it took.
fn told(stage: &Stage, name: &str, currency: &str) -> Decimal {
    let mut orders: BTreeMap<String, Decimal> = BTreeMap::new();
    let here = stage.receiver.at(&format!("/{name}"));
    // The purchase that was resolved by hand was found at the platform.
    let took = |arrival: &&Arrival| arrival.taken() || name == "once" && arrival.id() == "purchase-A";
    for arrival in here.iter().filter(took).filter(|arrival| arrival.param("cur").as_deref() == Some(currency)) {
        let value = Decimal::from_str(&arrival.param("value").expect("a value")).expect("a decimal");
        let has = orders.entry(arrival.order()).or_default();
        *has = match name {
            "restate" | "cancel" => value,
            _ if arrival.id().starts_with("purchase") || name == "negative" => *has + value,
            _ => *has - value,
        };
    }
    orders.values().sum()
}

/// Every way in which books and events can differ is named, and the exit code says that something does.
#[tokio::test(flavor = "multi_thread")]
async fn differences_to_the_books_are_named_to_the_cent() {
    let stage = Stage::new().await;
    let config = stage.config(&[]);
    let (at, day) = noon(1);
    let (report, code) = run(&config, &["--day", &day]);
    assert_eq!(code, 0);
    assert!(report["books"]["unknown"].as_str().is_some_and(|why| why.contains("select postback.books(")), "{report}");
    stage.shop(BOOKS).await;
    let daemon = Daemon::start(config.clone()).await;
    let more = format!("jsonb_build_object('occurred_at', '{at}')");
    stage
        .shop(&format!(
            "insert into shop.paid values ('same', 10, 0, 'EUR', '{at}'), ('untold', 20.01, 5, 'EUR', '{at}'), ('dearer', 30, 0, 'EUR', '{at}'),
               ('refunded', 40, 7.5, 'EUR', '{at}'), ('midnight', 50, 0, 'EUR', '{day}T23:59:59.9Z');
             select postback.purchase('same', 10, 'EUR', '{{}}', {more}), postback.purchase('dearer', 29, 'EUR', '{{}}', {more}),
                    postback.purchase('refunded', 40, 'EUR', '{{}}', {more}), postback.purchase('unpaid', 60, 'EUR', '{{}}', {more}),
                    postback.purchase('midnight', 50, 'EUR', '{{}}', jsonb_build_object('occurred_at', ('{day}T23:59:59.9Z'::timestamptz + interval '1 s')))"
        ))
        .await;
    stage.settled().await;
    drop(daemon);
    stage
        .shop(&format!(
            "insert into shop.paid values ('unread', 70, 0, 'EUR', '{at}'); select postback.purchase('unread', 70, 'EUR', '{{}}', {more})"
        ))
        .await;
    let (report, code) = run(&config, &["--day", &day]);
    assert_eq!(code, 1);
    let books = &report["books"]["days"][0];
    assert_eq!(
        (books["orders"].as_i64(), books["value"].as_str(), books["events"].as_i64(), books["events_value"].as_str()),
        (Some(6), Some("220.01"), Some(5), Some("189.00")),
        "{books:#}"
    );
    let named: Vec<(String, i64)> = books["differences"]
        .as_array()
        .expect("some")
        .iter()
        .map(|one| (one["value"].as_str().unwrap_or_default().to_owned(), one["orders"].as_i64().unwrap_or(0)))
        .collect();
    assert_eq!(named, [("20.01".into(), 1), ("70.00".into(), 1), ("-60.00".into(), 1), ("1.00".into(), 1)], "{books:#}");
    assert_eq!((books["refund_differences"][0]["value"].as_str(), books["unexplained"].as_str()), (Some("7.50"), Some("0.00")), "{books:#}");
    // What no daemon has read yet waits, and is counted.
    assert_eq!((line(&report, &day, "d")["orders"]["waiting"].as_i64(), line(&report, &day, "d")["orders"]["total"].as_i64()), (Some(1), Some(5)));

    // A query that fails is no reason not to report the rest, and its error quotes nothing.
    stage.shop("update shop.paid set currency = 'canary@example.com'; update postback.book set query = 'select ref as order_ref, currency::numeric as value, refunded, currency, paid_at from shop.paid'").await;
    let output = command(&config, &["report", "--day", &day]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("SQLSTATE 22P02") && !text.contains("canary"), "{text}");
}

/// Strings that a shop or a platform chose break neither a line of CSV nor a terminal, and become no formula.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_words_stay_words() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::body(400, "=HYPERLINK(\"http://x.example\",\"y\"),\u{1b}[31m\r\n'\";drop table"));
    let config = stage.config(&[("when", "\"who.country == 'DE'\"")]);
    let _daemon = Daemon::start(config.clone()).await;
    stage.shop(r#"select postback.purchase('=1+1"\n;' || chr(27) || ''';drop schema postback', 1, 'EUR', '{"country": "DE"}'), postback.purchase('<script>', 2, 'XXX', '{}')"#).await;
    stage.settled().await;
    for arguments in [&["report"][..], &["report", "--csv"]] {
        let output = command(&config, arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.contains('\u{1b}') && !text.contains('\r') && !text.lines().any(|line| line.starts_with('=') || line.contains(",=")), "{text}");
        assert!(text.contains("HTTP 400"), "{text}");
    }
    for (arguments, code, part) in [
        (&["--zone", "Nowhere"][..], 2, "no time zone"),
        (&["--from", "2026-03-02", "--to", "2026-03-01"], 2, "no period"),
        (&["--day", "2026-02-30"], 2, "2026-02-30"),
        (&["--destination", "D"], 1, "did you mean d?"),
    ] {
        let output = command(&config, &[&["report"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(part), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Days begin where the shop's do: half past ten in the evening in UTC is the next day in Berlin.
#[tokio::test(flavor = "multi_thread")]
async fn days_are_those_of_the_zone() {
    let stage = Stage::new().await;
    let config = stage.config(&[]).raw("[report]\nzone = \"Europe/Berlin\"\n");
    let mut daemon = Daemon::start(config.clone()).await;
    stage.shop("select postback.purchase('1', 1, 'EUR', '{}', '{\"occurred_at\": \"2026-07-01T22:30:00Z\"}')").await;
    stage.until("select count(*) from postback.log", "1").await;
    daemon.term().await;
    for (arguments, there) in
        [(&["--day", "2026-07-02"][..], true), (&["--day", "2026-07-01"], false), (&["--day", "2026-07-01", "--zone", "UTC"], true)]
    {
        assert_eq!(run(&config, arguments).0["lines"].as_array().is_some_and(|lines| !lines.is_empty()), there, "{arguments:?}");
    }
    assert_eq!(sql::one::<i64>(&stage.db, "select count(*) from postback.attempt where outcome = 'dead'").await, 1, "too old to be told");
}
