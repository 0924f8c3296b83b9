//! An order, or what came back of it, as a query of `ep`.

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use super::{
    super::{
        Refusal,
        form::Pairs,
        goods,
        lines::{self, Line},
        person,
    },
    settings::{Amounts, Settings, Status},
};
use crate::{
    click,
    delivery::{Delivery, Refunding, Said},
    event::Kind,
    money::{Currency, fixed, round},
    request::Request,
};

/// Rakuten's own tag cuts its requests off at 8,000.
const URL_MAX: usize = 7_500;
const LINES_MAX: usize = 200;
/// Clocks of shop and browser may differ by so much.
const SKEW: SignedDuration = SignedDuration::from_mins(10);

/// How Rakuten calls the order. Leads share the names of orders and could be taken for one, so that they go by their kind too.
fn order_id(delivery: &Delivery) -> String {
    if delivery.event.kind.is_plain() { delivery.event_id.clone() } else { goods::order(delivery) }
}

/// Lists are taken apart at `|`.
fn entry(text: &str) -> String {
    text.trim().replace('|', "_")
}

/// `20261102_1004`, in UTC.
fn minute(at: Timestamp) -> String {
    at.strftime("%Y%m%d_%H%M").to_string()
}

/// When the buyer came from the publisher, as told. A refund repeats it to the letter.
pub(super) fn land(delivery: &Delivery) -> Result<String, Refusal> {
    let told = delivery.refund.as_ref().and_then(|refund| refund.kept("land")?.as_str());
    if let Some(told) = told {
        return Ok(told.to_owned());
    }
    let at = delivery.refund.as_ref().map_or(delivery.said.at, |refund| refund.purchase.at);
    let landed = click::time(&delivery.who).ok_or_else(|| Refusal::skip("no landed_at or clicked_at, which Rakuten wants with a ranSiteID"))?;
    if landed > at.saturating_add(SKEW).unwrap_or(at) {
        return Err(Refusal::dead("landed_at is after the sale: it belongs to another visit"));
    }
    // It has to be earlier, and minutes are all that is told.
    Ok(minute(landed.min(at.saturating_sub(SignedDuration::from_mins(1)).unwrap_or(at))))
}

/// Digits after the point that are told, and by what the amount is multiplied.
fn scale(to: &Settings, currency: Currency) -> Result<(u32, bool), Refusal> {
    let digits = currency.exponent();
    match to.amounts {
        Amounts::Units => Ok((digits.min(2), false)),
        // Rakuten's own tag multiplies yen too, others do not: it depends on the account, and the wrong guess is off by 100.
        Amounts::Unsaid if digits == 0 => {
            Err(Refusal::dead(format!("set amounts to \"cents\" or \"units\", as Rakuten counts {currency} for this account")))
        }
        // Yen have no hundredths to be told, although they are multiplied.
        Amounts::Cents | Amounts::Unsaid => Ok((digits.min(2), true)),
    }
}

/// Article, name, quantity, amount.
type Row = (String, String, u64, Decimal);

fn row(line: Line, sign: Decimal) -> Row {
    let name = line.name.as_deref().map(entry).filter(|name| !name.is_empty()).unwrap_or_else(|| line.sku.clone());
    (line.sku, name, goods::pieces(line.quantity), line.total * sign)
}

fn discount(amount: Decimal) -> Option<Row> {
    (!amount.is_zero()).then(|| ("DISCOUNT".into(), "DISCOUNT".into(), 0, amount))
}

fn one(name: &str, amount: Decimal) -> Vec<Row> {
    vec![(entry(name), entry(name), 1, amount)]
}

/// A sale whose items are not known is one line.
fn sold(to: &Settings, delivery: &Delivery, said: &Said, digits: u32, most: usize) -> Vec<Row> {
    let value = round(said.value.unwrap_or_default(), digits);
    let name = said.name.as_deref().unwrap_or("sale");
    if !to.items || !matches!(delivery.event.kind, Kind::Purchase | Kind::Refund | Kind::Retract) {
        return one(name, value);
    }
    match lines::sold(delivery, value, digits, entry) {
        Some(sold) => lines::fold(sold.lines, most).into_iter().map(|line| row(line, Decimal::ONE)).chain(discount(-sold.discount)).collect(),
        None => one(name, value),
    }
}

