//! Adjust: events of a shop's app that happen on its server, for phones that the app's SDK has told of.
//!
//! Source: dev.adjust.com s2s-api and s2s-api/events, help.adjust.com s2s-api-reference (2026); PostHog's and RudderStack's connectors (2026).
//! Method: POST, a form, one event; a bearer token where S2S Security is on.   Money: decimal text, major units.
//! Dedup: none (an event may be set to be unique for a phone): at most once.   Success: 200 with an OK.
//! Refunds: unverified: negative revenue; hence an event without revenue of a token of its own, and negative as a setting.
//! Time: an event before the install is refused alone. Unverified: how old one may be (28 days are said); it would be refused alone too.
//! Not a preset of `postback`: the reason within the answer tells app, event and phone apart, and unknown phones are tried again.
//! Not covered: `partner_params`, hashed ids, sharing options of third parties (calls of their own), conversion values in the answer.

mod answer;
mod event;
mod settings;

use std::collections::BTreeSet;

use jiff::Timestamp;

pub use settings::Settings;

use super::{Adapter, Refusal, SettingError, form::Pairs, keys, single, unless_halted};
use crate::{
    delivery::{Delivery, Facts, RefundShape, Resend},
    event::Kind,
    outcome::{Outcome, Reply},
    request::{Method, Request},
};

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts { refund: self.refunds, resend: if self.resend { Resend::Safe } else { Resend::Never }, ..Facts::PLAIN }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.events.of(kind).map(str::to_owned)
    }

    /// Negative revenue adds up, whatever is said of sales.
    fn resend(&self, kind: Kind) -> Resend {
        if kind.takes_back() && self.refunds == RefundShape::Negative { Resend::Never } else { self.facts().resend }
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        event::request(self, single(batch)?, now)
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        batch.iter().map(|delivery| answer::outcome(self, delivery.event.kind, delivery.attempt, reply, now)).collect()
    }

    fn refused(&self, reply: &Reply) -> bool {
        answer::refused(reply)
    }

    /// Adjust's sandbox, whose events stand apart.
    fn test_mode(&mut self) -> Result<(), SettingError> {
        self.sandbox = true;
        Ok(())
    }

    fn warnings(&self, kinds: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        let none = kinds.contains(&Kind::Refund) && self.refunds == RefundShape::None;
        let none = none.then(|| "refunds are not told: make an event for them in Adjust, and set events = { refund = \"TOKEN\" }".to_owned());
        keys::clear_warnings(&[("base_url", &self.base_url)]).into_iter().chain(none).collect()
    }

    /// An event of no phone in the sandbox, which cannot be recorded. Unverified: that tokens are looked at before the phone; where they are
    /// not, a wrong one passes here and halts the destination with the first event.
    fn probe(&self, _: Timestamp) -> Option<Request> {
        let (_, event) = self.events.iter().next()?;
        let mut form = Pairs::default();
        form.put("s2s", "1").put("app_token", &self.app_token).put("event_token", event).put("environment", "sandbox");
        Some(self.post(&form))
    }

    fn probed(&self, reply: &Reply) -> Result<(), String> {
        let kind = self.events.iter().next().map_or(Kind::Purchase, |(kind, _)| kind);
        unless_halted(answer::outcome(self, kind, 1, reply, Timestamp::UNIX_EPOCH))
    }
}

impl Settings {
    fn post(&self, form: &Pairs) -> Request {
        let request = form.form(Method::Post, &format!("{}/event", self.base_url));
        match &self.token {
            Some(token) => request.with("Authorization", format!("Bearer {}", token.reveal())),
            None => request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &str) -> Settings {
        let table = format!("app_token = 'a'\n{more}").parse().expect("TOML");
        Settings::parse(&table, &|_| Err("no secrets here".into())).expect("settings")
    }

    #[test]
    fn refunds_are_told_where_they_have_an_event() {
        let shape = |more: &str| settings(more).facts().refund;
        assert_eq!(shape("events = { purchase = 'x' }"), RefundShape::None);
        assert_eq!(shape("events = { purchase = 'x', refund = 'y' }"), RefundShape::Event);
        assert_eq!(shape("events = { purchase = 'x', refund = 'y' }\nrefunds = 'none'"), RefundShape::None);
        let warned = |more: &str| settings(more).warnings(&BTreeSet::from([Kind::Refund]), Timestamp::UNIX_EPOCH).join("; ");
        assert!(warned("events = { purchase = 'x' }").contains("refund = \"TOKEN\""));
        assert_eq!(warned("events = { purchase = 'x', refund = 'y' }"), "");
    }

    #[test]
    fn negative_revenue_is_never_sent_twice() {
        let resend = |more: &str| {
            let to = settings(&format!("events = {{ purchase = 'x', refund = 'y' }}\n{more}"));
            [Kind::Purchase, Kind::Refund, Kind::Retract].map(|kind| to.resend(kind))
        };
        assert_eq!(resend(""), [Resend::Never; 3]);
        assert_eq!(resend("resend = 'safe'"), [Resend::Safe; 3]);
        assert_eq!(resend("resend = 'safe'\nrefunds = 'negative'"), [Resend::Safe, Resend::Never, Resend::Never]);
    }

    #[test]
    fn only_words_of_adjusts_own_say_that_nothing_was_recorded() {
        let refused = |status, body: &str| settings("events = { purchase = 'x' }").refused(&Reply::plain(status, body));
        assert!(refused(404, r#"{"error": "Event request failed (Device not found)"}"#));
        assert!(!refused(404, "not found") && !refused(500, r#"{"error": "Event request failed (Internal error)"}"#) && !refused(200, "{}"));
    }

    #[test]
    fn a_probe_is_of_nobody_and_tells_wrong_tokens() {
        let to = settings("events = { purchase = 'x' }");
        let body = to.probe(Timestamp::UNIX_EPOCH).map(|request| String::from_utf8_lossy(&request.body).into_owned());
        assert_eq!(body.as_deref(), Some("s2s=1&app_token=a&event_token=x&environment=sandbox"));
        let probed = |status, why: &str| to.probed(&Reply::plain(status, &format!(r#"{{"error": "Event request failed ({why})"}}"#)));
        assert_eq!([(404, "Device not found"), (400, "Bad event state")].map(|(status, why)| probed(status, why).is_ok()), [true, true]);
        assert!(probed(400, "Invalid event token").is_err_and(|why| why.contains("events.purchase")));
        assert!(probed(404, "App token not found").is_err_and(|why| why.contains("app_token")));
        assert!(probed(401, "Failed to authorize request").is_err_and(|why| why.contains("set token")));
    }
}
