//! One order: what happened, and for each platform what was sent, when, what it answered, or why not.

use std::{collections::HashMap, sync::Arc};

use axum::{Extension, extract::State, http::StatusCode, response::Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Page,
    address::InQuery,
    guard::Visitor,
    render::{self, Fault, values},
};
use crate::{
    destination::Destination,
    outbox::inspect::{self, Attempt, Delivery, Event, Receipt, Sale},
    preview::{self, Previewed},
    request::Request,
};

/// Events of a page: the last of them.
const EVENTS: usize = 30;
/// Of those, the last have their requests built: each is built some forty times to find the buyer in it.
const BUILT: usize = 8;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    #[serde(rename = "ref")]
    reference: String,
    /// The event whose requests are to be built, where there are many.
    event: Option<i64>,
}

/// An event and what became of it everywhere.
#[derive(Debug, Serialize)]
struct Told {
    id: i64,
    kind: String,
    refund_ref: Option<String>,
    at: Timestamp,
    seq: Option<i64>,
    parts: Vec<Part>,
    /// Its requests were built.
    built: bool,
}

/// At one destination.
#[derive(Debug, Serialize)]
struct Part {
    delivery: Delivery,
    attempts: Vec<Attempt>,
    /// What was said, line by line; empty: it is not known, or nothing was said.
    said: Vec<(String, String)>,
    /// What the platform calls it.
    answer: Vec<(String, String)>,
    uncertain: bool,
    request: Option<Shown>,
    /// Why there is no request.
    none: Option<String>,
}

/// A request without secrets and without the buyer.
#[derive(Debug, Serialize)]
struct Shown {
    method: &'static str,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
    curl: String,
}

/// `GET /order`
pub(super) async fn order(
    State(page): State<Page>,
    Extension(visitor): Extension<Visitor>,
    InQuery(wanted): InQuery<Wanted>,
) -> Result<Response, Fault> {
    let reference = wanted.reference.trim().to_owned();
    if reference.is_empty() {
        let marks = page.look(|db| async move { inspect::marks(&db, 30).await }).await?;
        return Ok(render::page(&visitor, StatusCode::OK, "order.html", values! { title => "Orders", reference, marks, found => false }));
    }
    let shown = page.shown.borrow().clone();
    let unreadable = shown.is_none();
    let to: Vec<Arc<Destination>> = shown.map(|config| config.destinations.clone()).unwrap_or_default();
    let now = Timestamp::now();
    let (asked, wanted_event) = (reference.clone(), wanted.event);
    let found = page
        .look(move |db| async move {
            let Some(mut order) = inspect::order(&db, &asked).await? else { return Ok(None) };
            let left_out = order.events.len().saturating_sub(EVENTS);
            let mut events = order.events.split_off(left_out);
            if let Some(one) = wanted_event
                && let Some(earlier) = order.events.into_iter().find(|event| event.id == one)
            {
                events.insert(0, earlier);
            }
            let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
            let build: Vec<i64> = match wanted_event {
                Some(event) if ids.contains(&event) => vec![event],
                _ => ids[ids.len().saturating_sub(BUILT)..].to_vec(),
            };
            let previewed = preview::of_database(&db, &to, &build, now, preview::masked).await?;
            let receipts = inspect::receipts(&db, &ids).await?;
            let mut attempts = HashMap::new();
            for id in &ids {
                attempts.insert(*id, inspect::attempts(&db, *id, None).await?);
            }
            let told = told(events, attempts, receipts, previewed, &build);
            Ok(Some((order.sales, told, left_out)))
        })
        .await?;
    let Some((sales, events, left_out)) = found else {
        let values = values! { title => "Orders", reference, marks => Vec::<()>::new(), found => false };
        return Ok(render::page(&visitor, StatusCode::NOT_FOUND, "order.html", values));
    };
    let sales: Vec<Sale> = sales;
    let title = format!("Order {reference}");
    let values = values! { title, reference, found => true, now, sales, events, left_out, unreadable };
    Ok(render::page(&visitor, StatusCode::OK, "order.html", values))
}

fn told(events: Vec<Event>, mut attempts: HashMap<i64, Vec<Attempt>>, receipts: Vec<Receipt>, previewed: Vec<Previewed>, build: &[i64]) -> Vec<Told> {
    let mut receipts: HashMap<(i64, String), Receipt> =
        receipts.into_iter().map(|receipt| ((receipt.event, receipt.destination.clone()), receipt)).collect();
    let mut requests: HashMap<(i64, String), Result<Request, String>> =
        previewed.into_iter().map(|one| ((one.event, one.destination.to_string()), one.result)).collect();
    let told = |event: Event| {
        let mut tried = attempts.remove(&event.id).unwrap_or_default();
        let part = |delivery: Delivery| {
            let key = (event.id, delivery.destination.clone());
            let (mine, others) = std::mem::take(&mut tried).into_iter().partition(|attempt: &Attempt| attempt.destination == delivery.destination);
            tried = others;
            let receipt = receipts.remove(&key);
            let (request, none) = match requests.remove(&key) {
                Some(Ok(request)) => (Some(shown(&request)), None),
                Some(Err(why)) => (None, Some(why)),
                None => (None, None),
            };
            Part {
                delivery,
                attempts: mine,
                said: receipt.as_ref().map(|receipt| flat(&receipt.sent)).unwrap_or_default(),
                answer: receipt.as_ref().and_then(|receipt| receipt.answer.as_ref()).map(flat).unwrap_or_default(),
                uncertain: receipt.is_some_and(|receipt| receipt.uncertain),
                request,
                none,
            }
        };
        let parts = event.deliveries.into_iter().map(part).collect();
        let Event { id, kind, refund_ref, occurred_at: at, seq, .. } = event;
        Told { id, kind, refund_ref, at, seq, parts, built: build.contains(&id) }
    };
    events.into_iter().map(told).collect()
}

fn shown(request: &Request) -> Shown {
    let text = String::from_utf8_lossy(&request.body);
    let pretty = serde_json::from_str::<Value>(&text).ok().filter(|json| json.is_object() || json.is_array());
    let body = pretty.and_then(|json| serde_json::to_string_pretty(&json).ok()).unwrap_or_else(|| text.into_owned());
    Shown { method: request.method.as_str(), url: request.url.clone(), headers: request.headers.clone(), body, curl: request.to_curl() }
}

/// `click.gclid` and its value, one line each. Click ids by their ends, as in the request.
fn flat(value: &Value) -> Vec<(String, String)> {
    fn walk(lines: &mut Vec<(String, String)>, name: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::Object(object) => object.iter().for_each(|(key, value)| {
                let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                walk(lines, &below, value);
            }),
            Value::String(text) if name.starts_with("click.") => lines.push((name.to_owned(), ends(text))),
            Value::String(text) => lines.push((name.to_owned(), text.clone())),
            other => lines.push((name.to_owned(), other.to_string())),
        }
    }
    let mut lines = Vec::new();
    walk(&mut lines, "", value);
    lines
}

/// Enough to compare with a platform's list, and too little to find anybody by.
fn ends(text: &str) -> String {
    let length = text.chars().count();
    if length < 12 || !text.is_ascii() { "..".to_owned() } else { format!("{}..{}", &text[..4], &text[length - 2..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_shown_line_by_line_without_click_ids() {
        let sent = serde_json::json!({ "value": "10.00", "click": { "gclid": "Cj0KCQjw-abcdef", "x": "kurz" }, "none": null, "n": 1 });
        let want = [("value", "10.00"), ("click.gclid", "Cj0K..ef"), ("click.x", ".."), ("n", "1")];
        assert_eq!(flat(&sent), want.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
