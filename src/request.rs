//! [3 mapped request] What goes on the wire, as plain data: an adapter builds it, the HTTP edge sends it, `preview` prints it.

use std::fmt::Write as _;

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
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({}, {} headers, {} byte body)", self.method.as_str(), self.headers.len(), self.body.len())
    }
}

impl Request {
    /// The canonical text form of golden files.
    pub fn to_text(&self) -> String {
        let mut text = format!("{} {}\n", self.method.as_str(), self.url);
        for (name, value) in &self.headers {
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
        for (name, value) in &self.headers {
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
        let request =
            Request { method: Method::Post, url: "https://a.example/?q=it's".into(), headers: vec![("A".into(), "$b".into())], body: b"{}".to_vec() };
        assert_eq!(request.to_curl(), r"curl -sS -X POST 'https://a.example/?q=it'\''s' -H 'A: $b' --data-binary '{}'");
    }
}
