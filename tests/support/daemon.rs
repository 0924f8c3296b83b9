//! The real binary beside a real database: its settings, its signals, its stderr.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_postgres::Client;

use super::{
    postgres::Database,
    reaper::{self, quoted},
    receiver::Receiver,
};

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_postbackd");

/// What every template of the tests tells, so that the receiver and the judge can read it.
pub const QUERY: &str = "id={{ event_id }}&order={{ order_id }}&value={{ amount }}&kind={{ event }}";

/// So many lines of the daemon's are shown when a test fails.
const LAST_LINES: usize = 60;

/// A configuration file in the making. Values are TOML as written: `"10s"` with its quotes.
#[derive(Clone, Debug)]
pub struct Config {
    database: String,
    /// Where the tests look at the same database, if the daemon's way to it is disturbed.
    watched: Option<String>,
    direct: Option<String>,
    database_keys: Vec<(String, String)>,
    daemon: Vec<(String, String)>,
    destinations: Vec<(String, Vec<(String, String)>)>,
    more: String,
    environment: Vec<(String, String)>,
}

impl Config {
    /// For this database; events are sent as soon as they are read.
    pub fn new(database: &Database) -> Self {
        Self::at(database.url())
    }

    /// For the database behind a URL.
    pub fn at(url: &str) -> Self {
        let daemon = vec![("settle".to_owned(), "\"0s\"".to_owned())];
        Self {
            database: url.to_owned(),
            watched: None,
            direct: None,
            database_keys: Vec::new(),
            daemon,
            destinations: Vec::new(),
            more: String::new(),
            environment: Vec::new(),
        }
    }

    /// The daemon reaches this database by another URL: through a proxy, as another role.
    pub fn through(database: &Database, url: &str) -> Self {
        Self { watched: Some(database.url().to_owned()), ..Self::at(url) }
    }

    /// A further key of `[database]`.
    pub fn database(mut self, key: &str, value: &str) -> Self {
        set(&mut self.database_keys, key, value);
        self
    }

    /// The same database without the pooler that the other URL leads to.
    pub fn direct(mut self, url: &str) -> Self {
        self.direct = Some(url.to_owned());
        self
    }

    /// A key of `[daemon]`.
    pub fn daemon(mut self, key: &str, value: &str) -> Self {
        set(&mut self.daemon, key, value);
        self
    }

    /// A generic postback to `receiver`, path `/name`, from the beginning of the stream; `keys` add or replace.
    pub fn destination(mut self, name: &str, receiver: &Receiver, keys: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("platform".to_owned(), "\"postback\"".to_owned()),
            ("url".to_owned(), format!("'{}?{QUERY}'", receiver.url(&format!("/{name}")))),
            ("kinds".to_owned(), "[\"purchase\", \"refund\"]".to_owned()),
            ("refunds".to_owned(), "\"event\"".to_owned()),
            ("resend".to_owned(), "\"safe\"".to_owned()),
            ("start".to_owned(), "\"beginning\"".to_owned()),
        ];
        for (key, value) in keys {
            set(&mut all, key, value);
        }
        self.destinations.retain(|(have, _)| have != name);
        self.destinations.push((name.to_owned(), all));
        self
    }

    /// The destination disappears.
    pub fn without(mut self, name: &str) -> Self {
        self.destinations.retain(|(have, _)| have != name);
        self
    }

    /// TOML as it is, at the end of the file.
    pub fn raw(mut self, toml: &str) -> Self {
        self.more.push_str(toml);
        self
    }

    /// A variable of the daemon's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        set(&mut self.environment, name, value);
        self
    }

    /// Names of the destinations.
    pub fn names(&self) -> Vec<String> {
        self.destinations.iter().map(|(name, _)| name.clone()).collect()
    }

    async fn watch(&self) -> Client {
        let url = self.watched.as_ref().or(self.direct.as_ref()).unwrap_or(&self.database);
        let (monitor, driver) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a session to watch the daemon's tables");
        tokio::spawn(driver);
        monitor
    }

    /// The file.
    pub fn toml(&self) -> String {
        let direct = self.direct.iter().map(|url| format!("direct = \"{url}\"\n")).collect::<String>();
        let lines = |keys: &[(String, String)]| keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect::<String>();
        let mut text = format!("[database]\nurl = \"{}\"\n{direct}{}\n[daemon]\n", self.database, lines(&self.database_keys));
        text.push_str(&lines(&self.daemon));
        for (name, keys) in &self.destinations {
            text.push_str(&format!("\n[destination.{name}]\n{}", lines(keys)));
        }
        text.push('\n');
        text.push_str(&self.more);
        text
    }
}

fn set(keys: &mut Vec<(String, String)>, key: &str, value: &str) {
    keys.retain(|(have, _)| have != key);
    keys.push((key.to_owned(), value.to_owned()));
}

/// Lines of stderr as they come.
#[derive(Clone)]
struct Lines {
    all: Arc<Mutex<Vec<String>>>,
    changed: watch::Sender<usize>,
}

/// `postbackd run`, killed when dropped and when the test process ends. Its stderr is shown when the test fails.
pub struct Daemon {
    child: Child,
    config: Config,
    directory: tempfile::TempDir,
    lines: Lines,
    monitor: Client,
    /// Epoch in the database before this process began.
    before: i64,
}

impl Daemon {
    /// Starts it and waits until it has the database.
    pub async fn start(config: Config) -> Self {
        let mut daemon = Self::spawn(config).await;
        daemon.wait_ready().await;
        daemon
    }

