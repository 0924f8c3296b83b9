//! [3 mapped request] What goes on the wire, as plain data: an adapter builds it, the HTTP edge sends it, `preview` prints it.

use std::{fmt::Write as _, sync::Arc};

use crate::grant::Grant;

/// HTTP method of a postback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// As it stands on the request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One HTTP request. It holds secrets and personal data where the platform wants them: never log it.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Verb.
    pub method: Method,
    /// Absolute, already encoded.
    pub url: String,
    /// In the order in which they are sent; names in the case that the platform documents.
    pub headers: Vec<(String, String)>,
    /// Empty for GET.
    pub body: Vec<u8>,
    /// The token that `Authorization: Bearer` is to carry; the HTTP edge fetches and fills it in.
    pub grant: Option<Arc<Grant>>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({}, {} headers, {} byte body)", self.method.as_str(), self.headers.len(), self.body.len())
    }
}

impl Request {
    /// Without headers, body and token.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: Vec::new(), grant: None }
    }

    /// A POST of a JSON document.
    pub fn json(url: impl Into<String>, body: &serde_json::Value) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Self { headers, body: body.to_string().into_bytes(), ..Self::new(Method::Post, url) }
    }

    /// One more header.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With a token in `Authorization`.
    pub fn granted(self, grant: &Arc<Grant>) -> Self {
        Self { grant: Some(Arc::clone(grant)), ..self }
    }

    /// All headers; the token's by its name.
    fn shown(&self) -> impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)> {
        let token = self.grant.iter().map(|grant| ("Authorization", format!("Bearer {}", grant.placeholder()).into()));
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str().into())).chain(token)
    }

    /// The canonical text form of golden files.
    pub fn to_text(&self) -> String {
        let mut text = format!("{} {}\n", self.method.as_str(), self.url);
        for (name, value) in self.shown() {
            let _ = writeln!(text, "{name}: {value}");
        }
        if !self.body.is_empty() {
            let _ = write!(text, "\n{}\n", String::from_utf8_lossy(&self.body));
        }
        text
    }

    /// A line for a POSIX shell. Built from settings whose secrets are names, it prints names.
    pub fn to_curl(&self) -> String {
        let mut line = "curl -sS".to_owned();
        if self.method != Method::Get {
            let _ = write!(line, " -X {}", self.method.as_str());
        }
        let _ = write!(line, " {}", quoted(&self.url));
        for (name, value) in self.shown() {
            let _ = write!(line, " -H {}", quoted(&format!("{name}: {value}")));
        }
        if !self.body.is_empty() {
            let _ = write!(line, " --data-binary {}", quoted(&String::from_utf8_lossy(&self.body)));
        }
        line
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curl_quotes_what_a_shell_would_eat() {
        let request = Request { body: b"{}".to_vec(), ..Request::new(Method::Post, "https://a.example/?q=it's").with("A", "$b") };
        assert_eq!(request.to_curl(), r"curl -sS -X POST 'https://a.example/?q=it'\''s' -H 'A: $b' --data-binary '{}'");
    }
}
