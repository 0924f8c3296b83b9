//! The shop beside us behaves as without us, whatever its transactions do and whatever happens to its tables.

use std::time::Duration;

use tokio_postgres::Client;

use crate::support::{
    postgres::{Database, database},
    sql::{all, fails, one, run},
};

/// Orders and refunds with triggers on both; `pbt_shop` writes them.
async fn shop() -> (Database, Client) {
    let database = database().await;
    database.role("pbt_shop", &[]).await;
    let db = database.connect().await;
    run(
        &db,
        "create table public.orders (id int primary key, state text, total int, refunded int default 0, meta json);
         create table public.refunds (id int generated always as identity primary key, order_id int, amount int);
         grant all on public.orders, public.refunds to pbt_shop;
         select postback.attach('public.orders', 'insert or update', $$new.state = 'paid' and (tg_op = 'INSERT' or old.state is distinct from new.state)$$,
           $$perform postback.purchase(new.id::text, postback.minor(new.total), 'EUR', '{}')$$, name => 'paid');
         select postback.attach('public.refunds', 'insert', 'true', $$perform postback.refund(new.order_id::text, new.id::text, postback.minor(new.amount))$$, name => 'refunded')",
    )
    .await;
    (database, db)
}

async fn count(db: &Client, what: &str) -> i64 {
    one(db, &format!("select count(*) from {what}")).await
}

#[tokio::test]
async fn opposite_lock_orders_wait_for_each_other_as_they_did() {
    let (database, db) = shop().await;
    run(&db, "insert into public.orders values (1, 'cart', 1), (2, 'cart', 1)").await;
    let (a, b) = (database.connect_as("pbt_shop").await, database.connect_as("pbt_shop").await);
    // Both say something about both orders, in opposite order, and refund them; only their own row locks may meet.
    run(&a, "begin; insert into public.refunds (order_id, amount) values (1, 1); update public.orders set state = 'paid' where id = 1").await;
    run(&b, "begin; insert into public.refunds (order_id, amount) values (2, 1); insert into public.refunds (order_id, amount) values (1, 1)").await;
    run(&a, "insert into public.refunds (order_id, amount) values (2, 1)").await;
    run(&b, "update public.orders set state = 'paid' where id = 2").await;
    tokio::join!(run(&a, "commit"), run(&b, "commit"));
    assert_eq!((count(&db, "postback.event").await, count(&db, "postback.trouble").await), (6, 0));
}

#[tokio::test]
async fn repeatable_read_and_serializable_lose_nothing() {
    for level in ["repeatable read", "serializable"] {
        let (database, db) = shop().await;
        run(&db, "insert into public.orders values (1, 'paid', 100)").await;
        let (a, b) = (database.connect_as("pbt_shop").await, database.connect_as("pbt_shop").await);
        for client in [&a, &b] {
            run(client, &format!("begin isolation level {level}; insert into public.refunds (order_id, amount) values (1, 10)")).await;
        }
        tokio::join!(run(&a, "commit"), run(&b, "commit"));
        assert_eq!(count(&db, "postback.event where kind = 'refund'").await, 2, "{level}");
        // A conflict of the shop's own stays the shop's own.
        run(&a, &format!("begin isolation level {level}; select * from public.orders")).await;
        run(&b, "update public.orders set total = 7").await;
        assert_eq!(fails(&a, "update public.orders set total = 8").await.0, "40001", "{level}");
        run(&a, "rollback").await;
        assert_eq!(count(&db, "postback.trouble").await, 0, "{level}");
    }
}

#[tokio::test]
async fn savepoints_and_rollbacks_take_their_events_with_them() {
    let (database, db) = shop().await;
    let shop = database.connect_as("pbt_shop").await;
    run(
        &shop,
        "begin; insert into public.orders values (1, 'paid', 1); savepoint s; insert into public.orders values (2, 'paid', 1); rollback to s;
         insert into public.orders values (3, 'paid', 1); release s; commit;
         begin; insert into public.orders values (4, 'paid', 1); rollback",
    )
    .await;
    assert_eq!(all::<String>(&db, "select ref from postback.event order by id").await, ["1", "3"]);
    assert_eq!(one::<i64>(&db, "select count(distinct txid) from postback.event").await, 1, "the row holds the top transaction");
}

