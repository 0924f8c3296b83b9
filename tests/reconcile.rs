//! Orders that were paid and that no trigger said are found in the shop's books, whatever kept the trigger from it, and can be said.

use serde_json::Value;

use crate::{
    sending::Stage,
    support::daemon::{Config, command},
};

const SHOP: &str = "
  create table public.orders (ref text primary key, total numeric, refunded numeric not null default 0, currency text, paid_at timestamptz default now());
  create table public.payments (ref text primary key, amount numeric);
  grant select on public.orders, public.payments to postback_owner;
  select postback.books('select ref as order_ref, total as value, refunded, currency, paid_at from public.orders');
  select postback.attach('public.orders', 'insert', 'new.ref not like ''by-payment%''', 'select postback.purchase(new.ref, new.total, new.currency, ''{}'')', name => 'orders_paid');
  select postback.attach('public.payments', 'insert', 'true',
    'select postback.purchase(p.ref, p.amount, ''EUR'', ''{}'') from public.payments p where p.ref = new.ref', name => 'payments_paid')";

/// Each of these writes one order in a way in which no event comes of it.
const LOST: &[(&str, &str)] = &[
    ("replica", "set session_replication_role = replica; insert into public.orders values ('replica', 10, 0, 'EUR'); reset session_replication_role"),
    ("off", "set postback.enabled = off; insert into public.orders values ('off', 10.50, 0, 'EUR'); reset postback.enabled"),
    (
        "disabled",
        "alter table public.orders disable trigger user; insert into public.orders values ('disabled', 10, 4, 'EUR'); alter table public.orders enable trigger user",
    ),
    (
        "by-payment",
        "insert into public.orders values ('by-payment', 12, 0, 'EUR'); alter table public.payments enable row level security;
         insert into public.payments values ('by-payment', 12); alter table public.payments disable row level security",
    ),
    ("detached", "select postback.detach('orders_paid'); insert into public.orders values ('detached', 9000, 0, 'JPY')"),
];

fn reconcile(config: &Config, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = command(config, &[&["reconcile", "--json"], arguments].concat());
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&output.stderr).into_owned()));
    (value, output.status.code())
}

fn names(found: &Value) -> Vec<&str> {
    found["orders"].as_array().expect("orders").iter().filter_map(|order| order["order_ref"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_trigger_said_is_found_and_said_once() {
    let stage = Stage::new().await;
    let config = stage.config(&[]);
    let (why, code) = reconcile(&config, &[]);
    assert!(code == Some(1) && why.as_str().is_some_and(|why| why.contains("select postback.books(")), "{why}");
    stage.shop(SHOP).await;
    let mut daemon = stage.daemon(&[]).await;
    stage.shop("insert into public.orders values ('said', 5, 0, 'EUR')").await;
    for (_, sql) in LOST {
        stage.shop(sql).await;
    }
    stage.shop("insert into public.orders values ('worthless', null, 0, 'EUR', now()), ('old', 5, 0, 'EUR', now() - interval '8 days')").await;
    stage.settled().await;
    let (found, code) = reconcile(&config, &[]);
    let mut have = names(&found);
    have.sort_unstable();
    let mut want: Vec<&str> = LOST.iter().map(|(name, _)| *name).chain(["worthless"]).collect();
    want.sort_unstable();
    assert_eq!((have, code, found["count"].as_i64()), (want, Some(1), Some(6)), "{found:#}");
    assert_eq!(
        (names(&reconcile(&config, &["--since", "30d", "--limit", "1"]).0), reconcile(&config, &["--since", "30d"]).0["count"].as_i64()),
        (vec!["old"], Some(7))
    );
    assert_eq!(reconcile(&config, &["--say"]).1, Some(2), "nobody can be asked");

    let (found, code) = reconcile(&config, &["--say", "--yes"]);
    assert_eq!((found["said"].as_i64(), code), (Some(5), Some(1)), "{found:#}");
    stage.settled().await;
    let told = |stage: &Stage| {
        let mut told: Vec<(String, String)> = stage
            .receiver
            .log()
            .iter()
            .filter(|arrival| arrival.order() != "said")
            .map(|arrival| (arrival.id(), arrival.param("value").unwrap_or_default()))
            .collect();
        told.sort();
        told
    };
    let want = [
        ("purchase-by-payment", "12.00"),
        ("purchase-detached", "9000"),
        ("purchase-disabled", "10.00"),
        ("purchase-off", "10.50"),
        ("purchase-replica", "10.00"),
        ("refund-disabled-reconciled", "4.00"),
    ];
    assert_eq!(told(&stage), want.map(|(id, value)| (id.to_owned(), value.to_owned())));
    let (found, code) = reconcile(&config, &["--say", "--yes"]);
    assert_eq!((names(&found), found["said"].as_i64(), code), (vec!["worthless"], Some(0), Some(1)));

    // Unread, by whoever says it first: it has an event and is not said again.
    assert!(daemon.term().await.success());
    stage.shop("select postback.attach('public.orders', 'insert', 'true', 'select postback.purchase(new.ref, new.total, new.currency, ''{}'')', name => 'again')").await;
    stage.shop("delete from public.orders where ref = 'worthless'; insert into public.orders values ('unread', 1, 0, 'EUR')").await;
    let (found, code) = reconcile(&config, &[]);
    assert_eq!((found["count"].as_i64(), code), (Some(0), Some(0)), "{found:#}");
    // A query that fails quotes nothing of the shop's.
    stage.shop("update public.orders set currency = 'canary@shop.example'; update postback.book set query = 'select ref as order_ref, currency::numeric as value, refunded, currency, paid_at from public.orders'").await;
    let (why, code) = reconcile(&config, &[]);
    let why = why.as_str().unwrap_or_default();
    assert!(code == Some(1) && why.contains("SQLSTATE 22P02") && !why.contains("canary"), "{why}");
}
