//! Apple's postbacks handed on as they came: to a measurement partner or a receiver of one's own, at the path that Apple's devices use.
//!
//! Source: developer.apple.com, "Configuring an advertised app" and "Verifying a postback" (paths, JSON body, POST, no authentication, 2026).
//! Method: POST of the very bytes that the device sent, which the event carries.   Money: none of ours; a body holds a conversion value.
//! Dedup: receivers count a postback once, because a device itself tries up to nine times: resending is safe.   Success: 2xx.
//! Unverified: that a partner takes postbacks from a server. Partners document that devices send them; hence an opt-in, and no host is
//! built in. Not covered: other forms that partners may have for them; those are templates of `postback`.

use jiff::Timestamp;
use toml::Table;

use super::{
    Adapter, Refusal, Resolve, SettingError,
    keys::{self, Parsed},
    single,
};
use crate::{
    apple::{Protocol, tell},
    delivery::{Delivery, Facts, Resend},
    event::Kind,
    outcome::{Outcome, Reply, by_api_status},
    request::{Method, Request},
};

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    base_url: String,
    protocols: Vec<Protocol>,
}

impl Settings {
    pub(in crate::platform) fn parse(table: &Table, _: Resolve<'_>) -> Parsed<Self> {
        keys::only(table, "", &["base_url", "protocols"])?;
        let like = "https://partner.example";
        keys::required(table, "base_url", like)?;
        let all = "protocols = [\"skadnetwork\", \"adattributionkit\"]";
        let wrong = |message: String| SettingError { key: "protocols".into(), message };
        let Some(listed) = table.get("protocols") else {
            return Err(wrong(format!("it is missing: {all}, or one of them: what the receiver takes")));
        };
        let listed = listed.as_array().filter(|listed| !listed.is_empty()).ok_or_else(|| wrong(format!("a list is expected: {all}")))?;
        let protocol = |word: &toml::Value| {
            let word = word.as_str().unwrap_or_default();
            Protocol::ALL.into_iter().find(|protocol| protocol.word() == word).ok_or_else(|| {
                let hint = crate::words::hint(word, Protocol::ALL.map(Protocol::word));
                wrong(format!("{word:?} is none of skadnetwork, adattributionkit{hint}"))
            })
        };
        Ok(Self { base_url: keys::base_url(table, "base_url", like)?, protocols: listed.iter().map(protocol).collect::<Parsed<_>>()? })
    }
}

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts { resend: Resend::Safe, ..Facts::PLAIN }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        matches!(kind, Kind::Install | Kind::Custom).then(|| "postback".to_owned())
    }

    fn request(&self, batch: &[Delivery], _: Timestamp) -> Result<Request, Refusal> {
        let more = &single(batch)?.event.more;
        let Some(body) = tell::body(more) else { return Err(Refusal::skip("no postback of Apple's")) };
        let word = more.get(tell::KEY).and_then(|apple| apple.get("protocol")).and_then(|word| word.as_str()).unwrap_or_default();
        let Some(protocol) = self.protocols.iter().find(|protocol| protocol.word() == word) else {
            return Err(Refusal::skip(format!(
                "{} is not relayed here",
                Protocol::ALL.map(Protocol::word).iter().find(|known| **known == word).unwrap_or(&"this")
            )));
        };
        let request = Request::new(Method::Post, format!("{}{}", self.base_url, protocol.path()));
        Ok(Request { body, ..request.with("Content-Type", "application/json") })
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        const ASK: &str = "ask the receiver whether it takes postbacks from a server; then resume";
        let verdict = match reply.status {
            // There is no credential that could be wrong.
            401 | 403 => Outcome::halted(format!("the receiver refuses (HTTP {})", reply.status), ASK),
            _ => by_api_status(reply, now, ASK),
        };
        vec![verdict; batch.len()]
    }

    fn warnings(&self, _: &std::collections::BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        keys::clear_warnings(&[("base_url", &self.base_url)])
    }
}
