//! `[destination.NAME]`: what all platforms have in common; the rest is the platform's own.

use std::{cell::RefCell, collections::BTreeSet, sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};

use super::{Daemon, section::Section};
use crate::{
    click,
    delivery::Rate,
    destination::{Basis, Destination, Limits, Mode, RetryPolicy, Route, Start},
    event::Kind,
    platform::Settings,
    route::Filter,
    secret::Secret,
    words::{duration, hint},
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Reads one, with its fingerprint: a digest of everything that it is made of, secrets and certificates included. It never
/// leaves the process; a reload compares it. `None` when it is too wrong to go on; the problems say why.
pub(super) fn read(name: &str, table: &Section<'_>, http: &Route, daemon: &Daemon) -> Option<(Destination, String)> {
    if name.is_empty() || name.len() > 63 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        table.problem("", "a name is up to 63 letters, digits, - _ or .; it is also the key of its rows in the database");
    }
    let platform = table.text("platform");
    if platform.is_none() && !table.has("platform") {
        table.problem("platform", format!("it is missing; known: {}", Settings::KNOWN.join(", ")));
    }
    let relay = platform.as_deref() == Some("apple_relay");
    let apple = table.flag("apple").unwrap_or(relay);
    let kinds = kinds(table, apple);
    if apple && !kinds.contains(&Kind::Install) && !kinds.contains(&Kind::Custom) {
        table.problem("kinds", "Apple's postbacks are of the kinds install and custom: add one of them, or leave apple out");
    }
    if relay && !apple {
        table.problem("apple", "apple_relay takes nothing but Apple's postbacks: leave the key out");
    }
    let when = table.text("when").and_then(|source| Filter::parse(&source).map_err(|why| table.problem("when", why)).ok());
    let consent = table.texts("consent").unwrap_or_default();
    let clicks = table.texts("click").unwrap_or_default();
    for name in clicks.iter().filter(|name| !click::is_known(name)) {
        let hint = hint(name, click::known());
        if !hint.is_empty() {
            table.warn("click", format!("{name:?} is no click id that is known{hint}"));
        }
    }
    if apple && (!consent.is_empty() || !clicks.is_empty()) {
        let key = if consent.is_empty() { "click" } else { "consent" };
        table.warn(key, "Apple's postbacks carry neither consent nor click ids, so that none of them reaches this destination");
    }
    let mode = table.choice("mode", &[("live", Mode::Live), ("test", Mode::Test), ("shadow", Mode::Shadow)]).unwrap_or_default();
    let start = start(table);
    let was = table.text("was");
    let basis = table.choice("value", &BASES);
    let hold = table.duration("hold", Duration::ZERO, Duration::ZERO..=30 * DAY);
    let mut limits = limits(table);
    let credential = table.text("credential");
    let route =
        Route { proxy: table.secret("proxy", table.doc.mode).or_else(|| http.proxy.clone()), ca: table.file("ca").or_else(|| http.ca.clone()) };
    let retry = retry(table);
    if limits.deadline > daemon.drain {
        let (deadline, drain) = (duration(limits.deadline), duration(daemon.drain));
        table.problem(
            "deadline",
            format!("{deadline} is longer than daemon.drain ({drain}): a stop would cut requests off; raise drain to {deadline} or more"),
        );
    }
    if retry.give_up_after > daemon.retention {
        let (give_up, retention) = (duration(retry.give_up_after), duration(daemon.retention));
        table.problem(
            "retry.give_up_after",
            format!("{give_up} is longer than daemon.retention ({retention}): what is to be sent would be gone; raise retention"),
        );
    }
    if hold >= retry.give_up_after {
        table.problem(
            "hold",
            format!("{} is not shorter than retry.give_up_after ({}): everything would be too old", duration(hold), duration(retry.give_up_after)),
        );
    }
    let Own { settings: mut platform, basis, digest, secrets, shown } = settings(table, &platform?, mode, basis)?;
    limits.rate = limits.rate.or(platform.facts().rate());
    // Sending live where "test" is asked for would cost money.
    if mode == Mode::Test
        && let Err(error) = platform.test_mode()
    {
        table.problem(&error.key, format!("platform {:?}: {}", platform.platform(), error.message));
    }
    let fingerprint = fingerprint(table, &route, &secrets);
    let destination = Destination {
        name: Arc::from(name),
        platform,
        kinds,
        apple,
        when,
        consent,
        click: clicks,
        mode,
        start,
        was,
        basis,
        hold,
        route,
        limits,
        credential,
        retry,
        digest,
        shown,
    };
    Some((destination, fingerprint))
}

