//! A server from the binaries of this machine, in a temporary directory. Safe settings: fsync and all else as shipped.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs as unix_fs, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::super::reaper::{self, quoted};

/// A server of our own. Its directory goes with this process, and earlier when it is dropped.
#[derive(Debug)]
pub struct Local {
    bin: PathBuf,
    root: PathBuf,
    port: u16,
    url: String,
    who: Option<(u32, u32)>,
    version: String,
}

impl Local {
    /// Makes and starts one.
    pub fn start() -> Result<Self, String> {
        Self::filled(Self::fill, "")
    }

    /// One that shares no system identifier with the others, whose files are copies of one `initdb`.
    pub fn foreign() -> Result<Self, String> {
        Self::filled(|server| server.init(&server.root.join("data")), "")
    }

    /// A copy of another one's files as they are now, started beside it; with `standby` one that follows it.
    pub fn copy_of(original: &Self, standby: bool) -> Result<Self, String> {
        let copy = |server: &Self| {
            let data = server.root.join("data");
            output(server.command("pg_basebackup").args(["-X", "stream", "-c", "fast", "-d", original.url(), "-D"]).arg(&data))?;
            if standby {
                let signal = data.join("standby.signal");
                fs::write(&signal, "").map_err(|why| why.to_string())?;
                server.own(&signal)?;
            }
            Ok(())
        };
        let follow = format!("primary_conninfo = 'host=127.0.0.1 port={} user=postgres'\n", original.port);
        Self::filled(copy, if standby { &follow } else { "" })
    }

