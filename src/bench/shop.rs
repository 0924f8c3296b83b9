//! What an attached trigger costs the shop: the same order transaction with and without it.
//!
//! The shops stand side by side in one database, each with tables of its own that grow alike: a plain one, one whose orders
//! are captured, one that picks the click ids out of the landing URL while capturing, and one where the commit notifies too
//! (`wake = "listen"`). A round lets each work for a while, forwards and backwards in turn; no daemon runs, so this is the
//! price of capture alone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio_postgres::{Client, Statement, types::Type};

use super::{
    Bench, BenchError,
    figure::{Figure, percentile, ratios},
    scratch::Place,
};

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds of every shop with both kinds of commit.
    pub rounds: usize,
    /// How long each works at a time.
    pub slice: Duration,
    /// Sessions that buy at the same time.
    pub clients: usize,
    /// The one that notifies too.
    pub woken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shop {
    /// No trigger.
    Plain,
    /// `postback.purchase` with e-mail and click id from columns.
    Captured,
    /// The same, with `postback.click_ids` of the landing URL.
    Parsed,
    /// Like `Captured`, and the commit notifies.
    Woken,
}

impl Shop {
    fn schema(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Captured => "captured",
            Self::Parsed => "parsed",
            Self::Woken => "woken",
        }
    }
}

const PRODUCTS: i32 = 10_000;

/// One shop's rounds with one kind of commit.
#[derive(Default)]
struct Seen {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    wal: Vec<f64>,
    cpu: Vec<f64>,
}

/// Runs the rounds.
pub async fn measure(bench: &Bench, place: &Place, plan: Plan) -> Result<Vec<Figure>, BenchError> {
    let db = place.connect("bench").await?;
    let mut shops = vec![Shop::Plain, Shop::Captured, Shop::Parsed];
    shops.extend(plan.woken.then_some(Shop::Woken));
    for shop in &shops {
        db.batch_execute(&tables(*shop)).await?;
    }
    let buyers = try_join_all((0..plan.clients).map(|number| Buyer::new(place, number, &shops))).await?;
    // Plans, catalogue caches and the first pages of every table belong to nobody's measurement.
    for shop in &shops {
        work(bench, place, &db, &buyers, *shop, plan.slice.min(Duration::from_millis(500))).await?;
    }
    let commits = ["on", "off"];
    let mut seen: Vec<Vec<Seen>> = commits.iter().map(|_| shops.iter().map(|_| Seen::default()).collect()).collect();
    for round in 1..=plan.rounds {
        bench.say(&format!("shop: round {round} of {}", plan.rounds));
        let mut order: Vec<usize> = (0..shops.len()).collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for (commit, seen) in commits.iter().zip(&mut seen) {
            for at in &order {
                try_join_all(buyers.iter().map(|buyer| buyer.commits(commit))).await?;
                db.batch_execute(&format!("select postback.wake({})", shops[*at] == Shop::Woken)).await?;
                let slice = work(bench, place, &db, &buyers, shops[*at], plan.slice).await?;
                slice.into(&mut seen[*at]);
            }
        }
    }
    Ok(commits.iter().zip(seen).flat_map(|(commit, seen)| figures(plan, commit, &seen)).collect())
}

/// What a slice gave.
struct Slice {
    took: Duration,
    /// Milliseconds of each transaction.
    latencies: Vec<f64>,
    wal: f64,
    cpu: Option<Duration>,
}

impl Slice {
    fn into(self, seen: &mut Seen) {
        let count = self.latencies.len() as f64;
        seen.rate.push(count / self.took.as_secs_f64());
        seen.p50.extend(percentile(&self.latencies, 50));
        seen.p99.extend(percentile(&self.latencies, 99));
        seen.wal.push(self.wal / count);
        seen.cpu.extend(self.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / count));
    }
}

async fn work(bench: &Bench, place: &Place, db: &Client, buyers: &[Buyer], shop: Shop, time: Duration) -> Result<Slice, BenchError> {
    let server = bench.server(db, place).await?;
    let (wal, cpu, began) = (super::wal::position(db).await?, server.and_then(|server| server.spent()), Instant::now());
    let until = began + time;
    let bought = try_join_all(buyers.iter().map(|buyer| buyer.buy(shop, until))).await?;
    let took = began.elapsed();
    let cpu = server.and_then(|server| server.spent()).zip(cpu).map(|(after, before)| after.saturating_sub(before));
    let wal = super::wal::position(db).await? - wal;
    Ok(Slice { took, latencies: bought.into_iter().flatten().collect(), wal, cpu })
}

/// A session of the shop, with its statements prepared as an application server has them.
struct Buyer {
    db: Client,
    number: usize,
    statements: Vec<(Shop, Arc<Statements>)>,
}

struct Statements {
    order: Statement,
    item: Statement,
    stock: Statement,
}

impl Buyer {
    async fn new(place: &Place, number: usize, shops: &[Shop]) -> Result<Self, BenchError> {
        let db = place.connect("bench shop").await?;
        let mut statements = Vec::new();
        for shop in shops {
            let schema = shop.schema();
            let order = format!(
                "insert into {schema}.orders (customer, email, total, currency, status, gclid, landing_url)
                 values ($1, $2, ($3::text)::numeric, 'EUR', 'paid', $4, $5) returning id"
            );
            let item = format!("insert into {schema}.order_item (order_id, product, quantity, price) values ($1, $2, $3, ($4::text)::numeric)");
            let stock = format!("update {schema}.product set stock = stock - $2 where id = $1");
            let prepared = Statements {
                order: db.prepare_typed(&order, &[Type::INT8, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT]).await?,
                item: db.prepare_typed(&item, &[Type::INT8, Type::INT4, Type::INT4, Type::TEXT]).await?,
                stock: db.prepare_typed(&stock, &[Type::INT4, Type::INT4]).await?,
            };
            statements.push((*shop, Arc::new(prepared)));
        }
        Ok(Self { db, number, statements })
    }

