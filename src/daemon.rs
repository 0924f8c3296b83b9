//! The composition root: takes the lock, runs both loops for as long as it is held, begins again when it is lost, stops in two
//! phases.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::{JoinHandle, JoinSet},
};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Fence, since_boot},
    config::{Config, Wake},
    destination::Destination,
    http::{self, HttpError},
    ingest::{self, Pace},
    limit::Limits,
    outbox::{DbError, connect, connect::ConnectError, listen, maintain, owner, reconnect, schema},
    sender::{Control, Sender},
    session::Session,
};

/// What the outside tells a running daemon.
#[derive(Debug)]
pub struct Signals {
    /// SIGTERM: no new requests, what is in flight is drained, then the lock is released.
    pub stop: CancellationToken,
    /// SIGHUP: a configuration that was read and found good.
    pub reload: mpsc::Receiver<Config>,
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
}

/// How often ownership is proved.
const PROVE_EVERY: Duration = Duration::from_secs(1);
/// A session that lasted so long begins again at once.
const WORKED: Duration = Duration::from_secs(5);
/// How often a standby tries for the lock.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// Runs until it is told to stop and has drained.
pub async fn run(mut config: Config, mut signals: Signals) -> Result<(), Error> {
    let sessions = watch::Sender::new(None);
    let mut fleet = Fleet::new(&sessions, &signals.stop);
    let mut waits = reconnect::Waits::new();
    while !signals.stop.is_cancelled() {
        fleet.apply(&config).await?;
        let began = Instant::now();
        let ended = serve(&mut config, &mut signals, &sessions, &mut fleet).await;
        sessions.send_replace(None);
        // Only what has worked for a while is worth a quick retry; what fails at once would fail at once again.
        if began.elapsed() > WORKED {
            waits.reset();
        }
        match ended {
            Ok(()) => {}
            Err(Ended::Fatal(error)) => {
                fleet.stop().await;
                return Err(error);
            }
            Err(Ended::Connect(error)) => tracing::warn!(error = %error, "cannot reach the database"),
            Err(Ended::Database(DbError::SessionOver)) => {}
            Err(Ended::Database(error)) => tracing::warn!(error = %error, "lost the database"),
        }
        let wait = waits.next().unwrap_or(TRY_EVERY);
        tokio::select! {
            () = signals.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    fleet.stop().await;
    Ok(())
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

/// One session, from waiting for the lock to losing or releasing it.
async fn serve(config: &mut Config, signals: &mut Signals, sessions: &watch::Sender<Option<Arc<Session>>>, fleet: &mut Fleet) -> Result<(), Ended> {
    let (lock, _) = connect::connect(&config.database, "owner").await?;
    schema::require(&lock).await.map_err(|error| match error {
        // The connection went away while it was asked: that is no verdict on the schema.
        schema::SchemaError::Database(lost) => Ended::Database(lost),
        verdict => Ended::Fatal(verdict.into()),
    })?;
    owner::prepare(&lock).await?;
    let mut told = false;
    while !owner::try_lock(&lock).await? {
        if !std::mem::replace(&mut told, true) {
            tracing::info!("standing by: another daemon holds the lock of this database");
        }
        tokio::select! {
            () = signals.stop.cancelled() => return Ok(()),
            Some(new) = signals.reload.recv() => { *config = new; fleet.apply(config).await.map_err(Ended::Fatal)?; }
            () = tokio::time::sleep(TRY_EVERY) => {}
        }
    }
    let sent_at = since_boot();
    let (epoch, last_seq) = owner::begin(&lock, &config.daemon.instance).await?;
    let fence = Fence::new(config.daemon.fence);
    fence.prove(sent_at);
    let pool = connect::pool(&config.database, config.database.pool)?;
    let (reading, _) = connect::connect(&config.database, "ingest").await?;
    reading.batch_execute(connect::WRITER).await.map_err(DbError::from)?;
    // Needs a short lock on the shop's way; where it is not to be had, polling goes on and the next session tries again.
    if let Err(error) = schema::wake(&reading, config.daemon.wake == Wake::Listen).await {
        tracing::warn!(error = %error, "NOTIFY could not be switched; polling goes on");
    }
    let session = Session::new(epoch, pool, fence, config.daemon.settle, last_seq);
    tracing::info!(epoch, last_seq, "owner of the outbox");
    sessions.send_replace(Some(Arc::clone(&session)));
    let ended = hold(config, signals, &session, fleet, &lock, reading).await;
    if ended.is_ok() {
        // Phase two of a stop: destinations drain on a session that is still good.
        fleet.drain(&session, &lock).await;
        owner::release(&lock, epoch).await?;
    }
    session.fence.close();
    session.lost.cancel();
    ended
}

/// Both loops, the proof of ownership, LISTEN and reloads, until one of them ends.
async fn hold(
    config: &mut Config,
    signals: &mut Signals,
    session: &Arc<Session>,
    fleet: &mut Fleet,
    lock: &Client,
    reading: Client,
) -> Result<(), Ended> {
    let woken = Arc::new(Notify::new());
    let mut helpers = JoinSet::new();
    if config.daemon.wake == Wake::Listen {
        helpers.spawn(listen::run(config.database.clone(), Arc::clone(&woken), session.lost.clone()));
    }
    let pace = Pace { busy: config.daemon.poll, idle: config.daemon.poll_idle };
    let (reloads, stop) = (fleet.reloads(), signals.stop.clone());
    let ingesting = ingest::run(session, reading, pace, &woken, move || reloads.all(), &stop);
    let retention = config.daemon.retention;
    let working = async {
        tokio::select! {
            biased;
            () = session.lost.cancelled() => Err(DbError::SessionOver),
            lost = prove(session, lock) => Err(lost),
            read = ingesting => read,
            lost = maintain::run(session, retention) => Err(lost),
        }
    };
    tokio::pin!(working);
    loop {
        let new = tokio::select! {
            biased;
            ended = &mut working => return ended.map_err(Ended::from),
            Some(new) = signals.reload.recv() => new,
        };
        let same_session = new.database == config.database && new.daemon == config.daemon;
        *config = new;
        // Destinations that change are drained first, which may take a while: ownership is proved and commits are read meanwhile.
        tokio::select! {
            biased;
            ended = &mut working => return ended.map_err(Ended::from),
            applied = fleet.apply(config) => applied.map_err(Ended::Fatal)?,
        }
        tracing::info!(destinations = config.destinations.len(), "configuration reloaded");
        if !same_session {
            tracing::info!("[database] or [daemon] changed; a new session begins");
            return Err(DbError::SessionOver.into());
        }
    }
}

/// Proves ownership every second and keeps the fence open; returns why it could not.
async fn prove(session: &Session, lock: &Client) -> DbError {
    loop {
        let sent_at = since_boot();
        match tokio::time::timeout(PROVE_EVERY * 3, owner::prove(lock, session.epoch)).await {
            Ok(Ok(())) => session.fence.prove(sent_at),
            Ok(Err(error)) => return error,
            Err(_) => return DbError::Unexpected("no answer to the proof of ownership within 3 s".into()),
        }
        tokio::time::sleep(PROVE_EVERY).await;
    }
}

/// The destinations' tasks.
struct Fleet {
    sessions: watch::Receiver<Option<Arc<Session>>>,
    stop: CancellationToken,
    drain: Duration,
    limits: Limits,
    tokens: Arc<http::token::Tokens>,
    running: HashMap<Arc<str>, Running>,
    /// Told to stop, and perhaps still draining: nobody else may begin under such a name.
    leaving: Vec<Running>,
    reloads: Reloads,
}

struct Running {
    destination: Arc<Destination>,
    fingerprint: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Tells every destination to read its rows again.
#[derive(Clone, Default)]
struct Reloads(Arc<std::sync::Mutex<HashMap<Arc<str>, Arc<Notify>>>>);

impl Reloads {
    fn all(&self) {
        let reloads = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        reloads.values().for_each(|reload| reload.notify_one());
    }

    fn of(&self, name: &Arc<str>) -> Arc<Notify> {
        let mut reloads = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(reloads.entry(Arc::clone(name)).or_default())
    }
}

impl Fleet {
    fn new(sessions: &watch::Sender<Option<Arc<Session>>>, stop: &CancellationToken) -> Self {
        Self {
            sessions: sessions.subscribe(),
            stop: stop.clone(),
            drain: Duration::from_secs(10),
            limits: Limits::default(),
            tokens: Arc::new(http::token::Tokens::of_service()),
            running: HashMap::new(),
            leaving: Vec::new(),
            reloads: Reloads::default(),
        }
    }

    fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// Makes the running tasks those of the configuration: what did not change goes on undisturbed, what changed or went is
    /// drained first, so that nothing is sent twice.
    async fn apply(&mut self, config: &Config) -> Result<(), Error> {
        let wanted: Vec<Arc<Destination>> = config.destinations.clone();
        // Every client is made before anything is stopped: a bad one leaves all as it was.
        let mut clients = HashMap::new();
        for to in &wanted {
            let client = http::Client::new(&to.route, &to.limits).map_err(|source| Error::Http { name: to.name.to_string(), source })?;
            clients.insert(Arc::clone(&to.name), http::token::Authorized::new(Arc::new(client), &self.tokens));
        }
        self.drain = config.daemon.drain;
        self.limits = Limits::new(wanted.iter().map(|to| (&**to).into()), &self.limits);
        let same = |running: &Running, to: &Destination| running.fingerprint == config.fingerprint(&to.name);
        let gone: Vec<Arc<str>> = self
            .running
            .iter()
            .filter(|(name, running)| !wanted.iter().any(|to| to.name == **name && same(running, to)))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        self.leaving.extend(gone.iter().filter_map(|name| self.running.remove(name)));
        self.leaving.iter().for_each(|running| running.stop.cancel());
        while let Some(running) = self.leaving.last_mut() {
            if (&mut running.task).await.is_err() {
                tracing::error!(destination = %running.destination.name, "destination task failed while it was stopped");
            }
            self.leaving.pop();
        }
        for to in wanted {
            if self.running.contains_key(&to.name) {
                continue;
            }
            let Some(client) = clients.remove(&to.name) else { continue };
            let stop = self.stop.child_token();
            let control = Control { sessions: self.sessions.clone(), stop: stop.clone(), drain: self.drain, reload: self.reloads.of(&to.name) };
            let sender = Sender::new(Arc::clone(&to), Arc::new(client), self.limits.of(&to.name));
            let task = tokio::spawn(sender.run(control));
            let fingerprint = config.fingerprint(&to.name).to_owned();
            self.running.insert(Arc::clone(&to.name), Running { destination: to, fingerprint, stop, task });
        }
        Ok(())
    }

    /// Waits for the destinations to drain, proving ownership meanwhile so that their last marks count.
    async fn drain(&mut self, session: &Session, lock: &Client) {
        let tasks: Vec<Running> = self.running.drain().map(|(_, running)| running).collect();
        let all = async {
            for running in tasks {
                let _ = running.task.await;
            }
        };
        tokio::select! {
            () = all => {}
            lost = prove(session, lock) => tracing::warn!(error = %lost, "lost the database while draining"),
        }
    }

    async fn stop(&mut self) {
        for (_, running) in self.running.drain() {
            running.stop.cancel();
            let _ = running.task.await;
        }
    }
}
