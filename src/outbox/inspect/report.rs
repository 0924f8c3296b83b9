//! What was paid and what each platform was told of it, by day: numbers that balance, or the difference by its name.
//!
//! Everything is reckoned from the rows as they stand: nothing is summed up ahead, so that a refund after weeks, a delivery that was
//! resolved by hand or a restatement that covers several refunds shows in the day of its order. See sql/report.sql for the plan.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use rust_decimal::Decimal;
use serde::Serialize;
use tokio_postgres::{Client, Row, types::Type};

use super::super::{DbError, Param};
use crate::{delivery::RefundShape, event::decimal, money::Currency};

mod csv;
mod money;

pub use csv::csv;
pub use money::{BookDay, Books, Difference, Money};

/// What a report is about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// First day.
    pub from: Date,
    /// Last day, included.
    pub to: Date,
    /// IANA name of the zone in which days begin at midnight.
    pub zone: String,
    /// One destination; `None`: all that have begun.
    pub destination: Option<String>,
    /// What the configuration says, where there is one.
    pub terms: Vec<Terms>,
}

/// How a destination is told money. Without it a report takes it that gross values are told and every refund is an event of its own.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Its name.
    pub destination: String,
    /// How its platform takes refunds.
    pub refunds: RefundShape,
    /// Values are told without `more.tax`.
    pub without_tax: bool,
    /// Values are told without `more.shipping`.
    pub without_shipping: bool,
}

/// A report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `2026-03-01`.
    pub from: String,
    /// Included.
    pub to: String,
    /// Zone of the days.
    pub zone: String,
    /// The database's clock.
    pub at: Timestamp,
    /// By day, then destination.
    pub lines: Vec<Line>,
    /// The shop's books beside the ledger.
    pub books: Books,
}

impl Report {
    /// Nothing is in no state, nothing unexplained, and the books agree.
    pub fn balances(&self) -> bool {
        self.lines.iter().all(Line::balances) && self.books.days.iter().all(|day| day.balances)
    }
}

/// A day at a destination.
#[derive(Debug, Serialize)]
pub struct Line {
    /// `2026-03-01`.
    pub day: String,
    /// Where.
    pub destination: String,
    /// Orders of the day.
    pub orders: Counts,
    /// Refunds and retracts of the day, whenever their orders were.
    pub refunds: Counts,
    /// Money of the day's orders by currency, with all that was told back of them to this moment.
    pub money: Vec<Money>,
}

impl Line {
    /// Nothing is in no state and nothing unexplained.
    pub fn balances(&self) -> bool {
        let zero = |text: &str| text.chars().all(|c| c == '0' || c == '.');
        self.orders.balances() && self.refunds.balances() && self.money.iter().all(|money| zero(&money.unexplained))
    }
}

/// How many are in which state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All.
    pub total: i64,
    /// The platform has them.
    pub delivered: i64,
    /// Not told, by reason.
    pub skipped: BTreeMap<String, i64>,
    /// Taken back before they were told.
    pub annulled: i64,
    /// On their way: in their turn, held, parked, retrying, on the wire.
    pub waiting: i64,
    /// The platform has taken them and confirms later.
    pub accepted: i64,
    /// Perhaps told: a person resolves them.
    pub unknown: i64,
    /// Given up, by reason; those that a person discarded too.
    pub dead: BTreeMap<String, i64>,
    /// In no state: what does not balance.
    pub unaccounted: i64,
}

impl Counts {
    /// Whether everything is in a state.
    pub fn balances(&self) -> bool {
        self.unaccounted == 0 && self.total == self.sum()
    }

    /// Of all states.
    pub fn sum(&self) -> i64 {
        let reasons = |map: &BTreeMap<String, i64>| map.values().sum::<i64>();
        self.delivered + reasons(&self.skipped) + self.annulled + self.waiting + self.accepted + self.unknown + reasons(&self.dead)
    }

    fn add(&mut self, state: &str, reason: Option<&str>, count: i64) {
        self.total += count;
        match state {
            "delivered" => self.delivered += count,
            "skipped" => *slot(&mut self.skipped, &class(reason)) += count,
            "dead" => *slot(&mut self.dead, &class(reason)) += count,
            "annulled" => self.annulled += count,
            "accepted" => self.accepted += count,
            "unknown" => self.unknown += count,
            "waiting" | "retrying" | "held" | "parked" | "sending" => self.waiting += count,
            _ => self.unaccounted += count,
        }
    }
}

/// Reasons that one line names; the rest is counted together.
const REASONS_MAX: usize = 30;

fn slot<'a>(map: &'a mut BTreeMap<String, i64>, reason: &str) -> &'a mut i64 {
    let key = if map.contains_key(reason) || map.len() < REASONS_MAX { reason } else { "other reasons" };
    map.entry(key.to_owned()).or_default()
}

/// A reason without what differs from one event to the next: ages, amounts, ids.
pub(super) fn class(reason: Option<&str>) -> String {
    let Some(reason) = reason.filter(|reason| !reason.is_empty()) else { return "no reason given".to_owned() };
    if reason.starts_with("too old: ") {
        return "too old".to_owned();
    }
    let mut text = String::new();
    for c in reason.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }) {
        if !(c == '0' && text.ends_with('0')) {
            text.push(c);
        }
    }
    // A status is a class of its own.
    if text.contains("HTTP 0") { reason.split(';').next().unwrap_or(reason).to_owned() } else { text.replace('0', "N") }
}

