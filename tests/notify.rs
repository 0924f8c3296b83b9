//! What a service manager hears: started, reloading, stopping, alive; and when it hears nothing any more.

use std::time::{Duration, Instant};

use postbackd::pulse::SLACK;
use tokio::net::UnixDatagram;

use crate::support::{
    daemon::{Config, Daemon},
    postgres::database,
    receiver::Receiver,
};

/// As the unit's WatchdogSec, and shorter than anything that is waited for here.
const WATCHDOG: Duration = Duration::from_secs(2);

/// A service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        Self { socket, directory }
    }

    fn tells(&self, config: Config) -> Config {
        let path = self.directory.path().join("notify");
        config
            .environment("NOTIFY_SOCKET", path.to_str().expect("text"))
            .environment("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string())
            .environment("WATCHDOG_PID", "")
    }

    /// Lines of the next message.
    async fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).await.expect("a message");
        String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect()
    }

    /// Reads on to a message with this in it; all lines until then.
    async fn until(&self, part: &str) -> Vec<String> {
        let mut heard: Vec<String> = Vec::new();
        let found = async {
            while !heard.iter().any(|line| line.contains(part)) {
                heard.extend(self.next().await);
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), found).await.is_err() {
            panic!("no {part:?} within 30 s, but {heard:?}");
        }
        heard
    }
}

fn at(heard: &[String], part: &str) -> usize {
    heard.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part:?} in {heard:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_hears_of_start_reload_and_stop() {
    let (database, receiver, manager) = (database().await, Receiver::start(), Manager::new());
    let config = manager.tells(Config::new(&database).destination("d", &receiver, &[]).daemon("drain", "\"33s\""));
    let mut daemon = Daemon::start(config.clone()).await;
    let heard = manager.until("STATUS=owner").await;
    assert!(at(&heard, "READY=1") < at(&heard, "STATUS=owner"), "{heard:?}");

    daemon.configure(config.clone().destination("e", &receiver, &[]));
    daemon.hup();
    let heard = manager.until("READY=1").await;
    let (reloading, time) = (at(&heard, "RELOADING=1"), at(&heard, "MONOTONIC_USEC="));
    assert!(time == reloading + 1 && time < at(&heard, "READY=1"), "{heard:?}");
    daemon.wait_line("configuration reloaded").await;

    // A wrong one is over as soon as it was read, and says so until the next good one.
    daemon.configure(config.clone().raw("[nonsense]\n"));
    daemon.hup();
    manager.until("RELOADING=1").await;
    let heard = manager.until("the old one stays in force").await;
    assert_eq!(at(&heard, "READY=1"), 0, "{heard:?}");
    daemon.configure(config);
    daemon.hup();
    manager.until("STATUS=owner").await;

    assert!(daemon.term().await.success());
    let heard = manager.until("EXTEND_TIMEOUT_USEC=").await;
    let extended: u64 = heard[at(&heard, "EXTEND_TIMEOUT_USEC=")].split_once('=').expect("a value").1.parse().expect("a number");
    assert!(heard.contains(&"STOPPING=1".to_owned()) && extended > 33_000_000, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_database_is_away_is_ready_alive_reloads_and_stops() {
    let (database, receiver, manager) = (database().await, Receiver::start(), Manager::new());
    let nobody = manager.tells(Config::through(&database, "postgres://nobody@127.0.0.1:9/none").destination("d", &receiver, &[]));
    let mut daemon = Daemon::spawn(nobody.clone()).await;
    let heard = manager.until("READY=1").await;
    let status = &heard[at(&heard, "STATUS=waiting for the database: ")];
    assert!(status.contains("127.0.0.1:9/none as nobody"), "{status}");
    // Longer than the watchdog.
    let until = Instant::now() + 2 * WATCHDOG;
    while Instant::now() < until {
        manager.until("WATCHDOG=1").await;
    }
    // Nobody takes the first one out of the way of the second, and of the stop.
    for destination in ["e", "f", "g"] {
        daemon.configure(nobody.clone().destination(destination, &receiver, &[]));
        daemon.hup();
        manager.until("RELOADING=1").await;
    }
    manager.until("READY=1").await;
    assert!(daemon.term().await.success());
    manager.until("STOPPING=1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_owner_and_a_standby_are_alive() {
    let (database, receiver) = (database().await, Receiver::start());
    let (first, second) = (Manager::new(), Manager::new());
    let config = Config::new(&database).destination("d", &receiver, &[]);
    let _owner = Daemon::start(first.tells(config.clone())).await;
    let mut standby = Daemon::spawn(second.tells(config.daemon("instance", "\"two\""))).await;
    let heard = second.until("STATUS=standing by").await;
    at(&heard, "READY=1");
    // What a loop is given until it counts as stuck is over.
    let until = Instant::now() + SLACK + 2 * WATCHDOG;
    while Instant::now() < until {
        first.until("WATCHDOG=1").await;
        second.until("WATCHDOG=1").await;
    }
    assert!(standby.term().await.success());
}
