//! `[destination.NAME]` of a postback, parsed once: every key, macro and filter is known or the start is refused.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use regex::Regex;
use toml::{Table, Value};

use super::{
    answer::{Judge, Keep},
    auth::{Auth, Sign},
    macros, presets,
};
use crate::{
    click,
    delivery::{RefundShape, Resend},
    event::Kind,
    platform::{Refusal, Resolve, SettingError},
    request::Method,
    secret::Secret,
    template::{Place, Template, values::Needed},
    words::hint,
};

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) forms: BTreeMap<Kind, Form>,
    pub(super) refunds: RefundShape,
    pub(super) resend: Resend,
    pub(super) click_param: Vec<String>,
    pub(super) require: Needed,
    pub(super) needed: Needed,
    pub(super) allow_pii: bool,
    pub(super) separator: String,
    pub(super) secrets: BTreeMap<String, Secret>,
    pub(super) auth: Auth,
    pub(super) sign: Option<Sign>,
    pub(super) judge: Judge,
}

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
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    None,
    Template { content_type: &'static str, template: Template },
    Form(Vec<(String, Template)>),
}

const PER_KIND: [&str; 9] = ["name", "status", "method", "url", "query", "headers", "body", "body_type", "form"];
const WHOLE: [&str; 18] = [
    "preset",
    "refunds",
    "resend",
    "click_param",
    "require",
    "allow_empty",
    "allow_pii",
    "separator",
    "secrets",
    "auth",
    "sign",
    "success",
    "success_pattern",
    "failure_pattern",
    "duplicate_pattern",
    "retry_pattern",
    "halt",
    "answer",
];
const KINDS: [Kind; 7] = [Kind::Purchase, Kind::Refund, Kind::Lead, Kind::Signup, Kind::Install, Kind::Subscribe, Kind::Custom];

type Parsed<T> = Result<T, SettingError>;

fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Parsed<T> {
    Err(SettingError { key: key.into(), message: message.into() })
}

impl Settings {
    pub(in crate::platform) fn parse(own: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        let table = &presets::laid_under(own)?;
        let kinds = KINDS.map(Kind::as_str);
        let known: Vec<&str> = PER_KIND.into_iter().chain(WHOLE).chain(kinds).collect();
        only(table, "", &known)?;
        let secrets = named(table, "secrets", |value, key| secret(value, key, resolve))?.into_iter().collect::<BTreeMap<_, _>>();
        let auth = auth(table, resolve)?;
        let sign = sign(table, resolve)?;
        let click_param = texts(table, "click_param")?.unwrap_or_else(|| vec!["click_id".into(), "clickid".into()]);
        let require = texts(table, "require")?.unwrap_or_default();
        for path in &require {
            check_macro("require", path, &secrets, true)?;
        }
        let mut needed: Vec<String> = require.clone();
        if !flag(table, "allow_empty")? {
            needed.push("click_id".into());
            // Click ids that a receiver certainly needs where a template prints them.
            let ids = click::IN_URLS.into_iter().chain(click_param.iter().map(String::as_str));
            needed.extend(ids.flat_map(|id| [format!("who.{id}"), format!("click.{id}")]));
        }
        let mut names: Vec<String> = secrets.values().map(|secret| secret.name().to_owned()).collect();
        names.extend(auth_secret(&auth).into_iter().chain(sign.as_ref().map(|sign| &sign.key)).map(|secret| secret.name().to_owned()));
        let mut settings = Self {
            forms: BTreeMap::new(),
            refunds: refunds(table)?,
            resend: resend(table)?,
            click_param,
            require: Arc::new(require.into_iter().collect()),
            needed: Arc::new(needed.into_iter().collect()),
            allow_pii: flag(table, "allow_pii")?,
            separator: text(table, "separator")?.unwrap_or(",").to_owned(),
            secrets,
            auth,
            sign,
            judge: judge(table, names)?,
        };
        for kind in KINDS {
            if let Some(form) = settings.form_of(table, kind)? {
                settings.forms.insert(kind, form);
            }
        }
        if settings.forms.is_empty() {
            return wrong("url", "a postback needs url = \"https://host/path?..\" (or a preset)");
        }
        settings.try_all()?;
        Ok(settings)
    }

    pub(super) fn form(&self, kind: Kind) -> Option<&Form> {
        self.forms.get(&if kind == Kind::Retract { Kind::Refund } else { kind })
    }

