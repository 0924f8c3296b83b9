//! `postbackd bench`: cost and speed on the owner's own server.

use super::{Common, Exit, Failure, run, say};
use crate::bench::{self, BenchError, Part, Plan, control, drain, table};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It works in databases of its own, named postbackd_bench_..., which it makes on the server of --url and removes again, also after
Ctrl-C and after a failure; no other database is written, so the shop's schema postback is never touched. The role needs CREATEDB,
and CREATEROLE where the roles postback_owner, postback_daemon and postback_reader do not exist yet (they are removed again too);
where they do, membership in postback_owner is enough. A superuser has everything.

It loads the server as hard as it can for minutes: run it at a quiet hour, or on a server like the shop's.

Examples:
  postbackd bench --url postgres://postgres@localhost/shop
  postbackd bench --url postgres://postgres@localhost/shop --room drain --events 100000 --json")]
pub struct Args {
    /// Events that wait in each round of the drain
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    events: Option<u32>,
    /// Rounds of everything
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// For the processes that the bench starts
    #[arg(long, hide = true, value_name = "JSON", value_parser = part)]
    part: Option<Part>,
}

fn part(text: &str) -> Result<Part, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
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
    let mut plan = Plan { drain: Some(drain::Plan { events: 20_000, rounds: 5, in_flight: 32, transport: false }) };
    plan.events(args.events);
    plan.rounds(args.rounds.map(usize::from));
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
