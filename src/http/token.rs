//! Access tokens: fetched when a request needs one, shared by all destinations with the same credential, fetched once for all that wait,
//! kept until shortly before they end. They are never logged and never leave this room but in a request.
//!
//! A platform that answers with a new refresh token takes the old one back at once or soon, so that the new one is written down
//! before anything else is done with it: one file per credential in the state directory (systemd: `StateDirectory=`), readable by the
//! daemon alone. The file's name is a digest of the credential as configured: a new credential in the configuration begins anew.

use std::{
    collections::HashMap,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Sending, Transport};
use crate::{
    clock::since_boot,
    grant::{Grant, Means},
    metrics::Meter,
    outcome::{Reply, SendError, quote},
    request::{Method, Request},
    secret::Secret,
    template::place::encode,
};

mod assertion;

/// A token is given up so long before its end: the request still has to arrive.
const MARGIN: Duration = Duration::from_secs(60);
/// What is assumed where the answer does not say how long a token lasts (RFC 6749 leaves it open).
const LASTS: Duration = Duration::from_secs(600);
/// No token is believed to last longer.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
/// RFC 6749, section 5.2: errors that no repetition mends.
const DEAD: [&str; 5] = ["invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type"];

/// The tokens of this process.
#[derive(Debug, Default)]
pub struct Tokens {
    directory: Option<PathBuf>,
    slots: std::sync::Mutex<HashMap<String, Arc<Mutex<Slot>>>>,
}

/// One credential's.
#[derive(Default)]
struct Slot {
    token: Option<Held>,
    /// What the platform gave instead of the configured one.
    refresh: Option<Secret>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

/// A token that is good for some time.
#[derive(Clone)]
struct Held {
    token: Secret,
    /// Given up then.
    until: Instant,
    /// By the platform's word.
    ends: Timestamp,
    /// The refresh token's end, where the platform says so.
    refresh_ends: Option<Timestamp>,
}

/// A token for one request.
struct Given {
    held: Held,
    /// Fetched for this very request.
    fresh: bool,
}

impl Tokens {
    /// Rotated refresh tokens are kept below `directory`; `None`: in memory only.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, slots: std::sync::Mutex::default() }
    }

    /// In the directory that systemd made for the daemon's state.
    pub fn of_service() -> Self {
        let directory = std::env::var_os("STATE_DIRECTORY").filter(|value| !value.is_empty());
        // Several are joined by colons.
        Self::new(directory.map(|value| PathBuf::from(value.to_string_lossy().split(':').next().unwrap_or_default())))
    }

