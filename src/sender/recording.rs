//! Marks are gathered, written together, and applied when they are durable; the position and the horizon move with them.

use std::{sync::Arc, time::Instant};

use super::{GATHER, POSITION_LAG, Sender, Works, desk::Desk};
use crate::{
    clock::age,
    destination::Destination,
    marks::{Marks, Move},
    outbox::{DbError, complete, position},
};

/// So many fates are written without waiting for more.
const GATHER_MAX: usize = 200;

/// How far a destination's horizon leads its position: what is in flight, and what went out while the last marks were written,
/// which takes some ten times as long as an answer from next door.
pub fn ahead(to: &Destination) -> i64 {
    let deliveries = to.limits.in_flight.saturating_mul(to.platform.facts().batch_max);
    i64::try_from(deliveries).unwrap_or(i64::MAX).saturating_mul(16).clamp(16, 1_024)
}

/// After a clean drain nothing is in doubt: the horizon goes back to the position, so that an order that is taken back while
/// the daemon is away can still be annulled.
pub(super) async fn leave(desk: &Desk, destination: &str) -> Result<(), DbError> {
    let db = desk.session.pool.get().await?;
    // What was done out of order lies behind the position, and its attempts are looked for up to the horizon.
    let place = Move { horizon: desk.book.position().max(desk.highest_done), ..desk.next_move(0) };
    complete::complete(&db, destination, place, &Marks::default()).await?;
    position::leave(&db, destination, desk.epoch).await
}

impl Sender {
    /// Starts writing, when there is enough to write or nothing to wait for.
    pub(super) fn write(&mut self, desk: &mut Desk, works: &mut Works, now: Instant) {
        if works.written.is_some() {
            return;
        }
        let place = desk.next_move(ahead(&self.to));
        let batch = &desk.batch;
        let something = !batch.marks.is_empty() || !batch.fates.is_empty();
        let gathered = desk.first_mark.is_some_and(|first| now >= first + GATHER) || batch.fates.len() >= GATHER_MAX;
        let idle = self.wire.is_empty() && works.judged.is_none();
        let moved = place.to > place.from && (now >= desk.written + POSITION_LAG || place.to - place.from >= ahead(&self.to) / 2);
        if !(something && (gathered || idle) || moved) {
            return;
        }
        let batch = std::mem::take(&mut desk.batch);
        desk.first_mark = None;
        desk.written = now;
        let marks = batch.marks.clone();
        let (session, name) = (Arc::clone(&desk.session), Arc::clone(&self.to.name));
        if let Some(why) = &marks.halted {
            tracing::error!(destination = %name, reason = %why, "destination halted; run \"postbackd resume {name}\" when it is mended");
        }
        works.writing = Some((batch, place));
        works.written = Some(Box::pin(async move {
            let db = session.pool.get().await?;
            complete::complete(&db, &name, place, &marks).await
        }));
    }

    /// Marks are durable.
    pub(super) fn written(&mut self, desk: &mut Desk, works: &mut Works, now: Instant) {
        let Some((batch, place)) = works.writing.take() else { return };
        desk.seq = place.to;
        desk.horizon = place.horizon;
        for occurred_at in &batch.told {
            self.meter.delivered.observe(age(*occurred_at));
        }
        for attempt in &batch.marks.attempts {
            self.meter.recorded(attempt.kind, attempt.outcome);
            if let Some(item) = desk.book.item_mut(attempt.seq) {
                item.recorded += 1;
            }
        }
        for (seq, fate) in batch.fates {
            desk.book.apply(seq, fate);
        }
        batch.wakes.iter().for_each(|lane| desk.book.unpark(lane));
        for prepared in batch.launches {
            self.launch_announced(desk, prepared, now);
        }
    }
}
