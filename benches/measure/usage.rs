//! CPU time and memory by process, from /proc.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Clock ticks of Linux's user interface.
const TICK: Duration = Duration::from_millis(10);

fn fields(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The program's name stands in brackets and may hold blanks.
    text.rsplit_once(") ").map(|(_, rest)| rest.split_ascii_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

fn ticks(fields: &[String], which: std::ops::Range<usize>) -> u64 {
    fields.get(which).into_iter().flatten().filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// User and system time of a process and of all children that it had or has: PostgreSQL's, by its postmaster.
fn with_children(pid: u32) -> u64 {
    let own = ticks(&fields(&format!("/proc/{pid}/stat")), 11..15);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let children = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter_map(|name| {
        let fields = fields(&format!("/proc/{name}/stat"));
        (fields.get(1)? == &pid.to_string()).then(|| ticks(&fields, 11..13))
    });
    own + children.sum::<u64>()
}

fn machine() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers: Vec<u64> = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // All but idle (3) and waiting for disks (4); guests (8, 9) are in user time already.
    numbers.iter().take(8).enumerate().filter(|(index, _)| ![3, 4].contains(index)).map(|(_, ticks)| ticks).sum()
}

/// Resident memory in bytes; 0 when it has gone.
pub fn rss(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// Reads three processes and the machine.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    daemon: u32,
    postmaster: u32,
    at: Instant,
    ticks: [u64; 4],
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
        Self { daemon, postmaster, at: Instant::now(), ticks: Self::read(daemon, postmaster) }
    }

    fn read(daemon: u32, postmaster: u32) -> [u64; 4] {
        [ticks(&fields(&format!("/proc/{daemon}/stat")), 11..13), with_children(postmaster), ticks(&fields("/proc/self/stat"), 11..13), machine()]
    }

    /// Since the start, or since the last lap.
    pub fn lap(&mut self) -> Spent {
        let next = Self::start(self.daemon, self.postmaster);
        let spent: Vec<u64> = next.ticks.iter().zip(self.ticks).map(|(now, then)| now.saturating_sub(then)).collect();
        let time = |ticks: u64| TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        let ours = spent[0] + spent[1] + spent[2];
        let result = Spent {
            time: next.at - self.at,
            daemon: time(spent[0]),
            server: time(spent[1]),
            receiver: time(spent[2]),
            others: time(spent[3].saturating_sub(ours)),
        };
        *self = next;
        result
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
