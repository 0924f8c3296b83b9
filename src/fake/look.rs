//! Looks at values and writes down what is wrong, with the path.

use std::cell::RefCell;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::words::{Concern, Fault, Verdict};

/// ISO 4217, by digits behind the point where these are not two.
const ZERO: &[&str] = &["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"];
const THREE: &[&str] = &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// Faults as they are found.
#[derive(Debug, Default)]
pub struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    /// Looks at a whole document.
    pub fn look<'a>(&'a self, value: &'a Value) -> Look<'a> {
        Look { faults: self, value, path: String::new(), item: None }
    }

    /// A fault that no look finds.
    pub fn add(&self, concern: Concern, field: &str, rule: impl Into<String>) {
        self.0.borrow_mut().push(Fault { concern, item: None, field: field.to_owned(), rule: rule.into() });
    }

    /// The verdict on a request of this sort, without items yet.
    pub fn verdict(self, what: &'static str) -> Verdict {
        Verdict { what, faults: self.0.into_inner(), ..Verdict::default() }
    }
}

/// A value and where it stands. Checks return whether they hold, and write down when they do not; those of a missing value
/// hold, besides [`Look::required`].
#[derive(Clone, Debug)]
pub struct Look<'a> {
    faults: &'a Faults,
    value: &'a Value,
    path: String,
    item: Option<usize>,
}

impl<'a> Look<'a> {
    /// The field of this name.
    pub fn at(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { value: self.value.get(name).unwrap_or(&Value::Null), path, ..self.clone() }
    }

    /// The elements.
    pub fn each(&self) -> Vec<Self> {
        let elements = self.value.as_array().into_iter().flatten().enumerate();
        elements.map(|(n, value)| Self { value, path: format!("{}[{n}]", self.path), ..self.clone() }).collect()
    }

    /// The elements as the items of the batch: what is wrong inside concerns one of them.
    pub fn items(&self) -> Vec<Self> {
        self.each().into_iter().enumerate().map(|(n, look)| Self { item: Some(n), ..look }).collect()
    }

    /// This one is the only item of its request.
    pub fn single(&self) -> Self {
        Self { item: Some(0), ..self.clone() }
    }

    /// Writes down.
    pub fn fault(&self, rule: impl Into<String>) {
        let concern = if self.item.is_some() { Concern::Item } else { Concern::Request };
        self.faults.0.borrow_mut().push(Fault { concern, item: self.item, field: self.path.clone(), rule: rule.into() });
    }

    /// Where it does not hold.
    pub fn must(&self, holds: bool, rule: &str) -> bool {
        if !holds {
            self.fault(rule);
        }
        holds
    }

