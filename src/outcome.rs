//! [5 outcome] What came back, and what it means for one event where nothing but the status tells.

use std::time::Duration;

use jiff::Timestamp;

use crate::retry_after;

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

    /// The body as JSON; `None` for HTML, an empty body and what was cut.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

#[cfg(test)]
impl Reply {
    /// An answer without headers.
    pub fn plain(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: false }
    }
}

/// What a platform says, fit to be kept and shown: one line of at most 160 characters, without control characters, and
/// without what may be a person's or a secret: e-mail addresses, and runs of letters and digits that are no words.
pub fn quote(text: &str) -> String {
    const LONGEST: usize = 160;
    let part = |c: char| c.is_alphanumeric() || "@.+-_%".contains(c);
    let (mut out, mut word) = (String::new(), String::new());
    let end = |word: &mut String, out: &mut String| {
        let digits = word.chars().filter(|c| c.is_numeric()).count();
        let hide =
            word.contains('@') || word.contains("%40") || word.contains("%2540") || digits >= 6 || word.len() >= 24 && digits > 0 || word.len() > 60;
        out.push_str(if hide { "***" } else { word });
        word.clear();
    };
    for c in text.chars() {
        if part(c) {
            word.push(c);
        } else {
            end(&mut word, &mut out);
            out.push(if c.is_control() || c.is_whitespace() { ' ' } else { c });
        }
    }
    end(&mut word, &mut out);
    out.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
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
    /// Not on the wire: no token is given out for it until a person renews a credential.
    #[error("{why}; {fix}")]
    NoToken {
        /// What happened.
        why: String,
        /// What the person is to do.
        fix: String,
    },
    /// Not on the wire, and never to be: no URL, or a header that no header may be. Trying again cannot help.
    #[error("{0}")]
    Unsendable(String),
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
    /// The whole request was refused because of some of its events, and nothing of it was taken: those with this verdict are
    /// sent again at once, without those that have another; in halves where all have it. For a single one it is a rejection.
    Split {
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

    /// Delivered with nothing to remember, and a word to the reader.
    pub fn noted(note: impl Into<String>) -> Self {
        Self::Delivered { answer: None, note: Some(note.into()) }
    }

    /// Rejected.
    pub fn rejected(why: impl Into<String>) -> Self {
        Self::Rejected { why: why.into() }
    }

    /// Halted.
    pub fn halted(why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Halted { why: why.into(), fix: fix.into() }
    }

    /// The whole destination is to slow down, as long as the platform says.
    pub fn throttled(why: impl Into<String>, after: Option<Duration>) -> Self {
        Self::Retry { why: why.into(), after, throttled: true }
    }

    /// A retry without a hint.
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry { why: why.into(), after: None, throttled: false }
    }
}

/// Verdicts of a batch of which the platform names some by their place in the request, from 0; all others get `rest`. Of a place
/// that is named twice the first word counts; places beyond the batch are nobody's.
pub fn by_index(count: usize, named: impl IntoIterator<Item = (usize, Outcome)>, rest: &Outcome) -> Vec<Outcome> {
    let mut verdicts: Vec<Option<Outcome>> = vec![None; count];
    for (index, outcome) in named {
        if let Some(verdict @ None) = verdicts.get_mut(index) {
            *verdict = Some(outcome);
        }
    }
    verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(|| rest.clone())).collect()
}

/// What the platform asks for in `Retry-After`, from `now` on, at most a day.
pub fn retry_after(reply: &Reply, now: Timestamp) -> Option<Duration> {
    retry_after::parse(reply.header("retry-after")?, now)
}

/// The verdict where the status is all there is to judge by.
///
/// | status | outcome |
/// |---|---|
/// | 2xx | delivered |
/// | 408, 425, 5xx but 501, and what no standard knows | retry, not before Retry-After |
/// | 429, and 503 that names a time | retry, and the whole destination slows down |
/// | 3xx | rejected: redirects are not followed, a redirected postback is usually a moved or mistyped URL |
/// | 501, other 4xx | rejected |
pub fn by_status(reply: &Reply, now: Timestamp) -> Outcome {
    let status = reply.status;
    match status {
        200..=299 => Outcome::delivered(),
        300..=399 => Outcome::rejected(redirect(reply)),
        408 | 425 | 429 => retry(reply, now),
        501 | 400..=499 => Outcome::rejected(format!("HTTP {status}")),
        _ => retry(reply, now),
    }
}

/// The same for an API with a credential and ids in its path: what every event would get halts the destination instead of
/// burning one event after the other. `fix` says what to renew or correct.
///
/// | status | outcome |
/// |---|---|
/// | 401, 403 | halted: the credential |
/// | 3xx, 404, 405, 410 | halted: the address |
/// | others | as [`by_status`] says |
pub fn by_api_status(reply: &Reply, now: Timestamp, fix: &str) -> Outcome {
    match reply.status {
        401 | 403 => Outcome::halted(format!("the credential is refused (HTTP {})", reply.status), fix),
        300..=399 => Outcome::halted(redirect(reply), "correct base_url, reload and resume"),
        404 | 405 | 410 => Outcome::halted(
            format!("there is nothing at this address (HTTP {})", reply.status),
            "correct ids, version or base_url, reload and resume",
        ),
        _ => by_status(reply, now),
    }
}

