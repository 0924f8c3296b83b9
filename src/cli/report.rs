//! `postbackd report`.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use super::{
    Common, Exit, Failure,
    table::{Table, unless_zero},
};
use crate::{
    config::{Config, SecretMode},
    outbox::inspect::report::{self, Asked, BookDay, Counts, Difference, Line, Money, Report},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Orders paid on a day = delivered + skipped (why) + annulled + waiting + accepted + unknown + dead, at each destination; refunds
likewise, on the day of the refund. Money is that of the day's orders: what was told with the purchases, less what was told back
with their refunds to this moment, beside what the platform should have; differences have names. Where the shop's books are known
(select postback.books('...')), the day is compared with them to the last cent.

Days begin at midnight of [report] zone (default UTC). Without a day: yesterday and today. Exit code 1: something does not balance
that should, which the text names.

Examples:
  postbackd report
  postbackd report --day 2026-03-01 --destination meta
  postbackd report --from 2026-03-01 --to 2026-03-31 --csv > march.csv
  postbackd report --day 2026-03-01 --zone Europe/Berlin --json")]
pub struct Args {
    /// This day alone
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with_all = ["from", "to"])]
    day: Option<Date>,
    /// From this day on
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<Date>,
    /// To this day, included
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<Date>,
    /// Time zone of the days, instead of the configuration's
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Only this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Comma-separated values, a line per count, for a spreadsheet
    #[arg(long)]
    csv: bool,
}

/// Longer reports read too much at once.
const DAYS_MAX: i32 = 400;

pub(super) async fn report(common: &Common, args: &Args) -> Result<Exit, Failure> {
    if args.csv && common.json {
        return Err(Failure::new(Exit::Usage, "--csv and --json are two forms of one report: choose one"));
    }
    // Without a file every value is taken as told whole, and days are UTC.
    let config = if common.url.is_some() { Config::load(&common.config, SecretMode::Names).ok() } else { Some(common.load(SecretMode::Names)?) };
    let asked = asked(args, config.as_ref())?;
    let db = common.session("report").await?;
    if let Some(name) = &asked.destination {
        super::pause::known(&db, name).await?;
    }
    let report = report::report(&db, &asked).await?;
    if args.csv {
        super::say(report::csv(&report).trim_end());
    } else {
        common.print(&report, || text(&report))?;
    }
    Ok(if report.balances() { Exit::Done } else { Exit::Failed })
}

fn asked(args: &Args, config: Option<&Config>) -> Result<Asked, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, why);
    let zone = args.zone.clone().unwrap_or_else(|| config.map_or_else(|| "UTC".to_owned(), |config| config.report.zone.clone()));
    let rules = TimeZone::get(&zone).map_err(|_| usage(format!("{zone:?} is no time zone; write one like Europe/Berlin")))?;
    let today = rules.to_datetime(Timestamp::now()).date();
    let yesterday = today.checked_sub(1.day()).map_err(|error| usage(error.to_string()))?;
    let (from, to) = match (args.day, args.from, args.to) {
        (Some(day), ..) => (day, day),
        (None, Some(from), to) => (from, to.unwrap_or(today)),
        (None, None, Some(to)) => (to, to),
        (None, None, None) => (yesterday, today),
    };
    let days = (to - from).get_days();
    if !(0..DAYS_MAX).contains(&days) {
        return Err(usage(format!("from {from} to {to} is no period of 1 to {DAYS_MAX} days")));
    }
    Ok(Asked { from, to, zone, destination: args.destination.clone(), terms: config.map(Config::terms).unwrap_or_default() })
}

