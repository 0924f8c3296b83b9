//! A PostgreSQL server per test process and a database per test. The server is taken in this order:
//! 1. `POSTBACKD_TEST_DATABASE_URL`: a superuser's URL; databases named `pbt_*` are made there and dropped again,
//! 2. Docker through testcontainers, image `postgres:15`, if an engine answers,
//! 3. server binaries found on this machine, in a temporary directory.
//!
//! `POSTBACKD_TEST_POSTGRES=docker|local` skips what stands before it, so that CI can run each path for real.

use std::{
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_postgres::{Client, NoTls};
use url::Url;

mod docker;
mod local;
mod template;

pub use local::Local;

/// A server that answers, reached as superuser.
#[derive(Clone, Debug)]
pub struct Server {
    /// Superuser, maintenance database.
    url: Url,
}

static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();

/// A database of one test; dropped with it.
#[derive(Debug)]
pub struct Database {
    server: Server,
    name: String,
    url: Url,
}

/// A fresh database with the schema installed.
pub async fn database() -> Database {
    Server::shared().database().await
}

/// A fresh database with nothing in it.
pub async fn bare_database() -> Database {
    Server::shared().bare_database().await
}

impl Server {
    /// The server that all tests of this process share.
    pub fn shared() -> Self {
        match SHARED.get_or_init(Self::take) {
            Ok(server) => server.clone(),
            Err(why) => panic!("{why}"),
        }
    }

    /// A server of one's own, to be crashed, stopped and started: see [`Local`].
    pub async fn private() -> Local {
        tokio::task::spawn_blocking(|| Local::start().unwrap_or_else(|why| panic!("{why}"))).await.expect("starting a server")
    }

    fn take() -> Result<Self, String> {
        let forced = std::env::var("POSTBACKD_TEST_POSTGRES").unwrap_or_default();
        if !["", "docker", "local"].contains(&forced.as_str()) {
            return Err(format!("POSTBACKD_TEST_POSTGRES is {forced:?}: it should be docker or local"));
        }
        if let Some(url) = std::env::var("POSTBACKD_TEST_DATABASE_URL").ok().filter(|url| forced.is_empty() && !url.is_empty()) {
            let server = Self::at(&url)?;
            say("POSTBACKD_TEST_DATABASE_URL");
            return Ok(server);
        }
        let mut missing = String::new();
        if forced != "local" {
            match docker::start() {
                Ok(url) => {
                    say(&format!("Docker, image {}:{}", docker::IMAGE.0, docker::IMAGE.1));
                    return Self::at(&url);
                }
                Err(why) if forced == "docker" => return Err(format!("POSTBACKD_TEST_POSTGRES=docker, but {why}")),
                Err(why) => missing = why,
            }
        }
        match Local::start() {
            Ok(local) => {
                say(&format!("{} in {}", local.version(), local.directory().display()));
                let server = Self::at(local.url());
                // It ends with this process, not with this scope.
                std::mem::forget(local);
                server
            }
            Err(why) => Err(format!(
                "No PostgreSQL for the tests.\n  POSTBACKD_TEST_DATABASE_URL is not set\n  Docker: {missing}\n  On this machine: {why}\n\
                 Any of these helps: apt-get install postgresql (the server need not run), a Docker engine, or\n\
                 POSTBACKD_TEST_DATABASE_URL=postgres://postgres:password@host/postgres"
            )),
        }
    }

    /// Superuser's URL of the maintenance database.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The server behind a superuser's URL.
    pub fn at(url: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|why| format!("not a URL of a PostgreSQL server: {why}"))?;
        Ok(Self { url })
    }

    /// A fresh database with the schema installed.
    pub async fn database(&self) -> Database {
        let template = template::installed(self).await;
        self.create(Some(&template)).await
    }

    /// A fresh database with nothing in it.
    pub async fn bare_database(&self) -> Database {
        self.create(None).await
    }

    async fn create(&self, template: Option<&str>) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pbt_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let client = self.connect().await;
        // The process id may have been someone else's before.
        client.batch_execute(&format!("drop database if exists {name} with (force)")).await.expect("dropping a leftover database");
        client.batch_execute(&format!("create database {name} template {}", template.unwrap_or("template0"))).await.expect("creating a database");
        Database { url: self.url_of(&name), server: self.clone(), name }
    }

    fn url_of(&self, database: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(database);
        url
    }

    /// Superuser in the maintenance database.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }
}