    /// Starts it without waiting.
    pub async fn spawn(config: Config) -> Self {
        let monitor = config.watch().await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let lines = Lines { all: Arc::default(), changed: watch::channel(0).0 };
        let before = epoch(&monitor).await.0;
        let child = launch(&config, &directory, &lines);
        Self { child, config, directory, lines, monitor, before }
    }

    /// After [`Daemon::kill9`] or [`Daemon::term`]: the same configuration again, stderr goes on.
    pub async fn again(&mut self) {
        if self.monitor.is_closed() {
            self.monitor = self.config.watch().await;
        }
        self.before = epoch(&self.monitor).await.0;
        self.child = launch(&self.config, &self.directory, &self.lines);
    }

    /// Writes another configuration; [`Daemon::hup`] has it read.
    pub fn configure(&mut self, config: Config) {
        write(&config, &self.directory);
        self.config = config;
    }

    /// Waits until this process owns the database and every destination has its position.
    pub async fn wait_ready(&mut self) {
        let names = self.config.names();
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("waiting for the daemon") {
                panic!("postbackd ended before it was ready: {status}\n{}", self.stderr());
            }
            let (epoch, owned) = epoch(&self.monitor).await;
            let known = "select count(*) from postback.position where destination = any($1) and epoch > $2";
            let known: i64 = self.monitor.query_one(known, &[&names, &self.before]).await.expect("reading positions").get(0);
            if epoch > self.before && owned && known == names.len() as i64 {
                return;
            }
            assert!(
                Instant::now() < until,
                "postbackd is not ready after 30 s: epoch {epoch}, was {}, owner: {owned}, {known} of {names:?}\n{}",
                self.before,
                self.stderr()
            );
            // What happens in another process can only be asked for.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it and waits for its end.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; waits for its end, 30 s at most.
    pub async fn term(&mut self) -> ExitStatus {
        self.signal("TERM");
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("waiting for the daemon") {
                return status;
            }
            assert!(Instant::now() < until, "postbackd is still there 30 s after SIGTERM\n{}", self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGHUP.
    pub fn hup(&self) {
        self.signal("HUP");
    }

    /// SIGSTOP.
    pub fn stop(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().expect("kill");
        assert!(status.success(), "postbackd has gone before SIG{name}\n{}", self.stderr());
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("waiting for the daemon")
    }

    /// Memory in use, in bytes.
    pub fn rss(&self) -> u64 {
        postbackd::bench::cpu::resident(self.pid()).expect("the daemon runs")
    }

    /// Where `[web]` listens.
    pub async fn web(&self) -> String {
        let line = self.wait_line("listening for metrics").await;
        line.rsplit("address=").next().unwrap_or_default().trim().to_owned()
    }

    /// Everything it has said so far.
    pub fn stderr(&self) -> String {
        let lines = self.lines.all.lock().unwrap_or_else(PoisonError::into_inner);
        lines.join("\n")
    }

    /// Waits for a line with this in it; returns it.
    pub async fn wait_line(&self, part: &str) -> String {
        let mut changed = self.lines.changed.subscribe();
        let found = async {
            loop {
                changed.borrow_and_update();
                let found = self.lines.all.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|line| line.contains(part)).cloned();
                match found {
                    Some(line) => return line,
                    None => changed.changed().await.expect("we hold the sender"),
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(30), found).await {
            Ok(line) => line,
            Err(_) => panic!("postbackd did not say {part:?} within 30 s\n{}", self.stderr()),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            // The end tells most; whoever keeps the output of a failed run may cut a long one.
            let stderr = self.stderr();
            let skipped = stderr.lines().count().saturating_sub(LAST_LINES);
            let last = stderr.lines().skip(skipped).collect::<Vec<_>>().join("\n");
            println!("--- postbackd.toml\n{}\n--- stderr of postbackd, after {skipped} lines\n{last}\n---", self.config.toml());
        }
    }
}

/// Runs another command of the binary with this configuration file written to a temporary place.
pub fn command(config: &Config, arguments: &[&str]) -> std::process::Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = write(config, &directory);
    Command::new(BINARY).arg("--config").arg(path).args(arguments).stdin(Stdio::null()).output().expect("running postbackd")
}

fn write(config: &Config, directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("postbackd.toml");
    std::fs::write(&path, config.toml()).expect("writing the configuration");
    // As `check` wants it: the URL holds the database's password.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("closing the configuration to others");
    path
}

fn launch(config: &Config, directory: &tempfile::TempDir, lines: &Lines) -> Child {
    let path = write(config, directory);
    let mut child = Command::new(BINARY)
        .args(["--config".as_ref(), path.as_os_str(), "run".as_ref()])
        .env("NO_COLOR", "1")
        .envs(config.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting postbackd");
    let (pid, binary) = (child.id(), quoted(BINARY));
    // Whoever has its number by then may be somebody else.
    reaper::at_exit(&format!("if [ /proc/{pid}/exe -ef {binary} ]; then kill -9 {pid}; fi"));
    let stderr = BufReader::new(child.stderr.take().expect("piped above"));
    let lines = lines.clone();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let count = {
                let mut all = lines.all.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(line);
                all.len()
            };
            lines.changed.send_replace(count);
        }
    });
    child
}

async fn epoch(monitor: &Client) -> (i64, bool) {
    // Epochs of the reader and of the destinations come from one sequence.
    let sql = "select greatest(epoch, (select max(epoch) from postback.position)), owner is not null from postback.ingest";
    let row = monitor.query_one(sql, &[]).await.expect("reading postback.ingest");
    (row.get(0), row.get(1))
}
