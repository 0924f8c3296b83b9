//! What Apple's devices sent: how many, what they were worth, and what was not believed.

use axum::{Extension, extract::State, http::StatusCode, response::Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Page,
    address::InQuery,
    guard::Visitor,
    render::{self, Fault, values},
};
use crate::outbox::apple::{self, Filter, Kept, Line, Number};

/// Rows of the list.
const ROWS: i64 = 50;
/// What is counted.
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);
/// By which the list can be narrowed.
const VERDICTS: [&str; 4] = ["verified", "development", "invalid", "unverifiable"];

/// What came today, for the overview.
#[derive(Debug, Serialize)]
pub(super) struct Today {
    /// Verdicts, with how many.
    counts: Vec<(String, i64)>,
}

impl Today {
    pub(super) fn of(numbers: &[Number]) -> Self {
        let mut counts: Vec<(String, i64)> = Vec::new();
        for number in numbers {
            match counts.iter_mut().find(|(verdict, _)| *verdict == number.verdict) {
                Some((_, sum)) => *sum += number.count,
                None => counts.push((number.verdict.clone(), number.count)),
            }
        }
        counts.sort_by_key(|(_, count)| -count);
        Self { counts }
    }
}

/// Postbacks of today that this version cannot judge, and why: Apple may have changed something.
pub(super) fn beyond_us(numbers: &[Number]) -> Option<(i64, &str)> {
    let unknown = |number: &&Number| number.verdict == "unverifiable" && number.reason.starts_with("unknown_");
    let first = numbers.iter().find(unknown)?;
    Some((numbers.iter().filter(unknown).map(|number| number.count).sum(), &first.reason))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Narrowed {
    verdict: String,
}

#[derive(Debug, Serialize)]
struct Shown {
    at: Timestamp,
    line: Line,
}

/// `GET /apple`
pub(super) async fn apple(
    State(page): State<Page>,
    Extension(visitor): Extension<Visitor>,
    InQuery(Narrowed { verdict }): InQuery<Narrowed>,
) -> Result<Response, Fault> {
    let filter = Filter { verdict: Some(verdict.clone()).filter(|verdict| !verdict.is_empty()), ..Filter::default() };
    if filter.verdict.as_deref().is_some_and(|verdict| !VERDICTS.contains(&verdict)) {
        return Err(Fault::Wrong(format!("A verdict is one of {}.", VERDICTS.join(", "))));
    }
    let since = Timestamp::now() - MONTH;
    let (numbers, kept) =
        page.look(move |db| async move { tokio::try_join!(apple::numbers(&db, Some(since)), apple::list(&db, &filter, ROWS, false)) }).await?;
    let full = kept.len() as i64 == ROWS;
    let rows: Vec<Shown> = kept.iter().map(|kept: &Kept| Shown { at: kept.received_at, line: kept.line() }).collect();
    let taken = page.config().apple.is_some();
    Ok(render::page(
        &visitor,
        StatusCode::OK,
        "apple.html",
        values! { title => "Apple's postbacks", numbers, rows, full, verdict, verdicts => VERDICTS, taken },
    ))
}