    fn slot(&self, id: &str) -> Arc<Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(slots.entry(id.to_owned()).or_default())
    }

    /// Waits for whoever fetches it already.
    async fn give(self: Arc<Self>, grant: Arc<Grant>, via: Arc<dyn Transport>, deadline: Duration) -> Result<Given, SendError> {
        let id = grant.id();
        let slot = self.slot(&id);
        let mut slot = slot.lock().await;
        let now = Instant::now();
        if let Some(held) = slot.token.as_ref().filter(|held| now < held.until) {
            return Ok(Given { held: held.clone(), fresh: false });
        }
        let mut refused = None;
        let mut body = None;
        for rotated in self.candidates(&grant, &id, &slot) {
            match fetch(&grant, rotated.as_ref(), &*via, deadline).await {
                Ok(found) => {
                    body = Some((found, rotated));
                    break;
                }
                Err(dead @ SendError::NoToken { .. }) => refused = refused.or(Some(dead)),
                Err(error) => return Err(error),
            }
        }
        let Some((body, shown)) = body else {
            return Err(refused.unwrap_or_else(|| SendError::NotSent("no access token was asked for".into())));
        };
        let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let token = text("access_token").unwrap_or_default();
        slot.refresh.clone_from(&shown);
        if let Some(new) = text("refresh_token").filter(|new| current(&grant, shown.as_ref()).is_some_and(|have| have != *new)) {
            self.keep(&grant, &id, new);
            slot.refresh = Some(Secret::new("rotated refresh token", new));
        }
        let seconds = |key: &str| body.get(key).and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let lasts = seconds("expires_in").map_or(LASTS, |seconds| Duration::from_secs(seconds).min(LONGEST));
        let ends = |lasts: Duration| Timestamp::now().checked_add(lasts).unwrap_or(Timestamp::MAX);
        let held = Held {
            token: Secret::new("access token", token),
            // A token that ends within the margin is still good for this request.
            until: now + lasts.saturating_sub(MARGIN.min(lasts / 2)),
            ends: ends(lasts),
            // No standard has this field. Where a platform does not say it, nobody knows.
            refresh_ends: seconds("refresh_token_expires_in").map(|seconds| ends(Duration::from_secs(seconds).min(LONGEST))),
        };
        slot.token = Some(held.clone());
        Ok(Given { held, fresh: true })
    }

    /// What may be shown, the newest first: what this process was given, what another wrote down, what is configured (`None`). A file
    /// that was restored, or a command that ran beside the daemon, must not make a credential look dead.
    fn candidates(&self, grant: &Grant, id: &str, slot: &Slot) -> Vec<Option<Secret>> {
        if !matches!(grant.means, Means::Refresh { .. }) {
            return vec![None];
        }
        let written = self.file(id).and_then(|path| read(&path));
        let mut found: Vec<Option<Secret>> = Vec::new();
        for candidate in slot.refresh.clone().map(Some).into_iter().chain(written.map(Some)).chain([None]) {
            if !found.iter().any(|have| current(grant, have.as_ref()) == current(grant, candidate.as_ref())) {
                found.push(candidate);
            }
        }
        found
    }

    /// It was refused before its time; unless another has been fetched meanwhile.
    async fn forget(&self, grant: &Grant, token: &Secret) {
        let slot = self.slot(&grant.id());
        let mut slot = slot.lock().await;
        slot.token.take_if(|held| held.token == *token);
    }

    fn file(&self, id: &str) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(format!("token-{id}")))
    }

    fn keep(&self, grant: &Grant, id: &str, token: &str) {
        let name = grant.secret().name();
        let Some(path) = self.file(id) else {
            return tracing::warn!(
                credential = name,
                "a new refresh token was given out and cannot be kept over a restart: there is no state directory (systemd: StateDirectory=postbackd)"
            );
        };
        if let Err(error) = write(&path, token) {
            tracing::error!(credential = name, path = %path.display(), error = %error, "a new refresh token could not be written down; it is lost when the daemon stops");
        }
    }
}

/// What is shown as the refresh token.
fn current<'a>(grant: &'a Grant, rotated: Option<&'a Secret>) -> Option<&'a str> {
    let Means::Refresh { refresh_token, .. } = &grant.means else { return None };
    Some(rotated.unwrap_or(refresh_token).reveal())
}

/// One request for a token; its answer holds one.
async fn fetch(grant: &Grant, rotated: Option<&Secret>, via: &dyn Transport, deadline: Duration) -> Result<Value, SendError> {
    let reply = via.send(ask(grant, rotated)?, deadline).await.map_err(not_sent)?;
    let body = reply.json().unwrap_or_default();
    let token = body.get("access_token").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if token && (200..=299).contains(&reply.status) { Ok(body) } else { Err(refused(grant, &reply, &body)) }
}

fn read(path: &Path) -> Option<Secret> {
    let text = std::fs::read_to_string(path).ok().filter(|text| !text.trim().is_empty())?;
    Some(Secret::new("rotated refresh token", text.trim()))
}

