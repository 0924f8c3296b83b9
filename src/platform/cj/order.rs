//! An order as the Tracking API takes it: created, told anew, cancelled.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::{
    super::{Refusal, goods, lines, person, times},
    settings::Settings,
    worth::{Worth, worth},
};
use crate::{
    delivery::{Delivery, Refunding, Said},
    money::{self, Currency},
    request::Request,
};

/// Tracking API and S2S: an order id, and an item's.
const ORDER_ID_MAX: usize = 96;
const SKU_MAX: usize = 100;
const COUPON_MAX: usize = 256;
const CJEVENT_MAX: usize = 64;

/// What is asked of the Tracking API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Restate,
    Cancel,
}

impl Call {
    pub(super) fn of(delivery: &Delivery) -> Self {
        match &delivery.refund {
            None => Self::Create,
            Some(refund) if refund.full => Self::Cancel,
            Some(_) => Self::Restate,
        }
    }

    pub(super) fn mutation(self) -> &'static str {
        match self {
            Self::Create => "createOrders",
            Self::Restate => "restateOrders",
            Self::Cancel => "cancelOrders",
        }
    }

    pub(super) fn query(self) -> String {
        let (class, argument) = match self {
            Self::Create => ("OrderCreateRequest", "newOrders"),
            Self::Restate => ("OrderRestateRequest", "restatedOrders"),
            Self::Cancel => ("OrderCancelRequest", "cancelledOrders"),
        };
        format!("mutation($o:[{class}!]!){{{}({argument}:$o){{orders{{orderId}}errors{{message fields}}}}}}", self.mutation())
    }
}

/// How CJ calls the order; a sale after a cancelled one of the same order is another.
pub(super) fn order_id(delivery: &Delivery) -> Result<String, Refusal> {
    let reference = &delivery.event.reference;
    let id = if delivery.generation > 1 { format!("{reference}-g{}", delivery.generation) } else { reference.clone() };
    if id.is_empty() || id.len() > ORDER_ID_MAX || !id.chars().all(is_plain) {
        return Err(Refusal::dead("CJ takes order references of letters, digits, - and _, at most 96 of them"));
    }
    Ok(id)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

pub(super) fn sku(text: &str) -> String {
    text.trim().chars().map(|c| if is_plain(c) { c } else { '_' }).take(SKU_MAX).collect()
}

pub(super) fn cjevent(to: &Settings, delivery: &Delivery) -> Result<Option<String>, Refusal> {
    let found = person::text(&delivery.who, "cjevent").filter(|id| id.len() <= CJEVENT_MAX && !id.contains(char::is_whitespace));
    if found.is_none() && !to.without_click { Err(Refusal::skip("no cjevent")) } else { Ok(found) }
}

/// Codes side by side; none rather than half a code.
pub(super) fn coupon(delivery: &Delivery) -> Option<String> {
    goods::coupon(delivery).filter(|coupon| coupon.chars().count() <= COUPON_MAX)
}

pub(super) fn customer_status(delivery: &Delivery) -> Option<&'static str> {
    goods::new_customer(delivery).map(|new| if new { "New" } else { "Return" })
}

/// What a clock that is a little ahead told as happening now is not in the future.
pub(super) fn past(at: Timestamp, now: Timestamp) -> String {
    times::rfc3339(at.min(now))
}

pub(super) fn request(to: &Settings, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
    let token = to.token.as_ref().ok_or_else(|| Refusal::skip("platform takes no refunds without token"))?;
    let call = batch.first().map_or(Call::Create, Call::of);
    let orders = batch.iter().map(|delivery| order(to, delivery, now)).collect::<Result<Vec<_>, _>>()?;
    let path = if to.test { "graphqltest" } else { "graphql" };
    let body = json!({ "query": call.query(), "variables": { "o": orders } });
    Ok(Request::json(format!("{}/{path}", to.base_url), &body).with("Authorization", format!("Bearer {}", token.reveal())))
}

fn order(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Value, Refusal> {
    let mut order = Map::new();
    let purchase = delivery.refund.as_ref().map_or(&delivery.said, |refund| &refund.purchase);
    let action = purchase.name.as_deref().and_then(|id| id.parse::<u64>().ok()).ok_or_else(|| Refusal::skip("kind not mapped"))?;
    order.insert("enterpriseId".into(), to.enterprise.as_str().into());
    order.insert("actionTrackerId".into(), action.into());
    order.insert("orderId".into(), order_id(delivery)?.into());
    match &delivery.refund {
        None => {
            order.insert("eventTime".into(), past(delivery.said.at, now).into());
            let sold = |value| move |digits| lines::sold(delivery, value, digits, sku).map(|sold| (sold.lines, sold.discount));
            let value = delivery.said.value.unwrap_or_default();
            put_details(&mut order, to, delivery, worth(to, delivery.event.kind, &delivery.said, sold(value))?)?;
        }
        Some(refund) => correct(&mut order, to, delivery, refund, now)?,
    }
    Ok(order.into())
}

/// A cancellation, or all of the order as it is now: what is left out is dropped.
fn correct(order: &mut Map<String, Value>, to: &Settings, delivery: &Delivery, refund: &Refunding, now: Timestamp) -> Result<(), Refusal> {
    order.insert("updateTime".into(), past(delivery.said.at, now).into());
    order.insert("correctionReason".into(), to.correction_reason.into());
    if to.open_ended {
        order.insert("status".into(), if refund.full { "Declined" } else { to.restated_status }.into());
    }
    if !refund.full {
        let said = Said { value: Some(refund.remaining), ..refund.purchase.clone() };
        let left = |digits| lines::left(delivery, refund.remaining, digits, sku).map(|lines| (lines, Decimal::ZERO));
        put_details(order, to, delivery, worth(to, delivery.event.kind, &said, left)?)?;
    }
    Ok(())
}

fn put_details(order: &mut Map<String, Value>, to: &Settings, delivery: &Delivery, worth: (Worth, Option<Currency>)) -> Result<(), Refusal> {
    let mut put = |key: &str, value: Value| _ = order.insert(key.to_owned(), value);
    if let Some(cjevent) = cjevent(to, delivery)? {
        put("cjEvent", cjevent.into());
    }
    let digits = worth.1.map_or(2, |currency| currency.exponent());
    // Unverified: which of the two CJ takes; its own samples have both.
    let decimal = |amount: Decimal| {
        let text = money::fixed(amount, digits);
        if to.numbers { text.parse::<serde_json::Number>().map_or(Value::Null, Value::Number) } else { Value::String(text) }
    };
    match worth.0 {
        Worth::Nothing => {}
        Worth::Amount(amount) => put("amount", decimal(amount)),
        Worth::Items(items, discount) => {
            if !discount.is_zero() {
                put("discount", decimal(discount));
            }
            put("items", items.iter().map(|(sku, price, count)| json!({ "sku": sku, "unitPrice": decimal(*price), "quantity": count })).collect());
        }
    }
    if let Some(currency) = worth.1 {
        put("currency", currency.as_str().into());
    }
    if let Some(coupon) = coupon(delivery) {
        put("coupon", coupon.into());
    }
    let mut vertical = Map::new();
    vertical.extend(to.vertical.map(|vertical| ("advertiserVertical".to_owned(), vertical.into())));
    vertical.extend(customer_status(delivery).map(|status| ("customerStatus".to_owned(), status.into())));
    if !vertical.is_empty() {
        put("verticalParameters", vertical.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn article_ids_are_plain() {
        assert_eq!(sku(" Ä/b c-1_x "), "__b_c-1_x");
        assert_eq!(sku(&"x".repeat(200)).len(), 100);
    }
}
