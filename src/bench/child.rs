//! Processes of this same binary: the daemon as it runs in earnest, and the control. They end with the bench, however it ends.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};

use super::{BenchError, control, cpu};

/// What a child is to do: the hidden argument of `postbackd bench`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// `postbackd run`.
    Daemon,
    /// Requests as fast as they go.
    Control(control::Job),
}

/// In a child: it goes when its parent goes.
pub fn follow_parent() {
    let parent = getppid();
    // Only an optimist would measure on without it; nothing is lost.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    if parent != getppid() {
        std::process::exit(1);
    }
}

fn command(binary: &Path, part: &Part) -> Result<Command, BenchError> {
    let text = serde_json::to_string(part).map_err(|error| BenchError::Child { what: "a child", why: error.to_string() })?;
    let mut command = Command::new(binary);
    command.args(["bench", "--part", &text]).stdin(Stdio::null()).kill_on_drop(true);
    // The receiver is on loopback, and what the owner's shell says of the real daemon is not for this one.
    for name in
        ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "POSTBACKD_CONFIG", "POSTBACKD_URL", "POSTBACKD_LOG"]
    {
        command.env_remove(name);
    }
    Ok(command)
}

/// Runs a part to its end; what it printed.
pub(super) async fn output(binary: &Path, part: &Part) -> Result<String, BenchError> {
    let failed = |why: String| BenchError::Child { what: "the control", why };
    let running = command(binary, part)?.stderr(Stdio::piped()).output();
    let output = tokio::time::timeout(control::PATIENCE, running).await.map_err(|_| failed("it does not end".into()))??;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    pid: u32,
    said: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// Starts it for the database behind `url` with the rest of its configuration. Nothing is written to disk: the file comes
    /// through a pipe and the URL through the environment.
    pub async fn start(binary: &Path, url: &str, configuration: &str) -> Result<Self, BenchError> {
        let mut command = command(binary, &Part::Daemon)?;
        command.args(["--config", "/dev/stdin"]).env("POSTBACKD_BENCH_URL", url);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let pid = child.id().ok_or_else(|| ended("it ended at once"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(configuration.as_bytes()).await?;
        }
        let said = Arc::new(Mutex::new(Vec::new()));
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    // The first ones tell what went wrong, and a daemon in trouble repeats itself.
                    if said.len() < 20 {
                        said.push(line);
                    }
                }
            });
        }
        Ok(Self { child, pid, said })
    }

    /// An error if it has ended, with what it said.
    pub fn alive(&mut self) -> Result<(), BenchError> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(ended(&format!("it ended with {status}\n{}", self.said()))),
        }
    }

    /// What it wrote to stderr: warnings and errors.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Its processor time until now.
    pub fn spent(&self) -> Option<Duration> {
        cpu::process(self.pid)
    }

    /// Its resident memory now, in bytes.
    pub fn resident(&self) -> Option<u64> {
        cpu::resident(self.pid)
    }

    /// SIGTERM, and waits until it has drained and released the outbox.
    pub async fn stop(mut self) -> Result<(), BenchError> {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw).filter(|_| self.child.id().is_some()) {
            kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
        }
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.map_err(|_| ended("it does not stop within 30 s"))??;
        match status.success() {
            true => Ok(()),
            false => Err(ended(&format!("it stopped with {status}\n{}", self.said()))),
        }
    }
}

fn ended(why: &str) -> BenchError {
    BenchError::Child { what: "the daemon", why: why.trim().to_owned() }
}
