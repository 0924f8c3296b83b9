//! `[web] listen`: health, metrics and the page. It reads what the daemon wrote and, like every command, changes nothing but by
//! `postback.command`. It has connections of its own, so that a page that takes long takes nothing from deliveries.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use deadpool_postgres::Pool;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    outbox::connect::{self, ConnectError},
    serve::{self, Limits},
};

/// Connections to the database, for everybody who looks.
const POOL: usize = 3;

const LIMITS: Limits = Limits { connections: 128, head: Duration::from_secs(10), grace: Duration::from_secs(2) };

/// What handlers share.
#[derive(Clone)]
pub struct Web {
    /// The configuration in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// Connections that deliveries do not need.
    pub pool: Pool,
    /// Streams of events end with it.
    pub stop: CancellationToken,
}

impl Web {
    /// Nothing is connected before somebody looks.
    pub fn new(config: watch::Receiver<Arc<Config>>, stop: CancellationToken) -> Result<Self, ConnectError> {
        let pool = connect::pool(&config.borrow().database, POOL)?;
        Ok(Self { config, pool, stop })
    }

    /// Serves until told to stop.
    pub async fn serve(self, listener: TcpListener) {
        let stop = self.stop.clone();
        serve::serve(listener, routes(self), LIMITS, stop).await;
    }
}

fn routes(web: Web) -> Router {
    Router::new().route("/live", get(live)).with_state(web)
}

/// The process and its runtime answer; nothing else is said by it.
async fn live() -> &'static str {
    "alive\n"
}
