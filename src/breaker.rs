//! How many requests a destination may be asked now. Pure: time and jitter come in as arguments.
//!
//! ```text
//!            `failures` in a row                 open time over             the probe succeeds
//!   closed ──────────────────────▶ open ──────────────────────▶ probing ─────────────────────▶ ramping ──▶ closed
//!                                    ▲   open time doubled, up to 5 min      │   failures again    │  1, 2, 4 .. in flight
//!                                    └───────────────────────────────────────┴─────────────────────┘
//! ```
//!
//! A throttle (429) is no failure: it closes the tap until the time it names, and what follows ramps up, because everybody
//! at once is what was throttled. A sender asks for [`Breaker::room`], then the rate limit, then [`Breaker::start`].
//!
//! Every request started is reported back exactly once, with its [`Ticket`]. Answers to requests from before the last
//! change of state say nothing about the present and free their place only.

use std::time::{Duration, Instant};

use crate::destination::Limits;

pub use signal::Signal;

mod signal;

/// The open time does not double beyond this.
const OPEN_MAX: Duration = Duration::from_secs(300);
/// A throttle without a time: the first wait and the longest.
const THROTTLE_FIRST: Duration = Duration::from_secs(1);
const THROTTLE_MAX: Duration = Duration::from_secs(60);
/// While ramping, this many failures in a row are enough (fewer where the destination asks for fewer).
const RAMP_FAILURES: u32 = 3;

/// A request in flight. Hand it to [`Breaker::report`] or one of the `on_` methods when the request has ended.
#[must_use = "a ticket that is dropped keeps a place taken for ever"]
#[derive(Debug)]
pub struct Ticket {
    epoch: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    /// Nothing before `until`; one probe from then on.
    Open {
        until: Instant,
    },
    Probing,
    /// `allowed` in flight; doubled once `good` has come to as many successes.
    Ramping {
        allowed: usize,
        good: usize,
    },
}

/// The breaker of one destination.
#[derive(Debug)]
pub struct Breaker {
    limits: Limits,
    state: State,
    /// Raised with every change that makes older answers worthless.
    epoch: u64,
    /// In flight altogether, and of these started in this epoch.
    in_flight: usize,
    current: usize,
    /// Failures in a row, this epoch.
    failures: u32,
    /// The next open time; back to `limits.breaker_open` once closed.
    open_for: Duration,
    /// Throttled until then.
    shut: Option<Instant>,
    /// Throttles without a time in a row.
    throttles: u32,
}

