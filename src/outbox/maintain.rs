//! Retention: personal data and finished rows go after a time, a little at once, so that nobody notices.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};

use super::{ANSWER, DbError, PIN, pinned, within};
use crate::session::Session;

/// Entries of the stream in one transaction.
const CHUNK: i64 = 500;
/// After a full chunk; half a million entries a day at the most.
const NEXT: Duration = Duration::from_millis(500);
/// When nothing was old enough.
const LATER: Duration = Duration::from_secs(60);

/// Takes old rows away for as long as the session lasts.
pub async fn run(session: &Session, retention: Duration) -> DbError {
    let mut after = 0;
    loop {
        let (old, looked_at) = match prune(session, retention, after).await {
            Ok(done) => done,
            Err(error) => return error,
        };
        // Entries that `pending` names stay behind; the next chunk begins after them.
        let full = old >= CHUNK;
        after = if full { looked_at.unwrap_or(0) } else { 0 };
        tokio::time::sleep(if full { NEXT } else { LATER }).await;
    }
}

/// One chunk: how many of its entries were old, and the last one looked at.
async fn prune(session: &Session, retention: Duration, after: i64) -> Result<(i64, Option<i64>), DbError> {
    let db = session.pool.get().await?;
    let params = [(&retention.as_secs_f64() as &(dyn ToSql + Sync), Type::FLOAT8), (&CHUNK, Type::INT8), (&after, Type::INT8)];
    let rows = pinned(&db, PIN, include_str!("../../sql/prune.sql"), &params).await?;
    within(ANSWER, db.query_typed("delete from postback.command where answered < clock_timestamp() - interval '30 days'", &[])).await?;
    Ok(rows.first().map_or((0, None), |row| (row.get(0), row.get(1))))
}
