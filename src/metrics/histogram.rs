//! How long things took, counted in buckets by atomics: no lock and no allocation where it is marked.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// From an event's time to the platform. The fine steps above 10 s are those of the default `settle`; the last are a day that a
/// platform makes wait.
pub const LATENCY: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 10.5, 11.0, 12.5, 15.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0];
/// One request. No deadline is longer than 60 s.
pub const REQUEST: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// See the module.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds in seconds, rising.
    bounds: &'static [f64],
    /// One more than bounds: what is longer than the last.
    counts: Box<[AtomicU64]>,
    microseconds: AtomicU64,
}

/// What a histogram has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// Upper bound in seconds and how many lie between the former one and it; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// All of them, in seconds.
    pub sum: f64,
    /// All of them: never at odds with the buckets.
    pub count: u64,
}

impl Histogram {
    /// With nothing in it.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), microseconds: AtomicU64::new(0) }
    }

    /// One more.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What it holds now.
    pub fn counted(&self) -> Counted {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Counted { buckets, sum: self.microseconds.load(Ordering::Relaxed) as f64 / 1e6, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_nothing_is_lost() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        for millis in [0, 500, 501, 1_000, 1_001, 3_600_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let counted = histogram.counted();
        assert_eq!(counted.buckets, [(0.5, 2), (1.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((counted.count, counted.sum), (6, 3_603.002));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [LATENCY, REQUEST] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{bounds:?}");
        }
    }
}
