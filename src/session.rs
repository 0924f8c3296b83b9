//! One session of this process with the database: from taking its locks to losing them. Everything cached belongs to a session
//! and dies with it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::Pool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Fence,
    handed::Handed,
    metrics::Metrics,
    outbox::{owner::Keeper, stream::Cache},
    pulse::Pulses,
    settle::Settling,
};

/// What all tasks of a session share.
#[derive(Debug)]
pub struct Session {
    /// Holds the locks.
    pub keeper: Keeper,
    /// A handful of connections for all destinations.
    pub pool: Pool,
    /// Open while ownership was proved a moment ago.
    pub fence: Fence,
    /// When entries may be sent.
    pub settling: Settling,
    /// Pages of the stream that destinations share.
    pub cache: Cache,
    /// What the reader has just written.
    pub handed: Handed,
    /// Whether all loops turn.
    pub pulses: Pulses,
    /// Ends the session: a lost connection, a lost lock, another owner.
    pub lost: CancellationToken,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    grown: watch::Sender<i64>,
}

impl Session {
    /// A session that finds the stream at `last_seq`.
    pub fn new(keeper: Keeper, pool: Pool, fence: Fence, settle: Duration, last_seq: i64, pulses: Pulses, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            keeper,
            pool,
            fence,
            settling: Settling::new(settle, last_seq, Instant::now()),
            cache: Cache::default(),
            handed: Handed::new(last_seq),
            pulses,
            lost: CancellationToken::new(),
            metrics,
            grown: watch::Sender::new(last_seq),
        })
    }

    /// The stream ends at `last_seq` now; wakes the destinations.
    pub fn grew(&self, last_seq: i64) {
        self.settling.grew(last_seq, Instant::now());
        self.grown.send_replace(last_seq);
    }

    /// Wakes whenever the stream grows.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.grown.subscribe()
    }

    /// The last number of the stream.
    pub fn last_seq(&self) -> i64 {
        *self.grown.borrow()
    }
}
