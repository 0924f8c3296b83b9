//! A small shop with the habits that break readers of an outbox: transactions that take their xid long before they write,
//! that commit slowly, that roll back in whole or to a savepoint, that are prepared and decided later, and one that stays
//! open throughout. What it committed is kept in a [`Record`], to be compared with what was told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::{postgres::Database, rng::Rng};

/// One event of a committed transaction.
#[derive(Clone, Debug)]
pub struct Said {
    /// `postback.event.id`. Drawn while the order's row was locked: within an order this is the causal order.
    pub id: i64,
    /// Kind.
    pub kind: String,
    /// Order ref.
    pub order: String,
    /// Dedupe id.
    pub event_id: String,
    /// Dedupe id of the purchase that it belongs to.
    pub purchase: String,
    /// When COMMIT was about to be sent: nothing may be told before.
    pub commit_sent: Instant,
    /// When it had been answered.
    pub committed: Instant,
}

/// What a load did.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// In the order of their ids.
    pub committed: Vec<Said>,
    /// Event ids of what was rolled back, in whole or to a savepoint.
    pub rolled_back: Vec<i64>,
    /// Event ids of transactions whose COMMIT was not answered.
    pub in_doubt: Vec<i64>,
    /// Transactions begun.
    pub transactions: u64,
}

impl Record {
    /// Committed events by id.
    pub fn by_id(&self) -> BTreeMap<i64, &Said> {
        self.committed.iter().map(|said| (said.id, said)).collect()
    }

    fn add(&mut self, other: Self) {
        self.committed.extend(other.committed);
        self.rolled_back.extend(other.rolled_back);
        self.in_doubt.extend(other.in_doubt);
        self.transactions += other.transactions;
    }
}

/// How busy the shop is.
#[derive(Clone, Debug)]
pub struct Load {
    /// Sessions that write.
    pub writers: u64,
    /// Orders that they fight for.
    pub orders: u64,
    /// Pause of a writer between two transactions, up to this.
    pub pause: Duration,
    /// A transaction stays open throughout, with an event in it that is committed at the very end.
    pub held: bool,
    /// Chance.
    pub seed: u64,
}

impl Load {
    /// 12 writers on 40 orders without a pause, and a transaction that stays open.
    pub fn new(seed: u64) -> Self {
        Self { writers: 12, orders: 40, pause: Duration::ZERO, held: true, seed }
    }

    /// With pauses, so that a machine with two cores has room for what is tested.
    pub fn paused(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }
}

/// A shop at work.
pub struct Running {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Record>>,
    /// One that commits at the very end, one that rolls back then.
    held: Option<(Client, Client)>,
}

/// Tables and triggers. The orders exist before anybody fights for them.
pub async fn install(database: &Database) {
    database.connect().await.batch_execute(include_str!("shop.sql")).await.expect("the shop's tables and triggers");
}

