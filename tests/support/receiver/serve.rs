//! The server side of the receiver.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{Arrival, Behaviour, Shared, locked};

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

pub fn run(listener: std::net::TcpListener, shared: Arc<Shared>, stopped: tokio::sync::oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        listener.set_nonblocking(true).expect("non-blocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let accepting = async {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                if locked(&shared.rules).refuse {
                    let _ = stream.set_zero_linger();
                    continue;
                }
                tokio::spawn(connection(stream, Arc::clone(&shared)));
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stopped => {}
        }
    });
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Resettable { stream, reset: Arc::clone(&reset) });
    let id = shared.connection();
    let serving = service_fn(move |request| answer(request, id, Arc::clone(&shared), Arc::clone(&reset)));
    // An error is what a reset or a client that gave up looks like from here.
    let _ = http1::Builder::new().serve_connection(io, serving).await;
}

async fn answer(request: Request<Incoming>, connection: u64, shared: Arc<Shared>, reset: Arc<AtomicBool>) -> Result<Answer, io::Error> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let raw_query = head.uri.query().unwrap_or_default().to_owned();
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut arrival = Arrival {
        n: 0,
        at,
        connection,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: url::form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect(),
        raw_query,
        headers: head.headers.iter().map(header).collect(),
        body: Bytes::new(),
        together: 0,
        answered: None,
        ended: None,
    };
    let unread = locked(&shared.rules).paths.get(&arrival.path).is_some_and(|behaviour| matches!(behaviour, Behaviour::ResetBeforeBody));
    if !unread {
        arrival.body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    }
    let mut open = Open::new(&shared, arrival);
    let behaviour = decide(&shared, open.n);
    let mut step = &behaviour;
    loop {
        match step {
            Behaviour::Delay(delay, then) => {
                tokio::time::sleep(*delay).await;
                step = then;
            }
            Behaviour::Hang => std::future::pending().await,
            Behaviour::ResetBeforeBody | Behaviour::ResetAfterBody => {
                reset.store(true, Ordering::Relaxed);
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Behaviour::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
            Behaviour::Answer { status, headers, body } => {
                let mut answer = Response::builder().status(*status);
                for (name, value) in headers {
                    answer = answer.header(name, value);
                }
                open.answered(*status);
                return answer.body(Full::new(body.clone()).map_err(|never| match never {}).boxed_unsync()).map_err(io::Error::other);
            }
            Behaviour::Drip { piece, every, times } => {
                open.answered(200);
                return Ok(Response::new(drip(piece.clone(), *every, *times)));
            }
        }
    }
}

fn drip(piece: Bytes, every: Duration, times: u64) -> UnsyncBoxBody<Bytes, io::Error> {
    let pieces = futures_util::stream::unfold(0, move |done| {
        let piece = piece.clone();
        async move {
            (done < times).then_some(())?;
            tokio::time::sleep(every).await;
            Some((Ok(Frame::data(piece)), done + 1))
        }
    });
    BodyExt::boxed_unsync(StreamBody::new(pieces))
}

fn decide(shared: &Shared, n: usize) -> Behaviour {
    let arrival = locked(&shared.log)[n].clone();
    let script = {
        let mut rules = locked(&shared.rules);
        if let Some(next) = rules.next.get_mut(&arrival.path).and_then(std::collections::VecDeque::pop_front) {
            return next;
        }
        rules.script.clone()
    };
    // Outside of the lock: a script may switch rules.
    if let Some(behaviour) = script.and_then(|script| script(&arrival)) {
        return behaviour;
    }
    let rules = locked(&shared.rules);
    rules.paths.get(&arrival.path).unwrap_or(&rules.otherwise).clone()
}

/// A request in the log that has not ended. Dropped with the request, also when the client goes away.
struct Open {
    shared: Arc<Shared>,
    n: usize,
    key: (String, String),
}

impl Open {
    fn new(shared: &Arc<Shared>, mut arrival: Arrival) -> Self {
        let key = (arrival.path.clone(), arrival.order());
        arrival.together = {
            let mut open = locked(&shared.open);
            let together = open.entry(key.clone()).or_default();
            *together += 1;
            *together
        };
        let n = {
            let mut log = locked(&shared.log);
            arrival.n = log.len();
            log.push(arrival);
            log.len() - 1
        };
        shared.tell();
        Self { shared: Arc::clone(shared), n, key }
    }

    fn answered(&mut self, status: u16) {
        if let Some(arrival) = locked(&self.shared.log).get_mut(self.n) {
            arrival.answered = Some((Instant::now(), status));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(together) = locked(&self.shared.open).get_mut(&self.key) {
            *together -= 1;
        }
        if let Some(arrival) = locked(&self.shared.log).get_mut(self.n) {
            arrival.ended = Some(Instant::now());
        }
        self.shared.tell();
    }
}

/// A connection that ends with a reset instead of an orderly close when the flag is up.
struct Resettable {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper shuts the connection down before it drops it: an orderly end that a reset must not have.
        if self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
