//! Deliveries of the last hours as bars, drawn here: an SVG that needs no script, and the same numbers as a table.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::outbox::inspect::Tally;

/// Seconds of a tally.
const STEP: i64 = 300;
/// Six hours.
const STEPS: i64 = 72;
const HEIGHT: f64 = 120.0;
/// Of a bar with the gap behind it, in percent of the chart's width.
const WIDTH: f64 = 100.0 / STEPS as f64;

/// From when on tallies are drawn.
pub(super) fn since(now: Timestamp) -> Timestamp {
    Timestamp::from_second((now.as_second().div_euclid(STEP) - STEPS + 1) * STEP).unwrap_or(now)
}

/// What outcomes are drawn together: delivered (or accepted), skipped on purpose, tried and to be tried again, given up.
const GROUPS: [(&str, &str, &[&str]); 4] = [
    ("good", "delivered", &["delivered", "accepted"]),
    ("none", "skipped", &["skipped", "annulled"]),
    ("wait", "tried in vain", &["retry"]),
    ("bad", "dead or unknown", &["dead", "unknown"]),
];

/// What the template draws.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    height: f64,
    bars: Vec<Bar>,
    hours: Vec<Mark>,
    most: i64,
    totals: Vec<Total>,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Bar {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    tone: &'static str,
}

#[derive(Debug, Serialize)]
struct Mark {
    x: f64,
    at: Timestamp,
}

#[derive(Debug, Serialize)]
struct Total {
    tone: &'static str,
    name: &'static str,
    count: i64,
}

#[derive(Debug, Serialize)]
struct Row {
    at: Timestamp,
    counts: Vec<i64>,
}

impl Chart {
    /// Of all these, or of one destination's.
    pub(super) fn of(tallies: &[Tally], destination: Option<&str>, now: Timestamp) -> Self {
        let since = since(now).as_second();
        let mut steps = vec![[0_i64; GROUPS.len()]; STEPS as usize];
        for tally in tallies.iter().filter(|tally| destination.is_none_or(|name| name == tally.destination)) {
            let group = GROUPS.iter().position(|(_, _, outcomes)| outcomes.contains(&tally.outcome.as_str()));
            let step = usize::try_from((tally.at.as_second() - since).div_euclid(STEP)).ok().and_then(|step| steps.get_mut(step));
            if let (Some(group), Some(step)) = (group, step) {
                step[group] += tally.count;
            }
        }
        let most = steps.iter().map(|step| step.iter().sum::<i64>()).max().unwrap_or(0);
        let (mut bars, mut hours, mut rows) = (Vec::new(), Vec::new(), BTreeMap::<i64, [i64; GROUPS.len()]>::new());
        for (n, step) in steps.iter().enumerate() {
            let (x, at) = (round(n as f64 * WIDTH), since + n as i64 * STEP);
            if at % 3600 == 0 {
                hours.push(Mark { x, at: moment(at) });
            }
            let mut y = HEIGHT;
            for ((tone, ..), count) in GROUPS.iter().zip(step).filter(|(_, count)| **count > 0) {
                // What is there is to be seen, however small it is beside the rest.
                let height = (*count as f64 / most as f64 * (HEIGHT - 8.0)).max(1.5);
                y -= height;
                bars.push(Bar { x: round(x + WIDTH * 0.1), y: round(y), width: round(WIDTH * 0.8), height: round(height), tone });
            }
            let hour = rows.entry(at.div_euclid(3600) * 3600).or_default();
            hour.iter_mut().zip(step).for_each(|(all, count)| *all += count);
        }
        let total = |n: usize| steps.iter().map(|step| step[n]).sum();
        Self {
            height: HEIGHT,
            bars,
            hours,
            most,
            totals: GROUPS.iter().enumerate().map(|(n, (tone, name, _))| Total { tone, name, count: total(n) }).collect(),
            rows: rows.into_iter().rev().map(|(at, counts)| Row { at: moment(at), counts: counts.to_vec() }).collect(),
        }
    }
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tally_stands_in_its_bar_and_in_its_row() {
        let now: Timestamp = "2026-03-01T12:03:00Z".parse().expect("a time");
        let tally =
            |at: &str, outcome: &str, count| Tally { destination: "d".into(), at: at.parse().expect("a time"), outcome: outcome.into(), count };
        let tallies = [
            tally("2026-03-01T12:00:00Z", "delivered", 90),
            tally("2026-03-01T12:00:00Z", "dead", 10),
            tally("2026-03-01T11:55:00Z", "accepted", 50),
            tally("2026-03-01T06:00:00Z", "delivered", 1_000),
        ];
        let chart = Chart::of(&tallies, None, now);
        assert_eq!((chart.most, chart.bars.len()), (100, 3), "{chart:?}");
        assert!((98.0..100.0).contains(&chart.bars[2].x), "the last bar is now: {chart:?}");
        assert_eq!((chart.rows[0].counts.clone(), chart.rows[1].counts.clone()), (vec![90, 0, 0, 10], vec![50, 0, 0, 0]));
        assert_eq!(chart.totals.iter().map(|total| total.count).sum::<i64>(), 150);
        assert_eq!(Chart::of(&tallies, Some("e"), now).most, 0);
    }
}
