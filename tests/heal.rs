//! The shop changes its tables while its sessions stay open: no order fails, what could not be said is kept, and the daemon
//! makes the triggers anew and says it, once and in order.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, Statement};

use crate::support::{
    daemon::{Config, Daemon, command},
    pgbouncer::PgBouncer,
    postgres::{Database, database},
    receiver::Receiver,
    sql::{all, one, run},
};

/// How a table is attached.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Row,
    Deferred,
    Bulk,
    /// Two partitions, whose columns stand in different order.
    Partitioned,
    /// A child of the table that is changed.
    Inherited,
}

/// What happens to a table of its own, `@`, while sessions are open.
const CHANGES: [(&str, &str); 11] = [
    ("to_bigint", "alter table @ alter total type bigint"),
    ("to_numeric", "alter table @ alter total type numeric(12, 2)"),
    ("to_text", "alter table @ alter total type text using total::text"),
    (
        "to_enum",
        "create type @_ch as enum ('web', 'app');
         alter table @ alter channel drop default, alter channel type @_ch using channel::@_ch, alter channel set default 'web'",
    ),
    (
        "another_enum",
        "create type @_new as enum ('web', 'app', 'shop');
         alter table @ alter thing drop default, alter thing type @_new using thing::text::@_new, alter thing set default 'web'; drop type @_old",
    ),
    ("added", "alter table @ add column more int default 5"),
    ("dropped", "alter table @ drop column legacy"),
    ("renamed", "alter table @ rename legacy to old_legacy"),
    ("swapped", "alter table @ rename total to t; alter table @ rename spare to total; alter table @ rename t to spare"),
    ("made_anew", "alter table @ drop column total; alter table @ add column total numeric(10, 2) default 3"),
    ("all_at_once", "alter table @ alter total type numeric, drop column legacy, add column more text, alter currency type varchar(3)"),
];

/// The table that the shop writes.
fn written(kind: Kind, table: &str) -> String {
    if kind == Kind::Inherited { format!("{table}_kid") } else { table.to_owned() }
}

/// A table with two attachments, the later one first by its name.
async fn install(db: &Client, kind: Kind, table: &str) {
    let columns = "id int, state text, spare bigint default 7, total int default 100, currency text default 'EUR', legacy text default 'x',
                   channel text default 'web', thing @_old default 'web'";
    let make = match kind {
        Kind::Partitioned => format!(
            "create table @ ({columns}, primary key (id)) partition by range (id); create table @_1 partition of @ for values from (0) to (1000);
             create table @_2 (gone int, thing @_old default 'web', channel text default 'web', legacy text default 'x', currency text default 'EUR',
                               total int default 100, spare bigint default 7, state text, id int not null);
             alter table @_2 drop column gone; alter table @ attach partition @_2 for values from (1000) to (1000000);"
        ),
        Kind::Inherited => format!("create table @ ({columns}); create table @_kid (primary key (id)) inherits (@);"),
        _ => format!("create table @ ({columns}, primary key (id));"),
    };
    let (paid, back) = match kind {
        Kind::Bulk => (
            "'true', $$select postback.purchase('@-' || n.id, n.total::numeric, n.currency, '{}', jsonb_build_object('shop', n.channel::text || n.thing::text))
                        from new_rows n join old_rows o using (id) where n.state = 'paid' and o.state <> 'paid'$$",
            "'true', $$select postback.refund('@-' || n.id, 'r', 1) from new_rows n join old_rows o using (id)
                        where n.state = 'back' and o.state <> 'back' and n.total::numeric > 0$$",
        ),
        _ => (
            "$$new.state = 'paid' and old.state <> 'paid'$$,
             $$perform postback.purchase('@-' || new.id, new.total::numeric, new.currency, '{}', jsonb_build_object('shop', new.channel::text || new.thing::text))$$",
            "$$new.state = 'back' and old.state <> 'back'$$, $$perform postback.refund('@-' || new.id, 'r', 1) where new.total::numeric > 0$$",
        ),
    };
    let (on, deferred, bulk) = (written(kind, table), kind == Kind::Deferred, kind == Kind::Bulk);
    let attach = |name: &str, says: &str| format!("select postback.attach('{on}', 'update', {says}, {deferred}, {bulk}, '{name}_@');");
    let sql = format!("create type @_old as enum ('web', 'app'); {make} {} {}", attach("a", back), attach("b", paid));
    run(db, &sql.replace('@', table)).await;
}

