//! Real sockets: a scripted server that does what bad servers do.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::*;
use crate::secret::Secret;

mod secure;

/// Long enough for a loaded machine; only tests that wait for a deadline set a short one.
const AMPLE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

/// What the server does on one connection, in order; then it closes it.
#[derive(Clone, Debug)]
enum Step {
    /// Reads one request and notes it.
    Read,
    Write(&'static str),
    /// Writes this again and again until it fails.
    WriteOn(&'static str),
    /// Writes a byte every 20 ms until it fails.
    Drip,
    /// Does nothing until the client leaves.
    Hang,
    /// Ends the connection with RST.
    Reset,
}

use Step::{Drip, Hang, Read, Reset, Write, WriteOn};

/// Accepts as many connections as there are scripts; everything ends with it.
struct Server {
    at: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    /// Scripts that have come to their end.
    ended: watch::Receiver<usize>,
    /// Bytes that WriteOn got rid of.
    written: Arc<Mutex<usize>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(scripts: impl IntoIterator<Item = Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (end, ended) = watch::channel(0);
        let (requests, written, mut tasks) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<usize>>::default(), JoinSet::new());
        let scripts: Vec<_> = scripts.into_iter().collect();
        let (noted, counted) = (Arc::clone(&requests), Arc::clone(&written));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for script in scripts {
                let (stream, _) = listener.accept().await.unwrap();
                let (noted, counted, end) = (Arc::clone(&noted), Arc::clone(&counted), end.clone());
                connections.spawn(async move {
                    play(stream, &script, &noted, &counted).await;
                    end.send_modify(|count| *count += 1);
                });
            }
            // Connections beyond the scripts are a test's mistake and must not look like a platform's.
            while connections.join_next().await.is_some() {}
        });
        Self { at, requests, ended, written, _tasks: tasks }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    async fn until_ended(&mut self, count: usize) {
        self.ended.wait_for(|ended| *ended >= count).await.unwrap();
    }

    fn get(&self) -> Request {
        get(&format!("http://user:secret-user@{}/secret-path?secret=query", self.at))
    }
}

fn get(url: &str) -> Request {
    Request::new(Method::Get, url)
}

async fn play(mut stream: TcpStream, script: &[Step], requests: &Mutex<Vec<String>>, written: &Mutex<usize>) {
    for step in script {
        match step {
            Read => match read_request(&mut stream).await {
                Some(request) => requests.lock().unwrap().push(request),
                None => return,
            },
            Write(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            WriteOn(text) => {
                while stream.write_all(text.as_bytes()).await.is_ok() {
                    *written.lock().unwrap() += text.len();
                }
            }
            Drip => {
                while stream.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Hang => while stream.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {},
            Reset => return stream.set_zero_linger().unwrap(),
        }
    }
}

/// Head and body (by Content-Length) of one request; `None` where the client has left.
async fn read_request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&text).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    text.extend(body);
    Some(String::from_utf8(text).unwrap())
}

/// To loopback, whatever proxy the environment of the test run names.
fn direct(route: &Route) -> Client {
    Client::build(route, &Limits::default(), reqwest::ClientBuilder::no_proxy).unwrap()
}

