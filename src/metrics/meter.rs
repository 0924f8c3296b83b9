//! What is counted of one destination. Its tasks hold it, so that marking looks nothing up.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;

use super::histogram::{Histogram, LATENCY, REQUEST};
use crate::{
    books::State,
    event::Kind,
    outcome::{Reply, SendError},
};

/// All kinds and, behind them, what is none that we know.
pub(super) const KINDS: usize = Kind::ALL.len() + 1;
/// The label of the last of them.
pub const OTHER: &str = "other";
/// What a breaker says of itself, in the order of the documentation.
pub const BREAKER: [&str; 5] = ["closed", "open", "probing", "ramping", "throttled"];

/// Where a kind is counted.
pub(super) fn place(kind: Option<Kind>) -> usize {
    kind.map_or(KINDS - 1, |kind| kind as usize)
}

/// The label of a place.
pub(super) fn label(place: usize) -> &'static str {
    Kind::ALL.get(place).map_or(OTHER, |kind| kind.as_str())
}

/// Why a request was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It says something.
    Deliver,
    /// It asks what became of what was said.
    Confirm,
}

impl Purpose {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Deliver, Self::Confirm];

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Confirm => "confirm",
        }
    }
}

/// How requests end: the class of the answer's status, or why there is none.
pub const CLASSES: [&str; 10] = ["2xx", "3xx", "4xx", "429", "5xx", "strange", "not_sent", "maybe_sent", "no_token", "unsendable"];

fn class(end: &Result<Reply, SendError>) -> usize {
    match end {
        Ok(reply) => match reply.status {
            200..=299 => 0,
            300..=399 => 1,
            429 => 3,
            400..=499 => 2,
            500..=599 => 4,
            _ => 5,
        },
        Err(SendError::NotSent(_)) => 6,
        Err(SendError::MaybeSent(_)) => 7,
        Err(SendError::NoToken { .. }) => 8,
        Err(SendError::Unsendable(_)) => 9,
    }
}

/// What a destination is, as far as metrics tell.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct About {
    /// Its name.
    pub destination: Arc<str>,
    /// `platform`.
    pub platform: &'static str,
    /// `live`, `test` or `shadow`.
    pub mode: &'static str,
    /// What it wants: these are shown before the first of them came.
    pub kinds: BTreeSet<Kind>,
    /// When the platform ends the version of its API that is used here, where that is known.
    pub version_ends: Option<Timestamp>,
}

/// See the module.
#[derive(Debug)]
pub struct Meter {
    /// What is metered.
    pub about: About,
    /// From an event's time to the first request that tells it.
    pub first: Histogram,
    /// From an event's time until the platform's word that it has it is on record.
    pub delivered: Histogram,
    /// From the start of a request to the end of its answer, or to where it broke off.
    pub request: Histogram,
    deliveries: [[AtomicU64; State::ALL.len()]; KINDS],
    requests: [[AtomicU64; CLASSES.len()]; Purpose::ALL.len()],
    in_flight: AtomicU64,
    /// 0: not worked by this process; else one more than the place in [`BREAKER`].
    breaker: AtomicU8,
    /// Seconds since 1970; 0: not known.
    access_ends: AtomicI64,
    refresh_ends: AtomicI64,
    /// No token given: refused for good, and for now.
    no_token: [AtomicU64; 2],
}

impl Default for Meter {
    fn default() -> Self {
        Self::new(About::default())
    }
}

impl Meter {
    /// With nothing counted.
    pub fn new(about: About) -> Self {
        Self {
            about,
            first: Histogram::new(LATENCY),
            delivered: Histogram::new(LATENCY),
            request: Histogram::new(REQUEST),
            deliveries: Default::default(),
            requests: Default::default(),
            in_flight: AtomicU64::new(0),
            breaker: AtomicU8::new(0),
            access_ends: AtomicI64::new(0),
            refresh_ends: AtomicI64::new(0),
            no_token: Default::default(),
        }
    }

    /// A row of `postback.attempt` is durable.
    pub fn recorded(&self, kind: Option<Kind>, outcome: State) {
        self.deliveries[place(kind)][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A request has ended.
    pub fn ended(&self, purpose: Purpose, end: &Result<Reply, SendError>, took: Duration) {
        self.requests[purpose as usize][class(end)].fetch_add(1, Ordering::Relaxed);
        if matches!(end, Ok(_) | Err(SendError::MaybeSent(_))) {
            self.request.observe(took);
        }
    }

    /// So many requests are on the wire.
    pub fn flying(&self, requests: usize) {
        self.in_flight.store(requests as u64, Ordering::Relaxed);
    }

    /// This process works the destination; its breaker says this of itself.
    pub fn worked(&self, breaker: &str) {
        let place = BREAKER.iter().position(|state| *state == breaker).unwrap_or(0);
        self.breaker.store(place as u8 + 1, Ordering::Relaxed);
    }

    /// This process does not work it any more.
    pub fn left(&self) {
        self.breaker.store(0, Ordering::Relaxed);
    }

    /// An access token is there until then; the refresh token too, where the platform says so.
    pub fn token(&self, access_ends: Timestamp, refresh_ends: Option<Timestamp>) {
        self.access_ends.store(access_ends.as_second(), Ordering::Relaxed);
        self.refresh_ends.store(refresh_ends.map_or(0, Timestamp::as_second), Ordering::Relaxed);
    }

    /// None is given: `for_good` until a person renews the credential.
    pub fn no_token(&self, for_good: bool) {
        self.no_token[usize::from(!for_good)].fetch_add(1, Ordering::Relaxed);
    }

    /// Kind, outcome and how often: of wanted kinds all, of others what there was.
    pub fn deliveries(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let wanted = |place: usize| Kind::ALL.get(place).is_some_and(|kind| self.about.kinds.contains(kind));
        self.deliveries.iter().enumerate().flat_map(move |(place, outcomes)| {
            State::ALL
                .iter()
                .map(move |outcome| (label(place), outcome.as_str(), outcomes[*outcome as usize].load(Ordering::Relaxed)))
                .filter(move |(.., count)| *count > 0 || wanted(place))
        })
    }

    /// Purpose, class and how often. Questions are shown where there were any.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        Purpose::ALL.into_iter().flat_map(move |purpose| {
            let counts = CLASSES.iter().zip(&self.requests[purpose as usize]);
            let counts = counts.map(move |(class, count)| (purpose.as_str(), *class, count.load(Ordering::Relaxed)));
            counts.filter(move |(.., count)| *count > 0 || purpose == Purpose::Deliver)
        })
    }

    /// What the breaker says of itself; `None` while this process does not work the destination.
    pub fn breaker(&self) -> Option<&'static str> {
        let place = usize::from(self.breaker.load(Ordering::Relaxed)).checked_sub(1)?;
        BREAKER.get(place).copied()
    }

    /// Requests on the wire.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// `access` and `refresh`, and when they end, in seconds since 1970; what is not known is left out.
    pub fn tokens(&self) -> impl Iterator<Item = (&'static str, i64)> {
        let known = [("access", &self.access_ends), ("refresh", &self.refresh_ends)];
        known.into_iter().map(|(token, ends)| (token, ends.load(Ordering::Relaxed))).filter(|(_, ends)| *ends != 0)
    }

    /// `refused` and `failed`, and how often; nothing where no token was ever needed.
    pub fn tokens_missed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = ["refused", "failed"].into_iter().zip(&self.no_token).map(|(why, count)| (why, count.load(Ordering::Relaxed)));
        let needed = self.tokens().next().is_some();
        counts.filter(move |(_, count)| *count > 0 || needed)
    }
}
