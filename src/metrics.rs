//! What this process counts while it works: plain atomics, marked by the loops, read by whoever asks. No I/O and no clock here.
//!
//! What everybody's tables say (positions, what waits, trouble) is not counted here but asked of the database, so that it is true
//! whoever tells it. `names` lists everything that is told.

pub mod histogram;
mod meter;
pub mod names;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering},
    },
};

use jiff::Timestamp;

pub use self::meter::{About, BREAKER, CLASSES, Meter, OTHER, Purpose};
use crate::event::Kind;

/// Who is told of alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Hook {
    Webhook,
    Command,
}

impl Hook {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Webhook, Self::Command];

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Command => "command",
        }
    }
}

/// What one process counts.
#[derive(Debug, Default)]
pub struct Metrics {
    read: [AtomicU64; meter::KINDS],
    /// Of the reader; 0 while this process is none.
    epoch: AtomicI64,
    /// Milliseconds since 1970; 0: never.
    looked: AtomicI64,
    /// 0: nobody listens, 1: the connection is down, 2: it is up.
    listen: AtomicU8,
    /// One more than the number; 0: nobody has counted.
    paid_without_event: AtomicU64,
    hooks: [[AtomicU64; 2]; Hook::ALL.len()],
    meters: Mutex<BTreeMap<Arc<str>, Arc<Meter>>>,
}

impl Metrics {
    /// An event is in the stream, durably. `kind` as the shop's row has it.
    pub fn read(&self, kind: &str) {
        self.read[meter::place(kind.parse::<Kind>().ok())].fetch_add(1, Ordering::Relaxed);
    }

