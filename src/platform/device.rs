//! What an app's SDK tells of a phone: ids in the letters in which mobile partners want them, the system, permissions. Pure.
//!
//! Keys of `who`: the ids of [`crate::click::OF_DEVICES`], `platform` (`ios`, `android`), `os_version`, `att` (0 to 3, or Apple's words),
//! `tracking_enabled` (whether the phone lets its advertising id be used), `ip`.

use std::net::IpAddr;

use serde_json::{Value, json};
use toml::Table;

use super::{
    Refusal,
    keys::{self, Parsed},
    person::{device, text, texts},
};
use crate::{delivery::Delivery, event::Object};

/// A phone's system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// iOS and iPadOS.
    Ios,
    /// Android, Fire OS and HarmonyOS.
    Android,
}

/// As `who.platform` says; else as the ids do, which only one of both has. A shop may well say `web` of a buyer whose phone it knows.
pub fn system(who: &Object) -> Option<System> {
    match text(who, "platform").unwrap_or_default().to_ascii_lowercase().as_str() {
        "ios" | "ipados" => return Some(System::Ios),
        "android" => return Some(System::Android),
        _ => {}
    }
    let has = |keys: &[&str]| keys.iter().any(|key| text(who, key).is_some());
    match (has(&["idfa", "idfv"]), has(&["gaid", "android_id", "asid", "oaid", "fire_adid"])) {
        (true, false) => Some(System::Ios),
        (false, true) => Some(System::Android),
        _ => None,
    }
}

/// An id in small letters; one of zeros alone is nobody's.
pub fn lower(who: &Object, key: &str) -> Option<String> {
    texts(who, key).iter().find_map(|id| device(id))
}

/// An id in capital letters, as Apple writes them; one of zeros alone is nobody's.
pub fn upper(who: &Object, key: &str) -> Option<String> {
    lower(who, key).map(|id| id.to_ascii_uppercase())
}

/// An id as the shop has it, unless it is nobody's.
pub fn plain(who: &Object, key: &str) -> Option<String> {
    texts(who, key).into_iter().find(|id| device(id).is_some())
}

/// An id byte for byte.
pub fn opaque(who: &Object, key: &str) -> Option<String> {
    text(who, key)
}

/// The phone's IPv4 address: these partners take no other.
pub fn ipv4(who: &Object) -> Option<String> {
    let of = |text: &String| match text.parse().ok()? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    };
    texts(who, "ip").iter().find_map(of).map(|address| address.to_string())
}

/// Apple's answer to "may this app track you": 0 not asked, 1 restricted, 2 denied, 3 authorized.
pub fn att(who: &Object) -> Option<u8> {
    match text(who, "att")?.to_ascii_lowercase().replace(['_', ' '], "").as_str() {
        "0" | "notdetermined" => Some(0),
        "1" | "restricted" => Some(1),
        "2" | "denied" => Some(2),
        "3" | "authorized" | "authorised" => Some(3),
        _ => None,
    }
}

/// `who.tracking_enabled`.
pub fn tracking_enabled(who: &Object) -> Option<bool> {
    match who.get("tracking_enabled")? {
        Value::Bool(yes) => Some(*yes),
        _ => match text(who, "tracking_enabled")?.to_ascii_lowercase().as_str() {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        },
    }
}

/// A shop's apps as a partner calls them: `apps = { ios = "..", android = ".." }`, one of them or both.
#[derive(Clone, Debug)]
pub struct Apps {
    ios: Option<String>,
    android: Option<String>,
}

impl Apps {
    /// `like` are examples.
    pub(super) fn parse(table: &Table, like: (&str, &str)) -> Parsed<Self> {
        let shape = format!("apps = {{ ios = \"{}\", android = \"{}\" }}, or one of them", like.0, like.1);
        let apps = match table.get("apps") {
            Some(toml::Value::Table(apps)) if !apps.is_empty() => apps,
            Some(toml::Value::Table(_)) | None => return keys::wrong("apps", format!("it is missing: {shape}")),
            Some(_) => return keys::wrong("apps", format!("a table is expected: {shape}")),
        };
        keys::only(apps, "apps", &["ios", "android"])?;
        let app = |name: &str, like: &str| {
            let found = apps.contains_key(name).then(|| keys::path_part(apps, name, like)).transpose();
            found.map_err(|error| super::SettingError { key: format!("apps.{}", error.key), ..error })
        };
        Ok(Self { ios: app("ios", like.0)?, android: app("android", like.1)? })
    }