impl Breaker {
    /// Closed. `in_flight` and `breaker_failures` of zero count as one.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { in_flight: limits.in_flight.max(1), breaker_failures: limits.breaker_failures.max(1), ..limits };
        Self {
            open_for: limits.breaker_open,
            limits,
            state: State::Closed,
            epoch: 0,
            in_flight: 0,
            current: 0,
            failures: 0,
            shut: None,
            throttles: 0,
        }
    }

    /// How many more requests may start now. Zero: look again when an answer has come or at [`Breaker::next`].
    pub fn room(&self, now: Instant) -> usize {
        if self.shut.is_some_and(|until| now < until) {
            return 0;
        }
        let allowed = match self.state {
            State::Closed => usize::MAX,
            State::Open { until } => usize::from(now >= until),
            State::Probing => 0,
            State::Ramping { allowed, .. } => allowed.saturating_sub(self.current),
        };
        // A probe is let through even where old requests still hang in every place: it is what tells that they may be given up.
        let places = match self.state {
            State::Open { .. } => 1,
            _ => self.limits.in_flight.saturating_sub(self.in_flight),
        };
        allowed.min(places)
    }

    /// When to look again if there is no room; `None`: there is room, or the next answer decides.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let open = match self.state {
            State::Open { until } => Some(until),
            _ => None,
        };
        open.max(self.shut).filter(|until| *until > now)
    }

    /// Takes a place; `None` where there is no room.
    pub fn start(&mut self, now: Instant) -> Option<Ticket> {
        if self.room(now) == 0 {
            return None;
        }
        if matches!(self.state, State::Open { .. }) {
            self.enter(State::Probing);
        }
        self.in_flight += 1;
        self.current += 1;
        Some(Ticket { epoch: self.epoch })
    }

    /// Ends a request: whichever of the methods below fits.
    pub fn report(&mut self, ticket: Ticket, signal: Signal, now: Instant, jitter: f64) {
        match signal {
            Signal::Well => self.on_success(ticket),
            Signal::Failing => self.on_failure(ticket, now, jitter),
            Signal::Throttled(after) => self.on_throttle(ticket, now, after, jitter),
            Signal::Silent => self.on_abandoned(ticket, now),
        }
    }

    /// The platform answered and is well. Rejections are answers too.
    pub fn on_success(&mut self, ticket: Ticket) {
        if !self.release(&ticket) {
            return;
        }
        self.failures = 0;
        self.throttles = 0;
        match &mut self.state {
            State::Closed | State::Open { .. } => {}
            State::Probing => self.ramp(2),
            State::Ramping { allowed, good } => {
                *good += 1;
                if *good >= *allowed {
                    (*allowed, *good) = (allowed.saturating_mul(2), 0);
                }
                if *allowed > self.limits.in_flight {
                    self.state = State::Closed;
                    self.open_for = self.limits.breaker_open;
                }
            }
        }
    }

    /// No answer, an answer too late, or a 5xx. `jitter` in [0, 1) shortens the open time by up to a quarter.
    pub fn on_failure(&mut self, ticket: Ticket, now: Instant, jitter: f64) {
        if !self.release(&ticket) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let enough = match &mut self.state {
            State::Closed => self.failures >= self.limits.breaker_failures,
            State::Probing => true,
            State::Open { .. } => false,
            State::Ramping { allowed, good } => {
                (*allowed, *good) = ((*allowed / 2).max(1), 0);
                self.failures >= self.limits.breaker_failures.min(RAMP_FAILURES)
            }
        };
        if enough {
            let open_for = self.open_for.min(OPEN_MAX);
            self.enter(State::Open { until: now + open_for.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0) });
            self.open_for = open_for.saturating_mul(2).min(OPEN_MAX);
        }
    }

    /// The platform asks everybody to slow down. Without `after` the tap closes for 1 s, twice that at the next such answer,
    /// at most 60 s, shortened by `jitter` as above. Heeded whatever the request's age; the longest time asked for counts.
    pub fn on_throttle(&mut self, ticket: Ticket, now: Instant, after: Option<Duration>, jitter: f64) {
        let current = self.release(&ticket);
        let wait = after.unwrap_or_else(|| {
            let doubled = THROTTLE_FIRST.saturating_mul(2_u32.saturating_pow(self.throttles)).min(THROTTLE_MAX);
            doubled.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0)
        });
        self.shut = self.shut.max(now.checked_add(wait));
        // The other answers of the same burst belong to an older epoch by now: a burst counts once.
        if current {
            self.throttles = self.throttles.saturating_add(1);
            self.ramp(1);
        }
    }

    /// The request was given up before it told anything (a stop, a reload). A probe's turn comes again.
    pub fn on_abandoned(&mut self, ticket: Ticket, now: Instant) {
        if self.release(&ticket) && matches!(self.state, State::Probing) {
            self.enter(State::Open { until: now });
        }
    }

    /// A person says that it works again (`postbackd resume`): room at once, ramping up.
    pub fn reset(&mut self) {
        self.shut = None;
        self.throttles = 0;
        self.open_for = self.limits.breaker_open;
        if !matches!(self.state, State::Closed) {
            self.ramp(1);
        }
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A word for status and metrics: `closed`, `open`, `probing`, `ramping` or `throttled`.
    pub fn state(&self, now: Instant) -> &'static str {
        match self.state {
            State::Open { .. } => "open",
            _ if self.shut.is_some_and(|until| now < until) => "throttled",
            State::Closed => "closed",
            State::Probing => "probing",
            State::Ramping { .. } => "ramping",
        }
    }

    fn ramp(&mut self, allowed: usize) {
        self.enter(State::Ramping { allowed, good: 0 });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
        self.current = 0;
        self.failures = 0;
    }

    /// Frees the place; whether the answer says something about the present state.
    fn release(&mut self, ticket: &Ticket) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        let current = ticket.epoch == self.epoch;
        if current {
            self.current = self.current.saturating_sub(1);
        }
        current
    }
}

#[cfg(test)]
mod tests;
