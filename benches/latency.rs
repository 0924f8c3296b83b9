//! From COMMIT's return to the request: one order every 200 ms, and the first order after a minute's silence.
//!
//! ```text
//! POSTBACKD_BENCH_URL=postgres://postgres@127.0.0.1:5432/postgres cargo bench --bench latency
//! POSTBACKD_BENCH_URL=... cargo bench --bench latency -- --rounds 3 --silence 60s --json
//! ```
//!
//! By polling and with `wake = "listen"`, in turn. A minute's silence cannot be had in less than a minute: five rounds with
//! ten silences each take about an hour. `--rounds 1 --silence 5s` gives an impression within three minutes: polls are at
//! their slowest after two seconds.

use std::{process::ExitCode, time::Duration};

use postbackd::bench::{Plan, Target, latency, program};

fn main() -> ExitCode {
    let ms = Duration::from_millis;
    let room = latency::Plan { rounds: 5, events: 300, every: ms(200), silence: ms(60_000), silences: 10 };
    let plan = Plan { latency: Some(room), ..Plan::default() };
    let bounds = [
        ("latency.poll.p50", 5.0),
        ("latency.poll.p99", 15.0),
        ("latency.silence.p99", 65.0),
        ("latency.listen.p50", 2.0),
        ("latency.listen.p99", 6.0),
    ];
    program::main(env!("CARGO_BIN_EXE_postbackd"), plan, &bounds.map(|(key, bound)| Target { key, bound, at_most: true }))
}
