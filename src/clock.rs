//! The owner's fence: nothing is put on the wire unless this process proved a moment ago that it is the owner.
//!
//! Measured on CLOCK_BOOTTIME, which goes on while a machine sleeps: a virtual machine that was suspended for an hour wakes
//! up with a closed fence, though its monotonic clock believes that no time has passed.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Time since the machine was booted, suspended time included.
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    // The kernel keeps both parts within bounds and not negative.
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// How long ago something happened; nothing where it is yet to come, by clocks that do not agree.
pub fn age(of: Timestamp) -> Duration {
    let age = Timestamp::now().duration_since(of);
    if age.is_negative() { Duration::ZERO } else { age.unsigned_abs() }
}

/// One owner's session: make a new one for each, a closed fence stays closed. Shared by the task that checks ownership and
/// all that send.
#[derive(Debug)]
pub struct Fence {
    limit: Duration,
    /// When the last check that succeeded was *sent*, in nanoseconds since boot: what it proves was true then, not when
    /// the answer came. Zero: none yet.
    proved: AtomicU64,
    closed: AtomicBool,
}

impl Fence {
    /// The longest limit that a configuration may set: whoever takes over from a daemon whose own is not known waits for this one.
    pub const LONGEST: Duration = Duration::from_secs(4);

    /// Shut until the first [`Fence::prove`]; `limit` is how long a proof holds.
    pub fn new(limit: Duration) -> Self {
        Self { limit, proved: AtomicU64::new(0), closed: AtomicBool::new(false) }
    }

    /// A check of ownership that was sent at `sent_at` (by [`since_boot`]) has succeeded. Answers may come out of order.
    pub fn prove(&self, sent_at: Duration) {
        self.proved.fetch_max(u64::try_from(sent_at.as_nanos()).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// Ownership is lost or given up: shut for good, also against a proof that is still under way.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether a request may be put on the wire now.
    pub fn open(&self) -> bool {
        self.open_at(since_boot())
    }

    /// The same for a given time since boot.
    pub fn open_at(&self, now: Duration) -> bool {
        let proved = self.proved.load(Ordering::Acquire);
        proved != 0 && !self.closed.load(Ordering::Acquire) && now.saturating_sub(Duration::from_nanos(proved)) < self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_proof_holds_for_less_than_the_limit() {
        let fence = Fence::new(LIMIT);
        assert!(!fence.open_at(at(1)), "nothing is proved yet, although the machine has just booted");
        fence.prove(at(100));
        assert!(fence.open_at(at(100)) && fence.open_at(at(105) - Duration::from_nanos(1)));
        assert!(!fence.open_at(at(105)));
        fence.prove(at(103));
        fence.prove(at(101));
        assert!(fence.open_at(at(107)), "an older answer that comes later takes nothing back");
    }

    #[test]
    fn closed_is_closed() {
        let fence = Fence::new(LIMIT);
        fence.prove(at(100));
        fence.close();
        fence.prove(at(101));
        assert!(!fence.open_at(at(101)));
    }

    #[test]
    fn the_real_clock_runs_and_counts_from_boot() {
        let fence = Fence::new(Duration::from_secs(60));
        let before = since_boot();
        assert!(!before.is_zero());
        fence.prove(before);
        assert!(fence.open());
        let uptime: f64 = std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
        // /proc/uptime is CLOCK_BOOTTIME too (inside a time namespace both are shifted alike).
        assert!((since_boot().as_secs_f64() - uptime).abs() < 5.0);
    }
}
