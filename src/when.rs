//! `when = "..."`: a condition over an event, in the syntax of template expressions, judged exactly. Pure and total.
//!
//! The template engine compares numbers as floats and unlike kinds by their kind; here money stays decimal, text that reads as a
//! number compares with numbers as one (payloads carry money as text), and what is missing equals nothing and is above nothing.
//!
//! ```text
//! value >= 10.50 and currency == 'EUR' and who.country in ['DE', 'AT'] and not more.new_customer and more.coupon is defined
//! ```

use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::event::{Event, Object, decimal};

mod lex;
mod parse;

pub use parse::parse;

/// A parsed condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A dotted name.
    Path(Vec<String>),
    /// A text, number, boolean or list of them.
    Value(Val),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `not a`
    Not(Box<Expr>),
    /// `a and b`
    And(Box<Expr>, Box<Expr>),
    /// `a or b`
    Or(Box<Expr>, Box<Expr>),
    /// `a == b` and its like.
    Compare(Box<Expr>, &'static str, Box<Expr>),
    /// `a in b`
    In(Box<Expr>, Box<Expr>),
    /// `a is defined`
    Defined(Box<Expr>),
}

/// What an expression is worth.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Val {
    Missing,
    Bool(bool),
    Num(Decimal),
    Text(String),
    List(Vec<Val>),
    /// An object, which is only ever defined or not.
    Object,
}

impl Expr {
    /// Whether it holds for an event whose person is `who`.
    pub fn holds(&self, event: &Event, who: &Object) -> bool {
        self.eval(event, who).is_true()
    }

    fn eval(&self, event: &Event, who: &Object) -> Val {
        let eval = |expr: &Self| expr.eval(event, who);
        match self {
            Self::Path(path) => lookup(path, event, who),
            Self::Value(value) => value.clone(),
            Self::List(items) => Val::List(items.iter().map(eval).collect()),
            Self::Not(a) => Val::Bool(!eval(a).is_true()),
            Self::And(a, b) => Val::Bool(eval(a).is_true() && eval(b).is_true()),
            Self::Or(a, b) => Val::Bool(eval(a).is_true() || eval(b).is_true()),
            Self::Compare(a, sign, b) => Val::Bool(compare(&eval(a), sign, &eval(b))),
            Self::In(a, b) => Val::Bool(contains(&eval(b), &eval(a))),
            Self::Defined(a) => Val::Bool(eval(a) != Val::Missing),
        }
    }
}

impl Val {
    fn is_true(&self) -> bool {
        match self {
            Self::Missing => false,
            Self::Bool(yes) => *yes,
            Self::Num(number) => !number.is_zero(),
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Object => true,
        }
    }

    fn number(&self) -> Option<Decimal> {
        match self {
            Self::Num(number) => Some(*number),
            Self::Text(text) => decimal(text),
            _ => None,
        }
    }
}

fn lookup(path: &[String], event: &Event, who: &Object) -> Val {
    let text = |text: &str| Val::Text(text.to_owned());
    match path[0].as_str() {
        "kind" => text(event.kind.as_str()),
        "value" => event.value.map_or(Val::Missing, Val::Num),
        "currency" => event.currency.map_or(Val::Missing, |currency| text(currency.as_str())),
        "order_id" => text(&event.reference),
        "refund_id" => event.refund_ref.as_deref().map_or(Val::Missing, text),
        root => {
            let mut object = Some(if root == "who" { who } else { &event.more });
            let mut found = None;
            for key in &path[1..] {
                found = object.and_then(|object| object.get(key));
                object = found.and_then(Json::as_object);
            }
            if path.len() == 1 { Val::Object } else { found.map_or(Val::Missing, from_json) }
        }
    }
}