    /// The one for a system.
    pub fn on(&self, system: System) -> Option<&str> {
        match system {
            System::Ios => self.ios.as_deref(),
            System::Android => self.android.as_deref(),
        }
    }

    /// One of them.
    pub fn any(&self) -> (System, &str) {
        match &self.ios {
            Some(app) => (System::Ios, app),
            None => (System::Android, self.android.as_deref().unwrap_or_default()),
        }
    }

    /// The app that a delivery is about: a refund's is the one in which its purchase was told; the only one that there is; else that of the
    /// phone's system.
    pub fn of(&self, delivery: &Delivery) -> Result<(System, &str), Refusal> {
        let both = || [System::Ios, System::Android].into_iter().filter_map(|system| Some((system, self.on(system)?)));
        let told = delivery.refund.as_ref().and_then(|refund| refund.kept("app")?.as_str());
        if let Some(found) = told.and_then(|told| both().find(|(_, app)| *app == told)) {
            return Ok(found);
        }
        match (system(&delivery.who), &self.ios, &self.android) {
            (Some(system), ..) => match self.on(system) {
                Some(app) => Ok((system, app)),
                None => Err(Refusal::skip("the buyer's phone has another system than the apps that are set")),
            },
            (None, Some(app), None) => Ok((System::Ios, app)),
            (None, None, Some(app)) => Ok((System::Android, app)),
            (None, ..) => Err(Refusal::skip("no platform, idfa, idfv, gaid or android_id, which say whose app it is")),
        }
    }

    /// What a purchase's receipt remembers for its refunds.
    pub fn receipt(&self, delivery: &Delivery) -> Option<Value> {
        let (_, app) = self.of(delivery).ok()?;
        (!delivery.event.kind.takes_back()).then(|| json!({ "app": app }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(value: Value) -> Object {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn the_system_is_told_or_shown_by_ids() {
        for (told, want) in [
            (json!({"platform": "iOS", "gaid": "x"}), Some(System::Ios)),
            (json!({"platform": "web", "gaid": "x"}), Some(System::Android)),
            (json!({"idfv": "x"}), Some(System::Ios)),
            (json!({"idfv": "x", "gaid": "y"}), None),
            (json!({"appsflyer_id": "x"}), None),
        ] {
            assert_eq!(system(&who(told.clone())), want, "{told}");
        }
    }

    #[test]
    fn ids_have_their_letters_and_nobodys_is_none() {
        let phone = who(json!({"idfa": "00000000-0000-0000-0000-000000000000", "idfv": " 95c9bd22-4a4c-41c8-9548-ed07c5c8c145"}));
        assert_eq!((plain(&phone, "idfa"), plain(&phone, "idfv").as_deref()), (None, Some("95c9bd22-4a4c-41c8-9548-ed07c5c8c145")));
        assert_eq!((upper(&phone, "idfa"), upper(&phone, "idfv").as_deref()), (None, Some("95C9BD22-4A4C-41C8-9548-ED07C5C8C145")));
    }

    #[test]
    fn addresses_are_version_four_or_none() {
        let ip = |ip: Value| ipv4(&who(json!({ "ip": ip })));
        assert_eq!(ip(json!("203.0.113.7")).as_deref(), Some("203.0.113.7"));
        assert_eq!(ip(json!(["2001:db8::1", "::ffff:203.0.113.7"])).as_deref(), Some("203.0.113.7"));
        assert_eq!([json!("2001:db8::1"), json!("x"), json!(7)].map(ip), [None, None, None]);
    }

    #[test]
    fn permissions_are_read_as_sdks_write_them() {
        assert_eq!(
            [json!(3), json!("denied"), json!("notDetermined"), json!(4)].map(|att_is| att(&who(json!({ "att": att_is })))),
            [Some(3), Some(2), Some(0), None]
        );
        let tracking = |value: Value| tracking_enabled(&who(json!({ "tracking_enabled": value })));
        assert_eq!([json!(true), json!("0"), json!(1), json!("maybe")].map(tracking), [Some(true), Some(false), Some(true), None]);
    }
}
