//! A way to PostgreSQL that breaks where a test wants it to. It reads enough of the protocol to know which statement a
//! request carries and which answer belongs to it, so that a connection can end exactly between a COMMIT and its answer.
//!
//! A request is what the server answers with one ReadyForQuery: a simple query, or everything up to a Sync.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, watch},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::postgres::Database;

/// Each session of an owner has one of these, made when its epoch is known.
pub const READER: &str = "postbackd ingest";

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Fate {
    /// As if nobody were between.
    Pass,
    /// The server never sees it; the client loses the connection.
    CutRequest,
    /// The server has carried it out; its answer is dropped and the client loses the connection.
    CutAnswer,
    /// Taken, never passed on and never answered.
    Swallow,
    /// The client loses the connection; the server gets the request when [`Late::release`] is called.
    Late(Late),
}

/// A request that is under way for longer than its client lives.
#[derive(Clone, Debug, Default)]
pub struct Late {
    go: Arc<Notify>,
    /// What the server made of it.
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    came: Arc<Notify>,
}

impl Late {
    /// Hands it to the server and waits for the answer: the number that its first row holds, or `None`: no row, an error.
    pub async fn release(&self) -> Option<i64> {
        self.go.notify_one();
        tokio::time::timeout(Duration::from_secs(30), self.came.notified()).await.expect("the server answers a late request within 30 s");
        let answer = locked(&self.answer).take().expect("told above");
        first_column(&answer)
    }
}

/// A request as it passes.
#[derive(Debug)]
pub struct Asked<'a> {
    /// `application_name` of its session, `postbackd ingest` for example.
    pub who: &'a str,
    /// SQL of its statements.
    pub sql: &'a str,
    /// How many sessions of [`READER`] have come so far, its own daemon's session included.
    pub begun: usize,
}

#[derive(Clone, Debug)]
struct Frozen {
    /// Beginning of the session's name.
    who: String,
    /// Only the first so many connections.
    first: usize,
}

