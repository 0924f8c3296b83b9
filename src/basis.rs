//! stub
use rust_decimal::Decimal;

use crate::{destination::Basis, event::Event, money::Currency};

/// stub
pub fn value(event: &Event, _basis: Basis) -> Option<Decimal> {
    event.value
}

/// stub
pub fn remaining(said: Decimal, sale: Decimal, refunded: Decimal, currency: Option<Currency>) -> Decimal {
    if refunded >= sale || sale.is_zero() {
        return Decimal::ZERO;
    }
    crate::money::round(said * (sale - refunded) / sale, currency.map_or(2, |c| c.exponent()))
}
