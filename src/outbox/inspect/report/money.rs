//! The money of a report: what was paid, what was told of it, and every difference by its name.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::{Param, amount, class, currency};
use crate::{
    money::{Currency, fixed},
    outbox::DbError,
};

/// Money of a day's orders at one destination, in one currency. Decimal texts in major units.
#[derive(Debug, Serialize)]
pub struct Money {
    /// ISO 4217; `?` where the shop told none.
    pub currency: String,
    /// Of all orders of the day, whatever became of them there.
    pub paid: String,
    /// Of those, given back since, or taken back whole.
    pub taken_back: String,
    /// What the platform should have in the end: paid less taken back.
    pub expected: String,
    /// Said to the platform with the purchases.
    pub told: String,
    /// Of that, with purchases that the platform has not confirmed yet.
    pub accepted: String,
    /// Said to the platform with refunds.
    pub told_back: String,
    /// What the platform has: told less told back.
    pub net: String,
    /// Why `expected` and `net` differ; the values add up to the difference.
    pub differences: Vec<Difference>,
    /// What none of them explains: zero, or something is wrong.
    pub unexplained: String,
}

/// One reason for a difference.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// In words.
    pub why: String,
    /// Orders concerned.
    pub orders: i64,
    /// Positive: the platform has less than it should have.
    pub value: String,
    /// It is the platform's way, or the configuration's, and nobody can do anything about it.
    pub known: bool,
}

/// The shop's books of the report's days.
#[derive(Debug, Default, Serialize)]
pub struct Books {
    /// Why nothing can be compared; `None`: it was.
    pub unknown: Option<String>,
    /// By day and currency.
    pub days: Vec<BookDay>,
}

/// A day of the books beside the ledger; an order belongs to the day on which the books have it as paid.
#[derive(Debug, Serialize)]
pub struct BookDay {
    /// `2026-03-01`.
    pub day: String,
    /// ISO 4217; `?` where there is none.
    pub currency: String,
    /// Paid orders in the books.
    pub orders: i64,
    /// Their value.
    pub value: String,
    /// Given back of it.
    pub refunded: String,
    /// The same orders as they were told to postbackd, and those that the books do not have.
    pub events: i64,
    /// Their value.
    pub events_value: String,
    /// Given back of it.
    pub events_refunded: String,
    /// Value in the books less value of the events, by reason.
    pub differences: Vec<Difference>,
    /// Refunds in the books less those that were told, by reason.
    pub refund_differences: Vec<Difference>,
    /// Whether books and events are the same to the last cent.
    pub balances: bool,
    /// What no reason explains: zero, or something is wrong.
    pub unexplained: String,
}

/// Adds up while rows are read.
#[derive(Debug, Default)]
pub(super) struct Sum {
    paid: Decimal,
    taken_back: Decimal,
    told: Decimal,
    accepted: Decimal,
    told_back: Decimal,
    differences: BTreeMap<(bool, String), (i64, Decimal)>,
}

impl Sum {
    /// A row of orders in one state.
    pub(super) fn order(&mut self, row: &Row, state: &str, reason: Option<&str>, count: i64) -> Result<(), DbError> {
        let (paid, back, told) = (amount(row, 7)?, amount(row, 8)?, amount(row, 9)?);
        self.paid += paid;
        self.taken_back += back;
        self.told += told;
        self.told_back += amount(row, 10)?;
        if state == "accepted" {
            self.accepted += told;
        }
        match state {
            "delivered" | "accepted" => self.differ(true, "told without tax or shipping, or rounded".into(), count, amount(row, 11)?),
            "skipped" => self.differ(false, format!("not told: {}", class(reason)), count, paid - back),
            "dead" => self.differ(false, format!("dead: {}", class(reason)), count, paid - back),
            "annulled" => self.differ(true, "taken back before it was told".into(), count, paid - back),
            "unknown" => self.differ(false, "unknown: a person resolves it".into(), count, paid - back),
            "nothing" | "" => self.differ(false, "in no state".into(), count, paid - back),
            _ => self.differ(false, "not told yet".into(), count, paid - back),
        }
        Ok(())
    }

    /// The platform has more than it should have, because of a refund in this state.
    pub(super) fn over(&mut self, too_much: Decimal, state: &str, reason: Option<&str>, count: i64) {
        let known = reason.is_some_and(|reason| ["platform takes no refunds", "platform cancels whole orders only"].contains(&reason));
        let why = match state {
            "skipped" => class(reason),
            "dead" => format!("dead: {}", class(reason)),
            "unknown" => "unknown: a person resolves it".to_owned(),
            "" => "told otherwise than booked".to_owned(),
            _ => "not told yet".to_owned(),
        };
        self.differ(known, format!("refund: {why}"), count, -too_much);
    }

