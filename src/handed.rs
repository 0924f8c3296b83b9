//! What the reader has just written to stream and ledger, handed on to destinations that are right behind it: they need no look
//! at the database for what this process has in its hands. Nothing here is the only copy of anything.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    books::{Entry, Facts},
    event::{Event, Kind},
    outbox::{RawEvent, stream::Numbered},
};

/// Pages kept. A destination that is further behind reads the tables.
const KEPT: usize = 3;
/// The reader waits so long for a destination to take a page, so that it finds the next one here too. Whoever is slower than
/// this, or has stopped, is not waited for a fourth time.
const PATIENCE: Duration = Duration::from_millis(25);

/// The last pages, one behind the other.
#[derive(Debug)]
pub struct Handed {
    pages: Mutex<VecDeque<Page>>,
    /// How far the foremost destination has read.
    read: watch::Sender<i64>,
    /// When the write began that is under way.
    writing: Mutex<Option<Instant>>,
}

/// A write under way for longer may have gone through although its answer does not come: then the tables know more.
const IN_DOUBT: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Page {
    after: i64,
    last: i64,
    entries: Arc<Vec<Numbered>>,
    /// The ledger as it was when these entries were written.
    facts: Facts,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One event of a page, decoded for everybody.
pub type Decoded = Result<Arc<Event>, String>;

impl Handed {
    /// Nothing yet; the stream ends at `last_seq`.
    pub fn new(last_seq: i64) -> Self {
        Self { pages: Mutex::default(), read: watch::Sender::new(last_seq), writing: Mutex::default() }
    }

    fn pages(&self) -> MutexGuard<'_, VecDeque<Page>> {
        locked(&self.pages)
    }

    /// Entries that have just become durable behind `after`, of these events in the same order, with what the ledger holds for them.
    /// Does nothing where another event has to be judged again because of them. Not for entries that have to settle.
    pub fn put(&self, after: i64, entries: &[Entry], events: &[RawEvent], decoded: &[Decoded], facts: Facts) {
        let numbered = |((entry, seq), (raw, event)): ((&Entry, i64), (&RawEvent, &Decoded))| {
            let (reference, event) = (Arc::clone(&raw.reference), event.clone());
            (entry.event == raw.id).then_some(Numbered { seq, cause: entry.cause, only: None, event_id: raw.id, reference, event })
        };
        let page = entries.iter().zip(after + 1..).zip(events.iter().zip(decoded)).map(numbered).collect::<Option<Vec<Numbered>>>();
        let mut pages = self.pages();
        if pages.back().is_some_and(|back| back.last != after) {
            pages.clear();
        }
        match page.filter(|page| page.len() == entries.len()) {
            Some(page) => pages.push_back(Page { after, last: after + page.len() as i64, entries: Arc::new(page), facts }),
            None => pages.clear(),
        }
        if pages.len() > KEPT {
            pages.pop_front();
        }
    }

    /// A person's command may have changed what the ledger holds.
    pub fn clear(&self) {
        self.pages().clear();
    }

    /// The reader begins to write.
    pub fn writing(&self) {
        *locked(&self.writing) = Some(Instant::now());
    }

    /// It is durable. What fails ends the session, and this with it.
    pub fn written(&self) {
        *locked(&self.writing) = None;
    }

    fn in_doubt(&self) -> bool {
        locked(&self.writing).is_some_and(|began| began.elapsed() > IN_DOUBT)
    }

    /// The page behind `after`.
    pub fn page(&self, after: i64) -> Option<Arc<Vec<Numbered>>> {
        self.pages().iter().find(|page| page.after == after).map(|page| Arc::clone(&page.entries))
    }

    /// Sales and keys of these events as the ledger holds them now, where the stream ends at `last`. `None`: not known here. Nothing
    /// about what destinations were told.
    pub fn facts<'a>(&self, events: impl Iterator<Item = (i64, Kind, &'a str)>, last: i64) -> Option<Facts> {
        if self.in_doubt() {
            return None;
        }
        let pages = self.pages();
        let (first, _) = pages.front().zip(pages.back().filter(|back| back.last == last))?;
        let mut facts = Facts::default();
        for (seq, kind, reference) in events {
            if seq <= first.after {
                return None;
            }
            // A page knows all of each order that it touches: the last one that touches it is right.
            let mut newest = pages.iter().rev();
            if kind.is_plain() {
                let key = (kind, reference.to_owned());
                let holder = newest.find_map(|page| page.facts.once.get(&key))?;
                facts.once.insert(key, *holder);
            } else {
                let sales = newest.find_map(|page| page.facts.sales.get(reference))?;
                facts.sales.insert(reference.to_owned(), sales.clone());
            }
        }
        Some(facts)
    }

    /// A destination has read so far.
    pub fn read_up_to(&self, seq: i64) {
        self.read.send_if_modified(|read| {
            let further = seq > *read;
            *read = seq.max(*read);
            further
        });
    }

    /// Whether somebody may find here what comes behind `last`, the end of the stream.
    pub fn is_followed(&self, last: i64) -> bool {
        let oldest = self.pages().front().map_or(last, |page| page.after);
        *self.read.borrow() >= oldest
    }

    /// Waits a moment for whoever is right behind to take all pages but the last.
    pub async fn taken(&self, last: i64) {
        if !self.is_followed(last) {
            return;
        }
        let before = self.pages().back().map_or(last, |page| page.after);
        let mut read = self.read.subscribe();
        let _ = tokio::time::timeout(PATIENCE, read.wait_for(|read| *read >= before)).await;
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::books::Sale;

    fn raw(id: i64, reference: &str) -> RawEvent {
        let payload = r#"{"value": "1", "currency": "EUR"}"#.to_owned();
        RawEvent { id, kind: "purchase".into(), reference: reference.into(), payload, occurred_at: Timestamp::UNIX_EPOCH }
    }

    fn put(handed: &Handed, after: i64, orders: &[(&str, i32)]) {
        let events: Vec<RawEvent> = orders.iter().zip(after + 1..).map(|((order, _), id)| raw(id, order)).collect();
        let entries: Vec<Entry> = events.iter().map(|event| Entry { event: event.id, cause: None }).collect();
        let decoded: Vec<Decoded> = events.iter().map(|event| event.decode().map(Arc::new).map_err(|error| error.to_string())).collect();
        let sale = |order: &str, generation| Sale { order_ref: order.to_owned(), generation, ..Sale::default() };
        let sales = orders.iter().map(|(order, generation)| ((*order).to_owned(), vec![sale(order, *generation)])).collect();
        handed.put(after, &entries, &events, &decoded, Facts { sales, ..Facts::default() });
    }

    fn generation(handed: &Handed, seq: i64, order: &str, last: i64) -> Option<i32> {
        handed.facts([(seq, Kind::Purchase, order)].into_iter(), last).map(|facts| facts.sales[order][0].generation)
    }

    #[test]
    fn the_last_page_that_touches_an_order_knows_it() {
        let handed = Handed::new(0);
        put(&handed, 0, &[("a", 1), ("b", 1)]);
        put(&handed, 2, &[("b", 2)]);
        assert_eq!((generation(&handed, 1, "a", 3), generation(&handed, 2, "b", 3)), (Some(1), Some(2)));
        assert_eq!(generation(&handed, 1, "a", 4), None, "something else was written since");
        assert_eq!(generation(&handed, 1, "c", 3), None);
        assert_eq!(handed.page(2).map(|page| page.iter().map(|entry| entry.seq).collect()), Some(vec![3]));
        assert!(handed.page(1).is_none());
    }

    #[test]
    fn nothing_is_known_beside_a_write_that_does_not_come_back() {
        let handed = Handed::new(0);
        put(&handed, 0, &[("a", 1)]);
        handed.writing();
        assert_eq!(generation(&handed, 1, "a", 1), Some(1), "a write that has just begun has not gone through");
        *handed.writing.lock().expect("a lock") = Instant::now().checked_sub(2 * IN_DOUBT);
        assert_eq!(generation(&handed, 1, "a", 1), None);
        handed.written();
        assert_eq!(generation(&handed, 1, "a", 1), Some(1));
    }

    #[test]
    fn a_gap_or_a_page_that_reopens_others_begins_anew() {
        let handed = Handed::new(0);
        put(&handed, 0, &[("a", 1)]);
        put(&handed, 5, &[("b", 1)]);
        assert_eq!((generation(&handed, 1, "a", 6), generation(&handed, 6, "b", 6)), (None, Some(1)));
        let (event, again) = (raw(7, "c"), Entry { event: 1, cause: Some(crate::books::Cause::Sale) });
        let decoded = [event.decode().map(Arc::new).map_err(|error| error.to_string())];
        handed.put(6, &[Entry { event: 7, cause: None }, again], &[event], &decoded, Facts::default());
        assert!(handed.page(6).is_none() && handed.page(5).is_none());
    }

    #[test]
    fn only_the_last_pages_are_kept_and_whoever_is_behind_them_does_not_follow() {
        let handed = Handed::new(0);
        (0..3).for_each(|after| put(&handed, after, &[("a", 1)]));
        assert!(handed.is_followed(3));
        put(&handed, 3, &[("a", 1)]);
        assert!(!handed.is_followed(4) && handed.page(0).is_none());
        handed.read_up_to(1);
        assert!(handed.is_followed(4));
    }
}
