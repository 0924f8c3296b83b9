//! What a stretch of time took of processor time: by process, and by everybody else on this machine.

use std::{
    fs,
    time::{Duration, Instant},
};

use postbackd::bench::cpu::{self, Server};

/// Clock ticks of Linux's user interface.
const TICK: Duration = Duration::from_millis(10);

/// Of the whole machine since it was started.
fn machine() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers: Vec<u64> = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // All but idle (3) and waiting for disks (4); guests (8, 9) are in user time already.
    let ticks: u64 = numbers.iter().take(8).enumerate().filter(|(index, _)| ![3, 4].contains(index)).map(|(_, ticks)| ticks).sum();
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// Reads three processes and the machine.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    daemon: u32,
    postmaster: u32,
    at: Instant,
    /// Daemon, server, this program, the machine.
    times: [Duration; 4],
}

/// What a stretch of time took.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Wall time.
    pub time: Duration,
    /// CPU time of the daemon.
    pub daemon: Duration,
    /// CPU time of the database server, all its processes.
    pub server: Duration,
    /// CPU time of this program: the receiver.
    pub receiver: Duration,
    /// CPU time of everybody else on this machine.
    pub others: Duration,
}

impl Meter {
    pub fn start(daemon: u32, postmaster: u32) -> Self {
        let times = [cpu::process(daemon), Server::of_postmaster(postmaster).spent(), cpu::own(), Some(machine())];
        Self { daemon, postmaster, at: Instant::now(), times: times.map(Option::unwrap_or_default) }
    }

    /// Since the start, or since the last lap.
    pub fn lap(&mut self) -> Spent {
        let next = Self::start(self.daemon, self.postmaster);
        let [daemon, server, receiver, all] = std::array::from_fn(|index| next.times[index].saturating_sub(self.times[index]));
        let spent = Spent { time: next.at - self.at, daemon, server, receiver, others: all.saturating_sub(daemon + server + receiver) };
        *self = next;
        spent
    }
}

impl Spent {
    /// Microseconds of each for one of `count`: daemon, server, receiver.
    pub fn per(&self, count: u64) -> [f64; 3] {
        [self.daemon, self.server, self.receiver].map(|time| time.as_secs_f64() * 1e6 / count.max(1) as f64)
    }

    /// Seconds of CPU that the others left to us.
    pub fn left(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (self.time.as_secs_f64() * cores as f64 - self.others.as_secs_f64()).max(0.001)
    }
}
