//! Times as platforms want them. Pure. Unix seconds and milliseconds are `at.as_second()` and `at.as_millisecond()`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use toml::Table;

use super::keys::{self, Parsed};
use crate::delivery::{Delivery, Refunding};

/// Of 24 hours.
pub const DAY: Duration = Duration::from_secs(86_400);

/// `refund_max_age = "60d"`: how long after the purchase a refund is still told; a program's own rule that no platform gives out.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefundAge(Option<SignedDuration>);

impl RefundAge {
    /// Without the key there is no limit.
    pub(super) fn parse(table: &Table) -> Parsed<Self> {
        const TWO_YEARS: Duration = Duration::from_secs(730 * 86_400);
        let Some(_) = table.get("refund_max_age") else { return Ok(Self(None)) };
        let given = keys::span(table, "refund_max_age", Duration::from_secs(60 * 86_400), TWO_YEARS)?;
        Ok(Self(SignedDuration::try_from(given).ok()))
    }

    /// From then on a refund is not taken any more; `None`: it always is, or it is no refund.
    pub fn until(self, delivery: &Delivery) -> Option<Timestamp> {
        delivery.refund.as_ref()?.purchase.at.checked_add(self.0?).ok()
    }
}

/// What is on its way when a platform's time ends would be refused, and could spoil its batch.
pub const MARGIN: Duration = Duration::from_secs(600);

/// From when on a sale is not taken any more, by its age, or a refund, by its purchase's; [`MARGIN`] before the platform says so.
pub fn until(delivery: &Delivery, sale: Duration, refund: Duration) -> Option<Timestamp> {
    let (from, lasts) = delivery.refund.as_ref().map_or((delivery.said.at, sale), |refunding| (refunding.purchase.at, refund));
    from.checked_add(SignedDuration::try_from(lasts.saturating_sub(MARGIN)).ok()?).ok()
}

/// When the purchase was handed over, by what its answer left in `sent` (Unix seconds).
pub fn sent(refund: &Refunding) -> Option<Timestamp> {
    Timestamp::from_second(refund.kept("sent")?.as_i64()?).ok()
}

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
