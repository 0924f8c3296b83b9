//! Whose request this is, and whether it may be answered.
//!
//! Where a token is set, everybody needs it. Without one only this machine is listened to, and whoever is on it may look and not act.
//! A browser on the machine is an ambassador of every site that it visits, so a request counts as near only when it asks for this
//! machine by a name of its own (a site that points its name at 127.0.0.1 does not) and no proxy says that it passes on somebody else's.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Redirect, Response},
};

use super::{
    Page,
    login::{self, Session},
    render,
};
use crate::web::is_loopback;

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Peer(pub SocketAddr);

/// Nothing but our own files, nothing inline, nobody's frame; of use against what a template might let through.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
/// Put there by proxies.
const PASSED_ON: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// A form has been sent and answered by then.
const FORM: Duration = Duration::from_secs(20);

/// Whoever asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Visitor {
    /// Logged in.
    pub session: Option<Session>,
    /// Sent the token itself: a script.
    pub bearer: Option<String>,
    /// A token is configured, so that one can log in.
    pub can_log_in: bool,
    /// Pages other than the login are for them.
    pub may_look: bool,
}

impl Visitor {
    /// Has shown the token.
    pub(super) fn is_known(&self) -> bool {
        self.session.is_some() || self.bearer.is_some()
    }

    /// For `postback.command.who`.
    pub(super) fn name(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.name.as_str()).or(self.bearer.as_deref())
    }
}

/// Lets a request pass, or answers it.
pub(super) async fn guard(State(page): State<Page>, Extension(Peer(peer)): Extension<Peer>, mut request: Request, next: Next) -> Response {
    let verdict = judge(&page, peer, &request);
    let path = request.uri().path().to_owned();
    let mut response = match verdict {
        Ok(visitor) => {
            request.extensions_mut().insert(visitor);
            // Reading is bounded by what is read; a form that trickles in is not waited for.
            match request.method() {
                &Method::GET | &Method::HEAD => next.run(request).await,
                _ => tokio::time::timeout(FORM, next.run(request)).await.unwrap_or_else(|_| {
                    render::plain(StatusCode::REQUEST_TIMEOUT, "This took too long; look at what was done before you send it again.")
                }),
            }
        }
        Err(answer) => *answer,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if !path.starts_with("/assets/") {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn judge(page: &Page, peer: SocketAddr, request: &Request) -> Result<Visitor, Box<Response>> {
    let (headers, path) = (request.headers(), request.uri().path());
    let config = page.config();
    let web = config.web.as_ref();
    let token = web.and_then(|web| web.token.as_ref());
    let mut visitor = Visitor {
        session: token.and_then(|token| Session::of(headers, token)),
        bearer: token.and_then(|token| login::bearer(headers, token)),
        can_log_in: token.is_some(),
        may_look: false,
    };
    if headers.contains_key(header::AUTHORIZATION) && visitor.bearer.is_none() {
        return Err(refused(StatusCode::UNAUTHORIZED, "The token is wrong: it has to be that of [web] token."));
    }
    let passed_on = PASSED_ON.iter().any(|name| headers.contains_key(*name));
    let near = web.is_some_and(|web| web.listen.ip().is_loopback()) && peer.ip().is_loopback() && !passed_on;
    if near && !visitor.is_known() && !host(headers).is_some_and(is_loopback) {
        let why = "This address is not known here. Ask for localhost or 127.0.0.1; a proxy before this has to send X-Forwarded-For.";
        return Err(refused(StatusCode::MISDIRECTED_REQUEST, why));
    }
    let open = path == "/login" || path.starts_with("/assets/");
    visitor.may_look = visitor.is_known() || near && token.is_none();
    if !visitor.may_look && !open {
        return Err(match (request.method(), token) {
            (_, None) => refused(StatusCode::FORBIDDEN, "From elsewhere than this machine this needs a token: set [web] token."),
            (&Method::GET, _) if path != "/updates" => Box::new(Redirect::to(&login::address(request.uri())).into_response()),
            _ => refused(StatusCode::UNAUTHORIZED, "This needs the token: log in, or send Authorization: Bearer."),
        });
    }
    if request.method() != Method::GET && request.method() != Method::HEAD && !of_our_own(headers) {
        return Err(refused(StatusCode::FORBIDDEN, "This was sent by another site's page; nothing was done."));
    }
    Ok(visitor)
}

/// The name without its port, as a browser writes it.
fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// Whether a page of ours sent it, as far as the browser says. One that says nothing (an old one, a plain network, a script) has to have
/// what only our own pages hold: the session's word in the form.
fn of_our_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    match text("origin") {
        // Without a referrer there is no origin either, and we ask for no referrer.
        None | Some("null") => true,
        Some(origin) => {
            let there = origin.split_once("://").map(|(_, rest)| rest);
            there.is_some() && [host(headers), text("x-forwarded-host")].contains(&there)
        }
    }
}

fn refused(status: StatusCode, why: &str) -> Box<Response> {
    Box::new(render::plain(status, why))
}
