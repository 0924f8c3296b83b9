//! Values that templates see: exact numbers, objects of the payload, and what is missing by name.

use std::{collections::BTreeSet, fmt, sync::Arc};

use minijinja::{
    Error, ErrorKind, Value,
    value::{Enumerator, Object, ObjectRepr, ValueKind},
};
use rust_decimal::Decimal;

use crate::{event, money, money::fixed};

/// A number as text, every digit kept; `digits` is its currency's, where it is money.
#[derive(Clone, Debug)]
pub struct Num {
    /// Plain decimal text.
    pub text: String,
    /// Digits of the currency's smallest unit.
    pub digits: Option<u32>,
}

impl Num {
    /// Money, rounded to and printed with its currency's digits.
    pub fn money(amount: Decimal, currency: Option<money::Currency>) -> Value {
        let Some(digits) = currency.map(|currency| currency.exponent()) else { return Self::plain(amount.to_string()) };
        Value::from_object(Self { text: fixed(amount, digits), digits: Some(digits) })
    }

    /// A number that is no money.
    pub fn plain(text: String) -> Value {
        Value::from_object(Self { text, digits: None })
    }
}

impl Object for Num {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn is_true(self: &Arc<Self>) -> bool {
        event::decimal(&self.text).is_none_or(|number| !number.is_zero())
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Nothing, with the name it was asked by. Prints as nothing; `needed` ones end the delivery as `skipped: no NAME`.
#[derive(Clone, Debug)]
pub struct Missing {
    /// As a marketer knows it: `gclid`.
    pub name: String,
    /// Whether the receiver is known to need it.
    pub needed: bool,
}

impl Object for Missing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from_dyn_object(Arc::clone(self)))
    }
    fn is_true(self: &Arc<Self>) -> bool {
        false
    }
    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Names that must not be empty where they are printed: dotted macros, e.g. `who.gclid`.
pub type Needed = Arc<BTreeSet<String>>;

/// `Missing` under its dotted name; the message names the last part.
pub fn missing(path: &str, needed: &Needed) -> Value {
    let name = path.rsplit('.').next().unwrap_or(path).to_owned();
    Value::from_object(Missing { name, needed: needed.contains(path) })
}

/// An object of the payload.
#[derive(Clone)]
pub struct Part {
    path: String,
    json: Arc<event::Object>,
    needed: Needed,
}

impl Part {
    /// `path` is how templates reach it.
    pub fn value(path: &str, json: event::Object, needed: &Needed) -> Value {
        Value::from_object(Self { path: path.to_owned(), json: Arc::new(json), needed: Arc::clone(needed) })
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({})", self.path)
    }
}

impl Object for Part {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        let path = format!("{}.{key}", self.path);
        Some(from_json(&path, self.json.get(key).unwrap_or(&serde_json::Value::Null), &self.needed))
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.json.keys().map(|key| Value::from(key.as_str())).collect())
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::Value::Object((*self.json).clone()).to_string())
    }
}

/// JSON as templates see it; null and empty text are missing.
pub fn from_json(path: &str, json: &serde_json::Value, needed: &Needed) -> Value {
    match json {
        serde_json::Value::Null => missing(path, needed),
        serde_json::Value::String(text) if text.is_empty() => missing(path, needed),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Bool(yes) => Value::from(*yes),
        serde_json::Value::Number(number) => Num::plain(number.to_string()),
        serde_json::Value::Array(list) => Value::from(list.iter().map(|item| from_json(path, item, needed)).collect::<Vec<_>>()),
        serde_json::Value::Object(object) => Part::value(path, object.clone(), needed),
    }
}

/// Nothing to print: missing, undefined, none, empty text.
pub fn is_empty(value: &Value) -> bool {
    value.is_undefined() || value.is_none() || value.as_str() == Some("") || value.downcast_object_ref::<Missing>().is_some()
}

/// A template's value as JSON, numbers exact.
pub fn to_json(value: &Value) -> Result<serde_json::Value, Error> {
    let bad = |what: &'static str| Error::new(ErrorKind::InvalidOperation, what);
    if let Some(number) = value.downcast_object_ref::<Num>() {
        return serde_json::from_str(&number.text).map_err(|_| bad("a number that JSON cannot hold"));
    }
    if let Some(part) = value.downcast_object_ref::<Part>() {
        return Ok(serde_json::Value::Object((*part.json).clone()));
    }
    Ok(match value.kind() {
        _ if value.downcast_object_ref::<Missing>().is_some() => serde_json::Value::Null,
        ValueKind::Undefined | ValueKind::None => serde_json::Value::Null,
        ValueKind::Bool => serde_json::Value::Bool(value.is_true()),
        ValueKind::String => serde_json::Value::String(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Number if value.is_integer() => serde_json::from_str(&value.to_string()).map_err(|_| bad("a number that JSON cannot hold"))?,
        ValueKind::Seq | ValueKind::Iterable => serde_json::Value::Array(value.try_iter()?.map(|item| to_json(&item)).collect::<Result<_, _>>()?),
        ValueKind::Map => {
            let mut object = event::Object::new();
            for key in value.try_iter()? {
                object.insert(key.to_string(), to_json(&value.get_item(&key)?)?);
            }
            serde_json::Value::Object(object)
        }
        _ => return Err(bad("this value cannot be printed")),
    })
}
