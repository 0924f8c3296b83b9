//! Where Apple's postbacks come in: HTTP on one side, the database on the other, and nothing in between that lasts.
//!
//! Strangers speak to this, so that it shares nothing with the outbox side: a thread and a runtime of its own, two connections of its
//! own, bounds on everything that a client can ask for. Whatever happens here, deliveries go on. It serves whether or not this
//! daemon is the owner of the outbox.
//!
//! `gate` says who may come in, `serve` speaks HTTP, `desk` reads, judges and keeps.

mod desk;
mod gate;
mod serve;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, thread::JoinHandle};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use gate::Network;

use crate::{apple::meaning::App, outbox::connect::Database};

/// `[apple]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens, behind the shop's web server.
    pub listen: SocketAddr,
    /// The shop's apps, by their ids in the App Store; what others get is counted and dropped.
    pub apps: BTreeMap<i64, Arc<App>>,
    /// Postbacks of tests are kept too; they are never forwarded.
    pub development: bool,
    /// Events are said of those that count.
    pub forward: bool,
    /// Whose `X-Forwarded-For` is believed.
    pub proxies: Vec<Network>,
    /// Requests a minute of one address at most.
    pub per_address: u32,
    /// Requests a second of all at most.
    pub per_second: u32,
    /// Connections at most.
    pub connections: usize,
    /// Of what is not verified, and of tests: kept within a day, for each verdict.
    pub keep_unverified: u32,
}

/// What is in force, and the limits that follow from it.
pub(crate) struct Rules {
    settings: Settings,
    gate: gate::Gate,
}

/// The listener, if there is one.
#[derive(Default)]
pub struct Inbox {
    running: Option<Running>,
}

struct Running {
    rules: watch::Sender<Arc<Rules>>,
    database: Database,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Inbox {
    /// Makes what runs what the configuration says. Only another address, number of connections or database takes a new listener.
    pub async fn apply(&mut self, settings: Option<&Settings>, database: &Database) {
        let goes_on = |running: &Running, new: &Settings| {
            let old = &running.rules.borrow().settings;
            !running.thread.is_finished() && old.listen == new.listen && old.connections == new.connections && running.database == *database
        };
        match (&self.running, settings) {
            (Some(running), Some(new)) if goes_on(running, new) => {
                running.rules.send_if_modified(|rules| {
                    let changed = rules.settings != *new;
                    if changed {
                        *rules = Rules::of(new);
                    }
                    changed
                });
            }
            (_, new) => {
                self.stop().await;
                if let Some(new) = new {
                    self.running = start(new, database);
                }
            }
        }
    }

    /// Ends it; requests that are being answered are.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.cancel();
            let _ = tokio::task::spawn_blocking(move || running.thread.join()).await;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.stop.cancel();
        }
    }
}

impl Rules {
    fn of(settings: &Settings) -> Arc<Self> {
        Arc::new(Self { gate: gate::Gate::new(settings), settings: settings.clone() })
    }
}

fn start(settings: &Settings, database: &Database) -> Option<Running> {
    let (rules, heard) = watch::channel(Rules::of(settings));
    let stop = CancellationToken::new();
    let (told, to) = (stop.clone(), database.clone());
    // Strangers' requests wait for each other here, and for nothing of the outbox.
    let thread = std::thread::Builder::new().name("postbackd-apple".into()).spawn(move || {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(serve::run(heard, &to, &told)),
            Err(error) => tracing::error!(error = %error, "Apple's postbacks cannot be taken: no runtime"),
        }
    });
    match thread {
        Ok(thread) => Some(Running { rules, database: database.clone(), stop, thread }),
        Err(error) => {
            tracing::error!(error = %error, "Apple's postbacks cannot be taken: no thread");
            None
        }
    }
}