    /// `on` or `off`.
    async fn commits(&self, how: &str) -> Result<(), BenchError> {
        Ok(self.db.batch_execute(&format!("set synchronous_commit = {how}")).await?)
    }

    /// One order after the other until the time is over; how long each took, in milliseconds.
    async fn buy(&self, shop: Shop, until: Instant) -> Result<Vec<f64>, BenchError> {
        let Some((_, statements)) = self.statements.iter().find(|(of, _)| *of == shop) else { return Ok(Vec::new()) };
        let mut random = StdRng::seed_from_u64(self.number as u64);
        let mut took = Vec::new();
        while Instant::now() < until {
            let (customer, products) = (random.random_range(1..1_000_000_i64), [0, 1].map(|_| random.random_range(1..=PRODUCTS)));
            let email = format!("buyer{customer}@example.com");
            let gclid = format!("EAIaIQobChMI{:016x}{customer:08x}", random.random::<u64>());
            let landing = format!("https://shop.example/p/{}?utm_source=google&utm_medium=cpc&gclid={gclid}", products[0]);
            let began = Instant::now();
            self.db.batch_execute("begin").await?;
            let order: i64 = self.db.query_one(&statements.order, &[&customer, &email, &"140.98", &gclid, &landing]).await?.get(0);
            for product in products {
                self.db.execute(&statements.item, &[&order, &product, &1_i32, &"70.49"]).await?;
            }
            self.db.execute(&statements.stock, &[&products[0], &1_i32]).await?;
            self.db.batch_execute("commit").await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok(took)
    }
}

fn tables(shop: Shop) -> String {
    let schema = shop.schema();
    let mut sql = format!(
        "create schema {schema};
         create table {schema}.product (id int primary key, name text not null, price numeric(12,2) not null, stock int not null);
         insert into {schema}.product select i, 'product ' || i, 70.49, 1000000 from generate_series(1, {PRODUCTS}) i;
         create table {schema}.orders (id bigint generated always as identity primary key, customer bigint not null, email text not null,
           total numeric(12,2) not null, currency text not null, status text not null, gclid text, landing_url text, created_at timestamptz not null default now());
         create index on {schema}.orders (customer);
         create table {schema}.order_item (id bigint generated always as identity primary key, order_id bigint not null references {schema}.orders,
           product int not null, quantity int not null, price numeric(12,2) not null);
         create index on {schema}.order_item (order_id);
         analyze {schema}.product;"
    );
    let clicks = if shop == Shop::Parsed { "postback.click_ids(new.landing_url)" } else { "jsonb_build_object('gclid', new.gclid)" };
    if shop != Shop::Plain {
        sql.push_str(&format!(
            "select postback.attach('{schema}.orders', 'insert', $$new.status = 'paid'$$,
               $$select postback.purchase('{schema}-' || new.id, new.total, new.currency,
                   who => jsonb_build_object('email', new.email) || {clicks})$$, name => 'bench_{schema}')"
        ));
    }
    sql
}

fn figures(plan: Plan, commit: &str, seen: &[Seen]) -> Vec<Figure> {
    let [plain, captured, parsed, woken @ ..] = seen else { return Vec::new() };
    let minus = |after: &[f64], before: &[f64]| after.iter().zip(before).map(|(after, before)| after - before).collect::<Vec<f64>>();
    let figure =
        |name: &str, what: &str, unit, rounds: Vec<f64>| Figure::new(format!("shop.{commit}.{name}"), format!("{commit}: {what}"), unit, rounds);
    let cpu = |name: &str, what: &str, rounds: Vec<f64>| match figure(name, what, "us", rounds) {
        none if none.rounds.is_empty() => none.remark("not visible from here"),
        some => some,
    };
    let about = format!("synchronous_commit = {commit}, {} clients, {} ms a time", plan.clients, plan.slice.as_millis());
    let mut all = vec![
        figure("captured.ratio", "TPS captured / plain", "", ratios(&captured.rate, &plain.rate)).remark(about),
        figure("parsed.ratio", "TPS captured with click_ids(landing_url) / plain", "", ratios(&parsed.rate, &plain.rate)),
    ];
    if let [woken] = woken {
        let what = "TPS captured with NOTIFY / plain";
        all.push(figure("woken.ratio", what, "", ratios(&woken.rate, &plain.rate)).remark("wake = \"listen\", nobody listening"));
    }
    all.extend([
        figure("plain.rate", "TPS plain", "/s", plain.rate.clone()),
        figure("captured.rate", "TPS captured", "/s", captured.rate.clone()),
        figure("plain.p50", "latency p50 plain", "ms", plain.p50.clone()),
        figure("captured.p50", "latency p50 captured", "ms", captured.p50.clone()),
        figure("plain.p99", "latency p99 plain", "ms", plain.p99.clone()),
        figure("captured.p99", "latency p99 captured", "ms", captured.p99.clone()),
        figure("plain.wal", "WAL a transaction, plain", "B", plain.wal.clone()),
        figure("captured.wal", "WAL added by capture", "B", minus(&captured.wal, &plain.wal)),
        cpu("plain.cpu", "server CPU a transaction, plain", plain.cpu.clone()),
        cpu("captured.cpu", "server CPU added by capture", minus(&captured.cpu, &plain.cpu)),
        cpu("parsed.cpu", "server CPU added by capture with click_ids", minus(&parsed.cpu, &plain.cpu)),
    ]);
    all
}
