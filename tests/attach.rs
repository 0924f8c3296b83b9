//! Attaching, detaching, switching off, healing, retrying.

use crate::support::{
    postgres::{Database, database},
    sql::{all, fails, one, run},
};

/// Orders that say something when they are paid.
const PAID: &str = "select postback.attach('public.orders', 'insert or update', \
    $$new.state = 'paid' and (tg_op = 'INSERT' or old.state is distinct from new.state)$$, \
    $$perform postback.purchase(new.id::text, postback.minor(new.total), new.currency, '{}')$$, name => 'paid')";

async fn shop() -> (Database, tokio_postgres::Client) {
    let database = database().await;
    database.role("pbt_shop", &[]).await;
    let db = database.connect().await;
    run(
        &db,
        "create table public.orders (id int primary key, state text, total int, currency text default 'EUR', meta json);
         grant all on public.orders to pbt_shop",
    )
    .await;
    (database, db)
}

async fn said(db: &tokio_postgres::Client) -> Vec<String> {
    all(db, "select concat_ws(' ', kind, ref, coalesce(payload ->> 'value', payload ->> 'amount')) from postback.event order by id").await
}

async fn trouble(db: &tokio_postgres::Client) -> Vec<String> {
    all(db, "select what || ' ' || sqlstate from postback.trouble where done is null order by id").await
}

#[tokio::test]
async fn the_shops_role_needs_no_rights() {
    let (database, db) = shop().await;
    run(&db, PAID).await;
    let shop = database.connect_as("pbt_shop").await;
    run(
        &shop,
        "insert into public.orders values (1, 'paid', 100), (2, 'cart', 200); update public.orders set state = 'paid'; update public.orders set total = 5;
         insert into public.orders values (3, null, 1); update public.orders set state = 'paid' where id = 3",
    )
    .await;
    assert_eq!(said(&db).await, ["purchase 1 1.00", "purchase 2 2.00", "purchase 3 0.01"]);
    assert!(trouble(&db).await.is_empty());
    assert!(shop.batch_execute("select * from postback.event").await.is_err());
}

#[tokio::test]
async fn attaching_again_is_idempotent_and_takes_no_lock() {
    let (database, db) = shop().await;
    let name: String = one(&db, PAID).await;
    let other = database.connect().await;
    run(&other, "begin; insert into public.orders values (1, 'cart', 1)").await;
    assert_eq!(one::<String>(&db, &PAID.replace("new.total)", "new.total * 2)")).await, name);
    run(&other, "update public.orders set state = 'paid'; commit").await;
    assert_eq!(said(&db).await, ["purchase 1 0.02"]);
    assert_eq!(one::<i64>(&db, "select count(*) from pg_trigger where tgrelid = 'public.orders'::regclass").await, 1);
    // Without a name, table, operation and condition are the key.
    let unnamed = "select postback.attach('public.orders', 'DELETE', null, 'perform postback.retract(old.id::text)')";
    assert_eq!(one::<String>(&db, unnamed).await, one::<String>(&db, unnamed).await);
    assert_eq!(one::<i64>(&db, "select count(*) from postback.attached").await, 2);
    run(&db, "delete from public.orders").await;
    assert_eq!(said(&db).await.last().map(String::as_str), Some("retract 1"));
}

#[tokio::test]
async fn a_changed_shape_replaces_the_trigger() {
    let (_database, db) = shop().await;
    for (deferred, bulk, body) in [
        (false, false, "select postback.purchase(new.id::text, 1, 'EUR', '{}')"),
        (true, false, "select postback.purchase(new.id::text, 2, 'EUR', '{}')"),
        (false, true, "select postback.purchase(id::text, 3, 'EUR', '{}') from new_rows"),
        (false, false, "with t as (select 4 as v) select postback.purchase(new.id::text, v, 'EUR', '{}') from t; -- done"),
    ] {
        let sql =
            format!("select postback.attach('public.orders', 'insert', 'true', $${body}$$, deferred => {deferred}, bulk => {bulk}, name => 'x')");
        assert_eq!(one::<String>(&db, &sql).await, "x");
        run(&db, "insert into public.orders select coalesce(max(id), 0) + 1 from public.orders").await;
        assert_eq!(one::<i64>(&db, "select count(*) from pg_trigger where tgrelid = 'public.orders'::regclass").await, 1, "{body}");
    }
    assert_eq!(said(&db).await, ["purchase 1 1", "purchase 2 2", "purchase 3 3", "purchase 4 4"]);
}

