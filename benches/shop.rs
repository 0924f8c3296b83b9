//! What an attached trigger that calls `postback.purchase` costs the shop's transaction, synchronous_commit on and off.
//!
//! ```text
//! POSTBACKD_BENCH_URL=postgres://postgres@127.0.0.1:5432/postgres cargo bench --bench shop
//! POSTBACKD_BENCH_URL=... cargo bench --bench shop -- --rounds 30 --json
//! ```
//!
//! There is no bound to keep: the figures are stated in the README. With synchronous commits the rate hangs on the disk and
//! moves by a third by itself; server CPU and WAL of a transaction, and the ratios without synchronous commits, hold better.
//! Twelve rounds take about five minutes.

use std::{process::ExitCode, time::Duration};

use postbackd::bench::{Plan, program, shop};

fn main() -> ExitCode {
    let room = shop::Plan { rounds: 12, slice: Duration::from_secs(3), clients: 8, woken: true };
    let plan = Plan { shop: Some(room), ..Plan::default() };
    program::main(env!("CARGO_BIN_EXE_postbackd"), plan, &[])
}
