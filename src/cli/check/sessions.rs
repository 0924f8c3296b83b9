//! Whether the owner's lock and LISTEN get a session of their own, or a pooler stands between.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_postgres::Client;

use super::{Exit, Report, exit_of};
use crate::outbox::{
    DbError,
    connect::{self, Database},
    pooler::{self, Between, SessionError},
};

/// How long a notification may take.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// `db` came by `url`.
pub(super) async fn examine(database: &Database, db: &Client, report: &mut Report) {
    match pooler::between(database, db).await {
        Ok(Between::Nothing) => report.ok("[database] url: a direct connection"),
        Ok(Between::Session) => report.ok("[database] url: a pooler that keeps one server process for one client; everything works there"),
        Ok(Between::Transaction) if database.direct.is_some() => {
            report.ok("[database] url: a pool in transaction mode; statements go through it, the owner's lock and LISTEN by [database] direct");
        }
        Ok(Between::Transaction) => {
            return report.error(
                Exit::Usage,
                "[database] url is a pool in transaction mode: reading, sending and all commands work there, but the owner's lock (and LISTEN) do not, \
                 so \"postbackd run\" will not start",
                "set [database] direct = \"postgres://..\" to PostgreSQL itself or to a pool in session mode; two connections go there, the rest stays with url",
            );
        }
        Err(error) => return wrong(error, report),
    }
    match session(database, db).await {
        Ok(Some(heard)) => report.ok(format!("the owner's lock and LISTEN have a session (heard a notification after {} ms)", heard.as_millis())),
        Ok(None) => {
            report.error(Exit::Failed, "LISTEN hears nothing that url notifies", "look for a proxy between; wake = \"poll\" does without LISTEN")
        }
        Err(error) => wrong(error, report),
    }
}

fn wrong(error: SessionError, report: &mut Report) {
    match &error {
        SessionError::Connect(why) => report.error(exit_of(why), error.to_string(), "see [database] direct, pg_hba.conf and max_connections"),
        SessionError::Database(_) => report.error(Exit::Failed, error.to_string(), ""),
        // Their texts say what to do.
        SessionError::Pooled { .. } | SessionError::Elsewhere { .. } => report.error(Exit::Usage, error.to_string(), ""),
    }
}

/// What NOTIFY takes away from the shop.
pub(super) async fn prepared(db: &Client, report: &mut Report) -> Result<(), DbError> {
    let rows = db.query_typed("select current_setting('max_prepared_transactions')::int > 0", &[]).await?;
    if rows.first().is_some_and(|row| row.get(0)) {
        let what = "wake = \"listen\": PostgreSQL refuses PREPARE TRANSACTION after a NOTIFY, and this server allows prepared transactions";
        let hint = "if the shop prepares the transactions of its orders (two-phase commit, XA), set wake = \"poll\": they would fail";
        report.add("warning", what, Some(hint.into()));
    }
    Ok(())
}

/// As `run` will have it: after how long a notification was heard there, if at all.
async fn session(database: &Database, db: &Client) -> Result<Option<Duration>, SessionError> {
    let (_lock, _) = pooler::session(database, "check").await?;
    let heard = Arc::new(Notify::new());
    let bell = Arc::clone(&heard);
    let (listening, _) = connect::connect_listening(&database.for_sessions(), "check", move |_| bell.notify_one()).await?;
    let channel = format!("postback_check_{}", std::process::id());
    listening.batch_execute(&format!("listen {channel}")).await.map_err(DbError::from)?;
    let began = Instant::now();
    db.batch_execute(&format!("notify {channel}")).await.map_err(DbError::from)?;
    Ok(tokio::time::timeout(HEARD_WITHIN, heard.notified()).await.is_ok().then(|| began.elapsed()))
}
