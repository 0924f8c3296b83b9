//! Templates in their frame; what goes wrong, in the same frame.

use std::sync::LazyLock;

use axum::{
    Extension,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use jiff::Timestamp;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::{assets, guard::Visitor};
use crate::outbox::DbError;

/// What a template is given: names, each with a value that can be serialized.
macro_rules! values {
    (@ $name:ident) => { &$name };
    (@ $name:ident $value:expr) => { &$value };
    ($($name:ident $(=> $value:expr)?),* $(,)?) => {
        minijinja::Value::from(std::collections::BTreeMap::from([
            $((stringify!($name), minijinja::Value::from(minijinja::value::Serde(values!(@ $name $($value)?))))),*
        ]))
    };
}
pub(super) use values;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no such thing.
    Missing(String),
    /// The address or the form is no sensible question.
    Wrong(String),
    /// It may not be done.
    Forbidden(&'static str),
    /// The database does not answer, or not in time.
    Database(DbError),
}

impl From<DbError> for Fault {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::Missing(text) => (StatusCode::NOT_FOUND, "Not found", text),
            Self::Wrong(text) => (StatusCode::BAD_REQUEST, "This cannot be asked", text),
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, "Nothing was done", text.to_owned()),
            Self::Database(error) => {
                tracing::warn!(error = %error, "a page could not be read from the database");
                let text = "The database does not answer in time. Deliveries go on by themselves as soon as it does; reload this page then.";
                (StatusCode::SERVICE_UNAVAILABLE, "The database does not answer", text.to_owned())
            }
        };
        let visitor = Visitor { can_log_in: true, may_look: true, ..Visitor::default() };
        page(&visitor, status, "fault.html", values! { title, text })
    }
}

/// For what is asked by programs rather than read by people.
pub(super) fn plain(status: StatusCode, text: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{text}\n")).into_response()
}

/// Every other address.
pub(super) async fn no_such_page(Extension(visitor): Extension<Visitor>) -> Response {
    let text = "There is no page at this address.";
    page(&visitor, StatusCode::NOT_FOUND, "fault.html", values! { title => "Not found", text })
}

/// Only ever a place of ours: what follows a login or an action must not lead elsewhere.
pub(super) fn local(to: &str) -> String {
    let ours = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\') && !to.chars().any(char::is_control);
    if ours { to.to_owned() } else { "/".to_owned() }
}

/// A template with its values in the frame that all pages have.
pub(super) fn page(visitor: &Visitor, status: StatusCode, template: &str, values: Value) -> Response {
    let frame = values! {
        style => assets::style(), script => assets::script(), icon => assets::icon(),
        version => env!("CARGO_PKG_VERSION"),
        person => visitor.session.as_ref().map(|session| session.name.as_str()),
        word => visitor.session.as_ref().map(|session| session.word.as_str()),
        can_log_in => visitor.can_log_in,
        may_look => visitor.may_look,
        here => template,
    };
    match fragment(template, context! { ..values, ..frame }) {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            // A template of ours is wrong: a test renders each of them.
            tracing::error!(error = %error, template, "a page could not be rendered");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "This page could not be rendered; the daemon's log says why.")
        }
    }
}

/// A template alone.
pub(super) fn fragment(template: &str, values: Value) -> Result<String, minijinja::Error> {
    let env = TEMPLATES.as_ref().map_err(|error| minijinja::Error::new(minijinja::ErrorKind::TemplateNotFound, error.clone()))?;
    env.get_template(template)?.render(values)
}

macro_rules! templates {
    ($($name:literal)+) => { [$(($name, include_str!(concat!("templates/", $name)))),+] };
}

static TEMPLATES: LazyLock<Result<Environment<'static>, String>> = LazyLock::new(|| {
    let mut env = Environment::new();
    // A value that nobody has put there is a mistake and not nothing.
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.add_filter("time", time);
    env.add_filter("number", number);
    env.add_filter("query", query);
    env.add_filter("tone", tone);
    env.add_filter("hour", hour);
    env.add_filter("age", age);
    env.add_filter("total", total);
    let all = templates!(
        "frame.html" "macros.html" "overview.html" "overview_live.html" "chart.html" "order.html" "waiting.html" "confirm.html" "action.html"
        "actions.html" "apple.html" "destination.html" "report.html" "login.html" "fault.html"
    );
    for (name, source) in all {
        env.add_template(name, source).map_err(|error| error.to_string())?;
    }
    Ok(env)
});

/// `2026-03-01T11:59:58.123Z` as a person reads it. The script makes local times of what stands in `<time>`.
fn time(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// The hour and minute of it.
fn hour(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |at| at.strftime("%H:%M").to_string())
}

/// How long ago, in words that change once a minute at most: what is pushed shall not change for nothing.
fn age(of: &str, now: &str) -> String {
    let (Ok(of), Ok(now)) = (of.parse::<Timestamp>(), now.parse::<Timestamp>()) else { return String::new() };
    match now.duration_since(of).as_secs() {
        ..60 => "under 1 min".to_owned(),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Of the numbers of a map.
fn total(map: &Value) -> i64 {
    map.try_iter().map(|keys| keys.filter_map(|key| map.get_item(&key).ok()).filter_map(|count| i64::try_from(count).ok()).sum()).unwrap_or(0)
}

/// Thousands apart, by spaces that do not break.
pub(super) fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// For a value in a query of ours.
fn query(value: &Value) -> String {
    query_text(value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str())
}

/// The same.
pub(super) fn query_text(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The page of a destination. Names hold nothing that an address would not.
pub(super) fn destination(name: &str) -> String {
    format!("/destination/{}", query_text(name))
}

/// Whether a state is well, on its way, for a person, or nothing to think of.
fn tone(state: &str) -> &'static str {
    match state {
        "delivered" | "accepted" | "closed" | "verified" => "good",
        "dead" | "unknown" | "halted" | "open" | "unverifiable" => "bad",
        "retrying" | "retry" | "parked" | "paused" | "probing" | "ramping" | "throttled" | "limited" | "failed" => "wait",
        "waiting" | "held" | "sending" | "not read yet" => "way",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_templates() {
        assert!(TEMPLATES.as_ref().is_ok(), "{:?}", TEMPLATES.as_ref().err());
    }

    #[test]
    fn numbers_and_places() {
        assert_eq!((number(7), number(1_234_567), number(-1_000)), ("7".into(), "1\u{202f}234\u{202f}567".into(), "-1\u{202f}000".into()));
        for (to, want) in
            [("/order?ref=1", "/order?ref=1"), ("//evil.example/", "/"), ("https://evil.example/", "/"), ("/\\evil.example", "/"), ("", "/")]
        {
            assert_eq!(local(to), want, "{to}");
        }
    }
}
