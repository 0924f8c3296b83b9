//! What Apple's devices send: kept once, forwarded once, and no way for a stranger into the shop's disk or into the outbox's way.
//! `tests/apple/*.json` are the samples of Apple's documentation.

mod command;
mod listener;
mod relay;
mod store;

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::daemon::Daemon;

pub const SKAN: &str = "/.well-known/skadnetwork/report-attribution/";
pub const AAK: &str = "/.well-known/appattribution/report-attribution/";

/// One of Apple's samples.
pub fn sample(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apple").join(name);
    std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// What is answered to a POST.
pub async fn post(port: u16, path: &str, body: &[u8]) -> u16 {
    post_from(port, path, body, "").await
}

/// The same with a header line more.
pub async fn post_from(port: u16, path: &str, body: &[u8], header: &str) -> u16 {
    let head = format!("POST {path} HTTP/1.1\r\nHost: shop.example\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    status(port, &[head.as_bytes(), body].concat()).await
}

/// What is answered to these bytes; 0: the connection was closed without a word.
pub async fn status(port: u16, request: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connecting to the listener");
    // Whoever is refused may find the connection closed before all is written.
    let _ = stream.write_all(request).await;
    read_status(&mut stream).await
}

/// What comes until the end, 30 s at most.
pub async fn read_status(stream: &mut TcpStream) -> u16 {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("an end within 30 s");
    String::from_utf8_lossy(&answer).strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}

/// The port of a daemon's listener.
pub async fn port(daemon: &Daemon) -> u16 {
    let line = daemon.wait_line("taking postbacks of Apple's").await;
    let digits = line.rsplit(':').next().unwrap_or_default().chars().take_while(char::is_ascii_digit).collect::<String>();
    digits.parse().unwrap_or_else(|_| panic!("no port in {line:?}"))
}

/// `[apple]` with the app of Apple's samples, and more keys.
pub fn apple(more: &str) -> String {
    format!(
        "[apple]\nlisten = \"127.0.0.1:0\"\napp.525463029 = {{ name = \"Shop\", currency = \"EUR\", fine = {{ 60-63 = {{ meaning = \"bought\", value = \"49.9\" }} }} }}\n{more}\n"
    )
}
