//! HTTP/1.1 for two paths, with a bound on everything.
//!
//! By hyper, which is in the tree anyway; there is nothing to route. Heads and bodies have a time in which they must be whole, connections
//! a number, and whoever comes in vain hears it at once.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_util::sync::CancellationToken;

use super::{
    Rules,
    desk::{Desk, Told},
};
use crate::{
    apple::{
        BODY_MAX, Protocol,
        count::{self, Label},
    },
    outbox::connect::Database,
};

/// For a whole head, also the next one of a connection that is kept.
const HEAD: Duration = Duration::from_secs(5);
/// For a whole body.
const BODY: Duration = Duration::from_secs(5);
/// Between two tries to get the port.
const AGAIN: Duration = Duration::from_secs(5);
/// Numbers are written down that often.
const COUNTS: Duration = Duration::from_secs(2);
/// After being told to stop: for what is being answered.
const DRAIN: Duration = Duration::from_secs(5);

/// Listens until it is told to stop.
pub(super) async fn run(rules: watch::Receiver<Arc<Rules>>, database: &Database, stop: &CancellationToken) {
    let (listen, connections) = {
        let rules = rules.borrow();
        (rules.settings.listen, rules.settings.connections)
    };
    let desk = match Desk::new(database) {
        Ok(desk) => Arc::new(desk),
        Err(error) => return tracing::error!(error = %error, "Apple's postbacks cannot be taken"),
    };
    let Some(listener) = bind(listen, stop).await else { return };
    let listen = listener.local_addr().unwrap_or(listen);
    tracing::info!(%listen, "taking postbacks of Apple's");
    let room = Arc::new(Semaphore::new(connections));
    let tidy = async {
        loop {
            tokio::time::sleep(COUNTS).await;
            let rules = Arc::clone(&rules.borrow());
            rules.gate.tidy();
            desk.write_counts().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept(&listener, &room, &rules, &desk, stop) => {}
        () = tidy => {}
    }
    drop(listener);
    // Whoever has a place gives it back when it is done.
    let all = u32::try_from(connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(DRAIN, room.acquire_many(all)).await;
    desk.write_counts().await;
}

/// The port; the outbox side does not wait for it.
async fn bind(listen: std::net::SocketAddr, stop: &CancellationToken) -> Option<TcpListener> {
    let mut told = false;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => return Some(listener),
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::error!(%listen, error = %error, "cannot listen for Apple's postbacks; it is tried again every {AGAIN:?}");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>, rules: &watch::Receiver<Arc<Rules>>, desk: &Arc<Desk>, stop: &CancellationToken) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file descriptors, mostly: others end meanwhile.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        match Arc::clone(room).try_acquire_owned() {
            Ok(place) => {
                let (rules, desk, stop) = (rules.clone(), Arc::clone(desk), stop.clone());
                tokio::spawn(connection(stream, peer.ip(), place, rules, desk, stop));
            }
            Err(_) => refuse(&stream),
        }
    }
}

/// Nobody knows yet which path would be asked for: 500 is what brings both kinds of postbacks back.
fn refuse(stream: &TcpStream) {
    let _ = stream.try_write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    place: OwnedSemaphorePermit,
    rules: watch::Receiver<Arc<Rules>>,
    desk: Arc<Desk>,
    stop: CancellationToken,
) {
    let answering = service_fn(|request| {
        let (rules, desk) = (Arc::clone(&rules.borrow()), Arc::clone(&desk));
        async move { Ok::<_, Infallible>(answer(request, peer, &rules, &desk).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(64).max_buf_size(BODY_MAX).half_close(false);
    let serving = http.serve_connection(TokioIo::new(stream), answering);
    tokio::pin!(serving);
    // An error is a client that went away or sent no HTTP.
    tokio::select! {
        _ = &mut serving => {}
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(DRAIN, serving).await;
        }
    }
    drop(place);
}

async fn answer(request: Request<Incoming>, peer: IpAddr, rules: &Rules, desk: &Desk) -> Response<Empty<Bytes>> {
    let Some(protocol) = Protocol::at(request.uri().path()).filter(|_| request.method() == hyper::Method::POST) else {
        return last(StatusCode::NOT_FOUND);
    };
    let forwarded: Vec<&str> = request.headers().get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    if !rules.gate.admits(peer, forwarded.into_iter()) {
        count::add(Label::unread(protocol, "limited", ""));
        return last(status(Told::TooOften, protocol));
    }
    if request.body().size_hint().lower() > BODY_MAX as u64 {
        count::add(Label::unread(protocol, "malformed", "too_large"));
        return last(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let body = match tokio::time::timeout(BODY, Limited::new(request.into_body(), BODY_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => {
            let too_large = error.is::<http_body_util::LengthLimitError>();
            count::add(Label::unread(protocol, "malformed", if too_large { "too_large" } else { "cut_off" }));
            return last(if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST });
        }
        Err(_) => {
            count::add(Label::unread(protocol, "malformed", "too_slow"));
            return last(StatusCode::REQUEST_TIMEOUT);
        }
    };
    let told = desk.take(protocol, &body, &rules.settings).await;
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status(told, protocol);
    response
}

fn status(told: Told, protocol: Protocol) -> StatusCode {
    StatusCode::from_u16(told.status(protocol)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The connection ends with it: nobody reads what else was sent.
fn last(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
