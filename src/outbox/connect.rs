//! A session with PostgreSQL: URL, TLS, timeouts, keepalives. Statements elsewhere name the schema of everything they use,
//! so that nothing depends on a `search_path`. Nothing is set at startup, which a transaction pooler would refuse, and nothing
//! by a plain SET, which one would pass on to its other clients.

use std::{path::PathBuf, str::FromStr, time::Duration};

use deadpool_postgres::{ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::{
    AsyncMessage, Client, Config, Notification,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use super::tls::TlsError;
use super::{
    DbError,
    tls::{self, Mode},
};
use crate::secret::Secret;

/// Where the shop's database is: `[database]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `postgres://user:password@host:port/database?sslmode=..`, or libpq's `key=value` form.
    pub url: Secret,
    /// The same database without a transaction pooler between, where `url` leads to one: for the owner's lock and LISTEN.
    pub direct: Option<Secret>,
    /// PEM file with the authority that signed the server's certificate; with it the default `sslmode` is `verify-full`.
    pub ca: Option<PathBuf>,
    /// Name resolution, TCP, TLS and login together.
    pub connect_timeout: Duration,
    /// Connections that all destinations share.
    pub pool: usize,
    /// The name that the database has to have, so that a copy is not taken for it.
    pub expect: Option<String>,
}

impl Database {
    /// `url` as given on a command line, everything else by default.
    pub fn at(url: &str) -> Self {
        Self { url: Secret::new("--url", url), direct: None, ca: None, connect_timeout: Duration::from_secs(5), pool: 4, expect: None }
    }

    /// For what needs a session of its own: the owner's lock and LISTEN.
    pub fn for_sessions(&self) -> Self {
        Self { url: self.direct.as_ref().unwrap_or(&self.url).clone(), direct: None, ..self.clone() }
    }
}

/// Why there is no session. No text holds the password.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConnectError {
    #[error("{name} is no URL of a PostgreSQL database: {why}; it looks like postgres://user:password@host:5432/shop?sslmode=verify-full")]
    Url { name: String, why: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{target} does not answer within {}", crate::words::duration(*.within))]
    Timeout { target: String, within: Duration },
    #[error("cannot connect to {target}: {why}")]
    Unreachable { target: String, why: String, source: tokio_postgres::Error },
    #[error("{target} refuses the login: {why} (SQLSTATE {state})")]
    Refused { target: String, why: String, state: String, source: tokio_postgres::Error },
    #[error("the pool cannot be made: {0}")]
    Pool(String),
}

impl ConnectError {
    /// Whether waiting cannot help: someone has to change the configuration.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Url { .. } | Self::Tls(_))
    }
}

/// A session for `purpose` (`application_name` becomes `postbackd PURPOSE`). The task drives it; it ends with the client.
pub async fn connect(to: &Database, purpose: &str) -> Result<(Client, JoinHandle<()>), ConnectError> {
    connect_listening(to, purpose, |_| ()).await
}

/// Like [`connect`]; `heard` is called for every notification, from the driving task: it must not block.
pub async fn connect_listening(
    to: &Database,
    purpose: &str,
    heard: impl Fn(Notification) + Send + 'static,
) -> Result<(Client, JoinHandle<()>), ConnectError> {
    let place = Place::of(to, purpose)?;
    let connecting = place.config.connect(place.tls.clone());
    let (client, mut connection) = tokio::time::timeout(to.connect_timeout, connecting)
        .await
        .map_err(|_| ConnectError::Timeout { target: place.target.clone(), within: to.connect_timeout })?
        .map_err(|source| failed(&place.target, source))?;
    let driver = tokio::spawn(async move {
        // The client's own calls report a lost connection; here it only ends.
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            match message {
                AsyncMessage::Notification(notification) => heard(notification),
                AsyncMessage::Notice(notice) => tracing::debug!(severity = notice.severity(), code = notice.code().code(), "notice from PostgreSQL"),
                _ => {}
            }
        }
    });
    Ok((client, driver))
}

