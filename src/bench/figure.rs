//! What is measured: a number per round, told as median and spread.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// One figure. A round that could not be measured is not in it: nothing is filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Stable name for scripts: `drain.ratio`.
    pub key: String,
    /// For people.
    pub what: String,
    /// `ms`, `B`, `/s`, `%`, or nothing for a ratio.
    pub unit: &'static str,
    /// In the order in which they were measured.
    pub rounds: Vec<f64>,
    /// What else has to be known to read it.
    pub remark: Option<String>,
}

impl Figure {
    /// Without a remark.
    pub fn new(key: impl Into<String>, what: impl Into<String>, unit: &'static str, rounds: Vec<f64>) -> Self {
        Self { key: key.into(), what: what.into(), unit, rounds, remark: None }
    }

    /// With one.
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }

    /// The middle of the rounds; `None`: there is none.
    pub fn median(&self) -> Option<f64> {
        median(&self.rounds)
    }

    /// Lowest and highest round.
    pub fn spread(&self) -> Option<(f64, f64)> {
        let low = self.rounds.iter().copied().reduce(f64::min)?;
        Some((low, self.rounds.iter().copied().reduce(f64::max)?))
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let spread = self.spread();
        let mut object = to.serialize_struct("Figure", 8)?;
        object.serialize_field("key", &self.key)?;
        object.serialize_field("what", &self.what)?;
        object.serialize_field("unit", self.unit)?;
        object.serialize_field("median", &self.median())?;
        object.serialize_field("min", &spread.map(|(low, _)| low))?;
        object.serialize_field("max", &spread.map(|(_, high)| high))?;
        object.serialize_field("rounds", &self.rounds)?;
        object.serialize_field("remark", &self.remark)?;
        object.end()
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (below, above) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some((below + above) / 2.0)
}

/// The smallest value that at least `share` per cent of the values do not exceed.
pub fn percentile(values: &[f64], share: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * share).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// `above / below`, round by round.
pub fn ratios(above: &[f64], below: &[f64]) -> Vec<f64> {
    above.iter().zip(below).map(|(above, below)| above / below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_of_few_and_none() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 99)), (Some(50.0), Some(99.0)));
        assert_eq!((percentile(&[7.0], 99), percentile(&[], 50)), (Some(7.0), None));
    }

    #[test]
    fn a_figure_without_rounds_says_nothing() {
        let none = serde_json::to_value(Figure::new("a", "b", "ms", vec![])).expect("JSON");
        assert!(none["median"].is_null() && none["min"].is_null() && none["max"].is_null(), "{none}");
        let some = serde_json::to_value(Figure::new("a", "b", "ms", vec![2.0, 1.0, 4.0])).expect("JSON");
        assert_eq!((some["median"].as_f64(), some["min"].as_f64(), some["max"].as_f64()), (Some(2.0), Some(1.0), Some(4.0)));
    }
}
