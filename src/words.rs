//! Durations, times and near names in the words of the configuration and of messages. Pure.

use std::time::Duration;

/// Units of the configuration, largest first.
const UNITS: [(&str, u128); 6] = [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// `"90s"`, `"1h 30m"`, `"5ms"`, `"120d"`; `None` when it is none. Every number needs its unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut micros = 0u128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0)?;
        let number: u128 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, size) = UNITS.into_iter().find(|(unit, _)| *unit == &rest[..end])?;
        micros = micros.checked_add(number.checked_mul(size)?)?;
        rest = rest[end..].trim_start();
    }
    u64::try_from(micros).ok().map(Duration::from_micros)
}

/// `1 order`, `2 orders`.
pub fn counted(count: impl Into<i128>, one: &str, more: &str) -> String {
    let count = count.into();
    format!("{count} {}", if count == 1 { one } else { more })
}

/// A stranger's text on a terminal: nothing in it moves the cursor, hides itself or turns what stands beside it round.
pub fn printable(text: &str) -> String {
    let odd =
        |c: char| c.is_control() || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().map(|c| if odd(c) { ' ' } else { c }).collect()
}

/// The largest unit that says it exactly, or two: `10s`, `1h 30m`, `5ms`.
pub fn duration(value: Duration) -> String {
    let mut micros = value.as_micros();
    if micros == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in UNITS {
        let number = micros / size;
        micros %= size;
        if number > 0 {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&format!("{number}{unit}"));
        }
    }
    text
}

/// About how long, for people: `3s`, `12m`, `5h 20m`, `9d`.
pub fn about(value: Duration) -> String {
    let seconds = value.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => duration(Duration::from_secs(seconds - seconds % 60)),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The known word that someone probably meant.
fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|name| (distance(&word, &name.to_ascii_lowercase()), name))
        .filter(|(far, name)| *far <= 1 + name.len().max(word.len()) / 4)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// ` (did you mean poll_idle?)`, or nothing.
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

/// Edits between two words; neighbours that changed places count once.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<usize>>()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let same = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_stays_in_its_place() {
        assert_eq!(printable("a\u{1b}[2J\n\u{202e}b\u{200b}\u{2066}é 漢"), "a [2J  b  é 漢");
    }

    #[test]
    fn durations_need_units_and_come_back() {
        for text in ["10s", "5ms", "1h 30m", "120d", "1d 2h 3m 4s 5ms 6us"] {
            assert_eq!(parse_duration(text).map(duration).as_deref(), Some(text));
        }
        assert_eq!(parse_duration("1h30m"), parse_duration("90m"));
        assert_eq!(parse_duration("0s"), Some(Duration::ZERO));
        for bad in ["", "10", "s", "1.5s", "-1s", "1 fortnight", "99999999999999999999d"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn near_words_are_found_and_far_ones_not() {
        let known = ["poll", "poll_idle", "settle", "destinations"];
        for (word, want) in [("setle", Some("settle")), ("destination", Some("destinations")), ("poll-idle", Some("poll_idle")), ("zebra", None)] {
            assert_eq!(nearest(word, known), want, "{word}");
        }
        let known = ["url", "method", "headers", "success_pattern", "ScCid"];
        for (word, want) in [
            ("ulr", " (did you mean url?)"),
            ("header", " (did you mean headers?)"),
            ("sucess_patern", " (did you mean success_pattern?)"),
            ("sccid", " (did you mean ScCid?)"),
            ("body", ""),
        ] {
            assert_eq!(hint(word, known), want, "{word}");
        }
    }
}
