//! Click and device ids by the names under which they stand in landing URLs and payloads.

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
pub const OF_DEVICES: [&str; 7] = ["idfa", "gaid", "idfv", "android_id", "appsflyer_id", "adid", "singular_id"];

/// All of them.
pub fn known<'a>() -> impl Iterator<Item = &'a str> {
    IN_URLS.into_iter().chain(OF_DEVICES)
}

/// Whether it is one of them.
pub fn is_known(name: &str) -> bool {
    known().any(|id| id == name)
}