#[tokio::test]
async fn what_cannot_work_is_refused_and_leaves_nothing() {
    let (_database, db) = shop().await;
    run(
        &db,
        "insert into public.orders values (1, 'paid', 1); create view public.v as select 1; create table public.secret (id int); create table public.hidden (id int);
         alter table public.hidden enable row level security",
    )
    .await;
    for (arguments, state, says) in [
        ("'public.orders', 'update', 'true', 'perform new.nope'", "42703", "nope"),
        ("'public.orders', 'update', 'false', 'perform new.nope'", "42703", "nope"),
        ("'public.orders', 'update', 'new.nope > 1', 'perform 1'", "42703", "nope"),
        ("'public.orders', 'update', 'true', 'perform from orders'", "42P01", "orders"),
        ("'public.orders', 'update', 'true', 'perform from public.secret'", "42501", "secret"),
        ("'public.orders', 'update', 'true', 'perfrom 1'", "42601", "perfrom"),
        ("'public.orders', 'update', 'true', 'perform 1 / (new.id - new.id)'", "22012", "division"),
        ("'public.orders', 'insert', 'old.id = 1', 'perform 1'", "55000", "old"),
        ("'public.orders', 'update of state', 'true', 'perform 1'", "22023", "update of state"),
        ("'public.orders', 'truncate', 'true', 'perform 1'", "22023", "truncate"),
        ("'public.orders', null, 'true', 'perform 1'", "22023", "operation"),
        ("'public.orders', 'update', 'true', ' '", "22023", "empty"),
        ("'public.orders', 'update', 'true', 'select 1 from new_rows', true, true", "0A000", "bulk and deferred"),
        ("'public.orders', 'insert', 'true', 'select 1 from old_rows', false, true", "42P01", "old_rows"),
        ("'public.v', 'insert', 'true', 'perform 1'", "42809", "not a table"),
        ("'postback.event', 'insert', 'true', 'perform 1'", "42809", "not a table"),
        ("'public.hidden', 'insert', 'true', 'perform 1'", "42501", "row security"),
        ("'public.orders', 'insert', 'true', 'perform 1', name => 'Bad Name'", "42602", "lower-case"),
        ("'public.orders', 'insert', 'true', 'perform 1', name => 'purchase'", "42723", "taken"),
    ] {
        let (code, message, _) = fails(&db, &format!("select postback.attach({arguments})")).await;
        assert!(code == state && message.contains(says), "{arguments}: {code} {message}");
    }
    assert_eq!(
        one::<i64>(&db, "select (select count(*) from postback.attached) + (select count(*) from pg_trigger where tgname like 'postback%')").await,
        0
    );
    assert_eq!(one::<i64>(&db, "select count(*) from postback.event").await, 0, "the trial run is taken back");
    run(&db, "create policy p on public.hidden for select to postback_owner using (true); select postback.attach('public.hidden', 'insert', 'true', 'perform 1')").await;
}

