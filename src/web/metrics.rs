//! `/metrics`: Prometheus' text format, version 0.0.4. What this process counts, then what the database says.

use std::{
    collections::HashMap,
    fmt::{Display, Write as _},
};

use crate::{
    apple,
    metrics::{BREAKER, Metrics, histogram::Counted, names, names::Described},
    observe::{Found, Seen, age},
};

/// `Content-Type` of it.
pub(super) const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page. `ready`: whether /ready answers 200 now.
pub(super) fn page(metrics: &Metrics, seen: &Seen, ready: bool) -> String {
    let mut page = Page::default();
    page.one(&names::BUILD, &[env!("CARGO_PKG_VERSION")], 1);
    page.one(&names::READY, &[], u8::from(ready));
    process(&mut page, metrics);
    database(&mut page, seen);
    page.text()
}

fn process(page: &mut Page, metrics: &Metrics) {
    page.one(&names::OWNER, &[], u8::from(metrics.epoch().is_some()));
    metrics.epoch().into_iter().for_each(|epoch| page.one(&names::EPOCH, &[], epoch));
    metrics.last_look().into_iter().for_each(|at| page.one(&names::LOOKED, &[], at));
    metrics.listening().into_iter().for_each(|up| page.one(&names::LISTEN, &[], u8::from(up)));
    metrics.untold_orders().into_iter().for_each(|orders| page.one(&names::PAID_WITHOUT_EVENT, &[], orders));
    metrics.events_read().for_each(|(kind, count)| page.one(&names::READ, &[kind], count));
    for meter in metrics.meters() {
        let name: &str = &meter.about.destination;
        page.one(&names::INFO, &[name, meter.about.platform, meter.about.mode], 1);
        for (kind, outcome, count) in meter.deliveries() {
            page.one(&names::DELIVERIES, &[name, meter.about.platform, kind, outcome], count);
        }
        meter.requests().for_each(|(purpose, class, count)| page.one(&names::REQUESTS, &[name, purpose, class], count));
        page.histogram(&names::DURATION, &[name], &meter.request.counted());
        page.histogram(&names::FIRST, &[name], &meter.first.counted());
        page.histogram(&names::DELIVERED, &[name], &meter.delivered.counted());
        page.one(&names::IN_FLIGHT, &[name], meter.in_flight());
        if let Some(state) = meter.breaker() {
            BREAKER.iter().for_each(|one| page.one(&names::BREAKER, &[name, one], u8::from(*one == state)));
        }
        meter.about.version_ends.into_iter().for_each(|ends| page.one(&names::VERSION_ENDS, &[name], ends.as_second()));
        meter.tokens().for_each(|(token, ends)| page.one(&names::TOKEN_ENDS, &[name, token], ends));
        meter.tokens_missed().for_each(|(why, count)| page.one(&names::TOKENS_MISSED, &[name, why], count));
    }
    metrics.hooks().for_each(|(hook, outcome, count)| page.one(&names::HOOKS, &[hook, outcome], count));
    for apple::count::Count { label, count } in apple::count::snapshot() {
        page.one(&names::APPLE, &[label.protocol, label.version, label.verdict, label.reason], count);
    }
}

fn database(page: &mut Page, seen: &Seen) {
    page.one(&names::DATABASE_UP, &[], u8::from(!matches!(seen.found, Found::Away(_))));
    page.one(&names::DATABASE_STANDBY, &[], u8::from(matches!(seen.found, Found::Standby)));
    page.one(&names::SEEN, &[], seen.at.as_millisecond() as f64 / 1e3);
    page.one(&names::SEEING, &[], seen.took.as_secs_f64());
    let Found::Here(status) = &seen.found else { return };
    let since = |at: Option<jiff::Timestamp>| at.map_or(0.0, |at| age(at, status.now).as_secs_f64());
    page.one(&names::OWNED, &[], u8::from(status.owned));
    page.one(&names::DAEMONS, &[], status.daemons.len());
    page.one(&names::STREAM, &[], status.last_seq);
    page.one(&names::UNREAD, &[], status.unread);
    page.one(&names::WINDOW_LAG, &[], since(status.unread_since));
    page.one(&names::TROUBLE, &[], status.trouble);
    for one in &status.destinations {
        let name = one.destination.as_str();
        page.one(&names::WAITING, &[name], one.waiting);
        for (state, count) in [
            ("retrying", one.retrying),
            ("held", one.held),
            ("parked", one.parked),
            ("sending", one.sending),
            ("accepted", one.accepted),
            ("dead", one.dead),
            ("unknown", one.unknown),
        ] {
            page.one(&names::PENDING, &[name, state], count);
        }
        page.one(&names::OLDEST, &[name], since(one.oldest));
        page.one(&names::OVERDUE, &[name], since(one.overdue));
        page.one(&names::HALTED, &[name], u8::from(one.halted.is_some()));
        page.one(&names::PAUSED, &[name], u8::from(one.paused));
        page.one(&names::WORKED, &[name], u8::from(one.worked));
    }
}

