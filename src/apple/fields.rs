//! Typed members of a body. A missing one and one of another type are told by name.

use super::{Malformed, json::Json};

/// No text of Apple's is longer, but for the one that holds a whole JWS.
const LONGEST: usize = 255;
/// Stands between the parts of what SKAdNetwork signs; within one it could move a part's edge.
pub(super) const SEPARATOR: char = '\u{2063}';

pub(super) struct Fields<'a>(pub &'a [(String, Json)]);

type Field<T> = Result<Option<T>, Malformed>;

fn wrong<T>(key: &str, wanted: &str) -> Field<T> {
    Err(Malformed::new("wrong_type", format!("{key}: {wanted} is expected")))
}

/// What must be there.
pub(super) fn needed<T>(key: &str, found: Option<T>) -> Result<T, Malformed> {
    found.ok_or_else(|| Malformed::new("missing_key", format!("{key} is missing")))
}

/// What Apple does not sign decides nothing: an odd one is left out, and the postback is what it was signed to be. The body keeps it.
pub(super) fn unsigned<T>(found: Field<T>) -> Option<T> {
    found.unwrap_or(None)
}

impl Fields<'_> {
    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        self.0.iter().find(|(have, _)| have == key).map(|(_, value)| value)
    }

    /// A text that may be long.
    pub(super) fn long(&self, key: &str) -> Field<&str> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => wrong(key, "a text"),
        }
    }

    /// A text that is a name.
    pub(super) fn text(&self, key: &str) -> Field<String> {
        let Some(text) = self.long(key)? else { return Ok(None) };
        let fits = !text.is_empty() && text.len() <= LONGEST && !text.chars().any(|c| c.is_control() || c == SEPARATOR);
        if fits { Ok(Some(text.to_owned())) } else { wrong(key, "a short text without control characters") }
    }

    /// A whole number as Apple writes one: digits alone.
    pub(super) fn whole(&self, key: &str, allowed: std::ops::RangeInclusive<i64>) -> Field<i64> {
        let (low, high) = (allowed.start(), allowed.end());
        let number = match self.get(key) {
            None => return Ok(None),
            Some(Json::Number(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Some(_) => None,
        };
        match number.filter(|number| allowed.contains(number)) {
            Some(number) => Ok(Some(number)),
            None if *high == i64::MAX => wrong(key, &format!("a whole number from {low} on")),
            None => wrong(key, &format!("a whole number between {low} and {high}")),
        }
    }

    /// The same, where it fits a byte.
    pub(super) fn small(&self, key: &str, allowed: std::ops::RangeInclusive<u8>) -> Field<u8> {
        let found = self.whole(key, i64::from(*allowed.start())..=i64::from(*allowed.end()))?;
        Ok(found.and_then(|number| u8::try_from(number).ok()))
    }

    pub(super) fn bool(&self, key: &str) -> Field<bool> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Bool(value)) => Ok(Some(*value)),
            Some(_) => wrong(key, "true or false"),
        }
    }

    /// `true` and `false`, and 1 and 0 as Apple's older examples have it.
    pub(super) fn bool_or_bit(&self, key: &str) -> Field<bool> {
        match self.get(key) {
            Some(Json::Number(bit)) if bit == "1" || bit == "0" => Ok(Some(bit == "1")),
            _ => self.bool(key),
        }
    }

    /// A UUID, as it was written.
    pub(super) fn uuid(&self, key: &str) -> Field<String> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let lengths = [8, 4, 4, 4, 12];
        let fits = text.len() == 36 && text.split('-').map(str::len).eq(lengths) && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        if fits { Ok(Some(text)) } else { wrong(key, "a UUID") }
    }
}
