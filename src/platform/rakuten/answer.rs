//! What Rakuten answers, with `xml=1`.
//!
//! | answer | verdict |
//! |---|---|
//! | 200, `<good>` lines, none `<bad>` | delivered |
//! | 200, some `<good>` and some `<bad>` | delivered, with a word on it: neither the whole order nor a part of it may be sent again |
//! | 200, `<bad>` lines only | rejected |
//! | 200, `<error>` Access denied | halted |
//! | 200, another `<error>` | rejected |
//! | 200 without any of these | retry, which at most once means unknown |
//! | 400 | halted: no such merchant |
//! | 401, 403, 404, 3xx | halted |
//! | 429, 5xx | retry |

use jiff::Timestamp;
use serde_json::json;

use super::{order, settings::Settings};
use crate::{
    delivery::Delivery,
    event::Kind,
    outcome::{Outcome, Reply, by_api_status, quote},
};

/// The text of an element that has no others in it.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let start = xml.find(&open)? + open.len();
    let length = xml.get(start..)?.find(&close)?;
    xml.get(start..start + length).map(str::trim)
}

fn count(xml: &str, name: &str) -> Option<u64> {
    element(xml, name)?.parse().ok()
}

pub(super) fn outcome(to: &Settings, delivery: &Delivery, reply: &Reply, now: Timestamp) -> Outcome {
    let fix = format!("ask Rakuten to let merchant {} report by server, or correct merchant, reload and resume", to.merchant);
    match reply.status {
        200..=299 => {}
        400 => return Outcome::halted("Rakuten knows no such merchant (HTTP 400)", fix),
        _ => return by_api_status(reply, now, &fix),
    }
    let body = reply.text();
    if let Some(error) = element(&body, "error") {
        return match error.to_ascii_lowercase().contains("denied") {
            true => Outcome::halted(format!("Rakuten says {}", quote(error)), fix),
            false => Outcome::rejected(quote(error)),
        };
    }
    match (count(&body, "good"), count(&body, "bad")) {
        (Some(good), bad) if good > 0 => {
            let bad = bad.unwrap_or(0);
            let note = (bad > 0).then(|| format!("{good} lines were taken and {bad} refused"));
            // Refunds repeat a sale's landing time.
            let land = if delivery.event.kind == Kind::Purchase { order::land(delivery).ok() } else { None };
            Outcome::Delivered { answer: land.map(|land| json!({ "land": land })), note }
        }
        (_, Some(bad)) if bad > 0 => Outcome::rejected(format!("all {bad} lines were refused")),
        _ => Outcome::retry(format!("HTTP {}, and Rakuten does not say whether it took the lines", reply.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found() {
        let xml = "<response><unique_id>7</unique_id><summary><total>2</total><good> 2 </good><bad>0</bad></summary></response>";
        assert_eq!((count(xml, "good"), count(xml, "bad"), count(xml, "ugly")), (Some(2), Some(0), None));
        assert_eq!(element("<error>", "error"), None);
        assert_eq!(element("ä<error>x</error>", "error"), Some("x"));
    }
}
