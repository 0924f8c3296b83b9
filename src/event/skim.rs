//! A JSON object of which some members are checked and thrown away while they are read.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::Object;

/// The object in `text`; of each member in `without` only its shape is left: an empty object, null, or something that is neither.
/// `None`: `text` is no JSON object.
pub(super) fn object(text: &str, without: &[&str]) -> Option<Object> {
    let mut from = serde_json::Deserializer::from_str(text);
    let object = from.deserialize_map(Skim(without)).ok()?;
    from.end().ok().map(|()| object)
}

struct Skim<'a>(&'a [&'a str]);

impl<'de> Visitor<'de> for Skim<'_> {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = if self.0.contains(&key.as_str()) { map.next_value_seed(Shape)? } else { map.next_value()? };
            object.insert(key, value);
        }
        Ok(object)
    }
}

/// Reads any value and keeps what kind it is.
struct Shape;

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        // Numbers that are kept as text come as a map of one member with a name of its own.
        let Some(first) = map.next_key::<String>()? else { return Ok(Value::Object(Object::new())) };
        map.next_value::<IgnoredAny>()?;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(if first.starts_with("$serde_json::private::") { Value::Bool(false) } else { Value::Object(Object::new()) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Bool(false))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Bool(false))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Bool(false))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Bool(false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Bool(false))
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Bool(false))
    }
}
