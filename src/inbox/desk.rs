//! What becomes of one body: read, judged, kept, counted; and what the device is told.
//!
//! | what it is | the device is told |
//! |---|---|
//! | kept, had before, not Apple's, of another app, of a test | 200: it need not come again |
//! | no postback at all | 400; no device sends that |
//! | too often | SKAdNetwork 429, AdAttributionKit 500 |
//! | its body not within 5 s | SKAdNetwork 408, AdAttributionKit 500 |
//! | a connection too many, so that nobody knows what it is | 500 |
//! | not kept, because the database is away | SKAdNetwork 503, AdAttributionKit 500 |
//!
//! A device tries an SKAdNetwork postback again, up to nine times in nine days, after anything but 200. Of AdAttributionKit Apple says
//! that of 500 alone (unverified: after others), so that its postbacks are told that whenever they are to come again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use deadpool_postgres::{Object, Pool};

use super::Settings;
use crate::{
    apple::{
        Environment, Keys, Protocol, Received, Verdict,
        count::{self, Label},
        tell,
    },
    outbox::{
        DbError,
        apple::{self, Entry, Stored},
        connect::{self, Cancel, Database},
        identity, schema,
    },
};

/// Connections of its own: what a burst waits for is the disk, and that is the shop's.
const POOL: usize = 2;
/// For a connection, and for each statement: a device that hears nothing for long gives up by itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it is believed that the database is the right one.
const AT_HOME: Duration = Duration::from_secs(10);
/// The same words are not logged more often.
const SELDOM: Duration = Duration::from_secs(60);

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Do not come again.
    Done,
    /// This is no postback.
    Garbage,
    /// Too often; come again.
    TooOften,
    /// Its body did not come in time; come again.
    TooSlow,
    /// It could not be kept; come again.
    Away,
}

impl Told {
    /// As an HTTP status.
    pub(super) fn status(self, protocol: Protocol) -> u16 {
        match (self, protocol) {
            (Self::Done, _) => 200,
            (Self::Garbage, _) => 400,
            (Self::TooOften, Protocol::SkAdNetwork) => 429,
            (Self::TooSlow, Protocol::SkAdNetwork) => 408,
            (Self::Away, Protocol::SkAdNetwork) => 503,
            (Self::TooOften | Self::TooSlow | Self::Away, Protocol::AdAttributionKit) => 500,
        }
    }
}

/// Why a postback was not kept.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Schema(#[from] schema::SchemaError),
    #[error(transparent)]
    Identity(#[from] identity::Refusal),
    #[error("no connection within {}", crate::words::duration(PATIENCE))]
    Waiting,
}

/// Gives the connection back; one of which nobody knows what it would answer next is given up.
fn sound<T>(db: Object, answer: Result<T, DbError>) -> Result<T, DbError> {
    if answer.as_ref().is_err_and(|error| !error.is_refusal()) {
        drop(Object::take(db));
    }
    answer
}

pub(super) struct Desk {
    keys: &'static Keys,
    pool: Pool,
    cancel: Cancel,
    expect: Option<String>,
    at_home: Mutex<Option<Instant>>,
    told: Mutex<HashMap<&'static str, Instant>>,
}

impl Desk {
    pub(super) fn new(database: &Database) -> Result<Self, connect::ConnectError> {
        let (pool, cancel) = (connect::pool(database, POOL)?, Cancel::of(database)?);
        Ok(Self { keys: Keys::apple(), pool, cancel, expect: database.expect.clone(), at_home: Mutex::default(), told: Mutex::default() })
    }