/// The whole order as it was told, turned around; or what this refund takes of it.
fn returned(to: &Settings, delivery: &Delivery, refund: &Refunding, digits: u32, most: usize) -> Vec<Row> {
    let whole = refund.purchase.value.is_some_and(|value| value == refund.amount);
    if refund.full && whole {
        let rows = sold(to, delivery, &refund.purchase, digits, most);
        return rows.into_iter().map(|(sku, name, quantity, amount)| (sku, name, quantity, -amount)).collect();
    }
    // The difference of what was left before and is left now, each as it is told: together they are what was told of the sale.
    let before = refund.remaining.checked_add(refund.amount).unwrap_or(refund.amount);
    let amount = round(before, digits) - round(refund.remaining, digits);
    let lines = if to.items { lines::returned(delivery, amount, digits, entry) } else { None };
    match lines {
        Some(lines) => lines::fold(lines, most).into_iter().map(|line| row(line, Decimal::NEGATIVE_ONE)).collect(),
        None => one(refund.purchase.name.as_deref().unwrap_or("sale"), -amount),
    }
}

pub(super) fn request(to: &Settings, delivery: &Delivery) -> Result<Request, Refusal> {
    let told = delivery.refund.as_ref().map_or(&delivery.said, |refund| &refund.purchase);
    if told.name.is_none() {
        return Err(Refusal::skip("kind not mapped"));
    }
    let site = person::text(&delivery.who, "ranSiteID").ok_or_else(|| Refusal::skip("no ranSiteID"))?;
    let land = land(delivery)?;
    let currency = told.currency.ok_or_else(|| Refusal::dead("Rakuten needs a currency, also for a lead"))?;
    let (digits, cents) = scale(to, currency)?;
    let new = goods::new_customer(delivery).filter(|_| to.customer_status != Status::Never);
    let prefix = if new == Some(false) && to.customer_status == Status::Sku { "R_" } else { "" };
    let mut most = LINES_MAX;
    loop {
        let rows = match &delivery.refund {
            None => sold(to, delivery, &delivery.said, digits, most),
            Some(refund) => returned(to, delivery, refund, digits, most),
        };
        // The next refund takes along what this one had too little of.
        if delivery.refund.is_some() && rows.iter().all(|(_, _, _, amount)| amount.is_zero()) {
            return Err(Refusal::skip("less than Rakuten can be told"));
        }
        let list = |of: &dyn Fn(&Row) -> String| rows.iter().map(of).collect::<Vec<_>>().join("|");
        let amounts = rows.iter().map(|(_, _, _, amount)| written(*amount, digits, cents)).collect::<Option<Vec<_>>>();
        let amounts = amounts.ok_or_else(|| Refusal::dead("the amount is too large"))?;
        let mut query = Pairs::default();
        query.put("mid", &to.merchant).put("ord", order_id(delivery)).put("tr", &site).put("land", &land);
        query.put("date", minute(told.at)).put("cur", currency.as_str());
        query.put("skulist", list(&|(sku, ..)| format!("{prefix}{sku}"))).put("qlist", list(&|(_, _, quantity, _)| quantity.to_string()));
        query.put("amtlist", amounts.join("|")).put_some("coupon", goods::coupon(delivery));
        query.put_some("custstatus", new.map(|new| if new { "new" } else { "existing" })).put("xml", "1");
        query.put("namelist", list(&|(_, name, ..)| format!("{prefix}{name}")));
        let request = query.get(&format!("{}/ep", to.base_url));
        if request.url.len() <= URL_MAX || most == 1 {
            return Ok(request);
        }
        most /= 2;
    }
}

fn written(amount: Decimal, digits: u32, cents: bool) -> Option<String> {
    if cents { Some(fixed(amount.checked_mul(Decimal::ONE_HUNDRED)?, 0)) } else { Some(fixed(amount, digits)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_account_counts() {
        let dec = |text: &str| text.parse::<Decimal>().expect("a decimal");
        for (amount, digits, cents, want) in [
            ("85.50", 2, true, "8550"),
            ("-5", 2, true, "-500"),
            ("9004", 0, true, "900400"),
            ("9004", 0, false, "9004"),
            ("-0.10", 2, false, "-0.10"),
        ] {
            assert_eq!(written(dec(amount), digits, cents).as_deref(), Some(want), "{amount}");
        }
        assert_eq!(written(Decimal::MAX, 0, true), None);
    }

    #[test]
    fn times_are_minutes_in_utc() {
        assert_eq!(minute("2026-11-02T00:04:59+01:00".parse().expect("a time")), "20261101_2304");
    }
}
