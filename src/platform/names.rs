//! Which kind of event a platform calls what. Pure.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::keys::{Parsed, wrong};
use crate::{event::Kind, words::hint};

/// Kinds that can have a name; `retract` goes as `refund`.
const KINDS: [Kind; 7] = [Kind::Purchase, Kind::Refund, Kind::Lead, Kind::Signup, Kind::Install, Kind::Subscribe, Kind::Custom];

/// The platform's name, or the id of its conversion action, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(BTreeMap<Kind, String>);

impl Names {
    /// `names = { purchase = "Purchase", lead = "Lead" }` (or `key = ..`) over the platform's standard names; `false` takes one away.
    pub(super) fn parse(table: &Table, key: &str, standard: &[(Kind, &str)]) -> Parsed<Self> {
        let mut names: BTreeMap<Kind, String> = standard.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect();
        let own = match table.get(key) {
            None => return Ok(Self(names)),
            Some(Value::Table(own)) => own,
            Some(_) => return wrong(key, format!("a table is expected: {key} = {{ purchase = \"..\" }}")),
        };
        for (word, value) in own {
            let path = format!("{key}.{word}");
            let known = || KINDS.map(Kind::as_str);
            let Some(kind) = KINDS.into_iter().find(|kind| kind.as_str() == word) else {
                return wrong(path, format!("there is no kind {word:?}{}; known: {}", hint(word, known()), known().join(", ")));
            };
            match value {
                Value::String(name) if !name.trim().is_empty() => _ = names.insert(kind, name.trim().to_owned()),
                Value::Integer(id) => _ = names.insert(kind, id.to_string()),
                Value::Boolean(false) => _ = names.remove(&kind),
                _ => return wrong(path, "the platform's name for it is expected, or false to send none"),
            }
        }
        Ok(Self(names))
    }

    /// The same where they are the platform's numbers, of which there are no standard ones; what takes back has none of its own.
    pub(super) fn parse_ids(table: &Table, key: &str, like: &str) -> Parsed<Self> {
        let ids = Self::parse(table, key, &[])?;
        if ids.iter().next().is_none() {
            return wrong(key, format!("it is missing: {key} = {{ purchase = {like} }}"));
        }
        if let Some((kind, _)) = ids.iter().find(|(_, id)| !id.bytes().all(|b| b.is_ascii_digit())) {
            return wrong(format!("{key}.{kind}"), format!("digits are expected, e.g. {like}"));
        }
        if ids.of(Kind::Refund).is_some() {
            return wrong(format!("{key}.refund"), "a refund corrects its purchase and has none of its own: leave it out");
        }
        Ok(ids)
    }

    /// Its name.
    pub fn of(&self, kind: Kind) -> Option<&str> {
        self.0.get(&if kind == Kind::Retract { Kind::Refund } else { kind }).map(String::as_str)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.0.iter().map(|(kind, name)| (*kind, name.as_str()))
    }

    /// What `check` says of names that a platform with a fixed list of them does not know. The list may have grown since, so that
    /// they are no error.
    pub(super) fn unknown<'a>(&'a self, platform: &'a str, known: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
        let unknown = self.iter().filter(|(_, name)| !known.contains(name));
        unknown
            .map(move |(kind, name)| format!("names.{kind}: {platform} is not known to have an event {name:?}{}", hint(name, known.iter().copied())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Names, String> {
        Names::parse(&text.parse().expect("TOML"), "names", &[(Kind::Purchase, "Buy"), (Kind::Lead, "Lead")]).map_err(|e| format!("{}: {e}", e.key))
    }

    #[test]
    fn own_names_lie_over_the_standard_ones() {
        let names = names("names = { purchase = 'Sold', lead = false, refund = 17 }").expect("names");
        assert_eq!((names.of(Kind::Purchase), names.of(Kind::Lead), names.of(Kind::Retract)), (Some("Sold"), None, Some("17")));
    }

    #[test]
    fn names_beyond_a_platforms_list_are_warned_about() {
        let names = names("names = { lead = 'Buuy' }").expect("names");
        let said: Vec<String> = names.unknown("Shop", &["Buy"]).collect();
        assert_eq!(said, ["names.lead: Shop is not known to have an event \"Buuy\" (did you mean Buy?)"]);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(names("names = { purchse = 'x' }").is_err_and(|why| why.starts_with("names.purchse") && why.contains("did you mean purchase")));
        assert!(names("names = { purchase = '' }").is_err_and(|why| why.starts_with("names.purchase")));
        assert!(names("names = 'x'").is_err_and(|why| why.starts_with("names: a table")));
    }
}
