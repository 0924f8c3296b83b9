//! Whether a sale came into the commission report (Commission Detail API). It is there once it is attributed and posted; what CJ dropped
//! never comes.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{super::times, answer, settings::Settings};
use crate::{
    delivery::Awaiting,
    outcome::{Outcome, Reply, by_api_status, quote},
    request::Request,
};

/// Sales of the same five minutes share a question.
const WINDOW: i64 = 300;
/// Unverified: that the report has the very time that was told.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// Processing takes an hour; a day later it will not come.
const DROPPED_AFTER: i64 = 86_400;

const QUERY: &str = "query($c:[String!]!,$s:String,$b:String){advertiserCommissions(forAdvertisers:$c,sinceEventDate:$s,beforeEventDate:$b)\
    {payloadComplete records{orderId actionTrackerId}}}";

pub(super) fn question(to: &Settings, awaiting: &Awaiting) -> Option<Request> {
    let (company, token) = (to.company.as_ref()?, to.token.as_ref()?);
    let start = Timestamp::from_second(awaiting.said.at.as_second().div_euclid(WINDOW) * WINDOW).ok()?;
    let since = start.checked_sub(MARGIN).ok()?;
    let before = start.checked_add(SignedDuration::from_secs(WINDOW)).ok()?.checked_add(MARGIN).ok()?;
    let variables = json!({ "c": [company], "s": times::rfc3339(since), "b": times::rfc3339(before) });
    let body = json!({ "query": QUERY, "variables": variables });
    Some(Request::json(format!("{}/query", to.commissions_url), &body).with("Authorization", format!("Bearer {}", token.reveal())))
}

pub(super) fn found(to: &Settings, awaiting: &[Awaiting], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    let all = |outcome: Outcome| vec![outcome; awaiting.len()];
    if let Some(why) = answer::refused_token(reply) {
        let secret = to.token.as_ref().map_or("token", |token| token.name());
        let company = to.company.as_deref().unwrap_or_default();
        return all(Outcome::halted(why, format!("let the token in {secret} read commissions of company {company}, reload and resume")));
    }
    let body = reply.json().unwrap_or_default();
    let Some(report) = body.pointer("/data/advertiserCommissions").filter(|report| report.is_object()) else {
        return all(match by_api_status(reply, now, &to.fix()) {
            Outcome::Delivered { .. } | Outcome::Rejected { .. } => Outcome::retry(format!(
                "HTTP {}: {}",
                reply.status,
                quote(body.pointer("/errors/0/message").and_then(Value::as_str).unwrap_or("no report"))
            )),
            other => other,
        });
    };
    let complete = report.get("payloadComplete") == Some(&Value::Bool(true));
    let records = || report.get("records").and_then(Value::as_array).into_iter().flatten();
    let verdict = |awaiting: &Awaiting| {
        let told = |key: &str| awaiting.answer.get(key).and_then(Value::as_str);
        let is = |record: &&Value| {
            let of = |key: &str| record.get(key).and_then(Value::as_str);
            of("orderId").is_some() && of("orderId") == told("order") && of("actionTrackerId") == told("action")
        };
        let since = awaiting.answer.get("sent").and_then(Value::as_i64).unwrap_or_else(|| awaiting.said.at.as_second());
        match records().find(is) {
            Some(_) => Outcome::noted("in the commission report"),
            None if complete && now.as_second().saturating_sub(since) >= DROPPED_AFTER => {
                Outcome::rejected("a day later it is not in the commission report: CJ knew no publisher for its cjevent, or knew the order already")
            }
            None => Outcome::Accepted { answer: Some(awaiting.answer.clone()) },
        }
    };
    awaiting.iter().map(verdict).collect()
}
