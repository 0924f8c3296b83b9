//! Requests that are judged and built before the wire has room for them: so the wire never waits for the ledger, and one look
//! at the ledger serves many. As many as went out a moment ago, so that none gets old here.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::wire::Prepared;

/// What was judged longer ago is judged again: a click id, a consent or a refund may have come.
pub const FRESH: Duration = Duration::from_millis(50);
/// Launches are counted over this long: what went out in it will do so again while it is fresh.
const PERIOD: Duration = FRESH.checked_div(2).expect("two is not zero");
/// Requests at most; they are in memory with their events.
const MOST: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub struct Ahead {
    judged: VecDeque<(Instant, Prepared)>,
    since: Option<Instant>,
    launched: usize,
    before: usize,
}

impl Ahead {
    /// Waits for room, judged at `now`.
    pub fn push(&mut self, prepared: Prepared, now: Instant) {
        self.judged.push_back((now, prepared));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.judged.len()
    }

    /// Whether the first is still as judged; `None`: there is none.
    pub fn is_fresh(&self, now: Instant) -> Option<bool> {
        self.judged.front().map(|(judged, _)| now.saturating_duration_since(*judged) < FRESH)
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<Prepared> {
        self.judged.pop_front().map(|(_, prepared)| prepared)
    }

    /// A request went on the wire.
    pub fn launched(&mut self, now: Instant) {
        let age = self.since.map(|since| now.saturating_duration_since(since));
        if age.is_none_or(|age| age >= PERIOD) {
            self.before = if age.is_some_and(|age| age < 2 * PERIOD) { self.launched } else { 0 };
            (self.since, self.launched) = (Some(now), 0);
        }
        self.launched += 1;
    }

    /// How many may wait here now.
    pub fn room(&self, now: Instant) -> usize {
        match self.since.map(|since| now.saturating_duration_since(since)) {
            Some(age) if age < PERIOD => self.before.max(self.launched).min(MOST),
            Some(age) if age < 2 * PERIOD => self.launched.min(MOST),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_went_out_a_moment_ago() {
        let (mut ahead, start) = (Ahead::default(), Instant::now());
        assert_eq!(ahead.room(start), 0, "nothing is known yet: each is judged when there is room for it");
        (0..40).for_each(|_| ahead.launched(start));
        assert_eq!(ahead.room(start), 40);
        ahead.launched(start + PERIOD);
        assert_eq!(ahead.room(start + PERIOD), 40);
        assert_eq!(ahead.room(start + 2 * PERIOD), 1, "it slowed down");
        assert_eq!(ahead.room(start + 3 * PERIOD), 0, "nothing goes out any more");
        ahead.launched(start + 9 * PERIOD);
        assert_eq!(ahead.room(start + 9 * PERIOD), 1);
        (0..1_000).for_each(|_| ahead.launched(start + 9 * PERIOD));
        assert_eq!(ahead.room(start + 9 * PERIOD), MOST);
    }
}
