use super::*;
use crate::health::Place;

const RULE: Rule = Rule { overdue: Duration::from_secs(900), repeat: Duration::from_secs(3_600), calm: Duration::from_secs(30) };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

fn so(found: &[(What, &str, i64)]) -> Conditions {
    found.iter().map(|(what, name, value)| ((*what, Arc::from(*name)), Some(*value))).collect()
}

/// Looks, and tells whatever is to be told.
fn told(alerts: &mut Alerts, conditions: &Conditions, second: i64) -> Vec<(Stage, What)> {
    let alarms = alerts.look(conditions, &RULE, at(second));
    alarms.iter().for_each(|alarm| alerts.told(alarm, at(second)));
    alarms.iter().map(|alarm| (alarm.stage, alarm.key.0)).collect()
}

#[test]
fn it_is_told_once_again_after_a_while_and_once_when_it_is_over() {
    let mut alerts = Alerts::default();
    let (dead, fine) = (so(&[(What::Dead, "a", 1)]), so(&[]));
    assert_eq!(told(&mut alerts, &dead, 0), [(Stage::Raised, What::Dead)]);
    assert_eq!(told(&mut alerts, &dead, 5), []);
    assert_eq!(told(&mut alerts, &dead, 3_600), [(Stage::Repeated, What::Dead)]);
    assert_eq!(told(&mut alerts, &dead, 3_605), []);
    assert_eq!(told(&mut alerts, &fine, 3_610), []);
    assert_eq!(told(&mut alerts, &fine, 3_640), [(Stage::Over, What::Dead)]);
    assert_eq!(told(&mut alerts, &fine, 9_999), []);
}

#[test]
fn what_grows_tenfold_is_told_at_once_and_lateness_is_not() {
    let mut alerts = Alerts::default();
    let dead = |count| so(&[(What::Dead, "a", count)]);
    assert_eq!(told(&mut alerts, &dead(3), 0), [(Stage::Raised, What::Dead)]);
    assert_eq!(told(&mut alerts, &dead(29), 10), []);
    assert_eq!(told(&mut alerts, &dead(31), 20), [(Stage::Repeated, What::Dead)]);
    assert_eq!(told(&mut alerts, &dead(309), 30), []);
    assert_eq!(told(&mut alerts, &dead(4_000), 40), [(Stage::Repeated, What::Dead)]);
    // It counts from when it was last told.
    assert_eq!(told(&mut alerts, &dead(4_000), 3_639), []);
    assert_eq!(told(&mut alerts, &dead(4_000), 3_640), [(Stage::Repeated, What::Dead)]);
    let mut alerts = Alerts::default();
    alerts.remember((What::Trouble, "".into()), at(-100), at(-100));
    assert_eq!(told(&mut alerts, &so(&[(What::Trouble, "", 900)]), 0), [], "what was told before a restart was like that");
    assert_eq!(told(&mut alerts, &so(&[(What::Trouble, "", 9_000)]), 10), [(Stage::Repeated, What::Trouble)]);
    let (late, later) = (so(&[(What::Overdue, "b", 901)]), so(&[(What::Overdue, "b", 9_010)]));
    let mut alerts = Alerts::default();
    told(&mut alerts, &late, 0);
    assert_eq!(told(&mut alerts, &late, 30), [(Stage::Raised, What::Overdue)]);
    assert_eq!(told(&mut alerts, &later, 40), []);
}

#[test]
fn what_flickers_is_one_alert_and_what_was_never_told_is_none() {
    let mut alerts = Alerts::default();
    let (halted, fine) = (so(&[(What::Halted, "a", 1)]), so(&[]));
    assert_eq!(told(&mut alerts, &halted, 0).len(), 1);
    for second in (5..600).step_by(10) {
        assert_eq!(told(&mut alerts, &fine, second), [], "{second}");
        assert_eq!(told(&mut alerts, &halted, second + 5), [], "{second}");
    }
    let late = so(&[(What::Overdue, "b", 901)]);
    let mut alerts = Alerts::default();
    assert_eq!(told(&mut alerts, &late, 0), [], "lateness has to last");
    assert_eq!(told(&mut alerts, &fine, 10), []);
    assert_eq!(told(&mut alerts, &late, 20), []);
    assert_eq!(told(&mut alerts, &late, 49), []);
    assert_eq!(told(&mut alerts, &late, 50), [(Stage::Raised, What::Overdue)]);
}