#[tokio::test]
async fn a_lock_that_the_body_waits_for_costs_the_event_and_not_the_order() {
    let (database, db) = shop().await;
    run(
        &db,
        "create table public.rates (id int); grant select on public.rates to postback_owner;
         select postback.attach('public.orders', 'update', $$new.state = 'slow'$$, $$perform from public.rates; perform postback.purchase(new.id::text, 1, 'EUR', '{}')$$, name => 'slow');
         insert into public.orders values (1, 'cart', 1)",
    )
    .await;
    let (shop, other) = (database.connect_as("pbt_shop").await, database.connect().await);
    run(&other, "begin; lock table public.rates").await;
    run(&shop, "set lock_timeout = '50ms'; update public.orders set state = 'slow'").await;
    run(&other, "rollback").await;
    assert_eq!(one::<String>(&db, "select sqlstate from postback.trouble").await, "55P03");
    assert_eq!(one::<String>(&db, "select state from public.orders").await, "slow");
    assert!(one::<bool>(&db, "select (postback.trouble_retry(1)).said").await);
    // The shop's own lock waits end as they did.
    run(&other, "begin; update public.orders set total = 2").await;
    assert_eq!(fails(&shop, "update public.orders set state = 'paid'").await.0, "55P03");
    run(&shop, "set lock_timeout = 0; set statement_timeout = '50ms'").await;
    assert_eq!(fails(&shop, "update public.orders set state = 'paid'").await.0, "57014");
}