/// A session of the shop that stays open.
struct Open {
    client: Client,
    /// insert, pay, give back; by table. Without them it says everything as text, as it must through a pool.
    prepared: Vec<[Statement; 3]>,
}

impl Open {
    async fn new(client: Client, tables: &[String], prepare: bool) -> Self {
        let mut prepared = Vec::new();
        for table in tables.iter().filter(|_| prepare) {
            let mut statements = Vec::new();
            for sql in steps(table, "$1") {
                statements.push(client.prepare(&sql).await.expect("preparing"));
            }
            prepared.push(statements.try_into().unwrap_or_else(|_| panic!("three")));
        }
        Self { client, prepared }
    }

    /// An order that is made, paid and given back, each in a transaction of its own; the shop notices nothing.
    async fn order(&self, tables: &[String], table: usize, id: i32) {
        for (step, sql) in steps(&tables[table], &id.to_string()).iter().enumerate() {
            let done = match self.prepared.get(table) {
                Some(prepared) => self.client.execute(&prepared[step], &[&id]).await.map(drop),
                None => self.client.batch_execute(sql).await,
            };
            done.unwrap_or_else(|why| panic!("an order failed, prepared: {}: {sql}: {why:?}", !self.prepared.is_empty()));
        }
    }
}

fn steps(table: &str, id: &str) -> [String; 3] {
    [
        format!("insert into {table} (id, state) values ({id}, 'cart')"),
        format!("update {table} set state = 'paid' where id = {id}"),
        format!("update {table} set state = 'back' where id = {id}"),
    ]
}

/// Orders that are not said as they should: exactly one purchase and one refund, in this order where both were in trouble.
/// Of a change that only the purchase's body meets, the refund was said at once.
const WRONG: &str = "select o.ref || coalesce(': ' || e.said, ': nothing') from orders_made o
      left join (select ref, string_agg(kind, ' ' order by id) as said from postback.event group by ref) e using (ref)
     where e.said is distinct from 'purchase refund' and (e.said is distinct from 'refund purchase' or ref !~ '_enum-') order by 1";

