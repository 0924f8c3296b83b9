//! What is done now and then. Retention: personal data and finished rows go after a time, a little at once, so that nobody
//! notices.

use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::types::Type;

use super::{ANSWER, DbError, PIN, Param, within};
use crate::session::Session;

/// Entries of the stream in one transaction.
const CHUNK: i64 = 500;
/// After a full chunk; half a million entries a day at the most.
const NEXT: Duration = Duration::from_millis(500);
/// When nothing was old enough.
const LATER: Duration = Duration::from_secs(60);

/// What has to be done now and then for as long as this is the reader of `epoch`: retention, healing of the shop's triggers,
/// sorting in what commands look for, and a look into the shop's books. `destinations`: the names in the configuration, which may
/// be reloaded meanwhile.
pub async fn run(session: &Session, epoch: i64, retention: Duration, destinations: &watch::Receiver<Vec<String>>) -> DbError {
    // On the heap: the daemon's own task is large enough.
    tokio::select! {
        error = Box::pin(old_rows(session, epoch, retention, destinations)) => error,
        error = Box::pin(super::heal::run(session, epoch)) => error,
        error = Box::pin(super::lookup::run(session)) => error,
        error = Box::pin(super::reconcile::run(session)) => error,
    }
}

/// Takes old rows away.
async fn old_rows(session: &Session, epoch: i64, retention: Duration, destinations: &watch::Receiver<Vec<String>>) -> DbError {
    let mut after = 0;
    loop {
        let configured = destinations.borrow().clone();
        let (old, looked_at) = match prune(session, epoch, retention, after, &configured).await {
            Ok(done) => done,
            Err(error) if error.is_refusal() => {
                tracing::warn!(error = %error, "old rows could not be taken away; it is tried again in {LATER:?}");
                (0, None)
            }
            Err(error) => return error,
        };
        // Entries that `pending` names stay behind; the next chunk begins after them.
        let full = old >= CHUNK;
        after = if full { looked_at.unwrap_or(0) } else { 0 };
        tokio::time::sleep(if full { NEXT } else { LATER }).await;
    }
}

/// One chunk: how many of its entries were old, and the last one looked at. Nothing of it stays where another owner took over.
async fn prune(session: &Session, epoch: i64, retention: Duration, after: i64, configured: &[String]) -> Result<(i64, Option<i64>), DbError> {
    let db = session.pool.get().await?;
    let params: [Param<'_>; 4] =
        [(&retention.as_secs_f64(), Type::FLOAT8), (&CHUNK, Type::INT8), (&after, Type::INT8), (&configured, Type::TEXT_ARRAY)];
    let mine: [Param<'_>; 1] = [(&epoch, Type::INT8)];
    let all = async {
        Ok::<_, DbError>(tokio::join!(
            db.batch_execute(PIN),
            db.query_typed(include_str!("../../sql/prune.sql"), &params),
            db.query_typed(include_str!("../../sql/prune_apple.sql"), &params[..1]),
            db.query_typed("delete from postback.command where answered < clock_timestamp() - interval '30 days'", &[]),
            db.query_typed("delete from postback.trouble where done < clock_timestamp() - interval '30 days'", &[]),
            // The last of them: it holds the row of the stream until the commit.
            db.query_typed("select postback.own($1)", &mine),
            db.batch_execute("commit"),
        ))
    };
    let (begun, rows, apple, commands, trouble, owned, ended) = within(ANSWER, all).await?;
    begun?;
    let rows = rows?;
    apple?;
    commands?;
    trouble?;
    owned?;
    ended?;
    Ok(rows.first().map_or((0, None), |row| (row.get(0), row.get(1))))
}
