//! Processor time of processes, as Linux counts it. What cannot be seen is `None`, never a guess.

use std::{path::Path, time::Duration};

/// User and system time of a process or thread: a directory of `/proc` that holds `stat`.
///
/// `stat` counts everything, but in ticks of 10 ms; `schedstat` counts nanoseconds, but only of threads that still live. The
/// larger one is nearer to the truth.
fn of(place: &Path) -> Option<Times> {
    let stat = std::fs::read_to_string(place.join("stat")).ok()?;
    let mut times = parse(&stat, rustix::param::clock_ticks_per_second())?;
    let threads = std::fs::read_dir(place.join("task")).map(|tasks| tasks.flatten().filter_map(|task| exact(&task.path())).sum());
    times.own = times.own.max(threads.ok().or_else(|| exact(place)).unwrap_or_default());
    Some(times)
}

/// Of one thread; the kernel may be built without it.
fn exact(place: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(place.join("schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Whose child it is: one file, because all processes of the machine are asked.
fn parent(place: &Path) -> Option<u32> {
    parse(&std::fs::read_to_string(place.join("stat")).ok()?, 1).map(|times| times.parent)
}

struct Times {
    parent: u32,
    own: Duration,
    reaped: Duration,
}

/// The name in parentheses may hold spaces and parentheses: fields are counted behind the last one.
fn parse(stat: &str, ticks_per_second: u64) -> Option<Times> {
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let time = |ticks: u64| Duration::from_millis(ticks * 1000 / ticks_per_second.max(1));
    Some(Times { parent: fields.get(1)?.parse().ok()?, own: time(ticks(11)? + ticks(12)?), reaped: time(ticks(13)? + ticks(14)?) })
}

/// Of a process with all its threads.
pub fn process(pid: u32) -> Option<Duration> {
    of(Path::new(&format!("/proc/{pid}"))).map(|times| times.own)
}

/// Of this process.
pub fn own() -> Option<Duration> {
    process(std::process::id())
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// A thread of this process, seen from its other threads.
#[derive(Clone, Debug)]
pub struct Thread(std::path::PathBuf);

impl Thread {
    /// The calling one.
    pub fn current() -> Option<Self> {
        let place = std::fs::read_link("/proc/thread-self").ok()?;
        Some(Self(Path::new("/proc").join(place)))
    }

    /// Its time until now.
    pub fn spent(&self) -> Option<Duration> {
        of(&self.0).map(|times| times.own)
    }
}

/// A PostgreSQL server on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    postmaster: u32,
}

impl Server {
    /// The server behind a backend. Process numbers of another machine or container may be anybody's here: the process has to
    /// call itself a PostgreSQL backend of `database`.
    pub fn of_backend(pid: u32, database: &str) -> Option<Self> {
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let title = String::from_utf8_lossy(&title);
        if !title.starts_with("postgres:") || !title.split([' ', '\0']).any(|word| word == database) {
            return None;
        }
        let postmaster = of(Path::new(&format!("/proc/{pid}")))?.parent;
        // Whoever may not see the postmaster (hidepid) sees nothing at all.
        of(Path::new(&format!("/proc/{postmaster}"))).map(|_| Self { postmaster })
    }

    /// The server whose first process this is.
    pub fn of_postmaster(pid: u32) -> Self {
        Self { postmaster: pid }
    }

    /// Time of the postmaster and all its children, those that ended included; of all databases.
    pub fn spent(&self) -> Option<Duration> {
        let postmaster = of(Path::new(&format!("/proc/{}", self.postmaster)))?;
        let mut spent = postmaster.own + postmaster.reaped;
        for entry in std::fs::read_dir("/proc").ok()?.flatten() {
            let is_number = entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
            if is_number && parent(&entry.path()) == Some(self.postmaster) {
                spent += of(&entry.path()).map_or(Duration::ZERO, |child| child.own);
            }
        }
        Some(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (post) gres: (x) S 7 42 42 0 -1 4194304 1 2 3 4 250 50 10 5 20 0 1 0 100 0 0";
        let times = parse(stat, 100).expect("readable");
        assert_eq!((times.parent, times.own, times.reaped), (7, Duration::from_secs(3), Duration::from_millis(150)));
        assert!(parse("42 (x", 100).is_none() && parse("", 100).is_none());
    }

    #[test]
    fn what_is_no_backend_is_not_taken_for_one() {
        assert!(process(std::process::id()).is_some());
        assert!(Server::of_backend(std::process::id(), "shop").is_none());
    }
}