/// `size` sessions at most, made when needed.
pub fn pool(to: &Database, size: usize) -> Result<Pool, ConnectError> {
    let place = Place::of(to, "pool")?;
    let manager = deadpool_postgres::Manager::from_config(place.config, place.tls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(to.connect_timeout))
        // Statements are short; whoever waits this long waits for a database that hangs.
        .wait_timeout(Some(Duration::from_secs(30)))
        .build()
        .map_err(|error| ConnectError::Pool(error.to_string()))
}

/// Ends at the server what takes too long, so that nothing goes on there that nobody waits for: a connection that is only given up
/// leaves a backend behind, which waits for its lock with all that come after it.
pub struct Cancel {
    tls: MakeRustlsConnect,
}

/// For the way to the server, and for what was cancelled to end.
const CANCEL: Duration = Duration::from_secs(3);

impl Cancel {
    /// For connections to this database.
    pub fn of(to: &Database) -> Result<Self, ConnectError> {
        Ok(Self { tls: Place::of(to, "cancel")?.tls })
    }

    /// What `work` comes to; after `limit` its statement is cancelled, which is an error that the connection survives.
    /// [`DbError::Silent`]: the server did not even say that, and the connection is worth nothing.
    pub async fn after<T, E: From<DbError>>(&self, limit: Duration, db: &Client, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        tokio::pin!(work);
        if let Ok(done) = tokio::time::timeout(limit, &mut work).await {
            return done;
        }
        // As PostgreSQL wants it: through a connection of its own, which answers nothing.
        let _ = tokio::time::timeout(CANCEL, db.cancel_token().cancel_query(self.tls.clone())).await;
        tokio::time::timeout(CANCEL, &mut work).await.unwrap_or_else(|_| Err(DbError::Silent(limit).into()))
    }
}

/// `host:port/database as user`, for messages.
pub fn target(to: &Database) -> Result<String, ConnectError> {
    Ok(Place::of(to, "name")?.target)
}

struct Place {
    config: Config,
    tls: MakeRustlsConnect,
    target: String,
}

impl Place {
    fn of(to: &Database, purpose: &str) -> Result<Self, ConnectError> {
        let wrong = |why: String| ConnectError::Url { name: to.url.name().to_owned(), why };
        let (text, options) = take_tls_options(to.url.reveal());
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") && !text.contains('=') {
            return Err(wrong("it does not begin with postgres://".into()));
        }
        let mut config = Config::from_str(&text).map_err(|error| wrong(chain(&error)))?;
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains(['@', '/', ' ']))) {
            return Err(wrong("user, password or host hold a character that must be percent-encoded (@ is %40, / is %2F)".into()));
        }
        let ca = to.ca.clone().or(options.ca);
        let mode = match (options.mode, &ca) {
            (Some(text), _) if Mode::parse(&text).is_none() => {
                return Err(wrong(format!("sslmode {text:?} is none of disable, prefer, require, verify-ca, verify-full")));
            }
            (Some(text), ca) => match Mode::parse(&text) {
                // libpq: an authority was named, so it is looked at.
                Some(Mode::Require) if ca.is_some() => Mode::VerifyCa,
                mode => mode.unwrap_or(Mode::Prefer),
            },
            (None, Some(_)) => Mode::VerifyFull,
            (None, None) => Mode::Prefer,
        };
        let local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_))) && !config.get_hosts().is_empty();
        config.ssl_mode(match mode {
            _ if local => SslMode::Disable,
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
        config.connect_timeout(to.connect_timeout);
        if config.get_application_name().is_none() {
            config.application_name(format!("postbackd {purpose}"));
        }
        // A machine that vanished is noticed within 20 s; the system's default is two hours.
        config.keepalives(true).keepalives_idle(Duration::from_secs(10)).keepalives_interval(Duration::from_secs(3)).keepalives_retries(3);
        config.tcp_user_timeout(Duration::from_secs(20));
        Ok(Self { tls: tls::connector(mode, ca.as_deref())?, target: describe(&config), config })
    }
}

