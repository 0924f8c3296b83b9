//! Two configurations over the same past events: which requests would differ, and in what. Pure: requests come from `preview`.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;

use crate::{preview::Previewed, request::Request};

/// Rows that a destination's summary holds; what differs beyond them is counted as one.
const ROWS: usize = 60;
/// Characters of a value that are shown.
const SHOWN: usize = 80;

/// What differs at one destination.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// The same request, or the same reason for none.
    pub same: u64,
    /// A request before and after, which differ.
    pub changed: u64,
    /// A request where there was none.
    pub begins: u64,
    /// None where there was one.
    pub ends: u64,
    /// None before and after, for different reasons.
    pub reasons: u64,
    /// By what differs, most frequent first once [`Summary::sort`] was called.
    pub rows: Vec<Row>,
    /// Differences that got no row because there were too many kinds.
    pub unlisted: u64,
    #[serde(skip)]
    known: BTreeMap<(String, String), usize>,
}

/// One thing that differs, with the first event where it does as an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// A part of the request, `body data[].custom_data.value`; or `request` where there is one on one side only.
    pub what: String,
    /// In how many events.
    pub events: u64,
    /// The example.
    pub event: i64,
    /// What kind of event it is.
    pub kind: String,
    /// Its order, lead ...
    pub reference: String,
    /// With the old configuration; nothing: it was not there.
    pub before: Option<String>,
    /// With the new one.
    pub after: Option<String>,
}

impl Summary {
    /// One event, by both configurations; `None` where a configuration has no such destination.
    pub fn add(&mut self, before: Option<&Previewed>, after: Option<&Previewed>) {
        let Some(about) = before.or(after) else { return };
        const NONE: &str = "no such destination";
        let result = |side: Option<&Previewed>| side.map_or_else(|| Err(NONE.to_owned()), |side| side.result.clone());
        match (result(before), result(after)) {
            (Ok(old), Ok(new)) if old == new => self.same += 1,
            (Ok(old), Ok(new)) => {
                self.changed += 1;
                let (old, new) = (parts(&old), parts(&new));
                let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
                names.sort_unstable();
                names.dedup();
                for name in names {
                    let (old, new) = (old.get(name), new.get(name));
                    if old != new {
                        self.count(about, name.clone(), String::new(), old.map(|text| short(text)), new.map(|text| short(text)));
                    }
                }
            }
            (Err(old), Err(new)) if alike(&old) == alike(&new) => self.same += 1,
            (Ok(_), Err(new)) => {
                self.ends += 1;
                self.count(about, "request".into(), alike(&new), Some("sent".into()), Some(new));
            }
            (Err(old), Ok(_)) => {
                self.begins += 1;
                self.count(about, "request".into(), alike(&old), Some(old), Some("sent".into()));
            }
            (Err(old), Err(new)) => {
                self.reasons += 1;
                self.count(about, "reason".into(), format!("{} {}", alike(&old), alike(&new)), Some(old), Some(new));
            }
        }
    }

    /// Whether anything differs.
    pub fn differs(&self) -> bool {
        self.changed + self.begins + self.ends + self.reasons > 0
    }

    /// The most frequent first.
    pub fn sort(&mut self) {
        self.known.clear();
        self.rows.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.what.cmp(&b.what)));
    }

    fn count(&mut self, about: &Previewed, what: String, kind: String, before: Option<String>, after: Option<String>) {
        if let Some(row) = self.known.get(&(what.clone(), kind.clone())).and_then(|at| self.rows.get_mut(*at)) {
            row.events += 1;
            return;
        }
        if self.rows.len() == ROWS {
            self.unlisted += 1;
            return;
        }
        self.known.insert((what.clone(), kind), self.rows.len());
        let kind = about.kind.map_or("unreadable", |kind| kind.as_str()).to_owned();
        self.rows.push(Row { what, events: 1, event: about.event, kind, reference: about.reference.clone(), before, after });
    }
}

/// The events of a page, destination by destination: what each configuration would do about each. `renamed` gives the new name of
/// a destination that has another one now.
pub fn compare(into: &mut BTreeMap<String, Summary>, before: &[Previewed], after: &[Previewed], renamed: impl Fn(&str) -> Option<Arc<str>>) {
    type Sides<'a> = (Option<&'a Previewed>, Option<&'a Previewed>);
    let mut pairs: BTreeMap<(Arc<str>, i64), Sides<'_>> = BTreeMap::new();
    for old in before {
        let name = renamed(&old.destination).unwrap_or_else(|| Arc::clone(&old.destination));
        pairs.entry((name, old.event)).or_default().0 = Some(old);
    }
    for new in after {
        pairs.entry((Arc::clone(&new.destination), new.event)).or_default().1 = Some(new);
    }
    for ((name, _), (old, new)) in pairs {
        into.entry(name.to_string()).or_default().add(old, new);
    }
}

/// A request by its parts: a changed value then says where it stands.
fn parts(request: &Request) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::from([("method".to_owned(), request.method.as_str().to_owned())]);
    let (path, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
    parts.insert("url".to_owned(), path.to_owned());
    pairs(&mut parts, "query", query.as_bytes());
    for (name, value) in &request.headers {
        add(&mut parts, format!("header {name}"), value);
    }
    if let Some(grant) = &request.grant {
        parts.insert("token".to_owned(), grant.placeholder());
    }
    let is_form = request.headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("content-type") && value.contains("x-www-form-urlencoded"));
    match serde_json::from_slice::<Value>(&request.body) {
        Ok(value) if value.is_object() || value.is_array() => leaves(&mut parts, "body ", &value),
        _ if is_form => pairs(&mut parts, "body", &request.body),
        _ if request.body.is_empty() => {}
        _ => _ = parts.insert("body".to_owned(), String::from_utf8_lossy(&request.body).into_owned()),
    }
    parts
}

