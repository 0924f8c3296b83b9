//! What Awin answers to sales. From other implementations, not from Awin's pages: unverified throughout.
//!
//! | status | verdict |
//! |---|---|
//! | 200, 202, 206 | by order: successful or pending: delivered; failed: rejected; not named: retry, which at most once means unknown |
//! | 400, 406, 422 with orders named | the same, the others sent again without them |
//! | 400, 406, 422 without | split; alone: rejected |
//! | 401, 403 | halted |
//! | 429, 5xx | retry |

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{order, settings::Settings};
use crate::{
    delivery::Delivery,
    outcome::{Outcome, Reply, by_api_status, by_status, quote},
};

pub(super) fn orders(to: &Settings, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    let taken = (200..=299).contains(&reply.status);
    let refused = matches!(reply.status, 400 | 406 | 422);
    let body = reply.json().unwrap_or_default();
    if !taken && !refused {
        let secret = to.api_key.as_ref().map_or("api_key", |key| key.name());
        let fix = format!("put a valid Conversion API key of advertiser {} into {secret}, reload and resume", to.advertiser);
        return vec![by_api_status(reply, now, &fix); batch.len()];
    }
    let verdict = |delivery: &Delivery| {
        let reference = order::reference(delivery).unwrap_or_default();
        named(&body, &reference).unwrap_or_else(|| match taken {
            true => Outcome::retry(format!("HTTP {}, and the order is not named in the answer", reply.status)),
            false => Outcome::Split { why: format!("HTTP {}: {}", reply.status, quote(&reply.text())) },
        })
    };
    batch.iter().map(verdict).collect()
}

fn list<'a>(body: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    body.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// What the answer says of one order.
fn named(body: &Value, reference: &str) -> Option<Outcome> {
    let is =
        |order: &&Value| order.get("orderReference").or_else(|| order.pointer("/order/orderReference")).and_then(Value::as_str) == Some(reference);
    if let Some(failed) = list(body, "failedOrders").find(is) {
        let errors = list(failed, "errors").filter_map(|error| error.get("message")?.as_str());
        let why = errors.map(quote).collect::<Vec<_>>().join("; ");
        // Unverified: what Awin says of an order that it has.
        let known = why.to_ascii_lowercase().contains("duplicate");
        return Some(match known {
            true => Outcome::noted("duplicate"),
            false => Outcome::rejected(if why.is_empty() { "refused without a reason".into() } else { why }),
        });
    }
    let (order, note) = match list(body, "successfulOrders").find(is) {
        Some(order) => (order, None),
        None => (list(body, "pendingOrders").find(is)?, Some("Awin still processes it".to_owned())),
    };
    let answer = json!({ "batch": body.get("batchId"), "correlation": order.get("correlationId") });
    Some(Outcome::Delivered { answer: Some(answer), note })
}

/// Any 2xx, whatever it says.
pub(super) fn pixel(reply: &Reply, now: Timestamp) -> Outcome {
    match by_status(reply, now) {
        Outcome::Delivered { .. } => Outcome::noted("received; sread.php never says more"),
        _ if matches!(reply.status, 401 | 403) => Outcome::halted(format!("refused (HTTP {})", reply.status), "ask Awin why, and resume"),
        other => other,
    }
}
