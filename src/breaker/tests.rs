use proptest::prelude::*;

use super::*;

fn limits(in_flight: usize, failures: u32) -> Limits {
    Limits { in_flight, breaker_failures: failures, breaker_open: Duration::from_secs(2), ..Limits::default() }
}

fn take(breaker: &mut Breaker, now: Instant, count: usize) -> Vec<Ticket> {
    (0..count).map(|_| breaker.start(now).expect("room")).collect()
}

/// A breaker that has just opened, and when.
fn opened(in_flight: usize) -> (Breaker, Instant) {
    let (mut breaker, now) = (Breaker::new(limits(in_flight, 1)), Instant::now());
    let ticket = breaker.start(now).unwrap();
    breaker.on_failure(ticket, now, 0.0);
    assert_eq!((breaker.room(now), breaker.state(now)), (0, "open"));
    (breaker, now)
}

#[test]
fn opens_after_failures_in_a_row_only() {
    let (mut breaker, now) = (Breaker::new(limits(8, 3)), Instant::now());
    for ok in [false, false, true, false, false] {
        let ticket = breaker.start(now).unwrap();
        if ok { breaker.on_success(ticket) } else { breaker.on_failure(ticket, now, 0.0) }
    }
    assert_eq!((breaker.state(now), breaker.room(now)), ("closed", 8));
    let ticket = breaker.start(now).unwrap();
    breaker.on_failure(ticket, now, 0.0);
    assert_eq!((breaker.state(now), breaker.room(now)), ("open", 0));
    assert_eq!(breaker.next(now), Some(now + Duration::from_secs(2)));
}

#[test]
fn one_probe_then_two_four_and_all() {
    let (mut breaker, now) = opened(8);
    let now = now + Duration::from_secs(2);
    assert_eq!(breaker.room(now), 1);
    let probe = breaker.start(now).unwrap();
    assert_eq!((breaker.room(now), breaker.next(now), breaker.state(now)), (0, None, "probing"));
    breaker.on_success(probe);
    for allowed in [2, 4, 8] {
        assert_eq!((breaker.room(now), breaker.state(now)), (allowed, "ramping"));
        for ticket in take(&mut breaker, now, allowed) {
            breaker.on_success(ticket);
        }
    }
    assert_eq!((breaker.room(now), breaker.state(now)), (8, "closed"));
}

#[test]
fn open_time_doubles_to_five_minutes_and_starts_over_once_closed() {
    let (mut breaker, mut now) = opened(1);
    for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        assert_eq!(breaker.next(now), Some(now + Duration::from_secs(seconds)));
        now += Duration::from_secs(seconds);
        let probe = breaker.start(now).unwrap();
        breaker.on_failure(probe, now, 0.0);
    }
    now = breaker.next(now).unwrap();
    for _ in 0..3 {
        let ticket = breaker.start(now).unwrap();
        breaker.on_success(ticket);
    }
    assert_eq!(breaker.state(now), "closed");
    let ticket = breaker.start(now).unwrap();
    breaker.on_failure(ticket, now, 0.5);
    assert_eq!(breaker.next(now), Some(now + Duration::from_millis(1_750)), "jitter takes up to a quarter off");
}

#[test]
fn answers_from_before_say_nothing_about_now() {
    let (mut breaker, now) = (Breaker::new(limits(4, 1)), Instant::now());
    let mut old = take(&mut breaker, now, 4);
    breaker.on_failure(old.remove(0), now, 0.0);
    breaker.on_success(old.remove(0));
    assert_eq!(breaker.state(now), "open", "a late success of an old request does not close it");
    let now = now + Duration::from_secs(2);
    let probe = breaker.start(now).unwrap();
    breaker.on_failure(old.remove(0), now, 0.0);
    assert_eq!(breaker.state(now), "probing", "nor does a late failure speak for the probe");
    breaker.on_success(probe);
    assert_eq!(breaker.in_flight(), 1);
    breaker.on_failure(old.remove(0), now, 0.0);
    assert_eq!((breaker.state(now), breaker.room(now)), ("ramping", 2));
}

#[test]
fn hanging_requests_do_not_keep_the_probe_out() {
    let (mut breaker, now) = (Breaker::new(limits(2, 1)), Instant::now());
    let mut old = take(&mut breaker, now, 2);
    breaker.on_failure(old.remove(0), now, 0.0);
    let refill = now + Duration::from_secs(2);
    let probe = breaker.start(refill).unwrap();
    breaker.on_abandoned(probe, refill);
    assert_eq!(breaker.room(refill), 1, "an abandoned probe's turn comes again");
}

#[test]
fn a_throttle_closes_the_tap_and_is_no_failure() {
    let (mut breaker, now) = (Breaker::new(limits(8, 1)), Instant::now());
    let mut burst = take(&mut breaker, now, 3);
    breaker.on_throttle(burst.remove(0), now, Some(Duration::from_secs(30)), 0.0);
    breaker.on_throttle(burst.remove(0), now, Some(Duration::from_secs(10)), 0.0);
    assert_eq!((breaker.room(now), breaker.state(now)), (0, "throttled"));
    assert_eq!(breaker.next(now), Some(now + Duration::from_secs(30)), "the longest time counts");
    let then = now + Duration::from_secs(30);
    assert_eq!((breaker.room(then), breaker.state(then)), (1, "ramping"));
    breaker.on_success(burst.remove(0));
    assert_eq!(breaker.room(then), 1);
}

