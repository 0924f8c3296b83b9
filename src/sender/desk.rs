//! A destination's part of a session: its book, what is to be written next, and how verdicts become marks and fates.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    ahead::Ahead,
    book::{Book, Fate},
    wire::{Back, Prepared, Sent},
};
use crate::{
    books::{Receipt, State},
    clock::age,
    delivery::{Delivery, RefundShape, Resend},
    destination::{Destination, RetryPolicy},
    event::Kind,
    marks::{AttemptRow, Marks, Move, PendingRow, Waiting},
    outcome::Outcome,
    retry,
    session::Session,
};

/// Rows that one destination may have in `pending` for what is only slow; beyond that its position waits.
pub const ROWS_MAX: usize = 1_000;
/// Why the rest of a lane waits.
const BEHIND: &str = "behind another event of its order";
/// Slower than this, a delivery goes to `pending` and the position over it.
pub const SLOW: Duration = Duration::from_secs(1);

/// What is written in one transaction, and what follows when it is durable.
#[derive(Debug, Default)]
pub struct Batch {
    /// The rows.
    pub marks: Marks,
    /// By entry.
    pub fates: Vec<(i64, Fate)>,
    /// Requests that may go on the wire then: at-most-once deliveries.
    pub launches: Vec<Prepared>,
    /// Lanes in which something may wait for what is written.
    pub wakes: Vec<Arc<str>>,
    /// Answers that these rows record; kept until then, because they are facts and not cache.
    pub backs: Vec<Back>,
    /// When the events happened of which the platform said that it has them, but for those that are told again.
    pub told: Vec<Timestamp>,
}

/// See the module.
#[derive(Debug)]
pub struct Desk {
    /// The session it belongs to.
    pub session: Arc<Session>,
    /// Guards every write here.
    pub epoch: i64,
    /// No request before: a former owner may still have some on their way.
    pub begins: Instant,
    /// `position.seq` and `horizon` as the database has them.
    pub seq: i64,
    /// Nothing above is put on the wire.
    pub horizon: i64,
    /// Attempts may be recorded for entries behind the position up to here: what was done out of order.
    pub recorded_up_to: i64,
    /// The highest entry that has an attempt of this session.
    pub highest_done: i64,
    /// Entries that ended before the reader came to them (they had a row): a page under way may have been read before their marks
    /// were durable, and must not bring them back.
    pub ended_unread: HashSet<i64>,
    /// Paused, halted, or to drain.
    pub stopped: bool,
    /// The entries.
    pub book: Book,
    /// What waits for room on the wire.
    pub ahead: Ahead,
    /// What comes next.
    pub batch: Batch,
    /// When the first mark of that came.
    pub first_mark: Option<Instant>,
    /// When slow entries are looked for next; walking all of them at every turn would cost more than it gives.
    pub slow_at: Instant,
    /// When something was last written.
    pub written: Instant,
}

/// The verdict on one delivery with what surrounds it.
#[derive(Debug)]
pub struct Answered<'a> {
    /// What was sent.
    pub sent: &'a Sent,
    /// The verdict.
    pub outcome: Outcome,
    /// It was on the wire: from now on this is what is said.
    pub reached: bool,
    /// They may have it, whatever the verdict.
    pub maybe_arrived: bool,
    /// HTTP status.
    pub status: Option<i32>,
    /// How long it took.
    pub took: Duration,
}

impl Desk {
    /// From where to where the position would move now.
    pub fn next_move(&self, ahead: i64) -> Move {
        let to = self.book.position();
        Move { epoch: self.epoch, from: self.seq, to, horizon: self.horizon.max(to + ahead) }
    }

    fn touch(&mut self, now: Instant) {
        self.first_mark.get_or_insert(now);
    }

    /// An entry ends in a state.
    pub fn finish(&mut self, seq: i64, state: State, reason: Option<String>, status: Option<i32>, took: Option<Duration>, now: Instant) {
        let Some(item) = self.book.item(seq) else { return };
        let duration_ms = took.map(|took| i32::try_from(took.as_millis()).unwrap_or(i32::MAX));
        let attempt = AttemptRow { event: item.event_id, kind: item.kind, seq, outcome: state, status, duration_ms, reason: reason.clone() };
        let waiting = match state {
            State::Dead => Some(Waiting::Dead),
            State::Unknown => Some(Waiting::Unknown),
            State::Accepted => Some(Waiting::Accepted),
            _ => None,
        };
        let row = waiting.map(|state| PendingRow {
            event: item.event_id,
            seq,
            order_ref: Arc::clone(&item.lane),
            state,
            attempts: i32::try_from(item.tries).unwrap_or(i32::MAX),
            next_at: None,
            reason,
        });
        if row.is_some() || item.row.is_some() {
            self.batch.marks.pending.insert(seq, row);
        }
        if item.cause.is_some() {
            self.batch.marks.decided_anew.push(item.event_id);
        }
        self.batch.marks.attempts.push(attempt);
        self.highest_done = self.highest_done.max(seq);
        if seq > self.book.read() {
            self.ended_unread.insert(seq);
        }
        self.batch.fates.push((seq, Fate::Done));
        // Decided, though perhaps never taken: nobody may judge it again while its mark is on the way.
        self.book.hold(seq);
        self.book.pass(seq);
        self.touch(now);
    }

