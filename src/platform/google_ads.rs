//! Google Ads API: uploads of click conversions and their adjustments, for accounts that may go on with it. It is closed to those that
//! did not use it before 2026-06-15; theirs is `google_data_manager`.
//!
//! Source: google-ads 34.0.0, v26 `services/types/{conversion_upload_service,conversion_adjustment_upload_service}.py` and `errors/types`
//! (2026-10); ads-developers.googleblog.com 2024-08-12 (adjustments may follow at once); rudder-transformer and action-destinations (2026-08).
//! Method: POST, JSON, up to 2,000 conversions, OAuth token and developer token.   Money: JSON number, major units.
//! Dedup: orderId within a conversion action, for ever; a repeat is refused as known.
//! Success: per item: what failed is named by its place in `partialFailureError`, everything else was taken.
//! Refunds: RESTATEMENT to what is left, or RETRACTION, which takes the count away too. Up to 54 days after the conversion.
//! Not covered: enhancements of conversions by tag, call conversions, custom variables, external attribution, session attributes.

mod adjustment;
mod answer;
mod conversion;
mod error;
mod settings;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use settings::Settings;

use super::{Adapter, Refusal, SettingError, google, keys, times, unless_halted};
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

/// conversion_upload_error: fewer than 2,001. What is answered of so many is longer than what is read of an answer; it is found out in
/// halves then.
const BATCH_MAX: usize = 2_000;

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts {
            batch_max: self.batch,
            batch_wait: self.batch_wait,
            refund: RefundShape::Restate,
            resend: Resend::Safe,
            age_max: Some(self.max_age.saturating_sub(times::MARGIN)),
            ..Facts::PLAIN
        }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.actions.of(kind).map(str::to_owned)
    }

    /// Conversions and adjustments have an address each.
    fn batch_key(&self, delivery: &Delivery) -> Option<String> {
        Some(if delivery.refund.is_some() { "adjustments" } else { "conversions" }.to_owned())
    }

    fn not_before(&self, delivery: &Delivery) -> Option<(Timestamp, String)> {
        if delivery.refund.is_some() || google::click_id(&delivery.who).is_none() { None } else { google::not_before(delivery, self.after_click) }
    }

    fn expires(&self, delivery: &Delivery) -> Option<Timestamp> {
        times::until(delivery, self.max_age, self.refund_max_age)
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        let refunds = batch.iter().filter(|delivery| delivery.refund.is_some()).count();
        match refunds {
            0 => {
                let conversions = batch.iter().map(|delivery| conversion::of(self, delivery, now)).collect::<Result<Vec<_>, _>>()?;
                Ok(self.upload("uploadClickConversions", "conversions", &conversions))
            }
            _ if refunds == batch.len() => {
                let adjustments = batch.iter().map(|delivery| adjustment::of(self, delivery, now)).collect::<Result<Vec<_>, _>>()?;
                Ok(self.upload("uploadConversionAdjustments", "conversionAdjustments", &adjustments))
            }
            _ => Err(Refusal::dead("conversions and adjustments in one request")),
        }
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        answer::verdicts(self, batch, reply, now)
    }

    fn test_mode(&mut self) -> Result<(), SettingError> {
        self.test = true;
        Ok(())
    }

    fn warnings(&self, _: &BTreeSet<Kind>, now: Timestamp) -> Vec<String> {
        let clear = keys::clear_warnings(&[("base_url", &self.base_url), ("token_url", &self.grant.token_url)]);
        clear.into_iter().chain(google::key_file_warning(&self.grant)).chain(self.version_warning(now)).collect()
    }

    fn version_ends(&self) -> Option<Timestamp> {
        self.version_end()
    }

    /// A conversion that Google is asked to validate and to forget. Its click id is none, which only a credential that works is told.
    fn probe(&self, now: Timestamp) -> Option<Request> {
        let (_, action) = self.actions.iter().next()?;
        let conversion = json!({
            "gclid": "postbackd-check",
            "conversionAction": self.action(action),
            "conversionDateTime": conversion::time(now),
            "orderId": "postbackd-check",
        });
        let only_validate = Self { test: true, ..self.clone() };
        Some(only_validate.upload("uploadClickConversions", "conversions", &[conversion]))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        unless_halted(answer::halts(self, reply, Timestamp::UNIX_EPOCH))
    }
}

