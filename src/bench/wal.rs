//! WAL that the daemon writes for a delivered event: ledger, stream, attempt, position; with and without a receipt.
//!
//! Bytes are differences of the WAL position, so they hold whatever anybody else writes at the same time: a figure says how
//! much that is when nothing of ours runs. A backlog that is delivered soon after it was written is what a running shop has;
//! delivered behind a checkpoint, every page that is touched goes into the WAL whole, which is the worst case. One order at a
//! time cannot share commits and position updates with others, and has a figure of its own.

use std::time::Duration;

use tokio_postgres::Client;

use super::{
    Bench, BenchError,
    drain::{self, configuration, wait_recorded},
    figure::Figure,
    latency::{Shop, started},
    receiver::Receiver,
    scratch::Place,
};

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds of all ways.
    pub rounds: usize,
    /// Events of a backlog.
    pub events: u32,
    /// Orders that come one at a time.
    pub singles: u32,
    /// Also behind a checkpoint, which the whole server feels.
    pub checkpoint: bool,
}

const WITHOUT: &str = "kinds = [\"purchase\"]";
const WITH: &str = "kinds = [\"purchase\", \"refund\"]\nrefunds = \"event\"";

/// Where the WAL is, in bytes.
pub(super) async fn position(db: &Client) -> Result<f64, BenchError> {
    Ok(db.query_one("select (pg_current_wal_insert_lsn() - '0/0')::float8", &[]).await?.get(0))
}

/// One way to deliver a backlog.
struct Leg {
    key: &'static str,
    what: &'static str,
    keys: &'static str,
    checkpoint: bool,
    bytes: Vec<f64>,
    images: Vec<f64>,
}

impl Leg {
    fn new(key: &'static str, what: &'static str, keys: &'static str, checkpoint: bool) -> Self {
        Self { key, what, keys, checkpoint, bytes: Vec::new(), images: Vec::new() }
    }
}

/// Runs the rounds.
pub async fn measure(bench: &Bench, place: &Place, plan: Plan) -> Result<Vec<Figure>, BenchError> {
    let db = place.connect("bench").await?;
    let checkpoints = plan.checkpoint && may_checkpoint(&db).await?;
    let inspect = db.batch_execute("create extension if not exists pg_walinspect").await.is_ok();
    let mut legs =
        vec![Leg::new("wal.event", "a delivered event", WITHOUT, false), Leg::new("wal.receipt", "a delivered event with a receipt", WITH, false)];
    if checkpoints {
        legs.push(Leg::new("wal.checkpoint.event", "a delivered event, behind a checkpoint", WITHOUT, true));
        legs.push(Leg::new("wal.checkpoint.receipt", "a delivered event with a receipt, behind a checkpoint", WITH, true));
    }
    let (mut total, mut quiet, mut single) = (0, Vec::new(), Vec::new());
    let mut shop = Shop { db: place.connect("bench shop").await?, orders: 0 };
    for round in 1..=plan.rounds {
        bench.say(&format!("WAL: round {round} of {}", plan.rounds));
        let before = position(&db).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        quiet.push(position(&db).await? - before);
        for leg in &mut legs {
            drain::fill(&db, i64::from(total), plan.events).await?;
            total += plan.events;
            backlog(bench, place, &db, plan, i64::from(total), leg, inspect).await?;
        }
        single.push(singles(bench, place, &db, &mut shop, plan, i64::from(total)).await?);
        // They are numbered by the stream like the others.
        total += 2 * plan.singles;
    }
    Ok(figures(plan, legs, inspect, single, quiet, checkpoints))
}

