//! How many came, by what they were. For this process since its start, and for the table that keeps them by day.
//!
//! Every word comes from a closed list: whoever sends what never makes a new row.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use super::{Environment, Protocol, Received, Verdict};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Label {
    /// `skadnetwork`, `adattributionkit`.
    pub protocol: &'static str,
    /// `1.0` to `4.0`, `other`; empty where there is none or it was not read.
    pub version: &'static str,
    /// `verified`, `duplicate`, `development`, `lost` (another network won), `invalid`, `unverifiable`, `unknown_app`, `malformed`,
    /// `limited` (the device was told to come again), `failed` (the same, because the database was away).
    pub verdict: &'static str,
    /// Why, where the verdict has reasons; else empty.
    pub reason: &'static str,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Of what.
    #[serde(flatten)]
    pub label: Label,
    /// How many since this process began.
    pub count: u64,
}

impl Label {
    /// Of what was not read, or not as a postback.
    pub fn unread(protocol: Protocol, verdict: &'static str, reason: &'static str) -> Self {
        Self { protocol: protocol.word(), version: "", verdict, reason }
    }

    /// Of what was read: by its verdict, or by `instead` of it.
    pub fn of(received: &Received, instead: Option<&'static str>) -> Self {
        let postback = &received.postback;
        let version = match (postback.protocol, postback.version.as_deref()) {
            (Protocol::AdAttributionKit, _) => "",
            (_, None) => "1.0",
            (_, Some(version)) => ["2.0", "2.1", "2.2", "3.0", "4.0"].into_iter().find(|known| *known == version).unwrap_or("other"),
        };
        let (verdict, reason) = match (instead, received.verdict) {
            (Some(instead), _) => (instead, ""),
            (None, Verdict::Verified(Environment::Development)) => ("development", ""),
            (None, Verdict::Verified(Environment::Production)) => (if postback.won() { "verified" } else { "lost" }, ""),
            (None, verdict) => (verdict.word(), verdict.reason().map_or("", super::Reason::word)),
        };
        Self { protocol: postback.protocol.word(), version, verdict, reason }
    }
}

#[derive(Default)]
struct Numbers {
    total: u64,
    written: u64,
}

static NUMBERS: Mutex<BTreeMap<Label, Numbers>> = Mutex::new(BTreeMap::new());

fn numbers<T>(look: impl FnOnce(&mut BTreeMap<Label, Numbers>) -> T) -> T {
    look(&mut NUMBERS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// One more.
pub fn add(label: Label) {
    numbers(|all| all.entry(label).or_default().total += 1);
}

/// All numbers of this process, for its metrics.
pub fn snapshot() -> Vec<Count> {
    numbers(|all| all.iter().map(|(label, numbers)| Count { label: *label, count: numbers.total }).collect())
}

/// What no table has yet.
pub(crate) fn unwritten() -> Vec<Count> {
    numbers(|all| {
        let rest = all.iter().map(|(label, numbers)| Count { label: *label, count: numbers.total - numbers.written });
        rest.filter(|count| count.count > 0).collect()
    })
}

/// A table has these now.
pub(crate) fn written(counts: &[Count]) {
    numbers(|all| {
        for Count { label, count } in counts {
            if let Some(numbers) = all.get_mut(label) {
                numbers.written = (numbers.written + count).min(numbers.total);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apple::{Keys, testing::sample};

    #[test]
    fn what_was_written_is_not_written_again() {
        let label = Label::unread(Protocol::SkAdNetwork, "malformed", "of_this_test");
        let rest = || unwritten().into_iter().filter(|count| count.label == label).collect::<Vec<_>>();
        add(label);
        add(label);
        let first = rest();
        assert_eq!(first, [Count { label, count: 2 }]);
        add(label);
        written(&first);
        assert_eq!(rest(), [Count { label, count: 1 }]);
        assert!(snapshot().contains(&Count { label, count: 3 }));
    }

    #[test]
    fn labels_come_from_a_closed_list() {
        let read = |name: &str| Protocol::SkAdNetwork.read(&sample(name), Keys::apple()).expect("readable");
        let mut received = read("skadnetwork-3.0-lost.json");
        assert_eq!(Label::of(&received, None), Label { protocol: "skadnetwork", version: "3.0", verdict: "lost", reason: "" });
        received.postback.version = Some("7.1".into());
        received.verdict = Verdict::Unverifiable(super::super::Reason::Version);
        let unknown = Label { protocol: "skadnetwork", version: "other", verdict: "unverifiable", reason: "unknown_version" };
        assert_eq!(Label::of(&received, None), unknown);
        assert_eq!(Label::of(&received, Some("unknown_app")).reason, "");
    }
}
