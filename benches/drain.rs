//! Draining a backlog of 100,000 events, against a bare HTTP client in a loop.
//!
//! ```text
//! POSTBACKD_BENCH_URL=postgres://postgres@127.0.0.1:5432/postgres cargo bench --bench drain
//! POSTBACKD_BENCH_URL=... cargo bench --bench drain -- --events 20000 --rounds 9 --json
//! ```
//!
//! The server is one for experiments, with fsync on, on this machine, so that processor time is seen per process. A round is
//! the daemon and the control in turn, each with the whole backlog; `drain.ratio` is the figure, the rows with CPU say where
//! the rest goes. Five rounds take about five minutes on two cores.

use std::process::ExitCode;

use postbackd::bench::{Plan, Target, drain, program};

fn main() -> ExitCode {
    let room = drain::Plan { events: 100_000, rounds: 5, in_flight: 32, transport: true };
    let plan = Plan { drain: Some(room), ..Plan::default() };
    program::main(env!("CARGO_BIN_EXE_postbackd"), plan, &[Target { key: "drain.ratio", bound: 0.40, at_most: false }])
}