    fn differ(&mut self, known: bool, why: String, orders: i64, value: Decimal) {
        if !value.is_zero() {
            let sum = self.differences.entry((known, why)).or_default();
            sum.0 += orders;
            sum.1 += value;
        }
    }

    pub(super) fn finish(self, currency: String) -> Money {
        let Self { paid, taken_back, told, accepted, told_back, differences } = self;
        let (expected, net) = (paid - taken_back, told - told_back);
        let named: Decimal = differences.values().map(|(_, value)| value).sum();
        let text = |value: Decimal| text(value, &currency);
        let difference = |((known, why), (orders, value)): ((bool, String), (i64, Decimal))| Difference { why, orders, value: text(value), known };
        let (paid, taken_back, expected_text, told, accepted, told_back, net_text) =
            (text(paid), text(taken_back), text(expected), text(told), text(accepted), text(told_back), text(net));
        let unexplained = text(expected - net - named);
        let differences = differences.into_iter().map(difference).collect();
        Money { paid, taken_back, expected: expected_text, told, accepted, told_back, net: net_text, differences, unexplained, currency }
    }
}

/// With the currency's digits, or more where the amount has more.
fn text(value: Decimal, currency: &str) -> String {
    let digits = Currency::parse(currency).map_or(2, |currency| currency.exponent());
    fixed(value, digits.max(value.normalize().scale()))
}

/// Reads the books within the report's snapshot; what is wrong with them is no error of the report.
pub(super) async fn books(db: &Client, days: &[Param<'_>; 3]) -> Result<Books, DbError> {
    db.batch_execute("savepoint books").await?;
    match db.query_typed(include_str!("../../../../sql/report_books.sql"), days).await {
        Ok(rows) => {
            db.batch_execute("release savepoint books").await?;
            Ok(Books { unknown: None, days: rows.iter().map(day).collect::<Result<_, _>>()? })
        }
        Err(error) => {
            let Some(server) = error.as_db_error() else { return Err(error.into()) };
            // The text of other errors may quote a value of the shop's.
            let why = match (server.code().code(), server.hint()) {
                ("P0002", hint) => format!("{}: {}", server.message(), hint.unwrap_or("select postback.books('select ...');")),
                (state, _) => {
                    format!("the query of the shop's books fails (SQLSTATE {state}): select * from postback.booked(now() - interval '1 day', now());")
                }
            };
            db.batch_execute("rollback to savepoint books").await?;
            Ok(Books { unknown: Some(why), days: Vec::new() })
        }
    }
}

fn day(row: &Row) -> Result<BookDay, DbError> {
    let code = currency(row.get(1));
    let (value, refunded, events_value, events_refunded) = (amount(row, 3)?, amount(row, 4)?, amount(row, 6)?, amount(row, 7)?);
    let difference = |why: &str, orders: i64, value: Decimal| Difference { why: why.to_owned(), orders, value: text(value, &code), known: false };
    let (missing, waiting, extra, differ, refund_differ): (i64, i64, i64, i64, i64) =
        (row.get(8), row.get(10), row.get(12), row.get(14), row.get(16));
    let values = [
        (missing, amount(row, 9)?, "paid, and no event says so: postbackd reconcile"),
        (waiting, amount(row, 11)?, "not read yet"),
        (extra, -amount(row, 13)?, "an event says so, and the books do not have it as paid"),
        (differ, amount(row, 15)?, "the value differs"),
    ];
    let unless_zero = |orders: i64, value: Decimal| if value.is_zero() { 0 } else { orders };
    let (untold, unbooked) = (amount(row, 18)?, -amount(row, 19)?);
    let refunds = [
        (refund_differ, amount(row, 17)?, "the refunds differ"),
        (unless_zero(missing + waiting, untold), untold, "of orders that no event tells, or none that was read yet"),
        (unless_zero(extra, unbooked), unbooked, "of orders that the books do not have as paid"),
    ];
    let named: Decimal = values.iter().map(|(_, value, ..)| value).sum();
    let named_refunds: Decimal = refunds.iter().map(|(_, value, ..)| value).sum();
    let unexplained = (value - events_value - named).abs() + (refunded - events_refunded - named_refunds).abs();
    let listed = |all: &[(i64, Decimal, &str)]| -> Vec<Difference> {
        all.iter().filter(|(orders, ..)| *orders > 0).map(|(orders, value, why)| difference(why, *orders, *value)).collect()
    };
    let (differences, refund_differences) = (listed(&values), listed(&refunds));
    Ok(BookDay {
        day: row.get(0),
        orders: row.get(2),
        value: text(value, &code),
        refunded: text(refunded, &code),
        events: row.get(5),
        events_value: text(events_value, &code),
        events_refunded: text(events_refunded, &code),
        balances: differences.is_empty() && refund_differences.is_empty() && unexplained.is_zero(),
        differences,
        refund_differences,
        unexplained: text(unexplained, &code),
        currency: code.clone(),
    })
}
