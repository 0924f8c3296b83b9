//! What one destination has in memory: the entries between its position and what it has read, in lanes. Pure.
//!
//! A lane holds an order's entries in stream order; only its front is ever judged or on the wire, and the next one becomes
//! the front when the former's mark is durable. An entry is *passed* when it is done or has a row in `pending`; the position
//! is the last number before the first entry that is not.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use crate::{
    books::Cause,
    event::{Event, Kind},
    marks::Waiting,
};

/// One entry.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its number in the stream.
    pub seq: i64,
    /// The event.
    pub event_id: i64,
    /// What kind it is; `None`: unreadable.
    pub kind: Option<Kind>,
    /// Its lane.
    pub lane: Arc<str>,
    /// Why it is in the stream again; `None`: its commit.
    pub cause: Option<Cause>,
    /// In memory, or to be read again when it is due; `Err` is why it is dead.
    pub event: Option<Result<Arc<Event>, String>>,
    /// Requests made.
    pub tries: u32,
    /// Attempts that are known to be durable.
    pub recorded: u32,
    /// A former process may have sent it without recording it.
    pub maybe_sent: bool,
    /// Likewise, and not even that it was about to be sent may have been kept.
    pub lost: bool,
    /// Its row in `pending`.
    pub row: Option<Waiting>,
    /// Not before then.
    pub due: Option<Instant>,
    /// Judged, on the wire, or its mark is not durable yet.
    pub busy: bool,
    /// When it came into memory, or went on the wire last.
    pub since: Instant,
}

/// Fate of an entry once its mark is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It leaves; the next of its lane is the front.
    Done,
    /// It stays at the front and is judged again then.
    Again(Instant),
    /// It stays at the front until something else happens.
    Parked,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Book {
    items: HashMap<i64, Item>,
    lanes: HashMap<Arc<str>, VecDeque<i64>>,
    unpassed: BTreeSet<i64>,
    ready: BTreeSet<i64>,
    timers: BTreeSet<(Instant, i64)>,
    /// Behind a front that has a row in `pending`: they get one too, when there is room.
    stuck: BTreeSet<i64>,
    /// Lanes whose front was being judged when what it may wait for happened.
    woken: HashSet<Arc<str>>,
    rows: usize,
    read: i64,
}

impl Book {
    /// An empty book at a position.
    pub fn at(seq: i64) -> Self {
        Self { read: seq, ..Self::default() }
    }

    /// The highest number read.
    pub fn read(&self) -> i64 {
        self.read
    }

    /// Everything up to here was read, whether or not it concerns this destination.
    pub fn read_up_to(&mut self, seq: i64) {
        self.read = self.read.max(seq);
    }

    /// Reading goes on behind `seq`.
    pub fn read_from(&mut self, seq: i64) {
        self.read = seq;
    }

    /// The last number before the first entry that is neither done nor in `pending`.
    pub fn position(&self) -> i64 {
        self.unpassed.first().map_or(self.read, |seq| seq - 1)
    }

    /// Entries that hold the position.
    pub fn unpassed(&self) -> usize {
        self.unpassed.len()
    }

    /// Rows in `pending` that this book knows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// One entry.
    pub fn item(&self, seq: i64) -> Option<&Item> {
        self.items.get(&seq)
    }

    /// Whether nothing of its lane stands before it.
    pub fn is_front(&self, seq: i64) -> bool {
        self.items.get(&seq).and_then(|item| self.lanes.get(&item.lane)).is_some_and(|lane| lane.front() == Some(&seq))
    }

    /// Changes one entry; lanes, timers and rows have methods of their own.
    pub fn item_mut(&mut self, seq: i64) -> Option<&mut Item> {
        self.items.get_mut(&seq)
    }

    /// Takes in an entry, at its place in its lane.
    pub fn add(&mut self, item: Item) {
        let (seq, lane) = (item.seq, Arc::clone(&item.lane));
        match item.row {
            Some(_) => self.rows += 1,
            None => {
                self.read_up_to(seq);
                self.unpassed.insert(seq);
            }
        }
        let has_row = item.row.is_some();
        self.items.insert(seq, item);
        let queue = self.lanes.entry(lane).or_default();
        let former = queue.front().copied();
        // Rows of `pending` come first after a restart, and what stands in the stream before them is read later.
        let place = queue.partition_point(|have| *have < seq);
        queue.insert(place, seq);
        match former {
            None => self.arm(seq),
            Some(former) if place == 0 => {
                self.disarm(former);
                self.arm(seq);
            }
            Some(former) if !has_row && self.items.get(&former).is_some_and(|front| front.row.is_some()) => {
                self.stuck.insert(seq);
            }
            Some(_) => {}
        }
    }