type Script = Box<dyn FnMut(&Asked<'_>) -> Fate + Send>;

struct Shared {
    server: String,
    script: Mutex<Script>,
    /// Who is silent in both directions, and open.
    frozen: watch::Sender<Option<Frozen>>,
    /// Ends every connection.
    cut: Mutex<CancellationToken>,
    /// Application names of connections, in the order in which they came.
    sessions: Mutex<Vec<String>>,
}

/// A running proxy. It ends with the test's runtime.
pub struct Proxy {
    address: SocketAddr,
    database: Url,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Between a free port of 127.0.0.1 and the server of `database`.
    pub async fn start(database: &Database) -> Self {
        let url = Url::parse(database.url()).expect("made by us");
        let server = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound above");
        let shared = Arc::new(Shared {
            server,
            script: Mutex::new(Box::new(|_| Fate::Pass)),
            frozen: watch::Sender::new(None),
            cut: Mutex::default(),
            sessions: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(Arc::clone(&serving), client));
            }
        });
        Self { address, database: url, shared }
    }

    /// The database's URL through here. TLS would hide the statements.
    pub fn url(&self) -> String {
        let mut url = self.database.clone();
        url.set_host(Some("127.0.0.1"))
            .and_then(|()| url.set_port(Some(self.address.port())).map_err(|()| url::ParseError::EmptyHost))
            .expect("it has a host");
        url.set_query(Some("sslmode=disable"));
        url.to_string()
    }

    /// Asked for every request from now on.
    pub fn script(&self, script: impl FnMut(&Asked<'_>) -> Fate + Send + 'static) {
        *locked(&self.shared.script) = Box::new(script);
    }

    /// Sessions whose name begins with `who` go silent without being closed; so do new ones. "" for all.
    pub fn freeze(&self, who: &str) {
        self.shared.frozen.send_replace(Some(Frozen { who: who.to_owned(), first: usize::MAX }));
    }

    /// The same for those that are there; new ones work.
    pub fn freeze_existing(&self, who: &str) {
        let first = locked(&self.shared.sessions).len();
        self.shared.frozen.send_replace(Some(Frozen { who: who.to_owned(), first }));
    }

    /// They go on where they were.
    pub fn thaw(&self) {
        self.shared.frozen.send_replace(None);
    }

    /// Closes every connection.
    pub fn cut(&self) {
        std::mem::take(&mut *locked(&self.shared.cut)).cancel();
    }

    /// How many connections have come from sessions of this name.
    pub fn sessions(&self, who: &str) -> usize {
        locked(&self.shared.sessions).iter().filter(|name| *name == who).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    /// Returns when this connection may go on.
    async fn thawed(&self, me: &Me) {
        let mut frozen = self.frozen.subscribe();
        let free = |frozen: &Option<Frozen>| frozen.as_ref().is_none_or(|frozen| !me.who.starts_with(&frozen.who) || me.number >= frozen.first);
        // The sender lives as long as we do.
        let _ = frozen.wait_for(free).await;
    }
}

#[derive(Clone)]
struct Me {
    who: String,
    number: usize,
}

/// The way back to a client, while it has one.
type Back = Arc<tokio::sync::Mutex<Option<OwnedWriteHalf>>>;

/// One connection of a client.
async fn connection(shared: Arc<Shared>, client: TcpStream) {
    let cut = locked(&shared.cut).child_token();
    let Ok(server) = TcpStream::connect(&shared.server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((mut from_client, to_client), (from_server, mut to_server)) = (client.into_split(), server.into_split());
    let Ok(startup) = startup(&mut from_client).await else { return };
    let me = {
        let who = parameter(&startup, "application_name").unwrap_or_default();
        let mut sessions = locked(&shared.sessions);
        sessions.push(who.clone());
        Me { who, number: sessions.len() - 1 }
    };
    shared.thawed(&me).await;
    if to_server.write_all(&startup).await.is_err() {
        return;
    }
    let expected = Arc::new(Mutex::new(VecDeque::from([Fate::Pass])));
    // The two directions end together, but for a late request, which keeps the server's half.
    let over = cut.child_token();
    let to_client = Arc::new(tokio::sync::Mutex::new(Some(to_client)));
    let up = ask(Arc::clone(&shared), me.clone(), from_client, to_server, Arc::clone(&to_client), Arc::clone(&expected), over.clone());
    let down = answer(shared, me, from_server, to_client, expected, over.clone());
    tokio::join!(up, down);
}

/// Client to server.
async fn ask(
    shared: Arc<Shared>,
    me: Me,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    back: Back,
    expected: Arc<Mutex<VecDeque<Fate>>>,
    over: CancellationToken,
) {
    let (mut request, mut sql) = (Vec::new(), String::new());
    // Statements that this session has prepared, by name; whether this request only prepares one.
    let (mut named, mut preparing) = (HashMap::<Vec<u8>, String>::new(), false);
    loop {
        let Some(frame) = next_frame(&shared, &me, &mut from, &over).await else { return };
        let Ok(frame) = frame else { break };
        let kind = frame[0];
        match kind {
            b'Q' => sql.push_str(text(&frame[5..])),
            b'P' => {
                let (name, rest) = word(&frame[5..]);
                preparing = !name.is_empty();
                match preparing {
                    true => _ = named.insert(name.to_owned(), text(rest).to_owned()),
                    false => sql.push_str(text(rest)),
                }
            }
            // Of a portal, which has no name, and a statement.
            b'B' => {
                preparing = false;
                sql.push_str(named.get(word(word(&frame[5..]).1).0).map_or("", String::as_str));
            }
            _ => {}
        }
        request.extend_from_slice(&frame);
        // What belongs to no request goes on by itself: passwords, the end.
        let alone = matches!(kind, b'p' | b'X');
        if !alone && !matches!(kind, b'Q' | b'S') {
            continue;
        }
        let begun = locked(&shared.sessions).iter().filter(|name| *name == READER).count();
        let fate =
            if alone || std::mem::take(&mut preparing) { Fate::Pass } else { (locked(&shared.script))(&Asked { who: &me.who, sql: &sql, begun }) };
        sql.clear();
        match &fate {
            Fate::CutRequest => break,
            Fate::Swallow => {
                over.cancelled().await;
                return;
            }
            Fate::Late(late) => {
                let go = Arc::clone(&late.go);
                locked(&expected).push_back(fate.clone());
                // The client's half closes now; the other direction waits for the server's answer.
                back.lock().await.take();
                drop(from);
                go.notified().await;
                let _ = to.write_all(&request).await;
                over.cancelled().await;
                return;
            }
            Fate::Pass | Fate::CutAnswer if !alone => locked(&expected).push_back(fate),
            _ => {}
        }
        if to.write_all(&std::mem::take(&mut request)).await.is_err() {
            break;
        }
    }
    over.cancel();
}

/// Server to client.
async fn answer(shared: Arc<Shared>, me: Me, mut from: OwnedReadHalf, back: Back, expected: Arc<Mutex<VecDeque<Fate>>>, over: CancellationToken) {
    let mut kept = Vec::new();
    loop {
        let Some(frame) = next_frame(&shared, &me, &mut from, &over).await else { return };
        let Ok(frame) = frame else { break };
        let (fate, complete) = (locked(&expected).front().cloned().unwrap_or(Fate::Pass), frame[0] == b'Z');
        if complete {
            locked(&expected).pop_front();
        }
        match fate {
            Fate::Pass | Fate::CutRequest | Fate::Swallow => {
                let mut to = back.lock().await;
                let Some(to) = to.as_mut() else { continue };
                if to.write_all(&frame).await.is_err() {
                    break;
                }
            }
            // The server has finished, so that its transaction has ended.
            Fate::CutAnswer if complete => break,
            Fate::CutAnswer => {}
            Fate::Late(late) => {
                kept.extend_from_slice(&frame);
                if complete {
                    *locked(&late.answer) = Some(std::mem::take(&mut kept));
                    late.came.notify_one();
                    break;
                }
            }
        }
    }
    over.cancel();
}

/// The first message of a connection has no type.
async fn startup(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    message.resize(length as usize, 0);
    from.read_exact(&mut message[4..]).await?;
    Ok(message)
}

/// The next message, when the connection is not frozen: then the end of the other side is hidden too. `None`: all is over.
async fn next_frame(shared: &Shared, me: &Me, from: &mut OwnedReadHalf, over: &CancellationToken) -> Option<std::io::Result<Vec<u8>>> {
    let shown = async {
        let frame = frame(from).await;
        shared.thawed(me).await;
        frame
    };
    tokio::select! {
        () = over.cancelled() => None,
        frame = shown => Some(frame),
    }
}

/// Type, length, content. Not cancel-safe: whoever cancels it ends the connection.
async fn frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message).await?;
    let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]) as usize;
    message.resize(1 + length, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok(message)
}

/// Up to the first zero byte, and what comes after it.
fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

/// The first word.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(word(bytes).0).expect("SQL is UTF-8")
}

fn parameter(startup: &[u8], name: &str) -> Option<String> {
    let words: Vec<&[u8]> = startup.get(8..)?.split(|byte| *byte == 0).collect();
    let at = words.chunks(2).find(|pair| pair[0] == name.as_bytes())?;
    Some(String::from_utf8_lossy(at.get(1)?).into_owned())
}

/// The first column of the first row as the binary int8 that our statements ask for.
fn first_column(mut answer: &[u8]) -> Option<i64> {
    while answer.len() >= 5 {
        let length = u32::from_be_bytes(answer[1..5].try_into().ok()?) as usize;
        if answer[0] == b'D' {
            return Some(i64::from_be_bytes(answer.get(11..19)?.try_into().ok()?));
        }
        answer = answer.get(1 + length..)?;
    }
    None
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
