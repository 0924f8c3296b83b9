//! [4 HTTP delivery] The only place that knows the HTTP client: a [`Request`] goes out, a [`Reply`] or a [`SendError`] comes back.
//!
//! One call is one request on the wire at most. The daemon alone decides whether something is said again, so everything in
//! the client that repeats by itself is off: redirects, and resending after an HTTP/2 refusal. What remains is a request
//! that a kept-alive connection could not begin because the platform had closed it: the client hands it to the next
//! connection, and may, because not a byte of it was written.

use std::{future::Future, pin::Pin, task::Poll, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use percent_encoding::percent_decode_str;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};

use crate::{
    clock::since_boot,
    destination::{Limits, Route},
    outcome::{Reply, SendError},
    request::{Method, Request},
};

mod failure;
mod tls;
pub mod token;

/// No more of an answer is read: what platforms say fits many times, and a wrong URL may lead to a download.
pub const BODY_MAX: usize = 64 * 1024;

/// The answer to come. It owns what it needs, so that a task can hold it; dropping it gives the request up.
pub type Sending = Pin<Box<dyn Future<Output = Result<Reply, SendError>> + Send>>;

/// Sends a request: the seam at which tests put faults.
///
/// Implementations send at most once for each call, call nobody but the request's host (or the proxy), end at the latest
/// when `deadline` is over (name resolution, connecting, request, headers and body together), and tell
/// [`SendError::NotSent`] only where not a byte of the request can have been written, [`SendError::Unsendable`] where it
/// never can be. May be called in parallel.
pub trait Transport: Send + Sync {
    /// See [`Transport`].
    fn send(&self, request: Request, deadline: Duration) -> Sending;
}

/// Why a destination's client cannot be made. Found when the configuration is read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum HttpError {
    #[error("cannot read the certificate authorities in {}; the file must be readable PEM", path.display())]
    CaFile { path: std::path::PathBuf, source: rustls_pki_types::pem::Error },
    #[error("{} holds no certificate; it must be PEM with at least one BEGIN CERTIFICATE block", path.display())]
    CaEmpty { path: std::path::PathBuf },
    #[error("a certificate in {} cannot be used as an authority", path.display())]
    CaUnusable { path: std::path::PathBuf, source: rustls::Error },
    #[error("the proxy in {name} is no URL of the form http://user:password@host:port")]
    Proxy { name: String },
    #[error("TLS cannot be set up")]
    Tls { source: rustls::Error },
    #[error("the HTTP client cannot be set up")]
    Client { source: reqwest::Error },
}

/// The connections of one destination: a pool of its own, so that a platform that hangs holds up nobody else's.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Nothing on this machine vouches for a certificate: worth a word when TLS fails.
    without_roots: bool,
}

impl Client {
    /// Reads the CA file and the system's authorities (those once per process); connects nowhere.
    ///
    /// Connecting (name resolution, TCP, proxy, TLS) may take two thirds of `limits.deadline`, so that a host that does
    /// not answer at all is told from one that took the request and hangs.
    pub fn new(route: &Route, limits: &Limits) -> Result<Self, HttpError> {
        Self::build(route, limits, |builder| builder)
    }

    /// For what listens on this machine: no proxy stands between, whatever the environment says.
    pub fn direct() -> Result<Self, HttpError> {
        Self::build(&Route::default(), &Limits::default(), reqwest::ClientBuilder::no_proxy)
    }