fn retry(reply: &Reply, now: Timestamp) -> Outcome {
    let after = retry_after(reply, now);
    let throttled = reply.status == 429 || (reply.status == 503 && after.is_some());
    Outcome::Retry { why: format!("HTTP {}", reply.status), after, throttled }
}

/// Names where it points to, without what may hold ids or secrets: query, fragment and user.
fn redirect(reply: &Reply) -> String {
    let status = reply.status;
    let Some(to) = reply.header("location").and_then(place) else { return format!("HTTP {status}: a redirect, which is not followed") };
    format!("HTTP {status}: redirects to {to}; redirects are not followed, set the URL to where it leads")
}

fn place(location: &str) -> Option<String> {
    const LONGEST: usize = 200;
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let bare = match url::Url::parse(location) {
        Ok(url) => format!("{}://{}{}", url.scheme(), url.host_str()?, url.port().map_or_else(String::new, |port| format!(":{port}"))) + url.path(),
        Err(_) if location.contains('@') => return None,
        Err(_) => location[..end].to_owned(),
    };
    let shown: String = bare.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    (!shown.is_empty()).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, headers: &[(&str, &str)]) -> Outcome {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        by_status(&Reply { status, headers, body: Vec::new(), cut: false }, "1994-11-06T08:49:07Z".parse().unwrap())
    }

    fn rejected(status: u16, headers: &[(&str, &str)]) -> String {
        match verdict(status, headers) {
            Outcome::Rejected { why } => why,
            other => panic!("{status}: {other:?}"),
        }
    }

    #[test]
    fn every_status_has_a_verdict() {
        for status in 0..=999 {
            let verdict = verdict(status, &[]);
            let expected = match status {
                200..=299 => matches!(verdict, Outcome::Delivered { .. }),
                408 | 425 => matches!(verdict, Outcome::Retry { throttled: false, .. }),
                429 => matches!(verdict, Outcome::Retry { throttled: true, .. }),
                300..=499 | 501 => matches!(verdict, Outcome::Rejected { .. }),
                _ => matches!(verdict, Outcome::Retry { throttled: false, after: None, .. }),
            };
            assert!(expected, "{status}: {verdict:?}");
        }
    }

    #[test]
    fn a_time_to_come_back_is_heeded() {
        let after = Some(Duration::from_secs(30));
        let date = [("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(verdict(429, &date), Outcome::Retry { why: "HTTP 429".into(), after, throttled: true });
        assert_eq!(verdict(503, &date), Outcome::Retry { why: "HTTP 503".into(), after, throttled: true });
        assert_eq!(verdict(500, &[("retry-after", "30")]), Outcome::Retry { why: "HTTP 500".into(), after, throttled: false });
    }

    #[test]
    fn a_batch_has_a_verdict_for_each() {
        let bad = |why: &str| Outcome::rejected(why);
        let verdicts = by_index(3, [(1, bad("a")), (1, bad("b")), (7, bad("c"))], &Outcome::delivered());
        assert_eq!(verdicts, [Outcome::delivered(), bad("a"), Outcome::delivered()]);
    }

    #[test]
    fn what_is_quoted_holds_nobody() {
        let said = "Invalid parameter: em of \"jo@shop.example\"\n(token EAAB1234567890abcdef, phone +49 30 1234567) code 100";
        assert_eq!(quote(said), "Invalid parameter: em of \"***\" (token ***, phone +49 30 ***) code 100");
        assert_eq!(quote("nobody is jo%40shop.example, nor jo%2540shop.example"), "nobody is ***, nor ***");
        assert_eq!(quote(&"long ".repeat(100)).len(), 160);
        assert_eq!(quote("events.events[0].event_source is REQUIRED_FIELD_MISSING"), "events.events[0].event_source is REQUIRED_FIELD_MISSING");
    }

    #[test]
    fn redirects_are_named_without_ids_or_secrets() {
        let to = |location| rejected(302, &[("location", location)]);
        let said = "HTTP 302: redirects to https://new.example:8443/pb; redirects are not followed, set the URL to where it leads";
        assert_eq!(to("https://user:secret@new.example:8443/pb?gclid=secret#secret"), said);
        assert!(to("/login?next=secret").starts_with("HTTP 302: redirects to /login; "));
        assert!(!to("//user:secret@new.example/pb").contains("secret"));
        assert!(to(&"/a".repeat(10_000)).len() < 400);
        assert_eq!(rejected(304, &[]), "HTTP 304: a redirect, which is not followed");
    }
}
