//! How long deliveries are collected before they share a request. Pure.

use std::time::{Duration, Instant};

use crate::delivery::Facts;

/// One destination's.
#[derive(Debug, Default)]
pub struct Gather {
    /// When the first of those that wait now became ready.
    since: Option<Instant>,
}

impl Gather {
    /// Whether the `ready` deliveries may be sent now: a full request, or the first has waited long enough. `most` is how many can be
    /// ready at all.
    pub fn may_begin(&mut self, ready: usize, most: usize, facts: &Facts, now: Instant) -> bool {
        if ready == 0 {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let begins = ready >= facts.batch_max.min(most) || now.saturating_duration_since(since) >= facts.batch_wait;
        if begins {
            self.since = None;
        }
        begins
    }

    /// When to look again.
    pub fn due(&self, wait: Duration) -> Option<Instant> {
        self.since.map(|since| since + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_for_company_but_not_for_ever() {
        let facts = Facts { batch_max: 3, batch_wait: Duration::from_secs(10), ..Facts::PLAIN };
        let (mut gather, start) = (Gather::default(), Instant::now());
        let mut at = |ready, seconds| gather.may_begin(ready, 500, &facts, start + Duration::from_secs(seconds));
        assert!(!at(1, 0) && !at(2, 9), "two of three wait");
        assert!(at(2, 10), "as long as was said");
        assert!(!at(1, 11), "the next begins to wait anew");
        assert!(at(3, 12), "a full one goes at once");
        assert!(!at(0, 30) && !at(1, 31), "nobody waits for those that were not there");
    }

    #[test]
    fn without_a_wait_and_with_full_hands_nobody_waits() {
        let mut gather = Gather::default();
        assert!(gather.may_begin(1, 500, &Facts::PLAIN, Instant::now()));
        let facts = Facts { batch_max: 1_000, batch_wait: Duration::from_secs(10), ..Facts::PLAIN };
        assert!(gather.may_begin(250, 250, &facts, Instant::now()), "more than that cannot come");
        assert_eq!(gather.due(facts.batch_wait), None);
    }
}