async fn until(db: &Client, sql: &str, within: Duration) -> Result<Duration, Vec<String>> {
    let began = Instant::now();
    loop {
        let left: Vec<String> = all(db, sql).await;
        if left.is_empty() {
            return Ok(began.elapsed());
        }
        if began.elapsed() > within {
            return Err(left);
        }
        // What happens in another process can only be asked for.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every change with sessions open that have run the triggers before: plain ones, prepared statements, and through a pool.
async fn drift(kind: Kind) {
    let database = database().await;
    let db = database.connect().await;
    run(&db, "create table orders_made (ref text primary key)").await;
    for (table, _) in CHANGES {
        install(&db, kind, table).await;
    }
    let pool = PgBouncer::start(&database, &[], &["default_pool_size = 2"]).await;
    let tables: Vec<String> = CHANGES.iter().map(|(table, _)| written(kind, table)).collect();
    let mut sessions = Vec::new();
    for n in 0..5 {
        let client = if n < 4 { database.connect().await } else { pool.connect(&pool.url()).await };
        sessions.push(Open::new(client, &tables, n < 2).await);
    }
    let receiver = Receiver::start();
    let daemon = Daemon::start(Config::new(&database).destination("d", &receiver, &[])).await;
    // A plan is kept after a few runs. Ids of every other session lie in the other partition.
    let ids = |session: usize, from: i32| (0..6).map(move |n| session as i32 % 2 * 5000 + session as i32 * 50 + from + n);
    for (n, session) in sessions.iter().enumerate() {
        for table in 0..tables.len() {
            for id in ids(n, 0) {
                session.order(&tables, table, id).await;
            }
        }
    }
    let made = |from: i32| {
        let of_session = move |n: usize| ids(n, from).map(|id| id.to_string());
        let ids: Vec<String> = (0..sessions.len()).flat_map(of_session).collect();
        let rows: Vec<String> = CHANGES.iter().flat_map(|(table, _)| ids.iter().map(move |id| format!("('{table}-{id}')"))).collect();
        format!("insert into orders_made values {}", rows.join(","))
    };
    run(&db, &made(0)).await;
    assert_eq!(all::<String>(&db, WRONG).await, Vec::<String>::new(), "before anything changed");

    // The daemon looks the other way while it happens, so that every session is caught.
    daemon.stop();
    for (table, sql) in CHANGES {
        run(&db, &sql.replace('@', table)).await;
    }
    for (n, session) in sessions.iter().enumerate() {
        for table in 0..tables.len() {
            for id in ids(n, 20) {
                session.order(&tables, table, id).await;
            }
        }
    }
    run(&db, &made(20)).await;
    let broken: Vec<String> =
        all(&db, "select format('%s %s %s', what, sqlstate, count(*)) from postback.trouble group by what, sqlstate order by 1").await;
    println!("{kind:?}: {broken:#?}");
    if kind != Kind::Bulk {
        assert!(broken.iter().any(|what| what.starts_with("b_to_bigint 42804")), "{kind:?}: nothing was broken: {broken:?}");
    }
    daemon.cont();
    let healed = until(&db, WRONG, Duration::from_secs(15)).await;
    let left: Vec<String> =
        all(&db, "select format('%s %s %s %s %s', what, sqlstate, tries, message, answer) from postback.trouble where done is null").await;
    let healed = healed.unwrap_or_else(|wrong| {
        panic!(
            "{kind:?}: {} orders are not said as they should: {:#?}\ntrouble: {left:#?}\n{}",
            wrong.len(),
            &wrong[..wrong.len().min(20)],
            daemon.stderr()
        )
    });
    println!("{kind:?}: everything was said {healed:?} after the daemon came back");
    assert!(left.is_empty(), "{left:?}");
    // The sessions are well again without having been opened anew.
    for (n, session) in sessions.iter().enumerate() {
        for table in 0..tables.len() {
            session.order(&tables, table, ids(n, 40).next().expect("an id")).await;
        }
    }
    assert_eq!(all::<String>(&db, "select what || message from postback.trouble where done is null").await, Vec::<String>::new());
    let errors = "select what from postback.doctor() where severity = 'error'";
    assert_eq!(all::<String>(&db, errors).await, Vec::<String>::new());
    // And told once, a refund behind its purchase whatever became of it on the way.
    let wanted: i64 = one(&db, "select count(*) from postback.event").await;
    let told = receiver.wait_until("everything", |log| log.len() as i64 >= wanted).await;
    let mut by_order: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for arrival in &told {
        by_order.entry(arrival.order()).or_default().push(arrival.query.iter().find(|(key, _)| key == "kind").expect("a kind").1.clone());
    }
    by_order.retain(|_, kinds| kinds[..] != ["purchase", "refund"]);
    assert!(by_order.is_empty(), "{kind:?}: {by_order:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_triggers_heal() {
    drift(Kind::Row).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deferred_triggers_heal() {
    drift(Kind::Deferred).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_triggers_heal() {
    drift(Kind::Bulk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_of_partitions_heal() {
    drift(Kind::Partitioned).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_of_inheritance_children_heal() {
    drift(Kind::Inherited).await;
}