#[test]
fn what_nobody_took_is_told_until_somebody_does() {
    let mut alerts = Alerts::default();
    let trouble = so(&[(What::Trouble, "", 3)]);
    for second in 0..3 {
        let alarms = alerts.look(&trouble, &RULE, at(second));
        assert_eq!(alarms.iter().map(|alarm| (alarm.stage, alarm.value)).collect::<Vec<_>>(), [(Stage::Raised, 3)]);
    }
    assert_eq!(told(&mut alerts, &trouble, 3).len(), 1);
    assert_eq!(told(&mut alerts, &so(&[(What::Trouble, "", 9)]), 4), []);
    // The end is told until somebody takes it, too.
    for second in [10, 40, 50] {
        let alarms = alerts.look(&so(&[]), &RULE, at(second));
        assert_eq!(alarms.len(), usize::from(second >= 40), "{second}");
    }
}

#[test]
fn a_restart_tells_nothing_twice_and_what_ended_meanwhile() {
    let mut alerts = Alerts::default();
    alerts.remember((What::Dead, "a".into()), at(-100), at(-100));
    alerts.remember((What::Halted, "gone".into()), at(-100), at(-100));
    let dead = so(&[(What::Dead, "a", 2)]);
    assert_eq!(told(&mut alerts, &dead, 0), []);
    assert_eq!(told(&mut alerts, &dead, 29), []);
    assert_eq!(told(&mut alerts, &dead, 30), [(Stage::Over, What::Halted)]);
    assert_eq!(told(&mut alerts, &dead, 3_500), [(Stage::Repeated, What::Dead)]);
}

#[test]
fn what_is_not_known_is_neither_over_nor_told_again() {
    let mut alerts = Alerts::default();
    alerts.remember((What::PaidWithoutEvent, Arc::default()), at(-500), at(-400));
    let counted = |paid_without_event| conditions(&Health { paid_without_event, ..Health::default() }, &RULE);
    let (unknown, orders) = (counted(None), |count| counted(Some(count)));
    for second in [0, 60, 9_999] {
        assert_eq!(told(&mut alerts, &unknown, second), []);
    }
    // It was so all the time.
    let alarms = alerts.look(&orders(2), &RULE, at(10_000));
    assert_eq!(alarms.iter().map(|alarm| (alarm.stage, alarm.value, alarm.since)).collect::<Vec<_>>(), [(Stage::Repeated, 2, at(-500))]);
    alerts.told(&alarms[0], at(10_000));
    // Nor does the calm before the end begin with it.
    assert_eq!(told(&mut alerts, &unknown, 10_050), []);
    assert_eq!(told(&mut alerts, &orders(0), 10_060), []);
    assert_eq!(told(&mut alerts, &unknown, 10_095), []);
    assert_eq!(told(&mut alerts, &orders(0), 10_100), [(Stage::Over, What::PaidWithoutEvent)]);
    // What was never told is not begun by it.
    assert_eq!(told(&mut Alerts::default(), &unknown, 0), []);
}

#[test]
fn conditions_are_what_waits_for_a_person() {
    let late = Some(Duration::from_secs(901));
    let place = |name: &str| Place { destination: name.into(), begun: true, worked: true, overdue: late, ..Place::default() };
    let health = Health {
        owned: true,
        trouble: 1,
        paid_without_event: Some(2),
        destinations: vec![
            Place { dead: 3, unknown: 4, ..place("late") },
            Place { halted: true, ..place("halted") },
            Place { paused: true, ..place("paused") },
            Place { overdue: Some(RULE.overdue), ..place("just") },
        ],
    };
    let want = so(&[
        (What::Halted, "halted", 1),
        (What::Overdue, "late", 901),
        (What::Dead, "late", 3),
        (What::Unknown, "late", 4),
        (What::Trouble, "", 1),
        (What::PaidWithoutEvent, "", 2),
    ]);
    assert_eq!(conditions(&health, &RULE), want);
    let unknown = Conditions::from([((What::PaidWithoutEvent, Arc::default()), None)]);
    assert_eq!(conditions(&Health::default(), &RULE), unknown, "nobody has counted paid orders");
}

#[test]
fn every_alert_has_its_sentence_and_its_name() {
    for what in What::ALL {
        assert_eq!(What::parse(what.as_str()), Some(what));
        for stage in [Stage::Raised, Stage::Repeated, Stage::Over] {
            let alarm = Alarm { key: (what, "meta".into()), stage, value: 1_200, since: at(0) };
            let text = alarm.text(&RULE, at(120));
            assert_eq!(text.starts_with("over: "), stage == Stage::Over, "{text}");
            assert!(text.contains("postbackd") != (stage == Stage::Over), "{text}");
        }
    }
}
