//! Loop one of a daemon that only sends: another one reads the shop's commits, and this one follows the stream that it writes,
//! ready to read on when that one goes.

use std::time::Instant;

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    ingest::{Pace, READER},
    outbox::{
        DbError,
        owner::{self, Reading},
        stream,
    },
    pulse,
    session::Session,
};

/// Follows until the reader's lock is free, which is then held; `None`: told to stop.
pub async fn run(session: &Session, db: &Client, pace: Pace, on_command: impl Fn(), stop: &CancellationToken) -> Result<Option<Reading>, DbError> {
    let mut try_at = Instant::now();
    let mut acted = None;
    let mut wait = pace.busy;
    let mut told = false;
    let pulse = session.pulses.pulse(READER);
    loop {
        pulse.within(pulse::ANSWERS);
        let now = Instant::now();
        if now >= try_at {
            try_at = now + owner::TRY_EVERY;
            if let Some(reading) = session.keeper.take_reading().await? {
                return Ok(Some(reading));
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!("another daemon reads the shop's commits; this one sends");
            }
        }
        let end = stream::end(db).await?;
        if acted.replace(end.acted).is_some_and(|before| before != end.acted) {
            session.cache.clear();
            on_command();
        }
        wait = if end.last_seq == session.last_seq() { (wait * 2).min(pace.idle) } else { pace.busy };
        if end.last_seq != session.last_seq() {
            session.grew(end.last_seq);
        }
        pulse.within(wait);
        tokio::select! {
            biased;
            () = session.lost.cancelled() => return Err(DbError::SessionOver),
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(wait) => {}
        }
    }
}