#[tokio::test]
async fn sixty_four_writers_on_one_order() {
    let (database, db) = shop().await;
    run(&db, "insert into public.orders values (1, 'paid', 6400)").await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let client = database.connect_as("pbt_shop").await;
        writers.spawn(async move {
            for _ in 0..5 {
                run(&client, "begin; update public.orders set refunded = refunded + 1 where id = 1; insert into public.refunds (order_id, amount) values (1, 1); commit").await;
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("a writer");
    }
    assert_eq!(one::<i32>(&db, "select refunded from public.orders").await, 320);
    assert_eq!((count(&db, "postback.event where kind = 'refund'").await, count(&db, "postback.trouble").await), (320, 0));
}

#[tokio::test]
async fn twenty_thousand_rows_in_one_statement() {
    let (database, db) = shop().await;
    run(
        &db,
        "insert into public.orders select i, 'cart', i from generate_series(1, 20000) i;
         select postback.attach('public.orders', 'update', 'true', $$select postback.refund(n.id::text, 'all', postback.minor(n.refunded))
           from new_rows n join old_rows o using (id) where n.refunded > o.refunded$$, bulk => true, name => 'bulk')",
    )
    .await;
    let shop = database.connect_as("pbt_shop").await;
    run(&shop, "update public.orders set refunded = total").await;
    assert_eq!(count(&db, "postback.event where kind = 'refund'").await, 20_000);
    run(&shop, "update public.orders set state = 'paid'").await;
    assert_eq!(count(&db, "postback.event where kind = 'purchase'").await, 20_000);
    assert_eq!(count(&db, "postback.trouble").await, 0);
    assert!(all::<String>(&db, "select hint from postback.doctor()").await.iter().any(|hint| hint.contains("bulk => true")));
}

/// The shop's migrations run while sessions that have fired the trigger stay open.
#[tokio::test]
async fn alter_table_works_as_without_us_and_kept_sessions_go_on() {
    let (database, db) = shop().await;
    let kept = database.connect_as("pbt_shop").await;
    let mut order = 0;
    let pay = async |column: &str, order: &mut i64| {
        *order += 1;
        run(&kept, &format!("insert into public.orders (id, state, {column}) values ({order}, 'paid', 100)")).await;
    };
    let open = async || all::<String>(&db, "select sqlstate || ' ' || message from postback.trouble where done is null").await;
    for migration in [
        "alter table public.orders alter total type bigint",
        "alter table public.orders add column note text default 'x'",
        "alter table public.orders drop column note",
        "alter table public.orders alter state type varchar(40)",
        "alter table public.orders rename column refunded to returned",
        "alter table public.orders rename to purchases; alter table public.purchases rename to orders",
        "alter table public.orders drop column state; alter table public.orders add column state text",
    ] {
        pay("total", &mut order).await;
        run(&db, migration).await;
        pay("total", &mut order).await;
        all::<String>(&db, "select name from postback.heal()").await;
        assert_eq!(open().await, Vec::<String>::new(), "after {migration}");
        pay("total", &mut order).await;
        assert_eq!(open().await, Vec::<String>::new(), "after {migration}");
    }
    // A name that the body uses cannot be guessed: every order commits, is kept, and is said once a person has put it right.
    run(&db, "alter table public.orders rename column total to sum").await;
    for _ in 0..2 {
        pay("sum", &mut order).await;
        all::<String>(&db, "select name from postback.heal()").await;
    }
    assert_eq!(open().await.len(), 2, "{:?}", open().await);
    run(&db, "alter table public.orders rename column sum to total; select postback.heal()").await;
    let retried = r#"select count(*) filter (where (postback.trouble_retry(id, '{"sum": "total"}')).said) from postback.trouble where done is null"#;
    assert_eq!(one::<i64>(&db, retried).await, 2);
    run(&db, "drop table public.refunds").await;
    assert_eq!(one::<i64>(&db, "select count(distinct ref) from postback.event where kind = 'purchase'").await, order);
    run(&db, "drop table public.orders; select postback.heal()").await;
}

#[tokio::test]
async fn only_pending_deferred_triggers_stand_in_the_way_of_alter_table() {
    let (database, db) = shop().await;
    run(&db, "alter table public.orders owner to pbt_shop").await;
    let shop = database.connect_as("pbt_shop").await;
    run(&shop, "begin; insert into public.orders values (1, 'paid', 1); alter table public.orders add column a int; commit").await;
    run(
        &db,
        "select postback.attach('public.orders', 'insert', 'true', $$perform postback.purchase('late' || o.id, postback.minor(o.total), 'EUR', '{}') from public.orders o where o.id = new.id$$,
           deferred => true, name => 'late')",
    )
    .await;
    run(&shop, "begin; insert into public.orders values (2, 'cart', 1); update public.orders set total = 500 where id = 2; commit").await;
    assert_eq!(
        one::<String>(&db, "select payload ->> 'value' from postback.event where ref = 'late2'").await,
        "5.00",
        "NEW is stale, the row is read again"
    );
    run(&shop, "begin; insert into public.orders values (3, 'cart', 1)").await;
    assert_eq!(fails(&shop, "alter table public.orders add column b int").await.0, "55006");
    run(&shop, "rollback; begin; insert into public.orders values (3, 'cart', 1); set constraints all immediate; alter table public.orders add column b int; commit").await;
    assert_eq!(count(&db, "postback.event where ref = 'late3'").await, 1);
}

#[tokio::test]
async fn whatever_a_body_does_the_order_commits() {
    let (database, db) = shop().await;
    let shop = database.connect_as("pbt_shop").await;
    run(&db, "create function public.endless(n int) returns int language plpgsql as $$ begin return public.endless(n + 1); end $$").await;
    for (n, (body, state)) in [
        ("assert new.id is null, 'never'", "P0004"),
        ("raise exception 'no' using errcode = 'PB123'", "PB123"),
        ("perform new.state::int", "22P02"),
        ("perform new.meta::jsonb", "22P05"),
        ("perform public.endless(1)", "54001"),
        ("insert into postback.event (id, kind, ref, payload) values (1, 'x', 'x', '{}'), (1, 'x', 'x', '{}')", "23505"),
        ("perform from public.refunds for update", "42501"),
        ("execute 'commit'", "0A000"),
        ("perform postback.purchase(new.id::text, null, 'EUR', '{}')", "22023"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = n + 1;
        // Attached under a body that passes the trial, as bodies were before the shop changed.
        run(&db, "select postback.attach('public.orders', 'update', $$new.state = 'boom'$$, 'perform 1', name => 'boom')").await;
        let a = format!("update postback.attached set body = $b${body}$b$ where name = 'boom'");
        run(&db, &format!("{a}; select postback.write_functions(t) from postback.attached t where name = 'boom'")).await;
        run(&shop, &format!(r#"insert into public.orders values ({id}, 'cart', 1, 0, '{{"a": "\u0000"}}'); update public.orders set state = 'boom' where id = {id}"#)).await;
        let got: String = one(&db, "select sqlstate from postback.trouble order by id desc limit 1").await;
        assert_eq!((got.as_str(), count(&db, "postback.trouble").await), (state, id as i64), "{body}");
    }
    assert_eq!(count(&db, "public.orders where state = 'boom'").await, 9);
    // Even with our tables gone the shop goes on.
    run(&db, "drop table postback.trouble, postback.event cascade").await;
    run(&shop, "insert into public.orders values (100, 'paid', 1); update public.orders set state = 'boom'").await;
}

#[tokio::test]
async fn replicas_and_silenced_sessions_say_nothing_and_nested_triggers_do() {
    let (database, db) = shop().await;
    run(
        &db,
        "set session_replication_role = replica; insert into public.orders values (1, 'paid', 1); reset session_replication_role;
         set postback.enabled = off; insert into public.orders values (2, 'paid', 1); reset postback.enabled;
         create function public.refund_all() returns trigger language plpgsql as $$ begin insert into public.refunds (order_id, amount) values (new.id, new.total); return null; end $$;
         create trigger mine after update on public.orders for each row when (new.state = 'lost') execute function public.refund_all()",
    )
    .await;
    assert_eq!(count(&db, "postback.event").await, 0);
    let shop = database.connect_as("pbt_shop").await;
    run(&shop, "update public.orders set state = 'lost'").await;
    assert_eq!(count(&db, "postback.event where kind = 'refund'").await, 2);
}

#[tokio::test]
async fn a_search_path_of_the_shops_cannot_reach_our_functions() {
    let (database, db) = shop().await;
    run(&db, "grant create on schema public to pbt_shop").await;
    let shop = database.connect_as("pbt_shop").await;
    run(
        &shop,
        "create function public.clock_timestamp() returns timestamptz language plpgsql as $$ begin raise exception 'reached as %', current_user; end $$;
         create function public.lower(text) returns text language plpgsql as $$ begin raise exception 'reached as %', current_user; end $$;
         create function public.to_jsonb(anyelement) returns jsonb language plpgsql as $$ begin raise exception 'reached as %', current_user; end $$;
         create temp table event (id int); set search_path = public, pg_temp, pg_catalog;
         insert into public.orders values (1, 'paid', 1), (2, 'paid', -1)",
    )
    .await;
    assert_eq!(all::<String>(&db, "select ref from postback.event").await, ["1"]);
    assert_eq!(all::<String>(&db, "select message from postback.trouble").await, ["value is negative"]);
}

#[tokio::test]
async fn our_ddl_makes_the_shop_wait_for_a_moment_only() {
    let (database, db) = shop().await;
    let (long, shop) = (database.connect().await, database.connect_as("pbt_shop").await);
    run(&long, "begin; insert into public.orders values (1, 'cart', 1)").await;
    let attaching = async {
        run(&db, "select postback.attach('public.orders', 'delete', 'true', 'perform postback.retract(old.id::text)')").await;
    };
    tokio::pin!(attaching);
    for id in 2..12 {
        let write = async { run(&shop, &format!("set lock_timeout = '1s'; insert into public.orders values ({id}, 'paid', 1)")).await };
        tokio::select! {
            biased;
            () = &mut attaching => panic!("attached under an open transaction"),
            () = write => {}
        }
        let pause = tokio::time::timeout(Duration::from_millis(60), &mut attaching).await;
        assert!(pause.is_err(), "attached under an open transaction");
    }
    run(&long, "commit").await;
    attaching.await;
    assert_eq!(count(&db, "postback.event").await, 10);
}
