//! Triggers of the shop's tables after the shop has changed those tables: made anew, and what they could not say is said.
//!
//! On a connection of the pool and not on the reader's: saying something again runs code of the shop's, which may wait for
//! a lock, and the stream must not wait with it.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::{BOUNDED, DbError};
use crate::session::Session;

/// How often attached tables are compared with their triggers.
const EVERY: Duration = Duration::from_secs(1);
/// Things said again in one transaction: each is a subtransaction, of which a session shares 64 with the others for free.
const CHUNK: i32 = 50;
/// Between two looks when the last one was refused.
const LATER: Duration = Duration::from_secs(60);

/// Heals for as long as this is the reader of `epoch`.
pub async fn run(session: &Session, epoch: i64) -> DbError {
    let mut wait = EVERY;
    loop {
        match heal(session, epoch).await {
            Ok(more) => wait = if more { Duration::ZERO } else { EVERY },
            Err(error) if error.is_refusal() => {
                wait = (wait * 2).clamp(EVERY, LATER);
                tracing::warn!(error = %error, "attached tables could not be compared with their triggers; it is tried again in {wait:?}");
            }
            Err(error) => return error,
        }
        tokio::time::sleep(wait).await;
    }
}

/// Whether more waits.
async fn heal(session: &Session, epoch: i64) -> Result<bool, DbError> {
    let db = session.pool.get().await?;
    let sql = "select name, said, failed from postback.heal($1, $2)";
    let begin = format!("begin; {BOUNDED}");
    let params: [super::Param<'_>; 2] = [(&epoch, Type::INT8), (&CHUNK, Type::INT4)];
    let rows = super::pinned(&**db, &begin, sql, &params).await?;
    let mut tried = 0;
    for row in &rows {
        let (trigger, said, failed): (&str, i64, i64) = (row.get(0), row.get(1), row.get(2));
        tried += said + failed;
        tracing::warn!(trigger, said, failed, "an attached table changed: its trigger was made anew, and what it could not say is said");
    }
    Ok(tried >= i64::from(CHUNK))
}
