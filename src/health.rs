//! How well deliveries go, at a glance: what readiness and alerts are judged by.

use std::{sync::Arc, time::Duration};

/// What everybody's tables say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Somebody reads the shop's commits.
    pub owned: bool,
    /// Open rows of `postback.trouble`.
    pub trouble: i64,
    /// Orders that the shop's books call paid and no event tells; `None`: nobody has counted.
    pub paid_without_event: Option<i64>,
    /// Those of the configuration.
    pub destinations: Vec<Place>,
}

/// One destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub destination: Arc<str>,
    /// It has a position in the stream.
    pub begun: bool,
    /// A daemon works it.
    pub worked: bool,
    /// Nothing is sent there until a person resumes it.
    pub halted: bool,
    /// A person keeps it paused.
    pub paused: bool,
    /// For a person to retry or discard.
    pub dead: i64,
    /// For a person to resolve.
    pub unknown: i64,
    /// For how long the oldest event is late that does not wait on purpose.
    pub overdue: Option<Duration>,
}
