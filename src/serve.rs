//! The only place that accepts connections for the daemon: HTTP/1.1, bounded, so that a slow or hostile client costs a place and
//! nothing else. Routes are the callers'; so are limits on bodies and on the time that a request takes.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// What one listener bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; the next one waits in the kernel's queue.
    pub connections: usize,
    /// A request's head has come by then, and so has the next request of a connection that is kept.
    pub head: Duration,
    /// Requests that run when the listener is stopped may take that long.
    pub grace: Duration,
}

/// Whose request this is: an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

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

/// Serves until told to stop, then lets running requests end within the grace.
pub async fn serve(listener: TcpListener, routes: Router, limits: Limits, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        // Ended ones are collected as others come: the set holds no more than there are places.
        while connections.try_join_next().is_some() {}
        let place = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: others end meanwhile.
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(routes.clone().layer(Extension(Peer(peer))));
        let stop = stop.clone();
        connections.spawn(async move {
            let _place = place;
            let mut http = http1::Builder::new();
            let serving = http.timer(TokioTimer::new()).header_read_timeout(limits.head).serve_connection(TokioIo::new(stream), service);
            tokio::pin!(serving);
            tokio::select! {
                // An error is a client that went away or took too long.
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
