//! What capture and delivery cost on the owner's own server: a room for each question, all of them on scratch databases that
//! are made and removed here.
//!
//! Machines are noisy, so everything is measured in turn (A, B, B, A ...) and told as the median of rounds with its spread;
//! what matters are ratios of things measured in the same round. Nothing here is known beforehand: a figure that could not be
//! measured is missing and says so.

pub mod figure;

pub mod cpu;

mod child;
pub mod control;
pub mod receiver;
pub mod scratch;

pub mod drain;
pub mod idle;
pub mod latency;
pub mod shop;
pub mod wal;

pub mod machine;
mod plan;
pub mod program;
pub mod table;

use std::{panic::AssertUnwindSafe, path::PathBuf};

use futures_util::FutureExt as _;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::Client;

pub use child::{Part, follow_parent};
pub use figure::Figure;
pub use plan::{Plan, Room};

use crate::{
    outbox::{
        DbError,
        connect::{ConnectError, Database},
        schema::SchemaError,
    },
    progress::Progress,
};
use scratch::{Place, Scratch};

/// Why a bench did not run, or not to its end.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BenchError {
    #[error(transparent)]
    Connect(ConnectError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the server is a standby in recovery, where nothing can be created: give --url of the primary, or of a server like it")]
    Standby,
    #[error("another postbackd bench runs on this server; two would measure each other")]
    Busy,
    #[error("the bench needs a scratch database, and {why}; a superuser runs: {fix}")]
    Rights { why: String, fix: String },
    #[error("{what} failed: {why}")]
    Child { what: &'static str, why: String },
    #[error("interrupted; everything that was made on the server is removed again")]
    Interrupted,
    #[error("the measurement is void: {0}")]
    Wrong(String),
    #[error("could not remove {names}: {why}; remove it with \"drop database NAME with (force)\"")]
    Left { names: String, why: String },
}

impl From<tokio_postgres::Error> for BenchError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What all rooms share.
pub struct Bench {
    /// The program that is measured: the one that measures, in earnest.
    pub binary: PathBuf,
    /// Told what goes on.
    pub progress: Progress,
}

impl Bench {
    /// To whoever watches.
    pub fn say(&self, text: &str) {
        self.progress.say(text);
    }

    /// The server's processes, where they run on this machine.
    async fn server(&self, db: &Client, place: &Place) -> Result<Option<cpu::Server>, BenchError> {
        let pid: i32 = db.query_one("select pg_backend_pid()", &[]).await?.get(0);
        Ok(u32::try_from(pid).ok().and_then(|pid| cpu::Server::of_backend(pid, &place.name)))
    }
}

/// A bound that a figure should keep.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Of which figure.
    pub key: &'static str,
    /// In the figure's unit.
    pub bound: f64,
    /// An upper bound; otherwise a lower one.
    pub at_most: bool,
}

/// Everything that was measured, and on what.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of this binary.
    pub version: &'static str,
    /// When the bench began.
    pub at: jiff::Timestamp,
    /// Where the bench ran.
    pub machine: machine::Machine,
    /// The server.
    pub server: machine::Server,
    /// In the order of the rooms.
    pub figures: Vec<Figure>,
}

/// Runs the rooms of `plan` one after the other. Whatever happens, also SIGINT, SIGTERM and SIGHUP, everything that was made
/// on the server is removed before this returns.
pub async fn run_until_signal(base: &Database, binary: PathBuf, plan: Plan) -> Result<Report, BenchError> {
    // Before anything is made, so that there is no moment at which a signal would end the process with something left.
    let (mut int, mut term, mut hup) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let bench = Bench { binary, progress: Progress::default() };
    let mut scratch = Scratch::open(base, &|text| bench.progress.note(text)).await?;
    let measured = tokio::select! {
        // A defect in a room must not leave anything behind either.
        report = AssertUnwindSafe(rooms(&bench, &mut scratch, plan)).catch_unwind() => report,
        _ = int.recv() => Ok(Err(BenchError::Interrupted)),
        _ = term.recv() => Ok(Err(BenchError::Interrupted)),
        _ = hup.recv() => Ok(Err(BenchError::Interrupted)),
    };
    bench.say("removing what was made on the server");
    let removed = scratch.remove().await;
    bench.say("");
    let report = measured.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    removed.map(|()| report)
}

async fn rooms(bench: &Bench, scratch: &mut Scratch, plan: Plan) -> Result<Report, BenchError> {
    let (at, machine) = (jiff::Timestamp::now(), machine::Machine::here());
    let place = scratch.database("lobby").await?;
    let server = machine::Server::of(bench, &place.connect("bench").await?, &place).await?;
    scratch.drop_database(&place).await?;
    let mut figures = Vec::new();
    // On the heap: each holds the futures of many sessions.
    if let Some(plan) = plan.shop {
        let place = scratch.database("shop").await?;
        figures.extend(Box::pin(shop::measure(bench, &place, plan)).await?);
        scratch.drop_database(&place).await?;
    }
    if let Some(plan) = plan.drain {
        let place = scratch.database("drain").await?;
        figures.extend(Box::pin(drain::measure(bench, &place, plan)).await?);
        scratch.drop_database(&place).await?;
    }
    if let Some(plan) = plan.latency {
        let place = scratch.database("latency").await?;
        figures.extend(Box::pin(latency::measure(bench, &place, plan)).await?);
        scratch.drop_database(&place).await?;
    }
    if let Some(plan) = plan.wal {
        let place = scratch.database("wal").await?;
        figures.extend(Box::pin(wal::measure(bench, &place, plan)).await?);
        scratch.drop_database(&place).await?;
    }
    if let Some(plan) = plan.idle {
        let place = scratch.database("idle").await?;
        figures.extend(Box::pin(idle::measure(bench, &place, plan)).await?);
        scratch.drop_database(&place).await?;
    }
    Ok(Report { version: env!("CARGO_PKG_VERSION"), at, machine, server, figures })
}
