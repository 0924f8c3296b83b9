//! One destination: how it does, what its settings say, what it was told last.

use std::time::Duration;

use axum::{Extension, extract::State, http::StatusCode, response::Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Page,
    address::{InPath, InQuery},
    chart::{self, Chart},
    guard::Visitor,
    overview,
    render::{self, Fault, values},
};
use crate::{
    delivery::{Facts, RefundShape, Resend},
    destination::{Destination, Start},
    metrics::Metrics,
    outbox::inspect,
    words::duration,
};

/// Attempts of a page.
const ROWS: i64 = 50;

#[derive(Deserialize)]
pub(super) struct From {
    /// Attempts for entries of the stream below this one.
    below: Option<i64>,
}

/// `GET /destination/{name}`
pub(super) async fn destination(
    State(page): State<Page>,
    Extension(visitor): Extension<Visitor>,
    InPath(name): InPath<String>,
    InQuery(From { below }): InQuery<From>,
) -> Result<Response, Fault> {
    let now = Timestamp::now();
    let wanted = name.clone();
    let (status, tallies, faults, (marks, next)) = page
        .look(move |db| async move {
            tokio::try_join!(
                inspect::status(&db),
                inspect::tallies(&db, chart::since(now)),
                inspect::faults(&db),
                inspect::marks_of(&db, &wanted, below, ROWS),
            )
        })
        .await?;
    let config = page.config();
    let to = config.destinations.iter().find(|to| *to.name == *name);
    let standing = status.destinations.iter().find(|there| there.destination == name);
    if to.is_none() && standing.is_none() {
        return Err(Fault::Missing(format!("There is no destination {name:?}.")));
    }
    let fault = faults.into_iter().find(|fault| fault.destination == name);
    let chart = Chart::of(&tallies, Some(&name), now);
    let (tone, state) = overview::state(standing, to.is_some());
    let values = values! {
        title => name, name, now => status.now, standing, tone, state, fault, chart, marks, next, below,
        rules => to.map(|to| rules(to)),
        keys => to.map(|to| keys(to)),
        facts => to.map(|to| facts(to, &page.web.metrics, now)),
        breaker => breaker(&page.web.metrics, &name),
    };
    Ok(render::page(&visitor, StatusCode::OK, "destination.html", values))
}

pub(super) fn breaker(metrics: &Metrics, name: &str) -> Option<&'static str> {
    metrics.meters().iter().find(|meter| *meter.about.destination == *name).and_then(|meter| meter.breaker())
}

/// Name and value, one line each.
type Lines = Vec<(String, String)>;

fn listed<'a>(words: impl IntoIterator<Item = &'a str>, none: &str) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}

/// What all destinations have.
fn rules(to: &Destination) -> Lines {
    let Destination { kinds, when, consent, click, mode, start, basis, hold, route, limits, credential, retry, .. } = to;
    let basis = match (basis.without_tax, basis.without_shipping) {
        (false, false) => "the whole value",
        (true, false) => "without tax",
        (false, true) => "without shipping",
        (true, true) => "without tax and shipping",
    };
    let start = match start {
        Start::Now => "with what comes after it was first seen".to_owned(),
        Start::At(time) => format!("with what came at {time} or later"),
        Start::Beginning => "with the first event that is kept".to_owned(),
    };
    let give_up = match retry.attempts {
        Some(attempts) => format!("after {} or {attempts} attempts", duration(retry.give_up_after)),
        None => format!("after {}", duration(retry.give_up_after)),
    };
    let rate = limits.rate.map_or_else(|| "as fast as it answers".to_owned(), |rate| format!("one every {}", duration(rate.distance())));
    let line = |name: &str, value: String| (name.to_owned(), value);
    vec![
        line("Mode", mode.as_str().to_owned()),
        line("Kinds", listed(kinds.iter().map(|kind| kind.as_str()), "none")),
        line("Only when", when.as_ref().map_or_else(|| "always".to_owned(), |when| when.source.to_string())),
        line("Consent needed", listed(consent.iter().map(String::as_str), "none")),
        line("Click id needed", listed(click.iter().map(String::as_str), "none")),
        line("Value told", basis.to_owned()),
        line("Held back", if hold.is_zero() { "no".to_owned() } else { format!("until {} after the click", duration(*hold)) }),
        line("Began", start),
        line("Requests at a time", limits.in_flight.to_string()),
        line("Rate", rate),
        line("Deadline of a request", duration(limits.deadline)),
        line("Breaker", format!("opens after {} failures in a row, for {} at first", limits.breaker_failures, duration(limits.breaker_open))),
        line("Tried again", format!("after {} at first, {} at most", duration(retry.first), duration(retry.max))),
        line("Given up", give_up),
        line("Shares its rate with", credential.clone().unwrap_or_else(|| "nobody".to_owned())),
        line("Proxy", if route.proxy.is_some() { "one of its own" } else { "the environment's, if any" }.to_owned()),
    ]
}

/// The platform's own keys as they stand in the file, without secrets.
fn keys(to: &Destination) -> Lines {
    let mut lines = vec![("platform".to_owned(), to.platform.platform().to_owned())];
    for (key, value) in &to.shown {
        flat(&mut lines, key.clone(), value);
    }
    lines
}

fn flat(lines: &mut Lines, key: String, value: &toml::Value) {
    match value {
        toml::Value::Table(table) if !table.is_empty() => table.iter().for_each(|(below, value)| flat(lines, format!("{key}.{below}"), value)),
        toml::Value::String(text) => lines.push((key, text.clone())),
        other => lines.push((key, serde_json::to_string(other).unwrap_or_default())),
    }
}

/// What is true of the platform, and what ends when.
fn facts(to: &Destination, metrics: &Metrics, now: Timestamp) -> Lines {
    let Facts { batch_max, age_max, refund, resend, .. } = to.platform.facts();
    let refund = match refund {
        RefundShape::None => "it takes none",
        RefundShape::Restate => "the rest of the value is stated again",
        RefundShape::Cancel => "the order is cancelled",
        RefundShape::Event => "an event of their own",
        RefundShape::Negative => "a negative value",
    };
    let resend = match resend {
        Resend::Safe => "counts once: what may have arrived is sent again".to_owned(),
        Resend::Within(time) => format!("counts once for {}; later, what may have arrived becomes unknown", duration(time)),
        Resend::Never => "counts twice: what may have arrived becomes unknown".to_owned(),
    };
    let for_ever = |value: Option<Duration>| value.map_or_else(|| "no limit".to_owned(), duration);
    let mut lines = vec![
        ("Refunds".to_owned(), refund.to_owned()),
        ("A repeat".to_owned(), resend),
        ("Events a request".to_owned(), batch_max.to_string()),
        ("Takes events up to an age of".to_owned(), for_ever(age_max)),
    ];
    if let Some(ends) = to.platform.version_ends() {
        lines.push(("This version of its API ends".to_owned(), day(ends, now)));
    }
    let meters = metrics.meters();
    for (token, ends) in meters.iter().filter(|meter| meter.about.destination == to.name).flat_map(|meter| meter.tokens().collect::<Vec<_>>()) {
        if let Ok(ends) = Timestamp::from_second(ends) {
            lines.push((format!("The {token} token ends"), format!("{} UTC", ends.strftime("%Y-%m-%d %H:%M"))));
        }
    }
    lines
}

fn day(ends: Timestamp, now: Timestamp) -> String {
    let days = ends.duration_since(now).as_secs() / 86_400;
    let date = ends.strftime("%-d %B %Y");
    if ends < now { format!("{date}: it has ended") } else { format!("{date}, in {days} days") }
}
