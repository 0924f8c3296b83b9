//! LISTEN as a mere wake-up: a connection of its own that tells the reader to look now. Polling goes on whatever happens here.

use std::{future::poll_fn, sync::Arc};

use tokio::sync::Notify;
use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;

use super::{connect, reconnect};
use crate::config::Database;

/// The channel that the triggers notify.
pub const CHANNEL: &str = "postback_wake";

/// Listens until the session ends; comes back by itself when the connection is lost.
pub async fn run(database: Database, woken: Arc<Notify>, lost: CancellationToken) {
    let mut waits = reconnect::waits();
    while !lost.is_cancelled() {
        tokio::select! {
            () = lost.cancelled() => return,
            result = listen(&database, &woken, &mut waits) => {
                if let Err(error) = result {
                    tracing::warn!(error = %error, "LISTEN lost; polling goes on, and it is tried again");
                }
            }
        }
        let wait = waits.next_wait();
        tokio::select! {
            () = lost.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn listen(database: &Database, woken: &Notify, waits: &mut reconnect::Waits) -> Result<(), connect::ConnectError> {
    let (client, mut connection) = connect::raw(database, "listen").await?;
    let messages = async {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(_))) => woken.notify_one(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    };
    let registering = async {
        client.batch_execute(&format!("listen {CHANNEL}")).await?;
        waits.reset();
        // What committed before the LISTEN took effect notified nobody.
        woken.notify_one();
        std::future::pending::<Result<(), tokio_postgres::Error>>().await
    };
    tokio::select! {
        ended = messages => ended?,
        failed = registering => failed?,
    }
    Ok(())
}