    /// Whether it is there: neither absent, null, nor an empty text, list or object.
    pub fn there(&self) -> bool {
        match self.value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(object) => !object.is_empty(),
            _ => true,
        }
    }

    /// It has to be there.
    pub fn required(&self) -> bool {
        self.must(self.there(), "is required and missing")
    }

    /// The text, or nothing.
    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// Text or number as it is written.
    pub fn written(&self) -> String {
        match self.value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        }
    }

    /// Where there is one: a text for which the rule holds.
    pub fn is_text(&self, rule: &str, holds: impl Fn(&str) -> bool) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => self.must(holds(text), rule),
            _ => self.must(false, "must be a text"),
        }
    }

    /// A text.
    pub fn string(&self) -> bool {
        self.is_text("", |_| true)
    }

    /// One of these words.
    pub fn one_of(&self, words: &[&str]) -> bool {
        self.is_text(&format!("must be one of {}", words.join(", ")), |text| words.contains(&text))
    }

    /// A JSON number, not a text, at least this.
    pub fn number(&self, least: f64) -> bool {
        match self.value {
            Value::Null => true,
            Value::Number(number) => {
                let value = number.as_f64().unwrap_or(f64::NAN);
                self.must(value >= least, &format!("must be {least} or more"))
            }
            _ => self.must(false, "must be a JSON number"),
        }
    }

    /// A whole JSON number.
    pub fn integer(&self) -> Option<i64> {
        match self.value {
            Value::Null => None,
            Value::Number(number) if number.as_i64().is_some() => number.as_i64(),
            _ => {
                self.fault("must be a whole JSON number");
                None
            }
        }
    }

    /// A bool.
    pub fn boolean(&self) -> bool {
        self.must(matches!(self.value, Value::Null | Value::Bool(_)), "must be true or false")
    }

    /// A list with so many elements.
    pub fn list(&self, least: usize, most: usize) -> bool {
        match self.value {
            Value::Null => true,
            Value::Array(list) => self.must((least..=most).contains(&list.len()), &format!("must have {least} to {most} elements")),
            _ => self.must(false, "must be a list"),
        }
    }

    /// No names but these.
    pub fn only(&self, names: &[&str]) {
        for name in self.value.as_object().into_iter().flat_map(|object| object.keys()) {
            if !names.contains(&name.as_str()) {
                self.at(name).fault("is no field of this platform");
            }
        }
    }

    /// Unix seconds, of which the event is no older than that many days and not more than ten minutes ahead.
    pub fn unix_seconds(&self, now: Timestamp, days: i64) {
        let Some(seconds) = self.integer() else { return };
        let age = now.as_second() - seconds;
        if seconds > 100_000_000_000 {
            self.fault("must be Unix seconds, and these are milliseconds or smaller units");
        } else if age < -600 {
            self.fault("is in the future");
        } else if age > days * 86_400 {
            self.fault(format!("is older than {days} days"));
        }
    }

    /// RFC 3339 with a zone, neither in the future nor older than that many days.
    pub fn rfc3339(&self, now: Timestamp, days: i64) {
        if !self.is_text("must be a time of RFC 3339 with Z or an offset", |text| text.contains('T') && text.parse::<Timestamp>().is_ok()) {
            return;
        }
        let Ok(at) = self.text().parse::<Timestamp>() else { return };
        let age = now.as_second() - at.as_second();
        if age < -600 {
            self.fault("is in the future");
        } else if age > days * 86_400 {
            self.fault(format!("is older than {days} days"));
        }
    }

    /// SHA-256 in lower-case hex, or a list of such.
    pub fn sha256(&self) {
        match self.value {
            Value::Array(_) => self.each().iter().for_each(Look::sha256),
            _ => {
                self.is_text("must be SHA-256 in 64 digits of lower-case hex", sha256);
            }
        }
    }

    /// Not a hash: the platform wants it in clear.
    pub fn plain(&self) {
        self.is_text("must be sent in clear, and this is a hash", |text| !sha256(text));
    }

    /// Three capital letters of ISO 4217.
    pub fn currency(&self) {
        self.is_text("must be a currency of ISO 4217 in capital letters", |text| {
            text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
        });
    }

    /// An amount in major units, written with no more digits than the currency has, where one is told; a text or a number as the caller has checked.
    pub fn money(&self, currency: &str) {
        let written = self.written();
        if written.is_empty() {
            return;
        }
        let unsigned = written.strip_prefix('-').unwrap_or(&written);
        let (whole, cents) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(cents) {
            return self.fault("must be a decimal with a point and without thousands separators");
        }
        let most = decimals(currency);
        if !currency.is_empty() && cents.trim_end_matches('0').len() > most {
            self.fault(format!("has more than {most} digits behind the point, which {currency} does not have"));
        }
    }

    /// Names of the object.
    pub fn names(&self) -> Vec<&'a str> {
        self.value.as_object().into_iter().flat_map(|object| object.keys()).map(String::as_str).collect()
    }
}

/// Digits behind the point of a currency.
pub fn decimals(currency: &str) -> usize {
    match currency {
        zero if ZERO.contains(&zero) => 0,
        three if THREE.contains(&three) => 3,
        _ => 2,
    }
}

/// 64 digits of lower-case hex.
pub fn sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Twelve digits that stand for something that must not be told.
pub fn digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..6])
}

/// Digits and nothing else.
pub fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Address of the internet, version 4 or 6.
pub fn ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// Address of a page.
pub fn web(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// `49.90 EUR`
pub fn amount(value: &Look<'_>, currency: &Look<'_>) -> String {
    format!("{} {}", value.written(), currency.text()).trim().to_owned()
}
