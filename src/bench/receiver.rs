//! A platform on loopback that answers 200 at once: one thread, no HTTP library, so that it costs as little as it can. The
//! daemon and the control meet the same one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::cpu;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// No request of the bench is longer.
const BUFFER: usize = 16 * 1024;

/// Ends with the value.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    count: Arc<AtomicU64>,
    arrivals: Option<mpsc::UnboundedReceiver<Arrival>>,
    thread: Option<cpu::Thread>,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
}

/// A request, when all of it had come.
#[derive(Debug)]
pub struct Arrival {
    /// Parameter `id` of its query.
    pub id: String,
    /// By the clock of this process.
    pub at: Instant,
}

impl Receiver {
    /// One that only counts.
    pub fn counting() -> std::io::Result<Self> {
        Self::start(None)
    }

    /// One that tells every arrival too.
    pub fn telling() -> std::io::Result<Self> {
        let (tell, told) = mpsc::unbounded_channel();
        let mut receiver = Self::start(Some(tell))?;
        receiver.arrivals = Some(told);
        Ok(receiver)
    }

    fn start(tell: Option<mpsc::UnboundedSender<Arrival>>) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (count, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (said, thread) = std::sync::mpsc::channel();
        let work = {
            let (count, stop) = (Arc::clone(&count), stop.clone());
            move || {
                let _ = said.send(cpu::Thread::current());
                runtime.block_on(async {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        _ = accept(listener, &count, &tell) => {}
                    }
                });
            }
        };
        let running = std::thread::Builder::new().name("receiver".into()).spawn(work)?;
        Ok(Self { address, count, arrivals: None, thread: thread.recv().ok().flatten(), stop, running: Some(running) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests until now.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Its processor time until now.
    pub fn spent(&self) -> Option<Duration> {
        self.thread.as_ref().and_then(cpu::Thread::spent)
    }

    /// The next arrival, where it tells them.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.as_mut()?.recv().await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, count: &Arc<AtomicU64>, tell: &Option<mpsc::UnboundedSender<Arrival>>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream, Arc::clone(count), tell.clone()));
    }
}

async fn answer(mut stream: TcpStream, count: Arc<AtomicU64>, tell: Option<mpsc::UnboundedSender<Arrival>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        filled += read;
        if read == 0 {
            return Ok(());
        }
        while let Some(length) = whole(&buffer[..filled]) {
            if let Some(tell) = &tell {
                let _ = tell.send(Arrival { id: id(&buffer[..length]), at: Instant::now() });
            }
            count.fetch_add(1, Ordering::Relaxed);
            stream.write_all(ANSWER).await?;
            buffer.copy_within(length..filled, 0);
            filled -= length;
        }
    }
}

/// Length of the first request, once all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let body = match bytes.starts_with(b"GET ") {
        true => 0,
        false => {
            let lines = std::str::from_utf8(&bytes[..head]).ok()?.lines();
            let length = lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
        }
    };
    (bytes.len() >= head + body).then_some(head + body)
}

fn id(request: &[u8]) -> String {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let target = String::from_utf8_lossy(line).split(' ').nth(1).unwrap_or_default().to_owned();
    let pairs = target.split_once('?').map_or("", |(_, query)| query).split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == "id").map(|(_, value)| value.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let get = b"GET /pb?a=1&id=purchase-7 HTTP/1.1\r\nhost: x\r\n\r\n";
        assert_eq!((whole(get), whole(&get[..20])), (Some(get.len()), None));
        assert_eq!(id(get), "purchase-7");
        let post = b"POST /pb HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET";
        assert_eq!((whole(post), whole(&post[..post.len() - 4])), (Some(post.len() - 3), None));
        assert_eq!(id(post), "");
    }
}
