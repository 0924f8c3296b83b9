//! The configuration file: TOML in, [`Config`] out, or every problem at once, each with file, line, key and fix.
//!
//! `examples/postbackd.toml` is its manual: every key, its default, its unit. After this nobody asks again whether a URL
//! is a URL.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use toml::de::DeTable;

mod apple;
mod destination;
mod problem;
mod secret;
mod section;
#[cfg(test)]
mod tests;

pub use problem::{Problem, Problems};
pub use secret::SecretMode;

pub use crate::outbox::connect::Database;
use crate::{
    alert::Rule,
    clock::Fence,
    destination::{Destination, Route},
    outbox::inspect::report::Terms,
    secret::Secret,
    words::duration,
};
use section::{Document, Section};

/// Where the configuration is, unless `--config` or POSTBACKD_CONFIG say otherwise.
pub const DEFAULT_FILE: &str = "/etc/postbackd/postbackd.toml";

/// Shorter tokens are refused.
const TOKEN_MIN: usize = 16;

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// Where the shop's database is.
    pub database: Database,
    /// How this process works.
    pub daemon: Daemon,
    /// In the order of the file.
    pub destinations: Vec<Arc<Destination>>,
    /// Default proxy and authorities; every destination has them already.
    pub http: Route,
    /// The page, metrics and health; `None`: nothing is listened for.
    pub web: Option<Web>,
    /// Where Apple's postbacks come in; `None`: nowhere.
    pub apple: Option<crate::inbox::Settings>,
    /// Who is told of what needs a person; `None`: nobody.
    pub alert: Option<Alert>,
    /// What is written to stderr.
    pub log: Log,
    /// How days are counted.
    pub report: Report,
    /// Not wrong, but worth a word.
    pub warnings: Vec<String>,
    fingerprints: HashMap<Arc<str>, String>,
}

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Who this is: the host's name, unless several run on one host.
    pub instance: String,
    /// The destinations that this daemon works; `None`: all, as long as it is the one that reads the shop's commits.
    pub destinations: Option<Vec<String>>,
    /// An event is sent when it was ingested that long ago.
    pub settle: Duration,
    /// What ends a wait for commits.
    pub wake: Wake,
    /// Between two looks at the database while something happens.
    pub poll: Duration,
    /// The same when nothing has happened for a while.
    pub poll_idle: Duration,
    /// A request begins only while the last proof of ownership is younger.
    pub fence: Duration,
    /// After SIGTERM: how long requests in flight may take to end.
    pub drain: Duration,
    /// How long personal data and finished rows are kept.
    pub retention: Duration,
}

impl Daemon {
    /// Whether a destination is this daemon's.
    pub fn works(&self, destination: &str) -> bool {
        self.destinations.as_ref().is_none_or(|mine| mine.iter().any(|name| name == destination))
    }
}

/// `wake`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Wake {
    /// Time alone.
    #[default]
    Poll,
    /// NOTIFY from the trigger too; polling goes on.
    Listen,
}

/// `[web]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What a person or a scraper has to know; `None` only on loopback.
    pub token: Option<Secret>,
    /// `/ready` says no when an event is late that long.
    pub overdue: Duration,
}

/// `[web] overdue` unless it is set.
pub const OVERDUE: Duration = Duration::from_secs(15 * 60);

/// `[alert]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Gets a POST of each alert.
    pub webhook: Option<Secret>,
    /// Proxy and authorities for it.
    pub route: Route,
    /// A program and its arguments, which gets each alert on its standard input.
    pub command: Option<Vec<String>>,
    /// When.
    pub rule: Rule,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `info`, or a filter like `postbackd=debug`.
    pub level: String,
    /// How lines look; `None`: journal under systemd, else text.
    pub format: Option<Format>,
}

/// `[report]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// IANA name of the zone in which days begin at midnight.
    pub zone: String,
}

impl Default for Report {
    fn default() -> Self {
        Self { zone: "UTC".to_owned() }
    }
}

