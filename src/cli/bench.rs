//! `postbackd bench`: cost and speed on the owner's own server.

use std::time::Duration;

use super::{Common, Exit, Failure, run, say};
use crate::{
    bench::{self, BenchError, Part, Plan, Room, control, table},
    words,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It works in databases of its own, named postbackd_bench_..., which it makes on the server of --url and removes again, also after
Ctrl-C and after a failure; no other database is written, so the shop's schema postback is never touched. The role needs CREATEDB,
and CREATEROLE where the roles postback_owner, postback_daemon and postback_reader do not exist yet (they are removed again too);
where they do, membership in postback_owner is enough. A superuser has everything.

It loads the server as hard as it can for about eight minutes (--quick: one) and writes several hundred MB of WAL, which standbys
and archives get too: run it at a quiet hour, or on a server like the shop's. Everything is measured in turn and told as the
median of rounds with its lowest and highest; ratios are taken within a round, so that other people's load hits both sides.

Rooms: shop (the shop's transaction with and without capture), drain (a backlog, against a bare HTTP client), latency (COMMIT to
request), wal (bytes per delivered event), idle (memory and processor time of a daemon that has nothing to do).

Examples:
  postbackd bench --url postgres://postgres@localhost/shop --quick
  postbackd bench --url postgres://postgres@localhost/shop --room shop --clients 32 --rounds 15
  postbackd bench --url postgres://postgres@localhost/shop --room drain --events 100000 --json")]
/// What to measure, and how much of it.
pub struct Args {
    /// Only this room; may be said again
    #[arg(long = "room", value_name = "ROOM", value_enum)]
    rooms: Vec<Room>,
    /// A first impression within about a minute
    #[arg(long)]
    quick: bool,
    /// Events of a backlog
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    events: Option<u32>,
    /// Rounds of everything
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// Sessions of the shop that buy at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: Option<u16>,
    /// Requests at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    in_flight: Option<u16>,
    /// Silence before a first order, and before the idle daemon is looked at
    #[arg(long, value_name = "DURATION", value_parser = silence)]
    silence: Option<Duration>,
    /// WAL also behind a CHECKPOINT: the worst case, which the whole server feels
    #[arg(long)]
    checkpoint: bool,
    /// For the processes that the bench starts
    #[arg(long, hide = true, value_name = "JSON", value_parser = part)]
    part: Option<Part>,
}

fn part(text: &str) -> Result<Part, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn silence(text: &str) -> Result<Duration, String> {
    words::parse_duration(text).ok_or_else(|| "a duration with a unit is needed here: 60s".to_owned())
}

/// Runs the bench, or a part of one. Makes its own runtime, because the daemon in it does.
pub fn bench(common: &Common, args: &Args) -> Result<Exit, Failure> {
    if args.part.is_some() {
        bench::follow_parent();
    }
    match args.part {
        Some(Part::Daemon) => run::run(common),
        Some(Part::Control(job)) => {
            let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error);
            // As many threads as the daemon has.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|error| failed(&error))?;
            let done = runtime.block_on(control::work(job))?;
            say(&serde_json::to_string(&done).map_err(|error| failed(&error))?);
            Ok(Exit::Done)
        }
        None => measure(common, args),
    }
}

fn measure(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, error);
    let database = common.database()?;
    let binary = std::env::current_exe().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut plan = if args.quick { Plan::quick() } else { Plan::thorough() };
    if !args.rooms.is_empty() {
        plan = plan.only(&args.rooms);
    }
    plan.events(args.events);
    plan.rounds(args.rounds.map(usize::from));
    plan.clients(args.clients.map(usize::from));
    plan.in_flight(args.in_flight.map(usize::from));
    plan.silence(args.silence);
    plan.checkpoint(args.checkpoint);
    let report = runtime.block_on(bench::run_until_signal(&database, binary, plan))?;
    common.print(&report, || table::text(&report, &[]))?;
    Ok(Exit::Done)
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Connect(error) => error.into(),
            BenchError::Database(error) => error.into(),
            BenchError::Schema(error) => error.into(),
            other => Self::new(Exit::Failed, other),
        }
    }
}
