//! Whether deliveries move, and if not, why. Pure: ages come as arguments.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use crate::{health::Health, words};

/// What is known of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing yet: the process has just begun.
    Nothing,
    /// It does not answer; in words.
    Away(String),
    /// The server is a standby in recovery.
    Standby,
    /// What it says.
    Seen(Health),
}

/// This process's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// It reads the shop's commits.
    pub owner: bool,
    /// It works these and leaves reading to whoever does it; `None`: all, as long as it is the owner.
    pub shares: Option<Vec<Arc<str>>>,
    /// An event may be late that long.
    pub overdue: Duration,
}

/// Why deliveries do not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// `starting`, `database`, `standby_server`, `no_owner`, `standby`, `not_begun`, `not_worked`, `halted` or `overdue`.
    pub what: &'static str,
    /// Where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// In words.
    pub text: String,
}

/// Empty: deliveries move, as far as they are this process's. A destination that a person paused is as it should be.
pub fn reasons(known: &Known, part: &Part) -> Vec<Reason> {
    let about = |what, text: String| Reason { what, destination: None, text };
    let health = match known {
        Known::Nothing => return vec![about("starting", "the database has not been asked yet".into())],
        Known::Away(why) => return vec![about("database", why.clone())],
        Known::Standby => return vec![about("standby_server", "the server is a standby in recovery: nothing is read or sent there".into())],
        Known::Seen(health) => health,
    };
    if !health.owned {
        return vec![about("no_owner", "no daemon reads the shop's commits".into())];
    }
    if part.shares.is_none() && !part.owner {
        return vec![about("standby", "another daemon reads and sends; this one stands by".into())];
    }
    let mut found = Vec::new();
    for place in &health.destinations {
        let name = &place.destination;
        if place.paused || part.shares.as_ref().is_some_and(|mine| !mine.contains(name)) {
            continue;
        }
        let mut about = |what, text: String| found.push(Reason { what, destination: Some(name.to_string()), text });
        match place.overdue.filter(|late| *late > part.overdue) {
            _ if !place.begun => about("not_begun", format!("{name} has no position in the stream yet")),
            _ if place.halted => about("halted", format!("{name} is halted until a person resumes it; \"postbackd status\" says why")),
            _ if !place.worked => about("not_worked", format!("no daemon works {name}")),
            Some(late) => {
                let (late, limit) = (words::about(late), words::duration(part.overdue));
                about("overdue", format!("the oldest event for {name} has been due for {late}; {limit} is the limit"));
            }
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Place;

    fn place(name: &str) -> Place {
        Place { destination: name.into(), begun: true, worked: true, ..Place::default() }
    }

    fn owner() -> Part {
        Part { owner: true, shares: None, overdue: Duration::from_secs(60) }
    }

    fn what(places: Vec<Place>, part: &Part) -> Vec<(&'static str, Option<String>)> {
        let known = Known::Seen(Health { owned: true, destinations: places, ..Health::default() });
        reasons(&known, part).into_iter().map(|reason| (reason.what, reason.destination)).collect()
    }

    #[test]
    fn every_way_of_standing_still_has_its_reason() {
        let late = |seconds| Some(Duration::from_secs(seconds));
        let places = vec![
            place("fine"),
            Place { overdue: late(60), ..place("slow") },
            Place { overdue: late(61), ..place("late") },
            Place { halted: true, overdue: late(999), ..place("halted") },
            Place { worked: false, ..place("alone") },
            Place { begun: false, worked: false, ..place("new") },
            Place { paused: true, halted: true, overdue: late(999), ..place("paused") },
        ];
        let found = what(places, &owner());
        let want = [("overdue", "late"), ("halted", "halted"), ("not_worked", "alone"), ("not_begun", "new")];
        assert_eq!(found, want.map(|(what, name)| (what, Some(name.into()))));
    }

    #[test]
    fn who_only_sends_answers_for_its_own_and_who_stands_by_for_nothing() {
        let halted = || vec![Place { halted: true, ..place("a") }, place("b")];
        let sender = |mine: &str| Part { owner: false, shares: Some(vec![mine.into()]), ..owner() };
        assert_eq!(what(halted(), &sender("b")), []);
        assert_eq!(what(halted(), &sender("a")).len(), 1);
        assert_eq!(what(halted(), &Part { owner: false, ..owner() }), [("standby", None)]);
    }

    #[test]
    fn a_database_that_says_nothing_is_reason_enough() {
        for (known, want) in [
            (Known::Nothing, "starting"),
            (Known::Away("it does not answer".into()), "database"),
            (Known::Standby, "standby_server"),
            (Known::Seen(Health::default()), "no_owner"),
        ] {
            let found = reasons(&known, &owner());
            assert_eq!(found.iter().map(|reason| reason.what).collect::<Vec<_>>(), [want], "{known:?}");
        }
    }
}
