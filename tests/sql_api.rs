//! What a DBA calls: an event for every good call, a row of trouble for every bad one, an exception for none.

use postbackd::{
    click,
    event::{Event, Kind, event_id},
};

use crate::support::{
    postgres::database,
    sql::{all, fails, one, run},
};

#[tokio::test]
async fn what_is_said_can_be_read_by_the_daemon() {
    let database = database().await;
    let db = database.connect().await;
    run(
        &db,
        r#"select postback.purchase('1001', 140.98, 'usd', '{"email": "a@example.com", "phone": null}', '{"items": [{"id": "S"}], "occurred_at": "2026-03-01T10:00:00+02:00"}'),
                  postback.refund('1001', 'r1', 12.50, '{"reason": "late"}'), postback.retract('1001', 'undone'), postback.enrich('1001', '{"gclid": "x"}'),
                  postback.emit('lead', 'l1', '{}', '{"value": 7, "currency": "eur", "form": "b"}')"#,
    )
    .await;
    let rows = db.query("select id, kind, ref, payload::text, occurred_at from postback.event order by id", &[]).await.expect("reading");
    let events: Vec<Event> =
        rows.iter().map(|row| Event::decode(row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)).expect("readable")).collect();
    assert_eq!(events.iter().map(|e| e.kind).collect::<Vec<_>>(), [Kind::Purchase, Kind::Refund, Kind::Retract, Kind::Enrich, Kind::Lead]);
    assert_eq!(events[0].value.map(|v| v.to_string()), Some("140.98".to_owned()));
    assert_eq!(events[0].occurred_at.to_string(), "2026-03-01T08:00:00Z");
    assert!(!events[0].more.contains_key("occurred_at") && !events[0].who.contains_key("phone"));
    assert_eq!((events[1].refund_ref.as_deref(), events[1].value.map(|v| v.to_string())), (Some("r1"), Some("12.50".to_owned())));
    assert_eq!((events[4].value.map(|v| v.to_string()), events[4].currency.map(|c| c.to_string())), (Some("7".to_owned()), Some("EUR".to_owned())));
    assert_eq!(one::<i64>(&db, "select count(*) from postback.trouble").await, 0);
}

#[tokio::test]
async fn bad_input_becomes_trouble_and_the_order_commits() {
    let database = database().await;
    let db = database.connect().await;
    run(&db, "create table public.orders (id int)").await;
    let bad = [
        ("purchase(null, 1, 'EUR', '{}')", "the reference is missing"),
        ("purchase(' ', 1, 'EUR', '{}')", "the reference is missing"),
        ("purchase(repeat('x', 501), 1, 'EUR', '{}')", "the reference is longer than 500 bytes"),
        ("purchase('1', null, 'EUR', '{}')", "value is NULL"),
        ("purchase('1', 'NaN', 'EUR', '{}')", "value is NaN"),
        ("purchase('1', 'Infinity', 'EUR', '{}')", "value is infinite"),
        ("purchase('1', '-Infinity', 'EUR', '{}')", "value is infinite"),
        ("purchase('1', -0.01, 'EUR', '{}')", "value is negative"),
        ("purchase('1', 1e15, 'EUR', '{}')", "value is too large to be money"),
        ("purchase('1', 1, null, '{}')", "currency is NULL"),
        ("purchase('1', 1, 'EURO', '{}')", "currency is not three letters"),
        ("purchase('1', 1, 'E€', '{}')", "currency is not three letters"),
        ("purchase('1', 1, 'EUR', '[]')", "who is not a JSON object"),
        ("purchase('1', 1, 'EUR', '\"x\"')", "who is not a JSON object"),
        ("purchase('1', 1, 'EUR', '{}', '3')", "more is not a JSON object"),
        ("refund('1', null, 1)", "refund_ref is missing"),
        ("refund('1', 'r', 'NaN')", "amount is NaN"),
        ("refund('1', 'r', -1)", "amount is negative"),
        ("retract(null)", "the reference is missing"),
        ("enrich('1', '7')", "who is not a JSON object"),
        ("emit('party', 'x', '{}')", "kind is none of lead, signup, install, subscribe, custom"),
        ("emit('purchase', 'x', '{}')", "say it with postback.purchase()"),
        ("emit(null, 'x', '{}')", "kind is NULL"),
        ("emit('lead', 'x', '{}', '{\"value\": \"much\"}')", "more.value is not a decimal number"),
        ("emit('lead', 'x', '{}', '{\"value\": \"-1\"}')", "value is negative"),
    ];
    for (n, (call, why)) in bad.iter().enumerate() {
        let said: Option<i64> = {
            run(&db, &format!("begin; insert into public.orders values ({n})")).await;
            let said = one(&db, &format!("select postback.{call}")).await;
            run(&db, "commit").await;
            said
        };
        assert_eq!(said, None, "{call}");
        let message: String = one(&db, "select message from postback.trouble order by id desc limit 1").await;
        assert_eq!(&message, why, "{call}");
    }
    assert_eq!(one::<i64>(&db, "select count(*) from public.orders").await, bad.len() as i64);
    assert_eq!(one::<i64>(&db, "select count(*) from postback.event").await, 0);
    assert_eq!(one::<i64>(&db, "select count(*) from postback.trouble where done is null and args is not null").await, bad.len() as i64);
}

