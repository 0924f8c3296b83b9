//! Aligned columns for people.

use jiff::{Timestamp, Unit};

use crate::words::{self, printable};

/// Rows under headings; columns of numbers stand to the right, empty columns are left out.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(headings: [&'static str; N]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        // What a shop or a platform wrote must not move the cursor or break the line.
        let clean = |cell: String| printable(&cell);
        self.rows.push(cells.into_iter().map(clean).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = |text: &str| text.chars().count();
        let columns: Vec<(usize, usize, bool)> = (0..self.headings.len())
            .filter(|at| self.rows.iter().any(|row| !row[*at].is_empty()))
            .map(|at| {
                let widest = self.rows.iter().map(|row| width(&row[at])).chain([width(self.headings[at])]).max().unwrap_or(0);
                let number = self.rows.iter().all(|row| row[at].is_empty() || row[at].chars().all(|c| c.is_ascii_digit()));
                (at, widest, number)
            })
            .collect();
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for (at, widest, number) in &columns {
                let pad = " ".repeat(widest - width(&row[*at]));
                let (before, after) = if *number { (pad.as_str(), "") } else { ("", pad.as_str()) };
                line.push_str(&format!("{before}{}{after}  ", row[*at]));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `2026-03-01 12:30:05Z`.
pub(super) fn time(at: Timestamp) -> String {
    at.round(Unit::Second).map_or_else(|_| at.to_string(), |at| at.to_string().replace('T', " "))
}

/// How long ago, or nothing.
pub(super) fn ago(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map(|at| words::about(std::time::Duration::try_from(now.duration_since(at)).unwrap_or_default())).unwrap_or_default()
}

/// Nothing instead of `None`.
pub(super) fn or_empty(value: Option<impl std::fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Nothing instead of 0: what is not there should not catch the eye.
pub(super) fn unless_zero(value: i64) -> String {
    if value == 0 { String::new() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table = Table::new(["name", "dead", "held", "why"]);
        table.row(["a".into(), "5".into(), String::new(), "x\ny".into()]);
        table.row(["longer".into(), "1200".into(), String::new(), "é".into()]);
        assert_eq!(table.to_string(), "name    dead  why\na          5  x y\nlonger  1200  é\n");
        assert_eq!(time("2026-03-01T12:30:05.4Z".parse().expect("a time")), "2026-03-01 12:30:05Z");
    }
}
