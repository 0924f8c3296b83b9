//! JSON that every receiver reads the same way: well-formed, and no key twice in one object.
//!
//! Of two equal keys some readers take the first, some the last: a value that stands as a key could replace another field.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// What is wrong with `text`, without a word of it.
pub fn check(text: &str) -> Result<(), &'static str> {
    match serde_json::from_str::<Strict>(text) {
        Ok(_) => Ok(()),
        // The visitor's own error is the only one of this class that it can meet.
        Err(error) if error.is_data() => Err("the body's JSON holds the same key twice in one object"),
        Err(_) => Err("the body is not JSON once rendered"),
    }
}

struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    // Numbers come this way too: with every digit kept they are shown as an object of one entry.
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = object.next_key::<String>()? {
            if !seen.insert(key) {
                object.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom("twice"));
            }
            object.next_value::<Self>()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_key_stands_once_in_an_object() {
        for good in [r#"{"a":{"a":1},"b":[{"a":1},{"a":2.50}],"":null}"#, "-1.0e3", "[]", r#"{"$serde_json::private::Number":"x"}"#] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for twice in [r#"{"a":1,"a":2}"#, r#"[{"x":{"\u0061":1,"b":0,"a":2}}]"#, r#"{"":1,"":2}"#] {
            assert!(check(twice).is_err_and(|why| why.contains("same key twice")), "{twice}");
        }
        for bad in ["", "{", "1 2", "{a:1}", "01", "\"\u{1}\"", &"[".repeat(1_000_000)] {
            assert!(check(bad).is_err_and(|why| why.contains("not JSON")), "{}", &bad[..bad.len().min(20)]);
        }
    }
}