#[tokio::test]
async fn what_can_be_said_with_a_part_missing_is_said_and_noted() {
    let database = database().await;
    let db = database.connect().await;
    run(
        &db,
        "select postback.purchase('a', 1, 'EUR', null),
                postback.purchase('b', 1, 'EUR', '{}', jsonb_build_object('items', repeat('x', 70000), 'coupon', 'c')),
                postback.purchase('c', 1, 'EUR', jsonb_build_object('email', 'e', 'page_url', repeat('x', 70000))),
                postback.purchase('d', 1, 'EUR', '{}', '{\"occurred_at\": \"2026-02-31\"}'),
                postback.purchase('e', 1, 'EUR', '{}', '{\"occurred_at\": \"infinity\"}')",
    )
    .await;
    assert_eq!(one::<i64>(&db, "select count(*) from postback.event where occurred_at > now() - interval '1 hour'").await, 5);
    assert_eq!(one::<i64>(&db, "select count(distinct event) from postback.trouble where done is not null and sqlstate = '01000'").await, 5);
    assert_eq!(one::<String>(&db, "select payload #>> '{more,coupon}' from postback.event where ref = 'b'").await, "c");
    assert!(one::<bool>(&db, "select not (payload -> 'more' ? 'items') from postback.event where ref = 'b'").await);
    assert_eq!(one::<String>(&db, "select payload ->> 'who' from postback.event where ref = 'c'").await, r#"{"email": "e"}"#);
    assert!(one::<i32>(&db, "select max(octet_length(payload::text)) from postback.event").await <= 65536);
}

#[tokio::test]
async fn nothing_raises_even_when_nothing_can_be_written() {
    let database = database().await;
    let db = database.connect().await;
    run(&db, "drop table postback.event cascade").await;
    assert_eq!(one::<Option<i64>>(&db, "select postback.purchase('1', 1, 'EUR', '{}')").await, None);
    assert_eq!(one::<String>(&db, "select sqlstate from postback.trouble").await, "42P01");
    run(&db, "drop table postback.trouble cascade").await;
    assert_eq!(one::<Option<i64>>(&db, "select postback.purchase('1', 1, 'EUR', '{}')").await, None);
    assert_eq!(one::<Option<i64>>(&db, "select postback.purchase('1', -1, 'EUR', '{}')").await, None);
    run(&db, "select postback.note('mine', '22000', 'text')").await;
}

#[tokio::test]
async fn a_statement_timeout_passes_through() {
    let database = database().await;
    let db = database.connect().await;
    run(
        &db,
        "create table public.t (id int); grant select on public.t to postback_owner;
         select postback.attach('public.t', 'insert', 'true', 'perform pg_sleep(case when new.id is null then 0 else 30 end)');
         set statement_timeout = '50ms'",
    )
    .await;
    assert_eq!(fails(&db, "insert into public.t values (1)").await.0, "57014");
}

#[tokio::test]
async fn a_session_can_be_silenced() {
    let database = database().await;
    let db = database.connect().await;
    run(&db, "set postback.enabled = off").await;
    let said: Vec<Option<i64>> = all(&db, "select postback.purchase('1', 1, 'EUR', '{}') union all select postback.emit('party', 'x', '{}')").await;
    assert_eq!(said, [None, None]);
    run(&db, "reset postback.enabled").await;
    assert!(one::<Option<i64>>(&db, "select postback.purchase('1', 1, 'EUR', '{}')").await.is_some());
    assert_eq!(one::<i64>(&db, "select count(*) from postback.trouble").await, 0);
}

#[tokio::test]
async fn the_pixel_prints_the_daemons_dedupe_id() {
    let database = database().await;
    let db = database.connect().await;
    for (kind, refund, generation) in
        [(Kind::Purchase, None, 1), (Kind::Purchase, None, 2), (Kind::Refund, Some("r-1"), 1), (Kind::Refund, Some("r-1"), 3)]
    {
        let row = db.query_one("select postback.event_id($1, '10-01', $2, $3)", &[&kind.as_str(), &refund, &generation]).await.expect("asking");
        assert_eq!(row.get::<_, String>(0), event_id(kind, "10-01", refund, generation));
    }
}

#[tokio::test]
async fn pure_functions_never_raise() {
    let database = database().await;
    let db = database.connect().await;
    for (sql, want) in [
        ("postback.minor(14098)", "140.98"),
        ("postback.minor(900350)", "9003.50"),
        ("postback.minor(1234, 3)", "1.234"),
        ("postback.minor(-5, 0)", "-5"),
        ("postback.minor(9223372036854775807, 18)", "9.223372036854775807"),
        ("postback.json('{\"a\": 1}')", "{\"a\": 1}"),
        (r#"postback.json('{"a":"x\u0000y\\u0000"}')"#, r#"{"a": "xy\\u0000"}"#),
        (
            "postback.click_ids('https://s/?utm=1&GCLID=Cj0%2B_x&sccid=s&gclid=second&fbclid=#gbraid=3')",
            r#"{"ScCid": "s", "gclid": "Cj0+_x", "gbraid": "3"}"#,
        ),
        ("postback.click_ids('https://s/?gclid=%zz%C3%A9%')", r#"{"gclid": "%zz%C3%A9%"}"#),
        ("postback.click_ids(null)", "{}"),
        ("postback.click_ids('??=&=;#')", "{}"),
        ("postback.click_ids(repeat('?gclid=', 9999))", "{}"),
    ] {
        assert_eq!(one::<String>(&db, &format!("select {sql}::text")).await, want, "{sql}");
    }
    for sql in [
        "postback.json('')",
        "postback.json('{')",
        "postback.json(null)",
        "postback.json('\"\\u0000')",
        "postback.minor(null)",
        "postback.minor(1, -3)",
    ] {
        assert_eq!(one::<Option<String>>(&db, &format!("select {sql}::text")).await, None, "{sql}");
    }
}

#[tokio::test]
async fn said_folds_as_the_ledger_does() {
    let database = database().await;
    let db = database.connect().await;
    run(
        &db,
        r#"select postback.enrich('A', '{"gclid": "early"}'), postback.purchase('A', 100, 'eur', '{"email": "a"}'), postback.purchase('A', 100, 'eur', '{}'),
                  postback.refund('A', 'r1', 60), postback.refund('A', 'r1', 60), postback.refund('A', 'r2', 60), postback.retract('A'), postback.retract('A'),
                  postback.purchase('A', 7, 'eur', '{}'), postback.refund('A', 'r3', 7), postback.enrich('A', '{"gclid": "late"}'),
                  postback.refund('B', 'r', 1), postback.purchase('B', 5, 'usd', '{}'), postback.refund('C', 'r', 1), postback.retract('D'),
                  postback.emit('lead', 'x', '{}'), postback.emit('lead', 'x', '{}')"#,
    )
    .await;
    run(
        &db,
        r#"insert into postback.event (kind, ref, payload) values ('purchase', 'x', '[]'), ('purchase', 'x', '{"value": "NaN", "currency": "EUR"}')"#,
    )
    .await;
    let rows: Vec<String> =
        all(&db, r#"select concat_ws(' ', event_id, value, currency, refunded_total, "full", who ->> 'gclid', who ->> 'email') from postback.said order by id"#).await;
    let want = [
        "purchase-A 100 EUR early a",
        "refund-A-r1 60 EUR 60 f early a",
        "refund-A-r2 40 EUR 100 t early a",
        "retract-A 100 EUR t early a",
        "purchase-A.2 7 EUR late",
        "refund-A.2-r3 7 EUR 7 t late",
        "refund-B-r 1 USD 1 f",
        "purchase-B 5 USD",
        "lead-x",
    ];
    assert_eq!(rows, want);
}

#[tokio::test]
async fn the_reader_sees_no_person() {
    let database = database().await;
    let admin = database.connect().await;
    run(&admin, r#"select postback.purchase('1', 1, 'EUR', '{"email": "a@example.com"}')"#).await;
    database.role("pbt_reader", &["postback_reader"]).await;
    let db = database.connect_as("pbt_reader").await;
    for sql in [
        "select payload from postback.event",
        "select who from postback.said",
        "select who from postback.sale",
        "select new_row from postback.trouble",
        "select message from postback.trouble",
        "select * from postback.receipt",
        "select what from postback.command",
        "select postback.purchase('1', 1, 'EUR', '{}')",
        "select postback.heal()",
        "delete from postback.event",
    ] {
        assert_eq!(fails(&db, sql).await.0, "42501", "{sql}");
    }
    assert_eq!(all::<String>(&db, "select ref from postback.said").await, ["1"]);
}

#[tokio::test]
async fn the_daemons_role_can_do_its_work_and_no_more() {
    let database = database().await;
    database.role("pbt_daemon", &["postback_daemon"]).await;
    let db = database.connect_as("pbt_daemon").await;
    run(
        &db,
        "select payload from postback.event; update postback.event set payload = payload; delete from postback.event;
         insert into postback.log values (1, 1, null, null, now()); insert into postback.command (what) values ('{}');
         select * from postback.heal(); select * from postback.doctor(); select postback.trouble_retry(1); select postback.purchase('1', 1, 'EUR', '{}')",
    )
    .await;
    for sql in [
        "update postback.attached set body = ''",
        "insert into postback.book (query) values ('select 1')",
        "create table postback.mine ()",
        "select postback.off()",
        "select postback.write_functions(a) from postback.attached a",
        "set role postback_owner",
    ] {
        assert_eq!(fails(&db, sql).await.0, "42501", "{sql}");
    }
}

/// Rust and SQL each need the list in their own words: the shop's transaction cannot ask the daemon.
#[tokio::test]
async fn sql_and_daemon_know_the_same_click_ids() {
    let database = database().await;
    let db = database.connect().await;
    let url: Vec<String> = click::IN_URLS.iter().map(|name| format!("{name}=id-{name}")).collect();
    let found = db.query_one("select postback.click_ids('https://shop.example/?' || $1)::text", &[&url.join("&")]).await.expect("asking");
    let found: serde_json::Map<String, serde_json::Value> = serde_json::from_str(found.get(0)).expect("JSON");
    for name in click::IN_URLS {
        assert_eq!(found.get(name).and_then(|id| id.as_str()), Some(&*format!("id-{name}")), "{name}");
    }
    // No more of them either: the list out of the function's own text.
    let source = one::<String>(&db, "select prosrc from pg_proc where proname = 'click_ids' and pronamespace = 'postback'::regnamespace").await;
    let list = source.split_once("known constant text :=").and_then(|(_, rest)| rest.split_once(';')).expect("the list").0;
    let names: Vec<&str> = list.split('\'').skip(1).step_by(2).flat_map(str::split_whitespace).collect();
    assert_eq!(names, click::IN_URLS);
}
