//! What the figures were measured on: without it they mean nothing.

use serde::Serialize;
use tokio_postgres::Client;

use super::{Bench, BenchError, scratch::Place};

/// The machine that the bench runs on. What cannot be read is `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// As the kernel names it.
    pub cpu: Option<String>,
    /// That this process may use.
    pub cores: Option<usize>,
    /// In MiB.
    pub memory: Option<u64>,
    /// Name and release.
    pub kernel: String,
    /// Processes that wanted to run in the last minute, before the bench began: other people's load.
    pub load: Option<f64>,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let name = rustix::system::uname();
        Self {
            // ARM kernels give no name, only numbers.
            cpu: read("/proc/cpuinfo").and_then(|text| field(&text, "model name")),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            memory: read("/proc/meminfo")
                .and_then(|text| field(&text, "MemTotal")?.strip_suffix(" kB")?.parse::<u64>().ok())
                .map(|kilobytes| kilobytes / 1024),
            kernel: format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
            load: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }
}

/// The server and the settings that the figures hang on.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// As it names itself.
    pub version: String,
    /// Its processes are seen from here, so their processor time is too.
    pub same_machine: bool,
    /// Name and value with unit, as `show` prints it.
    pub settings: Vec<(String, String)>,
}

const SETTINGS: [&str; 12] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "wal_compression",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "commit_delay",
    "synchronous_standby_names",
    "data_checksums",
];

impl Server {
    /// The one behind a scratch database.
    pub async fn of(bench: &Bench, db: &Client, place: &Place) -> Result<Self, BenchError> {
        let version = db.query_one("select current_setting('server_version')", &[]).await?.get(0);
        let names: Vec<&str> = SETTINGS.to_vec();
        let sql = "select n, current_setting(n, true) from unnest($1::text[]) with ordinality w(n, o) where current_setting(n, true) is not null order by o";
        let settings = db.query(sql, &[&names]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(Self { version, same_machine: bench.server(db, place).await?.is_some(), settings })
    }
}
