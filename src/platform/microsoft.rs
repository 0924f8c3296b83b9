//! Microsoft Advertising: offline conversions of the Campaign Management API (`api = "offline"`), or events of the UET Conversions API
//! (`api = "capi"`).
//!
//! One name for both, because a shop has one Microsoft Advertising and the same click id goes to either, and because an order told to
//! both is counted twice where they share a goal: whoever sets one up should see the other. Offline conversions are the default: they are
//! open to everybody, take refunds, and a repeat is dropped for certain.
//!
//! Source: learn.microsoft.com/advertising, campaign-management-service (applyofflineconversions, offlineconversion,
//! applyofflineconversionadjustments, offlineconversionadjustment, dailysummary 2024-11), guides/uet-conversion-api-integration (2026);
//! msads 13.0.30.1 (addresses, headers, OAuth); Segment's and walkerOS' connectors for the Conversions API (2026-08).
//! Method: POST, JSON, up to 1,000; OAuth token and developer token, or the tag's token.   Money: JSON number, major units.
//! Dedup: offline: click id, goal and time to the second (and hashed e-mail and phone, where sent), for ever; capi: event id and name.
//! Success: offline: 200 and no PartialErrors means taken; whether a click was found is told by day, not by conversion. capi: eventsReceived.
//! Refunds: offline: restated with what is left, or retracted, up to 90 days after the purchase; capi: none.
//! Not covered: external attribution, online conversion adjustments, page loads and hotel data of the Conversions API, Google sign-in.

mod applied;
mod event;
mod offline;
mod received;
mod settings;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

pub use settings::Settings;
use settings::{Api, Capi, OFFLINE_AGE, UserData};

use super::{Adapter, Refusal, SettingError, keys, times, unless_halted};
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

/// Conversions API: a connector states 1 MB; unverified for offline conversions, of which a thousand are far less.
const BYTES_MAX: usize = 1_000_000;
/// Unverified: for how long the Conversions API drops a repeated event id; its guide knows one for tag and server, hence the setting.
const DEDUPES_FOR: Duration = Duration::from_secs(24 * 3_600);

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        let facts = Facts {
            batch_max: self.batch,
            bytes_max: BYTES_MAX,
            batch_wait: self.batch_wait,
            age_max: Some(self.max_age.saturating_sub(times::MARGIN)),
            ..Facts::PLAIN
        };
        match &self.api {
            Api::Offline(_) => Facts { refund: RefundShape::Restate, resend: Resend::Safe, ..facts },
            Api::Capi(capi) => Facts { resend: if capi.resend { Resend::Within(DEDUPES_FOR) } else { Resend::Never }, ..facts },
        }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.names.of(kind).map(str::to_owned)
    }

    fn batch_key(&self, delivery: &Delivery) -> Option<String> {
        matches!(self.api, Api::Offline(_)).then(|| list_of(delivery).to_owned())
    }

    fn not_before(&self, delivery: &Delivery) -> Option<(Timestamp, String)> {
        match &self.api {
            Api::Offline(offline) => offline::not_before(offline, delivery),
            Api::Capi(_) => None,
        }
    }

    fn expires(&self, delivery: &Delivery) -> Option<Timestamp> {
        times::until(delivery, self.max_age, OFFLINE_AGE)
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        match &self.api {
            Api::Offline(to) => {
                let one = |delivery: &Delivery| match &delivery.refund {
                    Some(refund) => offline::adjustment(to, delivery, refund),
                    None => offline::conversion(to, delivery),
                };
                let list = batch.iter().map(one).collect::<Result<Vec<_>, _>>()?;
                Ok(offline::apply(self, to, batch.first().map_or(offline::CONVERSIONS, list_of), &list))
            }
            Api::Capi(to) => {
                let events = batch.iter().map(|delivery| event::of(to, delivery, now)).collect::<Result<Vec<_>, _>>()?;
                Ok(self.post(to, &events))
            }
        }
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        match &self.api {
            Api::Offline(offline) => applied::verdicts(self, offline, batch, reply, now),
            Api::Capi(capi) => received::verdicts(capi, batch.len(), reply, now),
        }
    }

    /// The sandbox takes conversions and attributes none.
    fn test_mode(&mut self) -> Result<(), SettingError> {
        self.use_sandbox()
    }

    fn warnings(&self, kinds: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        let own = match &self.api {
            Api::Offline(offline) => (offline.user_data == UserData::Always).then(|| {
                "user_data = \"send\": a conversion told again after its e-mail or phone was enriched may count twice; \"without_click\" is safer"
                    .to_owned()
            }),
            Api::Capi(_) => kinds
                .contains(&Kind::Refund)
                .then(|| "refunds are wanted but cannot be told: set api = \"offline\", or take refund out of kinds".to_owned()),
        };
        let token_url = match &self.api {
            Api::Offline(offline) => &offline.grant.token_url,
            Api::Capi(_) => "",
        };
        keys::clear_warnings(&[("base_url", &self.base_url), ("token_url", token_url)]).into_iter().chain(own).collect()
    }

    /// An empty list: whoever may not write is told that, everybody else that it is empty. Unverified for offline conversions, where what
    /// is no refusal of the credential passes.
    fn probe(&self, _: Timestamp) -> Option<Request> {
        Some(match &self.api {
            Api::Offline(offline) => offline::apply(self, offline, offline::CONVERSIONS, &[]),
            Api::Capi(capi) => self.post(capi, &[]),
        })
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        unless_halted(match &self.api {
            Api::Offline(offline) => applied::halt(self, offline, reply),
            Api::Capi(capi) => received::verdicts(capi, 1, reply, Timestamp::UNIX_EPOCH).pop(),
        })
    }
}