    fn build(route: &Route, limits: &Limits, adjust: fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Result<Self, HttpError> {
        let roots = tls::roots(route.ca.as_deref())?;
        let without_roots = roots.is_empty();
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(roots)?)
            .user_agent(concat!("postbackd/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(limits.deadline * 2 / 3)
            .pool_max_idle_per_host(limits.in_flight.max(1))
            .pool_idle_timeout(Duration::from_secs(90))
            // One HTTP/2 connection carries everything: without pings, one whose other end vanished would swallow every
            // request until TCP gives up, many minutes later.
            .http2_keep_alive_interval(Duration::from_secs(15))
            .http2_keep_alive_timeout(Duration::from_secs(5))
            .http2_keep_alive_while_idle(true);
        if let Some(proxy) = &route.proxy {
            builder = builder.proxy(explicit(proxy.reveal()).ok_or_else(|| HttpError::Proxy { name: proxy.name().to_owned() })?);
        }
        let http = adjust(builder).build().map_err(|source| HttpError::Client { source })?;
        Ok(Self { http, without_roots })
    }
}

impl Transport for Client {
    fn send(&self, request: Request, deadline: Duration) -> Sending {
        let client = self.clone();
        // From here on, and not from when the task comes to run: whoever takes over waits that long and no longer.
        let until = since_boot() + deadline;
        Box::pin(async move {
            let (request, place) = prepare(request)?;
            if since_boot() >= until {
                return Err(SendError::NotSent(format!("the request to {place} was not begun within {deadline:?}")));
            }
            let exchange = async {
                let failed = |error| failure::of(&error, &place, client.without_roots);
                let response = client.http.execute(request).await.map_err(failed)?;
                read(response).await.map_err(|error| failure::in_answer(&error, &place))
            };
            match by(until, deadline, exchange).await {
                Some(result) => result,
                // By then the request may be anywhere.
                None => Err(SendError::MaybeSent(format!("no complete answer from {place} within {deadline:?}"))),
            }
        })
    }
}

/// Runs a future until `until` since boot, `deadline` from now at most; `None`: time is up. Time is looked at before the future
/// is: a process that was stopped or a machine that slept must not write on where it left off when it comes back.
async fn by<T>(until: Duration, deadline: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (alarm, mut future) = (tokio::time::sleep(deadline), std::pin::pin!(future));
    tokio::pin!(alarm);
    std::future::poll_fn(|context| {
        if alarm.as_mut().poll(context).is_ready() || since_boot() >= until {
            return Poll::Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Only http and https proxies, with user and password where the URL has them.
fn explicit(url: &str) -> Option<reqwest::Proxy> {
    let url = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())?;
    reqwest::Proxy::all(url).ok()
}

/// The request as the client wants it, and `host:port` for messages.
fn prepare(request: Request) -> Result<(reqwest::Request, String), SendError> {
    let refused = |what: &str| SendError::Unsendable(format!("the request cannot be sent: {what}"));
    if request.grant.is_some() {
        return Err(refused("nobody has filled in its token"));
    }
    let mut url = url::Url::parse(&request.url).map_err(|_| refused("its URL is not valid"))?;
    let (Some(host), Some(port), "http" | "https") = (url.host_str(), url.port_or_known_default(), url.scheme()) else {
        return Err(refused("its URL does not begin with http:// or https:// and a host"));
    };
    let place = format!("{host}:{port}");
    let method = match request.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    };
    let user = take_user(&mut url);
    let mut out = reqwest::Request::new(method, url);
    for (name, value) in &request.headers {
        // A header's name comes from the configuration, its value may be a secret: only the name may be told.
        let (Ok(header), Ok(mut content)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value)) else {
            return Err(refused(&format!("header {name:?} holds characters that no header may hold")));
        };
        content.set_sensitive(!is_public(&header));
        out.headers_mut().append(header, content);
    }
    if let Some(user) = user {
        out.headers_mut().entry(AUTHORIZATION).or_insert(user);
    }
    if !request.body.is_empty() {
        *out.body_mut() = Some(request.body.into());
    } else if !matches!(request.method, Method::Get | Method::Delete) {
        // Without it some servers answer 411 to a POST whose parameters are all in the URL.
        out.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
    }
    Ok((out, place))
}

/// `https://user:password@host/` means basic authentication; the client would silently leave it out.
fn take_user(url: &mut url::Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair = percent_decode_str(url.username()).collect::<Vec<u8>>();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    // Both can only fail for URLs without a host, of which this is none.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    Some(value)
}

/// Headers that never hold a secret; all others are kept out of debug output and of HTTP/2's compression tables.
fn is_public(name: &HeaderName) -> bool {
    matches!(name.as_str(), "accept" | "content-type" | "content-length" | "user-agent")
}

/// The answer, its body cut. Leaving a body unread closes the connection, which is cheaper than reading on.
async fn read(mut response: reqwest::Response) -> Result<Reply, reqwest::Error> {
    let status = response.status().as_u16();
    let headers = texts(response.headers());
    let (mut body, mut cut) = (Vec::new(), false);
    while let Some(chunk) = response.chunk().await? {
        let room = BODY_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Reply { status, headers, body, cut })
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

#[cfg(test)]
mod tests;
