//! What conversion values mean to the shop: a word, and perhaps money, per app. Apple knows numbers and nothing else.

use rust_decimal::Decimal;

use super::{Coarse, Postback};
use crate::money::Currency;

/// `[apple.app.ID]`
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct App {
    /// Its id in the App Store.
    pub id: i64,
    /// What people call it.
    pub name: Option<String>,
    /// Of all its values.
    pub currency: Option<Currency>,
    /// Conversion values from the first to the second, and what they mean.
    pub fine: Vec<(u8, u8, Meaning)>,
    /// The same of coarse ones: for one window (0, 1, 2), or for all that have none of their own.
    pub coarse: Vec<(Option<u8>, Coarse, Meaning)>,
}

/// What one value means.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Meaning {
    /// In the shop's words; empty: none.
    pub text: String,
    /// What it is worth.
    pub value: Option<Decimal>,
}

impl App {
    /// What a postback of this app means; the fine value says more than the coarse one.
    pub fn meaning(&self, postback: &Postback) -> Option<&Meaning> {
        let fine = |value: u8| self.fine.iter().find(|(low, high, _)| (*low..=*high).contains(&value)).map(|(.., meaning)| meaning);
        let coarse = |coarse: Coarse| {
            let of =
                |window: Option<u8>| self.coarse.iter().find(|(have, value, _)| *have == window && *value == coarse).map(|(.., meaning)| meaning);
            of(Some(postback.sequence)).or_else(|| of(None))
        };
        postback.value.and_then(fine).or_else(|| postback.coarse.and_then(coarse))
    }
}
