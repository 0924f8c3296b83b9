//! What came, for people and for tests: names of fields and what was found, no values.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::words::{Call, Fault, Item, Verdict};

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Counts from 1.
    pub n: u64,
    /// When it came.
    pub at: Timestamp,
    /// Which platform.
    pub platform: &'static str,
    /// `POST`
    pub method: String,
    /// Without prefix and query.
    pub path: String,
    /// `events`, `refund`, `token`, `status`.
    pub what: &'static str,
    /// What was answered.
    pub status: u16,
    /// `taken`, `refused`, or what the script made of it.
    pub verdict: String,
    /// Its conversions.
    pub items: Vec<Item>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What is worth a word.
    pub notes: Vec<String>,
    /// Names of the fields, without positions: `data[].event_time`.
    pub fields: Vec<String>,
    /// What came, where the fake was asked to keep it: it holds personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

impl Record {
    /// Of a request that has been answered.
    pub(super) fn new(n: u64, platform: &'static str, call: &Call, verdict: Verdict, said: String, status: u16) -> Self {
        let Verdict { what, items, faults, notes } = verdict;
        let (at, method, path, fields) = (call.now, call.method.clone(), call.path.clone(), names(call));
        Self { n, at, platform, method, path, what, status, verdict: said, items, faults, notes, fields, body: None }
    }

    /// Some lines: the request and its verdict, then its conversions, its faults, its fields.
    pub fn lines(&self) -> String {
        let Self { platform, method, path, what, status, verdict, .. } = self;
        let at = self.at.strftime("%H:%M:%S%.3f");
        let count = match self.items.len() {
            0 => String::new(),
            1 => " (1 conversion)".to_owned(),
            n => format!(" ({n} conversions)"),
        };
        let mut lines = vec![format!("{at} {platform} {method} {}: {what}{count} -> {status} {verdict}", path.escape_debug())];
        for (n, item) in self.items.iter().enumerate().take(20) {
            lines.push(
                format!("    [{n}] {} {} {}", item.name.escape_debug(), item.id.escape_debug(), item.amount.escape_debug()).trim_end().to_owned(),
            );
        }
        lines.extend(self.faults.iter().take(20).map(|fault| format!("    WRONG {} {}", fault.field.escape_debug(), fault.rule.escape_debug())));
        lines.extend(self.notes.iter().map(|note| format!("    note: {note}")));
        if !self.fields.is_empty() {
            lines.push(format!("    fields: {}", self.fields.join(" ").escape_debug()));
        }
        lines.join("\n")
    }
}

/// Form or JSON.
pub(super) fn body(call: &Call) -> Value {
    let form = call.header("content-type").is_some_and(|it| it.starts_with("application/x-www-form-urlencoded"));
    if form { call.form() } else { call.json() }
}

/// Names of everything in query, form or JSON.
fn names(call: &Call) -> Vec<String> {
    let mut found: BTreeSet<String> = call.query.iter().map(|(name, _)| format!("?{name}")).collect();
    walk(&body(call), "", &mut found);
    found.into_iter().collect()
}

fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                walk(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| walk(value, &format!("{path}[]"), found)),
        _ if path.is_empty() => {}
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake::testing;

    #[test]
    fn lines_hold_names_and_no_values() {
        let call = testing::post("/v26.0/1/events?access_token=SECRET", &json!({"data": [{"user_data": {"em": ["SECRET"]}}], "x": "SECRET"}));
        let item = Item { name: "Purchase\n".to_owned(), id: "purchase-1".to_owned(), amount: "5 EUR".to_owned() };
        let verdict = Verdict { what: "events", items: vec![item], ..Verdict::default() };
        let record = Record::new(1, "meta", &call, verdict, "taken".to_owned(), 200);
        let lines = record.lines();
        assert!(lines.contains("meta POST /v26.0/1/events: events (1 conversion) -> 200 taken"), "{lines}");
        assert!(lines.contains("[0] Purchase\\n purchase-1 5 EUR") && lines.contains("fields: ?access_token data[].user_data.em[] x"), "{lines}");
        assert!(!lines.contains("SECRET") && !json!(record).to_string().contains("SECRET"));
    }
}
