//! LISTEN as a mere wake-up: a connection of its own that tells the reader to look now. Polling goes on whatever happens here.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    DbError,
    connect::{self, ConnectError, Database},
    reconnect::Waits,
};
use crate::metrics::Metrics;

/// The channel that the triggers notify.
pub const CHANNEL: &str = "postback_wake";

#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("the connection ended")]
    Ended,
}

/// Listens until the session ends; comes back by itself when the connection is lost.
pub async fn run(database: Database, woken: Arc<Notify>, lost: CancellationToken, metrics: Arc<Metrics>) {
    let mut waits = Waits::new();
    metrics.listens(false);
    loop {
        let error = tokio::select! {
            () = lost.cancelled() => return metrics.listens(false),
            error = listen(&database, &woken, &mut waits, &metrics) => error,
        };
        metrics.listens(false);
        tracing::warn!(error = %error, "LISTEN lost; polling goes on, and it is tried again");
        let wait = waits.next().unwrap_or_default();
        tokio::select! {
            () = lost.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Returns why it could not go on.
async fn listen(database: &Database, woken: &Arc<Notify>, waits: &mut Waits, metrics: &Metrics) -> ListenError {
    let heard = Arc::clone(woken);
    let (client, driver) = match connect::connect_listening(&database.for_sessions(), "listen", move |_| heard.notify_one()).await {
        Ok(connected) => connected,
        Err(error) => return error.into(),
    };
    if let Err(error) = client.batch_execute(&format!("listen {CHANNEL}")).await {
        return DbError::from(error).into();
    }
    waits.reset();
    metrics.listens(true);
    // What committed before the LISTEN took effect notified nobody.
    woken.notify_one();
    let _ = driver.await;
    ListenError::Ended
}