    fn form_of(&self, table: &Table, kind: Kind) -> Parsed<Option<Form>> {
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
        Ok(Some(Form { name, status, method, url, query, headers, body }))
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

    /// Builds every form once from a delivery in which nothing is missing: what fails there would always fail.
    fn try_all(&self) -> Parsed<()> {
        for (kind, form) in &self.forms {
            if let Err(Refusal::Dead(why)) = super::build(self, form, &macros::sample(self, *kind), jiff::Timestamp::UNIX_EPOCH)
                && !why.contains("path is empty")
            {
                let (key, why) = why.split_once(": ").unwrap_or(("url", &why));
                return wrong(key, format!("{why} (tried with sample values for a {kind})"));
            }
        }
        Ok(())
    }
}

fn check_macro(key: &str, path: &str, secrets: &BTreeMap<String, Secret>, allow_pii: bool) -> Parsed<()> {
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

fn only(table: &Table, prefix: &str, known: &[&str]) -> Parsed<()> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            wrong(path, format!("unknown key {key:?}{}", hint(key, known.iter().copied())))
        }
    }
}

fn text_at<'a>(table: &'a Table, key: &str, path: &str) -> Parsed<Option<&'a str>> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => wrong(path, "a text is expected"),
    }
}

fn text<'a>(table: &'a Table, key: &str) -> Parsed<Option<&'a str>> {
    text_at(table, key, key)
}

fn flag(table: &Table, key: &str) -> Parsed<bool> {
    match table.get(key) {
        None => Ok(false),
        Some(Value::Boolean(yes)) => Ok(*yes),
        Some(_) => wrong(key, "true or false is expected"),
    }
}

/// One text or a list of them.
fn texts(table: &Table, key: &str) -> Parsed<Option<Vec<String>>> {
    let bad = || SettingError { key: key.into(), message: "a list of texts is expected".into() };
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
        Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(bad)).collect::<Parsed<Vec<_>>>().map(Some),
        Some(_) => Err(bad()),
    }
}

fn statuses(table: &Table, key: &str) -> Parsed<Option<Vec<u16>>> {
    let bad = || SettingError { key: key.into(), message: "a list of HTTP statuses is expected, e.g. [200, 204]".into() };
    let Some(value) = table.get(key) else { return Ok(None) };
    let status =
        |item: &Value| item.as_integer().and_then(|status| u16::try_from(status).ok()).filter(|status| (100..600).contains(status)).ok_or_else(bad);
    value.as_array().ok_or_else(bad)?.iter().map(status).collect::<Parsed<_>>().map(Some)
}

fn named<T>(table: &Table, key: &str, parse: impl Fn(&Value, &str) -> Parsed<T>) -> Parsed<Vec<(String, T)>> {
    match table.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Table(entries)) => entries.iter().map(|(name, value)| Ok((name.clone(), parse(value, &format!("{key}.{name}"))?))).collect(),
        Some(_) => wrong(key, "a table is expected"),
    }
}

fn secret(value: &Value, key: &str, resolve: Resolve<'_>) -> Parsed<Secret> {
    let secret = resolve(value).or_else(|message| wrong(key, message))?;
    if secret.reveal().is_empty() { wrong(key, format!("the secret {} is empty", secret.name())) } else { Ok(secret) }
}

fn field<'a>(table: &'a Table, name: &str, path: &str) -> Parsed<&'a Value> {
    table.get(name).map_or_else(|| wrong(path, format!("{name} is missing")), Ok)
}

/// A header's name by RFC 9110, and none that the HTTP client has to set.
fn can_be_set(header: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let own = ["host", "content-length", "transfer-encoding", "connection"];
    !header.is_empty() && header.chars().all(token) && !own.contains(&header.to_ascii_lowercase().as_str())
}

fn in_header(value: &str) -> bool {
    value.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}

fn header_secret(secret: Secret, key: &str) -> Parsed<Secret> {
    if in_header(secret.reveal()) {
        Ok(secret)
    } else {
        wrong(key, format!("the secret {} holds characters that a header cannot carry", secret.name()))
    }
}