/// Whole or not at all, and on the disk before it is used.
fn write(path: &Path, token: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    // Left by a write that was interrupted.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(token.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The request for a token.
fn ask(grant: &Grant, rotated: Option<&Secret>) -> Result<Request, SendError> {
    let mut form: Vec<(&str, String)> = Vec::new();
    match &grant.means {
        Means::Refresh { client_id, client_secret, refresh_token, scope } => {
            form.push(("grant_type", "refresh_token".into()));
            form.push(("client_id", client_id.clone()));
            form.extend(client_secret.iter().map(|secret| ("client_secret", secret.reveal().to_owned())));
            form.push(("refresh_token", rotated.unwrap_or(refresh_token).reveal().to_owned()));
            form.extend(scope.iter().map(|scope| ("scope", scope.clone())));
        }
        Means::Client { client_id, client_secret, scope } => {
            form.push(("grant_type", "client_credentials".into()));
            form.push(("client_id", client_id.clone()));
            form.push(("client_secret", client_secret.reveal().to_owned()));
            form.extend(scope.iter().map(|scope| ("scope", scope.clone())));
        }
        Means::ServiceAccount { key_file, scope } => {
            let assertion = assertion::signed(key_file, scope, &grant.token_url, Timestamp::now()).map_err(|why| SendError::NoToken {
                why: format!("{} {why}", key_file.name()),
                fix: "put the JSON key file there as the cloud's console gives it out, reload and resume".into(),
            })?;
            form.push(("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".into()));
            form.push(("assertion", assertion));
        }
    }
    let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let request = Request::new(Method::Post, grant.token_url.as_str()).with("Content-Type", "application/x-www-form-urlencoded");
    Ok(Request { body: form.join("&").into_bytes(), ..request.with("Accept", "application/json") })
}

/// Whatever happened to the request for a token, the request that needs it is not on the wire.
fn not_sent(error: SendError) -> SendError {
    match error {
        SendError::NotSent(why) | SendError::MaybeSent(why) => SendError::NotSent(format!("no access token: {why}")),
        other => other,
    }
}

fn refused(grant: &Grant, reply: &Reply, body: &Value) -> SendError {
    let name = grant.secret().name();
    let error = body.get("error").and_then(Value::as_str).unwrap_or_default();
    let words = body.get("error_description").and_then(Value::as_str).map(quote).unwrap_or_default();
    let why = format!("no access token for {name} (HTTP {} {} {words})", reply.status, quote(error));
    let why = why.replace(" )", ")").replace(" )", ")");
    if DEAD.contains(&error) || matches!(reply.status, 401 | 403) {
        let fix = format!("renew {name}, reload and resume");
        return SendError::NoToken { why, fix };
    }
    SendError::NotSent(why)
}

/// A transport whose requests carry the tokens that they name.
pub struct Authorized {
    inner: Arc<dyn Transport>,
    tokens: Arc<Tokens>,
    meter: Arc<Meter>,
}

impl Authorized {
    /// Tokens are fetched over `inner` too: proxy and authorities are the same.
    pub fn new(inner: Arc<dyn Transport>, tokens: &Arc<Tokens>, meter: Arc<Meter>) -> Self {
        Self { inner, tokens: Arc::clone(tokens), meter }
    }
}

impl Transport for Authorized {
    fn send(&self, mut request: Request, deadline: Duration) -> Sending {
        let Some(grant) = request.grant.take() else { return self.inner.send(request, deadline) };
        let (inner, tokens, meter) = (Arc::clone(&self.inner), Arc::clone(&self.tokens), Arc::clone(&self.meter));
        // As in the client: from the call on, on the clock that goes on while a machine sleeps.
        let until = since_boot() + deadline;
        Box::pin(async move {
            // A task of its own: whoever gives up waiting must not take an answer with him that holds the next refresh token.
            let giving = tokio::spawn(Arc::clone(&tokens).give(Arc::clone(&grant), Arc::clone(&inner), deadline));
            let given = match tokio::time::timeout(deadline, giving).await {
                Ok(Ok(given)) => given,
                Ok(Err(_)) => Err(SendError::NotSent("fetching an access token failed inside".into())),
                Err(_) => Err(SendError::NotSent(format!("no access token for {} within {deadline:?}", grant.secret().name()))),
            };
            let Given { held, fresh } = given.inspect_err(|error| meter.no_token(matches!(error, SendError::NoToken { .. })))?;
            meter.token(held.ends, held.refresh_ends);
            request.headers.push(("Authorization".into(), format!("Bearer {}", held.token.reveal())));
            let left = until.saturating_sub(since_boot());
            if left.is_zero() {
                return Err(SendError::NotSent("fetching an access token took all of the time".into()));
            }
            let reply = inner.send(request, left).await?;
            // Taken back before its time: the next attempt fetches another. A fresh one that is refused is for the adapter to judge.
            if reply.status == 401 && !fresh {
                tokens.forget(&grant, &held.token).await;
                return Err(SendError::NotSent(format!("the access token for {} ended before its time", grant.secret().name())));
            }
            Ok(reply)
        })
    }
}

/// Claims of an assertion, for whoever signs.
fn claims(issuer: &str, scope: &str, audience: &str, now: Timestamp) -> Value {
    json!({ "iss": issuer, "scope": scope, "aud": audience, "iat": now.as_second(), "exp": now.as_second() + 3_600 })
}

#[cfg(test)]
mod tests;