fn list_of(delivery: &Delivery) -> &'static str {
    if delivery.refund.is_some() { offline::ADJUSTMENTS } else { offline::CONVERSIONS }
}

impl Settings {
    fn post(&self, to: &Capi, events: &[Value]) -> Request {
        // Unverified: that it stands beside the list, as two connectors and the guide have it; a third has it in each event.
        let body = json!({ "data": events, "continueOnValidationError": true });
        let url = format!("{}/{}/{}/events", self.base_url, self.version, to.tag);
        Request::json(url, &body).with("Authorization", format!("Bearer {}", to.access_token.reveal()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{grant::Means, secret::Secret};

    fn settings(more: &str) -> Settings {
        let table = if more.contains("capi") {
            format!("tag = 7\naccess_token = 'T'\n{more}")
        } else {
            format!(
                "account = 1\ncustomer = 2\ngoals = {{ purchase = 'Sale' }}\ndeveloper_token = 'D'
                oauth = {{ client_id = 'c', refresh_token = 'R' }}\n{more}"
            )
        };
        let resolve = |value: &toml::Value| Ok(Secret::new(value.as_str().unwrap_or_default(), "token"));
        Settings::parse(&table.parse().expect("TOML"), &resolve).expect("settings")
    }

    #[test]
    fn a_probe_sends_nothing_and_its_answer_tells_credentials_from_the_empty_list() {
        let offline = settings("");
        let request = offline.probe(Timestamp::UNIX_EPOCH).expect("a probe");
        assert!(request.url.ends_with("/v13/OfflineConversions/Apply") && request.body == br#"{"OfflineConversions":[]}"#);
        let fault = |code: i64, name: &str| Reply::plain(400, &json!({ "Errors": [{ "Code": code, "ErrorCode": name }] }).to_string());
        assert!(offline.probed(&fault(105, "InvalidCredentials")).is_err_and(|why| why.contains("renew R") && why.contains("D is the developer")));
        assert!(offline.probed(&fault(106, "UserIsNotAuthorized")).is_err_and(|why| why.contains("account 1 of customer 2")));
        assert!(offline.probed(&Reply::plain(401, "")).is_err());
        assert_eq!(offline.probed(&fault(5_511, "OfflineConversionsNullOrEmpty")), Ok(()));
        assert_eq!(offline.probed(&Reply::plain(200, r#"{"PartialErrors":[]}"#)), Ok(()));
        let capi = settings("api = 'capi'");
        let request = capi.probe(Timestamp::UNIX_EPOCH).expect("a probe");
        assert!(request.url == "https://capi.uet.microsoft.com/v1/7/events" && request.body.starts_with(br#"{"data":[],"#));
        assert!(capi.probed(&Reply::plain(401, "{}")).is_err_and(|why| why.contains("put it into T")));
        assert_eq!(capi.probed(&Reply::plain(400, "{}")), Ok(()));
    }

    #[test]
    fn the_sandbox_has_addresses_and_a_scope_of_its_own_unless_others_are_set() {
        let reached = |more: &str| {
            let mut settings = settings(more);
            settings.test_mode().expect("a test mode");
            let Api::Offline(offline) = &settings.api else { panic!("not offline") };
            let Means::Refresh { scope, .. } = &offline.grant.means else { panic!("no refresh token") };
            (settings.base_url.clone(), offline.grant.token_url.clone(), scope.clone().expect("a scope"))
        };
        let (base, token, scope) = reached("");
        assert!(base.contains(".sandbox.") && token.contains("windows-ppe") && scope.starts_with("https://api.ads."));
        let (base, token, scope) = reached("base_url = 'http://localhost:1'\ntoken_url = 'http://localhost:2'");
        assert_eq!((base.as_str(), token.as_str()), ("http://localhost:1", "http://localhost:2"));
        assert!(scope.starts_with("https://ads."));
        assert!(settings("api = 'capi'").test_mode().is_err_and(|error| error.key == "mode"));
    }

    #[test]
    fn what_a_setting_cannot_do_is_warned_about() {
        let warned = |more: &str, kinds: &[Kind]| settings(more).warnings(&kinds.iter().copied().collect(), Timestamp::UNIX_EPOCH).join("; ");
        assert_eq!(warned("", &[Kind::Purchase, Kind::Refund]), "");
        assert!(warned("user_data = 'send'", &[Kind::Purchase]).contains("without_click"));
        assert_eq!(warned("user_data = 'without_click'", &[Kind::Purchase]), "");
        assert!(warned("token_url = 'http://10.0.0.1'", &[Kind::Purchase]).starts_with("token_url is not https"));
        assert!(warned("api = 'capi'", &[Kind::Purchase, Kind::Refund]).contains("api = \"offline\""));
        assert_eq!(warned("api = 'capi'", &[Kind::Purchase]), "");
    }

    #[test]
    fn only_offline_conversions_take_refunds_and_drop_every_repeat() {
        let facts = |more: &str| settings(more).facts();
        assert_eq!((facts("").refund, facts("").resend), (RefundShape::Restate, Resend::Safe));
        assert_eq!((facts("api = 'capi'").refund, facts("api = 'capi'").resend), (RefundShape::None, Resend::Within(DEDUPES_FOR)));
        assert_eq!(facts("api = 'capi'\nresend = 'never'").resend, Resend::Never);
    }
}
