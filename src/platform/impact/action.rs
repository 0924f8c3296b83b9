//! Refunds: what becomes of the action that impact made of a conversion.

use super::{
    super::{Refusal, form::Pairs, goods, lines},
    conversion::sku,
    settings::Settings,
};
use crate::{
    delivery::{Delivery, Refunding},
    money,
    request::{Method, Request},
};

pub(super) fn request(to: &Settings, delivery: &Delivery, refund: &Refunding) -> Result<Request, Refusal> {
    let event_type = refund.purchase.name.as_deref().ok_or_else(|| Refusal::dead("its purchase was told without an event type"))?;
    let mut form = Pairs::default();
    form.put("ActionTrackerId", event_type).put("OrderId", goods::order(delivery));
    if refund.full {
        form.put("DispositionCode", to.disposition);
        return Ok(form.form(Method::Delete, &to.url("Actions")));
    }
    let currency = goods::currency_of(refund)?;
    form.put("Reason", &to.reason);
    let items = if to.item_refunds { lines::left(delivery, refund.remaining, currency.exponent(), sku) } else { None };
    match items {
        // Unverified: that items are found by event type and order id too, not by the action's id alone.
        Some(lines) => {
            for (line, number) in lines.iter().zip(1..) {
                // actions: Sku, Sku2, Sku3.
                let field = |name: &str| if number == 1 { name.to_owned() } else { format!("{name}{number}") };
                let quantity = if line.quantity.is_zero() { 0 } else { goods::pieces(line.quantity) };
                form.put(field("Sku"), &line.sku).put(field("Quantity"), quantity.to_string());
                form.put(field("Amount"), money::major(line.total, currency));
            }
        }
        None => _ = form.put("Amount", money::major(refund.remaining, currency)),
    }
    Ok(form.form(Method::Put, &to.url("Actions")))
}
