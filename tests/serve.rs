//! What listens: bounded, whoever calls, and gone when the daemon is.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    daemon::{Config, Daemon, command},
    postgres::database,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_daemon_says_so_and_a_stopped_one_is_gone() {
    let database = database().await;
    let mut daemon = Daemon::start(Config::new(&database).raw("[web]\nlisten = \"127.0.0.1:0\"\n")).await;
    let address = daemon.web().await;
    let mut kept = TcpStream::connect(&address).await.expect("a connection");
    kept.write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("a request");
    let mut answer = [0; 15];
    kept.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    // A client that says nothing more does not hold up the end.
    let mut silent = TcpStream::connect(&address).await.expect("a connection");
    silent.write_all(b"GET /live HT").await.expect("half a head");
    assert!(daemon.term().await.success(), "{}", daemon.stderr());
    assert!(TcpStream::connect(&address).await.is_err(), "somebody still listens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come_costs_nobody_a_place() {
    let database = database().await;
    let daemon = Daemon::start(Config::new(&database).raw("[web]\nlisten = \"127.0.0.1:0\"\n")).await;
    let address = daemon.web().await;
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        stream.write_all(b"GET /live HTTP/1.1\r\nHost: loc").await.expect("half a head");
        slow.push(stream);
    }
    let mut late = TcpStream::connect(&address).await.expect("a connection");
    late.write_all(b"GET /live HTTP/1.0\r\n\r\n").await.expect("a request");
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(60), late.read_to_string(&mut answer)).await.expect("an answer within a minute").expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_address_is_an_error_that_says_so() {
    let database = database().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let config = Config::new(&database).raw(&format!("[web]\nlisten = \"{address}\"\n"));
    let ended = command(&config, &["run"]);
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("[web] listen: {address} cannot be listened on")), "{text}");
}
