//! A platform that does as it is told: an HTTP server on a thread of its own that records every request and answers,
//! delays, hangs, resets or breaks off, switchable while it runs.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::watch;

mod serve;

/// How one request is treated.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// An answer at once.
    Answer {
        /// HTTP status.
        status: u16,
        /// Header lines.
        headers: Vec<(String, String)>,
        /// Body.
        body: Bytes,
    },
    /// The same, later.
    Delay(Duration, Box<Behaviour>),
    /// No answer; ends when the client gives up, or with the receiver.
    Hang,
    /// Connection reset once the headers have been read, the body unread.
    ResetBeforeBody,
    /// Connection reset once everything has been read.
    ResetAfterBody,
    /// Connection closed in an orderly manner, without an answer.
    Close,
    /// Status 200, then `piece` again and again, `every` so long, `times` times.
    Drip {
        /// What.
        piece: Bytes,
        /// Pause before each.
        every: Duration,
        /// How often.
        times: u64,
    },
}

impl Behaviour {
    /// An answer with this status and no body.
    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// An answer with a body.
    pub fn body(status: u16, body: impl Into<Bytes>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into() }
    }

    /// The same answer with a header more.
    pub fn header(self, name: &str, value: &str) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Answer { status, headers, body }
            }
            other => panic!("{other:?} has no headers"),
        }
    }

    /// The same, this much later.
    pub fn after(self, delay: Duration) -> Self {
        Self::Delay(delay, Box::new(self))
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Place among all requests, from 0.
    pub n: usize,
    /// When its headers had arrived.
    pub at: Instant,
    /// Which connection, from 1.
    pub connection: u64,
    /// Method.
    pub method: String,
    /// Path, as it was sent.
    pub path: String,
    /// Query as it was sent, without the question mark.
    pub raw_query: String,
    /// Query, decoded.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
    /// Requests of the same path and order that were open when it came, itself included.
    pub together: usize,
    /// When the answer was handed over, and its status.
    pub answered: Option<(Instant, u16)>,
    /// When it was over: answered, reset, or given up by the client.
    pub ended: Option<Instant>,
}

