//! A name and the token become a session. The cookie is all there is of it: name, end, a random part, and a signature made with
//! the token, so that another token ends all sessions and nothing has to be kept.

use std::time::Duration;

use axum::{
    Form,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Redirect, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::{
    Page,
    address::InQuery,
    guard::Visitor,
    render::{self, values},
};
use crate::{secret::Secret, web::same};

/// How long one stays logged in.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// A wrong token is answered this late, and only two at a time: guessing gets nowhere.
const WRONG: Duration = Duration::from_millis(500);
static GUESSES: Semaphore = Semaphore::const_new(2);
/// A name is this long at most.
const NAME: usize = 60;

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// What they call themselves.
    pub name: String,
    /// What every form of theirs has to hold.
    pub word: String,
}

#[derive(Serialize, Deserialize)]
struct Ticket {
    name: String,
    /// Seconds since 1970.
    ends: i64,
    /// So that no two sessions have the same word.
    salt: u64,
}

fn mac(token: &Secret, purpose: &str, text: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.reveal().as_bytes()).ok()?;
    mac.update(purpose.as_bytes());
    mac.update(&[0]);
    mac.update(text.as_bytes());
    Some(mac)
}

/// `Authorization: Bearer`, with the name of whoever it is in `X-Postbackd-Who`.
pub(super) fn bearer(headers: &HeaderMap, token: &Secret) -> Option<String> {
    let (scheme, given) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("bearer") && same(given.trim(), token.reveal());
    let name = headers.get("x-postbackd-who").and_then(|name| name.to_str().ok()).map(tidy).filter(|name| !name.is_empty());
    known.then(|| name.unwrap_or_else(|| "a script".to_owned()))
}

impl Session {
    /// Of the request's cookie, if it is one of ours that has not ended.
    pub(super) fn of(headers: &HeaderMap, token: &Secret) -> Option<Self> {
        let name = cookie_name(headers);
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
        let text = cookies.filter_map(|cookie| cookie.trim().split_once('=')).find(|(known, _)| *known == name)?.1;
        let (ticket, signature) = text.split_once('.')?;
        mac(token, "session", ticket)?.verify_slice(&BASE64.decode(signature).ok()?).ok()?;
        let known: Ticket = serde_json::from_slice(&BASE64.decode(ticket).ok()?).ok()?;
        (known.ends > Timestamp::now().as_second()).then_some(())?;
        let word = BASE64.encode(mac(token, "form", ticket)?.finalize().into_bytes());
        Some(Self { name: known.name, word })
    }

    /// Whether a form of this session was sent.
    pub(super) fn has(&self, word: &str) -> bool {
        same(word, &self.word)
    }
}

/// Cookies do not tell ports apart, and several daemons may be on one machine.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    format!("postbackd-{}", port.unwrap_or("80"))
}

fn tidy(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(NAME).collect::<String>().trim().to_owned()
}

/// Where somebody who has to log in first is sent.
pub(super) fn address(wanted: &Uri) -> String {
    let to = wanted.path_and_query().map_or("/", |to| to.as_str());
    format!("/login?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish())
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    to: String,
}

/// `GET /login`
pub(super) async fn form(axum::Extension(visitor): axum::Extension<Visitor>, InQuery(Wanted { to }): InQuery<Wanted>) -> Response {
    shown(&visitor, &to, None, StatusCode::OK)
}

fn shown(visitor: &Visitor, to: &str, wrong: Option<&str>, status: StatusCode) -> Response {
    render::page(visitor, status, "login.html", values! { title => "Log in", to => render::local(to), wrong })
}

#[derive(Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    token: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    to: String,
}

/// `POST /login`
pub(super) async fn login(
    State(page): State<Page>,
    axum::Extension(visitor): axum::Extension<Visitor>,
    headers: HeaderMap,
    Form(given): Form<Given>,
) -> Response {
    let config = page.config();
    let Some(token) = config.web.as_ref().and_then(|web| web.token.as_ref()) else {
        return shown(&visitor, &given.to, Some("No token is configured here: set [web] token and restart the daemon."), StatusCode::FORBIDDEN);
    };
    let name = tidy(&given.name);
    if name.is_empty() {
        return shown(&visitor, &given.to, Some("Say who you are: what you do is recorded under this name."), StatusCode::BAD_REQUEST);
    }
    if !same(given.token.trim(), token.reveal()) {
        let Ok(_turn) = GUESSES.try_acquire() else {
            return shown(&visitor, &given.to, Some("Too many wrong tokens at once. Try again in a moment."), StatusCode::TOO_MANY_REQUESTS);
        };
        tokio::time::sleep(WRONG).await;
        tracing::warn!("somebody tried to log in to the page with a wrong token");
        return shown(
            &visitor,
            &given.to,
            Some("This is not the token. It is the one of [web] token in the configuration."),
            StatusCode::UNAUTHORIZED,
        );
    }
    let ends = Timestamp::now().as_second() + LASTS.as_secs() as i64;
    let ticket = Ticket { name, ends, salt: rand::random() };
    let ticket = BASE64.encode(serde_json::to_vec(&ticket).unwrap_or_default());
    let signature = mac(token, "session", &ticket).map(|mac| BASE64.encode(mac.finalize().into_bytes())).unwrap_or_default();
    enter(&headers, &format!("{ticket}.{signature}"), LASTS, &render::local(&given.to))
}

#[derive(Deserialize)]
pub(super) struct Leaving {
    #[serde(default)]
    word: String,
}

/// `POST /logout`
pub(super) async fn logout(axum::Extension(visitor): axum::Extension<Visitor>, headers: HeaderMap, Form(leaving): Form<Leaving>) -> Response {
    if visitor.session.as_ref().is_some_and(|session| !session.has(&leaving.word)) {
        return render::plain(StatusCode::FORBIDDEN, "This form is not of this session; nothing was done.");
    }
    enter(&headers, "", Duration::ZERO, "/")
}

/// Sets the cookie and goes on. Over HTTPS (as a proxy says) it never travels in clear.
fn enter(headers: &HeaderMap, value: &str, lasts: Duration, to: &str) -> Response {
    let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let cookie = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{}",
        cookie_name(headers),
        lasts.as_secs(),
        if secure { "; Secure" } else { "" }
    );
    let mut response = Redirect::to(to).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
