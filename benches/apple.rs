//! What a postback of Apple's costs beyond the row that it is: read, verified, decoded, kept once, and said as an event, against the bare
//! insert of the same bytes into a table with one unique key. Durable both, two connections as the listener has them, in turn in one run.
//!
//! `cargo bench --bench apple -- [POSTBACKS]` (1,000 a round unless told otherwise; five rounds take about half a minute). Exits with 1 when a
//! promise is broken. It is the ratio that says something; the rates are the disk's.

mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use measure::Promises;
use postbackd::{
    apple::{Environment, Keys, Protocol, Verdict, meaning::App, tell},
    outbox::apple::{self, Entry, Stored},
};
use support::postgres::{Database, Server};
use tokio_postgres::{Client, types::Type};

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 2;
/// Apple's own example; only its identifier is another one for each row, after it was verified.
const BODY: &[u8] = include_bytes!("../tests/apple/skadnetwork-4.0-fine.json");

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Bare,
    Kept,
    Said,
}

fn main() -> Result<ExitCode> {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000);
    let verified = verification();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(compare(count, verified))
}

/// Reading and verifying alone.
fn verification() -> Duration {
    const TIMES: u32 = 2_000;
    let began = Instant::now();
    for _ in 0..TIMES {
        let received = Protocol::SkAdNetwork.read(std::hint::black_box(BODY), Keys::apple());
        assert!(received.is_ok_and(|received| received.verdict == Verdict::Verified(Environment::Production)));
    }
    began.elapsed() / TIMES
}

async fn compare(count: usize, verified: Duration) -> Result<ExitCode> {
    let server = Server::private().await;
    let database = server.server().database().await;
    database.connect().await.batch_execute("create table public.bare (identifier uuid unique, body bytea, at timestamptz default now())").await?;
    println!("{count} postbacks a round, {ROUNDS} rounds, {CONNECTIONS} connections, {}, fsync on", server.version());
    println!("reading and verifying alone: {verified:?}");
    let (mut kept, mut said, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut rates = Vec::new();
        for way in [Way::Bare, Way::Kept, Way::Said] {
            rates.push(rate(&database, way, round, count).await?);
        }
        // The first round warms up.
        if round > 0 {
            println!("round {round}: bare {:.0}/s, kept {:.0}/s, kept and said {:.0}/s", rates[0], rates[1], rates[2]);
            bare.push(rates[0]);
            kept.push(rates[1] / rates[0]);
            said.push(rates[2] / rates[0]);
        }
    }
    let mut promises = Promises::default();
    promises.at_least("rate of postbacks kept against bare inserts", median(kept), 0.5);
    promises.at_least("rate of postbacks kept and said against bare inserts", median(said), 0.3);
    println!("median of bare inserts: {:.0}/s", median(bare));
    Ok(promises.kept())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Per second.
async fn rate(database: &Database, way: Way, round: usize, count: usize) -> Result<f64> {
    let mut sessions = Vec::new();
    for _ in 0..CONNECTIONS {
        sessions.push(database.connect().await);
    }
    let began = Instant::now();
    let working = sessions.iter().enumerate().map(|(session, db)| async move {
        for n in 0..count / CONNECTIONS {
            let identifier = format!("{round:08x}-{:04x}-4{session:03x}-8000-{n:012x}", way as u32);
            one(db, way, &identifier).await?;
        }
        Ok::<_, anyhow::Error>(())
    });
    futures_util::future::try_join_all(working).await?;
    Ok((count / CONNECTIONS * CONNECTIONS) as f64 / began.elapsed().as_secs_f64())
}

async fn one(db: &Client, way: Way, identifier: &str) -> Result<()> {
    if way == Way::Bare {
        let sql = "insert into public.bare (identifier, body) values ($1::text::uuid, $2)";
        db.query_typed(sql, &[(&identifier, Type::TEXT), (&BODY, Type::BYTEA)]).await?;
        return Ok(());
    }
    let received = Protocol::SkAdNetwork.read(BODY, Keys::apple())?;
    let mut postback = received.postback;
    identifier.clone_into(&mut postback.identifier);
    let app = App { id: postback.app, ..App::default() };
    let say = (way == Way::Said).then(|| tell::saying(&postback, &app, BODY));
    let entry = Entry {
        protocol: postback.protocol.word(),
        version: postback.version.as_deref(),
        verdict: received.verdict.word(),
        reason: None,
        environment: received.verdict.environment().map(Environment::word),
        identifier: &postback.identifier,
        sequence: postback.sequence,
        app: postback.app,
        won: postback.won(),
        fields: serde_json::Value::Object(tell::decoded(&postback, Some(&app))).to_string(),
        body: BODY,
        keep: 100,
        say: say.map(|say| (say.kind.as_str(), say.reference, say.more.to_string())),
    };
    ensure!(apple::receive(db, &entry).await? == Stored::New);
    Ok(())
}
