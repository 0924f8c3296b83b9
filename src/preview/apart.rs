//! A request taken apart where its receiver takes it apart, so that what depends on a buyer can be told from the rest.

use serde_json::{Map, Value};

use crate::request::Request;

/// The same request, made for a buyer in whom one thing is another; `None`: for that buyer there is none.
pub(super) struct Other {
    /// What is another thing, as people call it.
    pub label: String,
    /// The request.
    pub apart: Option<Apart>,
}

/// Host, path, query, headers, body.
#[derive(Clone)]
pub(super) struct Apart {
    /// `https://host:port`; it never depends on an event.
    base: String,
    path: Vec<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Json(Value),
    Form(Vec<(String, String)>),
    Text(String),
}

impl Apart {
    /// Takes it apart.
    pub(super) fn of(request: &Request) -> Self {
        let (line, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
        let host = line.find("://").map_or(0, |at| at + 3);
        let end = line[host..].find('/').map_or(line.len(), |at| host + at);
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let form = request.headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("content-type") && value.contains("x-www-form-urlencoded"));
        let body = match serde_json::from_str(&text) {
            Ok(json @ (Value::Object(_) | Value::Array(_))) => Body::Json(json),
            _ if form => Body::Form(pairs(&text)),
            _ => Body::Text(text),
        };
        Self {
            base: line[..end].to_owned(),
            path: line[end..].split('/').map(str::to_owned).collect(),
            query: pairs(query),
            headers: request.headers.clone(),
            body,
        }
    }

    /// Puts a name in place of everything that is another in one of the others.
    pub(super) fn hide(&mut self, others: &[Other]) {
        for n in 0..self.path.len() {
            let here = self.path[n].clone();
            if let Some(label) = labels(others, |other| other.path.get(n) == Some(&here)) {
                self.path[n] = label;
            }
        }
        hide_pairs(&mut self.query, others, |other| &other.query);
        hide_pairs(&mut self.headers, others, |other| &other.headers);
        match &mut self.body {
            Body::Json(json) => {
                let bodies: Vec<(&str, Option<&Value>)> =
                    others.iter().map(|other| (other.label.as_str(), other.apart.as_ref().and_then(Self::json))).collect();
                hide_json(json, &bodies);
            }
            Body::Form(form) => hide_pairs(form, others, |other| match &other.body {
                Body::Form(form) => form,
                _ => &[],
            }),
            Body::Text(text) => {
                let here = text.clone();
                if let Some(label) = labels(others, |other| matches!(&other.body, Body::Text(there) if *there == here)) {
                    *text = label;
                }
            }
        }
    }

    /// Puts a name in place of every part that holds one of these values as it is.
    pub(super) fn hide_values(&mut self, values: &[(String, String)]) {
        let found = |text: &str| {
            let decoded = percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().to_lowercase();
            let lower = text.to_lowercase();
            values.iter().find(|(_, value)| lower.contains(value) || decoded.contains(value)).map(|(label, _)| format!("[{label}]"))
        };
        let each = |text: &mut String| {
            if let Some(label) = found(text) {
                *text = label;
            }
        };
        self.path.iter_mut().for_each(each);
        self.query.iter_mut().chain(&mut self.headers).for_each(|(name, value)| {
            each(name);
            each(value);
        });
        match &mut self.body {
            Body::Json(json) => each_text(json, &each),
            Body::Form(form) => form.iter_mut().for_each(|(name, value)| {
                each(name);
                each(value);
            }),
            Body::Text(text) => each(text),
        }
    }

    /// Everything but the body's kind is as it was: verb and token are the original's.
    pub(super) fn together(self, original: &Request) -> Request {
        let query = joined(&self.query);
        let url = format!("{}{}{}{query}", self.base, self.path.join("/"), if query.is_empty() { "" } else { "?" });
        let body = match self.body {
            Body::Json(json) => json.to_string(),
            Body::Form(form) => joined(&form),
            Body::Text(text) => text,
        };
        Request { url, headers: self.headers, body: body.into_bytes(), ..original.clone() }
    }

