//! The binary: arguments, then one command. Everything that can fail before the runtime exists fails there.

use std::process::ExitCode;

use clap::Parser as _;
use postbackd::cli::{self, Args, Command};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        Command::Run => cli::run::run(&args.common),
        Command::Bench(bench) => cli::bench::bench(&args.common, bench),
        command => cli::once(&args.common, command),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}