fn fingerprint(table: &Section<'_>, route: &Route, secrets: &[Secret]) -> String {
    let revealed = secrets.iter().chain(&route.proxy).map(Secret::reveal);
    let mut digest = Sha256::new();
    digest.update(serde_json::json!([table.whole(), revealed.collect::<Vec<_>>(), route.ca]).to_string());
    if let Some(ca) = &route.ca {
        digest.update(std::fs::read(ca).unwrap_or_default());
    }
    hex::encode(digest.finalize())
}

const BASES: [(&str, Basis); 4] = [
    ("gross", Basis { without_tax: false, without_shipping: false }),
    ("net_of_tax", Basis { without_tax: true, without_shipping: false }),
    ("net_of_shipping", Basis { without_tax: false, without_shipping: true }),
    ("net", Basis { without_tax: true, without_shipping: true }),
];

fn kinds(table: &Section<'_>, apple: bool) -> BTreeSet<Kind> {
    let default = || BTreeSet::from(if apple { [Kind::Install, Kind::Custom] } else { [Kind::Purchase, Kind::Refund] });
    let Some(words) = table.texts("kinds") else { return default() };
    let mut kinds = BTreeSet::new();
    for word in &words {
        match word.parse() {
            Ok(Kind::Enrich) => table.problem("kinds", "enrich is never sent: it completes a purchase; leave it out"),
            Ok(Kind::Retract) => table.problem("kinds", "retract follows refund: write \"refund\" instead"),
            Ok(kind) => _ = kinds.insert(kind),
            Err(()) => {
                let known: Vec<&str> = Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Enrich | Kind::Retract)).map(Kind::as_str).collect();
                let hint = hint(word, known.iter().copied());
                table.problem("kinds", format!("there is no kind {word:?}; known: {}{hint}", known.join(", ")));
            }
        }
    }
    if words.is_empty() {
        table.problem("kinds", "an empty list wants nothing: name a kind, or remove the destination");
    }
    if kinds.contains(&Kind::Refund) && !kinds.contains(&Kind::Purchase) {
        table.problem("kinds", "a refund is sent only where its purchase was: add \"purchase\", or leave \"refund\" out");
    }
    kinds
}

fn start(table: &Section<'_>) -> Start {
    match table.text_or_time("start").as_deref() {
        None | Some("now") => Start::Now,
        Some("beginning") => Start::Beginning,
        Some(time) => match time.parse() {
            Ok(time) => Start::At(time),
            Err(_) => {
                table.problem("start", format!("{time:?} is neither \"now\" nor \"beginning\" nor a time with a zone like \"2026-03-01T00:00:00Z\""));
                Start::Now
            }
        },
    }
}

fn limits(table: &Section<'_>) -> Limits {
    let default = Limits::default();
    let breaker = table.section("breaker");
    let limits = Limits {
        in_flight: table.integer("in_flight", 1..=1000).map_or(default.in_flight, |number| number as usize),
        rate: rate(table),
        deadline: table.duration("deadline", default.deadline, Duration::from_millis(100)..=60 * SECOND),
        breaker_failures: breaker.integer("failures", 1..=1000).unwrap_or(default.breaker_failures),
        // It doubles up to five minutes, so that it cannot begin above that.
        breaker_open: breaker.duration("open", default.breaker_open, Duration::from_millis(100)..=300 * SECOND),
    };
    breaker.finish();
    limits
}

/// `per_second`, `per_minute`, `per_hour`: as the platform counts. One after the other at the distances of the slowest keeps all of them.
fn rate(table: &Section<'_>) -> Option<Rate> {
    let second = table.integer("per_second", 1..=100_000).map(Rate::per_second);
    let minute = table.integer("per_minute", 1..=6_000_000).map(Rate::per_minute);
    let hour = table.integer("per_hour", 1..=360_000_000).map(Rate::per_hour);
    [second, minute, hour].into_iter().flatten().reduce(Rate::slower)
}