async fn backlog(bench: &Bench, place: &Place, db: &Client, plan: Plan, total: i64, leg: &mut Leg, inspect: bool) -> Result<(), BenchError> {
    if leg.checkpoint {
        db.batch_execute("checkpoint").await?;
    }
    let receiver = Receiver::counting()?;
    let from = position(db).await?;
    let mut daemon = started(bench, place, db, &configuration(&receiver, 32, leg.keys)).await?;
    wait_recorded(db, &mut daemon, &receiver, u64::from(plan.events), total).await?;
    let to = position(db).await?;
    daemon.stop().await?;
    leg.bytes.push((to - from) / f64::from(plan.events));
    if inspect {
        flushed(db, to).await?;
        let sql = "select coalesce(sum(fpi_size), 0)::float8 from pg_get_wal_stats(('0/0'::pg_lsn + $1::float8::numeric), ('0/0'::pg_lsn + $2::float8::numeric))";
        // Old segments may be gone already, and not everybody may read WAL: then the share of images is not known.
        if let Ok(row) = db.query_one(sql, &[&from, &to]).await {
            leg.images.push(row.get::<_, f64>(0) / f64::from(plan.events));
        }
    }
    Ok(())
}

/// WAL can be read as far as it was flushed, which the server does within moments.
async fn flushed(db: &Client, to: f64) -> Result<(), BenchError> {
    for _ in 0..50 {
        if db.query_one("select (pg_current_wal_flush_lsn() - '0/0')::float8 >= $1", &[&to]).await?.get(0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What one order at a time adds to the shop's own WAL: with the daemon, less the same without it.
async fn singles(bench: &Bench, place: &Place, db: &Client, shop: &mut Shop, plan: Plan, total: i64) -> Result<f64, BenchError> {
    const EVERY: Duration = Duration::from_millis(20);
    let mut receiver = Receiver::telling()?;
    let mut daemon = started(bench, place, db, &configuration(&receiver, 32, WITHOUT)).await?;
    shop.sold(&mut receiver, &mut daemon).await?;
    let from = position(db).await?;
    for _ in 1..plan.singles {
        tokio::time::sleep(EVERY).await;
        shop.sold(&mut receiver, &mut daemon).await?;
    }
    let (count, end) = (u64::from(plan.singles), total + i64::from(plan.singles));
    wait_recorded(db, &mut daemon, &receiver, count, end).await?;
    let with = position(db).await? - from;
    daemon.stop().await?;
    let from = position(db).await?;
    for _ in 1..plan.singles {
        shop.order().await?;
    }
    let without = position(db).await? - from;
    // Nobody has read the last ones; a daemon does, so that the next backlog begins with nothing before it.
    shop.order().await?;
    let receiver = Receiver::counting()?;
    let mut daemon = started(bench, place, db, &configuration(&receiver, 32, WITHOUT)).await?;
    wait_recorded(db, &mut daemon, &receiver, count, end + i64::from(plan.singles)).await?;
    daemon.stop().await?;
    Ok((with - without) / f64::from(plan.singles.saturating_sub(1).max(1)))
}

async fn may_checkpoint(db: &Client) -> Result<bool, BenchError> {
    let sql =
        "select r.rolsuper or coalesce((select pg_has_role(current_user, p.oid, 'usage') from pg_roles p where p.rolname = 'pg_checkpoint'), false)
                 from pg_roles r where r.rolname = current_user";
    Ok(db.query_one(sql, &[]).await?.get(0))
}

fn figures(plan: Plan, legs: Vec<Leg>, inspect: bool, single: Vec<f64>, quiet: Vec<f64>, checkpoints: bool) -> Vec<Figure> {
    let mut figures = Vec::new();
    for leg in legs {
        let images = Figure::new(format!("{}.images", leg.key), "  of which full-page images", "B", leg.images);
        let remark = if leg.checkpoint { "worst case".to_owned() } else { format!("backlogs of {}, no checkpoint asked for", plan.events) };
        figures.push(Figure::new(leg.key, leg.what, "B", leg.bytes).remark(remark));
        figures.push(if images.rounds.is_empty() {
            let why = if inspect { "the WAL could not be read" } else { "needs the extension pg_walinspect and the right to read WAL" };
            images.remark(why)
        } else {
            images
        });
    }
    if plan.checkpoint && !checkpoints {
        figures.push(
            Figure::new("wal.checkpoint.event", "a delivered event, behind a checkpoint", "B", Vec::new()).remark("this role may not checkpoint"),
        );
    }
    figures.push(Figure::new("wal.single", "a delivered event that comes alone", "B", single).remark("without the shop's own part"));
    figures.push(Figure::new("wal.others", "the server's WAL while nothing of this runs", "B/s", quiet).remark("is in the figures above"));
    figures
}
