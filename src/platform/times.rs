//! Times as platforms want them. Pure. Unix seconds and milliseconds are `at.as_second()` and `at.as_millisecond()`.

use jiff::{Timestamp, tz::TimeZone};

/// RFC 3339 in UTC, whole seconds: `2026-03-01T10:15:00Z`.
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What a clock on the wall of that zone showed, without offset: `2026-07-02T11:04:00`.
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_cut_and_zones_have_summers() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let london = TimeZone::get("Europe/London").expect("bundled");
        assert_eq!(rfc3339(at("2026-03-01T10:15:00.999+01:00")), "2026-03-01T09:15:00Z");
        assert_eq!(local(at("2026-07-02T10:04:00.7Z"), &london), "2026-07-02T11:04:00");
        assert_eq!(local(at("2026-01-02T10:04:00Z"), &london), "2026-01-02T10:04:00");
    }
}
