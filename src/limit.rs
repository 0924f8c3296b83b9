//! How often requests leave, per destination or per shared credential. Pure: time comes in as an argument, nothing here sleeps.
//!
//! GCRA, a leaky bucket without a timer. At `n` a second one request may leave every `1/n` s; `ceil(n / 100)` may leave at
//! once after a pause, which is 10 ms worth: a sender woken by timers of a millisecond still reaches the rate, and in no
//! window of one second do more than `n + ceil(n / 100) - 1` leave. Up to 100 a second that is exactly `n`: platforms that
//! count per second never see more. Rates by the minute or hour are the same at other distances: 1,000 an hour are one each
//! 3.6 s, so that in no hour, however the platform lays it, more than 1,000 leave.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

use crate::{delivery::Rate, destination::Destination};

/// What the registry needs to know of a destination.
#[derive(Clone, Copy, Debug)]
pub struct Share<'a> {
    /// Destination name.
    pub name: &'a str,
    /// Destinations that name the same credential share one limit.
    pub credential: Option<&'a str>,
    /// How often at most.
    pub rate: Option<Rate>,
}

impl<'a> From<&'a Destination> for Share<'a> {
    fn from(destination: &'a Destination) -> Self {
        Self { name: &destination.name, credential: destination.credential.as_deref(), rate: destination.limits.rate }
    }
}

/// The limits of all destinations.
#[derive(Debug, Default)]
pub struct Limits {
    by_destination: HashMap<String, Limit>,
    by_credential: HashMap<String, Limit>,
}

impl Limits {
    /// One limit per credential, else per destination. Where destinations of one credential state different rates, the
    /// lowest holds for all of them; those that state none share it too. `previous` are the limits before a reload: where
    /// the rate is the same the count goes on, so that reloading does not hand out a burst.
    pub fn new<'a>(shares: impl IntoIterator<Item = Share<'a>>, previous: &Self) -> Self {
        let mut rates: HashMap<&str, Rate> = HashMap::new();
        let shares: Vec<Share<'a>> = shares.into_iter().collect();
        for share in &shares {
            if let (Some(credential), Some(rate)) = (share.credential, share.rate) {
                rates.entry(credential).and_modify(|have| *have = have.slower(rate)).or_insert(rate);
            }
        }
        let renew = |had: Option<&Limit>, rate: Option<Rate>| had.filter(|had| had.rate() == rate).cloned().unwrap_or_else(|| Limit::new(rate));
        let mut limits = Self::default();
        for share in shares {
            let limit = match share.credential {
                Some(credential) => limits
                    .by_credential
                    .entry(credential.to_owned())
                    .or_insert_with(|| renew(previous.by_credential.get(credential), rates.get(credential).copied()))
                    .clone(),
                None => renew(previous.by_destination.get(share.name), share.rate),
            };
            limits.by_destination.insert(share.name.to_owned(), limit);
        }
        limits
    }

    /// The limit of a destination; one that was not named at construction has none.
    pub fn of(&self, destination: &str) -> Limit {
        self.by_destination.get(destination).cloned().unwrap_or(Limit(None))
    }
}

/// The limit that one destination heeds; clones share it.
#[derive(Clone, Debug)]
pub struct Limit(Option<Arc<Bucket>>);

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    /// The first time that was passed.
    origin: OnceLock<Instant>,
    clock: Passed,
    limiter: RateLimiter<NotKeyed, InMemoryState, Passed, NoOpMiddleware<Duration>>,
}

impl Limit {
    /// `None`: as fast as they answer.
    pub fn new(rate: Option<Rate>) -> Self {
        /// What may leave at once after a pause, as time.
        const SAVED: Duration = Duration::from_millis(10);
        let Some(rate) = rate else { return Self(None) };
        let distance = rate.distance();
        let burst = SAVED.as_nanos().div_ceil(distance.as_nanos().max(1));
        let burst = u32::try_from(burst).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        // Only a distance of zero is none, and this one is at least a nanosecond.
        let Some(quota) = Quota::with_period(distance) else { return Self(None) };
        let clock = Passed::default();
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(burst), clock.clone());
        Self(Some(Arc::new(Bucket { rate, origin: OnceLock::new(), clock, limiter })))
    }

    /// Takes one request's share, or says how long to wait before asking again. Never blocks.
    pub fn check(&self, now: Instant) -> Result<(), Duration> {
        let Some(bucket) = &self.0 else { return Ok(()) };
        let now = bucket.clock.pass(now.saturating_duration_since(*bucket.origin.get_or_init(|| now)));
        bucket.limiter.check().map_err(|not_until| not_until.wait_time_from(now))
    }

    /// How often at most.
    pub fn rate(&self) -> Option<Rate> {
        self.0.as_ref().map(|bucket| bucket.rate)
    }
}

/// The clock that governor reads: whatever time was passed last, never going back. Counted in nanoseconds from
/// the first.
#[derive(Clone, Debug, Default)]
struct Passed(Arc<AtomicU64>);

