//! What a person is to be told without looking: when it begins, again after a while or grown tenfold, and when it is over. Pure: what is so goes in,
//! what is to be told comes out; time is an argument. Nothing here holds a word of a platform or a shop.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{health::Health, words};

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum What {
    Halted,
    Overdue,
    Dead,
    Unknown,
    Trouble,
    PaidWithoutEvent,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Halted, Self::Overdue, Self::Dead, Self::Unknown, Self::Trouble, Self::PaidWithoutEvent];

    /// As it stands in `postback.alert` and in what is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Halted => "halted",
            Self::Overdue => "overdue",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
            Self::Trouble => "trouble",
            Self::PaidWithoutEvent => "paid_without_event",
        }
    }

    /// The reverse.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.as_str() == text)
    }
}

/// What has become so many times as many as was told is told again at once: one dead letter and ten thousand are not the same news.
const GROWN: i64 = 10;

/// What is wrong where; the destination is empty where it is about none.
pub type Key = (What, Arc<str>);

/// When it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// An event may be late that long.
    pub overdue: Duration,
    /// What goes on is told again after this.
    pub repeat: Duration,
    /// It is over when it has been away for so long; and lateness is told when it has lasted so long.
    pub calm: Duration,
}

/// What is so, with its number: seconds for lateness, else how many; without one where it is not known whether it is so. What is not here is
/// not so.
pub type Conditions = BTreeMap<Key, Option<i64>>;

/// Of all that is known at this moment.
pub fn conditions(health: &Health, rule: &Rule) -> Conditions {
    let mut found = BTreeMap::new();
    for place in &health.destinations {
        let mut about = |what, value: i64| {
            if value > 0 {
                found.insert((what, Arc::clone(&place.destination)), Some(value));
            }
        };
        about(What::Halted, i64::from(place.halted));
        about(What::Dead, place.dead);
        about(What::Unknown, place.unknown);
        // A destination that a person paused, or that waits for one, is late by that.
        let late = place.overdue.filter(|late| *late > rule.overdue && !place.paused && !place.halted);
        about(What::Overdue, late.map_or(0, |late| i64::try_from(late.as_secs()).unwrap_or(i64::MAX)));
    }
    for (what, count) in [(What::Trouble, Some(health.trouble)), (What::PaidWithoutEvent, health.paid_without_event)] {
        // Nobody has counted since this process began, or the shop's books cannot be read: that is no news, least of all good news.
        if count != Some(0) {
            found.insert((what, Arc::default()), count);
        }
    }
    found
}

/// What of an alert is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It has begun.
    Raised,
    /// It goes on.
    Repeated,
    /// It is over.
    Over,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What and where.
    pub key: Key,
    /// Beginning, going on or over.
    pub stage: Stage,
    /// The number as it was last seen.
    pub value: i64,
    /// Since when it is so.
    pub since: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Alert {
    since: Timestamp,
    value: i64,
    /// When it was last told, and with which number, where that is known; `None`: never.
    told: Option<(Timestamp, Option<i64>)>,
    /// Since when it is not so any more.
    gone: Option<Timestamp>,
}

/// The alerts that there are.
#[derive(Debug, Default)]
pub struct Alerts(BTreeMap<Key, Alert>);

impl Alerts {
    /// Told by a former owner and not over yet, as far as anybody knew.
    pub fn remember(&mut self, key: Key, since: Timestamp, told: Timestamp) {
        self.0.insert(key, Alert { since, value: 0, told: Some((told, None)), gone: None });
    }

