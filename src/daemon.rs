//! The composition root: takes the lock, runs both loops for as long as it is held, begins again when it is lost, stops in two
//! phases.

mod alarms;
mod away;
mod fleet;
pub(crate) mod trial;
pub(crate) mod watchdog;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    task::{JoinHandle, JoinSet},
};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use self::{away::Away, fleet::Fleet};
use crate::{
    clock::{Fence, since_boot},
    config::{Config, Database, Wake},
    follow,
    http::HttpError,
    ingest::{self, Pace},
    metrics::Metrics,
    notify,
    outbox::{
        DbError, connect,
        connect::ConnectError,
        identity::{self, IdentityError},
        listen, maintain,
        owner::{self, Keeper, Reading},
        pooler,
        pooler::SessionError,
        reconnect, schema,
    },
    pulse::{self, Pulse, Pulses},
    session::Session,
};

/// What the outside tells a running daemon.
#[derive(Debug)]
pub struct Signals {
    /// SIGTERM: no new requests, what is in flight is drained, then the lock is released.
    pub stop: CancellationToken,
    /// SIGHUP: a configuration that was read and found good.
    pub reload: Reload,
    /// Where loops say that they turn.
    pub pulses: Pulses,
    /// What is counted meanwhile.
    pub metrics: Arc<Metrics>,
}

/// The newest configuration. Whoever sends one never waits for the daemon, which may be waiting for its database.
#[derive(Debug)]
pub struct Reload(watch::Receiver<Option<Config>>);

