//! What one transaction of a destination writes, as plain data.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::{
    books::{Receipt, State},
    event::Kind,
};

/// A row for `postback.attempt`. `Debug` holds nothing personal.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// The event.
    pub event: i64,
    /// What it is, for whoever counts; the table has no such column. `None`: retention took the event, or it cannot be read.
    pub kind: Option<Kind>,
    /// The entry of the stream that this answers.
    pub seq: i64,
    /// What became of it.
    pub outcome: State,
    /// HTTP status, where an answer came.
    pub status: Option<i32>,
    /// From the start of the request to the end of the answer.
    pub duration_ms: Option<i32>,
    /// In words.
    pub reason: Option<String>,
}

/// `postback.pending.reason` of what a person wants to be sent (again): their word replaces what was in doubt.
pub const ASKED: &str = "a person asked for it";

/// `postback.pending.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// To be tried again at `next_at`.
    Retrying,
    /// Too early.
    Held,
    /// Behind another event of its order.
    Parked,
    /// On the wire, and must not be repeated.
    Sending,
    /// The platform confirms later.
    Accepted,
    /// For a person to retry or discard.
    Dead,
    /// For a person to resolve.
    Unknown,
}

impl Waiting {
    /// As it stands in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Held => "held",
            Self::Parked => "parked",
            Self::Sending => "sending",
            Self::Accepted => "accepted",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Retrying, Self::Held, Self::Parked, Self::Sending, Self::Accepted, Self::Dead, Self::Unknown]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A row for `postback.pending`.
#[derive(Clone, Debug)]
pub struct PendingRow {
    /// The event.
    pub event: i64,
    /// The entry of the stream.
    pub seq: i64,
    /// Its lane.
    pub order_ref: Arc<str>,
    /// Why it is here.
    pub state: Waiting,
    /// Requests made so far.
    pub attempts: i32,
    /// When it is due; `None`: when something else happens.
    pub next_at: Option<Timestamp>,
    /// In words.
    pub reason: Option<String>,
}

/// Everything that one transaction writes.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// To append.
    pub attempts: Vec<AttemptRow>,
    /// To insert; an existing one keeps what it says was sent.
    pub receipts: BTreeMap<i64, Receipt>,
    /// By entry: the row it has from now on, or none.
    pub pending: BTreeMap<i64, Option<PendingRow>>,
    /// Events that were decided anew: what an earlier entry of theirs left for a person is settled.
    pub decided_anew: Vec<i64>,
    /// The destination cannot be used until a person resumes it.
    pub halted: Option<String>,
}

impl Marks {
    /// Whether there is anything besides the position.
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty() && self.receipts.is_empty() && self.pending.is_empty() && self.halted.is_none()
    }
}

/// From where to where a destination's numbers move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Of the owner.
    pub epoch: i64,
    /// `position.seq` as last read or written.
    pub from: i64,
    /// Its new value.
    pub to: i64,
    /// The new `position.horizon`.
    pub horizon: i64,
}
