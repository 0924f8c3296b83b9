//! What is said of a database that is away: a database may be down for a night, and is asked every second.

use std::time::{Duration, Instant};

/// What stays as it is is said again after this.
const AGAIN: Duration = Duration::from_secs(60);

/// What was said last of a database that cannot be reached.
#[derive(Debug, Default)]
pub(super) struct Away(Option<Said>);

#[derive(Debug)]
struct Said {
    since: Instant,
    words: String,
    at: Instant,
}

impl Away {
    /// Whether it is to be said now, and for how long it has been so: when it begins, when the reason is another one, and once a minute.
    pub fn say(&mut self, words: &str, now: Instant) -> Option<Duration> {
        let since = match &self.0 {
            Some(said) if said.words == words && now.duration_since(said.at) < AGAIN => return None,
            Some(said) => said.since,
            None => now,
        };
        self.0 = Some(Said { since, words: words.to_owned(), at: now });
        Some(now.duration_since(since))
    }

    /// It was reached.
    pub fn over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_without_a_database_is_a_line_a_minute_and_news_are_said_at_once() {
        let began = Instant::now();
        let at = |second| began + Duration::from_secs(second);
        let mut away = Away::default();
        let said: Vec<u64> = (0..600).filter(|second| away.say("refused", at(*second)).is_some()).collect();
        assert_eq!(said, [0, 60, 120, 180, 240, 300, 360, 420, 480, 540]);
        assert_eq!(away.say("starting up", at(600)), Some(Duration::from_secs(600)));
        assert_eq!(away.say("starting up", at(601)), None);
        away.over();
        assert_eq!(away.say("starting up", at(602)), Some(Duration::ZERO));
    }
}
