//! What was done before this session, by whom it may have been, as far as it is not recorded. Pure.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    books::Cause,
    clock::Fence,
    marks::{ASKED, PendingRow, Waiting},
    outbox::{
        identity::Lost,
        position::{Claimed, OpenRow},
    },
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
    /// A claim went through. Whether somebody else may have been at work since the last one, or this is the first: then what
    /// they may have sent is kept here, until it is known what became of it.
    pub(super) fn meet(&mut self, epoch: i64, claimed: &Claimed, deadline: Duration, now: Instant, at: Timestamp) -> bool {
        let tried = std::mem::take(&mut self.tried);
        if self.epoch.replace(epoch) == Some(claimed.old_epoch) {
            return false;
        }
        // Nobody knows whom a claim that was not answered has met.
        let unknown = if tried.contains(&claimed.old_epoch) { Fence::LONGEST + deadline } else { Duration::ZERO };
        let wait = claimed.wait.max(unknown);
        self.begins = self.begins.max(Some(now + wait));
        // A former owner that may still be at work may begin with what becomes due meanwhile.
        let by = at.saturating_add(wait).unwrap_or(Timestamp::MAX);
        self.due_by = self.due_by.max(claimed.crashed.then_some(by));
        self.up_to = self.up_to.max(claimed.maybe);
        self.since = Some(claimed.written);
        self.settings_changed = claimed.settings_changed;
        true
    }

    /// The rows of `pending` that somebody else may have begun with.
    pub(super) fn remember(&mut self, rows: &[OpenRow]) {
        if let Some(by) = self.due_by.take() {
            let due = |row: &PendingRow| row.next_at.is_none_or(|at| at <= by);
            self.rows.extend(rows.iter().filter(|open| due(&open.row)).map(|open| open.row.seq));
        }
    }

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

    fn claimed(old_epoch: i64, wait: u64) -> Claimed {
        Claimed {
            seq: 5,
            horizon: 21,
            old_horizon: 9,
            old_epoch,
            crashed: true,
            maybe: 8,
            written: Timestamp::UNIX_EPOCH,
            wait: Duration::from_secs(wait),
            paused: false,
            halted: None,
            settings_changed: false,
        }
    }

    fn meet(former: &mut Former, epoch: i64, claimed: &Claimed, now: Instant) -> bool {
        former.tried.push(epoch);
        former.meet(epoch, claimed, Duration::from_secs(6), now, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_a_claim_has_found_outlives_the_session_that_made_it() {
        let (mut former, now) = (Former::default(), Instant::now());
        let row = |seq, next_at| {
            let row = PendingRow { event: seq, seq, order_ref: "1".into(), state: Waiting::Retrying, attempts: 1, next_at, reason: None };
            OpenRow { row, kind: None, cause: None, recorded: 1 }
        };
        assert!(meet(&mut former, 2, &claimed(1, 10), now), "somebody else's");
        // Its session failed before it had read a row; the next claim finds this process.
        assert!(!meet(&mut former, 4, &claimed(2, 0), now), "its own");
        assert_eq!((former.begins, former.up_to), (Some(now + Duration::from_secs(10)), 8));
        former.remember(&[row(3, None), row(4, Timestamp::from_second(10).ok()), row(5, Timestamp::from_second(11).ok())]);
        assert_eq!(former.rows, HashSet::from([3, 4]));
        assert!(
            meet(&mut former, 9, &claimed(7, 3), now) && former.begins == Some(now + Duration::from_secs(10)),
            "a shorter wait takes nothing back"
        );
    }

    #[test]
    fn a_claim_that_was_not_answered_may_have_met_anybody() {
        let (mut former, now) = (Former::default(), Instant::now());
        assert!(meet(&mut former, 2, &claimed(0, 0), now) && former.begins == Some(now));
        former.tried.extend([4, 5]);
        assert!(meet(&mut former, 6, &claimed(4, 0), now));
        assert_eq!(former.begins, Some(now + Duration::from_secs(4 + 6)));
        assert!(!meet(&mut former, 7, &claimed(6, 0), now) && former.tried.is_empty());
    }

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