#[tokio::test]
async fn odd_names_partitions_and_other_schemas() {
    let (_database, db) = shop().await;
    run(
        &db,
        r#"create schema "We""ird $$ Schema"; create table "We""ird $$ Schema"."Ord'er; drop" ("Id" int, "new" text, part int) partition by list (part);
           create table "We""ird $$ Schema".one partition of "We""ird $$ Schema"."Ord'er; drop" for values in (1);
           create table "We""ird $$ Schema".two (part int, "new" text, "Id" int);
           alter table "We""ird $$ Schema"."Ord'er; drop" attach partition "We""ird $$ Schema".two for values in (2);"#,
    )
    .await;
    let table = r#"'"We""ird $$ Schema"."Ord''er; drop"'"#;
    for (deferred, body) in [(false, "a"), (true, "b")] {
        run(
            &db,
            &format!(r#"select postback.attach({table}, 'insert or delete', 'true', $b$perform postback.purchase('{body}' || coalesce(new."Id", old."Id"), 1, 'EUR', '{{}}')$b$, {deferred}, name => '{body}')"#),
        )
        .await;
    }
    run(&db, &format!(r#"select postback.attach({table}, 'insert', 'true', $b$select postback.purchase('c' || "Id", 1, 'EUR', '{{}}') from new_rows$b$, bulk => true)"#)).await;
    run(&db, r#"insert into "We""ird $$ Schema"."Ord'er; drop" values (1, 'x', 1), (2, 'y', 2); delete from "We""ird $$ Schema".two"#).await;
    assert_eq!(
        said(&db).await,
        ["purchase a1 1", "purchase a2 1", "purchase c1 1", "purchase c2 1", "purchase a2 1", "purchase b1 1", "purchase b2 1", "purchase b2 1"]
    );
    assert!(trouble(&db).await.is_empty());
    assert_eq!(one::<i32>(&db, "select postback.detach_all()").await, 3);
    assert_eq!(one::<i32>(&db, "select postback.attach_all()").await, 3);
    assert_eq!(one::<i32>(&db, "select postback.attach_all()").await, 0);
    assert!(all::<String>(&db, "select what from postback.doctor()").await.iter().all(|w| w.contains("partition")));
}

#[tokio::test]
async fn off_and_on_take_no_table_lock() {
    let (database, db) = shop().await;
    run(&db, PAID).await;
    let shop = database.connect_as("pbt_shop").await;
    run(&shop, "begin; insert into public.orders values (1, 'paid', 100)").await;
    run(&db, "set lock_timeout = '1s'").await;
    assert_eq!(one::<i32>(&db, "select postback.off()").await, 1);
    run(&shop, "insert into public.orders values (2, 'paid', 100); commit").await;
    // A recipe that runs again, and a new attachment, must not switch a part on.
    run(&db, PAID).await;
    run(&db, "select postback.attach('public.orders', 'delete', 'true', 'perform postback.retract(old.id::text)')").await;
    run(&shop, "insert into public.orders values (3, 'paid', 100); delete from public.orders where id = 3").await;
    assert_eq!(said(&db).await, ["purchase 1 1.00"]);
    assert!(all::<String>(&db, "select what from postback.doctor() where severity = 'error'").await.iter().any(|what| what.contains("switched off")));
    assert_eq!(one::<i32>(&db, "select postback.\"on\"()").await, 2);
    run(&shop, "insert into public.orders values (4, 'paid', 100)").await;
    assert_eq!(said(&db).await, ["purchase 1 1.00", "purchase 4 1.00"]);
}

#[tokio::test]
async fn detaching_gives_up_rather_than_make_the_shop_wait() {
    let (database, db) = shop().await;
    run(&db, PAID).await;
    let reader = database.connect().await;
    run(&reader, "begin; select * from public.orders").await;
    run(&db, "set statement_timeout = '2s'").await;
    assert_eq!(fails(&db, "select postback.detach_all()").await.0, "57014");
    assert_eq!(one::<i64>(&db, "select count(*) from pg_trigger where tgrelid = 'public.orders'::regclass").await, 1);
    run(&reader, "commit").await;
    assert!(one::<bool>(&db, "select postback.detach('paid')").await);
    assert!(!one::<bool>(&db, "select postback.detach('paid')").await);
    assert_eq!(one::<i64>(&db, "select count(*) from pg_proc where proname like 'paid%'").await, 0);
}

#[tokio::test]
async fn a_table_made_anew_under_its_old_name_is_found() {
    let (_database, db) = shop().await;
    run(&db, PAID).await;
    run(&db, "create table public.next (like public.orders including all); drop table public.orders; alter table public.next rename to orders").await;
    assert!(all::<String>(&db, "select what from postback.doctor()").await.iter().any(|what| what.contains("does not exist")));
    run(&db, "select * from postback.heal()").await;
    assert_eq!(one::<i32>(&db, "select postback.attach_all()").await, 1);
    run(&db, "insert into public.orders values (1, 'paid', 100)").await;
    assert_eq!(said(&db).await, ["purchase 1 1.00"]);
}

#[tokio::test]
async fn trouble_is_said_later_with_the_time_of_then() {
    let (_database, db) = shop().await;
    run(&db, PAID).await;
    run(&db, "alter table public.orders rename currency to cur; insert into public.orders values (1, 'paid', 100)").await;
    assert_eq!(trouble(&db).await, ["paid 42703"]);
    let retry = "select (postback.trouble_retry(1)).answer";
    assert!(one::<String>(&db, retry).await.contains("no column currency") || one::<String>(&db, retry).await.contains("has no field"));
    run(&db, &PAID.replace("new.currency", "new.cur")).await;
    run(&db, "update postback.trouble set at = '2026-01-01', new_row = new_row - 'cur' || '{\"currency\": \"EUR\"}'").await;
    assert!(one::<String>(&db, retry).await.contains("no column currency any more"));
    assert!(one::<bool>(&db, "select (postback.trouble_retry(1, '{\"currency\": \"cur\"}')).said").await);
    assert!(one::<bool>(&db, "select (postback.trouble_retry(1)).said").await, "what is done is done");
    assert_eq!(said(&db).await, ["purchase 1 1.00"]);
    assert_eq!(one::<String>(&db, "select occurred_at::date::text from postback.event").await, "2026-01-01");
    // A refused call is said again with an argument put right.
    run(&db, "insert into public.orders values (2, 'paid', null)").await;
    assert_eq!(trouble(&db).await, ["purchase 22023"]);
    assert!(!one::<bool>(&db, "select (postback.trouble_retry(max(id))).said from postback.trouble").await);
    assert!(one::<bool>(&db, "select (postback.trouble_retry(max(id), '{\"amount\": \"7\"}')).said from postback.trouble").await);
    assert_eq!(said(&db).await, ["purchase 1 1.00", "purchase 2 7"]);
}

#[tokio::test]
async fn a_row_that_is_no_jsonb_is_kept_as_text() {
    let (_database, db) = shop().await;
    let body = |sql: &str| format!("select postback.attach('public.orders', 'update', $$new.state = 'odd'$$, $${sql}$$, name => 'odd')");
    run(&db, r#"insert into public.orders values (1, 'cart', 100, 'EUR', '{"a": "\u0000"}')"#).await;
    run(&db, &body("perform 1 / (new.id - new.id)")).await;
    run(&db, "update public.orders set state = 'odd'").await;
    assert_eq!(trouble(&db).await, ["odd 22012"]);
    assert!(one::<bool>(&db, "select new_row is null and new_text like '(1,odd%' and old_text like '(1,cart%' from postback.trouble").await);
    run(&db, &body("perform postback.purchase(new.id || old.state, 1, 'EUR', '{}')").replace("= 'odd'", "in ('odd')")).await;
    assert!(one::<bool>(&db, "select (postback.trouble_retry(max(id))).said from postback.trouble").await);
    assert_eq!(said(&db).await, ["purchase 1cart 1"]);
}

#[tokio::test]
async fn bulk_rows_are_retried_one_by_one() {
    let (_database, db) = shop().await;
    run(
        &db,
        "insert into public.orders select i, 'cart', i from generate_series(1, 50) i;
         select postback.attach('public.orders', 'update', 'true', $$select postback.refund(n.id::text, 'r' || o.state, 100 / (n.total - 7)) from new_rows n join old_rows o using (id)
           where n.state = 'refunded' and o.state <> n.state and n.total > 6$$, bulk => true, name => 'refunds');
         update public.orders set state = 'refunded'",
    )
    .await;
    assert!(said(&db).await.is_empty());
    assert_eq!(trouble(&db).await.len(), 50, "every row of the statement");
    let left: i64 = one(&db, "select count(*) filter (where not (postback.trouble_retry(id)).said) from postback.trouble").await;
    assert_eq!((left, said(&db).await.len()), (1, 43), "one divides by zero, six have nothing to say");
    assert_eq!(said(&db).await[0], "refund 8 100");
}

#[tokio::test]
async fn doctor_finds_what_is_wrong_and_nothing_else() {
    let (database, db) = shop().await;
    run(&db, PAID).await;
    assert_eq!(all::<String>(&db, "select what from postback.doctor()").await, Vec::<String>::new());
    for (harm, says, cure) in [
        ("alter table public.orders disable trigger postback_paid", "missing or disabled", "select postback.attach_all()"),
        ("drop trigger postback_paid on public.orders", "missing or disabled", "select postback.attach_all()"),
        ("alter sequence postback.event_seq cache 10", "cache 10", "alter sequence postback.event_seq cache 1"),
        ("alter function postback.paid() owner to current_user", "belongs to", "alter function postback.paid() owner to postback_owner"),
        ("alter table public.orders enable row level security", "row security", "alter table public.orders disable row level security"),
        ("revoke select on public.orders from postback_owner", "may not read", "grant select on public.orders to postback_owner"),
        ("alter table public.orders rename total to sum", "has changed", "alter table public.orders rename sum to total"),
        (
            "alter database $DB set session_replication_role = replica",
            "session_replication_role",
            "alter database $DB reset session_replication_role",
        ),
        ("select postback.purchase(null, 1, 'EUR', '{}')", "not said by purchase", "delete from postback.trouble"),
        (
            "insert into public.orders values (1, 'paid', 1); alter table public.orders rename currency to c; select postback.heal()",
            "fails for INSERT",
            "alter table public.orders rename c to currency; select postback.heal()",
        ),
    ] {
        let (harm, cure) = (harm.replace("$DB", database.name()), cure.replace("$DB", database.name()));
        run(&db, &harm).await;
        let found: Vec<String> = all(&db, "select what || ' -> ' || hint from postback.doctor()").await;
        run(&db, &cure).await;
        assert!(found.iter().any(|what| what.contains(says)), "{harm}: {found:?}");
        assert_eq!(all::<String>(&db, "select what from postback.doctor()").await, Vec::<String>::new(), "after {cure}");
    }
}

#[tokio::test]
async fn the_books_are_asked_as_the_owner() {
    let (_database, db) = shop().await;
    assert_eq!(fails(&db, "select postback.booked(now(), now())").await.0, "P0002");
    assert_eq!(fails(&db, "select postback.books('select 1 as nope')").await.0, "42703");
    run(&db, "grant select on public.orders to postback_owner; insert into public.orders values (1, 'paid', 150)").await;
    run(
        &db,
        "select postback.books('select id as order_ref, total / 100.0 as value, 0 as refunded, currency, now() as paid_at from public.orders; ')",
    )
    .await;
    assert_eq!(
        all::<String>(&db, "select order_ref || ' ' || value::numeric(9,2) from postback.booked(now() - interval '1 h', now() + interval '1 h')")
            .await,
        ["1 1.50"]
    );
}
