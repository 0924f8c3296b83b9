//! What everybody's tables say, for whoever watches: asked of the database every two seconds at most, however often it is wanted, by
//! connections that deliveries do not need, within five seconds or not at all.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::Pool;
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::{
    health::{Health, Place},
    outbox::{
        DbError,
        inspect::{self, Status},
        schema,
    },
    ready::Known,
};

/// What was seen is good for that long, and for ten times as long as seeing it took: however many rows wait, looking at them costs
/// the server a tenth of its time at most.
const FRESH: Duration = Duration::from_secs(2);

/// Asks, and remembers for a moment.
#[derive(Debug)]
pub struct Observer {
    pool: Pool,
    last: Mutex<Option<(Instant, Arc<Seen>)>>,
}

/// What was found.
#[derive(Debug)]
pub struct Seen {
    /// When, by this machine's clock.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What.
    pub found: Found,
}

/// The database's answer.
#[derive(Debug)]
pub enum Found {
    /// None; why, in words.
    Away(String),
    /// The server is a standby in recovery.
    Standby,
    /// This.
    Here(Box<Status>),
}

/// Between two looks: what is asked again and again has the database no more than a tenth of the time, however much there is to tell.
pub fn rest(least: Duration, took: Duration) -> Duration {
    least.max(took * 10)
}

impl Observer {
    /// Nothing is asked before somebody wants to know.
    pub fn new(pool: Pool) -> Self {
        Self { pool, last: Mutex::new(None) }
    }

    /// What the database says, or said a moment ago. Who comes while it is being asked waits for the same answer.
    pub async fn look(&self) -> Arc<Seen> {
        let mut last = self.last.lock().await;
        if let Some((_, seen)) = last.as_ref().filter(|(asked, seen)| asked.elapsed() < seen.good_for()) {
            return Arc::clone(seen);
        }
        let (at, began) = (Timestamp::now(), Instant::now());
        let found = self.ask().await.unwrap_or_else(Found::Away);
        let seen = Arc::new(Seen { at, took: began.elapsed(), found });
        *last = Some((Instant::now(), Arc::clone(&seen)));
        seen
    }

    async fn ask(&self) -> Result<Found, String> {
        let db = self.pool.get().await.map_err(|error| DbError::from(error).to_string())?;
        let asked = async {
            schema::require(&db).await.map_err(|error| error.to_string())?;
            inspect::glance(&db).await.map_err(|error| error.to_string())
        };
        match asked.await {
            Ok(Some(status)) => Ok(Found::Here(Box::new(status))),
            Ok(None) => Ok(Found::Standby),
            Err(why) => {
                // What is left of a transaction, or of an answer that comes late, goes with the connection.
                drop(deadpool_postgres::Object::take(db));
                Err(why)
            }
        }
    }
}

impl Seen {
    /// Whether the database is back is asked again soon.
    fn good_for(&self) -> Duration {
        match self.found {
            Found::Here(_) => rest(FRESH, self.took),
            Found::Away(_) | Found::Standby => FRESH,
        }
    }

    /// What readiness is judged by: of these destinations, at the database's own time.
    pub fn known(&self, destinations: &[Arc<str>]) -> Known {
        match &self.found {
            Found::Away(why) => Known::Away(why.clone()),
            Found::Standby => Known::Standby,
            Found::Here(status) => Known::Seen(health(status, destinations)),
        }
    }
}

/// Of these destinations, at the database's own time.
pub fn health(status: &Status, destinations: &[Arc<str>]) -> Health {
    let there: BTreeMap<&str, &inspect::Standing> = status.destinations.iter().map(|one| (one.destination.as_str(), one)).collect();
    let place = |name: &Arc<str>| match there.get(&**name) {
        None => Place { destination: Arc::clone(name), ..Place::default() },
        Some(one) => Place {
            destination: Arc::clone(name),
            begun: true,
            worked: one.worked,
            halted: one.halted.is_some(),
            paused: one.paused,
            dead: one.dead,
            unknown: one.unknown,
            overdue: one.overdue.map(|since| age(since, status.now)),
        },
    };
    Health { owned: status.owned, trouble: status.trouble, paid_without_event: None, destinations: destinations.iter().map(place).collect() }
}

/// Nothing where it is yet to come.
pub fn age(of: Timestamp, now: Timestamp) -> Duration {
    let age = now.duration_since(of);
    if age.is_negative() { Duration::ZERO } else { age.unsigned_abs() }
}