fn retry(table: &Section<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let keys = table.section("retry");
    let policy = RetryPolicy {
        first: keys.duration("first", default.first, Duration::from_millis(100)..=DAY),
        max: keys.duration("max", default.max, SECOND..=7 * DAY),
        give_up_after: keys.duration("give_up_after", default.give_up_after, 60 * SECOND..=3650 * DAY),
        attempts: keys.integer("attempts", 1..=1_000_000),
    };
    if policy.first > policy.max {
        keys.problem("first", format!("{} is longer than max ({})", duration(policy.first), duration(policy.max)));
    }
    if policy.max > policy.give_up_after {
        keys.problem("max", format!("{} is longer than give_up_after ({})", duration(policy.max), duration(policy.give_up_after)));
    }
    keys.finish();
    policy
}

/// What a destination has of its platform.
struct Own {
    settings: Settings,
    basis: Basis,
    digest: String,
    secrets: Vec<Secret>,
    shown: toml::Table,
}

/// The platform's own keys; the digest of what shapes a request: platform, its keys, mode and value basis, of secrets the
/// references and not the values; and the secrets. The value basis is the platform's usual one where none is said.
fn settings(table: &Section<'_>, platform: &str, mode: Mode, basis: Option<Basis>) -> Option<Own> {
    let (rest, common) = table.rest();
    let written_out = RefCell::new(BTreeSet::new());
    let secrets = RefCell::new(Vec::new());
    let resolve = |value: &toml::Value| {
        if let toml::Value::String(text) = value {
            written_out.borrow_mut().insert(text.clone());
        }
        table.resolve(value, table.doc.mode).inspect(|secret| secrets.borrow_mut().push(secret.clone()))
    };
    let settings = Settings::parse(platform, &rest, &resolve).map_err(|error| {
        let top = error.key.split('.').next().unwrap_or_default();
        let hint = if rest.contains_key(top) { hint(top, common.iter().copied()) } else { String::new() };
        table.problem(&error.key, format!("{}{hint}", error.message));
    });
    let settings = settings.ok()?;
    let basis = basis.unwrap_or_else(|| settings.basis());
    let written_out = written_out.into_inner();
    let mut shown = rest;
    shown.iter_mut().for_each(|(_, value)| hide(value, &written_out));
    let shape = &shown;
    let text = serde_json::json!([platform, shape, format!("{mode:?}"), basis.without_tax, basis.without_shipping]).to_string();
    Some(Own { settings, basis, digest: hex::encode(Sha256::digest(text)), secrets: secrets.into_inner(), shown })
}

/// Secrets written out in the file leave the digest.
fn hide(value: &mut toml::Value, secrets: &BTreeSet<String>) {
    match value {
        toml::Value::String(text) if secrets.contains(text) => "***".clone_into(text),
        toml::Value::Array(items) => items.iter_mut().for_each(|item| hide(item, secrets)),
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, item)| hide(item, secrets)),
        _ => {}
    }
}

/// What concerns several destinations.
pub(super) fn relations(tables: &[(String, Section<'_>)], found: &[Destination]) {
    for (i, (name, table)) in tables.iter().enumerate() {
        if let Some((other, _)) = tables[..i].iter().find(|(other, _)| other.eq_ignore_ascii_case(name)) {
            table.problem("", format!("it differs from destination.{other} in case only: give one of them another name"));
        }
    }
    for (i, destination) in found.iter().enumerate() {
        let (Some(was), Some((_, table))) = (&destination.was, tables.iter().find(|(name, _)| **name == *destination.name)) else { continue };
        if tables.iter().any(|(name, _)| name == was) {
            table.problem(
                "was",
                format!("destination.{was} is still there; it can hand its history over only once it is removed, or leave \"was\" out"),
            );
        } else if let Some(other) = found[..i].iter().find(|other| other.was.as_ref() == Some(was)) {
            table.problem("was", format!("destination.{} was {was:?} already; only one can take its history over", other.name));
        }
    }
}