    /// One body of a device.
    pub(super) async fn take(&self, protocol: Protocol, body: &[u8], settings: &Settings) -> Told {
        let received = match protocol.read(body, self.keys) {
            Ok(received) => received,
            Err(malformed) => {
                count::add(Label::unread(protocol, "malformed", malformed.word));
                return Told::Garbage;
            }
        };
        let Some(app) = settings.apps.get(&received.postback.app) else {
            count::add(Label::of(&received, Some("unknown_app")));
            return Told::Done;
        };
        self.remark(&received);
        let test = received.verdict == Verdict::Verified(Environment::Development);
        if test && !settings.development {
            count::add(Label::of(&received, None));
            return Told::Done;
        }
        let counts = received.verdict == Verdict::Verified(Environment::Production) && received.postback.won();
        let say = (counts && settings.forward).then(|| tell::saying(&received.postback, app, body));
        let entry = Entry {
            protocol: protocol.word(),
            version: received.postback.version.as_deref(),
            verdict: received.verdict.word(),
            reason: received.verdict.reason().map(|reason| reason.word()),
            environment: received.verdict.environment().map(Environment::word),
            identifier: &received.postback.identifier,
            sequence: received.postback.sequence,
            app: received.postback.app,
            won: received.postback.won(),
            fields: serde_json::Value::Object(tell::decoded(&received.postback, Some(app))).to_string(),
            body,
            keep: i32::try_from(settings.keep_unverified).unwrap_or(i32::MAX),
            say: say.map(|say| (say.kind.as_str(), say.reference, say.more.to_string())),
        };
        match self.keep(&entry).await {
            Ok(stored) => {
                count::add(Label::of(&received, (stored == Stored::Duplicate).then_some("duplicate")));
                Told::Done
            }
            Err(trouble) => {
                count::add(Label::of(&received, Some("failed")));
                self.seldom(
                    "failed",
                    || tracing::warn!(error = %trouble, "a postback of Apple's could not be kept; the device is asked to come again"),
                );
                Told::Away
            }
        }
    }

    async fn keep(&self, entry: &Entry<'_>) -> Result<Stored, Trouble> {
        let db = self.connection().await?;
        let kept = self.cancel.after(PATIENCE, &db, apple::receive(&db, entry)).await;
        Ok(sound(db, kept)?)
    }

    /// To a database that is the right one: a copy that this configuration happens to reach keeps nothing.
    async fn connection(&self) -> Result<Object, Trouble> {
        let db = tokio::time::timeout(PATIENCE, self.pool.get()).await.map_err(|_| Trouble::Waiting)?.map_err(DbError::from)?;
        let known = *self.at_home.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none_or(|since| since.elapsed() > AT_HOME) {
            let looked = async {
                schema::require(&db).await?;
                // Looked at and not written down: that is the owner's, who does more where something has moved.
                let found = identity::find(&db).await?;
                if found.standby {
                    return Err(DbError::Standby.into());
                }
                found.verdict(self.expect.as_deref())?;
                Ok::<_, Trouble>(())
            };
            if let Err(trouble) = self.cancel.after(PATIENCE, &db, looked).await {
                drop(Object::take(db));
                return Err(trouble);
            }
            *self.at_home.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(db)
    }

    /// Writes down what was counted since the last time; what cannot be written is, the next time.
    pub(super) async fn write_counts(&self) {
        let Some(batch) = count::unwritten() else { return };
        let written = async {
            let db = self.connection().await?;
            let written = self.cancel.after(PATIENCE, &db, apple::count(&db, &batch)).await;
            Ok::<_, Trouble>(sound(db, written)?)
        };
        match written.await {
            Ok(()) => count::written(batch.number),
            Err(trouble) => {
                self.seldom("counts", || tracing::warn!(error = %trouble, "the numbers of Apple's postbacks could not be written down yet"))
            }
        }
    }

    /// What a person should know of: Apple may have changed something.
    fn remark(&self, received: &Received) {
        if let Verdict::Unverifiable(reason) = received.verdict {
            let (protocol, app) = (received.postback.protocol.word(), received.postback.app);
            self.seldom(reason.word(), || tracing::warn!(protocol, app, "postbacks come that cannot be verified: {}", reason.text()));
        }
    }

    fn seldom(&self, what: &'static str, say: impl FnOnce()) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(what).is_none_or(|last| last.elapsed() > SELDOM) {
            told.insert(what, Instant::now());
            say();
        }
    }
}
