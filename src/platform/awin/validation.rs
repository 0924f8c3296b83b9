//! Refunds: decline or amend a pending transaction, by the order reference and the time that was told.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{Refusal, goods, times},
    order,
    settings::Settings,
};
use crate::{
    delivery::{Awaiting, Delivery},
    money,
    outcome::{Outcome, Reply, by_api_status, quote},
    request::{Method, Request},
    template::place::encode,
};

pub(super) fn request(to: &Settings, batch: &[Delivery]) -> Result<Request, Refusal> {
    let actions = batch.iter().map(|delivery| action(to, delivery)).collect::<Result<Vec<_>, _>>()?;
    let url = format!("{}/advertisers/{}/transactions/batch", to.base_url, to.advertiser);
    authorized(to, Request::json(url, &json!(actions))).ok_or_else(|| Refusal::skip("platform takes no refunds without validation_token"))
}

fn authorized(to: &Settings, request: Request) -> Option<Request> {
    Some(request.with("Authorization", format!("Bearer {}", to.validation_token.as_ref()?.reveal())))
}

fn action(to: &Settings, delivery: &Delivery) -> Result<Value, Refusal> {
    let refund = delivery.refund.as_ref().ok_or_else(|| Refusal::dead("no refund"))?;
    if to.test {
        return Err(Refusal::skip("test sales are not validated"));
    }
    let (zone, rules) = &to.timezone;
    let at = times::local(refund.purchase.at, rules);
    let mut transaction = json!({ "orderRef": order::reference(delivery)?, "transactionDate": at, "timezone": zone });
    if refund.full {
        transaction["declineReason"] = json!(to.decline_reason);
        return Ok(json!({ "action": "decline", "transaction": transaction }));
    }
    let currency = goods::currency_of(refund)?;
    let left = money::number(refund.remaining, currency);
    let group = refund.purchase.name.as_deref().unwrap_or("DEFAULT");
    transaction["amendReason"] = json!(to.amend_reason);
    transaction["currency"] = json!(currency.as_str());
    transaction["saleAmount"] = left.clone();
    transaction["transactionParts"] = json!([{ "amount": left, "commissionGroupCode": group }]);
    Ok(json!({ "action": "amend", "approve": false, "transaction": transaction }))
}

fn fix(to: &Settings) -> String {
    let secret = to.validation_token.as_ref().map_or("validation_token", |token| token.name());
    format!("make a new OAuth2 token in the Awin account, put it into {secret}, reload and resume")
}

/// One job for all of them; what is wrong with one is in its result.
pub(super) fn outcomes(to: &Settings, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
    let job = reply.json().and_then(|body| {
        let id = body.get("jobId")?;
        id.as_str().map(str::to_owned).or_else(|| Some(id.as_number()?.to_string()))
    });
    let outcome = match (reply.status, job) {
        (200..=299, Some(job)) => {
            let answer = |delivery| Some(json!({ "job": job, "order": order::reference(delivery).unwrap_or_default() }));
            return batch.iter().map(|delivery| Outcome::Accepted { answer: answer(delivery) }).collect();
        }
        (200..=299, None) => Outcome::retry(format!("HTTP {}, but no jobId", reply.status)),
        (400 | 406 | 422, _) => Outcome::Split { why: format!("HTTP {}: {}", reply.status, quote(&reply.text())) },
        _ => by_api_status(reply, now, &fix(to)),
    };
    vec![outcome; batch.len()]
}

pub(super) fn job(to: &Settings, id: &str) -> Option<Request> {
    let url = format!("{}/advertisers/{}/transactions/jobs/{}?output=errors", to.base_url, to.advertiser, encode(id));
    authorized(to, Request::new(Method::Get, url))
}

/// `DONE` and not among the failed ones: done.
pub(super) fn confirmed(to: &Settings, awaiting: &Awaiting, body: &Value, reply: &Reply, now: Timestamp) -> Outcome {
    if !(200..=299).contains(&reply.status) {
        return match by_api_status(reply, now, &fix(to)) {
            // The job may not be listed yet.
            Outcome::Halted { .. } if reply.status == 404 => Outcome::Accepted { answer: Some(awaiting.answer.clone()) },
            Outcome::Rejected { why } => Outcome::retry(why),
            other => other,
        };
    }
    if body.get("status").and_then(Value::as_str) != Some("DONE") {
        return Outcome::Accepted { answer: Some(awaiting.answer.clone()) };
    }
    let failed = body.get("failedTransactions").and_then(Value::as_array).into_iter().flatten();
    let order = awaiting.answer.get("order");
    let same = |failed: &&Value| order.is_some() && failed.get("orderRef") == order;
    match failed.into_iter().find(same) {
        Some(failed) => {
            let code = failed.get("code").and_then(Value::as_str).unwrap_or("no reason given");
            Outcome::rejected(format!("not validated: {}", quote(code)))
        }
        None => Outcome::delivered(),
    }
}