impl Settings {
    fn upload(&self, method: &str, name: &str, items: &[Value]) -> Request {
        let body = json!({ name: items, "partialFailure": true, "validateOnly": self.test });
        let request = Request::json(format!("{}/{}/customers/{}:{method}", self.base_url, self.version, self.account), &body);
        let request = request.granted(&self.grant).with("developer-token", self.developer_token.reveal());
        match &self.login_account {
            Some(login) => request.with("login-customer-id", login.as_str()),
            None => request,
        }
    }

    /// An action's resource name.
    fn action(&self, id: &str) -> String {
        format!("customers/{}/conversionActions/{id}", self.account)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        delivery::Said,
        event::{Event, Object},
        secret::Secret,
    };

    fn settings(more: &str) -> Settings {
        let text = format!("account = 1\ndeveloper_token = 'd'\nactions = {{ purchase = 5 }}\nservice_account = 's'\n{more}");
        let resolve = |value: &toml::Value| Ok(Secret::new("env S", value.as_str().unwrap_or_default()));
        Settings::parse(&text.parse().expect("TOML"), &resolve).expect(text.as_str())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn versions_are_warned_about_before_they_end() {
        let warning = |version: &str, now: &str| settings(&format!("version = '{version}'")).version_warning(at(now)).unwrap_or_default();
        assert_eq!(warning("v26", "2026-11-01T00:00:00Z"), "");
        assert!(warning("v26", "2027-08-15T00:00:00Z").contains("end about 2027-10-01"));
        assert!(warning("v23", "2026-11-15T00:00:00Z").contains("end about 2027-01-01"));
        assert!(warning("v19", "2026-11-01T00:00:00Z").contains("not known to be served any more; the newest known is v26"));
        assert_eq!(warning("v27", "2027-11-01T00:00:00Z"), "");
    }

    #[test]
    fn an_answer_that_was_cut_is_found_out_in_halves() {
        let event = Event::decode(7, "purchase", "1001", r#"{"value": "1", "currency": "EUR"}"#, at("2026-03-01T10:00:00Z")).expect("readable");
        let said = Said { value: event.value, currency: event.currency, at: event.occurred_at, click: Default::default(), name: Some("5".into()) };
        let event_id = "purchase-1001".to_owned();
        let delivery = Delivery { event: Arc::new(event), event_id, generation: 1, who: Object::new(), said, refund: None, attempt: 1 };
        let cut = Reply { cut: true, ..Reply::plain(200, "{\"results\": [{") };
        let verdicts = settings("").outcome(&[delivery.clone(), delivery], &cut, at("2026-03-01T12:00:00Z"));
        assert!(matches!(verdicts[..], [Outcome::Split { .. }, Outcome::Split { .. }]), "{verdicts:?}");
    }

    #[test]
    fn the_probe_tells_a_bad_credential_from_a_bad_click() {
        let to = settings("");
        let probe = to.probe(at("2026-03-01T12:00:00Z")).expect("a probe");
        assert!(String::from_utf8_lossy(&probe.body).contains("\"validateOnly\":true"));
        let failure = |family: &str, name: &str| json!({ "details": [{ "errors": [{ "errorCode": { family: name } }] }] });
        let refused = json!({ "error": failure("authenticationError", "OAUTH_TOKEN_REVOKED") }).to_string();
        assert!(to.probed(&Reply::plain(401, &refused)).is_err_and(|why| why.contains("OAUTH_TOKEN_REVOKED") && why.contains("env S")));
        let unknown = json!({ "partialFailureError": failure("conversionUploadError", "NO_CONVERSION_ACTION_FOUND") }).to_string();
        assert!(to.probed(&Reply::plain(200, &unknown)).is_err_and(|why| why.contains("correct actions")));
        let click = json!({ "partialFailureError": failure("conversionUploadError", "UNPARSEABLE_GCLID") }).to_string();
        assert_eq!(to.probed(&Reply::plain(200, &click)), Ok(()));
        assert!(to.probed(&Reply::plain(403, "<html>")).is_err());
    }
}
