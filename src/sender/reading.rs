//! Pages of the stream become items of the book, without those that are ended.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{POSITION_LAG, Sender, WINDOW, Works, book::Item, desk::Desk};
use crate::{
    books::State,
    outbox::{position, stream},
};

/// A page of the stream, with what is recorded of its entries where a former process may have been at work.
pub(super) type Page = (Arc<Vec<stream::Numbered>>, HashMap<i64, Vec<position::Recorded>>);

impl Sender {
    /// Starts reading the next page, when there is room for it.
    pub(super) fn read(&self, desk: &Desk, works: &mut Works, now: Instant) {
        if works.page.is_some() || desk.stopped || desk.book.unpassed() >= WINDOW || works.read_again.is_some_and(|at| now < at) {
            return;
        }
        let settled = desk.session.settling.settled(now);
        let (after, maybe) = (desk.book.read(), self.former.up_to);
        if settled.sure.max(settled.perhaps) <= after {
            works.read_again = desk.session.settling.next(after, now);
            return;
        }
        works.read_again = None;
        let handed = desk.session.handed.page(after).filter(|page| page.last().is_some_and(|last| last.seq <= settled.sure));
        let (session, name, seq) = (Arc::clone(&desk.session), Arc::clone(&self.to.name), desk.recorded_up_to);
        works.page = Some(Box::pin(async move {
            let page = match handed {
                Some(page) if after >= maybe.max(seq) => return Ok((page, HashMap::new())),
                Some(page) => page,
                None => session.cache.read(&*session.pool.get().await?, after, settled).await?,
            };
            let doubtful: Vec<i64> = page.iter().filter(|entry| entry.seq <= maybe.max(seq)).map(|entry| entry.event_id).collect();
            let mut recorded: HashMap<i64, Vec<position::Recorded>> = HashMap::new();
            if !doubtful.is_empty() {
                let db = session.pool.get().await?;
                for row in position::recorded(&db, &name, &doubtful).await? {
                    recorded.entry(row.event).or_default().push(row);
                }
            }
            Ok((page, recorded))
        }));
    }

    pub(super) fn take_in(&mut self, desk: &mut Desk, works: &mut Works, (page, recorded): Page, now: Instant) {
        works.read_again = match page.last() {
            Some(_) => None,
            None => desk.session.settling.next(desk.book.read(), now).or(Some(now + POSITION_LAG)).map(|at| at.max(now + Duration::from_millis(5))),
        };
        if let Some(last) = page.last() {
            desk.session.handed.read_up_to(last.seq);
        }
        for entry in page.iter() {
            desk.book.read_up_to(entry.seq);
            let here = entry.only.as_ref().is_none_or(|only| only.iter().any(|name| **name == *self.to.name));
            if desk.ended_unread.remove(&entry.seq) || !here {
                continue;
            }
            let rows = recorded.get(&entry.event_id).map_or(&[][..], Vec::as_slice);
            if rows.iter().any(|row| row.seq == entry.seq && row.outcome != State::Retry) || desk.book.item(entry.seq).is_some() {
                continue;
            }
            let tries = u32::try_from(rows.iter().filter(|row| row.seq == entry.seq).count()).unwrap_or(u32::MAX);
            let lost = self.former.lost_entry(entry.event_id, entry.cause);
            desk.book.add(Item {
                seq: entry.seq,
                event_id: entry.event_id,
                kind: entry.event.as_ref().ok().map(|event| event.kind),
                lane: Arc::clone(&entry.reference),
                cause: entry.cause,
                event: Some(entry.event.clone()),
                tries,
                recorded: tries,
                maybe_sent: entry.seq <= self.former.up_to || lost,
                lost,
                row: None,
                due: None,
                busy: self.has_answer_or_wire(entry.seq),
                since: now,
            });
        }
        self.settle_stash(desk, now);
    }
}
