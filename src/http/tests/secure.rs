//! TLS against a server of our own. The certificates in `testdata` vouch for `localhost` and 127.0.0.1 until 2126; the
//! authority's key was thrown away.

use std::{convert::Infallible, path::Path};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use super::*;

fn testdata(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/testdata").join(name)
}

fn private() -> Route {
    Route { proxy: None, ca: Some(testdata("ca.pem")) }
}

/// A listener and what shakes hands on it, speaking `alpn`.
async fn secure(alpn: &str) -> (TcpListener, SocketAddr, TlsAcceptor) {
    let chain = vec![CertificateDer::from_pem_file(testdata("localhost.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(testdata("localhost.key")).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let mut config = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![alpn.into()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at, TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named_and_only_there() {
    let (listener, at, acceptor) = secure("http/1.1").await;
    let _server = JoinSet::from_iter([async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                read_request(&mut stream).await.unwrap();
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    }]);
    let request = || get(&format!("https://localhost:{}/secret", at.port()));
    assert_eq!(direct(&private()).send(request(), AMPLE).await.unwrap().text(), "ok");
    not_sent(send(request(), AMPLE).await, &format!("certificate of localhost:{} is not trusted", at.port()));
    // The certificate vouches for 127.0.0.1 and not for every address of this machine.
    let other = get(&format!("https://127.0.0.2:{}/secret", at.port()));
    not_sent(direct(&private()).send(other, AMPLE).await, "127.0.0.2");
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_offered() {
    let (listener, at, acceptor) = secure("h2").await;
    let _server = JoinSet::from_iter([async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
        let answer = service_fn(|request: hyper::Request<_>| async move {
            let _: hyper::body::Incoming = request.into_body();
            Ok::<_, Infallible>(hyper::Response::new(http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; 100_000]))))
        });
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, answer).await;
    }]);
    let client = direct(&private());
    // One connection is all that is accepted: the cut answer of the first request does not take it away from the others.
    for _ in 0..3 {
        let reply = client.send(get(&format!("https://localhost:{}/", at.port())), AMPLE).await.unwrap();
        assert_eq!((reply.status, reply.body.len(), reply.cut), (200, BODY_MAX, true));
    }
}

/// The client library repeats such a request unless told not to; whether it is said again is the daemon's decision.
#[tokio::test]
async fn a_refused_http2_stream_is_not_repeated_by_the_client() {
    let (listener, at, acceptor) = secure("h2").await;
    let streams = Arc::<Mutex<usize>>::default();
    let count = Arc::clone(&streams);
    let _server = JoinSet::from_iter([async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(acceptor.accept(stream).await.unwrap()).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            *count.lock().unwrap() += 1;
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    }]);
    let result = direct(&private()).send(get(&format!("https://localhost:{}/secret", at.port())), AMPLE).await;
    maybe_sent(result, &format!("connection to localhost:{} failed", at.port()));
    assert_eq!(*streams.lock().unwrap(), 1);
}

#[tokio::test]
async fn tls_that_fails_has_sent_nothing() {
    let plain = Server::start([vec![Write("HTTP/1.1 400 secret\r\n\r\n"), Hang], vec![], vec![Reset]]).await;
    for _ in 0..3 {
        let result = send(get(&format!("https://{}/secret", plain.at)), AMPLE).await;
        not_sent(result, &plain.at.to_string());
    }
}

#[tokio::test]
async fn a_host_that_accepts_and_says_nothing_has_got_nothing() {
    let silent = Server::start([vec![Hang]]).await;
    let limits = Limits { deadline: SHORT, ..Limits::default() };
    let client = Client::build(&Route::default(), &limits, reqwest::ClientBuilder::no_proxy).unwrap();
    let result = client.send(get(&format!("https://{}/secret", silent.at)), AMPLE).await;
    not_sent(result, &format!("connecting to {} timed out", silent.at));
}

#[test]
fn a_ca_file_that_helps_nobody_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let route = |name: &str, content: Option<&str>| {
        let path = dir.path().join(name);
        content.inspect(|content| std::fs::write(&path, content).unwrap());
        Route { proxy: None, ca: Some(path) }
    };
    let error = |route: Route| Client::new(&route, &Limits::default()).unwrap_err();
    assert!(matches!(error(route("missing", None)), HttpError::CaFile { .. }));
    assert!(matches!(error(route("empty", Some(""))), HttpError::CaEmpty { .. }));
    assert!(matches!(error(route("key", Some(&std::fs::read_to_string(testdata("localhost.key")).unwrap()))), HttpError::CaEmpty { .. }));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(error(route("broken", Some(broken))), HttpError::CaUnusable { .. }));
}