fn auth(table: &Table, resolve: Resolve<'_>) -> Parsed<Auth> {
    let Some(value) = table.get("auth") else { return Ok(Auth::None) };
    let known = ["basic", "bearer", "header", "query"];
    let shape = "auth is one of { bearer = SECRET }, { basic = { user = \"..\", password = SECRET } }, { header = { name = \"..\", value = SECRET } }, { query = { name = \"..\", value = SECRET } }";
    let Some((kind, value)) = value.as_table().filter(|auth| auth.len() == 1).and_then(|auth| auth.iter().next()) else {
        return wrong("auth", shape);
    };
    let path = format!("auth.{kind}");
    if kind == "bearer" {
        return Ok(Auth::Bearer(header_secret(secret(value, &path, resolve)?, &path)?));
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
            Ok(Auth::Basic { user, password: secret(field(inner, "password", &path)?, &path, resolve)? })
        }
        "header" => {
            only(inner, &path, &["name", "value"])?;
            let name = name("name")?;
            if !can_be_set(&name) {
                return wrong(path, format!("{name:?} is no header name that can be set here"));
            }
            Ok(Auth::Header { name, value: header_secret(secret(field(inner, "value", &path)?, &path, resolve)?, &path)? })
        }
        "query" => {
            only(inner, &path, &["name", "value"])?;
            Ok(Auth::Query { name: name("name")?, value: secret(field(inner, "value", &path)?, &path, resolve)? })
        }
        other => wrong(path.as_str(), format!("unknown kind of auth{}; {shape}", hint(other, known))),
    }
}

fn auth_secret(auth: &Auth) -> Option<&Secret> {
    match auth {
        Auth::None => None,
        Auth::Bearer(secret) | Auth::Basic { password: secret, .. } | Auth::Header { value: secret, .. } | Auth::Query { value: secret, .. } => {
            Some(secret)
        }
    }
}

fn sign(table: &Table, resolve: Resolve<'_>) -> Parsed<Option<Sign>> {
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
    let sign = Sign {
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

fn refunds(table: &Table) -> Parsed<RefundShape> {
    Ok(match text(table, "refunds")?.unwrap_or("none") {
        "none" => RefundShape::None,
        "restate" => RefundShape::Restate,
        "cancel" => RefundShape::Cancel,
        "event" => RefundShape::Event,
        "negative" => RefundShape::Negative,
        _ => return wrong("refunds", "one of none, restate, cancel, event, negative"),
    })
}

/// `never` unless said otherwise: most trackers count every hit, and a conversion paid twice is worse than one that a person
/// has to look up.
fn resend(table: &Table) -> Parsed<Resend> {
    let shape = "\"never\", \"safe\", or for how long the tracker dedupes: \"48h\", \"7d\", \"30m\"";
    Ok(match text(table, "resend")?.unwrap_or("never") {
        "never" => Resend::Never,
        "safe" => Resend::Safe,
        span => {
            let split = span.find(|c: char| !c.is_ascii_digit()).unwrap_or(span.len());
            let unit = match &span[split..] {
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return wrong("resend", shape),
            };
            let seconds = span[..split].parse::<u64>().ok().and_then(|count| count.checked_mul(unit)).filter(|seconds| *seconds > 0);
            Resend::Within(Duration::from_secs(seconds.map_or_else(|| wrong("resend", shape), Ok)?))
        }
    })
}

fn regex(source: &str, key: &str) -> Parsed<Regex> {
    Regex::new(source).or_else(|error| wrong(key, error.to_string()))
}

fn judge(table: &Table, secrets: Vec<String>) -> Parsed<Judge> {
    let pattern = |key: &str| text(table, key)?.map(|source| regex(source, key)).transpose();
    let keep = named(table, "answer", |value, key| match value.as_str() {
        Some(pointer) if pointer.starts_with('/') => Ok(Keep::Pointer(pointer.to_owned())),
        Some(source) => {
            let pattern = regex(source, key)?;
            if pattern.captures_len() == 2 { Ok(Keep::Pattern(pattern)) } else { wrong(key, "the pattern needs exactly one group (..)") }
        }
        None => wrong(key, "a JSON pointer (\"/data/id\") or a pattern with one group is expected"),
    })?;
    Ok(Judge {
        success: statuses(table, "success")?.unwrap_or_default(),
        success_pattern: pattern("success_pattern")?,
        failure_pattern: pattern("failure_pattern")?,
        duplicate_pattern: pattern("duplicate_pattern")?,
        retry_pattern: pattern("retry_pattern")?,
        halt: statuses(table, "halt")?.unwrap_or_else(|| vec![401]),
        secrets,
        keep,
    })
}
