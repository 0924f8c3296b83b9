//! What an answer to `Apply` means. Taken is not counted: Microsoft looks for the click later, and says only by day how many were found.
//!
//! | status, error | verdict |
//! |---|---|
//! | 200 | delivered; those of `PartialErrors` by their own word, by default rejected |
//! | 200, longer than what is read of an answer | split: what was taken is dropped when it comes again |
//! | 105, 106, 108, 116, 204, 205, 208, 1001, 1029, 1030, 1102 | halted: credential, account, address |
//! | 109 | retry: the token has ended; with 401 halted: so has a fresh one |
//! | 117, 207 | retry, the destination slows down, for a minute where no time is named |
//! | 0 | retry |
//! | `OfflineConversionNameInvalid`, `NotEligibleForEnhancedConversions` | halted: the goal |
//! | `OfflineConversionGoalTooRecent` | retry in 2 hours |
//! | a time in the future | retry in 10 minutes |
//! | a duplicate | delivered |
//! | other statuses with errors that name places | those by their own word, the others sent again |
//! | 400, nothing named | split; alone: rejected |
//! | 401, 403, 404 | halted |
//! | 429, 5xx | retry |
//!
//! Numbers and names: learn.microsoft.com, guides/handle-service-errors-exceptions and operation-error-codes; campaign-management-service/
//! dailysummary, whose `Status` names what can be wrong with a conversion. Unverified: that `PartialErrors` uses the same names; how an
//! answer without errors looks (an empty list is documented; an object without one is taken too).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::cut_short,
    offline,
    settings::{Offline, Settings},
};
use crate::{
    delivery::Delivery,
    outcome::{Outcome, Reply, by_api_status, by_index, quote, retry_after},
    platform::times,
};

const MINUTE: Duration = Duration::from_secs(60);
const TEN_MINUTES: Duration = Duration::from_secs(600);
const TWO_HOURS: Duration = Duration::from_secs(7_200);
/// ApplicationFault and its kin.
const FAULTS: [&str; 3] = ["BatchErrors", "OperationErrors", "Errors"];

/// One error object: BatchError, OperationError or AdApiError.
struct Fault {
    place: Option<usize>,
    code: Option<i64>,
    name: String,
    why: String,
}

