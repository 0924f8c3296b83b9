//! Loop one: window -> ledger -> numbered stream. It also carries out commands, because it is the one task that writes numbers.

use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    books::Changes,
    handed::Decoded,
    ledger::Ledger,
    outbox::{
        DbError, command,
        ingest::{Page, Reader, know},
        statement::{Kept, Way},
        stream,
    },
    pulse,
    session::Session,
};

/// How often the shop's commits are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// While something happened within the last second.
    pub busy: Duration,
    /// Doubling up to this while nothing happens.
    pub idle: Duration,
}

/// Its name where it is said that it does not turn any more.
pub(crate) const READER: &str = "reader";
/// How long after the last commit the pace stays busy.
const BUSY_FOR: Duration = Duration::from_secs(1);
/// Pages as small as this one are handed on whoever follows: one order after a silence, for example.
const SMALL: usize = 64;
/// Commands are looked for this often.
const COMMANDS_EVERY: Duration = Duration::from_millis(200);

/// Reads until the session is lost or a stop is asked for. The connection is a session unless a pool may stand between.
pub async fn run(
    session: &Session,
    epoch: i64,
    (db, is_session): (&mut Client, bool),
    pace: Pace,
    woken: &Notify,
    on_command: impl Fn(),
    stop: &CancellationToken,
) -> Result<(), DbError> {
    let pulse = session.pulses.pulse(READER);
    pulse.within(pulse::ANSWERS);
    let mut reader = Reader::load(db, epoch).await?;
    let (mut active, mut wait) = (Instant::now(), pace.busy);
    let kept = Kept::default();
    // What a pool would lend to others next is not left there.
    let kept = is_session.then_some(&kept);
    let mut commands_at = Instant::now();
    let mut look_at = Instant::now();
    loop {
        pulse.within(pulse::ANSWERS);
        let page = reader.read(Way::new(db, kept)).await?;
        let (now, mut more) = (Instant::now(), false);
        session.metrics.looked(jiff::Timestamp::now());
        match page {
            Some(page) if !page.events.is_empty() || page.more => {
                take_in(session, &mut reader, Way::new(db, kept), &page).await?;
                session.grew(reader.last_seq);
                active = now;
                more = page.more;
                if more {
                    session.handed.taken(reader.last_seq).await;
                }
            }
            Some(page) => reader.commit(Way::new(db, kept), &page, &Changes::default()).await?,
            None => {}
        }
        if now >= commands_at {
            commands_at = now + COMMANDS_EVERY;
            for (id, what) in command::waiting(db).await? {
                let answer = command::execute(db, &mut reader, id, &what).await?;
                tracing::info!(command = id, ok = answer.ok, count = answer.count, "{}", answer.text);
                session.handed.clear();
                session.cache.clear();
                session.grew(reader.last_seq);
                on_command();
                pulse.within(pulse::ANSWERS);
            }
        }
        wait = if active.elapsed() < BUSY_FOR { pace.busy } else { (wait * 2).min(pace.idle) };
        let now = Instant::now();
        look_at = if more { now } else { next_look(look_at, wait, now) };
        pulse.until(look_at);
        tokio::select! {
            biased;
            () = session.lost.cancelled() => return Err(DbError::SessionOver),
            () = stop.cancelled() => return Ok(()),
            // A NOTIFY is only ever a wake-up: polling goes on.
            () = woken.notified() => active = Instant::now(),
            // A large window is read on at once, but a stop or a command need not wait for its end.
            () = tokio::time::sleep_until(look_at.into()) => {}
        }
    }
}

/// From look to look as planned, or each would come later by what the last one took and by what timers are late. Whoever was
/// woken before a planned look plans from then on: else each wake-up would put polling off a little further.
fn next_look(planned: Instant, wait: Duration, now: Instant) -> Instant {
    (planned.min(now) + wait).max(now)
}

/// One page into ledger and stream, and to the destinations where it may be sent at once.
async fn take_in(session: &Session, reader: &mut Reader, way: Way<'_>, page: &Page) -> Result<(), DbError> {
    let before = reader.last_seq;
    // Whoever comes to it much later has to read it anyway: then what the ledger needs is enough.
    let hand_on = session.settling.settle().is_zero() && (page.events.len() <= SMALL || session.handed.is_followed(before));
    let decoded: Vec<Decoded> = page.events.iter().map(|raw| stream::decoded(raw, hand_on)).collect();
    let mut ledger = Ledger::at(before + 1);
    ledger.know(know(way, decoded.iter().filter_map(|event| event.as_deref().ok())).await?);
    for (raw, event) in page.events.iter().zip(&decoded) {
        match event {
            Ok(event) => ledger.fold(event),
            Err(_) => ledger.fold_unreadable(raw.id),
        }
    }
    let facts = hand_on.then(|| ledger.facts());
    let changes = ledger.into_changes();
    session.handed.writing();
    reader.commit(way, page, &changes).await?;
    session.handed.written();
    page.events.iter().for_each(|event| session.metrics.read(&event.kind));
    if let Some(facts) = facts {
        session.handed.put(before, &changes.entries, &page.events, &decoded, facts);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn looks_keep_their_pace_and_wake_ups_do_not_put_them_off() {
        let start = Instant::now();
        assert_eq!(next_look(start, 5 * MS, start + MS), start + 5 * MS, "a late timer");
        assert_eq!(next_look(start, 5 * MS, start + 9 * MS), start + 9 * MS, "a look that took long");
        let (mut planned, mut now) = (start, start);
        for _ in 0..1_000 {
            planned = next_look(planned, 5 * MS, now);
            assert!(planned <= now + 5 * MS);
            now += 2 * MS;
        }
    }
}
