//! Memory and processor time of a daemon after a minute's silence, and what it makes PostgreSQL spend.
//!
//! ```text
//! POSTBACKD_BENCH_URL=postgres://postgres@127.0.0.1:5432/postgres cargo bench --bench idle
//! POSTBACKD_BENCH_URL=... cargo bench --bench idle -- --rounds 1 --silence 10s --json
//! ```
//!
//! The server has to run on this machine, and nobody else may use it: its processor time is that of all its processes, with
//! the daemon less without. Three rounds take about seven minutes.

use std::{process::ExitCode, time::Duration};

use postbackd::bench::{Plan, Target, idle, program};

fn main() -> ExitCode {
    let seconds = Duration::from_secs;
    let room = idle::Plan { rounds: 3, events: 1_000, silence: seconds(60), window: seconds(30) };
    let plan = Plan { idle: Some(room), ..Plan::default() };
    let bounds = [("idle.resident", 30.0), ("idle.cpu", 3.0)];
    program::main(env!("CARGO_BIN_EXE_postbackd"), plan, &bounds.map(|(key, bound)| Target { key, bound, at_most: true }))
}