/// `format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
    /// Without time, with the priority that journald reads.
    Journal,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(file: &Path, mode: SecretMode) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::NotFound => "; name another with --config or POSTBACKD_CONFIG, or begin with the one in examples/",
                std::io::ErrorKind::PermissionDenied => "; run this as the daemon's user",
                _ => "",
            };
            Problems::of_file(file.to_owned(), format!("cannot be read: {error}{hint}"))
        })?;
        Self::parse(&text, file, mode, &|name| std::env::var(name).ok())
    }

    /// Checks a text that came from `file`; relative paths in it are below the file's directory.
    pub fn parse(text: &str, file: &Path, mode: SecretMode, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        Self::read(text, file, mode, env, |_| ())
    }

    /// Changes when anything of a destination does, secrets and certificates included. Only to be compared, never shown.
    pub fn fingerprint(&self, destination: &str) -> &str {
        self.fingerprints.get(destination).map_or("", String::as_str)
    }

    /// How each destination is told money, for a report.
    pub fn terms(&self) -> Vec<Terms> {
        let terms = self.destinations.iter().map(|to| Terms {
            destination: to.name.to_string(),
            refunds: to.platform.facts().refund,
            without_tax: to.basis.without_tax,
            without_shipping: to.basis.without_shipping,
        });
        terms.collect()
    }

    fn read(
        text: &str,
        file: &Path,
        mode: SecretMode,
        env: &dyn Fn(&str) -> Option<String>,
        looked_at: impl FnOnce(&Document<'_>),
    ) -> Result<Self, Problems> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let doc = Document {
            text,
            file: file.to_owned(),
            vault: secret::Vault { base: file.parent().unwrap_or(Path::new(".")), env },
            mode,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            asked: RefCell::default(),
        };
        if !errors.is_empty() {
            // What was recovered from a broken file would only produce problems of its own.
            let list = errors.iter().map(|error| Problem {
                line: error.span().map(|span| problem::line(text, &span)),
                key: String::new(),
                message: format!("this is not TOML: {}", error.message()),
            });
            return Err(Problems { file: file.to_owned(), list: list.collect() });
        }
        let config = sections(&Section::new(&doc, "", 0..0, Some(root.get_ref())), file);
        looked_at(&doc);
        let mut list = doc.problems.take();
        list.sort_by_key(|problem| problem.line);
        match config {
            Some(config) if list.is_empty() => Ok(Self { warnings: doc.warnings.take(), ..config }),
            _ => Err(Problems { file: file.to_owned(), list }),
        }
    }
}

fn sections(root: &Section<'_>, file: &Path) -> Option<Config> {
    let database = database(&root.section("database"));
    let daemon = daemon(root.section("daemon"));
    let http = root.section("http");
    let route = Route { proxy: http.secret("proxy", http.doc.mode), ca: http.file("ca") };
    http.finish();
    let web = web(root.section("web"));
    let alert = alert(root.section("alert"), &route);
    let log = log(root.section("log"));
    let report = report(root.section("report"));
    let tables = root.section("destination").sections();
    let read = tables.iter().filter_map(|(name, table)| destination::read(name, table, &route, &daemon));
    let (destinations, fingerprints): (Vec<Destination>, Vec<String>) = read.unzip();
    let fingerprints = destinations.iter().map(|to| Arc::clone(&to.name)).zip(fingerprints).collect();
    destination::relations(&tables, &destinations);
    for name in daemon.destinations.iter().flatten().filter(|name| !tables.iter().any(|(there, _)| there == *name)) {
        let hint = crate::words::hint(name, tables.iter().map(|(there, _)| there.as_str()));
        root.section("daemon").problem("destinations", format!("there is no [destination.{name}]{hint}"));
    }
    if tables.is_empty() {
        root.warn("destination", "there is none: events are read and nothing is sent; add a [destination.NAME]");
    }
    let apple = apple::read(root.section("apple"), &destinations);
    if let (Some(web), Some(apple)) = (&web, &apple)
        && web.listen == apple.listen
        && web.listen.port() != 0
    {
        root.section("apple").problem("listen", format!("{} is [web] listen too; what strangers may ask for needs a port of its own", apple.listen));
    }
    root.unknown();
    let destinations = destinations.into_iter().map(Arc::new).collect();
    Some(Config {
        file: file.to_owned(),
        database: database?,
        daemon,
        destinations,
        http: route,
        web,
        apple,
        alert,
        log,
        report,
        warnings: Vec::new(),
        fingerprints,
    })
}

fn database(table: &Section<'_>) -> Option<Database> {
    // Never by name only: a preview reads events too, and nothing prints this URL.
    let url = table.secret("url", SecretMode::Reveal);
    if url.is_none() && !table.has("url") {
        table.problem("url", "it is missing: [database] url = \"postgres://postbackd@localhost/shop\", or { credential = \"database-url\" }");
    }
    let database = Database {
        ca: table.file("ca"),
        connect_timeout: table.duration("connect_timeout", Duration::from_secs(5), Duration::from_millis(100)..=Duration::from_secs(60)),
        pool: table.integer("pool", 1..=100).unwrap_or(4) as usize,
        expect: table.text("expect"),
        url: url.unwrap_or_else(|| Secret::new("database.url", "")),
        direct: table.secret("direct", SecretMode::Reveal),
    };
    table.unknown();
    if database.url.reveal().is_empty() {
        return None;
    }
    if let Err(error) = crate::outbox::connect::target(&database) {
        table.problem("url", error.to_string());
    }
    if let Some(Err(error)) = database.direct.is_some().then(|| crate::outbox::connect::target(&database.for_sessions())) {
        table.problem("direct", error.to_string());
    }
    Some(database)
}

