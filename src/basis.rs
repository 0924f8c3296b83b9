//! What a sale is worth in a destination's terms, and what a refund leaves of it there. Pure and exact.

use rust_decimal::Decimal;

use crate::{
    destination::Basis,
    event::{Object, decimal},
    money::{Currency, round},
};

/// A purchase's value without what the basis leaves out, rounded to the currency, never negative.
///
/// A part that is to be left out but is not told is an error that names its key: telling the gross value instead would be
/// wrong without anyone seeing it. Shops without tax tell `"tax": 0`.
pub fn value(gross: Decimal, currency: Currency, more: &Object, basis: Basis) -> Result<Decimal, String> {
    let mut left = gross;
    for (leave_out, key) in [(basis.without_tax, "tax"), (basis.without_shipping, "shipping")] {
        if leave_out {
            let part = part(more, key)?;
            left = left.checked_sub(part).ok_or_else(|| format!("more.{key} is too large"))?;
        }
    }
    Ok(round(left, currency.exponent()).max(Decimal::ZERO))
}

fn part(more: &Object, key: &str) -> Result<Decimal, String> {
    let number = match more.get(key) {
        None | Some(serde_json::Value::Null) => return Err(format!("more.{key} is missing, and this destination is told values without it")),
        Some(serde_json::Value::String(text)) => decimal(text),
        Some(serde_json::Value::Number(number)) => decimal(&number.to_string()),
        Some(_) => None,
    };
    number.ok_or_else(|| format!("more.{key} is not a number"))
}

/// What is left of `said` (as told at a destination) when `refunded` of `sale` is gone, rounded to `digits`.
///
/// Nothing refunded leaves all, everything refunded leaves exactly nothing; a sale of zero has nothing to lose.
pub fn remaining(said: Decimal, sale: Decimal, refunded: Decimal, digits: u32) -> Decimal {
    if refunded <= Decimal::ZERO {
        return said;
    }
    if refunded >= sale {
        return Decimal::ZERO;
    }
    let kept = sale - refunded;
    // Multiplying first is exact; only amounts beyond any shop's take the way that rounds in between.
    let left = said.checked_mul(kept).map_or_else(|| said * (kept / sale), |product| product / sale);
    round(left, digits).clamp(Decimal::ZERO, said.max(Decimal::ZERO))
}

/// What one refund takes back in said terms: the difference of what was left before and after it, so that all refunds of a
/// sale add up to `said` exactly.
pub fn taken(said: Decimal, sale: Decimal, refunded_before: Decimal, refunded_after: Decimal, digits: u32) -> Decimal {
    remaining(said, sale, refunded_before, digits) - remaining(said, sale, refunded_after, digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    fn object(value: serde_json::Value) -> Object {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn bases() {
        let eur = Currency::parse("EUR").expect("a currency");
        let net = Basis { without_tax: true, without_shipping: false };
        let bare = Basis { without_tax: true, without_shipping: true };
        let more = object(json!({"tax": "19.005", "shipping": 4.9}));
        assert_eq!(value(dec("119"), eur, &more, Basis::default()), Ok(dec("119")));
        assert_eq!(value(dec("119"), eur, &more, net), Ok(dec("100.00")));
        assert_eq!(value(dec("119"), eur, &more, bare), Ok(dec("95.10")));
        assert_eq!(value(dec("5"), eur, &more, bare), Ok(Decimal::ZERO));
        assert!(value(dec("5"), eur, &Object::new(), net).is_err_and(|why| why.contains("more.tax is missing")));
        assert!(value(dec("5"), eur, &object(json!({"tax": "much"})), net).is_err_and(|why| why.contains("not a number")));
    }

    #[test]
    fn a_net_sale_shrinks_in_proportion() {
        assert_eq!(remaining(dec("100"), dec("119"), dec("59.50"), 2), dec("50.00"));
        assert_eq!(remaining(dec("0"), dec("0"), dec("0"), 2), Decimal::ZERO);
        assert_eq!(remaining(dec("100"), dec("119"), dec("119"), 2), Decimal::ZERO);
        assert_eq!(remaining(dec("100"), dec("3"), dec("1"), 0), dec("67"));
    }

    proptest! {
        #[test]
        fn refunds_add_up(said in 0i64..10_000_000, sale in 1i64..10_000_000, steps in prop::collection::vec(0i64..4_000_000, 1..8), digits in 0u32..4) {
            let (said, sale) = (Decimal::new(said, digits), Decimal::new(sale, digits));
            let (mut before, mut sum, mut last) = (Decimal::ZERO, Decimal::ZERO, said);
            for step in steps.into_iter().map(|step| Decimal::new(step, digits)).chain([sale]) {
                let after = (before + step).min(sale);
                let amount = taken(said, sale, before, after, digits);
                prop_assert!(amount >= Decimal::ZERO);
                let left = remaining(said, sale, after, digits);
                prop_assert!(left <= last);
                sum += amount;
                prop_assert_eq!(sum + left, said);
                (before, last) = (after, left);
            }
            prop_assert_eq!(sum, said);
        }
    }
}
