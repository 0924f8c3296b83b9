//! An order as CJ takes it: created, told anew, cancelled; or created as a GET.

use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Map, Value, json};

use super::{
    super::{
        Refusal,
        form::Pairs,
        goods,
        lines::{self, Line},
        person, times,
    },
    settings::Settings,
};
use crate::{
    delivery::{Delivery, Refunding, Said},
    event::Kind,
    money::{self, Currency},
    request::Request,
};

/// Tracking API and S2S: an order id, and an item's.
const ORDER_ID_MAX: usize = 96;
const SKU_MAX: usize = 100;
/// Items of an order.
const ITEMS_MAX: usize = 100;
const COUPON_MAX: usize = 256;
const CJEVENT_MAX: usize = 64;
/// What servers and proxies take for sure.
const URL_MAX: usize = 7_500;

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

fn sku(text: &str) -> String {
    text.trim().chars().map(|c| if is_plain(c) { c } else { '_' }).take(SKU_MAX).collect()
}

fn cjevent(to: &Settings, delivery: &Delivery) -> Result<Option<String>, Refusal> {
    let found = person::text(&delivery.who, "cjevent").filter(|id| id.len() <= CJEVENT_MAX && !id.contains(char::is_whitespace));
    if found.is_none() && !to.without_click { Err(Refusal::skip("no cjevent")) } else { Ok(found) }
}

/// Codes side by side; none rather than half a code.
fn coupon(delivery: &Delivery) -> Option<String> {
    goods::coupon(delivery).filter(|coupon| coupon.chars().count() <= COUPON_MAX)
}

fn customer_status(delivery: &Delivery) -> Option<&'static str> {
    goods::new_customer(delivery).map(|new| if new { "New" } else { "Return" })
}

/// What a clock that is a little ahead told as happening now is not in the future.
fn past(at: Timestamp, now: Timestamp) -> String {
    times::rfc3339(at.min(now))
}

/// What is said of an order's money.
#[derive(Debug, PartialEq)]
enum Worth {
    /// A lead without a value.
    Nothing,
    Amount(Decimal),
    /// Article, price of one, pieces.
    Items(Vec<(String, Decimal, u64)>, Decimal),
}

fn worth(
    to: &Settings,
    kind: Kind,
    said: &Said,
    lines: impl FnOnce(u32) -> Option<(Vec<Line>, Decimal)>,
) -> Result<(Worth, Option<Currency>), Refusal> {
    let Some(value) = said.value else { return Ok((Worth::Nothing, said.currency)) };
    // Without one CJ would take the account's.
    let currency = said.currency.ok_or_else(|| Refusal::dead("a value without a currency"))?;
    if !to.items || !(kind == Kind::Purchase || kind.takes_back()) {
        return Ok((Worth::Amount(value), Some(currency)));
    }
    let digits = currency.exponent();
    // An item-based action pays by items alone: a sale whose items are not known is one item.
    let (lines, discount) = lines(digits).unwrap_or_else(|| (Vec::new(), Decimal::ZERO));
    let lines: Vec<Line> = lines.into_iter().filter(|line| !line.quantity.is_zero()).collect();
    let items = match lines.is_empty() {
        true => vec![("order".to_owned(), value, 1)],
        false => priced(lines, digits),
    };
    Ok((Worth::Items(items, discount), Some(currency)))
}

/// Lines by the price of one piece. What cannot be divided is two items of the same article, one of them a cent dearer: nothing is rounded.
fn priced(lines: Vec<Line>, digits: u32) -> Vec<(String, Decimal, u64)> {
    let split = |lines: Vec<Line>| lines.into_iter().flat_map(|line| pieces(line, digits)).collect::<Vec<_>>();
    let items = split(lines::fold(lines.clone(), ITEMS_MAX));
    if items.len() <= ITEMS_MAX { items } else { split(lines::fold(lines, ITEMS_MAX / 2)) }
}

fn pieces(line: Line, digits: u32) -> Vec<(String, Decimal, u64)> {
    let count = goods::pieces(line.quantity);
    let many = Decimal::from(count);
    let each = (line.total / many).round_dp_with_strategy(digits, RoundingStrategy::ToZero);
    let cent = Decimal::new(1, digits);
    // How many cents are left over; fewer than there are pieces.
    let over = each.checked_mul(many).map(|even| ((line.total - even) / cent).round());
    match over.and_then(|over| u64::try_from(over).ok()).filter(|over| *over < count) {
        Some(0) => vec![(line.sku, each, count)],
        Some(over) => vec![(line.sku.clone(), each, count - over), (line.sku, each + cent, over)],
        None => vec![(line.sku, line.total, 1)],
    }
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

/// S2S: a GET of `/u`.
pub(super) fn pixel(to: &Settings, delivery: &Delivery, now: Timestamp) -> Result<Request, Refusal> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_add_up_to_the_cent() {
        let dec = |text: &str| text.parse::<Decimal>().expect("a decimal");
        let of = |total: &str, quantity: &str, digits| {
            pieces(Line { sku: "a".into(), quantity: dec(quantity), total: dec(total), ..Line::default() }, digits)
                .into_iter()
                .map(|(_, price, count)| format!("{count}x{price}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(of("25.50", "3", 2), "3x8.50");
        assert_eq!(of("25.21", "3", 2), "2x8.40 1x8.41");
        assert_eq!(of("100", "3", 0), "2x33 1x34");
        assert_eq!(of("0.02", "3", 2), "1x0.00 2x0.01");
        assert_eq!(of("5.00", "0.5", 2), "1x5.00", "half a metre");
        assert_eq!(of("1.235", "2", 3), "1x0.617 1x0.618");
    }

    #[test]
    fn article_ids_are_plain() {
        assert_eq!(sku(" Ä/b c-1_x "), "__b_c-1_x");
        assert_eq!(sku(&"x".repeat(200)).len(), 100);
    }
}