impl Fault {
    fn read(error: &Value) -> Option<Self> {
        let error = error.as_object()?;
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        let code = error.get("Code").and_then(Value::as_i64);
        let words = [text("ErrorCode"), text("Message")].into_iter().filter(|text| !text.is_empty()).map(quote).collect::<Vec<_>>().join(": ");
        let why = format!("error {} {words}", code.map_or_else(String::new, |code| code.to_string()));
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        let place = error.get("Index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        Some(Self { place, code, name: text("ErrorCode").to_owned(), why })
    }
}

pub(super) fn verdicts(to: &Settings, offline: &Offline, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    let body = reply.json().unwrap_or_default();
    let count = batch.len();
    // When it was: an adjustment has to wait from then on.
    let taken = Outcome::Delivered { answer: Some(json!({ "applied": times::rfc3339(now) })), note: None };
    if (200..=299).contains(&reply.status) {
        if let Some(split) = cut_short(reply, count, true) {
            return vec![split; count];
        }
        let answered = body.get("PartialErrors").is_some() || body.as_object().is_some_and(serde_json::Map::is_empty);
        if !answered {
            return vec![Outcome::retry(format!("HTTP {}, but no answer of the Campaign Management API", reply.status)); count];
        }
        let faults = faults(&body, &["PartialErrors"]);
        let unplaced = faults.iter().find(|fault| fault.place.is_none_or(|place| place >= count));
        let rest = unplaced.map_or(taken.clone(), |fault| Outcome::Split { why: fault.why.clone() });
        let named = faults.iter().filter_map(|fault| Some((fault.place?, of_one(to, offline, fault, &taken, reply, now))));
        return by_index(count, named, &rest);
    }
    let faults = faults(&body, &FAULTS);
    if let Some(outcome) = faults.iter().filter(|fault| fault.place.is_none()).find_map(|fault| of_all(to, offline, fault, reply, now)) {
        return vec![outcome; count];
    }
    let placed = faults.iter().filter_map(|fault| fault.place.filter(|place| *place < count).map(|place| (place, fault)));
    let named: Vec<_> = placed.map(|(place, fault)| (place, of_one(to, offline, fault, &taken, reply, now))).collect();
    if !named.is_empty() {
        return by_index(count, named, &Outcome::Split { why: "refused for another conversion of its request".into() });
    }
    match (reply.status, faults.first()) {
        (400, fault) => vec![Outcome::Split { why: fault.map_or("HTTP 400", |fault| &fault.why).to_owned() }; count],
        _ => vec![by_api_status(reply, now, &offline::renew(offline)); count],
    }
}

/// What it means for everybody, of credential, account or limits; `None`: it is about a conversion, or nobody knows.
pub(super) fn halt(to: &Settings, offline: &Offline, reply: &Reply) -> Option<Outcome> {
    let body = reply.json().unwrap_or_default();
    let found = faults(&body, &FAULTS).iter().find_map(|fault| of_all(to, offline, fault, reply, Timestamp::UNIX_EPOCH));
    found.or_else(|| (reply.status != 400).then(|| by_api_status(reply, Timestamp::UNIX_EPOCH, &offline::renew(offline))))
}

fn faults(body: &Value, lists: &[&str]) -> Vec<Fault> {
    lists.iter().filter_map(|list| body.get(list)?.as_array()).flatten().filter_map(Fault::read).collect()
}

fn of_all(to: &Settings, offline: &Offline, fault: &Fault, reply: &Reply, now: Timestamp) -> Option<Outcome> {
    let why = fault.why.clone();
    Some(match (fault.code.unwrap_or(-1), fault.name.as_str()) {
        (105 | 108, _) => Outcome::halted(format!("the credential is refused ({why})"), offline::renew(offline)),
        (106 | 116 | 208 | 1_001 | 1_029 | 1_030 | 1_102, _) => Outcome::halted(
            format!("account {} of customer {} is refused ({why})", offline.account, offline.customer),
            format!("give the user of {} access to it, or correct account and customer, reload and resume", offline.grant.secret().name()),
        ),
        (204 | 205, _) => Outcome::halted(format!("version {} is refused ({why})", to.version), "correct version, or upgrade, reload and resume"),
        (117 | 207, _) => Outcome::throttled(why, Some(retry_after(reply, now).unwrap_or(MINUTE))),
        // With 401 an older token would have been thrown away and fetched anew: this is the platform's word on a fresh one.
        (109, _) | (_, "AuthenticationTokenExpired") if reply.status == 401 => {
            Outcome::halted(format!("the credential is refused ({why})"), offline::renew(offline))
        }
        (0 | 109, _) | (_, "AuthenticationTokenExpired") => Outcome::Retry { why, after: retry_after(reply, now), throttled: false },
        (_, "OfflineConversionNameInvalid") => Outcome::halted(
            format!("a goal is unknown ({why})"),
            "correct goals: names of offline conversion goals as Microsoft has them, reload and resume",
        ),
        (_, "NotEligibleForEnhancedConversions") => Outcome::halted(
            format!("a goal takes no hashed e-mail or phone ({why})"),
            "switch enhanced conversions on for the goal, or set user_data = \"never\", reload and resume",
        ),
        _ => return None,
    })
}

/// A conversion's or an adjustment's own.
fn of_one(to: &Settings, offline: &Offline, fault: &Fault, taken: &Outcome, reply: &Reply, now: Timestamp) -> Outcome {
    let later = |after| Outcome::Retry { why: fault.why.clone(), after: Some(after), throttled: false };
    match fault.name.as_str() {
        "OfflineConversionGoalTooRecent" => later(TWO_HOURS),
        name if name.contains("Future") => later(TEN_MINUTES),
        name if name.contains("Duplicate") => match taken {
            Outcome::Delivered { answer, .. } => Outcome::Delivered { answer: answer.clone(), note: Some("duplicate".into()) },
            other => other.clone(),
        },
        _ => of_all(to, offline, fault, reply, now).unwrap_or_else(|| Outcome::rejected(fault.why.clone())),
    }
}
