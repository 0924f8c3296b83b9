//! `GoogleAdsFailure`: errors by their codes, and the item of the request that each is about.

use std::time::Duration;

use serde_json::Value;

use crate::outcome::quote;

/// One error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    /// Its enumeration, `conversionUploadError`.
    pub family: String,
    /// `TOO_RECENT_EVENT`.
    pub name: String,
    /// The item's place in the request; `None`: it is about the request.
    pub item: Option<usize>,
    /// What Google says, fit to be shown.
    pub said: String,
    /// How long to wait, where it is a quota's.
    pub after: Option<Duration>,
}

/// Those within a 200, and those of a request that was refused as a whole.
pub(super) fn problems(body: &Value) -> Vec<Problem> {
    let details = ["/partialFailureError/details", "/error/details"].into_iter().filter_map(|path| body.pointer(path)?.as_array()).flatten();
    let (mut failures, mut violations) = (Vec::new(), Vec::new());
    for detail in details {
        let list = |key: &str| detail.get(key).and_then(Value::as_array).into_iter().flatten();
        failures.extend(list("errors").filter_map(failure));
        violations.extend(list("fieldViolations").map(violation));
    }
    // A field violation only says again what a failure says, and is alone where the request was no JSON of theirs.
    if failures.is_empty() { violations } else { failures }
}

fn failure(error: &Value) -> Option<Problem> {
    let (family, name) = error.get("errorCode")?.as_object()?.iter().next()?;
    let elements = || error.pointer("/location/fieldPathElements").and_then(Value::as_array).into_iter().flatten();
    let field = |element: &Value| element.get("fieldName").and_then(Value::as_str).unwrap_or_default().to_owned();
    // Unverified: that the place of the first item is left out, as zeros are elsewhere.
    let first = elements().next().filter(|first| matches!(field(first).as_str(), "conversions" | "conversion_adjustments" | "conversionAdjustments"));
    let item = first.map(|first| first.get("index").and_then(number).unwrap_or(0));
    let at = elements().skip(1).map(field).filter(|name| !name.is_empty()).collect::<Vec<_>>().join(".");
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let said = quote(&if at.is_empty() { message.to_owned() } else { format!("{at}: {message}") });
    let after = error.pointer("/details/quotaErrorDetails/retryDelay").and_then(Value::as_str).and_then(seconds);
    Some(Problem { family: family.clone(), name: name.as_str().unwrap_or_default().to_owned(), item, said, after })
}

/// `{"field": "conversions[3].gclid", "description": ".."}`
fn violation(violation: &Value) -> Problem {
    let text = |key: &str| violation.get(key).and_then(Value::as_str).unwrap_or_default();
    let field = text("field");
    let item = ["conversions[", "adjustments["].into_iter().find_map(|name| field.split_once(name)?.1.split_once(']')?.0.parse().ok());
    let said = quote(&format!("{}: {}", field.rsplit("].").next().unwrap_or_default(), text("description")));
    Problem { family: "fieldViolation".into(), name: "INVALID_ARGUMENT".into(), item, said, after: None }
}

fn number(value: &Value) -> Option<usize> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).and_then(|number| usize::try_from(number).ok())
}

/// A protobuf duration, `3.5s`, rounded up; at most a day.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, rest) = text.strip_suffix('s')?.split_once('.').unwrap_or((text.strip_suffix('s')?, ""));
    let more = u64::from(rest.bytes().any(|b| b != b'0'));
    Some(Duration::from_secs((whole.parse::<u64>().ok()?.saturating_add(more)).min(86_400)))
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An enumeration's names are no words, but nobody's secret either.
        let plain = self.name.len() <= 100 && self.name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        let name = if plain { self.name.clone() } else { quote(&self.name) };
        if self.said.is_empty() { f.write_str(&name) } else { write!(f, "{name}: {}", self.said) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_name_their_item() {
        let error = |path: Value| json!({"errorCode": {"conversionUploadError": "X"}, "message": "m", "location": {"fieldPathElements": path}});
        let item = |path: Value| failure(&error(path)).and_then(|problem| problem.item);
        assert_eq!(item(json!([{"fieldName": "conversions", "index": 3}, {"fieldName": "gclid"}])), Some(3));
        assert_eq!(item(json!([{"fieldName": "conversion_adjustments", "index": "2"}])), Some(2));
        assert_eq!(item(json!([{"fieldName": "conversions"}, {"fieldName": "gclid"}])), Some(0));
        assert_eq!((item(json!([{"fieldName": "customer_id"}])), item(json!([]))), (None, None));
        assert_eq!(violation(&json!({"field": "conversions[12].gclid", "description": "d"})).item, Some(12));
        assert_eq!(violation(&json!({"field": "validateOnly"})).item, None);
    }

    #[test]
    fn quotas_say_how_long() {
        assert_eq!(
            ["30s", "0.5s", "99999999s", "s", "30"].map(|text| seconds(text).map(|wait| wait.as_secs())),
            [Some(30), Some(1), Some(86_400), None, None]
        );
    }
}
