//! `/live` and `/ready`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::Web;
use crate::ready::{self, Part, Reason};

/// The process and its runtime answer; nothing else is said by it.
pub(super) async fn live() -> &'static str {
    "alive\n"
}

/// 200: deliveries move, as far as they are this process's. 503 with every reason why not.
pub(super) async fn ready(State(web): State<Web>, headers: HeaderMap) -> Response {
    let (_, reasons) = web.readiness().await;
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Names of destinations and words of the database are for those who may read the metrics.
    let reasons = if web.admits(&headers) { reasons } else { Vec::new() };
    let wants_json = headers.get(header::ACCEPT).is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("json")));
    match wants_json {
        true => {
            let body = format!("{:#}\n", json!({ "ready": status == StatusCode::OK, "reasons": reasons }));
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        false => (status, text(status, &reasons)).into_response(),
    }
}

fn text(status: StatusCode, reasons: &[Reason]) -> String {
    let head = if status == StatusCode::OK { "ready\n" } else { "not ready\n" };
    reasons.iter().fold(head.to_owned(), |text, reason| format!("{text}{}: {}\n", reason.what, reason.text.replace('\n', " ")))
}

impl Web {
    /// What the database said a moment ago, and why deliveries do not move.
    pub(super) async fn readiness(&self) -> (Arc<crate::observe::Seen>, Vec<Reason>) {
        let seen = self.observer.look().await;
        let config = Arc::clone(&self.config.borrow());
        let names: Vec<Arc<str>> = config.destinations.iter().map(|to| Arc::clone(&to.name)).collect();
        let part = Part {
            owner: self.metrics.epoch().is_some(),
            shares: config.daemon.destinations.as_ref().map(|mine| mine.iter().map(|name| Arc::from(name.as_str())).collect()),
            overdue: config.web.as_ref().map_or(crate::config::OVERDUE, |web| web.overdue),
        };
        let reasons = ready::reasons(&seen.known(&names), &part);
        (seen, reasons)
    }
}
