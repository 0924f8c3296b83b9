//! One owner at a time: an advisory lock on a dedicated direct session, and an epoch that every write is guarded by.
//!
//! The lock makes others wait; the epoch makes a former owner's writes match nothing. The epoch rises with every session and
//! not only with a takeover, because a COMMIT whose answer was lost can still go through.

use tokio_postgres::{Client, types::Type};

use super::DbError;

/// Advisory lock of the owner; locks of this kind belong to one database. The class spells "pbwd".
const LOCK: &str = "1885501284, 1";

/// Prepares the session that will hold the lock: the server ends it by itself when this process goes silent, because the
/// kernel of a stopped process still answers keepalives.
pub async fn prepare(lock: &Client) -> Result<(), DbError> {
    lock.batch_execute("set idle_session_timeout = '5s'; set statement_timeout = '5s'").await?;
    Ok(())
}

/// Takes the lock if it is free.
pub async fn try_lock(lock: &Client) -> Result<bool, DbError> {
    let rows = lock.query_typed(&format!("select pg_try_advisory_lock({LOCK}), pg_is_in_recovery()"), &[]).await?;
    if rows[0].get(1) {
        return Err(DbError::Standby);
    }
    Ok(rows[0].get(0))
}

/// Whether nobody holds the lock just now.
pub async fn is_free(db: &Client) -> Result<bool, DbError> {
    if !try_lock(db).await? {
        return Ok(false);
    }
    db.query_typed(&format!("select pg_advisory_unlock({LOCK})"), &[]).await?;
    Ok(true)
}

/// Begins a session as the holder of the lock: the epoch from now on, and the last number of the stream.
pub async fn begin(lock: &Client, instance: &str) -> Result<(i64, i64), DbError> {
    let sql = "update postback.ingest set epoch = epoch + 1, owner = $1, checked = clock_timestamp()
                where set_config('synchronous_commit', 'on', true) is not null returning epoch, last_seq";
    let rows = lock.query_typed(sql, &[(&instance, Type::TEXT)]).await?;
    let row = rows.first().ok_or_else(|| DbError::Unexpected("postback.ingest is empty; run \"postbackd schema upgrade\"".into()))?;
    Ok((row.get(0), row.get(1)))
}

/// Proves on the session that holds the lock that it is alive and nobody has begun a later session.
pub async fn prove(lock: &Client, epoch: i64) -> Result<(), DbError> {
    let rows = lock.query_typed("select epoch from postback.ingest", &[]).await?;
    match rows.first() {
        Some(row) if row.get::<_, i64>(0) == epoch => Ok(()),
        _ => Err(DbError::Fenced),
    }
}

/// Gives everything up cleanly: whoever comes next need not wait.
pub async fn release(lock: &Client, epoch: i64) -> Result<(), DbError> {
    lock.query_typed("update postback.ingest set owner = null, checked = clock_timestamp() where epoch = $1", &[(&epoch, Type::INT8)]).await?;
    lock.query_typed(&format!("select pg_advisory_unlock({LOCK})"), &[]).await?;
    Ok(())
}
