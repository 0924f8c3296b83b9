//! Singular: events of a shop's apps that happen on its server, for phones of which a session is known.
//!
//! Source: support.singular.net, "Server-to-Server - EVENT Endpoint API Reference" and "S2S API Response Codes & Errors" as other
//! implementations quote them (2026); RevenueCat's and RudderStack's requests (2026).
//! Method: V2 POST, a form; V1 (accounts made before 2026-07-15) GET; one event, the SDK key as `a`.   Money: decimal text, major units.
//! Dedup: none, and what was taken in cannot be deleted: at most once.   Success: 200 and `status` ok, which means queued.
//! Refunds: unverified: negative amounts; hence a custom event without revenue, and negative as a setting.
//! Order: Singular wants the events of one phone in the order of their time. Those of one order are sent so; two orders of one phone within
//! seconds may pass each other, which each event's own `umilisec` tells.
//! Not a preset of `postback`: ids by system and version, consent, and an answer whose reason tells the key from the event.
//! Not covered: systems other than iOS and Android, `global_properties`, SKAdNetwork's values, a revenue event for each article.

mod answer;
mod event;
mod settings;

use std::collections::BTreeSet;

use jiff::Timestamp;

pub use settings::Settings;
use settings::Version;

use super::{Adapter, Refusal, SettingError, form::Pairs, keys, single};
use crate::{
    delivery::{Delivery, Facts, Resend},
    event::Kind,
    outcome::{Outcome, Reply},
    request::{Method, Request},
};

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts { refund: self.refunds, resend: Resend::Never, ..Facts::PLAIN }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.names.of(kind).map(str::to_owned)
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        event::request(self, single(batch)?, now)
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        batch.iter().map(|delivery| answer::outcome(self, delivery, reply, now)).collect()
    }

    fn refused(&self, reply: &Reply) -> bool {
        answer::refused(reply)
    }

    /// Singular knows apps for tests by keys of their own.
    fn test_mode(&mut self) -> Result<(), SettingError> {
        match self.sandbox_sdk_key.take() {
            Some(key) => self.sdk_key = key,
            None => return keys::wrong("sandbox_sdk_key", "mode = \"test\" needs it: the SDK key of an account or app for tests"),
        }
        Ok(())
    }

    fn warnings(&self, _: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        let old =
            (self.version == Version::V1).then(|| "version \"v1\" works for accounts made before 2026-07-15 alone; \"v2\" wants who.sdid".to_owned());
        keys::clear_warnings(&[("base_url", &self.base_url)]).into_iter().chain(old).collect()
    }

    /// An app without an event and a phone, of which nothing can be queued. Unverified: that the key is looked at before what is missing; where
    /// it is not, a wrong one passes here and halts the destination with the first event.
    fn probe(&self, _: Timestamp) -> Option<Request> {
        let (system, app) = self.apps.any();
        let mut form = Pairs::default();
        form.put("a", self.sdk_key.reveal()).put("p", event::name_of(system)).put("i", app);
        Some(self.send(&form))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        answer::of_probe(self, reply).map_or(Ok(()), Err)
    }
}

impl Settings {
    fn send(&self, form: &Pairs) -> Request {
        match self.version {
            Version::V1 => form.get(&format!("{}/api/v1/evt", self.base_url)),
            Version::V2 => form.form(Method::Post, &format!("{}/api/v2/evt", self.base_url)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn settings(more: &str) -> Settings {
        let table = format!("apps = {{ ios = 'com.example.shop' }}\nsdk_key = 'K'\n{more}").parse().expect("TOML");
        Settings::parse(&table, &|value| Ok(Secret::new(value.as_str().unwrap_or_default(), "key"))).expect("settings")
    }

    #[test]
    fn tests_need_a_key_of_their_own() {
        assert!(settings("").test_mode().is_err_and(|error| error.key == "sandbox_sdk_key"));
        let mut both = settings("sandbox_sdk_key = 'S'");
        assert_eq!((both.test_mode(), both.sdk_key.name()), (Ok(()), "S"));
    }

    #[test]
    fn an_error_is_not_queued_but_silence_may_be() {
        let refused = |body: &str| settings("").refused(&Reply::plain(200, body));
        assert!(refused(r#"{"status": "error", "reason": "try again later"}"#));
        assert!(!refused("<html>error</html>") && !refused("{}"));
    }

    #[test]
    fn the_old_version_is_warned_about() {
        let warned = |more: &str| settings(more).warnings(&BTreeSet::new(), Timestamp::UNIX_EPOCH).join("; ");
        assert_eq!(warned(""), "");
        assert!(warned("version = 'v1'").contains("2026-07-15"));
    }

    #[test]
    fn a_probe_holds_no_event_and_tells_wrong_keys() {
        let body = settings("").probe(Timestamp::UNIX_EPOCH).map(|request| String::from_utf8_lossy(&request.body).into_owned());
        assert_eq!(body.as_deref(), Some("a=key&p=iOS&i=com.example.shop"));
        let probed = |status, reason: &str| settings("").probed(&Reply::plain(status, &format!(r#"{{"status": "error", "reason": "{reason}"}}"#)));
        assert_eq!([probed(200, "missing argument: n"), probed(200, "no device ID supplied")], [Ok(()), Ok(())]);
        assert!(probed(200, "Invalid SDK key").is_err_and(|why| why.contains("into K")));
        assert!(probed(403, "").is_err());
    }
}