    fn filled(fill: impl FnOnce(&Self) -> Result<(), String>, settings: &str) -> Result<Self, String> {
        let bin = find()?;
        let version = output(Command::new(bin.join("postgres")).arg("--version"))?;
        let who = unprivileged()?;
        let root = tempfile::Builder::new().prefix("pbt-").tempdir().map_err(|why| format!("no temporary directory: {why}"))?.keep();
        let pid = quoted(&root.join("data/postmaster.pid").display().to_string());
        // Immediate shutdown by SIGQUIT. The postmaster's directory may only go when the postmaster has gone.
        reaper::at_exit(&format!(
            "if [ -f {pid} ]; then p=$(head -n 1 {pid}); kill -QUIT $p; n=0; while kill -0 $p && [ $n -lt 100 ]; do sleep 0.05; n=$((n+1)); done; kill -9 $p; fi; rm -rf {}",
            quoted(&root.display().to_string())
        ));
        let mut server = Self { bin, root, port: 0, url: String::new(), who, version: version.trim().to_owned() };
        server.own(&server.root)?;
        fill(&server)?;
        let mut last = String::new();
        // Between asking for a free port and using it somebody else may take it.
        for _ in 0..5 {
            server.port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(|why| why.to_string())?.port();
            server.url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
            server.configure(settings)?;
            match server.up() {
                Ok(()) => return Ok(server),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Superuser's URL of the maintenance database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What `postgres --version` says.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it lives: `data`, `log`, and its socket.
    pub fn directory(&self) -> &Path {
        &self.root
    }

    /// The server as the tests use it.
    pub fn server(&self) -> super::Server {
        super::Server::at(&self.url).expect("made by us")
    }

    /// Starts it again after [`Local::down`].
    pub fn up(&self) -> Result<(), String> {
        let log = fs::File::options().create(true).append(true).open(self.root.join("log")).map_err(|why| why.to_string())?;
        let mut postmaster = self
            .command("postgres")
            .arg("-D")
            .arg(self.root.join("data"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|why| why.to_string())?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(|why| format!("postgres: {why}"))?;
        let alive = || match postmaster.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(format!("postgres ended at once: {}", self.log_tail())),
        };
        let up = super::wait_until_it_answers(&self.url, Duration::from_secs(60), alive);
        // Whoever waits for it reaps it; nobody else would.
        std::thread::spawn(move || postmaster.wait());
        up
    }

    /// `pg_ctl stop`; `mode` is `fast`, `smart`, or `immediate` for a crash.
    pub fn down(&self, mode: &str) -> Result<(), String> {
        output(self.command("pg_ctl").args(["stop", "-w", "-t", "60", "-m", mode, "-D"]).arg(self.root.join("data"))).map(drop)
    }

    /// SIGKILL to the postmaster and to every process of its own: not even an immediate shutdown runs. Waits for their end.
    pub fn kill9(&self) -> Result<(), String> {
        let file = self.root.join("data/postmaster.pid");
        let text = fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
        let postmaster: u32 = text.lines().next().and_then(|line| line.parse().ok()).ok_or("postmaster.pid holds no number")?;
        // It first, so that it starts nobody afterwards. All of them work in the data directory.
        kill9(postmaster);
        let data = self.root.join("data");
        let all: Vec<u32> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                (pid == postmaster || fs::read_link(entry.path().join("cwd")).ok()? == data).then_some(pid)
            })
            .collect();
        all.iter().for_each(|pid| kill9(*pid));
        let until = Instant::now() + Duration::from_secs(10);
        while let Some(pid) = all.iter().find(|pid| running(**pid)) {
            if Instant::now() > until {
                return Err(format!("process {pid} of the server is still there 10 s after SIGKILL"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Stops the process that writes the log out in the background, until the result is dropped: what no backend flushes by
    /// itself is lost in a crash. Only [`Local::kill9`] ends such a server quickly.
    pub async fn without_wal_writer(&self) -> Stopped {
        let client = self.server().connect().await;
        let sql = "select pid, wait_event from pg_stat_activity where backend_type = 'walwriter'";
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            // A server accepts connections a little before it has one.
            if let Some(row) = client.query_opt(sql, &[]).await.expect("asking for the walwriter") {
                let stopped = Stopped::new(row.get::<_, i32>(0) as u32);
                // Where it does not sleep it may have been stopped with a lock of the log in its hands, and sooner or later everybody
                // would wait for that.
                let row = client.query_opt(sql, &[]).await.expect("asking what the walwriter does");
                if row.is_some_and(|row| row.get::<_, Option<&str>>(1) == Some("WalWriterMain")) {
                    return stopped;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the walwriter was never seen asleep");
    }

    /// A setting for the next start; the last one of a name counts.
    pub fn set(&self, setting: &str) {
        let path = self.root.join("data/postgresql.auto.conf");
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{text}{setting}\n")).expect("writing the server's settings");
    }

    /// A crash and the start after it.
    pub fn crash(&self) -> Result<(), String> {
        self.down("immediate")?;
        self.up()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.root.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// initdb takes a second; a copy of an earlier one takes a tenth.
    fn fill(&self) -> Result<(), String> {
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let name: String = self.version.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let cached = cache.join(format!("{name}-{}", self.who.map_or_else(|| "self".to_owned(), |(uid, _)| uid.to_string())));
        let data = self.root.join("data");
        if cached.join("PG_VERSION").exists() && output(Command::new("cp").arg("-a").arg(&cached).arg(&data)).is_ok() {
            return Ok(());
        }
        let _ = fs::remove_dir_all(&data);
        self.init(&data)?;
        // Made aside and renamed, because other test processes look for it at the same time. Without a cache it works as well.
        let aside = cache.join(format!("{name}-{}", std::process::id()));
        if output(Command::new("cp").arg("-a").arg(&data).arg(&aside)).is_err() || fs::rename(&aside, &cached).is_err() {
            let _ = fs::remove_dir_all(&aside);
        }
        Ok(())
    }

    fn init(&self, data: &Path) -> Result<(), String> {
        let settings = ["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"];
        output(self.command("initdb").args(settings).arg(data)).map(drop)
    }

    fn configure(&self, more: &str) -> Result<(), String> {
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nmax_connections = 200\n\
             max_prepared_transactions = 20\nwal_level = replica\nlog_line_prefix = '%m [%p] %u@%d '\n{more}",
            self.port,
            self.root.display()
        );
        let path = self.root.join("data/postgresql.auto.conf");
        fs::write(&path, settings).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Makes a standby a server that can be written to; returns when it is one.
    pub fn promote(&self) -> Result<(), String> {
        output(self.command("pg_ctl").args(["promote", "-w", "-t", "60", "-D"]).arg(self.root.join("data"))).map(drop)
    }

    /// `pg_upgrade` of another one into this one; both are down.
    pub fn upgrade_from(&self, old: &Self) -> Result<(), String> {
        let (bin, root) = (self.bin.display().to_string(), self.root.display().to_string());
        let (from, to) = (old.root.join("data").display().to_string(), self.root.join("data").display().to_string());
        self.run("pg_upgrade", &["-b", &bin, "-B", &bin, "-d", &from, "-D", &to, "-U", "postgres", "-s", &root])?;
        // The settings of the old one have not come along; those of this one stand where they were.
        Ok(())
    }

    /// Runs one of the server's programs to its end.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Result<String, String> {
        output(self.command(name).args(arguments))
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(&self.root).env_remove("PGDATA").env("LC_ALL", "C");
        if let Some((uid, gid)) = self.who {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn own(&self, path: &Path) -> Result<(), String> {
        match self.who {
            Some((uid, gid)) => unix_fs::chown(path, Some(uid), Some(gid)).map_err(|why| format!("{}: {why}", path.display())),
            None => Ok(()),
        }
    }
}

/// A process that stands still.
#[derive(Debug)]
pub struct Stopped(u32);

impl Stopped {
    /// Returns when it does.
    fn new(pid: u32) -> Self {
        signal("-STOP", pid);
        let until = Instant::now() + Duration::from_secs(10);
        while state(pid) != Some('T') {
            assert!(Instant::now() < until, "process {pid} does not stand still 10 s after SIGSTOP");
            std::thread::sleep(Duration::from_micros(100));
        }
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("-CONT", self.0);
    }
}

fn kill9(pid: u32) {
    signal("-9", pid);
}

/// It may have ended meanwhile.
fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Neither gone nor a zombie.
fn running(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The letter of its state; none when it is gone.
fn state(pid: u32) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    status.rsplit(')').next()?.trim().chars().next()
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.down("immediate");
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The directory with `postgres` and `initdb`. `pg_config` alone may have come with a client library.
fn find() -> Result<PathBuf, String> {
    let complete = |bin: &Path| ["postgres", "initdb", "pg_ctl"].iter().all(|name| bin.join(name).is_file());
    if let Ok(told) = output(Command::new("pg_config").arg("--bindir")) {
        let bin = PathBuf::from(told.trim());
        if complete(&bin) {
            return Ok(bin);
        }
    }
    let mut found = Vec::new();
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let version = entry.file_name().to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
            if let Some(version) = version.filter(|_| complete(&entry.path().join("bin"))) {
                found.push((version, entry.path().join("bin")));
            }
        }
    }
    found.into_iter().max().map(|(_, bin)| bin).ok_or_else(|| "no server binaries by pg_config --bindir nor in /usr/lib/postgresql/*/bin".to_owned())
}

/// The server refuses to run as root: there it runs as `postgres`, or as `nobody`.
fn unprivileged() -> Result<Option<(u32, u32)>, String> {
    if output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|why| format!("/etc/passwd: {why}"))?;
    let of = |name: &str| {
        let fields: Vec<_> = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    of("postgres")
        .or_else(|| of("nobody"))
        .map(Some)
        .ok_or_else(|| "the tests run as root, and there is neither a user postgres nor nobody to run the server".to_owned())
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().map_err(|why| format!("{name}: {why}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!("{name} failed: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))),
    }
}