fn text(report: &Report) -> String {
    let period = if report.from == report.to { report.from.clone() } else { format!("{} to {}", report.from, report.to) };
    let mut text = format!("{period}, days of {}\n", report.zone);
    for (title, of) in [("Orders", (|line| &line.orders) as fn(&Line) -> &Counts), ("Refunds, on their own day", |line| &line.refunds)] {
        if report.lines.iter().any(|line| of(line).total > 0) {
            text += &format!("\n{title}\n{}", counts(&report.lines, of));
        }
    }
    let money: Vec<(&Line, &Money)> = report.lines.iter().flat_map(|line| line.money.iter().map(move |money| (line, money))).collect();
    if !money.is_empty() {
        text += &format!("\nMoney of the day's orders, with what was told back of them to this moment\n{}", amounts(&money));
    }
    text += &match &report.books.unknown {
        Some(why) => format!("\nThe shop's books: {why}\n"),
        None if report.books.days.is_empty() => "\nThe shop's books have no paid order in these days, and neither has postbackd.\n".to_owned(),
        None => format!("\nThe shop's books, orders on the day that they say\n{}", books(&report.books.days)),
    };
    let verdict = if report.balances() { "Everything balances." } else { "It does not balance: see the lines with a difference." };
    format!("{text}\n{verdict}\n")
}

fn counts(lines: &[Line], of: impl Fn(&Line) -> &Counts) -> String {
    let mut table = Table::new([
        "  day",
        "destination",
        "total",
        "delivered",
        "skipped",
        "annulled",
        "waiting",
        "accepted",
        "unknown",
        "dead",
        "in no state",
        "why",
    ]);
    for line in lines {
        let counts = of(line);
        let sum = |map: &std::collections::BTreeMap<String, i64>| unless_zero(map.values().sum());
        let reasons = counts.skipped.iter().map(|(why, n)| format!("{n} {why}")).chain(counts.dead.iter().map(|(why, n)| format!("{n} dead: {why}")));
        table.row([
            format!("  {}", line.day),
            line.destination.clone(),
            counts.total.to_string(),
            unless_zero(counts.delivered),
            sum(&counts.skipped),
            unless_zero(counts.annulled),
            unless_zero(counts.waiting),
            unless_zero(counts.accepted),
            unless_zero(counts.unknown),
            sum(&counts.dead),
            unless_zero(counts.unaccounted),
            reasons.collect::<Vec<String>>().join("; "),
        ]);
    }
    table.to_string()
}

fn amounts(money: &[(&Line, &Money)]) -> String {
    let mut table = Table::new(["  day", "destination", "currency", "paid", "taken back", "told", "told back", "net", "should be", "differences"]);
    for (line, sum) in money {
        let mut why: Vec<String> = sum.differences.iter().map(named).collect();
        if sum.unexplained.chars().any(|c| c.is_ascii_digit() && c != '0') {
            why.push(format!("{} without a reason", sum.unexplained));
        }
        table.row([
            format!("  {}", line.day),
            line.destination.clone(),
            sum.currency.clone(),
            sum.paid.clone(),
            sum.taken_back.clone(),
            sum.told.clone(),
            sum.told_back.clone(),
            sum.net.clone(),
            sum.expected.clone(),
            why.join("; "),
        ]);
    }
    table.to_string()
}

fn books(days: &[BookDay]) -> String {
    let mut table = Table::new(["  day", "currency", "orders", "value", "refunded", "events", "their value", "their refunds", "differences"]);
    for day in days {
        let why: Vec<String> = day.differences.iter().map(named).chain(day.refund_differences.iter().map(named)).collect();
        table.row([
            format!("  {}", day.day),
            day.currency.clone(),
            day.orders.to_string(),
            day.value.clone(),
            day.refunded.clone(),
            day.events.to_string(),
            day.events_value.clone(),
            day.events_refunded.clone(),
            if day.balances { "none".to_owned() } else { why.join("; ") },
        ]);
    }
    table.to_string()
}

fn named(difference: &Difference) -> String {
    let Difference { why, orders, value, known } = difference;
    let orders = if *orders == 1 { "1 order".to_owned() } else { format!("{orders} orders") };
    format!("{value} {why} ({orders}{})", if *known { ", known" } else { "" })
}