impl Arrival {
    /// First value of a query parameter, else of a form field, else of a top-level JSON field.
    pub fn param(&self, name: &str) -> Option<String> {
        if let Some((_, value)) = self.query.iter().find(|(have, _)| have == name) {
            return Some(value.clone());
        }
        let kind = self.header("content-type").unwrap_or_default();
        if kind.starts_with("application/x-www-form-urlencoded") {
            return url::form_urlencoded::parse(&self.body).find(|(have, _)| have == name).map(|(_, value)| value.into_owned());
        }
        match serde_json::from_slice::<serde_json::Value>(&self.body).ok()?.get(name)? {
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// The dedupe id, by the name that the tests' templates give it.
    pub fn id(&self) -> String {
        self.param("id").unwrap_or_default()
    }

    /// The order.
    pub fn order(&self) -> String {
        self.param("order").unwrap_or_default()
    }

    /// First value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Answered with 2xx.
    pub fn taken(&self) -> bool {
        self.answered.is_some_and(|(_, status)| (200..300).contains(&status))
    }
}

type Script = Arc<dyn Fn(&Arrival) -> Option<Behaviour> + Send + Sync>;

struct Rules {
    otherwise: Behaviour,
    paths: BTreeMap<String, Behaviour>,
    /// Consumed from the front, before everything else.
    next: BTreeMap<String, std::collections::VecDeque<Behaviour>>,
    script: Option<Script>,
    refuse: bool,
}

struct Shared {
    log: Mutex<Vec<Arrival>>,
    rules: Mutex<Rules>,
    /// Open requests by path and order.
    open: Mutex<BTreeMap<(String, String), usize>>,
    changed: watch::Sender<u64>,
    connections: AtomicU64,
}

/// A running receiver; it ends when dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    /// Listens on a free port of 127.0.0.1 and answers 200 to everything.
    pub fn start() -> Self {
        let rules = Rules { otherwise: Behaviour::status(200), paths: BTreeMap::new(), next: BTreeMap::new(), script: None, refuse: false };
        let shared = Arc::new(Shared {
            log: Mutex::default(),
            rules: Mutex::new(rules),
            open: Mutex::default(),
            changed: watch::channel(0).0,
            connections: AtomicU64::new(0),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound above");
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve::run(listener, serving, stopped));
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `http://127.0.0.1:port` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What happens where nothing else is said.
    pub fn always(&self, behaviour: Behaviour) {
        locked(&self.shared.rules).otherwise = behaviour;
    }

    /// What happens on one path.
    pub fn on(&self, path: &str, behaviour: Behaviour) {
        locked(&self.shared.rules).paths.insert(path.to_owned(), behaviour);
    }

    /// What happens to the next requests on one path, in this order; afterwards the other rules hold.
    pub fn next(&self, path: &str, behaviours: impl IntoIterator<Item = Behaviour>) {
        locked(&self.shared.rules).next.entry(path.to_owned()).or_default().extend(behaviours);
    }

    /// Asked for every request without a rule of [`Receiver::next`]; `None` leaves it to the other rules.
    pub fn script(&self, script: impl Fn(&Arrival) -> Option<Behaviour> + Send + Sync + 'static) {
        locked(&self.shared.rules).script = Some(Arc::new(script));
    }

    /// New connections are reset at once, unread.
    pub fn refuse(&self, refuse: bool) {
        locked(&self.shared.rules).refuse = refuse;
    }

    /// A copy of all requests so far.
    pub fn log(&self) -> Vec<Arrival> {
        locked(&self.shared.log).clone()
    }

    /// Requests on one path.
    pub fn at(&self, path: &str) -> Vec<Arrival> {
        locked(&self.shared.log).iter().filter(|arrival| arrival.path == path).cloned().collect()
    }

    /// Forgets the requests so far. Only while none is open.
    pub fn forget(&self) {
        locked(&self.shared.log).clear();
    }

    /// When each dedupe id first came on a path.
    pub fn first(&self, path: &str) -> BTreeMap<String, Instant> {
        let mut first = BTreeMap::new();
        for arrival in self.at(path) {
            first.entry(arrival.id()).or_insert(arrival.at);
        }
        first
    }

    /// Most requests of one order that were open at once on a path: 1 where lanes work.
    pub fn most_together(&self, path: &str) -> usize {
        locked(&self.shared.log).iter().filter(|arrival| arrival.path == path).map(|arrival| arrival.together).max().unwrap_or(0)
    }

    /// Waits for that many requests in all.
    pub async fn wait_for(&self, count: usize) -> Vec<Arrival> {
        self.wait_until(&format!("{count} requests"), |log| log.len() >= count).await
    }

    /// Waits until the log satisfies a condition; panics with the log after 30 s.
    pub async fn wait_until(&self, what: &str, holds: impl FnMut(&[Arrival]) -> bool) -> Vec<Arrival> {
        self.wait_within(Duration::from_secs(30), what, holds).await
    }

    /// The same with another deadline.
    pub async fn wait_within(&self, within: Duration, what: &str, mut holds: impl FnMut(&[Arrival]) -> bool) -> Vec<Arrival> {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                {
                    let log = locked(&self.shared.log);
                    if holds(&log) {
                        return log.clone();
                    }
                }
                changed.changed().await.expect("the receiver lives as long as we borrow it");
            }
        };
        match tokio::time::timeout(within, waiting).await {
            Ok(log) => log,
            Err(_) => panic!("the receiver waited {within:?} in vain for {what}\n{}", self.dump()),
        }
    }

    /// The last 40 requests, a line each.
    pub fn dump(&self) -> String {
        let log = locked(&self.shared.log);
        let mut text = format!("{} requests came:\n", log.len());
        let start = log.first().map(|arrival| arrival.at);
        for arrival in &log[log.len().saturating_sub(40)..] {
            let since = start.map(|start| arrival.at.duration_since(start)).unwrap_or_default();
            let state = match (arrival.answered, arrival.ended) {
                (Some((_, status)), _) => status.to_string(),
                (None, Some(_)) => "no answer".to_owned(),
                (None, None) => "open".to_owned(),
            };
            let query = &arrival.raw_query;
            text.push_str(&format!("  {:>9.3}s {} {}?{query} -> {state}\n", since.as_secs_f64(), arrival.method, arrival.path));
        }
        text
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn tell(&self) {
        self.changed.send_modify(|version| *version += 1);
    }
}

/// A panicking test must not hide its reason behind a poisoned lock.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