/// Lines by metric: what belongs together stands together, whatever the order in which it was found.
#[derive(Default)]
struct Page(HashMap<&'static str, String>);

impl Page {
    fn one(&mut self, what: &Described, values: &[&str], value: impl Display) {
        let lines = self.0.entry(what.name).or_default();
        line(lines, what.name, what.labels, values, value);
    }

    fn histogram(&mut self, what: &Described, values: &[&str], counted: &Counted) {
        let lines = self.0.entry(what.name).or_default();
        let (labels, mut sum) = ([what.labels, &["le"]].concat(), 0);
        for (bound, count) in &counted.buckets {
            sum += count;
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            line(lines, &format!("{}_bucket", what.name), &labels, &[values, &[bound.as_str()]].concat(), sum);
        }
        line(lines, &format!("{}_sum", what.name), what.labels, values, counted.sum);
        line(lines, &format!("{}_count", what.name), what.labels, values, counted.count);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for one in names::ALL {
            if let Some(lines) = self.0.get(one.name) {
                let _ = write!(text, "# HELP {} {}.\n# TYPE {} {}\n{lines}", one.name, one.help, one.name, one.metric.as_str());
            }
        }
        text
    }
}

fn line(lines: &mut String, name: &str, labels: &[&str], values: &[&str], value: impl Display) {
    lines.push_str(name);
    for (place, (label, value)) in labels.iter().zip(values).enumerate() {
        let _ = write!(lines, "{}{label}=\"{}\"", if place == 0 { '{' } else { ',' }, escaped(value));
    }
    let _ = writeln!(lines, "{} {value}", if labels.is_empty() { "" } else { "}" });
}

/// A destination's name may hold whatever TOML takes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        event::Kind,
        metrics::{About, Meter},
    };

    fn away() -> Seen {
        Seen { at: jiff::Timestamp::UNIX_EPOCH, took: Duration::from_millis(1), found: Found::Away("it does not answer".into()) }
    }

    #[test]
    fn hostile_names_are_values_and_nothing_else() {
        let metrics = Metrics::default();
        metrics.meter(About { destination: "a\"} 1\nevil \\".into(), platform: "postback", mode: "live", ..About::default() });
        let text = page(&metrics, &away(), false);
        assert!(text.contains(r#"postbackd_destination_info{destination="a\"} 1\nevil \\",platform="postback",mode="live"} 1"#), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("evil")), "{text}");
    }

    #[test]
    fn buckets_add_up() {
        let metrics = Metrics::default();
        let meter: Arc<Meter> = metrics.meter(About { destination: "a".into(), kinds: [Kind::Lead].into(), ..About::default() });
        [5, 50, 500_000_000].into_iter().for_each(|millis| meter.first.observe(Duration::from_millis(millis)));
        let text = page(&metrics, &away(), true);
        let value =
            |line: &str| text.lines().find_map(|have| have.strip_prefix(line)).unwrap_or_else(|| panic!("no {line}: {text}")).trim().to_owned();
        let bucket = |le: &str| value(&format!("postbackd_event_to_first_attempt_seconds_bucket{{destination=\"a\",le=\"{le}\"}}"));
        assert_eq!([bucket("0.01"), bucket("0.05"), bucket("86400"), bucket("+Inf")], ["1", "2", "2", "3"]);
        assert_eq!(value("postbackd_event_to_first_attempt_seconds_count{destination=\"a\"}"), "3");
        assert_eq!((value("postbackd_ready"), value("postbackd_database_up")), ("1".into(), "0".into()));
        assert!(!text.contains("postbackd_trouble_rows"), "what is not known is not told");
    }
}
