//! How a request proves where it comes from: Basic, Bearer, a header, a query parameter, or an HMAC over query or body.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    request::Request,
    secret::Secret,
    template::{filters::hmac, place::encode},
};

#[derive(Clone, Debug)]
pub(super) enum Auth {
    None,
    Basic { user: String, password: Secret },
    Bearer(Secret),
    Header { name: String, value: Secret },
    Query { name: String, value: Secret },
}

impl Auth {
    /// The header that it sets.
    pub(super) fn header(&self) -> Option<&str> {
        match self {
            Self::None | Self::Query { .. } => None,
            Self::Basic { .. } | Self::Bearer(_) => Some("Authorization"),
            Self::Header { name, .. } => Some(name),
        }
    }

    pub(super) fn apply(&self, request: &mut Request) {
        match self {
            Self::None => {}
            Self::Basic { user, password } => {
                let pair = STANDARD.encode(format!("{user}:{}", password.reveal()));
                request.headers.push(("Authorization".into(), format!("Basic {pair}")));
            }
            Self::Bearer(token) => request.headers.push(("Authorization".into(), format!("Bearer {}", token.reveal()))),
            Self::Header { name, value } => request.headers.push((name.clone(), value.reveal().to_owned())),
            Self::Query { name, value } => append(&mut request.url, name, value.reveal()),
        }
    }
}

/// `sign = { over = "query", key = .., name = "sig", in = "query" }`: an HMAC over what is finally sent.
#[derive(Clone, Debug)]
pub(super) struct Sign {
    pub over_body: bool,
    pub algorithm: String,
    pub base64: bool,
    pub key: Secret,
    pub name: String,
    pub in_header: bool,
    pub prefix: String,
}

impl Sign {
    /// The header that it sets.
    pub(super) fn header(&self) -> Option<&str> {
        self.in_header.then_some(self.name.as_str())
    }

    pub(super) fn apply(&self, request: &mut Request) {
        let over = if self.over_body { request.body.clone() } else { request.url.split_once('?').map_or("", |(_, query)| query).as_bytes().to_vec() };
        // The algorithm was checked when the settings were parsed.
        let digest = hmac(&self.algorithm, self.key.reveal(), &over).unwrap_or_default();
        let digest = if self.base64 { STANDARD.encode(digest) } else { hex::encode(digest) };
        let text = format!("{}{digest}", self.prefix);
        if self.in_header { request.headers.push((self.name.clone(), text)) } else { append(&mut request.url, &self.name, &text) }
    }
}

fn append(url: &mut String, name: &str, value: &str) {
    url.push(if url.contains('?') { '&' } else { '?' });
    url.push_str(&format!("{}={}", encode(name), encode(value)));
}