    fn json(&self) -> Option<&Value> {
        match &self.body {
            Body::Json(json) => Some(json),
            _ => None,
        }
    }
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let pair =
        |part: &str| part.split_once('=').map_or_else(|| (part.to_owned(), String::new()), |(name, value)| (name.to_owned(), value.to_owned()));
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn joined(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The names of what makes it another; `None`: it is the same for all of them.
fn labels(others: &[Other], same: impl Fn(&Apart) -> bool) -> Option<String> {
    named(others.iter().filter(|other| !other.apart.as_ref().is_some_and(&same)).map(|other| other.label.as_str()))
}

fn named<'a>(labels: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut all: Vec<&str> = labels.collect();
    all.dedup();
    match all.as_slice() {
        [] => None,
        [..] if all.len() > 3 => Some("[personal data]".to_owned()),
        some => Some(format!("[{}]", some.join(", "))),
    }
}

fn hide_pairs(here: &mut [(String, String)], others: &[Other], get: impl Fn(&Apart) -> &[(String, String)]) {
    let original: Vec<(String, String)> = here.to_vec();
    for n in 0..here.len() {
        let (name, value) = &original[n];
        // A name may stand there several times.
        let before = original[..n].iter().filter(|(earlier, _)| earlier == name).count();
        let there = |other: &Apart| get(other).iter().filter(|(key, _)| key == name).nth(before).cloned();
        if let Some(label) = labels(others, |other| there(other).is_some_and(|(_, other)| other == *value)) {
            here[n].1 = label;
        }
        // Another name in its place: the name depends on the buyer. No name: the value was dropped.
        let renamed = |other: &Apart| there(other).is_none() && get(other).iter().any(|(key, _)| !original.iter().any(|(known, _)| known == key));
        if let Some(label) = labels(others, |other| !renamed(other)).filter(|_| others.iter().any(|other| other.apart.as_ref().is_some_and(renamed)))
        {
            here[n].0 = label;
        }
    }
}

fn hide_json(here: &mut Value, others: &[(&str, Option<&Value>)]) {
    match here {
        Value::Object(object) => {
            let entries = std::mem::take(object);
            let keys: Vec<String> = entries.keys().cloned().collect();
            let foreign = |other: &Value| other.as_object().is_some_and(|other| other.keys().any(|key| !keys.contains(key)));
            let mut hidden = Map::new();
            for (key, mut value) in entries {
                let below: Vec<(&str, Option<&Value>)> =
                    others.iter().map(|(label, other)| (*label, other.and_then(|other| other.get(&key)))).collect();
                hide_json(&mut value, &below);
                let renamed = others.iter().zip(&below).filter(|((_, other), (_, value))| value.is_none() && other.is_some_and(foreign));
                hidden.insert(named(renamed.map(|((label, _), _)| *label)).unwrap_or(key), value);
            }
            *object = hidden;
        }
        Value::Array(list) => {
            for (n, value) in list.iter_mut().enumerate() {
                let below: Vec<(&str, Option<&Value>)> = others.iter().map(|(label, other)| (*label, other.and_then(|other| other.get(n)))).collect();
                hide_json(value, &below);
            }
        }
        leaf => {
            if let Some(label) = named(others.iter().filter(|(_, other)| *other != Some(&*leaf)).map(|(label, _)| *label)) {
                *leaf = Value::String(label);
            }
        }
    }
}

fn each_text(value: &mut Value, each: &impl Fn(&mut String)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(list) => list.iter_mut().for_each(|value| each_text(value, each)),
        Value::Object(object) => {
            let entries = std::mem::take(object).into_iter().map(|(mut key, mut value)| {
                each(&mut key);
                each_text(&mut value, each);
                (key, value)
            });
            *object = entries.collect();
        }
        _ => {}
    }
}
