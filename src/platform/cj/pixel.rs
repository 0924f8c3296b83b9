//! A sale as a GET (S2S). Parameters in the order of CJ's page.

use jiff::Timestamp;

use super::{
    super::{Refusal, form::Pairs, lines},
    order::{cjevent, coupon, customer_status, order_id, past, sku},
    settings::Settings,
    worth::{ITEMS_MAX, Worth, worth},
};
use crate::{delivery::Delivery, money, request::Request};

/// What servers and proxies take for sure.
const URL_MAX: usize = 7_500;

pub(super) fn request(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Request, Refusal> {
    let action = delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?;
    let sold = |most: usize| {
        move |digits: u32| {
            let sold = lines::sold(delivery, delivery.said.value.unwrap_or_default(), digits, sku)?;
            Some((lines::fold(sold.lines, most), sold.discount))
        }
    };
    let mut most = ITEMS_MAX;
    loop {
        let mut query = Pairs::default();
        query.put("CID", &to.enterprise).put("TYPE", action).put("METHOD", "S2S");
        query.put_some("SIGNATURE", to.signature.as_ref().map(|signature| signature.reveal()));
        query.put_some("CJEVENT", cjevent(to, delivery)?).put("EVENTTIME", past(delivery.said.at, now)).put("OID", order_id(delivery)?);
        let (worth, currency) = worth(to, delivery.event.kind, &delivery.said, sold(most))?;
        query.put_some("CURRENCY", currency.as_ref().map(|currency| currency.as_str())).put_some("COUPON", coupon(delivery));
        let digits = currency.map_or(2, |currency| currency.exponent());
        match worth {
            // A simple action has an amount, a lead's is none.
            Worth::Nothing => _ = query.put("AMOUNT", "0"),
            Worth::Amount(amount) => _ = query.put("AMOUNT", money::fixed(amount, digits)),
            Worth::Items(items, discount) => {
                for ((sku, price, count), number) in items.iter().zip(1..) {
                    query.put(format!("ITEM{number}"), sku).put(format!("AMT{number}"), money::fixed(*price, digits));
                    query.put(format!("QTY{number}"), count.to_string());
                }
                if !discount.is_zero() {
                    query.put("DISCOUNT", money::fixed(discount, digits));
                }
            }
        }
        query.put_some("CUST_STATUS", customer_status(delivery));
        let request = query.get(&format!("{}/u", to.pixel_url));
        if request.url.len() <= URL_MAX || most == 1 {
            return Ok(request);
        }
        most /= 2;
    }
}
