//! Which class a failure of the client is, in words that hold no path, query, user or body: the client's own texts hold
//! the whole URL, so none of them is passed on.

use std::{error::Error, io};

use crate::outcome::SendError;

/// No answer came. `place` is `host:port`.
pub(super) fn of(error: &reqwest::Error, place: &str, without_roots: bool) -> SendError {
    let causes = Causes::of(error);
    if error.is_builder() {
        return SendError::Unsendable("the request cannot be sent: the HTTP client refuses it as malformed".to_owned());
    }
    if error.is_connect() {
        return SendError::NotSent(connecting(&causes, error.is_dns(), error.is_timeout(), place, without_roots));
    }
    let text = match (causes.hyper, causes.io) {
        // The client's word that the request was never begun, see its `TrySendError`: the one failure after connecting that
        // is sure to be harmless.
        (Some(hyper), _) if hyper.is_canceled() => return SendError::NotSent(format!("connection closed by {place} before the request was begun")),
        (Some(hyper), _) if hyper.is_parse() || hyper.is_parse_status() => format!("answer of {place} is not HTTP"),
        (Some(hyper), _) if hyper.is_incomplete_message() => format!("connection closed by {place} without an answer"),
        (_, Some(io)) => format!("{} by {place} while waiting for the answer", lost(io)),
        _ if error.is_timeout() => format!("connection to {place} timed out while waiting for the answer"),
        _ => format!("connection to {place} failed while waiting for the answer"),
    };
    SendError::MaybeSent(text)
}

/// The answer had begun: the request has arrived, its verdict has not.
pub(super) fn in_answer(error: &reqwest::Error, place: &str) -> SendError {
    let causes = Causes::of(error);
    let text = match causes.io {
        Some(io) if matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => format!("answer of {place} is not HTTP"),
        Some(io) => format!("{} by {place} in the middle of the answer", lost(io)),
        None => format!("answer of {place} broke off"),
    };
    SendError::MaybeSent(text)
}

fn connecting(causes: &Causes<'_>, dns: bool, timeout: bool, place: &str, without_roots: bool) -> String {
    if dns {
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        return format!("name {host} cannot be resolved");
    }
    if let Some(tls) = causes.tls {
        return match tls {
            rustls::Error::InvalidCertificate(_) if without_roots => {
                format!("certificate of {place} is not trusted: this machine has no certificate authorities, install ca-certificates")
            }
            // Prints the class of the failure and names in certificates, which are public.
            rustls::Error::InvalidCertificate(why) => format!("certificate of {place} is not trusted: {why}"),
            other => format!("TLS with {place} failed: {other}"),
        };
    }
    match causes.io.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => format!("connection refused by {place}"),
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => format!("connection reset by {place} while connecting"),
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => format!("no route to {place}"),
        Some(io::ErrorKind::TimedOut) => format!("connecting to {place} timed out"),
        _ if timeout => format!("connecting to {place} timed out"),
        _ => format!("cannot connect to {place}, or its proxy refused to"),
    }
}

fn lost(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => "connection reset",
        io::ErrorKind::UnexpectedEof => "connection closed",
        io::ErrorKind::TimedOut => "connection given up as dead",
        _ => "connection broken",
    }
}

/// What is known of a failure, from the whole chain of causes; of each kind the innermost.
#[derive(Default)]
struct Causes<'a> {
    io: Option<&'a io::Error>,
    tls: Option<&'a rustls::Error>,
    hyper: Option<&'a hyper::Error>,
}

impl<'a> Causes<'a> {
    fn of(error: &'a reqwest::Error) -> Self {
        let mut causes = Self::default();
        let mut next: Option<&(dyn Error + 'static)> = error.source();
        while let Some(error) = next {
            causes.tls = error.downcast_ref().or(causes.tls);
            causes.hyper = error.downcast_ref().or(causes.hyper);
            next = error.source();
            if let Some(io) = error.downcast_ref::<io::Error>() {
                causes.io = Some(io);
                // An io::Error that wraps another says so by `get_ref` only; its `source` skips that one.
                next = io.get_ref().map(|inner| inner as &(dyn Error + 'static)).or(next);
            }
        }
        causes
    }
}
