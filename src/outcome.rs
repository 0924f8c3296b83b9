//! [5 outcome] What came back, and what it means for one event. Data only.

use std::time::Duration;

/// A complete HTTP answer, the body cut at the edge's cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// At most 64 KiB.
    pub body: Vec<u8>,
    /// Whether the body was longer than the cap.
    pub cut: bool,
}

impl Reply {
    /// First value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, invalid UTF-8 replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Why there is no reply. The text names the class, never the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum SendError {
    /// Provably not on the wire: name resolution, connecting, TLS.
    #[error("{0}")]
    NotSent(String),
    /// It may have arrived: reset, timeout or garbage after writing began.
    #[error("{0}")]
    MaybeSent(String),
}

/// The verdict on one event of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Taken, or already known to them. `answer` holds the platform's ids, for a refund that follows.
    Delivered {
        /// Platform ids; `None` when it gives none.
        answer: Option<serde_json::Value>,
        /// A word to the reader, e.g. `duplicate`.
        note: Option<String>,
    },
    /// Taken, the platform confirms later.
    Accepted {
        /// What the confirmation poll needs.
        answer: Option<serde_json::Value>,
    },
    /// Their trouble.
    Retry {
        /// Short, in words.
        why: String,
        /// From Retry-After.
        after: Option<Duration>,
        /// The whole destination is to slow down, not this event alone.
        throttled: bool,
    },
    /// This event never; the next may pass.
    Rejected {
        /// Short, in words.
        why: String,
    },
    /// Every event fails until someone acts. Attempts are not consumed.
    Halted {
        /// What happened.
        why: String,
        /// What the person is to do.
        fix: String,
    },
}

impl Outcome {
    /// Delivered with nothing to remember.
    pub fn delivered() -> Self {
        Self::Delivered { answer: None, note: None }
    }

    /// A retry without a hint.
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry { why: why.into(), after: None, throttled: false }
    }
}

/// How long the receiver asks to wait, from `Retry-After` in whole seconds.
pub fn retry_after(reply: &Reply, _now: jiff::Timestamp) -> Option<Duration> {
    reply.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}
