//! How a request proves where it comes from: Basic, Bearer, a header, a query parameter, or an HMAC over query or body.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use toml::{Table, Value};

use super::keys::{Parsed, can_be_set, field, header_secret, in_header, only, secret, text_at, wrong};
use crate::{
    platform::Resolve,
    request::Request,
    secret::Secret,
    template::{filters::hmac, place::encode},
    words::hint,
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
    /// `auth`; without it nothing is proved.
    pub(super) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        let Some(value) = table.get("auth") else { return Ok(Self::None) };
        let known = ["basic", "bearer", "header", "query"];
        let shape = "auth is one of { bearer = SECRET }, { basic = { user = \"..\", password = SECRET } }, { header = { name = \"..\", value = SECRET } }, { query = { name = \"..\", value = SECRET } }";
        let Some((kind, value)) = value.as_table().filter(|auth| auth.len() == 1).and_then(|auth| auth.iter().next()) else {
            return wrong("auth", shape);
        };
        let path = format!("auth.{kind}");
        if kind == "bearer" {
            return Ok(Self::Bearer(header_secret(secret(value, &path, resolve)?, &path)?));
        }
        let Some(inner) = value.as_table() else { return wrong(path, shape) };
        let name = |key: &str| {
            field(inner, key, &path)?
                .as_str()
                .filter(|name| name.bytes().all(|b| b.is_ascii_graphic()))
                .map(str::to_owned)
                .map_or_else(|| wrong(path.as_str(), format!("{key} must be plain text")), Ok)
        };
        match kind.as_str() {
            "basic" => {
                only(inner, &path, &["user", "password"])?;
                let user = name("user")?;
                if user.contains(':') {
                    return wrong(path, "a user holds no colon: what follows it would be read as the password");
                }
                Ok(Self::Basic { user, password: secret(field(inner, "password", &path)?, &path, resolve)? })
            }
            "header" => {
                only(inner, &path, &["name", "value"])?;
                let name = name("name")?;
                if !can_be_set(&name) {
                    return wrong(path, format!("{name:?} is no header name that can be set here"));
                }
                Ok(Self::Header { name, value: header_secret(secret(field(inner, "value", &path)?, &path, resolve)?, &path)? })
            }
            "query" => {
                only(inner, &path, &["name", "value"])?;
                Ok(Self::Query { name: name("name")?, value: secret(field(inner, "value", &path)?, &path, resolve)? })
            }
            other => wrong(path.as_str(), format!("unknown kind of auth{}; {shape}", hint(other, known))),
        }
    }

    /// What it proves with.
    pub(super) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::None => None,
            Self::Bearer(secret) | Self::Basic { password: secret, .. } | Self::Header { value: secret, .. } | Self::Query { value: secret, .. } => {
                Some(secret)
            }
        }
    }

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
    /// `sign`.
    pub(super) fn parse(table: &Table, resolve: Resolve<'_>) -> Parsed<Option<Self>> {
        let sign = match table.get("sign") {
            None => return Ok(None),
            Some(Value::Table(sign)) => sign,
            Some(_) => return wrong("sign", "a table is expected"),
        };
        only(sign, "sign", &["over", "algorithm", "encoding", "key", "name", "in", "prefix"])?;
        let choice = |key: &str, known: &[&str]| -> Parsed<String> {
            let path = format!("sign.{key}");
            let given = text_at(sign, key, &path)?.unwrap_or(known[0]);
            if known.contains(&given) { Ok(given.to_owned()) } else { wrong(path, format!("one of {}", known.join(", "))) }
        };
        let sign = Self {
            over_body: choice("over", &["query", "body"])? == "body",
            algorithm: choice("algorithm", &["sha256", "sha1", "md5"])?,
            base64: choice("encoding", &["hex", "base64"])? == "base64",
            key: secret(field(sign, "key", "sign.key")?, "sign.key", resolve)?,
            name: text_at(sign, "name", "sign.name")?
                .filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()))
                .map_or_else(|| wrong("sign.name", "the parameter's or header's name is missing"), |name| Ok(name.to_owned()))?,
            in_header: choice("in", &["query", "header"])? == "header",
            prefix: text_at(sign, "prefix", "sign.prefix")?.unwrap_or_default().to_owned(),
        };
        if sign.in_header && !can_be_set(&sign.name) {
            return wrong("sign.name", format!("{:?} is no header name that can be set here", sign.name));
        }
        if sign.in_header && !in_header(&sign.prefix) {
            return wrong("sign.prefix", "it holds characters that a header cannot carry");
        }
        Ok(Some(sign))
    }

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
