//! What the HTTP client can do on this machine when nothing but HTTP happens: the control for every ratio that names postbackd's speed.
//!
//! `cargo bench --bench http_ceiling -- [IN_FLIGHT] [SECONDS]` (32 and 5 unless told otherwise). A receiver on loopback
//! answers at once, on a thread of its own. Measured in turn, twice each, so that a machine that slows down shows: the bare
//! client in a loop, and the same loop through `Transport`, whose price is the difference.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream::FuturesUnordered};
use postbackd::{
    destination::{Limits, Route},
    http::{Client, Transport},
    request::{Method, Request},
};

const BODY: &[u8] = br#"{"event_id":"purchase-1001","value":"140.98","currency":"USD","click":"EAIaIQobChMI-ceiling"}"#;

fn main() -> Result<()> {
    // cargo bench adds --bench.
    let mut numbers = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let in_flight = numbers.next().map_or(Ok(32), |text| text.parse()).context("IN_FLIGHT is a number of requests")?;
    let seconds = numbers.next().map_or(Ok(5), |text| text.parse()).context("SECONDS is a number")?;
    let receiver = receiver()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(compare(receiver, in_flight, Duration::from_secs(seconds)))
}

async fn compare(receiver: SocketAddr, in_flight: usize, time: Duration) -> Result<()> {
    let url = format!("http://{receiver}/pb?c=1");
    let bare = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(in_flight);
    // TLS is not used here, but a client cannot be made without knowing whose TLS it would be.
    let provider = rustls::crypto::ring::default_provider();
    anyhow::ensure!(provider.install_default().is_ok(), "another TLS provider is installed already");
    let bare = bare.build()?;
    let ours = Client::new(&Route::default(), &Limits { in_flight, ..Limits::default() })?;
    println!("{in_flight} in flight, {} s each, POST of {} bytes", time.as_secs(), BODY.len());
    for _ in 0..2 {
        let line = measure(in_flight, time, || {
            let request = bare.post(&url).header("content-type", "application/json").body(BODY);
            async move {
                let response = request.send().await?;
                let status = response.status().as_u16();
                response.bytes().await?;
                Ok(status)
            }
        });
        println!("bare client  {}", line.await?);
        let line = measure(in_flight, time, || {
            let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            let sending = ours.send(Request { headers, body: BODY.to_vec(), ..Request::new(Method::Post, url.clone()) }, Duration::from_secs(6));
            async move { Ok(sending.await?.status) }
        });
        println!("Transport    {}", line.await?);
    }
    Ok(())
}

/// Keeps `in_flight` requests under way for `time`; all must be answered 200.
async fn measure<F: Future<Output = Result<u16>>>(in_flight: usize, time: Duration, send: impl Fn() -> F) -> Result<String> {
    let timed = || async {
        let begun = Instant::now();
        let status = send().await?;
        anyhow::ensure!(status == 200, "the receiver answered {status}");
        anyhow::Ok(begun.elapsed())
    };
    let begun = Instant::now();
    let mut under_way: FuturesUnordered<_> = (0..in_flight).map(|_| timed()).collect();
    let mut took = Vec::new();
    while let Some(one) = under_way.next().await {
        took.push(one?);
        if begun.elapsed() < time {
            under_way.push(timed());
        }
    }
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
    Ok(format!("{rate:8.0} requests/s   p50 {:.2} ms   p99 {:.2} ms", at(50), at(99)))
}

/// A thread per connection and no HTTP library: it is to cost as little as it can.
fn receiver() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(at)
}

/// Every request of this program ends with `BODY`, and a kept connection carries one at a time.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = ([0; 4096], 0);
    loop {
        let count = stream.read(&mut buffer[filled..])?;
        filled += count;
        if count == 0 || filled == buffer.len() {
            return Ok(());
        }
        if buffer[..filled].ends_with(BODY) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
            filled = 0;
        }
    }
}
