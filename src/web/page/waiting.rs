//! Dead letters and unknowns: lists that can be narrowed, with what may be done about one or about all that match.

use axum::{Extension, extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};

use super::{
    Page,
    address::InQuery,
    guard::Visitor,
    render::{self, Fault, values},
    words,
};
use crate::{
    command::Selection,
    outbox::inspect::{self, Before},
};

/// Rows of a page.
const ROWS: i64 = 50;

/// How a list is narrowed, and where this page of it begins.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Narrowed {
    destination: String,
    order: String,
    kind: String,
    reason: String,
    /// Behind this place of the page before.
    seq: Option<i64>,
    at: String,
}

impl Narrowed {
    fn selection(&self) -> Selection {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Selection {
            destination: text(&self.destination),
            order: text(&self.order),
            kind: text(&self.kind),
            reason: text(&self.reason),
            ..Selection::default()
        }
    }

    /// The query of the same list, from its beginning.
    fn query(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("destination", &self.destination), ("order", &self.order), ("kind", &self.kind), ("reason", &self.reason)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

/// `GET /dead`
pub(super) async fn dead(page: State<Page>, visitor: Extension<Visitor>, narrowed: InQuery<Narrowed>) -> Result<Response, Fault> {
    list(page, visitor, narrowed, "dead").await
}

/// `GET /unknown`
pub(super) async fn unknown(page: State<Page>, visitor: Extension<Visitor>, narrowed: InQuery<Narrowed>) -> Result<Response, Fault> {
    list(page, visitor, narrowed, "unknown").await
}

async fn list(
    State(page): State<Page>,
    Extension(visitor): Extension<Visitor>,
    InQuery(by): InQuery<Narrowed>,
    state: &'static str,
) -> Result<Response, Fault> {
    let select = by.selection();
    let before = by.seq.map(|seq| Before { seq, destination: by.at.clone() });
    let (count, rows, reasons, destinations) = page
        .look(move |db| async move {
            let destination = select.destination.as_deref();
            tokio::try_join!(
                inspect::count(&db, state, &select),
                inspect::newest(&db, state, &select, before.as_ref(), ROWS),
                inspect::reasons(&db, state, destination),
                inspect::destinations(&db),
            )
        })
        .await?;
    let more = (rows.len() as i64 == ROWS).then(|| rows.last().map(|(_, place)| (place.seq, place.destination.clone()))).flatten();
    let rows: Vec<_> = rows.into_iter().map(|(exception, _)| exception).collect();
    let mut kinds: Vec<&str> = reasons.iter().map(|(kind, ..)| kind.as_str()).filter(|kind| !kind.is_empty()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut why: Vec<(&str, i64)> = Vec::new();
    for (_, reason, count) in reasons.iter().filter(|(_, reason, _)| !reason.is_empty()) {
        match why.iter_mut().find(|(known, _)| known == reason) {
            Some((_, sum)) => *sum += count,
            None => why.push((reason, *count)),
        }
    }
    let title = if state == "dead" { "Dead letters" } else { "Unknown deliveries" };
    let (query, narrow) = (by.query(), words::narrowed(&by.selection()));
    Ok(render::page(
        &visitor,
        StatusCode::OK,
        "waiting.html",
        values! { title, here => state, state, by, query, narrow, count, rows, more, kinds, why, destinations },
    ))
}
