//! What serves as long as the process does, whoever owns the database: the destinations' tasks, begun, reloaded, drained; and the listener
//! for Apple's postbacks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{Error, prove};
use crate::{
    config::Config,
    destination::Destination,
    http,
    inbox::Inbox,
    limit::Limits,
    metrics::{About, Metrics},
    pulse::{self, Pulse, Pulses},
    sender::{Control, Sender},
    session::Session,
};

/// The destinations' tasks.
pub(super) struct Fleet {
    sessions: watch::Receiver<Option<Arc<Session>>>,
    stop: CancellationToken,
    drain: Duration,
    limits: Limits,
    tokens: Arc<http::token::Tokens>,
    running: HashMap<Arc<str>, Running>,
    /// Told to stop, and perhaps still draining: nobody else may begin under such a name.
    leaving: Vec<Running>,
    reloads: Reloads,
    names: watch::Sender<Vec<String>>,
    pulses: Pulses,
    inbox: Inbox,
    metrics: Arc<Metrics>,
}

struct Running {
    destination: Arc<Destination>,
    fingerprint: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Tells every destination to read its rows again.
#[derive(Clone, Default)]
pub(super) struct Reloads(Arc<std::sync::Mutex<HashMap<Arc<str>, Arc<Notify>>>>);

impl Reloads {
    pub(super) fn all(&self) {
        let reloads = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        reloads.values().for_each(|reload| reload.notify_one());
    }

    fn of(&self, name: &Arc<str>) -> Arc<Notify> {
        let mut reloads = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(reloads.entry(Arc::clone(name)).or_default())
    }
}

/// What metrics tell of a destination.
fn about(to: &Destination) -> About {
    About {
        destination: Arc::clone(&to.name),
        platform: to.platform.platform(),
        mode: to.mode.as_str(),
        kinds: to.kinds.clone(),
        version_ends: to.platform.version_ends(),
    }
}

/// The destinations that this process works.
fn wanted(config: &Config) -> impl Iterator<Item = &Arc<Destination>> {
    config.destinations.iter().filter(|to| config.daemon.works(&to.name))
}

/// A client for each of them.
pub(super) fn clients(config: &Config) -> Result<HashMap<Arc<str>, http::Client>, Error> {
    let client = |to: &Arc<Destination>| {
        let client = http::Client::new(&to.route, &to.limits).map_err(|source| Error::Http { name: to.name.to_string(), source })?;
        Ok((Arc::clone(&to.name), client))
    };
    wanted(config).map(client).collect()
}

impl Fleet {
    pub(super) fn new(sessions: &watch::Sender<Option<Arc<Session>>>, stop: &CancellationToken, pulses: &Pulses, metrics: &Arc<Metrics>) -> Self {
        Self {
            sessions: sessions.subscribe(),
            stop: stop.clone(),
            drain: Duration::from_secs(10),
            limits: Limits::default(),
            tokens: Arc::new(http::token::Tokens::of_service()),
            running: HashMap::new(),
            leaving: Vec::new(),
            reloads: Reloads::default(),
            names: watch::Sender::default(),
            pulses: pulses.clone(),
            inbox: Inbox::default(),
            metrics: Arc::clone(metrics),
        }
    }

    pub(super) fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// The destinations of the configuration in force, whoever works them.
    pub(super) fn names(&self) -> watch::Receiver<Vec<String>> {
        self.names.subscribe()
    }

    /// How long a destination may take to end after it was told to.
    pub(super) fn patience(&self) -> Duration {
        self.drain + pulse::ANSWERS
    }

    /// Makes the running tasks those of the configuration: what did not change goes on undisturbed, what changed or went is
    /// drained first, so that nothing is sent twice.
    pub(super) async fn apply(&mut self, config: &Config) -> Result<(), Error> {
        // Every client is made before anything is stopped: a bad one leaves all as it was.
        let mut clients = clients(config)?;
        let wanted: Vec<Arc<Destination>> = wanted(config).cloned().collect();
        self.names.send_replace(config.destinations.iter().map(|to| to.name.to_string()).collect());
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
        self.metrics.keep(&wanted.iter().map(|to| Arc::clone(&to.name)).collect::<Vec<_>>());
        for to in wanted {
            if self.running.contains_key(&to.name) {
                continue;
            }
            let Some(client) = clients.remove(&to.name) else { continue };
            let stop = self.stop.child_token();
            let (reload, pulse) = (self.reloads.of(&to.name), self.pulses.pulse(format!("destination {}", to.name)));
            let control = Control { sessions: self.sessions.clone(), stop: stop.clone(), drain: self.drain, reload, pulse };
            let meter = self.metrics.meter(about(&to));
            let client = http::token::Authorized::new(Arc::new(client), &self.tokens, Arc::clone(&meter));
            let sender = Sender::new(Arc::clone(&to), Arc::new(client), self.limits.of(&to.name), meter);
            let task = tokio::spawn(sender.run(control));
            let fingerprint = config.fingerprint(&to.name).to_owned();
            self.running.insert(Arc::clone(&to.name), Running { destination: to, fingerprint, stop, task });
        }
        self.inbox.apply(config.apple.as_ref(), &config.database).await;
        Ok(())
    }

    /// Waits for the destinations to drain, proving ownership meanwhile so that their last marks count.
    pub(super) async fn drain(&mut self, session: &Session, pulse: &Pulse) {
        let tasks: Vec<Running> = self.running.drain().map(|(_, running)| running).collect();
        let all = async {
            for running in tasks {
                let _ = running.task.await;
            }
        };
        tokio::select! {
            () = all => {}
            lost = prove(session, pulse) => tracing::warn!(error = %lost, "lost the database while draining"),
        }
    }

    pub(super) async fn stop(&mut self) {
        for (_, running) in self.running.drain() {
            running.stop.cancel();
            let _ = running.task.await;
        }
        self.inbox.stop().await;
    }
}
