//! `postbackd fake` as a process, and its `/_fake`.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    daemon::BINARY,
    reaper::{self, quoted},
};

/// Killed when dropped and when the test process ends.
pub struct Platforms {
    child: Child,
    address: String,
}

impl Platforms {
    /// On a free port.
    pub async fn start() -> Self {
        let mut child = Command::new(BINARY)
            .args(["--json", "fake", "--listen", "127.0.0.1:0", "--bodies"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starting postbackd fake");
        let (pid, binary) = (child.id(), quoted(BINARY));
        reaper::at_exit(&format!("if [ /proc/{pid}/exe -ef {binary} ]; then kill -9 {pid}; fi"));
        let mut lines = BufReader::new(child.stdout.take().expect("piped above")).lines();
        let first = lines.next().expect("a first line").expect("text");
        let said: Value = serde_json::from_str(&first).expect("JSON");
        let address = said["listening"].as_str().expect("where it listens").replace("http://", "");
        // Read on, or it would wait for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// What a destination has as its `base_url`.
    pub fn base(&self, platform: &str) -> String {
        format!("http://{}/{platform}", self.address)
    }

    /// Has a fault follow.
    pub async fn script(&self, rule: &str) {
        self.ask("POST", "/_fake/script", rule).await;
    }

    /// No faults any more.
    pub async fn forget(&self) {
        self.ask("DELETE", "/_fake/script", "").await;
    }

    /// What has come.
    pub async fn requests(&self, platform: &str) -> Vec<Value> {
        match self.ask("GET", &format!("/_fake/requests?platform={platform}"), "").await {
            Value::Array(records) => records,
            other => panic!("no list: {other}"),
        }
    }

    /// The same for people.
    pub async fn told(&self, platform: &str) -> String {
        let records = self.requests(platform).await;
        records.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(&self.address).await.expect("the fake listens");
        let head = format!("{method} {path} HTTP/1.1\r\nhost: fake\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).await.expect("asking the fake");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("its answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path} {body}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    }
}

impl Drop for Platforms {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
