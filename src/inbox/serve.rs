//! Two paths, with a bound on everything: heads and bodies have a time in which they must be whole, connections a number, and whoever
//! comes in vain hears it at once.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{CONNECTION, HeaderValue},
    service::service_fn,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

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
    serve::{self, Full, Limits},
};

/// For a whole head, also the next one of a connection that is kept.
const HEAD: Duration = Duration::from_secs(5);
/// For a whole body.
const BODY: Duration = Duration::from_secs(5);
/// Between two tries to get the port.
const AGAIN: Duration = Duration::from_secs(5);
/// Numbers are written down that often.
const COUNTS: Duration = Duration::from_secs(2);
/// After being told to stop: for what is being answered, for what is being kept, and for the last numbers.
const DRAIN: Duration = Duration::from_secs(5);
/// Nobody knows yet which path would be asked for: 500 is what brings both kinds of postbacks back.
const FULL: Full = Full::Told {
    answer: b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    told: || count::add(Label::CROWDED),
};

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
    let limits = Limits { connections, full: FULL, head: HEAD, grace: DRAIN };
    // What is being judged and kept ends by itself, also when its client has gone: a statement that nobody waits for any longer would
    // stand in the next one's way, and would not be counted.
    let judging = TaskTracker::new();
    let answering = |peer: SocketAddr| {
        let (rules, desk, judging) = (rules.clone(), Arc::clone(&desk), judging.clone());
        service_fn(move |request| {
            let (rules, desk, judging) = (Arc::clone(&rules.borrow()), Arc::clone(&desk), judging.clone());
            async move { Ok::<_, Infallible>(answer(request, peer.ip(), rules, desk, judging).await) }
        })
    };
    let tidy = async {
        while stop.run_until_cancelled(tokio::time::sleep(COUNTS)).await.is_some() {
            let rules = Arc::clone(&rules.borrow());
            rules.gate.tidy();
            // A batch that is cut off here is the one that is written below.
            stop.run_until_cancelled(desk.write_counts()).await;
        }
    };
    tokio::join!(serve::serve(listener, limits, stop.clone(), answering), tidy);
    judging.close();
    // A database that hangs must not keep the daemon from its end.
    let _ = tokio::time::timeout(DRAIN, judging.wait()).await;
    let _ = tokio::time::timeout(DRAIN, desk.write_counts()).await;
}

/// The port; the outbox side does not wait for it.
async fn bind(listen: SocketAddr, stop: &CancellationToken) -> Option<TcpListener> {
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

async fn answer(request: Request<Incoming>, peer: IpAddr, rules: Arc<Rules>, desk: Arc<Desk>, judging: TaskTracker) -> Response<Empty<Bytes>> {
    let Some(protocol) = Protocol::at(request.uri().path()).filter(|_| request.method() == hyper::Method::POST) else {
        return last(StatusCode::NOT_FOUND);
    };
    let forwarded = request.headers().get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes);
    if !rules.gate.admits(peer, forwarded) {
        count::add(Label::unread(protocol, "limited", "rate"));
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
            count::add(Label::unread(protocol, "limited", "too_slow"));
            return last(status(Told::TooSlow, protocol));
        }
    };
    let told = judging.spawn(async move { desk.take(protocol, &body, &rules.settings).await }).await;
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status(told.unwrap_or(Told::Away), protocol);
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
