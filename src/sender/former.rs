//! What was done before this session, by whom it may have been, as far as it is not recorded. Pure.

use std::{collections::HashSet, time::Instant};

use jiff::Timestamp;

use crate::{
    books::Cause,
    marks::{ASKED, PendingRow, Waiting},
    outbox::identity::Lost,
};

/// What a former process (or another owner) may have sent without recording it. This process remembers what it sent itself:
/// it is on the wire, in the stash, or recorded.
#[derive(Debug, Default)]
pub(super) struct Former {
    /// This process's last claim; when the position knows another one, somebody else was at work.
    pub(super) epoch: Option<i64>,
    /// Claims that were not answered; they may have gone through.
    pub(super) tried: Vec<i64>,
    /// Nothing may be sent before: requests of somebody else may be on their way.
    pub(super) begins: Option<Instant>,
    /// Rows of `pending` that are due by then have to be read yet.
    pub(super) due_by: Option<Timestamp>,
    /// Entries up to here.
    pub(super) up_to: i64,
    /// Entries with a row in `pending` that were or became due.
    pub(super) rows: HashSet<i64>,
    /// When it last wrote: what is in doubt was sent then at the earliest.
    pub(super) since: Option<Timestamp>,
    /// Its settings were others.
    pub(super) settings_changed: bool,
    /// Sent, perhaps, by one whose marks did not come along.
    pub(super) lost: Option<Lost>,
}

/// A person wanted it after the marks were lost: their word counts.
fn asked_since(cause: Option<Cause>) -> bool {
    matches!(cause, Some(Cause::Replay | Cause::Reopen))
}

impl Former {
    /// An entry of the stream without a row, whose marks may have been lost.
    pub(super) fn lost_entry(&self, event: i64, cause: Option<Cause>) -> bool {
        self.lost.is_some_and(|lost| event <= lost.event) && !asked_since(cause)
    }

    /// An entry with a row: it was due by then, or the row was made since for one that nobody has tried.
    pub(super) fn lost_row(&self, row: &PendingRow, cause: Option<Cause>) -> bool {
        let asked = asked_since(cause) || row.reason.as_deref() == Some(ASKED);
        let untried = row.attempts == 0 && row.state != Waiting::Held;
        let due = |lost: Lost| row.next_at.is_none_or(|at| at <= lost.at);
        self.lost.is_some_and(|lost| row.event <= lost.event && !asked && (untried || due(lost)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_is_what_was_there_and_due() {
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let former = Former { lost: Some(Lost { event: 7, at: at(100) }), ..Former::default() };
        assert!(former.lost_entry(7, None) && !former.lost_entry(8, None) && !Former::default().lost_entry(1, None));
        assert!(former.lost_entry(7, Some(Cause::Enrich)) && !former.lost_entry(7, Some(Cause::Replay)));
        let row = |state, attempts, next_at| PendingRow { event: 7, seq: 9, order_ref: "1".into(), state, attempts, next_at, reason: None };
        for (row, cause, lost) in [
            (row(Waiting::Retrying, 2, Some(at(100))), None, true),
            (row(Waiting::Retrying, 2, Some(at(101))), None, false),
            (row(Waiting::Held, 0, Some(at(99))), None, true),
            (row(Waiting::Held, 0, Some(at(101))), None, false),
            (row(Waiting::Parked, 0, None), None, true),
            // Only slow here, and never tried.
            (row(Waiting::Retrying, 0, Some(at(101))), None, true),
            (row(Waiting::Retrying, 0, Some(at(101))), Some(Cause::Replay), false),
            (PendingRow { reason: Some(ASKED.into()), ..row(Waiting::Retrying, 0, Some(at(101))) }, None, false),
            (PendingRow { event: 8, ..row(Waiting::Parked, 0, None) }, None, false),
        ] {
            assert_eq!(former.lost_row(&row, cause), lost, "{row:?} {cause:?}");
        }
    }
}
