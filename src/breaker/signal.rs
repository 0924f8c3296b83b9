//! What the end of a request says about the platform's health, as opposed to what it says about the event.

use std::time::Duration;

use crate::outcome::{Outcome, Reply, SendError};

/// For [`Breaker::report`](super::Breaker::report).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It answers. A rejection is an answer.
    Well,
    /// It could not be reached, did not answer in time, broke off, or answered 5xx.
    Failing,
    /// It asks everybody to slow down, for this long where it says so.
    Throttled(Option<Duration>),
    /// Nothing: the request never got as far as asking.
    Silent,
}

impl Signal {
    /// `outcomes` are the adapter's verdicts on a reply; one that says `throttled` speaks for the whole request, with the longest
    /// time named, because some platforms answer 200 or 503 and mean 429.
    pub fn of(result: &Result<Reply, SendError>, outcomes: &[Outcome]) -> Self {
        let reply = match result {
            Ok(reply) => reply,
            Err(SendError::NotSent(_) | SendError::MaybeSent(_)) => return Self::Failing,
            Err(SendError::NoToken { .. } | SendError::Unsendable(_)) => return Self::Silent,
        };
        let throttles = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Retry { throttled: true, after, .. } => Some(*after),
            _ => None,
        });
        match throttles.max() {
            Some(after) => Self::Throttled(after),
            None if reply.status >= 500 => Self::Failing,
            None => Self::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16) -> Result<Reply, SendError> {
        Ok(Reply { status, headers: Vec::new(), body: Vec::new(), cut: false })
    }

    #[test]
    fn health_is_not_the_verdict_on_the_event() {
        let rejected = [Outcome::Rejected { why: "no such click".into() }];
        assert_eq!(Signal::of(&reply(200), &[Outcome::delivered()]), Signal::Well);
        assert_eq!(Signal::of(&reply(400), &rejected), Signal::Well);
        assert_eq!(Signal::of(&reply(200), &[Outcome::retry("their row is locked")]), Signal::Well);
        assert_eq!(Signal::of(&reply(502), &rejected), Signal::Failing);
        assert_eq!(Signal::of(&Err(SendError::NotSent(String::new())), &[]), Signal::Failing);
        assert_eq!(Signal::of(&Err(SendError::MaybeSent(String::new())), &[]), Signal::Failing);
        assert_eq!(Signal::of(&Err(SendError::Unsendable(String::new())), &[]), Signal::Silent);
    }

    #[test]
    fn one_throttle_in_a_batch_is_enough() {
        let throttle = |after| Outcome::Retry { why: "quota".into(), after, throttled: true };
        let long = Some(Duration::from_secs(9));
        assert_eq!(Signal::of(&reply(200), &[Outcome::delivered(), throttle(None)]), Signal::Throttled(None));
        assert_eq!(Signal::of(&reply(503), &[throttle(Some(Duration::from_secs(3))), throttle(long), throttle(None)]), Signal::Throttled(long));
    }
}
