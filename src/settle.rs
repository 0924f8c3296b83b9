//! When an entry of the stream is old enough to be sent, by this process's own clock.
//!
//! `log.at` is the database's clock and may jump; what this process put into the stream itself it times itself, and what was
//! there before it came waits at most `settle` from then on.

use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::outbox::stream::Settled;

/// While old entries are judged by the database's clock, look again this often.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Numbers that came close together: they settle when the last of them does.
#[derive(Clone, Copy, Debug)]
struct Mark {
    first: Instant,
    last: Instant,
    seq: i64,
}

/// The memory of when which number was given out. Marks are at least 1/100 of `settle` apart, so it stays small at any rate.
#[derive(Debug)]
pub struct Settling {
    settle: Duration,
    started: Instant,
    start_seq: i64,
    marks: Mutex<VecDeque<Mark>>,
}

impl Settling {
    /// A process that comes at `now` and finds the stream at `start_seq`.
    pub fn new(settle: Duration, start_seq: i64, now: Instant) -> Self {
        Self { settle, started: now, start_seq, marks: Mutex::new(VecDeque::new()) }
    }

    /// How long entries settle.
    pub fn settle(&self) -> Duration {
        self.settle
    }

    /// The stream was seen to end at `last_seq` at `now`.
    pub fn grew(&self, last_seq: i64, now: Instant) {
        let mut marks = self.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match marks.back_mut() {
            // Measured from its first number, or a mark would slide along for ever under a steady load.
            Some(mark) if now.duration_since(mark.first) < self.settle / 100 => (mark.last, mark.seq) = (now, last_seq),
            _ => marks.push_back(Mark { first: now, last: now, seq: last_seq }),
        }
        self.forget(&mut marks, now);
    }

    /// What may be read at `now`.
    pub fn settled(&self, now: Instant) -> Settled {
        let mut marks = self.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.forget(&mut marks, now);
        let base = if self.is_old(self.started, now) { self.start_seq } else { 0 };
        let sure = marks.front().filter(|mark| self.is_old(mark.last, now)).map_or(base, |mark| mark.seq.max(base));
        Settled { sure, perhaps: self.start_seq, age: self.settle }
    }

    fn is_old(&self, at: Instant, now: Instant) -> bool {
        now.duration_since(at) >= self.settle
    }

    /// Only the latest settled mark says anything.
    fn forget(&self, marks: &mut VecDeque<Mark>, now: Instant) {
        while marks.len() > 1 && self.is_old(marks[1].last, now) {
            marks.pop_front();
        }
    }

    /// When to look again for something behind `read`; `None`: nothing is there yet.
    pub fn next(&self, read: i64, now: Instant) -> Option<Instant> {
        if read < self.start_seq && now.duration_since(self.started) < self.settle {
            return Some(now + LOOK_AGAIN);
        }
        let marks = self.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        marks.iter().find(|mark| mark.seq > read).map(|mark| mark.last + self.settle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn own_entries_settle_by_the_own_clock() {
        let start = Instant::now();
        let settling = Settling::new(10 * SECOND, 5, start);
        settling.grew(8, start + SECOND);
        assert_eq!(settling.settled(start + 2 * SECOND), Settled { sure: 0, perhaps: 5, age: 10 * SECOND });
        assert_eq!(settling.settled(start + 10 * SECOND).sure, 5);
        assert_eq!(settling.settled(start + 11 * SECOND).sure, 8);
        assert_eq!(settling.next(5, start + 10 * SECOND), Some(start + 11 * SECOND));
        assert_eq!(settling.next(8, start + 12 * SECOND), None);
    }

    #[test]
    fn merged_marks_are_never_early() {
        let start = Instant::now();
        let settling = Settling::new(10 * SECOND, 0, start);
        settling.grew(1, start);
        settling.grew(2, start + SECOND / 20);
        assert_eq!(settling.settled(start + 10 * SECOND).sure, 0);
        assert_eq!(settling.settled(start + 10 * SECOND + SECOND / 20).sure, 2);
    }

    #[test]
    fn a_steady_load_settles_too() {
        let (start, step) = (Instant::now(), SECOND / 20);
        let settling = Settling::new(10 * SECOND, 0, start);
        for n in 1..=1_000_u32 {
            let now = start + step * n;
            settling.grew(i64::from(n), now);
            let settled = settling.settled(now).sure;
            let ideal = i64::from(n) - 200;
            assert!(settled <= ideal.max(0) && settled >= ideal - 3, "after {n} steps {settled} have settled");
            assert!(settling.marks.lock().expect("alone").len() < 110);
        }
    }

    #[test]
    fn zero_settles_at_once() {
        let now = Instant::now();
        let settling = Settling::new(Duration::ZERO, 3, now);
        assert_eq!(settling.settled(now).sure, 3);
        settling.grew(4, now);
        assert_eq!(settling.settled(now).sure, 4);
    }
}