#[test]
fn throttles_without_a_time_wait_longer_each_time_up_to_a_minute() {
    let (mut breaker, mut now) = (Breaker::new(limits(8, 1)), Instant::now());
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let ticket = breaker.start(now).unwrap();
        breaker.on_throttle(ticket, now, None, 0.0);
        assert_eq!(breaker.next(now), Some(now + Duration::from_secs(seconds)));
        now += Duration::from_secs(seconds);
    }
}

#[test]
fn a_few_failures_while_ramping_slow_down_and_three_in_a_row_open() {
    let (mut breaker, now) = opened(64);
    let mut now = now + Duration::from_secs(2);
    breaker.limits.breaker_failures = 10;
    let probe = breaker.start(now).unwrap();
    breaker.on_success(probe);
    for ticket in take(&mut breaker, now, 2) {
        breaker.on_success(ticket);
    }
    assert_eq!(breaker.room(now), 4);
    for allowed in [2, 1] {
        let ticket = breaker.start(now).unwrap();
        breaker.on_failure(ticket, now, 0.0);
        assert_eq!(breaker.room(now), allowed);
    }
    let ticket = breaker.start(now).unwrap();
    breaker.on_failure(ticket, now, 0.0);
    assert_eq!(breaker.next(now), Some(now + Duration::from_secs(4)), "it was not closed in between: doubled");
    breaker.reset();
    assert_eq!(breaker.room(now), 1, "a person's word is enough");
    now += Duration::from_secs(1);
    let ticket = breaker.start(now).unwrap();
    breaker.on_success(ticket);
    assert_eq!(breaker.room(now), 2);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Start,
    Success(usize),
    Failure(usize),
    Throttle(usize, Option<u64>),
    Abandon(usize),
    Reset,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Start),
        3 => any::<usize>().prop_map(Step::Success),
        3 => any::<usize>().prop_map(Step::Failure),
        1 => (any::<usize>(), proptest::option::of(0_u64..100)).prop_map(|(which, after)| Step::Throttle(which, after)),
        1 => any::<usize>().prop_map(Step::Abandon),
        1 => Just(Step::Reset),
        3 => (0_u64..400).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happened: the places in use are counted right, there is never more in flight than allowed (but for one
    /// probe), no room always has a reason that ends, and in the end everything is let through again.
    #[test]
    fn never_stuck(in_flight in 1_usize..9, failures in 1_u32..5, jitter in 0.0..1.0, steps in proptest::collection::vec(step(), 0..120)) {
        let (mut breaker, mut now) = (Breaker::new(limits(in_flight, failures)), Instant::now());
        let mut tickets = Vec::new();
        for step in steps {
            let pick = |which: usize, tickets: &mut Vec<Ticket>| (!tickets.is_empty()).then(|| tickets.swap_remove(which % tickets.len()));
            match step {
                Step::Start => tickets.extend(breaker.start(now)),
                Step::Success(which) => pick(which, &mut tickets).into_iter().for_each(|ticket| breaker.on_success(ticket)),
                Step::Failure(which) => pick(which, &mut tickets).into_iter().for_each(|ticket| breaker.on_failure(ticket, now, jitter)),
                Step::Throttle(which, after) => pick(which, &mut tickets)
                    .into_iter()
                    .for_each(|ticket| breaker.on_throttle(ticket, now, after.map(Duration::from_secs), jitter)),
                Step::Abandon(which) => pick(which, &mut tickets).into_iter().for_each(|ticket| breaker.on_abandoned(ticket, now)),
                Step::Reset => breaker.reset(),
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
            }
            prop_assert_eq!(breaker.in_flight(), tickets.len());
            if breaker.room(now) == 0 {
                prop_assert!(breaker.next(now).is_some() || !tickets.is_empty(), "no room, and nothing will ever change that");
            }
            if let Some(then) = breaker.next(now) {
                prop_assert_eq!(breaker.room(now), 0, "a time to look again means no room now");
                prop_assert!(then - now <= OPEN_MAX);
                let places = tickets.len() < in_flight || matches!(breaker.state, State::Open { .. });
                prop_assert!(!places || breaker.room(then) > 0 || !tickets.is_empty());
            }
        }
        tickets.drain(..).for_each(|ticket| breaker.on_abandoned(ticket, now));
        for _ in 0..200 {
            now = breaker.next(now).unwrap_or(now);
            let room = breaker.room(now);
            prop_assert!(room > 0 && room <= in_flight);
            let ticket = breaker.start(now).unwrap();
            breaker.on_success(ticket);
        }
        prop_assert_eq!(breaker.state(now), "closed");
        prop_assert_eq!(breaker.room(now), in_flight);
    }
}
