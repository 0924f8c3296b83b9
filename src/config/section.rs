//! One table of the file being read: typed keys, every problem noted with its line, unknown keys found at the end.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    ops::{Range, RangeInclusive},
    path::PathBuf,
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Problem,
    problem::line,
    secret::{SecretMode, Vault, readable_by_all},
};
use crate::{
    secret::Secret,
    words::{self, hint, parse_duration},
};

/// The file, and what was found in it.
pub(super) struct Document<'a> {
    pub text: &'a str,
    pub file: PathBuf,
    pub vault: Vault<'a>,
    pub mode: SecretMode,
    pub problems: RefCell<Vec<Problem>>,
    pub warnings: RefCell<Vec<String>>,
    /// Every key that was asked for, destinations as `destination.*`: what the example file must show.
    pub asked: RefCell<BTreeSet<String>>,
}

/// A table of it; an absent one is an empty one.
pub(super) struct Section<'a> {
    pub doc: &'a Document<'a>,
    path: String,
    span: Range<usize>,
    table: Option<&'a DeTable<'a>>,
    seen: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn new(doc: &'a Document<'a>, path: &str, span: Range<usize>, table: Option<&'a DeTable<'a>>) -> Self {
        Self { doc, path: path.to_owned(), span, table, seen: RefCell::default() }
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.seen.borrow_mut().insert(key);
        let path = self.path_of(key);
        let shown = match path.strip_prefix("destination.").and_then(|rest| rest.split_once('.')) {
            Some((_, rest)) => format!("destination.*.{rest}"),
            None => path,
        };
        self.doc.asked.borrow_mut().insert(shown);
        self.table?.get(key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else if key.is_empty() {
            self.path.clone()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Notes what is wrong with a key, which may be a dotted path below this table and may be absent.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        let mut span = self.span.clone();
        let mut table = self.table;
        for part in key.split('.') {
            let Some((name, value)) = table.and_then(|table| table.get_key_value(part)) else { break };
            span = name.span();
            table = if let DeValue::Table(inner) = value.get_ref() { Some(inner) } else { None };
        }
        let problem = Problem { line: Some(line(self.doc.text, &span)), key: self.path_of(key), message: message.into() };
        self.doc.problems.borrow_mut().push(problem);
    }

    pub(super) fn warn(&self, key: &str, message: impl AsRef<str>) {
        self.doc.warnings.borrow_mut().push(format!("{}: {}", self.path_of(key), message.as_ref()));
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The table below `key`.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        match self.get(key).map(|value| (value.span(), value.get_ref())) {
            Some((span, DeValue::Table(table))) => {
                // A table's own span covers its header only when it has one; its key always has a line.
                let at = self.table.and_then(|outer| outer.get_key_value(key)).map_or(span, |(name, _)| name.span());
                Section::new(self.doc, &self.path_of(key), at, Some(table))
            }
            Some(_) => {
                self.problem(key, format!("this is a table: write [{}]", self.path_of(key)));
                Section::new(self.doc, &self.path_of(key), self.span.clone(), None)
            }
            None => Section::new(self.doc, &self.path_of(key), self.span.clone(), None),
        }
    }

    /// Its tables by name, for `[destination.NAME]`.
    pub(super) fn sections(&self) -> Vec<(String, Section<'a>)> {
        let mut found = Vec::new();
        for (name, value) in self.table.into_iter().flatten() {
            let path = self.path_of(name.get_ref());
            if let DeValue::Table(table) = value.get_ref() {
                found.push((name.get_ref().to_string(), Section::new(self.doc, &path, name.span(), Some(table))));
            } else {
                self.problem(name.get_ref(), format!("this is a table: write [{path}]"));
            }
        }
        // In the order of the file, so that messages and lists are too.
        found.sort_by_key(|(_, section)| section.span.start);
        found
    }

    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        match self.get(key)?.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                self.problem(key, "it is empty: give it a value or leave the key out");
                None
            }
            DeValue::String(text) => Some(text.to_string()),
            other => {
                self.problem(key, format!("a text in quotes is needed here, not {}", kind_of(other)));
                None
            }
        }
    }

    /// Text, or a TOML date and time as it is written.
    pub(super) fn text_or_time(&self, key: &'static str) -> Option<String> {
        match self.get(key)?.get_ref() {
            DeValue::Datetime(time) => Some(time.to_string()),
            _ => self.text(key),
        }
    }

    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let DeValue::Array(items) = self.get(key)?.get_ref() else {
            self.problem(key, "a list is needed here: [\"one\", \"two\"]");
            return None;
        };
        let texts: Option<Vec<String>> = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
        if texts.is_none() {
            self.problem(key, "every entry of the list must be a text in quotes");
        }
        texts
    }

    pub(super) fn duration(&self, key: &'static str, default: Duration, allowed: RangeInclusive<Duration>) -> Duration {
        let Some(value) = self.get(key) else { return default };
        let Some(found) = value.get_ref().as_str().and_then(parse_duration) else {
            self.problem(key, format!("a duration with a unit is needed here: \"{}\" (d, h, m, s, ms)", words::duration(default)));
            return default;
        };
        if !allowed.contains(&found) {
            let (low, high) = (words::duration(*allowed.start()), words::duration(*allowed.end()));
            self.problem(key, format!("{} is not between {low} and {high}", words::duration(found)));
            return default;
        }
        found
    }

    pub(super) fn integer(&self, key: &'static str, allowed: RangeInclusive<u32>) -> Option<u32> {
        let (low, high) = (allowed.start(), allowed.end());
        let found = match self.get(key)?.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if found.is_none_or(|number| !allowed.contains(&number)) {
            self.problem(key, format!("a whole number between {low} and {high} is needed here, without quotes"));
            return None;
        }
        found
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        match self.get(key)?.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            other => {
                self.problem(key, format!("true or false is needed here, not {}", kind_of(other)));
                None
            }
        }
    }

    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.problem(key, format!("{text:?} is none of {}{}", known.join(", "), hint(&text, known.iter().copied())));
        }
        found
    }

    /// A path; relative ones are below the directory of the configuration file.
    pub(super) fn file(&self, key: &'static str) -> Option<PathBuf> {
        let path = self.doc.vault.base.join(self.text(key)?);
        if let Err(error) = std::fs::File::open(&path) {
            self.problem(key, format!("cannot read {}: {error}", path.display()));
        }
        Some(path)
    }

    pub(super) fn secret(&self, key: &'static str, mode: SecretMode) -> Option<Secret> {
        let value = plain(self.get(key)?.get_ref());
        match self.resolve(&value, mode) {
            Ok(secret) => Some(secret),
            Err(message) => {
                self.problem(key, message);
                None
            }
        }
    }

    /// Follows a reference and passes its warning on.
    pub(super) fn resolve(&self, value: &toml::Value, mode: SecretMode) -> Result<Secret, String> {
        let (secret, warning) = self.doc.vault.find(value, mode)?;
        if let Some(warning) = warning {
            self.warn("", warning);
        }
        if value.is_str()
            && let Some(warning) = readable_by_all(&self.doc.file)
        {
            self.warn("", format!("a secret stands in the configuration file itself, and {warning}"));
        }
        Ok(secret)
    }

    /// Ends the reading: keys nobody asked for are problems.
    pub(super) fn finish(self) {
        self.unknown();
    }

    /// The same for a table that is still needed.
    pub(super) fn unknown(&self) {
        let seen = self.seen.borrow();
        for key in self.table.into_iter().flatten().map(|(key, _)| key.get_ref()).filter(|key| !seen.contains(key.as_ref())) {
            let hint = hint(key, seen.iter().copied());
            let known: Vec<&str> = seen.iter().copied().collect();
            let fix = if hint.is_empty() { format!("; known here: {}", known.join(", ")) } else { hint };
            self.problem(key, format!("there is no such key{fix}"));
        }
    }

    /// All of it.
    pub(super) fn whole(&self) -> toml::Table {
        self.table.into_iter().flatten().map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref()))).collect()
    }

    /// Ends the reading: what nobody asked for belongs to someone else. With the known keys, to find misspelt ones.
    pub(super) fn rest(&self) -> (toml::Table, Vec<&'static str>) {
        let seen = self.seen.borrow();
        let left = self.table.into_iter().flatten().filter(|(key, _)| !seen.contains(key.get_ref().as_ref()));
        (left.map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref()))).collect(), seen.iter().copied().collect())
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The same value without spans.
fn plain(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        // A number too large for TOML is kept as text, so that whoever reads it sees that it is none.
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Float),
        DeValue::Boolean(value) => toml::Value::Boolean(*value),
        DeValue::Datetime(time) => toml::Value::Datetime(*time),
        DeValue::Array(items) => toml::Value::Array(items.iter().map(|item| plain(item.get_ref())).collect()),
        DeValue::Table(table) => toml::Value::Table(table.iter().map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref()))).collect()),
    }
}
