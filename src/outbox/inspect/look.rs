//! A look at the tables for somebody who waits in front of a page: read only, bounded, by index walks, and ended with its transaction
//! even when that somebody has gone.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{Object, Pool};

use super::super::{DbError, PIN};

/// For a connection out of the pool: somebody waits.
const CONNECTION: Duration = Duration::from_secs(3);
/// For all of a look. The server ends each of its statements earlier.
const WHOLE: Duration = Duration::from_secs(15);
/// For each statement. The last setting of a transaction counts.
const LIMITS: &str = "set local statement_timeout = '5s'; set local transaction_read_only = on";

/// First words of such a look's transaction.
pub(super) fn begin() -> String {
    format!("{PIN}; {LIMITS}")
}

/// Reads in one transaction that can do no harm: the planner is kept to indexes, every statement to 5 s. In a task of its own, because
/// a page that is closed half-way must not leave a connection in the middle of a transaction.
pub async fn look<T, W, F>(pool: &Pool, work: W) -> Result<T, DbError>
where
    W: FnOnce(Arc<Object>) -> F + Send + 'static,
    F: Future<Output = Result<T, DbError>> + Send + 'static,
    T: Send + 'static,
{
    let pool = pool.clone();
    let looking = tokio::spawn(async move {
        let db = tokio::time::timeout(CONNECTION, pool.get()).await.map_err(|_| DbError::Silent(CONNECTION))??;
        let db = Arc::new(db);
        let mine = Arc::clone(&db);
        let looked = tokio::time::timeout(WHOLE, async move {
            mine.batch_execute(&begin()).await?;
            work(Arc::clone(&mine)).await
        });
        let found = looked.await.unwrap_or(Err(DbError::Silent(WHOLE)));
        let ended = tokio::time::timeout(CONNECTION, db.batch_execute("commit")).await;
        if !matches!(ended, Ok(Ok(())))
            && let Some(broken) = Arc::into_inner(db)
        {
            // Nobody else shall find it in the middle of this.
            drop(Object::take(broken));
        }
        found
    });
    looking.await.unwrap_or_else(|error| Err(DbError::Unexpected(error.to_string())))
}