fn from_json(json: &Json) -> Val {
    match json {
        Json::Null => Val::Missing,
        Json::Bool(yes) => Val::Bool(*yes),
        Json::Number(number) => decimal(&number.to_string()).map_or_else(|| Val::Text(number.to_string()), Val::Num),
        Json::String(text) if text.is_empty() => Val::Missing,
        Json::String(text) => Val::Text(text.clone()),
        Json::Array(items) => Val::List(items.iter().map(from_json).collect()),
        Json::Object(_) => Val::Object,
    }
}

fn compare(a: &Val, sign: &str, b: &Val) -> bool {
    // Two texts are numbers to nobody unless one side is written as a number: '0123' is not '123'.
    let numbers = if matches!((a, b), (Val::Text(_), Val::Text(_))) && matches!(sign, "==" | "!=") { None } else { a.number().zip(b.number()) };
    let order = match (numbers, a, b) {
        (Some((a, b)), ..) => a.partial_cmp(&b),
        (None, Val::Text(a), Val::Text(b)) => a.partial_cmp(b),
        (None, Val::Bool(a), Val::Bool(b)) => a.partial_cmp(b),
        _ => None,
    };
    match (sign, order) {
        ("==", order) => order.is_some_and(std::cmp::Ordering::is_eq),
        ("!=", order) => !order.is_some_and(std::cmp::Ordering::is_eq),
        (_, None) => false,
        ("<", Some(order)) => order.is_lt(),
        ("<=", Some(order)) => order.is_le(),
        (">", Some(order)) => order.is_gt(),
        (_, Some(order)) => order.is_ge(),
    }
}

fn contains(whole: &Val, part: &Val) -> bool {
    match (whole, part) {
        (Val::List(items), part) => items.iter().any(|item| compare(item, "==", part)),
        (Val::Text(text), Val::Text(part)) => text.contains(part.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(source: &str) -> bool {
        let payload = r#"{"value":"10.10","currency":"EUR","who":{"country":"DE","age":"042"},"more":{"tax":"1.90","coupon":"","new_customer":true,"big":12345678901234567.01}}"#;
        let event = Event::decode(1, "purchase", "A-1", payload, jiff::Timestamp::UNIX_EPOCH).expect("readable");
        parse(source).unwrap_or_else(|why| panic!("{source}: {why}")).holds(&event, &event.who)
    }

    #[test]
    fn conditions() {
        for (source, want) in [
            ("value >= 10 and who.country == 'DE'", true),
            ("value == 10.1", true),
            ("value > 10.10", false),
            ("value > 10.0999999999999999999", true),
            ("more.tax > 1.9", false),
            ("more.tax >= 1.9", true),
            ("more.big > 12345678901234567.009", true),
            ("who.country in ['AT', 'DE']", true),
            ("who.country not in ['AT']", true),
            ("more.coupon is defined or more.nothing.at.all == 'x'", false),
            ("more.coupon is not defined", true),
            ("more.nothing < 5 or more.nothing > 5", false),
            ("more.nothing != 5", true),
            ("not (more.new_customer and kind == 'refund')", true),
            ("who.age == '42'", false),
            ("who.age == 42", true),
            ("value > -1", true),
            ("refund_id is undefined", true),
        ] {
            assert_eq!(holds(source), want, "{source}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (source, word) in [
            ("vale > 1", "did you mean value?"),
            ("value = 1", "=="),
            ("value >", "too early"),
            ("value > 1 2", "not expected"),
            ("(value > 1", "not closed"),
            ("value * 2 > 1", "'*'"),
            ("kind.x == 1", "no keys"),
            ("who. == 1", "key is missing"),
            ("'a", "not closed"),
            ("1.2.3 > 1", "not a number"),
        ] {
            let error = parse(source).expect_err(source);
            assert!(error.contains(word), "{source}: {error}");
        }
        assert!(parse(&"(".repeat(10_000)).is_err());
        assert!(parse(&"not ".repeat(10_000)).is_err());
        assert!(parse(&"-".repeat(100_000)).is_err());
    }
}
