//! Orders of the past: counted before anything is said, said once however often it is run, told as any other.

use serde_json::{Value, json};

use crate::{
    sending::Stage,
    support::daemon::{Config, command},
};

const PAST: &str = "
  create table public.past (number text, total numeric, currency text, refunded numeric, paid_at timestamptz, gclid text);
  insert into public.past select 'P' || n, 10.10 + n, 'eur', case when n = 3 then 4.00 end, now() - n * interval '1 day', case when n % 2 = 0 then 'click-' || n end
    from generate_series(1, 20) n;
  insert into public.past values ('bad', null, 'EUR', null, now(), 'x'), ('worse', 5, 'gold', null, now(), 'x'), (null, 5, 'EUR', null, now(), 'x')";
const QUERY: &str = "
  select number as order_ref, total as value, currency, refunded, paid_at as occurred_at, jsonb_build_object('gclid', gclid) as who
    from public.past order by paid_at; -- the oldest first";

fn run(config: &Config, file: &str, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = command(config, &[&["backfill", "--json", "--sql", file], arguments].concat());
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&output.stderr).into_owned()));
    (value, output.status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn past_orders_are_counted_then_said_once_and_told() {
    let stage = Stage::new().await;
    stage.shop(PAST).await;
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, sql: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, sql).expect("writing");
        path.display().to_string()
    };
    let file = write("past.sql", QUERY);
    // Meta takes a week, a tracker what has a click.
    let meta = format!(
        "[destination.meta]\nplatform = \"meta\"\ndataset = 1\naccess_token = \"0123456789\"\nbase_url = \"{}\"\nmode = \"shadow\"\n",
        stage.receiver.url("")
    );
    let config = stage.config(&[("click", "[\"gclid\"]")]).raw(&meta);
    let mut daemon = crate::support::daemon::Daemon::start(config.clone()).await;
    // One has its event already, and one is said and not read yet.
    stage.shop("select postback.purchase('P1', 11.10, 'EUR', '{}')").await;
    stage.until("select count(*) from postback.sale", "1").await;
    daemon.term().await;
    stage.shop("select postback.purchase('P2', 12.10, 'EUR', '{}')").await;

    let (counted, code) = run(&config, &file, &[]);
    assert_eq!(
        (code, &counted["orders"], &counted["told_already"], &counted["to_say"], &counted["said"]),
        (Some(0), &json!(23), &json!(2), &json!(9), &json!(0)),
        "{counted:#}"
    );
    assert_eq!(
        counted["unusable"],
        json!({ "value is no amount of money": 1, "currency is not three letters": 1, "order_ref is missing": 1 }),
        "{counted:#}"
    );
    assert_eq!(counted["destinations"]["d"], json!({ "sent": 9, "skipped: no gclid": 9 }), "{counted:#}");
    assert!(counted["destinations"]["meta"].as_object().is_some_and(|meta| meta.keys().any(|why| why.contains("too old"))), "{counted:#}");
    assert_eq!(stage.text("select count(*) from postback.event").await, "2", "a dry run writes nothing");
    assert_eq!(run(&config, &file, &["--say"]).1, Some(2), "nobody can be asked");

    let (said, code) = run(&config, &file, &["--say", "--yes"]);
    assert_eq!((code, &said["said"]), (Some(0), &said["to_say"]), "{said:#}");
    let (again, _) = run(&config, &file, &["--say", "--yes"]);
    assert_eq!((&again["to_say"], &again["said"]), (&json!(0), &json!(0)), "{again:#}");
    let daemon = crate::support::daemon::Daemon::start(config.clone()).await;
    stage.until("select count(*) from postback.position p, postback.ingest i where p.seq < i.last_seq or i.last_seq < (select count(*) from postback.event)", "0").await;
    let mut told: Vec<(String, String)> =
        stage.receiver.at("/d").iter().map(|arrival| (arrival.id(), arrival.param("value").unwrap_or_default())).collect();
    told.sort();
    let mut want: Vec<(String, String)> = (2..=10).map(|n| (format!("purchase-P{}", 2 * n), format!("{}.10", 10 + 2 * n))).collect();
    want.sort();
    assert_eq!(told, want);
    let at = "select bool_and(abs(extract(epoch from e.occurred_at - p.paid_at)) < 0.001) from postback.event e join public.past p on p.number = e.ref where e.kind = 'purchase' and e.ref not in ('P1', 'P2')";
    assert_eq!(stage.text(at).await, "true", "at its own time");
    let (all, _) = run(&config, &file, &["--say", "--yes", "--all"]);
    assert_eq!(all["said"], json!(9), "{all:#}");
    drop(daemon);

    // What the database takes for no amount, or no reference, is counted; the rows behind it are said.
    let odd = "select * from (values (1, 'O1', '1_000'), (2, repeat('x', 501), '5'), (3, 'O3', '7')) v(n, order_ref, value)";
    let odd = format!("select order_ref, value, 'EUR' as currency, '{{\"gclid\": \"c\"}}'::jsonb as who from ({odd}) o order by n");
    let (said, code) = run(&config, &write("odd.sql", &odd), &["--say", "--yes"]);
    assert_eq!((code, &said["said"]), (Some(0), &json!(1)), "{said:#}");
    let why = said["unusable"].as_object().expect("reasons");
    assert_eq!(why.values().filter(|count| **count == json!(1)).count(), 2, "{said:#}");
    assert_eq!(stage.text("select string_agg(ref, ',') from postback.event where ref ~ '^O'").await, "O3");

    for (name, sql, part) in [
        ("column.sql", "select number as order_ref, total as amount from public.past", "a column \"amount\"; known are order_ref"),
        ("wrong.sql", "select nothing from public.past", "the query fails: column \"nothing\" does not exist"),
        ("two.sql", "select 1 as value; delete from public.past", "the query fails"),
        ("write.sql", "delete from public.past returning number as order_ref", "the query fails"),
    ] {
        let (why, code) = run(&config, &write(name, sql), &["--say", "--yes"]);
        assert!(code == Some(2) && why.as_str().is_some_and(|why| why.contains(part)), "{name}: {code:?} {why}");
    }
    assert_eq!(stage.text("select count(*) from public.past").await, "23");
    assert_eq!(run(&config, "/nonexistent.sql", &[]).1, Some(2));
}
