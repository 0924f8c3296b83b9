//! What judges talk about.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// A request below a platform's prefix.
#[derive(Clone, Debug)]
pub struct Call {
    /// `POST`
    pub method: String,
    /// Without the prefix: `/v26.0/1/events`.
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: Vec<u8>,
    /// When it came.
    pub now: Timestamp,
}

impl Call {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first parameter of the query.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// What stands behind `Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The parts of the path.
    pub fn parts(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }

    /// The body as JSON; `Null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The query as an object of texts.
    pub fn query_object(&self) -> Value {
        object(self.query.iter().cloned())
    }

    /// A form as an object of texts.
    pub fn form(&self) -> Value {
        object(url::form_urlencoded::parse(&self.body).into_owned())
    }
}

fn object(pairs: impl Iterator<Item = (String, String)>) -> Value {
    Value::Object(pairs.map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>())
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Besides the length.
    pub headers: Vec<(&'static str, String)>,
    /// Text.
    pub body: String,
}

impl Answer {
    /// With a content type.
    pub fn new(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    /// With a further header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a fault means to the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Concern {
    /// The credential: missing, malformed, expired.
    Auth,
    /// The address: no such endpoint, method or id.
    Address,
    /// The request as a whole.
    Request,
    /// One item of it.
    Item,
}

/// What is wrong, where, by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What it concerns.
    pub concern: Concern,
    /// Position in the batch, for those of one item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<usize>,
    /// Path of the field: `data[0].event_time`.
    pub field: String,
    /// What is wrong with it and what the platform wants; never the value.
    pub rule: String,
}

/// One conversion of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What the platform calls it: `Purchase`.
    pub name: String,
    /// What the platform recognises a repeat by.
    pub id: String,
    /// `49.90 EUR`, empty where none is told.
    pub amount: String,
}

/// What a judge found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What the request is: `events`, `token`, `refund`, `status`.
    pub what: &'static str,
    /// Its conversions.
    pub items: Vec<Item>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What is no fault and worth a word.
    pub notes: Vec<String>,
}

impl Verdict {
    /// The first fault of this concern.
    pub fn first(&self, concern: Concern) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.concern == concern)
    }

    /// The first fault of the item at this position.
    pub fn of_item(&self, item: usize) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.item == Some(item))
    }

    /// The first fault by concern: a platform looks at the credential first.
    pub fn worst(&self) -> Option<&Fault> {
        self.faults.iter().min_by_key(|fault| fault.concern)
    }
}

/// What a platform remembers.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Ids that it has taken.
    pub taken: BTreeSet<String>,
    /// What was promised for later, by the id that it was promised under.
    pub jobs: BTreeMap<String, Value>,
    /// Access tokens that it gave, and when they end.
    pub tokens: BTreeMap<String, Timestamp>,
    /// Counts what gets a number.
    pub count: u64,
}

impl Memory {
    /// A number that nothing had before.
    pub fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Keeps the answer to a later question.
    pub fn promise(&mut self, prefix: &str, what: Value) -> String {
        let id = format!("{prefix}{}", self.number());
        self.jobs.insert(id.clone(), what);
        id
    }
}

/// A platform as its documentation describes it.
pub trait Judge: Sync {
    /// Its name in `platform = ".."`, and its prefix.
    fn name(&self) -> &'static str;

    /// Reads a request.
    fn judge(&self, call: &Call, memory: &Memory) -> Verdict;

    /// What the platform answers to a request of which this was found; remembers what it takes.
    fn answer(&self, call: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer;

    /// Too many requests.
    fn throttled(&self, call: &Call) -> Answer {
        let _ = call;
        Answer::new(429, "text/plain", "Too Many Requests").header("retry-after", "1")
    }

    /// A fault of the platform itself.
    fn down(&self, call: &Call) -> Answer {
        let _ = call;
        Answer::new(503, "text/html", "<html><body>Service Unavailable</body></html>")
    }

    /// Keys of a destination's table besides `base_url`, where a platform has more than one address; `{base}` is this one's.
    fn settings(&self) -> &'static str {
        ""
    }
}
