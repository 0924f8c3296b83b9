//! What was paid and what was told of it, by day and destination. One at a time: it reads much.

use std::time::Duration;

use axum::{
    Extension,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use deadpool_postgres::Object;
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{
    Page,
    address::InQuery,
    guard::Visitor,
    render::{self, Fault, values},
};
use crate::outbox::{
    DbError, inspect,
    inspect::report::{self as books, Asked, Report},
};

/// Longer ones are asked for by `postbackd report`.
const DAYS_MAX: i32 = 31;
static TURN: Semaphore = Semaphore::const_new(1);
/// For one's turn, and for a connection.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// Its statements are ended earlier by the server.
const WHOLE: Duration = Duration::from_secs(130);

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Period {
    from: String,
    to: String,
    destination: String,
}

/// `GET /report`: yesterday and today, unless days are named.
pub(super) async fn report(
    State(page): State<Page>,
    Extension(visitor): Extension<Visitor>,
    InQuery(period): InQuery<Period>,
) -> Result<Response, Fault> {
    let asked = asked(&page, &period)?;
    let destinations = page.look(|db| async move { inspect::destinations(&db).await }).await?;
    let (from, to, destination) = (asked.from.to_string(), asked.to.to_string(), period.destination);
    let zone = asked.zone.clone();
    let report = read(&page, asked).await?;
    let balances = report.balances();
    Ok(render::page(
        &visitor,
        StatusCode::OK,
        "report.html",
        values! { title => "Report", report, balances, from, to, zone, destination, destinations },
    ))
}

/// `GET /report.csv`
pub(super) async fn csv(State(page): State<Page>, InQuery(period): InQuery<Period>) -> Result<Response, Fault> {
    let asked = asked(&page, &period)?;
    let name = format!("attachment; filename=\"postbackd-{}-{}.csv\"", asked.from, asked.to);
    let report = read(&page, asked).await?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)], books::csv(&report)).into_response())
}

fn asked(page: &Page, period: &Period) -> Result<Asked, Fault> {
    let config = page.config();
    let zone = config.report.zone.clone();
    let rules = TimeZone::get(&zone).map_err(|_| Fault::Wrong(format!("{zone:?} is no time zone: see [report] zone.")))?;
    let today = rules.to_datetime(Timestamp::now()).date();
    let day = |text: &str, otherwise: Date| match text.trim() {
        "" => Ok(otherwise),
        text => text.parse::<Date>().map_err(|_| Fault::Wrong(format!("{text:?} is no day. Write one like 2026-03-01."))),
    };
    let yesterday = today.checked_sub(1.day()).unwrap_or(today);
    let from = day(&period.from, yesterday)?;
    let to = day(&period.to, today.max(from).min(from.checked_add(DAYS_MAX.days()).unwrap_or(from)))?;
    if !(0..DAYS_MAX).contains(&(to - from).get_days()) {
        return Err(Fault::Wrong(format!(
            "From {from} to {to} is no period of 1 to {DAYS_MAX} days. Longer ones: \"postbackd report\" on the server."
        )));
    }
    let destination = Some(period.destination.clone()).filter(|name| !name.is_empty());
    Ok(Asked { from, to, zone, destination, terms: config.terms() })
}

/// In a task of its own: a page that is closed half-way must not leave a connection in the middle of a transaction.
async fn read(page: &Page, asked: Asked) -> Result<Report, DbError> {
    let pool = page.web.pool.clone();
    let reading = tokio::spawn(async move {
        let _turn = tokio::time::timeout(TURN_WITHIN, TURN.acquire()).await.map_err(|_| DbError::Silent(TURN_WITHIN))?;
        let db = tokio::time::timeout(TURN_WITHIN, pool.get()).await.map_err(|_| DbError::Silent(TURN_WITHIN))??;
        let found = tokio::time::timeout(WHOLE, books::report(&db, &asked)).await.unwrap_or(Err(DbError::Silent(WHOLE)));
        if found.is_err() {
            // Nobody else shall find it in the middle of this.
            drop(Object::take(db));
        }
        found
    });
    reading.await.unwrap_or_else(|error| Err(DbError::Unexpected(error.to_string())))
}
