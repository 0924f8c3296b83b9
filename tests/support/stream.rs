//! Judges what a reader read against what was committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::shop::Record;

/// One event as a reader saw it, in the order in which it did.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// `postback.event.id`.
    pub id: i64,
    /// When; `None` where only the order is known.
    pub at: Option<Instant>,
}

/// Everything that is wrong with a reader; event ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Committed and not read.
    pub missed: Vec<i64>,
    /// Read before COMMIT was sent.
    pub early: Vec<i64>,
    /// Read though rolled back, or never said.
    pub foreign: Vec<i64>,
    /// Read after a later event of the same order.
    pub inverted: Vec<i64>,
    /// Read more than once.
    pub twice: Vec<i64>,
}

impl Faults {
    /// Nothing is wrong.
    pub fn none(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares.
pub fn judge(record: &Record, read: &[Read]) -> Faults {
    let committed = record.by_id();
    let doubtful: BTreeSet<i64> = record.in_doubt.iter().copied().collect();
    let mut faults = Faults::default();
    let mut seen = BTreeSet::new();
    let mut latest: BTreeMap<&str, i64> = BTreeMap::new();
    for event in read {
        if !seen.insert(event.id) {
            faults.twice.push(event.id);
            continue;
        }
        let Some(said) = committed.get(&event.id) else {
            if !doubtful.contains(&event.id) {
                faults.foreign.push(event.id);
            }
            continue;
        };
        if event.at.is_some_and(|at| at < said.commit_sent) {
            faults.early.push(event.id);
        }
        let last = latest.entry(&said.order).or_insert(event.id);
        if event.id < *last {
            faults.inverted.push(event.id);
        }
        *last = event.id.max(*last);
    }
    faults.missed = committed.keys().filter(|id| !seen.contains(id)).copied().collect();
    faults
}
