//! The report for people: where it was measured, then a table a room.

use super::{Figure, Report, Target};
use crate::cli::Table;

/// Everything, with the targets of those figures that have one.
pub fn text(report: &Report, targets: &[Target]) -> String {
    let mut text = head(report);
    let mut rooms: Vec<&str> = Vec::new();
    for figure in &report.figures {
        let room = figure.key.split('.').next().unwrap_or_default();
        if !rooms.contains(&room) {
            rooms.push(room);
        }
    }
    for room in rooms {
        let mut table = Table::new([title(room), "median", "min .. max", "rounds", "target", ""]);
        for figure in report.figures.iter().filter(|figure| figure.key.split('.').next() == Some(room)) {
            let target = targets.iter().find(|target| target.key == figure.key).map(|target| target.verdict(figure)).unwrap_or_default();
            let spread = figure.spread().map(|(low, high)| format!("{} .. {}", number(low), number(high)));
            let median = figure.median().map_or_else(|| "-".to_owned(), |median| with_unit(median, figure.unit));
            let rounds = figure.rounds.len().to_string();
            table.row([figure.what.clone(), median, spread.unwrap_or_default(), rounds, target, figure.remark.clone().unwrap_or_default()]);
        }
        text.push_str(&format!("\n{table}"));
    }
    text
}

fn title(room: &str) -> &'static str {
    match room {
        "shop" => "COST TO THE SHOP'S TRANSACTION",
        "drain" => "DELIVERING A BACKLOG",
        "latency" => "COMMIT RETURNED TO REQUEST RECEIVED",
        "wal" => "WAL OF A DELIVERY",
        "idle" => "COST OF AN IDLE DAEMON",
        _ => "OTHERS",
    }
}

fn head(report: &Report) -> String {
    let Report { machine, server, .. } = report;
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let settings: Vec<String> =
        server.settings.iter().map(|(name, value)| format!("{name} = {}", if value.is_empty() { "''" } else { value })).collect();
    let mut text = format!(
        "postbackd {}, {}\nmachine     {}, {} cores, {} MiB, {}, load {} at the start\nPostgreSQL  {}, {}\n",
        report.version,
        report.at,
        known(machine.cpu.clone()),
        known(machine.cores.map(|cores| cores.to_string())),
        known(machine.memory.map(|memory| memory.to_string())),
        machine.kernel,
        known(machine.load.map(|load| format!("{load:.2}"))),
        server.version,
        if server.same_machine { "on this machine" } else { "its processes are not visible from here" },
    );
    for line in settings.chunks(5) {
        text.push_str(&format!("            {}\n", line.join(", ")));
    }
    text
}

fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "" => number(value),
        "/s" | "%" => format!("{}{unit}", number(value)),
        _ => format!("{} {unit}", number(value)),
    }
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl Target {
    /// The target, and whether the median keeps it.
    fn verdict(&self, figure: &Figure) -> String {
        let bound = match self.at_most {
            true => format!("at most {}", with_unit(self.bound, figure.unit)),
            false => format!("at least {}", with_unit(self.bound, figure.unit)),
        };
        let kept = figure.median().map(|median| if self.at_most { median <= self.bound } else { median >= self.bound });
        match kept {
            Some(true) => format!("{bound}: kept"),
            Some(false) => format!("{bound}: MISSED"),
            None => format!("{bound}: not measured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_targets_say_what_came_of_them() {
        assert_eq!([0.4321, 12.34, 5678.9].map(number), ["0.43", "12.3", "5679"]);
        let figure = |rounds| Figure::new("drain.ratio", "ratio", "", rounds);
        let target = Target { key: "drain.ratio", bound: 0.4, at_most: false };
        assert_eq!(target.verdict(&figure(vec![0.5])), "at least 0.40: kept");
        assert_eq!(target.verdict(&figure(vec![0.3])), "at least 0.40: MISSED");
        assert_eq!(target.verdict(&figure(vec![])), "at least 0.40: not measured");
    }
}