impl Passed {
    fn pass(&self, now: Duration) -> Duration {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.0.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

impl Clock for Passed {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share<'a>(name: &'a str, credential: Option<&'a str>, per_second: Option<u32>) -> Share<'a> {
        Share { name, credential, rate: per_second.map(Rate::per_second) }
    }

    #[test]
    fn one_at_a_time_at_the_rate() {
        let (limit, now) = (Limit::new(Some(Rate::per_second(10))), Instant::now());
        assert_eq!(limit.check(now), Ok(()));
        let wait = limit.check(now).unwrap_err();
        assert!(wait <= Duration::from_millis(100) && wait > Duration::from_millis(99), "{wait:?}");
        assert_eq!(limit.check(now + wait), Ok(()));
        assert!(limit.check(now + wait).is_err(), "a pause is not saved up");
    }

    #[test]
    fn no_rate_no_limit() {
        let (limit, now) = (Limit::new(None), Instant::now());
        assert!((0..100_000).all(|_| limit.check(now).is_ok()));
    }

    #[test]
    fn a_credential_is_shared_at_its_lowest_rate() {
        let shares =
            [share("a", Some("key"), Some(50)), share("b", Some("key"), Some(10)), share("c", Some("key"), None), share("d", None, Some(10))];
        let limits = Limits::new(shares, &Limits::default());
        let (now, ten) = (Instant::now(), Some(Rate::per_second(10)));
        assert_eq!(["a", "b", "c", "d", "e"].map(|name| limits.of(name).rate()), [ten, ten, ten, ten, None]);
        assert!(limits.of("a").check(now).is_ok());
        assert!(limits.of("c").check(now).is_err(), "a has taken the credential's share");
        assert!(limits.of("d").check(now).is_ok(), "d has its own");
    }

    #[test]
    fn the_slowest_holds_in_whatever_span_it_is_counted() {
        let share = |name, rate| Share { name, credential: Some("key"), rate: Some(rate) };
        let shares = [share("a", Rate::per_second(1)), share("b", Rate::per_hour(1_000)), share("c", Rate::per_minute(20))];
        assert_eq!(Limits::new(shares, &Limits::default()).of("a").rate(), Some(Rate::per_hour(1_000)));
    }

    /// Asked whenever it may be, for three hours: in any hour a thousand and no more, and no fewer at the end.
    #[test]
    fn a_thousand_an_hour_are_a_thousand_in_any_hour() {
        let (limit, start, hour) = (Limit::new(Some(Rate::per_hour(1_000))), Instant::now(), Duration::from_secs(3_600));
        let (mut now, mut sent) = (start, Vec::new());
        while now < start + hour * 3 {
            match limit.check(now) {
                Ok(()) => sent.push(now),
                Err(wait) => now += wait,
            }
        }
        let most = sent.iter().enumerate().map(|(index, at)| sent[index..].partition_point(|other| *other - *at < hour)).max();
        assert_eq!((most, sent.len()), (Some(1_000), 3_000));
        assert!(limit.check(now + hour).is_ok() && limit.check(now + hour).is_err(), "a pause is not saved up");
    }

    #[test]
    fn a_reload_hands_out_no_burst() {
        let now = Instant::now();
        let before = Limits::new([share("a", None, Some(1)), share("b", None, Some(1))], &Limits::default());
        assert!(before.of("a").check(now).is_ok() && before.of("b").check(now).is_ok());
        let after = Limits::new([share("a", None, Some(1)), share("b", None, Some(2))], &before);
        assert!(after.of("a").check(now).is_err());
        assert!(after.of("b").check(now).is_ok(), "a changed rate starts anew");
    }

    proptest! {
        /// A sender that asks whenever it may: in any second no more leave than documented, and over ten seconds no fewer
        /// than the rate.
        #[test]
        fn the_rate_holds_in_every_window(rate in 1_u32..2_000, late_us in 0_u64..1_000) {
            let (limit, start) = (Limit::new(Some(Rate::per_second(rate))), Instant::now());
            let (mut now, end, mut sent) = (start, start + Duration::from_secs(10), Vec::new());
            while now < end {
                match limit.check(now) {
                    Ok(()) => sent.push(now),
                    Err(wait) => now += wait + Duration::from_micros(late_us),
                }
            }
            let most = (rate + rate.div_ceil(100) - 1) as usize;
            for (index, at) in sent.iter().enumerate() {
                let window = sent[index..].partition_point(|other| *other - *at < Duration::from_secs(1));
                prop_assert!(window <= most, "{} in a second at {} allowed", window, rate);
            }
            // Each wake-up is late by `late_us`, and what is lost by that is no more than that share of the time, as long
            // as the burst covers it.
            prop_assert!(sent.len() as f64 >= f64::from(rate) * 10.0 * 0.9, "{} of {}", sent.len(), rate * 10);
        }
    }
}