async fn send(request: Request, deadline: Duration) -> Result<Reply, SendError> {
    direct(&Route::default()).send(request, deadline).await
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[track_caller]
fn maybe_sent(result: Result<Reply, SendError>, expected: &str) {
    let Err(SendError::MaybeSent(text)) = result else { panic!("{result:?}") };
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[track_caller]
fn not_sent(result: Result<Reply, SendError>, expected: &str) {
    let Err(SendError::NotSent(text)) = result else { panic!("{result:?}") };
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_request_arrives_as_it_was_built_and_an_answer_as_it_was_given() {
    let answer = "HTTP/1.1 202 Accepted\r\nRetry-After: 7\r\nX-Id: \u{e9}\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok";
    let server = Server::start([vec![Read, Write(answer)]]).await;
    let mut request = Request {
        method: Method::Post,
        url: format!("http://{}/pb%2F1?a=%26&b=c%20d", server.at),
        headers: vec![("X-Key".into(), "k".into()), ("X-Twice".into(), "1".into()), ("X-Twice".into(), "2".into())],
        body: "{\"é\":1}".into(),
        grant: None,
    };
    request.headers.push(("Content-Type".into(), "application/json".into()));
    let reply = send(request, AMPLE).await.unwrap();
    assert_eq!((reply.status, &reply.text()[..], reply.cut), (202, "ok", false), "and nothing is decompressed");
    assert_eq!(reply.header("retry-after"), Some("7"));
    assert_eq!(crate::outcome::retry_after(&reply, jiff::Timestamp::UNIX_EPOCH), Some(Duration::from_secs(7)));
    let seen = server.requests().remove(0);
    assert!(seen.starts_with("POST /pb%2F1?a=%26&b=c%20d HTTP/1.1\r\n") && seen.ends_with("\r\n\r\n{\"é\":1}"), "{seen}");
    let agent = format!("user-agent: postbackd/{}\r\n", env!("CARGO_PKG_VERSION"));
    for line in ["x-key: k\r\n", "x-twice: 1\r\n", "x-twice: 2\r\n", "content-length: 8\r\n", "content-type: application/json\r\n", &agent] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(!seen.contains("accept-encoding"), "{seen}");
}

#[tokio::test]
async fn an_empty_post_says_that_it_is_empty() {
    let server = Server::start([vec![Read, Write(OK)]]).await;
    send(Request { method: Method::Post, ..server.get() }, AMPLE).await.unwrap();
    let seen = server.requests().remove(0);
    assert_eq!(seen.matches("content-length: 0\r\n").count(), 1, "{seen}");
}

#[tokio::test]
async fn the_user_of_a_url_is_a_header_unless_the_request_has_one() {
    let server = Server::start([vec![Read, Write(OK), Read, Write(OK)]]).await;
    let client = direct(&Route::default());
    let request = get(&format!("http://us%40er:pass@{}/", server.at));
    client.send(request.clone(), AMPLE).await.unwrap();
    client.send(Request { headers: vec![("Authorization".into(), "Bearer t".into())], ..request }, AMPLE).await.unwrap();
    let seen = server.requests();
    assert!(seen[0].contains("authorization: Basic dXNAZXI6cGFzcw==\r\n"), "{}", seen[0]);
    assert!(seen[1].contains("authorization: Bearer t\r\n") && !seen[1].contains("Basic"), "{}", seen[1]);
}

#[tokio::test]
async fn connections_are_kept() {
    let server = Server::start([vec![Read, Write(OK), Read, Write(OK), Read, Write(OK)]]).await;
    let client = direct(&Route::default());
    for _ in 0..3 {
        client.send(server.get(), AMPLE).await.unwrap();
    }
    assert_eq!(server.requests().len(), 3);
}

/// The race of every keep-alive client. The platform may have acted on the request that it read before it closed.
#[tokio::test]
async fn a_request_that_was_read_on_a_kept_connection_is_never_repeated_by_the_client() {
    for end in [vec![], vec![Reset]] {
        for method in [Method::Get, Method::Post, Method::Delete] {
            let server = Server::start([[vec![Read, Write(OK), Read], end.clone()].concat(), vec![Read, Write(OK)]]).await;
            let client = direct(&Route::default());
            client.send(server.get(), AMPLE).await.unwrap();
            maybe_sent(client.send(Request { method, ..server.get() }, AMPLE).await, "connection ");
            assert_eq!(server.requests().len(), 2, "the second was read once");
        }
    }
}

/// The other half of the race: what was closed before it was used costs nothing but a new connection, and if the client
/// cannot tell, it says so rather than saying the request twice.
#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced_and_nothing_arrives_twice() {
    for round in 0..40 {
        let ends = [vec![Read, Write(OK)], vec![Read, Write(OK), Reset]];
        let mut server = Server::start([ends[round % 2].clone(), vec![Read, Write(OK)]]).await;
        let client = direct(&Route::default());
        client.send(server.get(), AMPLE).await.unwrap();
        if round >= 20 {
            server.until_ended(1).await;
        }
        let second = client.send(server.get(), AMPLE).await;
        match (second, server.requests().len()) {
            (Ok(_), 2) | (Err(SendError::MaybeSent(_) | SendError::NotSent(_)), 1) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_deadline_covers_headers_and_body() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf";
    for (script, what) in [
        (vec![Read, Hang], "hangs before the headers"),
        (vec![Read, Write("HTTP/1.1 200 OK\r\nx-"), Hang], "hangs in the headers"),
        (vec![Read, Write(half), Hang], "hangs in the body"),
        (vec![Read, Write(half), Drip], "drips"),
        (vec![Read, WriteOn("HTTP/1.1 102 Processing\r\n\r\n")], "never comes to the point"),
    ] {
        let mut server = Server::start([script]).await;
        let begun = tokio::time::Instant::now();
        maybe_sent(send(server.get(), SHORT).await, &format!("no complete answer from {} within 300ms", server.at));
        assert!((SHORT..SHORT + Duration::from_secs(5)).contains(&begun.elapsed()), "{what}: {:?}", begun.elapsed());
        // The place at the platform is given back too: the server sees the connection end.
        tokio::time::timeout(AMPLE, server.until_ended(1)).await.expect(what);
    }
}

#[tokio::test]
async fn answers_that_are_none_leave_it_open_whether_the_request_arrived() {
    for (script, expected) in [
        (vec![Read], "without an answer"),
        (vec![Read, Reset], "connection reset by 127.0.0.1"),
        (vec![Read, Write("SMTP 220 secret\r\n\r\n")], "is not HTTP"),
        (vec![Read, Write("HTTP/1.1 2x0 secret\r\n\r\n")], "is not HTTP"),
        (vec![Read, Write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsecret")], "in the middle of the answer"),
        (vec![Read, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nsecret\r\n")], "is not HTTP"),
    ] {
        let server = Server::start([script.clone()]).await;
        let result = send(server.get(), AMPLE).await;
        let Err(SendError::MaybeSent(text)) = &result else { panic!("{script:?}: {result:?}") };
        assert!(text.contains(expected), "{script:?}: {text}");
        maybe_sent(result, &server.at.to_string());
    }
}

#[tokio::test]
async fn what_never_left_is_known_not_to_have_left() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    not_sent(send(get(&format!("http://{closed}/secret?secret")), AMPLE).await, &format!("connection refused by {closed}"));
    not_sent(send(get("http://secret:secret@no-such-host.invalid/secret"), AMPLE).await, "name no-such-host.invalid cannot be resolved");
}

#[tokio::test]
async fn what_can_never_be_sent_is_known_before_anything_is() {
    let header = |name: &str, value: &str| Request { headers: vec![(name.into(), value.into())], ..get("http://127.0.0.1/") };
    for (request, expected) in [
        (header("X-Key", "secret\r\nHost: other"), "header \"X-Key\" holds characters"),
        (header("X Key", "secret"), "header \"X Key\" holds characters"),
        (get("secret"), "its URL is not valid"),
        (get("ftp://secret/"), "does not begin with http"),
    ] {
        let Err(SendError::Unsendable(text)) = send(request, AMPLE).await else { panic!("{expected}") };
        assert!(text.contains(expected) && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn redirects_are_answers() {
    let server = Server::start([vec![Read, Write("HTTP/1.1 307 Go\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"), Read]]).await;
    assert_eq!(send(server.get(), AMPLE).await.unwrap().status, 307);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_body_is_read_up_to_the_cap() {
    const KIB: &str = match std::str::from_utf8(&[b'x'; 1024]) {
        Ok(text) => text,
        Err(_) => panic!(),
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    let mut server = Server::start([vec![Read, Write(head), WriteOn(KIB)]]).await;
    let reply = send(server.get(), AMPLE).await.unwrap();
    assert_eq!((reply.status, reply.body.len(), reply.cut), (200, BODY_MAX, true));
    server.until_ended(1).await;
    let written = *server.written.lock().unwrap();
    assert!(written < 64 << 20, "{written} bytes were taken: socket buffers are fine, a download is not");

    let exact = [vec![Read, Write("HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n")], vec![Write(KIB); 64], vec![Hang]].concat();
    let server = Server::start([exact]).await;
    let reply = send(server.get(), AMPLE).await.unwrap();
    assert_eq!((reply.body.len(), reply.cut), (BODY_MAX, false));
}

#[tokio::test]
async fn a_request_given_up_frees_its_connection() {
    let mut server = Server::start([vec![Read, Hang]]).await;
    let sending = tokio::spawn(send(server.get(), AMPLE));
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    sending.abort();
    tokio::time::timeout(AMPLE, server.until_ended(1)).await.unwrap();
}

#[tokio::test]
async fn a_proxy_gets_the_request_with_its_own_credentials() {
    let proxy = Server::start([vec![Read, Write(OK)]]).await;
    let url = Secret::new("PROXY_URL", format!("http://us%40er:pass@{}", proxy.at));
    let client = Client::new(&Route { proxy: Some(url), ca: None }, &Limits::default()).unwrap();
    client.send(get("http://platform.invalid/pb?x=1"), AMPLE).await.unwrap();
    let seen = proxy.requests().remove(0);
    assert!(seen.starts_with("GET http://platform.invalid/pb?x=1 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("proxy-authorization: Basic dXNAZXI6cGFzcw==\r\n"), "us@er:pass in {seen}");
}

#[tokio::test]
async fn a_proxy_that_refuses_a_tunnel_has_sent_nothing() {
    let proxy = Server::start([vec![Read, Write("HTTP/1.1 403 secret\r\n\r\n")]]).await;
    let url = Secret::new("PROXY_URL", format!("http://user:secret@{}", proxy.at));
    let client = Client::new(&Route { proxy: Some(url), ca: None }, &Limits::default()).unwrap();
    not_sent(client.send(get("https://platform.invalid/secret"), AMPLE).await, "cannot connect to platform.invalid:443, or its proxy refused to");
    assert!(proxy.requests()[0].starts_with("CONNECT platform.invalid:443 HTTP/1.1\r\n"));
}

#[test]
fn a_wrong_proxy_is_named_by_its_name() {
    for url in ["secret", "socks5://secret:1080", "http://"] {
        let route = Route { proxy: Some(Secret::new("PROXY_URL", url)), ca: None };
        let error = Client::new(&route, &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "the proxy in PROXY_URL is no URL of the form http://user:password@host:port");
    }
}

#[test]
fn secrets_in_headers_are_sensitive() {
    let headers = vec![("Authorization".to_owned(), "secret".to_owned()), ("Content-Type".to_owned(), "text/plain".to_owned())];
    let (request, _) = prepare(Request { headers, ..get("https://a.example/") }).unwrap();
    assert!(request.headers()["authorization"].is_sensitive() && !request.headers()["content-type"].is_sensitive());
    assert!(!format!("{request:?}").contains("secret"));
}
