//! The lines of an order in the terms in which it is told: they add up to its value to the last cent, before and after refunds, whatever
//! prices the shop keeps (with tax or without, before or after discounts). Pure.
//!
//! Networks pay by line, and a sale whose lines do not add up is paid wrongly without anyone seeing it. So prices say how the value is
//! shared among the lines; where they add up to it they are told as they are.

use rust_decimal::Decimal;

use super::goods::{self, Item};
use crate::{delivery::Delivery, event::Object, money::round};

/// One article of an order. Lines with the same article are one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// The shop's id (else the name), as the platform can take it.
    pub sku: String,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub category: Option<String>,
    /// Pieces, or metres.
    pub quantity: Decimal,
    /// Quantity times price, by the shop's word: its weight.
    pub worth: Decimal,
    /// What is told for all of it, never negative.
    pub total: Decimal,
}

/// A sale.
#[derive(Clone, Debug, PartialEq)]
pub struct Sold {
    /// At least one.
    pub lines: Vec<Line>,
    /// Off the order as a whole, for platforms that have a place for it: the lines add up to the value and this.
    pub discount: Decimal,
}

/// How a platform writes an article's id.
pub type Clean = fn(&str) -> String;

/// The lines of a purchase (for a refund: of its purchase) that was told as `value`, with `digits` after the point. `None` where a part of
/// it has no id or no price, or is nothing at all: then only the value can be told.
pub fn sold(delivery: &Delivery, value: Decimal, digits: u32, clean: Clean) -> Option<Sold> {
    let lines = merged(goods::of_sale(delivery), clean)?;
    let more = delivery.refund.as_ref().map_or(&delivery.event.more, |refund| &refund.purchase_more);
    let discount = goods::number(more.get("discount")).map(|discount| round(discount, digits)).filter(|discount| *discount > Decimal::ZERO);
    if let Some(discount) = discount {
        let whole = value.checked_add(discount)?;
        if let Some(lines) = as_they_are(&lines, whole, digits) {
            return Some(Sold { lines, discount });
        }
    }
    Some(Sold { lines: spread(lines, value, digits)?, discount: Decimal::ZERO })
}

/// What is left of every line after a refund and those before it, adding up to `remaining`; a line of which nothing is left stays with
/// quantity and total of zero. A refund that names no items leaves all of them, for less.
pub fn left(delivery: &Delivery, remaining: Decimal, digits: u32, clean: Clean) -> Option<Vec<Line>> {
    let refund = delivery.refund.as_ref()?;
    let whole = merged(goods::of_sale(delivery), clean)?;
    let mut lines = whole.clone();
    refund.earlier.iter().chain([&delivery.event.more]).for_each(|more| take_off(&mut lines, more, clean));
    spread(if worthless(&lines) { whole } else { lines }, remaining, digits)
}

/// What one refund takes back, adding up to `amount`: what it names, else a part of all that earlier ones left.
pub fn returned(delivery: &Delivery, amount: Decimal, digits: u32, clean: Clean) -> Option<Vec<Line>> {
    let refund = delivery.refund.as_ref()?;
    let whole = merged(goods::of_sale(delivery), clean)?;
    let mut before = whole.clone();
    refund.earlier.iter().for_each(|more| take_off(&mut before, more, clean));
    if worthless(&before) {
        before = whole;
    }
    let mut after = before.clone();
    take_off(&mut after, &delivery.event.more, clean);
    let taken = before.iter().zip(&after).map(|(before, after)| Line {
        quantity: before.quantity - after.quantity,
        worth: before.worth - after.worth,
        ..before.clone()
    });
    let taken: Vec<Line> = taken.filter(|line| !line.quantity.is_zero()).collect();
    let lines = if refund.full || worthless(&taken) { before.into_iter().filter(|line| !line.quantity.is_zero()).collect() } else { taken };
    spread(lines, amount, digits)
}

/// At most so many lines: the last ones together, as one.
pub fn fold(mut lines: Vec<Line>, most: usize) -> Vec<Line> {
    if lines.len() > most.max(1) {
        let rest = lines.split_off(most.max(1) - 1);
        let total = rest.iter().fold(Decimal::ZERO, |sum, line| sum.saturating_add(line.total));
        let other = || "other".to_owned();
        lines.push(Line { sku: other(), name: Some(other()), quantity: Decimal::ONE, worth: total, total, ..Line::default() });
    }
    lines
}

fn merged(items: Vec<Item>, clean: Clean) -> Option<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::new();
    for item in items {
        let sku = clean(item.id.as_deref().or(item.name.as_deref())?);
        let price = item.price.filter(|price| *price >= Decimal::ZERO)?;
        let worth = price.checked_mul(item.quantity)?;
        match lines.iter_mut().find(|line| line.sku == sku) {
            Some(line) => {
                line.quantity = line.quantity.checked_add(item.quantity)?;
                line.worth = line.worth.checked_add(worth)?;
            }
            None => lines.push(Line { sku, name: item.name, category: item.category, quantity: item.quantity, worth, total: Decimal::ZERO }),
        }
    }
    lines.retain(|line| !line.quantity.is_zero() && !line.sku.is_empty());
    (!lines.is_empty()).then_some(lines)
}

/// Takes the items that a refund names off the lines, never more than is there.
fn take_off(lines: &mut [Line], more: &Object, clean: Clean) {
    for item in more.get("items").map(goods::read).unwrap_or_default() {
        let Some(sku) = item.id.as_deref().or(item.name.as_deref()).map(clean) else { continue };
        let Some(line) = lines.iter_mut().find(|line| line.sku == sku && !line.quantity.is_zero()) else { continue };
        let kept = line.quantity - item.quantity.min(line.quantity);
        line.worth = part(line.worth, kept, line.quantity).unwrap_or_default();
        line.quantity = kept;
    }
}

fn worthless(lines: &[Line]) -> bool {
    lines.iter().all(|line| line.worth.is_zero())
}

/// `whole * part / of`.
fn part(whole: Decimal, part: Decimal, of: Decimal) -> Option<Decimal> {
    match whole.checked_mul(part) {
        Some(product) => product.checked_div(of),
        None => part.checked_div(of)?.checked_mul(whole),
    }
}

fn sum(mut worths: impl Iterator<Item = Decimal>) -> Option<Decimal> {
    worths.try_fold(Decimal::ZERO, Decimal::checked_add)
}

/// At the shop's own prices, where they add up.
fn as_they_are(lines: &[Line], total: Decimal, digits: u32) -> Option<Vec<Line>> {
    let told: Vec<Line> = lines.iter().map(|line| Line { total: round(line.worth, digits), ..line.clone() }).collect();
    (sum(told.iter().map(|line| line.total))? == total).then_some(told)
}

/// A total shared among lines in proportion to their worth, to the last of the `digits`.
fn spread(mut lines: Vec<Line>, total: Decimal, digits: u32) -> Option<Vec<Line>> {
    if let Some(told) = as_they_are(&lines, total, digits) {
        return Some(told);
    }
    let whole = sum(lines.iter().map(|line| line.worth))?;
    let (mut worth, mut told) = (Decimal::ZERO, Decimal::ZERO);
    for line in &mut lines {
        worth += line.worth;
        // The difference of two rounded sums: nothing is lost on the way, and what is left over goes where the last worth is.
        let until = if worth == whole { total } else { round(part(total, worth, whole)?, digits).min(total) };
        line.total = until - told;
        told = until;
    }
    (!whole.is_zero()).then_some(lines)
}

#[cfg(test)]
mod tests;
