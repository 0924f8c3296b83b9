//! Money: exact decimals with an ISO 4217 currency. Never a float.
//!
//! Rounding to a currency's smallest unit is half away from zero, as shops and tax offices do it.

use std::fmt;

use rust_decimal::{Decimal, RoundingStrategy};

/// An ISO 4217 code: three capital letters. Unknown codes are kept, with two decimals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Parses `eur` or `EUR`; anything but three ASCII letters is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 3] = text.trim().as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphabetic).then(|| Self(bytes.map(|b| b.to_ascii_uppercase())))
    }

    /// The three capital letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Digits after the decimal point (ISO 4217, amendment 176; HUF, ISK and the like as the standard has them).
    pub fn exponent(&self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX" | b"UYI" | b"VND" | b"VUV" | b"XAF"
            | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Rounds to `digits` after the point, half away from zero.
pub fn round(amount: Decimal, digits: u32) -> Decimal {
    amount.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero)
}

/// Decimal text with exactly `digits` after the point, rounded; never `-0`.
pub fn fixed(amount: Decimal, digits: u32) -> String {
    let rounded = round(amount, digits);
    let rounded = if rounded.is_zero() { Decimal::ZERO } else { rounded };
    // Zeros are written here: rust_decimal panics when it is asked for more digits than fit beside a number of 29.
    let mut text = rounded.to_string();
    let missing = digits.saturating_sub(rounded.scale()) as usize;
    if rounded.scale() == 0 && missing > 0 {
        text.push('.');
    }
    text.extend(std::iter::repeat_n('0', missing));
    text
}

/// Decimal text in major units with the currency's digits: `49.90`, `9004`, `1.235`.
pub fn major(amount: Decimal, currency: Currency) -> String {
    fixed(amount, currency.exponent())
}

/// The same as a JSON number, digit for digit: it is never a float on this side.
pub fn number(amount: Decimal, currency: Currency) -> serde_json::Value {
    major(amount, currency).parse::<serde_json::Number>().map_or(serde_json::Value::Null, serde_json::Value::Number)
}

/// Whole smallest units (cents, yen, fils); `None` when it does not fit.
pub fn minor_units(amount: Decimal, currency: Currency) -> Option<i128> {
    scaled(amount, currency.exponent())
}

/// Whole millionths, as Google's APIs count money.
pub fn micros(amount: Decimal) -> Option<i128> {
    scaled(amount, 6)
}

fn scaled(amount: Decimal, digits: u32) -> Option<i128> {
    let factor = Decimal::from(10u64.pow(digits));
    let units = round(amount, digits).checked_mul(factor)?.normalize();
    (units.scale() == 0).then(|| units.mantissa())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    #[test]
    fn minor_units_follow_the_currency() {
        for (amount, currency, want) in [
            ("140.98", "USD", 14_098),
            ("9003.50", "JPY", 9_004),
            ("1.2345", "KWD", 1_235),
            ("0.005", "EUR", 1),
            ("-0.005", "EUR", -1),
            ("100", "JPY", 100),
        ] {
            let currency = Currency::parse(currency).expect("a currency");
            assert_eq!(minor_units(dec(amount), currency), Some(want), "{amount} {currency}");
        }
    }

    #[test]
    fn json_numbers_have_the_digits_of_the_currency() {
        for (amount, currency, want) in [
            ("49.9", "EUR", "49.90"),
            ("9003.5", "JPY", "9004"),
            ("1.2345", "KWD", "1.235"),
            ("0", "EUR", "0.00"),
            ("-0.001", "EUR", "0.00"),
            ("-12.5", "USD", "-12.50"),
            ("79228162514264337593543950335", "EUR", "79228162514264337593543950335.00"),
        ] {
            let currency = Currency::parse(currency).expect("a currency");
            assert_eq!(number(dec(amount), currency).to_string(), want);
            assert_eq!(major(dec(amount), currency), want);
        }
    }

    #[test]
    fn currency_is_three_letters() {
        assert_eq!(Currency::parse(" eur ").map(|c| c.to_string()), Some("EUR".to_owned()));
        for bad in ["", "EU", "EURO", "E1R", "€"] {
            assert_eq!(Currency::parse(bad), None, "{bad}");
        }
    }
}
