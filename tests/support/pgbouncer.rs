//! A PgBouncer in transaction mode before a test's database: Debian's, which knows nothing of prepared statements, unless the
//! machine has another one.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio_postgres::{Client, NoTls};
use url::Url;

use super::{
    postgres::Database,
    reaper::{self, quoted},
};

/// A pooler of our own, on a port of its own that stays the same when it is started again.
pub struct PgBouncer {
    directory: tempfile::TempDir,
    port: u16,
    /// Superuser's URL of the database behind it.
    behind: Url,
    child: Option<Child>,
}

impl PgBouncer {
    /// For these roles beside the superuser; `keys` are lines of `[pgbouncer]`, which win over ours.
    pub async fn start(database: &Database, roles: &[&str], keys: &[&str]) -> Self {
        let behind = Url::parse(database.url()).expect("a URL");
        let directory = tempfile::Builder::new().prefix("pbb-").tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("opening the directory to pgbouncer");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let mut users = vec![(behind.username().to_owned(), behind.password().unwrap_or_default().to_owned())];
        for role in roles {
            let url = Url::parse(&database.url_as(role)).expect("a URL");
            users.push(((*role).to_owned(), url.password().unwrap_or_default().to_owned()));
        }
        let lines: String = users.iter().map(|(name, password)| format!("\"{name}\" \"{password}\"\n")).collect();
        fs::write(directory.path().join("users"), lines).expect("writing the users");
        let settings = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n\
             auth_file = {}\npool_mode = transaction\nmax_client_conn = 200\ndefault_pool_size = 3\nserver_login_retry = 1\n\
             log_connections = 0\nlog_disconnections = 0\n{}\n",
            behind.host_str().expect("a host"),
            behind.port().unwrap_or(5432),
            directory.path().join("users").display(),
            keys.join("\n")
        );
        fs::write(directory.path().join("pgbouncer.ini"), settings).expect("writing the settings");
        let mut this = Self { directory, port, behind, child: None };
        this.up().await;
        this
    }

    /// Starts it again after [`PgBouncer::down`].
    pub async fn up(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.directory.path().join("log")).expect("a log");
        // Where Debian has it, which is not on everybody's PATH.
        let program = ["/usr/sbin/pgbouncer", "pgbouncer"].into_iter().find(|path| fs::exists(path).unwrap_or(false)).unwrap_or("pgbouncer");
        let mut command = Command::new(program);
        // It refuses to run as root; started so, it becomes somebody else by itself when it has read its files.
        if Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0")) {
            command.args(["-u", "nobody"]);
        }
        let child = command
            .arg(self.directory.path().join("pgbouncer.ini"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|why| panic!("pgbouncer: {why}; tests/run.sh installs it, or: apt-get install pgbouncer (its service need not run)"));
        let pid = child.id();
        let config = quoted(&self.directory.path().join("pgbouncer.ini").display().to_string());
        // Whoever has its number by then may be somebody else.
        reaper::at_exit(&format!("if tr '\\0' ' ' < /proc/{pid}/cmdline | grep -qF {config}; then kill -9 {pid}; fi"));
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let child = self.child.as_mut().expect("started above");
            if let Some(status) = child.try_wait().expect("waiting for pgbouncer") {
                panic!("pgbouncer ended: {status}\n{}", self.log());
            }
            let why = match tokio_postgres::connect(&self.url(), NoTls).await {
                Ok((client, driver)) => {
                    tokio::spawn(driver);
                    match client.simple_query("select 1").await {
                        Ok(_) => return,
                        Err(why) => why,
                    }
                }
                Err(why) => why,
            };
            assert!(Instant::now() < until, "pgbouncer does not answer: {why:?}\n{}", self.log());
            // What happens in another process can only be asked for.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills it, with every connection through it.
    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Superuser's URL through it.
    pub fn url(&self) -> String {
        self.through(self.behind.clone())
    }

    /// URL of a role through it.
    pub fn url_as(&self, database: &Database, role: &str) -> String {
        self.through(Url::parse(&database.url_as(role)).expect("a URL"))
    }

    fn through(&self, mut url: Url) -> String {
        url.set_host(Some("127.0.0.1"))
            .and_then(|()| url.set_port(Some(self.port)).map_err(|()| url::ParseError::InvalidPort))
            .expect("a host and a port");
        url.to_string()
    }

    /// A session through it. Only simple and unnamed statements pass.
    pub async fn connect(&self, url: &str) -> Client {
        let (client, driver) = tokio_postgres::connect(url, NoTls).await.unwrap_or_else(|why| panic!("through pgbouncer: {why:?}\n{}", self.log()));
        tokio::spawn(driver);
        client
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.down();
        if std::thread::panicking() {
            println!("--- pgbouncer\n{}\n---", self.log());
        }
    }
}
