//! Whether every loop still turns. Each says, before it waits, until when it will be back at the latest; whoever is overdue is
//! stuck: a deadlock, a blocked thread, a loop without end. Waiting is no fault: for work, for a lock that another daemon holds, for
//! a database that is away. All of these waits end by themselves, or are said to have no end.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How late a loop may be before it counts as stuck: a machine may be that busy with something else.
pub const SLACK: Duration = Duration::from_secs(10);
/// Longer than a few answers of the database together may take, each of which is given up after a while.
pub const ANSWERS: Duration = Duration::from_secs(180);

/// No end is known: nobody is overdue.
const NEVER: u64 = u64::MAX;

/// All loops of this process.
#[derive(Clone, Debug)]
pub struct Pulses {
    began: Instant,
    loops: Arc<Mutex<Vec<Arc<Loop>>>>,
}

#[derive(Debug)]
struct Loop {
    name: String,
    /// Milliseconds since `began` by which it is back.
    due: AtomicU64,
}

/// One loop's. A loop that ends takes its pulse along; one that panics leaves it behind, overdue for ever.
#[derive(Debug)]
pub struct Pulse {
    of: Arc<Loop>,
    all: Pulses,
}

impl Pulses {
    /// No loop yet.
    pub fn new(now: Instant) -> Self {
        Self { began: now, loops: Arc::default() }
    }

    /// A loop begins. Nothing is expected of it before it says something.
    pub fn pulse(&self, name: impl Into<String>) -> Pulse {
        let of = Arc::new(Loop { name: name.into(), due: AtomicU64::new(NEVER) });
        self.loops().push(Arc::clone(&of));
        Pulse { of, all: self.clone() }
    }

    /// Names of the loops that should have been back before `now`, in the order in which they began.
    pub fn overdue(&self, now: Instant) -> Vec<String> {
        let now = self.millis(now);
        self.loops().iter().filter(|one| one.due.load(Ordering::Relaxed) < now).map(|one| one.name.clone()).collect()
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(NEVER)
    }

    fn loops(&self) -> MutexGuard<'_, Vec<Arc<Loop>>> {
        self.loops.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Pulse {
    /// Back at `due` at the latest, or [`SLACK`] after it on a busy machine.
    pub fn until(&self, due: Instant) {
        self.of.due.store(self.all.millis(due + SLACK), Ordering::Relaxed);
    }

    /// Back after `wait` at the latest.
    pub fn within(&self, wait: Duration) {
        self.until(Instant::now() + wait);
    }

    /// Waiting for something that may never come.
    pub fn rest(&self) {
        self.of.due.store(NEVER, Ordering::Relaxed);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.of.due.store(0, Ordering::Relaxed);
        } else {
            self.all.loops().retain(|one| !Arc::ptr_eq(one, &self.of));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_loop_is_overdue_when_it_is_not_back_in_time() {
        let start = Instant::now();
        let pulses = Pulses::new(start);
        let (reader, sender) = (pulses.pulse("reader"), pulses.pulse("destination a"));
        assert!(pulses.overdue(start + 1_000_000 * S).is_empty(), "nothing was said yet");
        reader.until(start + 5 * S);
        sender.until(start + 60 * S);
        assert!(pulses.overdue(start + 5 * S + SLACK).is_empty(), "late, and not too late");
        assert_eq!(pulses.overdue(start + 6 * S + SLACK), ["reader"]);
        assert_eq!(pulses.overdue(start + 61 * S + SLACK), ["reader", "destination a"], "one that turns does not speak for another");
        reader.until(start + 70 * S);
        assert_eq!(pulses.overdue(start + 61 * S + SLACK), ["destination a"], "back");
        sender.rest();
        reader.rest();
        assert!(pulses.overdue(start + 1_000_000 * S).is_empty(), "whoever waits without an end is not stuck");
    }

    #[test]
    fn an_ended_loop_is_forgotten_and_a_broken_one_is_not() {
        let start = Instant::now();
        let pulses = Pulses::new(start);
        let ended = pulses.pulse("ended");
        ended.until(start);
        drop(ended);
        assert!(pulses.overdue(start + 60 * S).is_empty());
        let resting = pulses.pulse("broken");
        resting.rest();
        let broken = std::thread::spawn(move || {
            let _resting = resting;
            panic!("on purpose");
        });
        assert!(broken.join().is_err());
        assert_eq!(pulses.overdue(start + S), ["broken"]);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_overdue_too() {
        let pulses = Pulses::new(Instant::now());
        let pulse = pulses.pulse("destination a");
        async fn inner(pulse: &Pulse) {
            pulse.rest();
            tokio::task::yield_now().await;
            panic!("on purpose");
        }
        let task = tokio::spawn(async move { inner(&pulse).await });
        assert!(task.await.is_err());
        assert_eq!(pulses.overdue(Instant::now() + S), ["destination a"]);
        // One that is stopped from outside has ended.
        let pulse = pulses.pulse("destination b");
        let task = tokio::spawn(async move {
            pulse.within(S);
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.is_err());
        assert_eq!(pulses.overdue(Instant::now() + 60 * S), ["destination a"]);
    }
}
