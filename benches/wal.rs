//! WAL that the daemon writes for a delivered event, without and with a receipt.
//!
//! ```text
//! POSTBACKD_BENCH_URL=postgres://postgres@127.0.0.1:5432/postgres cargo bench --bench wal
//! POSTBACKD_BENCH_URL=... cargo bench --bench wal -- --events 20000 --rounds 9 --json
//! ```
//!
//! Also behind a checkpoint, where every page that is touched goes into the WAL whole, and for events that come alone. The
//! bounds are for a backlog that was written a moment ago, which is what a running shop has. Five rounds take about a minute
//! and a half; a superuser, and the extension pg_walinspect among the server's, show the share of full-page images.

use std::process::ExitCode;

use postbackd::bench::{Plan, Target, program, wal};

fn main() -> ExitCode {
    let room = wal::Plan { rounds: 5, events: 10_000, singles: 100, checkpoint: true };
    let plan = Plan { wal: Some(room), ..Plan::default() };
    let bounds = [("wal.event", 700.0), ("wal.receipt", 1000.0)];
    program::main(env!("CARGO_BIN_EXE_postbackd"), plan, &bounds.map(|(key, bound)| Target { key, bound, at_most: true }))
}