fn pairs(parts: &mut BTreeMap<String, String>, before: &str, text: &[u8]) {
    for (name, value) in url::form_urlencoded::parse(text) {
        add(parts, format!("{before} {name}"), &value);
    }
}

/// What stands there several times is one part.
fn add(parts: &mut BTreeMap<String, String>, name: String, value: &str) {
    parts
        .entry(name)
        .and_modify(|there| {
            there.push_str(", ");
            there.push_str(value);
        })
        .or_insert_with(|| value.to_owned());
}

/// Entries of arrays by `[]`: an item more is no other part.
fn leaves(parts: &mut BTreeMap<String, String>, path: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            let dot = if path.ends_with(' ') { "" } else { "." };
            fields.iter().for_each(|(name, value)| leaves(parts, &format!("{path}{dot}{name}"), value));
        }
        Value::Array(entries) => entries.iter().for_each(|value| leaves(parts, &format!("{path}[]"), value)),
        Value::String(text) => add(parts, path.to_owned(), text),
        other => add(parts, path.to_owned(), &other.to_string()),
    }
}

/// Reasons with the numbers and times of one event left out.
pub(crate) fn alike(reason: &str) -> String {
    reason.split_whitespace().map(|word| if word.chars().any(|c| c.is_ascii_digit()) { "N" } else { word }).collect::<Vec<_>>().join(" ")
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Kind, request::Method};

    fn previewed(event: i64, result: Result<Request, &str>) -> Previewed {
        Previewed {
            destination: "meta".into(),
            event,
            kind: Some(Kind::Purchase),
            reference: event.to_string(),
            result: result.map_err(str::to_owned),
        }
    }

    fn request(url: &str, body: &str) -> Request {
        Request { body: body.as_bytes().to_vec(), ..Request::new(Method::Post, url) }
    }

    #[test]
    fn what_differs_is_told_by_its_place_and_counted_once_an_event() {
        let mut meta = Summary::default();
        for event in 1..=3 {
            let old = previewed(event, Ok(request("https://a/x?v=1&w=2", r#"{"data":[{"value":"1.00","items":[{"q":1},{"q":2}]}]}"#)));
            let new = previewed(event, Ok(request("https://a/x?v=2&w=2", r#"{"data":[{"value":"1.00","items":[{"q":1},{"q":3}],"x":true}]}"#)));
            meta.add(Some(&old), Some(&new));
            meta.add(Some(&old), Some(&old));
        }
        meta.sort();
        assert_eq!((meta.same, meta.changed, meta.begins, meta.ends), (3, 3, 0, 0));
        let rows: Vec<_> = meta.rows.iter().map(|row| (row.what.as_str(), row.events, row.before.as_deref(), row.after.as_deref())).collect();
        assert_eq!(
            rows,
            [
                ("body data[].items[].q", 3, Some("1, 2"), Some("1, 3")),
                ("body data[].x", 3, None, Some("true")),
                ("query v", 3, Some("1"), Some("2")),
            ]
        );
    }

    #[test]
    fn requests_that_begin_and_end_are_grouped_by_their_reason() {
        let mut all = BTreeMap::new();
        let sent = || Ok(request("https://a/x", ""));
        let before = [
            previewed(1, Err("skipped: no gclid")),
            previewed(2, sent()),
            previewed(3, Err("held until 2026-01-01T00:00:00Z: age")),
            previewed(4, sent()),
        ];
        let after = [previewed(1, sent()), previewed(2, Err("skipped: kind")), previewed(3, Err("held until 2026-01-02T00:00:00Z: age"))];
        compare(&mut all, &before, &after, |_| None);
        let meta = &all["meta"];
        assert_eq!((meta.same, meta.changed, meta.begins, meta.ends, meta.reasons), (1, 0, 1, 2, 0));
        assert_eq!(meta.rows.len(), 3, "{:?}", meta.rows);
        assert!(meta.differs() && meta.rows.iter().any(|row| row.after.as_deref() == Some("no such destination")));
    }

    #[test]
    fn a_renamed_destination_is_compared_with_itself() {
        let mut all = BTreeMap::new();
        let old = [previewed(1, Ok(request("https://a/x", "")))];
        let new = [Previewed { destination: "facebook".into(), ..previewed(1, Ok(request("https://a/x", ""))) }];
        compare(&mut all, &old, &new, |name| (name == "meta").then(|| "facebook".into()));
        assert_eq!((all.len(), all["facebook"].same), (1, 1));
    }

    #[test]
    fn more_kinds_of_differences_than_rows_are_counted() {
        let mut meta = Summary::default();
        for event in 0..100 {
            meta.add(
                Some(&previewed(event, Ok(request(&format!("https://a/x?p{event}=1"), "")))),
                Some(&previewed(event, Ok(request("https://a/x", "")))),
            );
        }
        assert_eq!((meta.rows.len(), meta.unlisted), (ROWS, 100 - ROWS as u64));
    }
}
