//! What the programs of `benches/` have in common: arguments, the run, the table with its targets.

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser as _;

use super::{Plan, Report, Target, run_until_signal, table};
use crate::{outbox::connect::Database, words};

#[derive(clap::Parser)]
#[command(about = "A room of `postbackd bench` with the parameters that postbackd's own targets are stated for")]
struct Args {
    /// A server for experiments, as a superuser
    #[arg(long, value_name = "URL", env = "POSTBACKD_BENCH_URL", hide_env_values = true)]
    url: String,
    /// Instead of the stated number
    #[arg(long, value_name = "N")]
    events: Option<u32>,
    /// Instead of the stated number
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Instead of the stated one: 5s
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| words::parse_duration(text).ok_or("a duration with a unit is needed"))]
    silence: Option<Duration>,
    /// One JSON document
    #[arg(long)]
    json: bool,
    /// What cargo bench adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// Runs `plan` with `binary`, prints the figures beside their targets. Fails only where it could not measure: a missed target
/// is for people to look at, because machines differ.
pub fn main(binary: &str, mut plan: Plan, targets: &[Target]) -> ExitCode {
    let args = Args::parse();
    plan.events(args.events);
    plan.rounds(args.rounds);
    plan.silence(args.silence);
    match measured(binary, &args.url, plan) {
        Ok(report) => {
            let json = || serde_json::to_string_pretty(&report).unwrap_or_default();
            let text = if args.json { json() } else { table::text(&report, targets) };
            let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measured(binary: &str, url: &str, plan: Plan) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let database = Database::at(url);
    runtime.block_on(async { Ok(run_until_signal(&database, PathBuf::from(binary), plan).await?) })
}