/// The report. Reads only, in one transaction of its own, within two minutes.
pub async fn report(db: &Client, asked: &Asked) -> Result<Report, DbError> {
    db.batch_execute("begin isolation level repeatable read read only; set local statement_timeout = '2min'").await?;
    let result = within_snapshot(db, asked).await;
    // Whatever was refused has ended the transaction; the session goes on.
    db.batch_execute("rollback").await?;
    result
}

async fn within_snapshot(db: &Client, asked: &Asked) -> Result<Report, DbError> {
    let (from, to) = (asked.from.to_string(), asked.to.to_string());
    let days: [Param<'_>; 3] = [(&from, Type::TEXT), (&to, Type::TEXT), (&asked.zone, Type::TEXT)];
    let at = db.query_typed("select clock_timestamp()", &[]).await?.first().map(|row| row.get(0)).unwrap_or(Timestamp::UNIX_EPOCH);
    // First, because a query of the shop's that fails ends no more than itself, and is planned as its owner would have it.
    let books = money::books(db, &days).await?;
    // Statistics of young tables mislead the planner; every step has an index.
    db.batch_execute(
        "set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off; set local jit = off",
    )
    .await?;
    let names: Vec<&str> = asked.terms.iter().map(|terms| terms.destination.as_str()).collect();
    let shapes: Vec<&str> = asked.terms.iter().map(|terms| shape(terms.refunds)).collect();
    let tax: Vec<bool> = asked.terms.iter().map(|terms| terms.without_tax).collect();
    let shipping: Vec<bool> = asked.terms.iter().map(|terms| terms.without_shipping).collect();
    let [from_day, to_day, zone] = days;
    let params: [Param<'_>; 8] = [
        from_day,
        to_day,
        zone,
        (&asked.destination, Type::TEXT),
        (&names, Type::TEXT_ARRAY),
        (&shapes, Type::TEXT_ARRAY),
        (&tax, Type::BOOL_ARRAY),
        (&shipping, Type::BOOL_ARRAY),
    ];
    let rows = db.query_typed(include_str!("../../../sql/report.sql"), &params).await?;
    Ok(Report { from, to, zone: asked.zone.clone(), at, lines: lines(&rows)?, books })
}

fn shape(refunds: RefundShape) -> &'static str {
    match refunds {
        RefundShape::None => "none",
        RefundShape::Restate => "restate",
        RefundShape::Cancel => "cancel",
        RefundShape::Event => "event",
        RefundShape::Negative => "negative",
    }
}

fn lines(rows: &[Row]) -> Result<Vec<Line>, DbError> {
    type Sums = (Counts, Counts, BTreeMap<String, money::Sum>);
    let mut lines: BTreeMap<(String, String), Sums> = BTreeMap::new();
    for row in rows {
        let (orders, refunds, sums) = lines.entry((row.get(1), row.get(2))).or_default();
        let (state, reason, count): (Option<&str>, Option<&str>, i64) = (row.get(4), row.get(5), row.get(6));
        let state = state.unwrap_or_default();
        let currency = currency(row.get(3));
        match row.get(0) {
            "order" => {
                orders.add(state, reason, count);
                sums.entry(currency).or_default().order(row, state, reason, count)?;
            }
            "over" => sums.entry(currency).or_default().over(amount(row, 7)?, state, reason, count),
            _ => refunds.add(state, reason, count),
        }
    }
    let line = |((day, destination), (orders, refunds, sums)): ((String, String), Sums)| Line {
        day,
        destination,
        orders,
        refunds,
        money: sums.into_iter().map(|(currency, sum)| sum.finish(currency)).collect(),
    };
    Ok(lines.into_iter().map(line).collect())
}

/// As it is shown: what is no currency at all is a question mark.
fn currency(text: Option<&str>) -> String {
    text.and_then(Currency::parse).map_or_else(|| "?".to_owned(), |currency| currency.to_string())
}

/// A column of decimal text; NULL is nothing.
fn amount(row: &Row, column: usize) -> Result<Decimal, DbError> {
    let text: Option<&str> = row.get(column);
    text.map_or(Ok(Decimal::ZERO), |text| decimal(text).ok_or_else(|| DbError::Unexpected("a sum is no amount of money".into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_by_what_they_have_in_common() {
        for (reason, want) in [
            (None, "no reason given"),
            (Some("no gclid"), "no gclid"),
            (Some("too old: 91 days, and meta does not take it any more"), "too old"),
            (Some("HTTP 400; try 17"), "HTTP 400"),
            (Some("older than 7 days takes"), "older than N days takes"),
            (Some("4711 bytes, and x takes 1000 at most"), "N bytes, and x takes N at most"),
        ] {
            assert_eq!(class(reason), want);
        }
    }

    #[test]
    fn counts_balance_or_say_so_and_stay_few() {
        let mut counts = Counts::default();
        for n in 0..100 {
            counts.add("skipped", Some(&format!("reason {}", char::from(b'A' + n % 50))), 1);
        }
        for state in ["delivered", "accepted", "unknown", "waiting", "held", "parked", "retrying", "sending", "dead", "annulled"] {
            counts.add(state, None, 2);
        }
        assert!(counts.balances() && counts.total == 120 && counts.waiting == 10, "{counts:?}");
        assert_eq!(counts.skipped.len(), REASONS_MAX + 1);
        counts.add("nothing", None, 1);
        assert!(!counts.balances());
    }
}
