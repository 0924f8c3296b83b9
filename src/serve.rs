//! The only place that accepts connections for the daemon: HTTP/1.1, bounded, so that a slow or hostile client costs a place and
//! nothing else. What is answered is the callers'; so are limits on bodies and on the time that a request takes.

use std::{
    error::Error,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// What one listener bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// What becomes of the next one.
    pub full: Full,
    /// A request's head has come by then, and so has the next request of a connection that is kept.
    pub head: Duration,
    /// Requests that run when the listener is stopped may take that long.
    pub grace: Duration,
}

/// What one more client gets when all places are taken.
#[derive(Clone, Copy, Debug)]
pub enum Full {
    /// It waits in the kernel's queue.
    Waits,
    /// An answer and the end of the connection.
    Told {
        /// In HTTP, as bytes.
        answer: &'static [u8],
        /// Called each time.
        told: fn(),
    },
}

/// A head has no more fields than this.
const FIELDS: usize = 64;
/// Nor is it, or what is read of a body at once, longer than this many bytes.
const BUFFER: usize = 64 * 1024;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("[{section}] listen: {address} cannot be listened on: {source}; is another process there, or is the port below 1024?")]
pub struct BindError {
    section: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// The listener of a section of the configuration.
pub async fn bind(section: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { section, address, source })
}

/// Serves until told to stop, then lets running requests end within the grace. `answering` makes what answers one client's requests.
pub async fn serve<S, B>(listener: TcpListener, limits: Limits, stop: CancellationToken, answering: impl Fn(SocketAddr) -> S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        // Ended ones are collected as others come: the set holds no more than there are places.
        while connections.try_join_next().is_some() {}
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            next = next(&listener, &places, limits.full) => next,
        };
        let (stream, peer, place) = match next {
            Ok(next) => next,
            Err(error) => {
                // Out of file descriptors, mostly: others end meanwhile.
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (service, stop) = (answering(peer), stop.clone());
        connections.spawn(async move {
            let _place = place;
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_headers(FIELDS).max_buf_size(BUFFER).half_close(false);
            let serving = http.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(serving);
            tokio::select! {
                // An error is a client that went away, took too long or sent no HTTP.
                _ = serving.as_mut() => return,
                () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
            }
            let _ = serving.await;
        });
    }
    drop(listener);
    let until = Instant::now() + limits.grace;
    while let Ok(Some(_)) = tokio::time::timeout_at(until.into(), connections.join_next()).await {}
    connections.shutdown().await;
}

/// The next client that has a place.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>, full: Full) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = || Arc::clone(places);
    match full {
        Full::Waits => {
            let place = place().acquire_owned().await.map_err(io::Error::other)?;
            let (stream, peer) = listener.accept().await?;
            Ok((stream, peer, place))
        }
        Full::Told { answer, told } => loop {
            let (stream, peer) = listener.accept().await?;
            match place().try_acquire_owned() {
                Ok(place) => return Ok((stream, peer, place)),
                // What does not fit into an empty socket's buffer at once is not waited for.
                Err(_) => {
                    told();
                    let _ = stream.try_write(answer);
                }
            }
        },
    }
}
