//! Click and device ids by the names under which they stand in landing URLs and payloads, and when a click was.

use jiff::Timestamp;
use serde_json::Value;

use crate::event::Object;

/// Ids that tie a conversion to a click, by their names in landing URLs (or in the cookies that a platform's script makes of
/// those); opaque, passed on byte for byte. `postback.click_ids` in SQL knows the same.
pub const IN_URLS: [&str; 38] = [
    "gclid",
    "gbraid",
    "wbraid",
    "dclid",
    "fbclid",
    "fbc",
    "fbp",
    "ttclid",
    "ttp",
    "msclkid",
    "epik",
    "ScCid",
    "rdt_cid",
    "li_fat_id",
    "twclid",
    "awc",
    "cjevent",
    "ranSiteID",
    "irclickid",
    "tduid",
    "tdclid",
    "clickref",
    "clickid",
    "click_id",
    "aff_click_id",
    "sscid",
    "admitad_uid",
    "afclid",
    "dicbo",
    "tblci",
    "qclid",
    "yclid",
    "subid",
    "sub_id",
    "cid",
    "tid",
    "cnv_id",
    "ckmguid",
];

/// Ids that tie an install to a device.
pub const OF_DEVICES: [&str; 12] =
    ["idfa", "gaid", "idfv", "android_id", "appsflyer_id", "adid", "singular_id", "sdid", "asid", "oaid", "fire_adid", "web_uuid"];

/// Ids that tie an event to a visit of the shop: they stand in cookies, never in landing URLs. Google Analytics' own.
pub const OF_VISITS: [&str; 2] = ["ga_client_id", "ga_session_id"];

/// All of them.
pub fn known<'a>() -> impl Iterator<Item = &'a str> {
    IN_URLS.into_iter().chain(OF_DEVICES).chain(OF_VISITS)
}

/// Whether it is one of them.
pub fn is_known(name: &str) -> bool {
    known().any(|id| id == name)
}

/// When the click was, as far as `who` tells: `clicked_at`, else `landed_at`; RFC 3339, or Unix seconds or milliseconds.
pub fn time(who: &Object) -> Option<Timestamp> {
    ["clicked_at", "landed_at"].into_iter().find_map(|key| moment(who.get(key)?))
}

fn moment(value: &Value) -> Option<Timestamp> {
    /// Seconds of the year 5138, milliseconds of 1973: no click is near either.
    const MILLIS_FROM: i64 = 100_000_000_000;
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    match text.parse::<i64>() {
        Ok(number) if number.abs() >= MILLIS_FROM => Timestamp::from_millisecond(number).ok(),
        Ok(number) => Timestamp::from_second(number).ok(),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn clicks_have_a_time_in_many_forms() {
        let at = |value: Value| time(value.as_object().expect("an object")).map(Timestamp::as_millisecond);
        for form in [json!("2026-03-01T10:00:00.250Z"), json!(1_772_359_200_250_i64), json!("1772359200250"), json!("2026-03-01T11:00:00.25+01:00")] {
            assert_eq!(at(json!({"clicked_at": form, "landed_at": 1})), Some(1_772_359_200_250), "{form}");
        }
        assert_eq!(at(json!({"landed_at": 1_772_359_200})), Some(1_772_359_200_000));
        assert_eq!(at(json!({"clicked_at": "yesterday", "landed_at": null})), None);
    }
}
