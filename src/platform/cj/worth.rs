//! What an order is worth in CJ's terms: an amount, or items by the price of one piece. Pure.

use rust_decimal::{Decimal, RoundingStrategy};

use super::{
    super::{
        Refusal, goods,
        lines::{self, Line},
    },
    settings::Settings,
};
use crate::{delivery::Said, event::Kind, money::Currency};

/// Tracking API and S2S: items of an order.
pub(super) const ITEMS_MAX: usize = 100;

/// What is said of an order's money.
#[derive(Debug, PartialEq)]
pub(super) enum Worth {
    /// A lead without a value.
    Nothing,
    Amount(Decimal),
    /// Article, price of one, pieces.
    Items(Vec<(String, Decimal, u64)>, Decimal),
}

pub(super) fn worth(
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
        for extreme in ["0", "0.0000000000000000000000000001", "79228162514264337593543950335"] {
            assert!(!of(extreme, extreme, 2).is_empty() && !of(extreme, "3", 0).is_empty());
        }
    }
}
