//! Follows the stream a few seconds behind and writes down what no index would find otherwise, so that neither the shop's
//! transaction nor the one that reads it pays for it: see sql/lookup.sql.

use std::time::Duration;

use tokio_postgres::{Client, types::Type};

use super::{ANSWER, DbError, PIN, within};
use crate::session::Session;

/// Entries of the stream in one transaction.
const CHUNK: i32 = 2_000;
/// After a full chunk: ten thousand entries a second at most.
const NEXT: Duration = Duration::from_millis(200);
/// When it has caught up. What is behind it is looked through by whoever asks.
const LATER: Duration = Duration::from_secs(5);

/// Walks for as long as this process reads the shop's commits.
pub async fn run(session: &Session) -> DbError {
    loop {
        let walked = async {
            let db = session.pool.get().await?;
            walk(&db).await
        };
        let wait = match walked.await {
            Ok(looked_at) if looked_at >= i64::from(CHUNK) => NEXT,
            Ok(_) => LATER,
            Err(error) if error.is_refusal() => {
                tracing::warn!(error = %error, "events could not be sorted in for report and order; it is tried again in a minute");
                Duration::from_secs(60)
            }
            Err(error) => return error,
        };
        tokio::time::sleep(wait).await;
    }
}

/// One chunk; how many entries were looked at. Two that walk at once take turns at the row of `postback.reached`.
pub async fn walk(db: &Client) -> Result<i64, DbError> {
    let all = async {
        Ok::<_, DbError>(tokio::join!(
            db.batch_execute(PIN),
            db.query_typed(include_str!("../../sql/lookup.sql"), &[(&CHUNK, Type::INT4)]),
            db.batch_execute("commit"),
        ))
    };
    let (begun, rows, ended) = within(ANSWER, all).await?;
    begun?;
    let rows = rows?;
    ended?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}
