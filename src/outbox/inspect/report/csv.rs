//! The report for a spreadsheet: a line per count or amount.

use super::{BookDay, Counts, Difference, Line, Money, Report};

/// With a heading; lines end with a line feed.
pub fn csv(report: &Report) -> String {
    let mut out = String::from("day,destination,what,state,reason,currency,count,value\n");
    for line in &report.lines {
        counts(&mut out, line, "orders", &line.orders);
        counts(&mut out, line, "refunds", &line.refunds);
        line.money.iter().for_each(|sum| money(&mut out, line, sum));
    }
    report.books.days.iter().for_each(|day| book(&mut out, day));
    out
}

fn counts(out: &mut String, line: &Line, what: &str, counts: &Counts) {
    let mut put = |state: &str, reason: &str, count: i64| {
        if count > 0 || state == "total" {
            row(out, [&line.day, &line.destination, what, state, reason, "", &count.to_string(), ""]);
        }
    };
    put("total", "", counts.total);
    put("delivered", "", counts.delivered);
    counts.skipped.iter().for_each(|(why, count)| put("skipped", why, *count));
    put("annulled", "", counts.annulled);
    put("waiting", "", counts.waiting);
    put("accepted", "", counts.accepted);
    put("unknown", "", counts.unknown);
    counts.dead.iter().for_each(|(why, count)| put("dead", why, *count));
    put("in no state", "", counts.unaccounted);
}

fn money(out: &mut String, line: &Line, sum: &Money) {
    for (state, value) in [
        ("paid", &sum.paid),
        ("taken back", &sum.taken_back),
        ("should be", &sum.expected),
        ("told", &sum.told),
        ("told, not confirmed", &sum.accepted),
        ("told back", &sum.told_back),
        ("net", &sum.net),
        ("without a reason", &sum.unexplained),
    ] {
        row(out, [&line.day, &line.destination, "money", state, "", &sum.currency, "", value]);
    }
    let mut differ = |difference: &Difference| {
        let state = if difference.known { "known difference" } else { "difference" };
        row(out, [&line.day, &line.destination, "money", state, &difference.why, &sum.currency, &difference.orders.to_string(), &difference.value]);
    };
    sum.differences.iter().for_each(&mut differ);
}

fn book(out: &mut String, day: &BookDay) {
    for (state, count, value) in [
        ("value", Some(day.orders), &day.value),
        ("refunded", None, &day.refunded),
        ("value of the events", Some(day.events), &day.events_value),
        ("refunds of the events", None, &day.events_refunded),
        ("without a reason", None, &day.unexplained),
    ] {
        row(out, [&day.day, "", "books", state, "", &day.currency, &count.map(|count| count.to_string()).unwrap_or_default(), value]);
    }
    for (state, list) in [("difference", &day.differences), ("difference of refunds", &day.refund_differences)] {
        for difference in list {
            row(out, [&day.day, "", "books", state, &difference.why, &day.currency, &difference.orders.to_string(), &difference.value]);
        }
    }
}

fn row(out: &mut String, cells: [&str; 8]) {
    let cells: Vec<String> = cells.iter().map(|cell| field(cell)).collect();
    out.push_str(&cells.join(","));
    out.push('\n');
}

/// Quoted where it must be. Text that a spreadsheet would take for a formula begins with an apostrophe: reasons may quote a
/// platform's answer. Amounts below zero are numbers.
fn field(text: &str) -> String {
    let number = !text.is_empty() && text.strip_prefix('-').unwrap_or(text).chars().all(|c| c.is_ascii_digit() || c == '.');
    let formula = !number && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = format!("{}{}", if formula { "'" } else { "" }, text.replace(['\n', '\r'], " "));
    if text.contains(['"', ',', ';']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn no_field_is_a_formula_or_breaks_its_line() {
        assert_eq!(field("-12.50"), "-12.50");
        assert_eq!(field("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
        assert_eq!(field("-1+2"), "'-1+2");
        assert_eq!(field("a \"b\", c\nd"), "\"a \"\"b\"\", c d\"");
        assert_eq!(field("\tx"), "'\tx");
    }
}