/// Puts the shop to work.
pub async fn start(database: &Database, load: &Load) -> Running {
    let client = database.connect().await;
    let orders = "insert into shop.orders (id) select 'O' || n from generate_series(1, $1::bigint) n on conflict do nothing";
    client.execute(orders, &[&(load.orders as i64)]).await.expect("orders");
    client.batch_execute("insert into shop.orders (id) values ('HELD'), ('TAKEN-BACK') on conflict do nothing").await.expect("orders");
    let held = match load.held {
        true => {
            let (kept, dropped) = (database.connect().await, database.connect().await);
            kept.batch_execute("begin").await.expect("begin");
            act(&kept, "HELD", Act::Pay(2500)).await.expect("paying");
            dropped.batch_execute("begin").await.expect("begin");
            act(&dropped, "TAKEN-BACK", Act::Pay(2500)).await.expect("paying");
            Some((kept, dropped))
        }
        false => None,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..load.writers {
        let writer = Writer {
            client: database.connect().await,
            database: database.name().to_owned(),
            number: writer,
            load: load.clone(),
            rng: Rng::new(load.seed.wrapping_add(writer)),
            acts: 0,
            record: Record::default(),
        };
        writers.push(tokio::spawn(writer.run(Arc::clone(&stop))));
    }
    Running { stop, writers, held }
}

impl Running {
    /// Lets every writer finish its transaction, ends the held one, and tells what was committed.
    pub async fn stop(self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        let mut record = Record::default();
        for writer in self.writers {
            record.add(writer.await.expect("a writer"));
        }
        if let Some((kept, dropped)) = self.held {
            record.rolled_back.extend(events(&dropped).await.expect("its events").into_iter().map(|said| said.id));
            dropped.batch_execute("rollback").await.expect("rollback");
            let said = events(&kept).await.expect("its events");
            let commit_sent = Instant::now();
            kept.batch_execute("commit").await.expect("commit");
            record.commit(said, commit_sent);
        }
        record.committed.sort_by_key(|said| said.id);
        record
    }
}

impl Record {
    fn commit(&mut self, said: Vec<Said>, commit_sent: Instant) {
        let committed = Instant::now();
        self.committed.extend(said.into_iter().map(|said| Said { commit_sent, committed, ..said }));
    }
}

struct Writer {
    client: Client,
    /// Names of prepared transactions are shared by all databases of a server.
    database: String,
    number: u64,
    load: Load,
    rng: Rng,
    /// Makes names of refunds and clicks unique.
    acts: u64,
    record: Record,
}

#[derive(Clone, Copy)]
enum Act {
    /// Cents.
    Pay(i64),
    PayAgain,
    Refund(i64, u64),
    Cancel,
    Click(u64),
}

impl Writer {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Record {
        while !stop.load(Ordering::Relaxed) {
            self.record.transactions += 1;
            if let Err(why) = self.transaction().await {
                // The server went away: what is known stays known.
                assert!(self.client.is_closed(), "writer {}: {why:?}", self.number);
                break;
            }
            if !self.load.pause.is_zero() {
                let most = self.load.pause.as_micros() as u64 + 1;
                tokio::time::sleep(Duration::from_micros(self.rng.below(most))).await;
            }
        }
        self.record
    }

    async fn transaction(&mut self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("begin").await?;
        if self.rng.percent(40) {
            // An early xid: the smaller txid writes later than the larger one.
            self.client.batch_execute("select pg_current_xact_id()").await?;
            self.linger(4).await;
        }
        let mut orders = vec![1 + self.rng.below(self.load.orders)];
        if self.rng.percent(15) {
            orders.push(1 + self.rng.below(self.load.orders));
        }
        orders.sort_unstable();
        orders.dedup();
        for order in orders {
            self.visit(&format!("O{order}")).await?;
        }
        if self.rng.percent(20) {
            self.linger(15).await;
        }
        self.end().await
    }

    /// One order, its row locked to the end of the transaction.
    async fn visit(&mut self, order: &str) -> Result<(), tokio_postgres::Error> {
        let row =
            self.client.query_one("select state, ((total - refunded) * 100)::bigint from shop.orders where id = $1 for update", &[&order]).await?;
        let (state, left): (String, i64) = (row.get(0), row.get(1));
        let act_here = self.choose(&state, left);
        if self.rng.percent(20) {
            self.client.batch_execute("savepoint s").await?;
            let before = events(&self.client).await?.len();
            act(&self.client, order, act_here).await?;
            let taken_back = events(&self.client).await?.into_iter().skip(before).map(|said| said.id);
            self.record.rolled_back.extend(taken_back);
            self.client.batch_execute("rollback to s").await?;
        }
        act(&self.client, order, act_here).await
    }

    fn choose(&mut self, state: &str, left: i64) -> Act {
        if state != "paid" {
            return Act::Pay(1000 + self.rng.below(9000) as i64);
        }
        self.acts += 1;
        let number = self.number << 40 | self.acts;
        match self.rng.below(100) {
            0..60 if left > 1 => Act::Refund(1 + self.rng.below(left as u64 / 2 + 1).min(left as u64 - 1) as i64, number),
            60..70 if left > 0 => Act::Refund(left, number),
            70..80 => Act::PayAgain,
            80..90 => Act::Click(number),
            _ => Act::Cancel,
        }
    }

    async fn end(&mut self) -> Result<(), tokio_postgres::Error> {
        let said = events(&self.client).await?;
        let ids: Vec<i64> = said.iter().map(|said| said.id).collect();
        let prepared = match self.rng.percent(8) {
            true => {
                let gid = format!("{}-{}-{}", self.database, self.number, self.record.transactions);
                self.client.batch_execute(&format!("prepare transaction '{gid}'")).await?;
                self.linger(30).await;
                format!(" prepared '{gid}'")
            }
            false => String::new(),
        };
        if self.rng.percent(12) {
            self.record.rolled_back.extend(ids);
            return self.client.batch_execute(&format!("rollback{prepared}")).await;
        }
        let commit_sent = Instant::now();
        match self.client.batch_execute(&format!("commit{prepared}")).await {
            Ok(()) => self.record.commit(said, commit_sent),
            Err(why) => {
                self.record.in_doubt.extend(ids);
                return Err(why);
            }
        }
        Ok(())
    }

    /// Locks are held for a while, as a shop that waits for its payment gateway does.
    async fn linger(&mut self, milliseconds: u64) {
        tokio::time::sleep(Duration::from_micros(self.rng.below(milliseconds * 1000))).await;
    }
}

async fn act(client: &Client, order: &str, act: Act) -> Result<(), tokio_postgres::Error> {
    match act {
        Act::Pay(cents) => client.execute("select shop.pay($1, $2)", &[&order, &cents]).await,
        Act::PayAgain => {
            client
                .execute("insert into shop.payment (order_id, amount, state) select id, total, 'settled' from shop.orders where id = $1", &[&order])
                .await
        }
        Act::Refund(cents, number) => client.execute("select shop.give_back($1, $2, $3)", &[&order, &cents, &format!("R{number:x}")]).await,
        Act::Cancel => client.execute("update shop.orders set state = 'cancelled' where id = $1", &[&order]).await,
        Act::Click(number) => client.execute("update shop.orders set gclid = $2 where id = $1", &[&order, &format!("click-{number:x}")]).await,
    }
    .map(drop)
}

/// What the running transaction has said so far, as its own session sees it.
async fn events(client: &Client) -> Result<Vec<Said>, tokio_postgres::Error> {
    let now = Instant::now();
    let sql = "select e.id, e.kind, e.ref, postback.event_id(e.kind, e.ref, e.payload ->> 'refund_ref', o.generation),
                      postback.event_id('purchase', e.ref, null, o.generation)
                 from postback.event e join shop.orders o on o.id = e.ref where e.txid = pg_current_xact_id() order by e.id";
    let rows = client.query(sql, &[]).await?;
    let said = |row: tokio_postgres::Row| Said {
        id: row.get(0),
        kind: row.get(1),
        order: row.get(2),
        event_id: row.get(3),
        purchase: row.get(4),
        commit_sent: now,
        committed: now,
    };
    Ok(rows.into_iter().map(said).collect())
}