impl Reload {
    /// None yet.
    pub fn new() -> (watch::Sender<Option<Config>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// Waits for the next one; for ever where nobody can send it any more.
    async fn next(&mut self) -> Config {
        while self.0.changed().await.is_ok() {
            if let Some(config) = self.0.borrow_and_update().clone() {
                return config;
            }
        }
        std::future::pending().await
    }
}

/// Why a daemon could not go on. A lost database is none of these: it reconnects.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A destination's client cannot be made.
    #[error("destination {name}: {source}")]
    Http {
        /// Which.
        name: String,
        /// Why.
        source: HttpError,
    },
    /// The schema is missing, older or newer than this binary.
    #[error(transparent)]
    Schema(#[from] schema::SchemaError),
    /// The database is a copy, or another one than is expected.
    #[error(transparent)]
    Identity(#[from] identity::Refusal),
    /// A pool in transaction mode where a session is needed.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// How often ownership is proved.
const PROVE_EVERY: Duration = Duration::from_secs(1);
/// A session that lasted so long begins again at once.
const WORKED: Duration = Duration::from_secs(5);

/// Runs until it is told to stop and has drained.
pub async fn run(mut config: Config, mut signals: Signals) -> Result<(), Error> {
    let sessions = watch::Sender::new(None);
    let pulse = signals.pulses.pulse("owner");
    let mut fleet = Fleet::new(&sessions, &signals.stop, &signals.pulses, &signals.metrics);
    let mut waits = reconnect::Waits::new();
    let mut away = Away::default();
    let (mut standby, mut reloaded) = (false, false);
    while !signals.stop.is_cancelled() {
        pulse.within(fleet.patience());
        fleet.apply(&config).await?;
        if std::mem::take(&mut reloaded) {
            told_of_reload(&config);
        }
        let began = Instant::now();
        // On the heap: it holds both loops.
        let ended = Box::pin(serve(&mut config, &mut signals, &sessions, &mut fleet, &pulse)).await;
        sessions.send_replace(None);
        signals.metrics.no_owner();
        // Only what has worked for a while is worth a quick retry; what fails at once would fail at once again.
        if began.elapsed() > WORKED {
            waits.reset();
        }
        if !matches!(ended, Err(Ended::Connect(_))) {
            away.over();
        }
        let was_standby = std::mem::replace(&mut standby, matches!(ended, Err(Ended::Database(DbError::Standby))));
        match ended {
            Ok(()) => {}
            Err(Ended::Fatal(error)) => {
                fleet.stop().await;
                return Err(error);
            }
            Err(Ended::Connect(error)) => {
                match away.say(&error.to_string(), Instant::now()) {
                    Some(since) => tracing::warn!(error = %error, away_s = since.as_secs(), "cannot reach the database; it is tried every second"),
                    None => tracing::debug!(error = %error, "still cannot reach the database"),
                }
                notify::status(&format!("waiting for the database: {error}"));
            }
            Err(Ended::Database(DbError::SessionOver)) => {}
            // It may stay one for months, and is asked every two seconds whether it still is.
            Err(Ended::Database(DbError::Standby)) if was_standby => {}
            Err(Ended::Database(error @ DbError::Standby)) => {
                tracing::info!("waiting for its promotion: {error}");
                notify::status(&format!("waiting for the server's promotion: {error}"));
            }
            Err(Ended::Database(error)) => {
                tracing::warn!(error = %error, "lost the database");
                notify::status(&format!("waiting for the database: {error}"));
            }
        }
        // What is started waits for its database as long as it takes: there is nothing that the service manager could do about it.
        notify::ready();
        let wait = waits.next().unwrap_or(owner::TRY_EVERY);
        pulse.within(wait);
        tokio::select! {
            () = signals.stop.cancelled() => {}
            new = signals.reload.next() => (config, reloaded) = (new, true),
            () = tokio::time::sleep(wait) => {}
        }
    }
    pulse.within(fleet.patience());
    fleet.stop().await;
    Ok(())
}

fn told_of_reload(config: &Config) {
    tracing::info!(destinations = config.destinations.len(), "configuration reloaded");
    notify::ready();
}

enum Ended {
    Fatal(Error),
    Connect(ConnectError),
    Database(DbError),
}

impl From<DbError> for Ended {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

impl From<ConnectError> for Ended {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<SessionError> for Ended {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Connect(error) => Self::Connect(error),
            SessionError::Database(error) => Self::Database(error),
            verdict => Self::Fatal(verdict.into()),
        }
    }
}

/// One session, from waiting for the locks to losing or releasing them.
async fn serve(
    config: &mut Config,
    signals: &mut Signals,
    sessions: &watch::Sender<Option<Arc<Session>>>,
    fleet: &mut Fleet,
    pulse: &Pulse,
) -> Result<(), Ended> {
    pulse.within(2 * config.database.connect_timeout + pulse::ANSWERS);
    let (keeper, closed) = tokio::select! {
        met = meet(config) => met?,
        () = signals.stop.cancelled() => return Ok(()),
    };
    notify::ready();
    let Some((reading, last_seq)) = take_place(&keeper, config, signals, fleet, pulse).await? else { return Ok(()) };
    pulse.within(2 * config.database.connect_timeout + pulse::ANSWERS);
    let fence = Fence::new(config.daemon.fence);
    let sent_at = since_boot();
    keeper.prove().await?;
    fence.prove(sent_at);
    let pool = connect::pool(&config.database, config.database.pool)?;
    let (db, _) = connect::connect(&config.database, "ingest").await?;
    // Again, because waiting for the locks may have taken days, and this is where reading and sending begin.
    at_home(&db, config).await?;
    let session = Session::new(keeper, pool, fence, config.daemon.settle, last_seq, signals.pulses.clone(), Arc::clone(&signals.metrics));
    sessions.send_replace(Some(Arc::clone(&session)));
    let cut = closed.abort_handle();
    let ended = hold(config, signals, &session, fleet, pulse, (closed, reading, db)).await;
    if ended.is_ok() {
        // Phase two of a stop: destinations drain on a session that is still good.
        fleet.drain(&session, pulse).await;
        pulse.within(pulse::ANSWERS);
        session.keeper.release().await?;
    }
    session.fence.close();
    session.lost.cancel();
    // A destination that sits out may hold the session for a while yet; its locks must be free for the next one at once.
    cut.abort();
    ended
}

/// A session with a database that is the right one, introduced; the task ends when the connection does.
async fn meet(config: &Config) -> Result<(Keeper, JoinHandle<()>), Ended> {
    let (lock, closed) = greet(&config.database, "owner").await?;
    at_home(&lock, config).await?;
    Ok((Keeper::introduce(lock, &config.daemon.instance, config.daemon.fence).await?, closed))
}

/// A session with a database that has the schema of this binary.
async fn greet(database: &Database, purpose: &str) -> Result<(Client, JoinHandle<()>), Ended> {
    let (db, closed) = pooler::session(database, purpose).await?;
    schema::require(&db).await.map_err(|error| match error {
        // The connection went away while it was asked: that is no verdict on the schema.
        schema::SchemaError::Database(lost) => Ended::Database(lost),
        verdict => Ended::Fatal(verdict.into()),
    })?;
    Ok((db, closed))
}

/// Nothing is read or sent in a database that is not at home here.
async fn at_home(db: &Client, config: &Config) -> Result<(), Ended> {
    match identity::verify(db, config.database.expect.as_deref()).await {
        Ok(_) => Ok(()),
        Err(IdentityError::Database(error)) => Err(Ended::Database(error)),
        Err(IdentityError::Refused(refusal)) => Err(Ended::Fatal(refusal.into())),
    }
}

/// Waits until this process is the one that reads the shop's commits, unless it is one of several that share the destinations:
/// those begin at once, whoever reads. `None`: told to stop meanwhile.
async fn take_place(
    keeper: &Keeper,
    config: &mut Config,
    signals: &mut Signals,
    fleet: &mut Fleet,
    pulse: &Pulse,
) -> Result<Option<(Option<Reading>, i64)>, Ended> {
    let mut told = false;
    loop {
        pulse.within(pulse::ANSWERS);
        if let Some(reading) = keeper.take_reading().await? {
            return Ok(Some((Some(reading), reading.last_seq)));
        }
        if config.daemon.destinations.is_some() {
            return Ok(Some((None, keeper.last_seq().await?)));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!("standing by: another daemon holds the lock of this database");
            notify::status("standing by: another daemon holds the lock of this database");
        }
        tokio::select! {
            () = signals.stop.cancelled() => return Ok(None),
            new = signals.reload.next() => {
                *config = new;
                pulse.within(fleet.patience());
                fleet.apply(config).await.map_err(Ended::Fatal)?;
                told_of_reload(config);
            }
            () = tokio::time::sleep(owner::TRY_EVERY) => {}
        }
        // Others see that somebody stands by.
        keeper.prove().await?;
    }
}

/// Both loops, the proof of ownership, LISTEN and reloads, until one of them ends.
async fn hold(
    config: &mut Config,
    signals: &mut Signals,
    session: &Arc<Session>,
    fleet: &mut Fleet,
    pulse: &Pulse,
    (closed, reading, mut db): (JoinHandle<()>, Option<Reading>, Client),
) -> Result<(), Ended> {
    let woken = Arc::new(Notify::new());
    let mut helpers = JoinSet::new();
    let listening = config.daemon.wake == Wake::Listen;
    if listening {
        helpers.spawn(listen::run(config.database.clone(), Arc::clone(&woken), session.lost.clone(), Arc::clone(&session.metrics)));
    } else {
        session.metrics.listens_not();
    }
    say_at_work(session);
    let pace = Pace { busy: config.daemon.poll, idle: config.daemon.poll_idle };
    let (reloads, names, stop) = (fleet.reloads(), fleet.names(), signals.stop.clone());
    // What changes of [alert] takes a new session.
    let alerting = config.clone();
    // Without `direct` the owner's lock, which no pool in transaction mode may hold, was taken by the same URL.
    let (retention, is_session) = (config.daemon.retention, config.database.direct.is_none());
    let reads = async {
        let reading = match reading {
            Some(reading) => reading,
            None => match follow::run(session, &db, pace, || reloads.all(), &stop).await? {
                Some(reading) => {
                    // What its former owner wrote last may lie behind what was seen from outside.
                    session.grew(reading.last_seq);
                    reading
                }
                None => return Ok(()),
            },
        };
        let Reading { epoch, last_seq } = reading;
        session.metrics.owner(epoch);
        tracing::info!(epoch, last_seq, "owner of the outbox");
        say_at_work(session);
        // Needs a short lock on the shop's way; where it is not to be had, polling goes on and the next session tries again.
        if let Err(error) = schema::wake(&db, listening).await {
            tracing::warn!(error = %error, "NOTIFY could not be switched; polling goes on");
        }
        tokio::select! {
            biased;
            read = ingest::run(session, epoch, (&mut db, is_session), pace, &woken, || reloads.all(), &stop) => read,
            lost = maintain::run(session, epoch, retention, &names) => Err(lost),
            lost = alarms::run(session, epoch, &alerting) => Err(lost),
        }
    };
    let working = async {
        tokio::select! {
            biased;
            () = session.lost.cancelled() => Err(DbError::SessionOver),
            _ = closed => Err(DbError::LockLost),
            lost = prove(session, pulse) => Err(lost),
            read = reads => read,
        }
    };
    tokio::pin!(working);
    loop {
        let new = tokio::select! {
            biased;
            ended = &mut working => return ended.map_err(Ended::from),
            new = signals.reload.next() => new,
        };
        let same_session = new.database == config.database && new.daemon == config.daemon && new.alert == config.alert;
        *config = new;
        // Destinations that change are drained first, which may take a while: ownership is proved and commits are read meanwhile.
        tokio::select! {
            biased;
            ended = &mut working => return ended.map_err(Ended::from),
            applied = fleet.apply(config) => applied.map_err(Ended::Fatal)?,
        }
        told_of_reload(config);
        say_at_work(session);
        if !same_session {
            tracing::info!("[database], [daemon] or [alert] changed; a new session begins");
            return Err(DbError::SessionOver.into());
        }
    }
}

fn say_at_work(session: &Session) {
    notify::status(match session.keeper.reads() {
        true => "owner: reads the shop's commits and sends",
        false => "sends; another daemon reads the shop's commits",
    });
}

/// Proves ownership every second and keeps the fence open; returns why it could not.
async fn prove(session: &Session, pulse: &Pulse) -> DbError {
    loop {
        pulse.within(PROVE_EVERY * 4);
        let sent_at = since_boot();
        match tokio::time::timeout(PROVE_EVERY * 3, session.keeper.prove()).await {
            Ok(Ok(())) => session.fence.prove(sent_at),
            Ok(Err(error)) => return error,
            Err(_) => return DbError::Unexpected("no answer to the proof of ownership within 3 s".into()),
        }
        tokio::time::sleep(PROVE_EVERY).await;
    }
}
