//! What one kind of event is sent as: its templates, out of the kind's own table laid over the keys above it.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{
    auth::Sign,
    keys::{Parsed, can_be_set, only, text_at, wrong},
    macros, presets,
    settings::Settings,
};
use crate::{
    event::Kind,
    request::Method,
    secret::Secret,
    template::{Place, Template},
    words::hint,
};

/// What one kind of event is sent as.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub name: String,
    pub status: Template,
    pub method: Method,
    pub url: Template,
    pub query: Vec<(String, Template)>,
    pub headers: Vec<(String, Template)>,
    pub body: Body,
    /// Macros that `status` asks for.
    pub of_status: Vec<&'static str>,
    /// Macros that the others and `require` ask for.
    pub asked: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    None,
    Template { content_type: &'static str, template: Template },
    Form(Vec<(String, Template)>),
}

impl Body {
    fn templates(&self) -> Box<dyn Iterator<Item = &Template> + '_> {
        match self {
            Self::None => Box::new(std::iter::empty()),
            Self::Template { template, .. } => Box::new(std::iter::once(template)),
            Self::Form(entries) => Box::new(entries.iter().map(|(_, template)| template)),
        }
    }
}

/// Keys that may differ by kind.
pub(super) const PER_KIND: [&str; 9] = ["name", "status", "method", "url", "query", "headers", "body", "body_type", "form"];

impl Settings {
    /// The form of a kind; `None` without a URL.
    pub(super) fn form_of(&self, table: &Table, kind: Kind) -> Parsed<Option<Form>> {
        let empty = Table::new();
        let own = match table.get(kind.as_str()) {
            None => &empty,
            Some(Value::Table(own)) => own,
            Some(_) => return wrong(kind.as_str(), "a table is expected"),
        };
        only(own, kind.as_str(), &PER_KIND)?;
        // A key of the kind hides the one above it; `body` and `form` say the same thing and hide each other.
        let place = |key: &str| if own.contains_key(key) { (own, format!("{kind}.{key}")) } else { (table, key.to_owned()) };
        let (at, path) = place("url");
        let Some(url) = text_at(at, "url", &path)? else { return Ok(None) };
        let url = self.template(url, Place::Url, &path)?;
        let (at, path) = place("name");
        let name = text_at(at, "name", &path)?.unwrap_or(kind.as_str()).to_owned();
        let (at, path) = place("status");
        let status = self.template(text_at(at, "status", &path)?.unwrap_or("{{ event }}"), Place::Value, &path)?;
        let query = self.merged(table, own, kind, "query", Place::Value)?;
        let headers = self.merged(table, own, kind, "headers", Place::Header)?;
        for (name, _) in &headers {
            if !can_be_set(name) {
                return wrong(format!("headers.{name}"), "this header cannot be set here");
            }
            let proof =
                self.auth.header().into_iter().chain(self.sign.as_ref().and_then(Sign::header)).find(|proof| proof.eq_ignore_ascii_case(name));
            if let Some(proof) = proof {
                return wrong(format!("headers.{name}"), format!("auth or sign sets {proof}, and it would be sent twice"));
            }
        }
        let body = self.body(table, own, kind)?;
        let (at, path) = place("method");
        let method = match text_at(at, "method", &path)?.map(str::to_ascii_uppercase).as_deref() {
            None => {
                if matches!(body, Body::None) {
                    Method::Get
                } else {
                    Method::Post
                }
            }
            Some("GET") if matches!(body, Body::None) => Method::Get,
            Some("GET") => return wrong(path, "a GET has no body: use method = \"POST\", or query instead of form"),
            Some("POST") => Method::Post,
            Some("PUT") => Method::Put,
            Some("PATCH") => Method::Patch,
            Some("DELETE") => Method::Delete,
            Some(_) => return wrong(path, "known methods: GET, POST, PUT, PATCH, DELETE"),
        };
        let all = [&url].into_iter().chain(query.iter().chain(&headers).map(|(_, template)| template)).chain(body.templates());
        let asked = macros::named(all.flat_map(Template::names).chain(self.require.iter().cloned()));
        let of_status = macros::named(status.names());
        Ok(Some(Form { name, status, method, url, query, headers, body, of_status, asked }))
    }

