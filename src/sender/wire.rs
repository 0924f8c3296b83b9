//! What a destination has on the wire. It outlives sessions: an answer is a fact, also when the database is away.

use std::{
    borrow::Cow,
    collections::HashSet,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    breaker::Ticket,
    delivery::Delivery,
    http::Transport,
    metrics::{Meter, Purpose},
    outcome::{Outcome, Reply, SendError},
    request::Request,
};

/// One delivery of a request.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its entry.
    pub seq: i64,
    /// Refunds before it that its restatement says too.
    pub covers: Vec<i64>,
    /// What is said.
    pub delivery: Delivery,
    /// Rebuilt after a crash, and may differ from what was sent.
    pub uncertain: bool,
}

impl Sent {
    /// Its entry and those that it covers, in stream order.
    pub fn all(&self) -> impl Iterator<Item = i64> + use<> {
        self.covers.clone().into_iter().chain([self.seq])
    }
}

/// The deliveries side by side, as adapters take them. Most requests hold one, which is not copied.
pub fn deliveries(batch: &[Sent]) -> Cow<'_, [Delivery]> {
    match batch {
        [one] => Cow::Borrowed(std::slice::from_ref(&one.delivery)),
        many => Cow::Owned(many.iter().map(|sent| sent.delivery.clone()).collect()),
    }
}

/// A request with what it is about.
#[derive(Debug)]
pub struct Prepared {
    /// To send.
    pub request: Request,
    /// In the order of the request.
    pub batch: Vec<Sent>,
}

/// An answer, or the lack of one.
#[derive(Debug)]
pub struct Back {
    /// What was sent.
    pub batch: Vec<Sent>,
    /// What came.
    pub reply: Result<Reply, SendError>,
    /// From start to end.
    pub took: Duration,
    /// For the breaker, once.
    pub ticket: Option<Ticket>,
    /// On the batch as it is now, where a part of it was sent again; `None`: not looked at yet.
    pub verdicts: Option<Vec<Outcome>>,
}

type Flight = Pin<Box<dyn Future<Output = Back> + Send>>;

/// The requests in flight.
pub struct Wire {
    meter: Arc<Meter>,
    flights: FuturesUnordered<Flight>,
    entries: HashSet<i64>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wire({} in flight)", self.flights.len())
    }
}

impl Wire {
    /// Empty.
    pub fn new(meter: Arc<Meter>) -> Self {
        Self { meter, flights: FuturesUnordered::new(), entries: HashSet::new() }
    }

    /// Whether an entry is on the wire now.
    pub fn has(&self, seq: i64) -> bool {
        self.entries.contains(&seq)
    }

    /// Nothing in flight.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Puts a request on the wire.
    pub fn send(&mut self, prepared: Prepared, ticket: Ticket, transport: &Arc<dyn Transport>, deadline: Duration) {
        self.entries.extend(prepared.batch.iter().flat_map(Sent::all));
        let Prepared { request, batch } = prepared;
        // A task of its own: building requests and reading answers is work for two processors. Given up with the flight.
        let sending = AbortOnDropHandle::new(tokio::spawn(transport.send(request, deadline)));
        let began = Instant::now();
        self.flights.push(Box::pin(async move {
            let reply = match sending.await {
                Ok(reply) => reply,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime ends, and this with it.
                Err(_) => std::future::pending().await,
            };
            Back { batch, reply, took: began.elapsed(), ticket: Some(ticket), verdicts: None }
        }));
        self.meter.flying(self.flights.len());
    }

    /// The next answer; pending for ever while nothing is in flight. Cancel-safe.
    pub async fn next(&mut self) -> Back {
        if self.flights.is_empty() {
            return std::future::pending().await;
        }
        match self.flights.next().await {
            Some(back) => {
                // Here and not where it is judged: that may be done again in a later session.
                self.meter.ended(Purpose::Deliver, &back.reply, back.took);
                self.meter.flying(self.flights.len());
                for seq in back.batch.iter().flat_map(Sent::all) {
                    self.entries.remove(&seq);
                }
                back
            }
            None => std::future::pending().await,
        }
    }
}