    /// Takes in what is so now; returns what is to be told. The same is returned again until [`Self::told`] says that it was.
    pub fn look(&mut self, conditions: &Conditions, rule: &Rule, now: Timestamp) -> Vec<Alarm> {
        let known = |key: &Key| conditions.get(key).is_none_or(Option::is_some);
        for (key, value) in conditions.iter().filter_map(|(key, value)| Some((key, (*value)?))) {
            let alert = self.0.entry(key.clone()).or_insert(Alert { since: now, value: 0, told: None, gone: None });
            (alert.value, alert.gone) = (value, None);
            // What a former owner told was a number like the first that is seen now.
            if let Some((_, number @ None)) = &mut alert.told {
                *number = Some(value);
            }
        }
        for (_, alert) in self.0.iter_mut().filter(|(key, _)| !conditions.contains_key(*key)) {
            alert.gone.get_or_insert(now);
        }
        // What came and went before anybody was told is nobody's business.
        self.0.retain(|_, alert| alert.told.is_some() || alert.gone.is_none());
        let lasted = |since: Timestamp, long: Duration| now.duration_since(since) >= SignedDuration::try_from(long).unwrap_or(SignedDuration::MAX);
        let due = |(key, alert): (&Key, &Alert)| {
            let patience = if key.0 == What::Overdue { rule.calm } else { Duration::ZERO };
            let stage = match (alert.told, alert.gone) {
                (None, _) if lasted(alert.since, patience) => Stage::Raised,
                (Some(_), Some(gone)) if lasted(gone, rule.calm) => Stage::Over,
                (Some((told, _)), None) if lasted(told, rule.repeat) => Stage::Repeated,
                (Some((_, Some(number))), None) if grown(key.0, number, alert.value) => Stage::Repeated,
                _ => return None,
            };
            Some(Alarm { key: key.clone(), stage, value: alert.value, since: alert.since })
        };
        self.0.iter().filter(|(key, _)| known(key)).filter_map(due).collect()
    }

    /// Whoever is to know was told.
    pub fn told(&mut self, alarm: &Alarm, now: Timestamp) {
        match (alarm.stage, self.0.get_mut(&alarm.key)) {
            (Stage::Over, _) => _ = self.0.remove(&alarm.key),
            (_, Some(alert)) => alert.told = Some((now, Some(alarm.value))),
            (_, None) => {}
        }
    }
}

/// Seconds of lateness grow by themselves, and are none.
fn grown(what: What, told: i64, value: i64) -> bool {
    what != What::Overdue && value >= told.saturating_mul(GROWN)
}

impl Alarm {
    /// One sentence for a person, as of `now`.
    pub fn text(&self, rule: &Rule, now: Timestamp) -> String {
        let ((what, name), count) = (&self.key, self.value);
        if self.stage == Stage::Over {
            let lasted = words::about(Duration::try_from(now.duration_since(self.since)).unwrap_or_default());
            let what = match what {
                What::Halted => format!("{name} is not halted any more"),
                What::Overdue => format!("{name} is not behind any more"),
                What::Dead => format!("{name} has no dead letters any more"),
                What::Unknown => format!("{name} has no unknown deliveries any more"),
                What::Trouble => "nothing is left that could not be said".to_owned(),
                What::PaidWithoutEvent => "every paid order has its event".to_owned(),
            };
            return format!("over: {what}, after {lasted}");
        }
        match what {
            What::Halted => format!("{name} is halted: nothing is sent there until a person resumes it; \"postbackd status\" says why"),
            What::Overdue => {
                let (late, limit) = (words::about(Duration::from_secs(count.unsigned_abs())), words::duration(rule.overdue));
                format!("the oldest event for {name} has been due for {late}; {limit} is the limit; see \"postbackd status\"")
            }
            What::Dead => format!("{name} has {}; see \"postbackd dead list\"", words::counted(count, "dead letter", "dead letters")),
            What::Unknown => {
                format!("{name} has {} that may have arrived; see \"postbackd unknown list\"", words::counted(count, "delivery", "deliveries"))
            }
            What::Trouble => {
                format!("{} could not be said by the shop's triggers; see \"postbackd trouble list\"", words::counted(count, "thing", "things"))
            }
            What::PaidWithoutEvent => {
                format!("{}; see \"postbackd reconcile\"", words::counted(count, "paid order has no event", "paid orders have no event"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
