//! Reading a table's keys: each error names its key.

use toml::{Table, Value};

use crate::{
    platform::{Resolve, SettingError},
    secret::Secret,
    words::hint,
};

pub(super) type Parsed<T> = Result<T, SettingError>;

pub(super) fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Parsed<T> {
    Err(SettingError { key: key.into(), message: message.into() })
}

pub(super) fn only(table: &Table, prefix: &str, known: &[&str]) -> Parsed<()> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            wrong(path, format!("unknown key {key:?}{}", hint(key, known.iter().copied())))
        }
    }
}

pub(super) fn text_at<'a>(table: &'a Table, key: &str, path: &str) -> Parsed<Option<&'a str>> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => wrong(path, "a text is expected"),
    }
}

pub(super) fn text<'a>(table: &'a Table, key: &str) -> Parsed<Option<&'a str>> {
    text_at(table, key, key)
}

pub(super) fn flag(table: &Table, key: &str) -> Parsed<bool> {
    match table.get(key) {
        None => Ok(false),
        Some(Value::Boolean(yes)) => Ok(*yes),
        Some(_) => wrong(key, "true or false is expected"),
    }
}

/// One text or a list of them.
pub(super) fn texts(table: &Table, key: &str) -> Parsed<Option<Vec<String>>> {
    let bad = || SettingError { key: key.into(), message: "a list of texts is expected".into() };
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
        Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(bad)).collect::<Parsed<Vec<_>>>().map(Some),
        Some(_) => Err(bad()),
    }
}

pub(super) fn statuses(table: &Table, key: &str) -> Parsed<Option<Vec<u16>>> {
    let bad = || SettingError { key: key.into(), message: "a list of HTTP statuses is expected, e.g. [200, 204]".into() };
    let Some(value) = table.get(key) else { return Ok(None) };
    let status =
        |item: &Value| item.as_integer().and_then(|status| u16::try_from(status).ok()).filter(|status| (100..600).contains(status)).ok_or_else(bad);
    value.as_array().ok_or_else(bad)?.iter().map(status).collect::<Parsed<_>>().map(Some)
}

pub(super) fn named<T>(table: &Table, key: &str, parse: impl Fn(&Value, &str) -> Parsed<T>) -> Parsed<Vec<(String, T)>> {
    match table.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Table(entries)) => entries.iter().map(|(name, value)| Ok((name.clone(), parse(value, &format!("{key}.{name}"))?))).collect(),
        Some(_) => wrong(key, "a table is expected"),
    }
}

pub(super) fn secret(value: &Value, key: &str, resolve: Resolve<'_>) -> Parsed<Secret> {
    let secret = resolve(value).or_else(|message| wrong(key, message))?;
    if secret.reveal().is_empty() { wrong(key, format!("the secret {} is empty", secret.name())) } else { Ok(secret) }
}

pub(super) fn field<'a>(table: &'a Table, name: &str, path: &str) -> Parsed<&'a Value> {
    table.get(name).map_or_else(|| wrong(path, format!("{name} is missing")), Ok)
}

/// A header's name by RFC 9110, and none that the HTTP client has to set.
pub(super) fn can_be_set(header: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let own = ["host", "content-length", "transfer-encoding", "connection"];
    !header.is_empty() && header.chars().all(token) && !own.contains(&header.to_ascii_lowercase().as_str())
}

pub(super) fn in_header(value: &str) -> bool {
    value.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}

pub(super) fn header_secret(secret: Secret, key: &str) -> Parsed<Secret> {
    if in_header(secret.reveal()) {
        Ok(secret)
    } else {
        wrong(key, format!("the secret {} holds characters that a header cannot carry", secret.name()))
    }
}
