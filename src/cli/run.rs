//! `postbackd run`: configuration, telemetry, runtime, signals, daemon.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::{Common, Exit, Failure};
use crate::{
    config::{Config, SecretMode},
    daemon::{self, Reload, Signals, trial, watchdog},
    metrics::Metrics,
    notify,
    pulse::{self, Pulses},
    serve, telemetry,
    web::Web,
};

pub(super) const TEACH: &str = "\
Signals:
  TERM, INT   no new requests; those in flight end within [daemon] drain; a second one ends at once
  HUP         the configuration is read again; if it is wrong, an error is logged and everything stays as it is

A database that cannot be reached is waited for. Examples:
  postbackd run --config ./postbackd.toml
  POSTBACKD_LOG=debug postbackd run";

/// Runs until a signal asks it to stop and it has drained.
pub fn run(common: &Common) -> Result<Exit, Failure> {
    let config = common.load(SecretMode::Reveal)?;
    telemetry::start(&config.log);
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    // The work is waiting, for PostgreSQL and for platforms: two threads are plenty.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("postbackd")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    runtime.block_on(serve(common, config))
}

async fn serve(common: &Common, config: Config) -> Result<Exit, Failure> {
    let heard = Heard::new().map_err(|error| Failure::new(Exit::Failed, format!("signals cannot be received: {error}")))?;
    let stop = CancellationToken::new();
    let (reload, reloads) = Reload::new();
    let metrics = Arc::new(Metrics::default());
    let (known, in_force) = watch::channel(Arc::new(config.clone()));
    if let Some(web) = &config.web {
        let listener = serve::bind("web", web.listen).await.map_err(|error| Failure::new(Exit::Failed, error))?;
        let address = listener.local_addr().unwrap_or(web.listen);
        tracing::info!(%address, "listening for metrics and health");
        tokio::spawn(Web::new(in_force, Arc::clone(&metrics), stop.clone())?.serve(listener));
    }
    let (drain, longest) = watch::channel(config.daemon.drain);
    tokio::spawn(stop_on(heard.term, heard.int, stop.clone(), longest));
    let again = Again { common: common.clone(), log: config.log.clone(), web: config.web.clone(), known, drain };
    tokio::spawn(again.on(heard.hup, reload));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %config.file.display(), destinations = config.destinations.len(), "starting");
    let pulses = Pulses::new(Instant::now());
    watchdog::start(pulses.clone()).map_err(|error| Failure::new(Exit::Failed, format!("no thread can be begun: {error}")))?;
    // On the heap: it holds the whole daemon.
    Box::pin(daemon::run(config, Signals { stop, reload: reloads, pulses, metrics })).await?;
    tracing::info!("stopped; everything in flight is settled or will be taken up again");
    Ok(Exit::Done)
}

/// What is read again on SIGHUP.
struct Again {
    common: Common,
    log: crate::config::Log,
    web: Option<crate::config::Web>,
    known: watch::Sender<Arc<Config>>,
    /// The longest of `[daemon] drain` so far: what is configured later may not be in force yet.
    drain: watch::Sender<Duration>,
}

impl Again {
    /// The new configuration, or every problem in the log.
    async fn read(&mut self) -> Option<Config> {
        let config = match self.common.load(SecretMode::Reveal) {
            Ok(config) => config,
            Err(problems) => {
                problems.list.iter().for_each(|problem| tracing::error!("{}", problem.at(&problems.file)));
                refused(problems.list.len());
                return None;
            }
        };
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let in_force = self.known.borrow().database.clone();
        if let Err(objection) = trial::objection(&config, &in_force).await {
            tracing::error!("{objection}");
            refused(1);
            return None;
        }
        if config.log != self.log {
            tracing::warn!("[log] has changed; that takes a restart");
        }
        if config.web.as_ref().map(|web| web.listen) != self.web.as_ref().map(|web| web.listen) {
            tracing::warn!("[web] listen has changed; that takes a restart");
        }
        self.drain.send_modify(|drain| *drain = (*drain).max(config.daemon.drain));
        self.known.send_replace(Arc::new(config.clone()));
        Some(config)
    }

    /// For as long as the process lives.
    async fn on(mut self, mut hup: Signal, reload: watch::Sender<Option<Config>>) {
        while hup.recv().await.is_some() {
            notify::reloading();
            if let Some(config) = self.read().await {
                reload.send_replace(Some(config));
            }
        }
    }
}

fn refused(problems: usize) {
    tracing::error!(problems, "configuration not reloaded; the old one stays in force");
    notify::ready();
    notify::status("the configuration that was to be reloaded is wrong, see the log; the old one stays in force");
}

struct Heard {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Heard {
    fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())?, hup: signal(SignalKind::hangup())? })
    }
}

/// Never waits for a reload, which may be asking a database that does not answer.
async fn stop_on(mut term: Signal, mut int: Signal, stop: CancellationToken, drain: watch::Receiver<Duration>) {
    loop {
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        };
        if stop.is_cancelled() {
            tracing::warn!(signal = name, "ending at once; what is in flight is taken up again at the next start");
            // The daemon is made to be killed at any instant; this loses nothing.
            std::process::exit(Exit::Failed as i32);
        }
        tracing::info!(signal = name, "stopping");
        // Draining, the last marks, the locks.
        notify::stopping(*drain.borrow() + pulse::ANSWERS);
        stop.cancel();
    }
}

impl From<daemon::Error> for Failure {
    fn from(error: daemon::Error) -> Self {
        match error {
            daemon::Error::Schema(error) => error.into(),
            daemon::Error::Session(error) => error.into(),
            daemon::Error::Http { .. } => Self::new(Exit::Usage, error),
            daemon::Error::Identity(refusal) => refusal.into(),
        }
    }
}
