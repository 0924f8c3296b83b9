//! One of a request's `conversionAdjustments`: what is left of a purchase's conversion, or that it is taken away.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{Refusal, goods},
    answer, conversion,
    settings::Settings,
};
use crate::{delivery::Delivery, event::Object, money};

pub(super) fn of(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Value, Refusal> {
    let refund = delivery.refund.as_ref().ok_or_else(|| Refusal::dead("no refund"))?;
    if refund.answer.as_ref().is_some_and(answer::unmatched) {
        return Err(Refusal::skip("its purchase belongs to no click of Google's, and is no conversion there"));
    }
    let action = refund.purchase.name.as_deref().ok_or_else(|| Refusal::dead("its purchase was told without a conversion action"))?;
    let mut adjustment = Object::new();
    adjustment.insert("orderId".into(), conversion::order_id(to, delivery).into());
    adjustment.insert("conversionAction".into(), to.action(action).into());
    adjustment.insert("adjustmentType".into(), if refund.full { "RETRACTION" } else { "RESTATEMENT" }.into());
    // Of two adjustments of one conversion that with the later time counts, and of two with the same time the first. The time of sending
    // always grows, whereas a shop may book two refunds within a second; and a repeat says the same once more.
    adjustment.insert("adjustmentDateTime".into(), conversion::time(now).into());
    if !refund.full {
        let currency = goods::currency_of(refund)?;
        let left = json!({ "adjustedValue": money::number(refund.remaining, currency), "currencyCode": currency.as_str() });
        adjustment.insert("restatementValue".into(), left);
    }
    Ok(adjustment.into())
}