    fn body(&self, table: &Table, own: &Table, kind: Kind) -> Parsed<Body> {
        let (at, prefix) = if own.contains_key("body") || own.contains_key("form") { (own, format!("{kind}.")) } else { (table, String::new()) };
        if at.contains_key("body") && at.contains_key("form") {
            return wrong(format!("{prefix}form"), "write either body or form");
        }
        if at.contains_key("form") {
            return Ok(Body::Form(self.merged(table, own, kind, "form", Place::Value)?));
        }
        let Some(source) = text_at(at, "body", &format!("{prefix}body"))? else { return Ok(Body::None) };
        let types = if own.contains_key("body_type") { own } else { table };
        let (place, content_type) = match text_at(types, "body_type", "body_type")? {
            Some("json") => (Place::Json, "application/json"),
            Some("form") => (Place::Form, "application/x-www-form-urlencoded"),
            Some("text") => (Place::Text, "text/plain; charset=utf-8"),
            _ => return wrong("body_type", "a body needs body_type = \"json\", \"form\" or \"text\""),
        };
        Ok(Body::Template { content_type, template: self.template(source, place, &format!("{prefix}body"))? })
    }

    /// Entries of the kind's table over those above it, by name.
    fn merged(&self, table: &Table, own: &Table, kind: Kind, key: &str, place: Place) -> Parsed<Vec<(String, Template)>> {
        let special = self.entries(own, key, &format!("{kind}.{key}"), place)?;
        let mut entries = self.entries(table, key, key, place)?;
        entries.retain(|(name, _)| !special.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
        entries.extend(special);
        Ok(entries)
    }

    fn entries(&self, at: &Table, key: &str, path: &str, place: Place) -> Parsed<Vec<(String, Template)>> {
        match at.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Table(entries)) => entries
                .iter()
                .map(|(name, value)| {
                    let path = format!("{path}.{name}");
                    let Some(source) = presets::scalar(value) else {
                        return wrong(path, "a text is expected; secrets go into [..secrets] and are used as {{ secret.NAME }}");
                    };
                    Ok((name.clone(), self.template(&source, place, &path)?))
                })
                .collect(),
            Some(_) => wrong(path, "a table is expected"),
        }
    }

    fn template(&self, source: &str, place: Place, key: &str) -> Parsed<Template> {
        let template = Template::compile(source, place).or_else(|message| wrong(key, message))?;
        for name in template.names() {
            check_macro(key, &name, &self.secrets, self.allow_pii)?;
        }
        Ok(template)
    }
}

/// Known, a secret that there is, and nothing that tells who a person is unless that is allowed.
pub(super) fn check_macro(key: &str, path: &str, secrets: &BTreeMap<String, Secret>, allow_pii: bool) -> Parsed<()> {
    let mut parts = path.split('.');
    let root = parts.next().unwrap_or_default();
    if !macros::KNOWN.contains(&root) {
        return wrong(key, format!("unknown macro {root:?}{}; payload keys are reached by who. and more.", hint(root, macros::KNOWN)));
    }
    if root == "secret" {
        let name = parts.next().unwrap_or_default();
        if !secrets.contains_key(name) {
            return wrong(key, format!("no secret {name:?} in [..secrets]{}", hint(name, secrets.keys().map(String::as_str))));
        }
    }
    let personal = root.ends_with("_email")
        || root.ends_with("_phone")
        || (matches!(root, "who" | "more")
            && path.split('.').skip(1).any(|part| macros::PERSONAL[..6].contains(&part) && (root == "who" || part != "name")))
        || (root == "who" && path.split('.').nth(1).is_some_and(|part| macros::PERSONAL.contains(&part)));
    if personal && !allow_pii {
        return wrong(key, format!("{path} tells who a person is, hashed or not; set allow_pii = true if this receiver may know"));
    }
    Ok(())
}
