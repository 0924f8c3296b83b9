//! `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date in any of the three forms that section 5.6.7 obliges us to read.

use std::time::Duration;

use jiff::{Timestamp, civil, tz::Offset};

/// No platform may silence a destination for longer than this: a typing error in a header is not to cost a week.
pub const LONGEST: Duration = Duration::from_secs(86_400);

/// How long to wait from `now` on, at most [`LONGEST`]; a date that has passed is zero. `None`: not readable.
///
/// Fractions of a second are not in the standard, but some platforms send them; they are rounded up.
pub fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = match seconds(value) {
        Some(wait) => wait,
        None => Duration::try_from(date(value, now)?.duration_since(now)).unwrap_or(Duration::ZERO),
    };
    Some(wait.min(LONGEST))
}

fn seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // Only a number too large for u64 fails to parse here, and that is clamped anyway.
    let whole = whole.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(whole.saturating_add(u64::from(fraction.bytes().any(|byte| byte != b'0')))))
}

/// The three forms differ only in separators and order:
/// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`.
/// The name of the day is not compared with the date: a platform that errs there still means the date.
fn date(value: &str, now: Timestamp) -> Option<Timestamp> {
    let words: Vec<&str> = value.split([' ', ',', '-', ':']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, time) = match words[..] {
        [_, day, month, year, h, m, s, "GMT"] => (day, month, year, [h, m, s]),
        [_, month, day, h, m, s, year] => (day, month, year, [h, m, s]),
        _ => return None,
    };
    let year = match year.len() {
        2 => century(number(year)?, now),
        4 => number(year)?,
        _ => return None,
    };
    let [h, m, s] = [number(time[0])?, number(time[1])?, number(time[2])?];
    // A leap second is told as :60, which no civil time can hold.
    let civil = civil::DateTime::new(year, month_number(month)?, i8(number(day)?)?, i8(h)?, i8(m)?, i8(s.min(59))?, 0).ok()?;
    (s <= 60).then_some(())?;
    Offset::UTC.to_timestamp(civil).ok()
}

/// Two digits mean this century, unless that were more than 50 years ahead.
fn century(two_digits: i16, now: Timestamp) -> i16 {
    let this_year = Offset::UTC.to_datetime(now).year();
    let year = this_year - this_year % 100 + two_digits;
    if year > this_year + 50 { year - 100 } else { year }
}

fn month_number(name: &str) -> Option<i8> {
    const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    NAMES.iter().zip(1..).find(|(have, _)| **have == name).map(|(_, number)| number)
}

fn number(text: &str) -> Option<i16> {
    (text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn i8(number: i16) -> Option<i8> {
    number.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn wait(value: &str) -> Option<u64> {
        parse(value, at("1994-11-06T08:49:07Z")).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_all_three_dates() {
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait(" 0 "), Some(0));
        assert_eq!(wait("0.65"), Some(1));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30));
        assert_eq!(wait("Sunday, 06-Nov-94 08:49:37 GMT"), Some(30));
        assert_eq!(wait("Sun Nov  6 08:49:37 1994"), Some(30));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:60 GMT"), Some(52), "a leap second is the last second");
    }

    #[test]
    fn the_past_is_now_and_the_far_future_is_a_day() {
        assert_eq!(wait("Sun, 06 Nov 1993 08:49:37 GMT"), Some(0));
        assert_eq!(wait("Sun, 06 Nov 2094 08:49:37 GMT"), Some(86_400));
        assert_eq!(wait("99999999999999999999999"), Some(86_400));
        assert_eq!(wait("86401"), Some(86_400));
    }

    #[test]
    fn two_digit_years_are_within_fifty_years() {
        let now = at("2026-11-25T10:00:00Z");
        assert_eq!(parse("Wednesday, 25-Nov-26 10:00:05 GMT", now), Some(Duration::from_secs(5)));
        assert_eq!(parse("Wednesday, 25-Nov-76 10:00:05 GMT", now), Some(LONGEST), "2076");
        assert_eq!(parse("Wednesday, 25-Nov-77 10:00:05 GMT", now), Some(Duration::ZERO), "1977");
    }

    #[test]
    fn nonsense_is_no_hint() {
        for value in [
            "",
            "-5",
            "soon",
            "1.",
            ".5",
            "1e3",
            "+7",
            "Sun, 31 Feb 2026 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "06 Nov 1994",
        ] {
            assert_eq!(wait(value), None, "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_survived(value in "\\PC{0,40}") {
            if let Some(wait) = parse(&value, at("2026-11-25T10:00:00Z")) {
                proptest::prop_assert!(wait <= LONGEST);
            }
        }
    }
}
