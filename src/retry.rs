//! When a delivery is tried again, or why not any more. Pure: the age of the event and the jitter come in as arguments.

use std::time::Duration;

use crate::destination::RetryPolicy;

/// What becomes of a delivery whose attempt did not settle it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this long.
    After(Duration),
    /// Never again; the reason as it stands in `postback.attempt.reason`.
    GiveUp(String),
}

/// Full jitter: the wait is drawn evenly from nothing up to `first * 2^(attempts - 1)`, at most `max`, so that deliveries which failed
/// together do not come back together.
///
/// `attempts` counts those made, the last one included. `age` is the event's. `hint` is what the platform asked for (Retry-After): never
/// earlier, also where it is longer than `max`, and spread over another `first` behind it for the same reason as above.
/// `jitter` is in [0, 1). The last try falls exactly on `give_up_after`, because an event is worth one at the end of its time.
pub fn next(attempts: u32, policy: &RetryPolicy, age: Duration, hint: Option<Duration>, jitter: f64) -> Verdict {
    if let Some(most) = policy.attempts.filter(|most| attempts >= *most) {
        return Verdict::GiveUp(format!("tried {}, as often as retry.attempts = {most} allows", times(attempts)));
    }
    let Some(left) = policy.give_up_after.checked_sub(age).filter(|left| !left.is_zero()) else {
        return Verdict::GiveUp(format!("too old: {} since it happened, tried {}", words(age), times(attempts)));
    };
    if let Some(hint) = hint.filter(|hint| *hint > left) {
        return Verdict::GiveUp(format!(
            "too old: the platform asks to wait {}, by then it happened more than {} ago; tried {}",
            words(hint),
            words(policy.give_up_after),
            times(attempts)
        ));
    }
    let drawn = ceiling(attempts, policy).mul_f64(jitter.clamp(0.0, 1.0));
    let spread = policy.first.min(policy.max).mul_f64(jitter.clamp(0.0, 1.0));
    let wait = hint.map_or(drawn, |hint| drawn.max(hint.saturating_add(spread)));
    Verdict::After(wait.min(left))
}

fn ceiling(attempts: u32, policy: &RetryPolicy) -> Duration {
    let doublings = attempts.saturating_sub(1);
    2_u32.checked_pow(doublings).and_then(|factor| policy.first.checked_mul(factor)).map_or(policy.max, |wait| wait.min(policy.max))
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// A duration as a person says it, in its largest whole unit: `30 days`, `1 hour`, `45 seconds`.
pub fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first: Duration::from_secs(2),
        max: Duration::from_secs(3_600),
        give_up_after: Duration::from_secs(30 * 86_400),
        attempts: None,
    };

    fn wait(attempts: u32, hint: Option<u64>, jitter: f64) -> Duration {
        match next(attempts, &POLICY, Duration::ZERO, hint.map(Duration::from_secs), jitter) {
            Verdict::After(wait) => wait,
            Verdict::GiveUp(why) => panic!("gave up: {why}"),
        }
    }

    #[test]
    fn the_ceiling_doubles_up_to_max() {
        assert_eq!(wait(1, None, 0.5), Duration::from_secs(1));
        assert_eq!(wait(2, None, 0.5), Duration::from_secs(2));
        assert_eq!(wait(5, None, 0.5), Duration::from_secs(16));
        assert_eq!(wait(12, None, 0.5), Duration::from_secs(1_800));
        assert_eq!(wait(u32::MAX, None, 0.5), Duration::from_secs(1_800));
    }

    #[test]
    fn a_hint_is_a_lower_bound_even_above_max() {
        assert_eq!(wait(1, Some(60), 0.5), Duration::from_secs(61));
        assert_eq!(wait(1, Some(7_200), 0.0), Duration::from_secs(7_200));
        assert_eq!(wait(12, Some(60), 0.5), Duration::from_secs(1_800), "the own wait may be longer");
    }

    #[test]
    fn reasons_are_words() {
        let old = next(17, &POLICY, Duration::from_secs(31 * 86_400), None, 0.5);
        assert_eq!(old, Verdict::GiveUp("too old: 31 days since it happened, tried 17 times".into()));
        let capped = RetryPolicy { attempts: Some(1), ..POLICY };
        assert_eq!(next(1, &capped, Duration::ZERO, None, 0.5), Verdict::GiveUp("tried once, as often as retry.attempts = 1 allows".into()));
        let late = next(2, &POLICY, Duration::from_secs(30 * 86_400 - 60), Some(Duration::from_secs(7_200)), 0.5);
        let said = "too old: the platform asks to wait 2 hours, by then it happened more than 30 days ago; tried 2 times";
        assert_eq!(late, Verdict::GiveUp(said.into()));
    }

    #[test]
    fn there_is_one_last_try_at_the_end_of_its_time() {
        let age = POLICY.give_up_after - Duration::from_secs(10);
        assert_eq!(next(20, &POLICY, age, None, 0.9), Verdict::After(Duration::from_secs(10)));
        assert!(matches!(next(21, &POLICY, POLICY.give_up_after, None, 0.9), Verdict::GiveUp(_)));
    }

    #[test]
    fn jitter_spreads_over_the_whole_ceiling() {
        let mut buckets = [0_u32; 8];
        for _ in 0..8_000 {
            let share = wait(6, None, rand::random()).as_secs_f64() / 64.0;
            buckets[(share * 8.0) as usize] += 1;
        }
        // Evenly is 1,000 each with a standard deviation of 30: 200 off is a broken draw, not bad luck.
        assert!(buckets.iter().all(|count| (800..1_200).contains(count)), "{buckets:?}");
    }

    proptest! {
        #[test]
        fn waits_are_bounded(
            attempts in 1_u32.., first in 0_u64..1_000_000, max in 0_u64..1_000_000, age in any::<u32>(), limit in any::<u32>(),
            hint in proptest::option::of(0_u64..100_000), most in proptest::option::of(1_u32..40), jitter in 0.0..1.0,
        ) {
            let (first, max) = (Duration::from_millis(first), Duration::from_millis(max));
            let policy = RetryPolicy { first, max, give_up_after: Duration::from_secs(limit.into()), attempts: most };
            let (age, hint) = (Duration::from_secs(age.into()), hint.map(Duration::from_secs));
            match next(attempts, &policy, age, hint, jitter) {
                Verdict::After(wait) => {
                    prop_assert!(age + wait <= policy.give_up_after, "never planned beyond its time");
                    prop_assert!(hint.is_none_or(|hint| wait >= hint));
                    prop_assert!(wait <= max.max(hint.unwrap_or_default() + first.min(max)));
                    prop_assert!(most.is_none_or(|most| attempts < most));
                }
                Verdict::GiveUp(why) => {
                    let late = age + hint.unwrap_or_default() >= policy.give_up_after;
                    prop_assert!(late || most.is_some_and(|most| attempts >= most), "{}", why);
                }
            }
        }
    }
}