    /// This process reads the shop's commits from now on.
    pub fn owner(&self, epoch: i64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// It does not any more.
    pub fn no_owner(&self) {
        self.epoch.store(0, Ordering::Relaxed);
        self.looked.store(0, Ordering::Relaxed);
        self.paid_without_event(None);
    }

    /// The reader has looked for commits and put what was there into the stream.
    pub fn looked(&self, now: Timestamp) {
        self.looked.store(now.as_millisecond(), Ordering::Relaxed);
    }

    /// LISTEN is wanted, and its connection is up or down.
    pub fn listens(&self, up: bool) {
        self.listen.store(1 + u8::from(up), Ordering::Relaxed);
    }

    /// Nobody wants LISTEN.
    pub fn listens_not(&self) {
        self.listen.store(0, Ordering::Relaxed);
    }

    /// A hook was called, and took what it was told or did not.
    pub fn hook(&self, hook: Hook, taken: bool) {
        self.hooks[hook as usize][usize::from(!taken)].fetch_add(1, Ordering::Relaxed);
    }

    /// Hook, `taken` or `failed`, and how often: of hooks that were called.
    pub fn hooks(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let called = |hook: &Hook| self.hooks[*hook as usize].iter().any(|count| count.load(Ordering::Relaxed) > 0);
        let counts =
            |hook: Hook| ["taken", "failed"].into_iter().zip(&self.hooks[hook as usize]).map(move |(how, count)| (hook.as_str(), how, count));
        Hook::ALL.into_iter().filter(called).flat_map(counts).map(|(hook, how, count)| (hook, how, count.load(Ordering::Relaxed)))
    }

    /// Orders that the shop's books call paid and no event tells; `None`: they cannot be counted.
    pub fn paid_without_event(&self, orders: Option<i64>) {
        let stored = orders.and_then(|orders| u64::try_from(orders).ok()).map_or(0, |orders| orders.saturating_add(1));
        self.paid_without_event.store(stored, Ordering::Relaxed);
    }

    /// The number that was found last, by this process while it was the owner.
    pub fn untold_orders(&self) -> Option<u64> {
        self.paid_without_event.load(Ordering::Relaxed).checked_sub(1)
    }

    /// The meter of a destination. It goes on counting as long as the destination stays what it is.
    pub fn meter(&self, about: About) -> Arc<Meter> {
        let mut meters = self.locked();
        match meters.get(&about.destination).filter(|meter| meter.about == about) {
            Some(meter) => Arc::clone(meter),
            None => {
                let meter = Arc::new(Meter::new(about));
                meters.insert(Arc::clone(&meter.about.destination), Arc::clone(&meter));
                meter
            }
        }
    }

    /// Destinations that are not among these are told of no more.
    pub fn keep(&self, destinations: &[Arc<str>]) {
        self.locked().retain(|name, _| destinations.contains(name));
    }

    /// By name.
    pub fn meters(&self) -> Vec<Arc<Meter>> {
        self.locked().values().cloned().collect()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Meter>>> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kinds and how many events of each were read by this process.
    pub fn events_read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.read.iter().enumerate().map(|(place, count)| (meter::label(place), count.load(Ordering::Relaxed)))
    }

    /// The epoch of this reader; `None` while this process reads nothing.
    pub fn epoch(&self) -> Option<i64> {
        Some(self.epoch.load(Ordering::Relaxed)).filter(|epoch| *epoch != 0)
    }

    /// When the reader last looked, in seconds since 1970.
    pub fn last_look(&self) -> Option<f64> {
        Some(self.looked.load(Ordering::Relaxed)).filter(|at| *at != 0).map(|millis| millis as f64 / 1e3)
    }

    /// Whether the LISTEN connection is up; `None` where none is wanted.
    pub fn listening(&self) -> Option<bool> {
        self.listen.load(Ordering::Relaxed).checked_sub(1).map(|up| up == 1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{books::State, outcome::Reply};

    fn about(name: &str) -> About {
        About { destination: name.into(), platform: "postback", mode: "live", kinds: [Kind::Purchase].into(), version_ends: None }
    }

    #[test]
    fn what_is_not_known_is_other_and_not_a_label_of_its_own() {
        let metrics = Metrics::default();
        metrics.read("purchase");
        metrics.read("purchase{evil=\"1\"}");
        metrics.read("");
        let read: Vec<_> = metrics.events_read().filter(|(_, count)| *count > 0).collect();
        assert_eq!(read, [("purchase", 1), ("other", 2)]);
    }

    #[test]
    fn a_meter_counts_on_until_its_destination_changes_or_goes() {
        let metrics = Metrics::default();
        metrics.meter(about("a")).recorded(Some(Kind::Purchase), State::Delivered);
        let delivered = |meter: &Meter| meter.deliveries().map(|(.., count)| count).sum::<u64>();
        assert_eq!(delivered(&metrics.meter(about("a"))), 1);
        assert_eq!(delivered(&metrics.meter(About { platform: "meta", ..about("a") })), 0);
        metrics.meter(about("b"));
        metrics.keep(&["b".into()]);
        assert_eq!(metrics.meters().iter().map(|meter| &*meter.about.destination).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn wanted_kinds_are_there_from_the_beginning() {
        let meter = Meter::new(about("a"));
        assert_eq!(meter.deliveries().filter(|(kind, ..)| *kind == "purchase").count(), State::ALL.len());
        assert_eq!(meter.deliveries().count(), State::ALL.len());
        meter.recorded(None, State::Dead);
        assert!(meter.deliveries().any(|one| one == ("other", "dead", 1)));
    }

    #[test]
    fn what_never_left_the_machine_has_no_duration() {
        let meter = Meter::new(about("a"));
        let reply = |status| Ok(Reply { status, headers: Vec::new(), body: Vec::new(), cut: false });
        for status in [200, 302, 404, 429, 503, 999] {
            meter.ended(Purpose::Deliver, &reply(status), Duration::from_millis(1));
        }
        let error = |why: fn(String) -> crate::outcome::SendError| Err(why(String::new()));
        meter.ended(Purpose::Deliver, &error(crate::outcome::SendError::NotSent), Duration::from_millis(1));
        meter.ended(Purpose::Deliver, &error(crate::outcome::SendError::MaybeSent), Duration::from_millis(1));
        let seen: Vec<_> = meter.requests().filter(|(.., count)| *count > 0).map(|(_, class, _)| class).collect();
        assert_eq!(seen, ["2xx", "3xx", "4xx", "429", "5xx", "strange", "not_sent", "maybe_sent"]);
        assert_eq!(meter.request.counted().count, 7);
    }

    #[test]
    fn what_is_not_so_is_not_told() {
        let (metrics, meter) = (Metrics::default(), Meter::new(about("a")));
        assert_eq!((metrics.epoch(), metrics.last_look(), metrics.listening(), meter.breaker()), (None, None, None, None));
        metrics.listens(false);
        meter.worked("open");
        assert_eq!((metrics.listening(), meter.breaker()), (Some(false), Some("open")));
        metrics.listens_not();
        meter.left();
        assert_eq!((metrics.listening(), meter.breaker()), (None, None));
    }
}
