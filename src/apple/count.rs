//! How many came, by what they were. For this process since its start, and for the table that keeps them by day.
//!
//! Every word comes from a closed list: whoever sends what never makes a new row.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use serde::Serialize;

use super::{Environment, Protocol, Received, Verdict};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Label {
    /// `skadnetwork`, `adattributionkit`; `unknown` of whoever was turned away before he asked.
    pub protocol: &'static str,
    /// `1.0` to `4.0`, `other`; empty where there is none or it was not read.
    pub version: &'static str,
    /// `verified`, `duplicate`, `development`, `lost` (another network won), `invalid`, `unverifiable`, `unknown_app`, `malformed`,
    /// `limited` (the device was told to come again), `failed` (the same, because the database was away).
    pub verdict: &'static str,
    /// Why, where the verdict has reasons; else empty. Of `limited`: `rate`, `connections`, `too_slow`.
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

/// Numbers on their way into the table. They stay as they are until an answer says that they are there, so that a batch whose answer was
/// lost is known by its writer and number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// This process, drawn at its start.
    pub writer: i64,
    /// From 1.
    pub number: i64,
    /// What it adds.
    pub counts: Vec<Count>,
}

impl Label {
    /// A connection too many: nobody knows what it would have asked for.
    pub const CROWDED: Self = Self { protocol: "unknown", version: "", verdict: "limited", reason: "connections" };

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
    /// Of them in a batch, which is written or on its way.
    taken: u64,
}

#[derive(Default)]
struct Book {
    numbers: BTreeMap<Label, Numbers>,
    batch: Option<Batch>,
    last: i64,
}

static BOOK: Mutex<Book> = Mutex::new(Book { numbers: BTreeMap::new(), batch: None, last: 0 });
static WRITER: LazyLock<i64> = LazyLock::new(rand::random);

fn book<T>(look: impl FnOnce(&mut Book) -> T) -> T {
    look(&mut BOOK.lock().unwrap_or_else(PoisonError::into_inner))
}

/// One more.
pub fn add(label: Label) {
    book(|book| book.numbers.entry(label).or_default().total += 1);
}

/// All numbers of this process, for its metrics.
pub fn snapshot() -> Vec<Count> {
    book(|book| book.numbers.iter().map(|(label, numbers)| Count { label: *label, count: numbers.total }).collect())
}

/// What the table has not, as far as is known: the batch before, as long as it is open; `None`: there is nothing.
pub(crate) fn unwritten() -> Option<Batch> {
    book(Book::batch)
}

/// The table has the batch of this number.
pub(crate) fn written(number: i64) {
    book(|book| book.batch.take_if(|batch| batch.number == number));
}

impl Book {
    fn batch(&mut self) -> Option<Batch> {
        if self.batch.is_none() {
            let rest = self.numbers.iter_mut().map(|(label, numbers)| {
                let count = numbers.total - std::mem::replace(&mut numbers.taken, numbers.total);
                Count { label: *label, count }
            });
            let counts: Vec<Count> = rest.filter(|count| count.count > 0).collect();
            if counts.is_empty() {
                return None;
            }
            self.last += 1;
            self.batch = Some(Batch { writer: *WRITER, number: self.last, counts });
        }
        self.batch.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apple::{Keys, testing::sample};

    #[test]
    fn what_was_written_is_not_written_again_and_what_may_have_been_stays_as_it_is() {
        let label = Label::unread(Protocol::SkAdNetwork, "malformed", "of_this_test");
        let mut book = Book::default();
        let add = |book: &mut Book| book.numbers.entry(label).or_default().total += 1;
        assert_eq!(book.batch(), None);
        add(&mut book);
        add(&mut book);
        let first = book.batch().expect("a batch");
        assert_eq!((first.number, &first.counts[..]), (1, &[Count { label, count: 2 }][..]));
        add(&mut book);
        assert_eq!(book.batch().as_ref(), Some(&first), "nobody knows yet whether the table has it");
        book.batch = None;
        let second = book.batch().expect("another");
        assert_eq!((second.writer, second.number, &second.counts[..]), (first.writer, 2, &[Count { label, count: 1 }][..]));
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