    /// An entry was judged again and keeps its state.
    pub fn keep(&mut self, seq: i64, now: Instant) {
        let Some(item) = self.book.item(seq) else { return };
        if item.row.is_some() {
            self.batch.marks.pending.insert(seq, None);
        }
        self.batch.fates.push((seq, Fate::Done));
        self.book.hold(seq);
        self.book.pass(seq);
        self.touch(now);
    }

    /// Gives an entry a row in `pending`, so that the position may pass it.
    pub fn give_row(&mut self, seq: i64, state: Waiting, next_at: Option<Timestamp>, reason: Option<String>, now: Instant) {
        let Some(item) = self.book.item(seq) else { return };
        let row = PendingRow {
            event: item.event_id,
            seq,
            order_ref: Arc::clone(&item.lane),
            state,
            attempts: i32::try_from(item.tries).unwrap_or(i32::MAX),
            next_at,
            reason,
        };
        self.batch.marks.pending.insert(seq, Some(row));
        self.book.set_row(seq, Some(state));
        self.touch(now);
    }

    /// An entry waits until `due`; with a row where it is long and there is room, else in memory, holding the position.
    pub fn wait(&mut self, seq: i64, state: Waiting, wait: Duration, reason: String, may_spill: bool, now: Instant) {
        let Some(item) = self.book.item(seq) else { return };
        let has_row = item.row.is_some();
        if has_row || (may_spill && wait > SLOW && self.book.rows() < ROWS_MAX) {
            let next_at = Timestamp::now().saturating_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)).ok();
            self.give_row(seq, state, next_at, Some(reason), now);
        }
        self.batch.fates.push((seq, Fate::Again(now + wait)));
        self.touch(now);
    }

    /// An entry waits for a person or for its purchase's confirmation.
    pub fn park(&mut self, seq: i64, reason: String, now: Instant) {
        // Also where it has a row already, because it stood behind another: what it waits for now is something else.
        self.give_row(seq, Waiting::Parked, None, Some(reason), now);
        self.batch.fates.push((seq, Fate::Parked));
        self.touch(now);
    }

    /// Rows for what holds the position: entries behind a front that waits, requests that are slow, and, where the memory is full
    /// or the horizon is reached, what waits behind them. Not while the breaker is open: then the position is to wait.
    pub fn spill(&mut self, to: &Destination, breaker_closed: bool, full: bool, now: Instant) {
        if self.stopped {
            return;
        }
        for seq in self.book.stuck(ROWS_MAX.saturating_sub(self.book.rows())) {
            self.give_row(seq, Waiting::Parked, None, Some(BEHIND.into()), now);
        }
        if now < self.slow_at {
            return;
        }
        self.slow_at = now + SLOW / 5;
        let Some(then) = now.checked_sub(SLOW).filter(|_| breaker_closed) else { return };
        for seq in self.book.slow(then, full, ROWS_MAX.saturating_sub(self.book.rows())) {
            if !self.book.is_front(seq) {
                self.give_row(seq, Waiting::Parked, None, Some(BEHIND.into()), now);
                continue;
            }
            let next_at = Timestamp::now().saturating_add(SignedDuration::try_from(to.limits.deadline).unwrap_or(SignedDuration::MAX)).ok();
            self.give_row(seq, Waiting::Retrying, next_at, Some("slow".into()), now);
        }
    }

    /// Turns a verdict into marks and fates. `jitter` in [0, 1).
    pub fn settle(&mut self, to: &Destination, answered: Answered<'_>, jitter: f64, now: Instant) {
        let Answered { sent, outcome, reached, maybe_arrived, status, took } = answered;
        let seq = sent.seq;
        let resend = to.platform.resend(sent.delivery.event.kind);
        if self.book.item(seq).is_none() {
            return; // Recorded already, by a commit whose answer was lost.
        }
        let took = Some(took);
        match outcome {
            Outcome::Delivered { answer, note } => {
                self.receipt(to, sent, answer);
                self.finish_all(sent, State::Delivered, note, status, took, now);
            }
            Outcome::Accepted { answer } => {
                self.receipt(to, sent, answer);
                self.finish_all(sent, State::Accepted, None, status, took, now);
                self.ask_later(to, sent);
            }
            // A single one that was to be split is what was wrong with its request.
            Outcome::Rejected { why } | Outcome::Split { why } => self.finish_all(sent, State::Dead, Some(why), status, took, now),
            Outcome::Retry { why, .. } if maybe_arrived && resend == Resend::Never => {
                let why = format!("{why}; it may have arrived, and the platform counts every request");
                self.finish_all(sent, State::Unknown, Some(why), status, took, now);
            }
            Outcome::Retry { why, after, .. } => {
                let tries = self.book.item(seq).map_or(1, |item| item.tries);
                let age = age(sent.delivery.event.occurred_at);
                match retry::next(tries, &within(to, &sent.delivery), age, after, jitter) {
                    retry::Verdict::GiveUp(reason) => self.finish_all(sent, State::Dead, Some(format!("{why}; {reason}")), status, took, now),
                    retry::Verdict::After(wait) => {
                        if reached {
                            self.batch.marks.receipts.insert(sent.delivery.event.id, frozen(sent, None));
                        }
                        self.retry_row(seq, &why, status, took);
                        for seq in sent.all() {
                            self.wait(seq, Waiting::Retrying, wait, why.clone(), true, now);
                        }
                    }
                }
            }
            Outcome::Halted { why, fix } => {
                self.batch.marks.halted = Some(format!("{why}; {fix}"));
                self.stopped = true;
                for seq in sent.all() {
                    if let Some(item) = self.book.item_mut(seq) {
                        item.tries = item.tries.saturating_sub(1);
                    }
                    self.wait(seq, Waiting::Retrying, Duration::ZERO, why.clone(), false, now);
                }
            }
        }
    }

    /// The delivery and the refunds that it covers.
    fn finish_all(&mut self, sent: &Sent, state: State, reason: Option<String>, status: Option<i32>, took: Option<Duration>, now: Instant) {
        for seq in &sent.covers {
            let words = match state {
                State::Delivered | State::Accepted => Some(format!("covered by event {}", sent.delivery.event.id)),
                _ => reason.clone(),
            };
            self.finish(*seq, state, words, None, None, now);
        }
        let first = self.book.item(sent.seq).is_some_and(|item| item.cause.is_none());
        self.finish(sent.seq, state, reason, status, took, now);
        if first && matches!(state, State::Delivered | State::Accepted) {
            self.batch.told.push(sent.delivery.event.occurred_at);
        }
    }

    /// When the platform's last word is asked for. What it covers is settled by the one that covers it and asked for by nobody.
    fn ask_later(&mut self, to: &Destination, sent: &Sent) {
        for seq in &sent.covers {
            self.batch.marks.pending.insert(*seq, None);
        }
        let first = to.platform.facts().confirm.and_then(|confirm| SignedDuration::try_from(confirm.first).ok());
        if let (Some(first), Some(Some(row))) = (first, self.batch.marks.pending.get_mut(&sent.seq)) {
            row.next_at = Timestamp::now().saturating_add(first).ok();
        }
    }

    fn retry_row(&mut self, seq: i64, why: &str, status: Option<i32>, took: Option<Duration>) {
        let Some(item) = self.book.item(seq) else { return };
        let duration_ms = took.map(|took| i32::try_from(took.as_millis()).unwrap_or(i32::MAX));
        let (event, kind, reason) = (item.event_id, item.kind, Some(why.to_owned()));
        self.batch.marks.attempts.push(AttemptRow { event, kind, seq, outcome: State::Retry, status, duration_ms, reason });
    }

    /// Kept where a refund may follow, which must repeat exactly what was said.
    fn receipt(&mut self, to: &Destination, sent: &Sent, answer: Option<serde_json::Value>) {
        let refundable =
            sent.delivery.event.kind == Kind::Purchase && to.kinds.contains(&Kind::Refund) && to.platform.facts().refund != RefundShape::None;
        if refundable || answer.is_some() {
            self.batch.marks.receipts.insert(sent.delivery.event.id, frozen(sent, answer));
        }
    }
}

/// The destination's retry rule, ended where the platform does not take the event any more.
fn within(to: &Destination, delivery: &Delivery) -> RetryPolicy {
    let lasts = to.platform.expires(delivery).map(|expires| expires.duration_since(delivery.event.occurred_at));
    let lasts = lasts.map_or(Duration::MAX, |lasts| if lasts.is_negative() { Duration::ZERO } else { lasts.unsigned_abs() });
    RetryPolicy { give_up_after: to.retry.give_up_after.min(lasts), ..to.retry }
}

fn frozen(sent: &Sent, answer: Option<serde_json::Value>) -> Receipt {
    Receipt { sent: sent.delivery.said.clone(), answer, uncertain: sent.uncertain }
}
