//! How long to wait before the database is asked again. The only user of crate `backoff`, so that it can be replaced here.

use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff as _};

/// The first wait: a failover or a restarted pooler is often over by then.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait: deliveries are to go on within 5 s of the server's return.
const LONGEST: Duration = Duration::from_secs(1);

/// Endless waits: doubling from 100 ms to 1 s, each 30 % more or less, so that several daemons do not knock together.
#[derive(Debug)]
pub struct Waits(ExponentialBackoff);

impl Waits {
    /// Begins with the shortest.
    pub fn new() -> Self {
        Self(
            ExponentialBackoffBuilder::new()
                .with_initial_interval(FIRST)
                .with_max_interval(LONGEST)
                .with_multiplier(2.0)
                .with_randomization_factor(0.3)
                .with_max_elapsed_time(None)
                .build(),
        )
    }

    /// After a connection that worked: the next wait is the shortest again.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl Default for Waits {
    fn default() -> Self {
        Self::new()
    }
}

impl Iterator for Waits {
    type Item = Duration;

    /// Never `None`.
    fn next(&mut self) -> Option<Duration> {
        Some(self.0.next_backoff().unwrap_or(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_stay_there() {
        let mut waits = Waits::new();
        let seen: Vec<Duration> = waits.by_ref().take(40).collect();
        assert!(seen[0] <= FIRST.mul_f64(1.31), "{seen:?}");
        assert!(seen[39] >= LONGEST.mul_f64(0.69) && seen[39] <= LONGEST.mul_f64(1.31), "{seen:?}");
        waits.reset();
        assert!(waits.next() <= Some(FIRST.mul_f64(1.31)));
    }
}
