//! The beginning of a session: the position is claimed, and what may be in doubt is known before anything is sent.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Sender,
    ahead::Ahead,
    book::{Book, Item},
    desk::{Batch, Desk},
    recording,
    wire::Back,
};
use crate::{
    books::State,
    destination::Start,
    marks::Waiting,
    outbox::{DbError, identity, position},
    session::Session,
};

/// A write whose answer was lost.
#[derive(Debug)]
pub(super) struct Doubt {
    /// The answers that it records.
    pub(super) backs: Vec<Back>,
    /// Any one of its attempts, which went through together: event, entry, how many the entry had before. `None`: it has none.
    entry: Option<(i64, i64, u32)>,
}

impl Doubt {
    pub(super) fn about(batch: Batch, desk: &Desk) -> Self {
        let mut attempts = batch.marks.attempts.iter();
        let entry = attempts.find_map(|row| Some((row.event, row.seq, desk.book.item(row.seq)?.recorded)));
        Self { backs: batch.backs, entry }
    }
}

impl Sender {
    pub(super) async fn open(&mut self, session: &Arc<Session>, epoch: i64) -> Result<Desk, DbError> {
        let mut db = session.pool.get().await?;
        let start = match self.to.start {
            Start::Now => None,
            Start::At(time) => Some(time),
            Start::Beginning => Some(jiff::Timestamp::UNIX_EPOCH),
        };
        let wanted = position::Wanted {
            name: &self.to.name,
            was: self.to.was.as_deref(),
            start,
            ahead: recording::ahead(&self.to),
            settings: &self.to.digest,
            settle: session.settling.settle(),
            deadline: self.to.limits.deadline,
        };
        self.former.tried.push(epoch);
        let claimed = position::claim(&mut db, &session.keeper, epoch, &wanted).await?;
        // At once: the next claim would find nobody but this process, whatever fails below.
        if self.former.meet(epoch, &claimed, self.to.limits.deadline, Instant::now(), jiff::Timestamp::now()) {
            self.announced.clear();
        }
        if let Some(was) = &self.to.was {
            session.keeper.give_back(&was.as_str().into()).await?;
        }
        let now = Instant::now();
        let mut desk = Desk {
            session: Arc::clone(session),
            epoch,
            begins: self.former.begins.map_or(now, |begins| begins.max(now)),
            seq: claimed.seq,
            horizon: claimed.horizon,
            stopped: claimed.paused || claimed.halted.is_some(),
            recorded_up_to: claimed.old_horizon,
            highest_done: claimed.old_horizon,
            ended_unread: HashSet::new(),
            book: Book::at(0),
            batch: Batch::default(),
            ahead: Ahead::default(),
            first_mark: None,
            slow_at: now,
            written: now,
        };
        let rows = position::open_rows(&db, &self.to.name).await?;
        self.resolve_doubt(&db).await?;
        self.former.lost = identity::lost(&db, &self.to.name).await?;
        drop(db);
        self.former.remember(&rows);
        for position::OpenRow { row, kind, cause, recorded } in rows {
            let wait = row.next_at.map(|at| at.duration_since(jiff::Timestamp::now())).filter(|wait| wait.is_positive());
            let lost = self.former.lost_row(&row, cause);
            desk.book.add(Item {
                seq: row.seq,
                event_id: row.event,
                kind,
                lane: row.order_ref,
                cause,
                event: None,
                tries: u32::try_from(row.attempts).unwrap_or(0),
                recorded: u32::try_from(recorded).unwrap_or(0),
                maybe_sent: self.former.rows.contains(&row.seq) || lost,
                lost,
                row: Some(row.state),
                due: wait.map(|wait| now + wait.unsigned_abs()),
                busy: self.has_answer_or_wire(row.seq),
                since: now,
            });
        }
        // Rows may lie behind the position (they were read once) but never ahead of it, so reading goes on at the position.
        desk.book.read_from(claimed.seq);
        desk.session.handed.read_up_to(claimed.seq);
        self.settle_stash(&mut desk, now);
        self.resolve_sending(&mut desk, now);
        Ok(desk)
    }

    /// The position is claimed: a write of a former session has gone through by now or never will. Recorded twice, an answer
    /// would count twice.
    async fn resolve_doubt(&mut self, db: &tokio_postgres::Client) -> Result<(), DbError> {
        let Some(doubt) = &self.doubt else { return Ok(()) };
        let went_through = match doubt.entry {
            None => false,
            Some((event, seq, before)) => {
                let recorded = position::recorded(db, &self.to.name, &[event]).await?;
                recorded.iter().filter(|row| row.seq == seq).count() > before as usize
            }
        };
        if let Some(doubt) = self.doubt.take().filter(|_| !went_through) {
            self.stash.extend(doubt.backs);
        }
        Ok(())
    }

    /// Its fate is known or under way in this process.
    pub(super) fn has_answer_or_wire(&self, seq: i64) -> bool {
        self.wire.has(seq) || self.stash.iter().any(|back| back.batch.iter().any(|sent| sent.all().any(|all| all == seq)))
    }

    /// An at-most-once delivery that was being sent when its process was lost: nobody knows, so a person decides. What this
    /// process announced and never sent is sent now.
    fn resolve_sending(&mut self, desk: &mut Desk, now: Instant) {
        let sending = desk.book.with_row(Waiting::Sending);
        self.announced.retain(|seq| sending.contains(seq));
        for seq in sending {
            if self.announced.contains(&seq) {
                if let Some(item) = desk.book.item_mut(seq) {
                    item.tries = item.tries.saturating_sub(1);
                }
                // Nobody may take it before its row says so.
                desk.book.hold(seq);
                desk.wait(seq, Waiting::Retrying, Duration::ZERO, "not sent yet".into(), true, now);
            } else if !self.wire.has(seq) && desk.book.item(seq).is_some_and(|item| !item.busy) {
                let why = "the daemon was lost between request and answer, and the platform counts every request";
                desk.finish(seq, State::Unknown, Some(why.into()), None, None, now);
            }
        }
    }
}