fn daemon(table: Section<'_>) -> Daemon {
    const MS: Duration = Duration::from_millis(1);
    const S: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_secs(86_400);
    let daemon = Daemon {
        instance: table.text("instance").unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned()),
        destinations: table.texts("destinations"),
        settle: table.duration("settle", 10 * S, Duration::ZERO..=3600 * S),
        wake: table.choice("wake", &[("poll", Wake::Poll), ("listen", Wake::Listen)]).unwrap_or_default(),
        poll: table.duration("poll", 5 * MS, MS..=S),
        poll_idle: table.duration("poll_idle", 50 * MS, MS..=10 * S),
        // Ownership is proved every second and its session ends after 5 s of silence: less would stop sending at every
        // hiccup, more would let two owners send.
        fence: table.duration("fence", 3 * S, 2 * S..=Fence::LONGEST),
        drain: table.duration("drain", 10 * S, S..=600 * S),
        retention: table.duration("retention", 120 * DAY, DAY..=3650 * DAY),
    };
    if daemon.poll > daemon.poll_idle {
        table.problem("poll", format!("{} is longer than poll_idle ({}); raise poll_idle too", duration(daemon.poll), duration(daemon.poll_idle)));
    }
    table.finish();
    daemon
}

fn web(table: Section<'_>) -> Option<Web> {
    let listen = table.text("listen");
    let token = table.secret("token", table.doc.mode);
    let address = listen.as_deref().and_then(|text| {
        let parsed = text.parse::<SocketAddr>();
        if parsed.is_err() {
            table.problem("listen", format!("{text:?} is no address and port: write \"127.0.0.1:9187\", or \"[::1]:9187\""));
        }
        parsed.ok()
    });
    if token.as_ref().is_some_and(|token| table.doc.mode == SecretMode::Reveal && token.reveal().len() < TOKEN_MIN) {
        table.problem("token", format!("it is shorter than {TOKEN_MIN} characters, which can be guessed; make one: openssl rand -hex 24"));
    }
    if address.is_some_and(|address| !address.ip().is_loopback()) && !table.has("token") {
        table.problem("listen", "everybody who can reach this address would see the shop's orders: give it a token, or listen on 127.0.0.1");
    }
    if listen.is_none() && table.has("token") {
        table.problem("token", "nothing is listened for: add listen = \"127.0.0.1:9187\"");
    }
    let overdue = table.duration("overdue", OVERDUE, Duration::from_secs(1)..=Duration::from_secs(30 * 86_400));
    table.finish();
    address.map(|listen| Web { listen, token, overdue })
}

fn alert(table: Section<'_>, route: &Route) -> Option<Alert> {
    let webhook = table.secret("webhook", table.doc.mode);
    let is_address = |text: &str| url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if table.doc.mode == SecretMode::Reveal && webhook.as_ref().is_some_and(|webhook| !is_address(webhook.reveal())) {
        table.problem("webhook", "this is no address that begins with https:// or http://");
    }
    let command = table.texts("command");
    if command.as_ref().is_some_and(Vec::is_empty) {
        table.problem("command", "a program is needed here: [\"/usr/local/bin/page\", \"postbackd\"]");
    }
    let day = Duration::from_secs(86_400);
    let rule = Rule {
        overdue: table.duration("overdue", OVERDUE, Duration::from_secs(1)..=30 * day),
        repeat: table.duration("repeat", day, Duration::from_secs(60)..=30 * day),
        calm: table.duration("calm", Duration::from_secs(5 * 60), Duration::from_secs(0)..=day),
    };
    table.finish();
    (webhook.is_some() || command.is_some()).then(|| Alert { webhook, route: route.clone(), command, rule })
}

fn log(table: Section<'_>) -> Log {
    let level = table.text("level").unwrap_or_else(|| "info".to_owned());
    if let Err(error) = crate::telemetry::filter(&level) {
        table.problem("level", format!("{error}; write error, warn, info, debug, or a filter like \"info,postbackd::http=debug\""));
    }
    let format = table.choice("format", &[("text", Format::Text), ("json", Format::Json), ("journal", Format::Journal)]);
    table.finish();
    Log { level, format }
}

fn report(table: Section<'_>) -> Report {
    let report = table.text("zone").map_or_else(Report::default, |zone| Report { zone });
    if jiff::tz::TimeZone::get(&report.zone).is_err() {
        table.problem("zone", format!("{:?} is no time zone; write one like \"Europe/Berlin\" or \"UTC\"", report.zone));
    }
    table.finish();
    report
}
