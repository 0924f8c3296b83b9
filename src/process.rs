//! Which process this is, and whether another one of this machine is gone for certain.
//!
//! A daemon that was killed can send nothing any more: whoever comes next on the same machine need not wait for it. A process
//! that cannot be seen, on another machine or in another container, may only be slow.

use std::fs;

use rustix::{io::Errno, process};

/// A process as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The boot and the namespaces in which `pid` and `started` mean something.
    pub machine: String,
    /// Process id.
    pub pid: i32,
    /// When it began, in clock ticks since boot: a later process with the same number began later.
    pub started: i64,
}

impl Process {
    /// This one. What cannot be read is empty or zero, and then nobody is ever declared gone.
    pub fn this() -> Self {
        let pid = process::getpid().as_raw_pid();
        Self { machine: machine().unwrap_or_default(), pid, started: stat(pid).map_or(0, |stat| stat.started) }
    }

    /// Whether it is gone for certain. `false`: it lives, or nobody can tell from here.
    pub fn is_gone(&self) -> bool {
        let Some(pid) = process::Pid::from_raw(self.pid) else { return false };
        if self.machine.is_empty() || machine().as_ref() != Some(&self.machine) {
            return false;
        }
        match process::test_kill_process(pid) {
            Err(Errno::SRCH) => true,
            // It is there, and may be hidden from /proc: only what is read there counts.
            _ => stat(self.pid).is_some_and(|stat| stat.started != self.started || stat.ended),
        }
    }
}

/// The boot and the namespaces, as one text.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let pids = fs::read_link("/proc/self/ns/pid").ok()?;
    // Ticks since boot are shifted inside a time namespace; older kernels have none.
    let times = fs::read_link("/proc/self/ns/time").unwrap_or_default();
    Some(format!("{} {} {}", boot.trim(), pids.display(), times.display()))
}

struct Stat {
    started: i64,
    /// A zombie: dead, and not yet collected by its parent.
    ended: bool,
}

/// Fields 3 and 22 of /proc/PID/stat; the second, the program's name, may hold anything, parentheses included.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { started, ended: matches!(state, "Z" | "X" | "x") })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_lives_until_it_is_gone() {
        assert!(!Process::this().is_gone());
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let other = Process { pid, started: stat(pid).unwrap().started, ..Process::this() };
        assert!(!other.is_gone());
        assert!(Process { started: other.started - 1, ..other.clone() }.is_gone(), "an earlier process with the same number");
        assert!(!Process { machine: "another".into(), pid, started: 1 }.is_gone(), "nobody can tell from here");
        child.kill().unwrap();
        while !other.is_gone() {
            std::thread::yield_now(); // A zombie is gone as well; the signal takes a moment.
        }
        child.wait().unwrap();
        assert!(other.is_gone());
    }
}