impl Database {
    /// Superuser's URL.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// URL of a role made by [`Database::role`]; also right for one that needs no password here.
    pub fn url_as(&self, role: &str) -> String {
        let mut url = self.url.clone();
        url.set_username(role).and_then(|()| url.set_password(Some(PASSWORD))).expect("the URL has a host");
        url.to_string()
    }

    /// A superuser's session. Its driver runs in the caller's runtime.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }

    /// A session of `role`, which is made when it does not exist.
    pub async fn connect_as(&self, role: &str) -> Client {
        self.role(role, &[]).await;
        connect(&Url::parse(&self.url_as(role)).expect("made above")).await
    }

    /// Makes a login role, member of `groups`. Roles belong to the whole server and stay there.
    pub async fn role(&self, role: &str, groups: &[&str]) {
        let client = self.server.connect().await;
        let mut sql = format!(
            "select pg_advisory_xact_lock(77, 2);
             do $$ begin create role {role}; exception when duplicate_object then null; end $$;
             alter role {role} login password '{PASSWORD}';"
        );
        for group in groups {
            sql.push_str(&format!("grant {group} to {role};"));
        }
        client.batch_execute(&format!("begin; {sql} commit")).await.unwrap_or_else(|why| panic!("role {role}: {why:?}"));
    }
}

/// Past the capture of the test runner, which shows only what failed tests printed.
fn say(taken: &str) {
    let _ = writeln!(std::io::stderr(), "PostgreSQL for the tests: {taken}");
}

const PASSWORD: &str = "postbackd-test";

impl Drop for Database {
    fn drop(&mut self) {
        aside(async {
            // A prepared transaction would hold the database for ever.
            if let Ok(client) = try_connect(&self.url).await
                && let Ok(rows) = client.query("select quote_literal(gid) from pg_prepared_xacts where database = current_database()", &[]).await
            {
                for row in rows {
                    let _ = client.batch_execute(&format!("rollback prepared {}", row.get::<_, &str>(0))).await;
                }
            }
            // A server that the test itself has stopped has nothing left to drop.
            if let Ok(client) = try_connect(&self.server.url).await {
                let _ = client.batch_execute(&format!("drop database if exists {} with (force)", self.name)).await;
            }
        });
    }
}

async fn connect(url: &Url) -> Client {
    try_connect(url).await.unwrap_or_else(|why| panic!("connecting to the test database {}: {why:?}", url.path()))
}

async fn try_connect(url: &Url) -> Result<Client, tokio_postgres::Error> {
    let (client, driver) = tokio_postgres::connect(url.as_str(), NoTls).await?;
    tokio::spawn(driver);
    Ok(client)
}

/// Waits until a session can be had over TCP.
fn wait_until_it_answers(url: &str, within: Duration, mut alive: impl FnMut() -> Result<(), String> + Send) -> Result<(), String> {
    let url = Url::parse(url).map_err(|why| why.to_string())?;
    let until = Instant::now() + within;
    aside(async move {
        loop {
            alive()?;
            let why = match tokio::time::timeout(Duration::from_secs(2), try_connect(&url)).await {
                Ok(Ok(client)) => match client.simple_query("select 1").await {
                    Ok(_) => return Ok(()),
                    Err(why) => why.to_string(),
                },
                Ok(Err(why)) => why.to_string(),
                Err(_) => "no answer to a connection".to_owned(),
            };
            if Instant::now() > until {
                return Err(format!("PostgreSQL did not answer within {within:?}: {why}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

/// Runs a future to its end on a thread and runtime of its own: the caller may be inside a runtime, or outlive it. Where the caller's
/// runtime has more threads, what else it runs goes on meanwhile: PostgreSQL drops no database before everybody who is being asked
/// for a password has answered, and that may be a test's proxy.
fn aside<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let wait = || {
        std::thread::scope(|scope| {
            let working = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(work)
            });
            working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    };
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}