fn failed(target: &str, source: tokio_postgres::Error) -> ConnectError {
    let target = target.to_owned();
    match source.as_db_error() {
        Some(db) => ConnectError::Refused { target, why: db.message().to_owned(), state: db.code().code().to_owned(), source },
        None => ConnectError::Unreachable { target, why: chain(&source), source },
    }
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn describe(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map_or_else(|| "no host".to_owned(), ToString::to_string),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().unwrap_or("the system's user");
    format!("{host}:{port}/{} as {user}", config.get_dbname().unwrap_or(user))
}

#[derive(Default)]
struct TlsOptions {
    mode: Option<String>,
    ca: Option<PathBuf>,
}

/// Takes `sslmode` and `sslrootcert` out: the client knows only three of libpq's modes.
fn take_tls_options(text: &str) -> (String, TlsOptions) {
    let mut options = TlsOptions::default();
    let mut take = |pair: &str| {
        let Some((key, value)) = pair.split_once('=') else { return false };
        let value = percent_encoding::percent_decode_str(value.trim_matches('\'')).decode_utf8_lossy().into_owned();
        match key {
            "sslmode" => options.mode = Some(value),
            "sslrootcert" if value == "system" => {}
            "sslrootcert" => options.ca = Some(value.into()),
            _ => return false,
        }
        true
    };
    let rest = if text.contains("://") {
        let Some((head, query)) = text.split_once('?') else { return (text.to_owned(), options) };
        let kept: Vec<&str> = query.split('&').filter(|pair| !take(pair)).collect();
        if kept.is_empty() { head.to_owned() } else { format!("{head}?{}", kept.join("&")) }
    } else {
        // A quoted value with blanks comes apart here and together again below, whatever it holds.
        text.split(' ').filter(|pair| !take(pair)).collect::<Vec<_>>().join(" ")
    };
    (rest, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Place::of(&Database::at(url), "test").err().map(|error| error.to_string()).expect("refused")
    }

    #[test]
    fn libpq_modes_are_understood() {
        for (url, want) in [
            ("postgres://u@h/d", SslMode::Prefer),
            ("postgres://u@h/d?sslmode=disable", SslMode::Disable),
            ("postgres://u@h/d?sslmode=require&application_name=x", SslMode::Require),
            ("host=h user=u sslmode=require", SslMode::Require),
            // PostgreSQL never speaks TLS on a local socket.
            ("postgres://u@%2Ftmp/d?sslmode=require", SslMode::Disable),
        ] {
            let place = Place::of(&Database::at(url), "test").expect(url);
            assert_eq!(place.config.get_ssl_mode(), want, "{url}");
        }
    }

    #[test]
    fn messages_name_the_mistake_and_hold_no_password() {
        for (url, want) in [
            ("mysql://u:canary@h/d", "does not begin with postgres://"),
            ("postgres://u:canary@h/d?sslmode=maybe", "sslmode \"maybe\" is none of"),
            ("postgres://u:can@ry@h/d", "percent-encoded"),
            ("postgres://u:canary@h:port/d", "port"),
        ] {
            let text = refused(url);
            assert!(text.contains(want), "{url}: {text}");
            assert!(!text.contains("canary") && !text.contains("ry@"), "{text}");
        }
        assert_eq!(target(&Database::at("postgres://u:canary@h:5/d")).expect("a target"), "h:5/d as u");
    }

    #[test]
    fn a_named_authority_must_be_readable() {
        let database = Database { ca: Some("/nonexistent.pem".into()), ..Database::at("postgres://u@h/d") };
        let text = Place::of(&database, "test").err().map(|error| error.to_string()).expect("refused");
        assert!(text.contains("/nonexistent.pem"), "{text}");
    }

    #[tokio::test]
    async fn nobody_listening_is_said_with_the_place() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let error = connect(&Database::at(&format!("postgres://u:canary@127.0.0.1:{port}/d")), "test").await.expect_err("nobody is there");
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("127.0.0.1:{port}/d as u")) && text.contains("refused") && !text.contains("canary"), "{text}");
    }
}