    /// It is not the front any more.
    fn disarm(&mut self, seq: i64) {
        self.ready.remove(&seq);
        if let Some(due) = self.items.get(&seq).and_then(|item| item.due) {
            self.timers.remove(&(due, seq));
        }
    }

    fn arm(&mut self, seq: i64) {
        let Some(item) = self.items.get(&seq) else { return };
        if item.busy {
            return;
        }
        match item.due {
            Some(due) => {
                self.timers.insert((due, seq));
            }
            None => {
                self.ready.insert(seq);
            }
        }
    }

    /// Moves what is due to the ready ones.
    pub fn wake(&mut self, now: Instant) {
        while let Some((due, seq)) = self.timers.first().copied() {
            if due > now {
                return;
            }
            self.timers.pop_first();
            self.ready.insert(seq);
        }
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|timer| timer.0)
    }

    /// Fronts that may be judged now, in stream order, at most `room`; they are busy from here on. Nothing beyond `horizon`.
    pub fn take(&mut self, room: usize, horizon: i64) -> Vec<i64> {
        let may = |seq: &&i64| self.may_begin(**seq, horizon);
        let taken: Vec<i64> = self.ready.iter().take_while(may).take(room).copied().collect();
        for seq in &taken {
            self.ready.remove(seq);
            if let Some(item) = self.items.get_mut(seq) {
                item.busy = true;
                item.due = None;
            }
        }
        taken
    }

    /// How many [`Self::take`] would find, counted up to `most`.
    pub fn ready(&self, most: usize, horizon: i64) -> usize {
        self.ready.iter().filter(|seq| self.may_begin(**seq, horizon)).take(most).count()
    }

    /// Whether [`Self::take`] would find something.
    pub fn has_ready(&self, horizon: i64) -> bool {
        self.ready.first().is_some_and(|seq| self.may_begin(*seq, horizon))
    }

    /// Within the horizon (a restart looks no further for what was sent), and nothing of its lane is still to be read before it.
    fn may_begin(&self, seq: i64, horizon: i64) -> bool {
        seq <= self.read && seq <= horizon
    }

    /// Refunds right behind the front `seq`, which are then busy too: a restatement says them all at once.
    pub fn take_followers(&mut self, seq: i64, horizon: i64) -> Vec<i64> {
        let Some(queue) = self.items.get(&seq).and_then(|item| self.lanes.get(&item.lane)) else { return Vec::new() };
        let takes_back = |item: &Item| !item.busy && item.cause.is_none() && item.kind.is_some_and(Kind::takes_back);
        let takes_back = |seq: &&i64| self.items.get(*seq).is_some_and(|item| item.seq <= horizon && takes_back(item));
        let followers: Vec<i64> = queue.iter().skip(1).take_while(takes_back).copied().collect();
        for seq in &followers {
            self.stuck.remove(seq);
            if let Some(item) = self.items.get_mut(seq) {
                item.busy = true;
            }
        }
        followers
    }

    /// Takes an entry out of what may be judged: its answer has come.
    pub fn hold(&mut self, seq: i64) {
        let Some(item) = self.items.get_mut(&seq) else { return };
        item.busy = true;
        self.ready.remove(&seq);
        if let Some(due) = item.due.take() {
            self.timers.remove(&(due, seq));
        }
    }

    /// Entries with this row.
    pub fn with_row(&self, row: Waiting) -> Vec<i64> {
        let mut seqs: Vec<i64> = self.items.values().filter(|item| item.row == Some(row)).map(|item| item.seq).collect();
        seqs.sort_unstable();
        seqs
    }

    /// Gives back an entry that was taken and not decided.
    pub fn give_back(&mut self, seq: i64, due: Option<Instant>) {
        if let Some(item) = self.items.get_mut(&seq) {
            item.busy = false;
            item.due = due;
            let (lane, has_row) = (Arc::clone(&item.lane), item.row.is_some());
            match self.lanes.get(&lane).and_then(VecDeque::front).copied() {
                Some(front) if front == seq => self.arm(seq),
                Some(front) if !has_row && self.items.get(&front).is_some_and(|front| front.row.is_some()) => {
                    self.stuck.insert(seq);
                }
                _ => {}
            }
        }
    }

    /// The mark that is being written will say that it is done: the position may go over it.
    pub fn pass(&mut self, seq: i64) {
        self.unpassed.remove(&seq);
        self.stuck.remove(&seq);
    }

    /// The mark that is being written gives it a row in `pending`. Its event is read again when it is needed.
    pub fn set_row(&mut self, seq: i64, row: Option<Waiting>) {
        let Some(item) = self.items.get_mut(&seq) else { return };
        match (item.row, row) {
            (None, Some(_)) => self.rows += 1,
            (Some(_), None) => self.rows -= 1,
            _ => {}
        }
        item.row = row;
        if row.is_some() {
            if !item.busy {
                item.event = None;
            }
            let lane = Arc::clone(&item.lane);
            self.pass(seq);
            if let Some(queue) = self.lanes.get(&lane)
                && queue.front() == Some(&seq)
            {
                let behind: Vec<i64> = queue.iter().skip(1).filter(|seq| self.items.get(seq).is_some_and(|i| i.row.is_none())).copied().collect();
                self.stuck.extend(behind);
            }
        }
    }

    /// What the front of this lane may be waiting for has happened: it is judged again.
    pub fn unpark(&mut self, lane: &Arc<str>) {
        let Some(front) = self.lanes.get(lane).and_then(VecDeque::front).and_then(|seq| self.items.get(seq)) else { return };
        if front.busy {
            self.woken.insert(Arc::clone(lane));
        } else if front.due.is_none() {
            self.ready.insert(front.seq);
        }
    }

    /// Its mark is durable.
    pub fn apply(&mut self, seq: i64, fate: Fate) {
        let woken = self.items.get(&seq).is_some_and(|item| self.woken.remove(&item.lane));
        match fate {
            Fate::Parked if woken => self.give_back(seq, None),
            Fate::Done => self.remove(seq),
            Fate::Again(due) => {
                if let Some(item) = self.items.get_mut(&seq).filter(|item| item.row.is_some()) {
                    item.event = None;
                }
                self.give_back(seq, Some(due));
            }
            Fate::Parked => {
                if let Some(item) = self.items.get_mut(&seq) {
                    item.busy = false;
                    item.event = None;
                }
            }
        }
    }

    fn remove(&mut self, seq: i64) {
        let Some(item) = self.items.remove(&seq) else { return };
        self.pass(seq);
        self.ready.remove(&seq);
        if item.row.is_some() {
            self.rows -= 1;
        }
        if let Some(due) = item.due {
            self.timers.remove(&(due, seq));
        }
        let Some(queue) = self.lanes.get_mut(&item.lane) else { return };
        let was_front = queue.front() == Some(&seq);
        queue.retain(|have| *have != seq);
        match queue.front().copied() {
            None => {
                self.lanes.remove(&item.lane);
            }
            Some(front) if was_front => {
                self.stuck.remove(&front);
                self.arm(front);
            }
            Some(_) => {}
        }
    }

    /// Waiting entries behind a front with a row: they get one too, at most `room` of them.
    pub fn stuck(&self, room: usize) -> Vec<i64> {
        self.stuck.iter().filter(|seq| self.items.get(seq).is_some_and(|item| !item.busy)).take(room).copied().collect()
    }

    /// The entries that hold the position and came into memory, or went on the wire, before `then`, at most `room`; with
    /// `waiting` also those that nobody has begun with.
    pub fn slow(&self, then: Instant, waiting: bool, room: usize) -> Vec<i64> {
        let is_slow = |seq: &&i64| self.items.get(*seq).is_some_and(|item| item.since <= then && (waiting || item.busy));
        self.unpassed.iter().filter(is_slow).take(room).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn item(seq: i64, lane: &str, now: Instant) -> Item {
        Item {
            seq,
            event_id: seq,
            kind: Some(Kind::Purchase),
            lane: lane.into(),
            cause: None,
            event: None,
            tries: 0,
            recorded: 0,
            maybe_sent: false,
            lost: false,
            row: None,
            due: None,
            busy: false,
            since: now,
        }
    }

    #[test]
    fn a_lane_lets_one_pass_at_a_time() {
        let now = Instant::now();
        let mut book = Book::at(0);
        for (seq, lane) in [(1, "a"), (2, "a"), (3, "b")] {
            book.add(item(seq, lane, now));
        }
        assert_eq!(book.take(9, 9), [1, 3]);
        book.pass(3);
        book.apply(3, Fate::Done);
        assert_eq!((book.take(9, 9), book.position()), (vec![], 0));
        book.pass(1);
        assert_eq!(book.position(), 1);
        book.apply(1, Fate::Done);
        assert_eq!((book.take(9, 9), book.position()), (vec![2], 1));
    }

    #[test]
    fn a_row_read_first_waits_for_what_stands_before_it() {
        let now = Instant::now();
        let mut book = Book::at(4);
        book.add(Item { row: Some(Waiting::Parked), ..item(7, "a", now) });
        book.add(Item { row: Some(Waiting::Parked), ..item(3, "b", now) });
        assert_eq!(book.take(9, 99), [3], "what the reader has not passed may have something before it");
        book.add(item(6, "a", now));
        book.read_up_to(8);
        assert_eq!(book.take(9, 99), [6]);
        book.apply(6, Fate::Done);
        assert_eq!((book.take(9, 99), book.position()), (vec![7], 8));
    }

    #[test]
    fn nothing_beyond_the_horizon() {
        let now = Instant::now();
        let mut book = Book::at(0);
        book.add(item(1, "a", now));
        book.add(item(7, "b", now));
        assert_eq!(book.take(9, 5), [1]);
        book.set_row(7, Some(Waiting::Held));
        assert_eq!(book.take(9, 5), [] as [i64; 0], "once done it would leave no trace that a restart looks for");
        assert_eq!(book.take(9, 7), [7]);
    }

    #[test]
    fn what_a_front_waits_for_wakes_it_also_while_it_is_judged() {
        let now = Instant::now();
        let mut book = Book::at(0);
        book.add(item(1, "a", now));
        assert_eq!(book.take(9, 9), [1]);
        book.set_row(1, Some(Waiting::Parked));
        book.apply(1, Fate::Parked);
        assert_eq!(book.take(9, 9), [] as [i64; 0]);
        book.unpark(&"a".into());
        assert_eq!(book.take(9, 9), [1]);
        book.unpark(&"a".into());
        book.apply(1, Fate::Parked);
        assert_eq!(book.take(9, 9), [1], "it happened after its facts were read");
        book.apply(1, Fate::Parked);
        assert_eq!(book.take(9, 9), [] as [i64; 0], "and only once");
        book.unpark(&"nobody".into());
    }

    #[test]
    fn a_row_lets_the_position_pass_and_holds_its_lane() {
        let now = Instant::now();
        let mut book = Book::at(0);
        book.add(item(1, "a", now));
        book.add(item(2, "a", now));
        book.add(item(3, "b", now));
        assert_eq!(book.take(1, 9), [1]);
        book.set_row(1, Some(Waiting::Retrying));
        book.apply(1, Fate::Again(now + Duration::from_secs(5)));
        assert_eq!(book.stuck(9), [2]);
        book.set_row(2, Some(Waiting::Parked));
        assert_eq!(book.position(), 2);
        assert_eq!(book.take(9, 9), [3]);
        book.wake(now + Duration::from_secs(5));
        assert_eq!(book.take(9, 9), [1]);
        book.apply(1, Fate::Done);
        assert_eq!((book.take(9, 9), book.rows()), (vec![2], 1));
    }

    proptest! {
        /// Whatever happens to entries, each lane is worked in order, one at a time, everything gets done, and the position
        /// never passes an entry that is neither done nor has a row, and ends at the last number.
        #[test]
        fn everything_gets_done_in_order(lanes in prop::collection::vec(0u8..4, 1..40), choices in prop::collection::vec((0u8..5, 1usize..4), 400)) {
            let start = Instant::now();
            let (mut book, mut now) = (Book::at(0), start);
            let count = i64::try_from(lanes.len()).expect("small");
            for (index, lane) in lanes.iter().enumerate() {
                book.add(item(index as i64 + 1, &lane.to_string(), start));
            }
            let (mut busy, mut done): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
            let mut choices = choices.into_iter().chain(std::iter::repeat((0, 3)));
            for _ in 0..2_000 {
                if done.len() == lanes.len() { break; }
                let (choice, room) = choices.next().expect("endless");
                now += Duration::from_millis(100);
                book.wake(now);
                for seq in book.take(room, count) {
                    let lane = &book.item(seq).expect("taken").lane;
                    prop_assert!(!busy.iter().any(|other| book.item(*other).expect("busy").lane == *lane), "two of a lane at once");
                    busy.push(seq);
                }
                for seq in book.stuck(2) { book.set_row(seq, Some(Waiting::Parked)); }
                let Some(seq) = busy.pop() else { continue };
                match choice {
                    1 => { book.set_row(seq, Some(Waiting::Retrying)); book.apply(seq, Fate::Again(now + Duration::from_millis(250))); }
                    2 => book.give_back(seq, None),
                    3 => book.apply(seq, Fate::Again(now + Duration::from_millis(50))),
                    _ => { book.pass(seq); book.apply(seq, Fate::Done); done.push(seq); }
                }
                let first_open = (1..=count).find(|seq| !done.contains(seq) && book.item(*seq).is_some_and(|item| item.row.is_none()));
                prop_assert_eq!(book.position(), first_open.map_or(count, |seq| seq - 1));
            }
            prop_assert_eq!(done.len(), lanes.len());
            for lane in 0..4u8 {
                let of_lane: Vec<i64> = done.iter().filter(|seq| lanes[(**seq - 1) as usize] == lane).copied().collect();
                prop_assert!(of_lane.is_sorted());
            }
            prop_assert_eq!((book.position(), book.rows(), book.unpassed()), (count, 0, 0));
        }
    }
}
