//! What a tracker's answer means: patterns over the body first, then the status.

use jiff::Timestamp;
use regex::Regex;
use toml::Table;

use super::keys::{Parsed, named, statuses, text, wrong};
use crate::outcome::{Outcome, Reply, by_status, retry_after};

/// Parsed rules of one destination.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    /// Statuses that mean success; empty: every 2xx.
    pub success: Vec<u16>,
    /// Must match, else the answer is a refusal.
    pub success_pattern: Option<Regex>,
    /// Refused although the status is fine.
    pub failure_pattern: Option<Regex>,
    /// Already known to them.
    pub duplicate_pattern: Option<Regex>,
    /// Their trouble although the status is fine.
    pub retry_pattern: Option<Regex>,
    /// Statuses after which every event would fail.
    pub halt: Vec<u16>,
    /// Names of the secrets in use, for the sentence on what to do.
    pub secrets: Vec<String>,
    /// What to keep of the answer: name, and a JSON pointer or a pattern with one group.
    pub keep: Vec<(String, Keep)>,
}

#[derive(Clone, Debug)]
pub(super) enum Keep {
    Pointer(String),
    Pattern(Regex),
}

impl Judge {
    /// Its keys; `secrets` are the names of those in use.
    pub(super) fn parse(table: &Table, secrets: Vec<String>) -> Parsed<Self> {
        let pattern = |key: &str| text(table, key)?.map(|source| regex(source, key)).transpose();
        let keep = named(table, "answer", |value, key| match value.as_str() {
            Some(pointer) if pointer.starts_with('/') => Ok(Keep::Pointer(pointer.to_owned())),
            Some(source) => {
                let pattern = regex(source, key)?;
                if pattern.captures_len() == 2 { Ok(Keep::Pattern(pattern)) } else { wrong(key, "the pattern needs exactly one group (..)") }
            }
            None => wrong(key, "a JSON pointer (\"/data/id\") or a pattern with one group is expected"),
        })?;
        Ok(Self {
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

    pub(super) fn outcome(&self, reply: &Reply, now: Timestamp) -> Outcome {
        let status = reply.status;
        let text = reply.text();
        let meets = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|pattern| pattern.is_match(&text));
        if self.halt.contains(&status) {
            return Outcome::Halted { why: format!("refused (HTTP {status})"), fix: self.fix() };
        }
        if meets(&self.duplicate_pattern) {
            return Outcome::Delivered { answer: self.kept(reply), note: Some("duplicate".into()) };
        }
        if meets(&self.retry_pattern) {
            return Outcome::Retry { why: format!("HTTP {status}, retry_pattern matched"), after: retry_after(reply, now), throttled: false };
        }
        let success = if self.success.is_empty() { (200..300).contains(&status) } else { self.success.contains(&status) };
        match status {
            _ if success && meets(&self.failure_pattern) => Outcome::rejected(format!("HTTP {status}, failure_pattern matched")),
            _ if success && self.success_pattern.is_some() && !meets(&self.success_pattern) => {
                Outcome::rejected(format!("HTTP {status}, success_pattern did not match"))
            }
            _ if success => Outcome::Delivered { answer: self.kept(reply), note: None },
            200..=299 => Outcome::rejected(format!("HTTP {status}, which is none of success")),
            _ => by_status(reply, now),
        }
    }

    fn fix(&self) -> String {
        if self.secrets.is_empty() {
            "ask the tracker why it refuses this address or URL, then resume".into()
        } else {
            format!("check {} and set a valid value, then resume", self.secrets.join(", "))
        }
    }

    fn kept(&self, reply: &Reply) -> Option<serde_json::Value> {
        let text = reply.text();
        let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let found: serde_json::Map<_, _> = self
            .keep
            .iter()
            .filter_map(|(name, keep)| {
                let value = match keep {
                    Keep::Pointer(pointer) => json.as_ref()?.pointer(pointer).cloned()?,
                    Keep::Pattern(pattern) => serde_json::Value::from(pattern.captures(&text)?.get(1)?.as_str()),
                };
                Some((name.clone(), value))
            })
            .collect();
        (!found.is_empty()).then(|| found.into())
    }
}

fn regex(source: &str, key: &str) -> Parsed<Regex> {
    Regex::new(source).or_else(|error| wrong(key, error.to_string()))
}
