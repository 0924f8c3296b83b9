//! Faults that are no fault of the request: told by a test, or by chance.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

use super::words::{Concern, Fault, Verdict};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chance {
    /// Too many requests.
    Throttled,
    /// A fault of the platform's own.
    Down,
    /// The credential has expired.
    Expired,
    /// The request is refused as a whole.
    Invalid,
    /// One item of the request is refused.
    Partial,
}

impl FromStr for Chance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_value(text.into()).map_err(|_| format!("{text:?} is none of throttled, down, expired, invalid, partial"))
    }
}

impl Chance {
    /// Puts it among the faults of the request, where it is one that the platform would answer as such; `id` says which item.
    pub(super) fn put(self, verdict: &mut Verdict, id: Option<&str>) {
        let rule = "is refused because the script says so";
        let (concern, item) = match self {
            Self::Throttled | Self::Down => return,
            Self::Expired => (Concern::Auth, None),
            Self::Invalid => (Concern::Request, None),
            Self::Partial => {
                let named = verdict.items.iter().position(|item| id.is_none_or(|id| item.id == id));
                let Some(item) = named else { return };
                (Concern::Item, Some(item))
            }
        };
        verdict.faults.push(Fault { concern, item, field: "script".to_owned(), rule: rule.to_owned() });
    }
}

/// What a test asks for: `{"platform": "meta", "answer": "throttled", "times": 2}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which platform.
    pub platform: String,
    /// What goes wrong.
    pub answer: Chance,
    /// Only requests of this sort: `events`, `refund`, `token`, `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// Only requests with this item: its dedupe id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How often; without it always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

impl Rule {
    fn concerns(&self, platform: &str, verdict: &Verdict) -> bool {
        self.times != Some(0)
            && self.platform == platform
            && self.what.as_ref().is_none_or(|what| what == verdict.what)
            && self.id.as_ref().is_none_or(|id| verdict.items.iter().any(|item| item.id == *id))
    }
}

/// How probable each is, and what the dice show next.
#[derive(Clone, Debug, Default)]
pub struct Chances {
    /// Of 1, by what goes wrong.
    pub of: BTreeMap<Chance, f64>,
    /// The same seed gives the same faults to the same requests in the same order.
    pub seed: u64,
}

impl Chances {
    /// SplitMix64 (Steele, Lea, Flood 2014): the same everywhere and for ever, which no library promises of its generator.
    fn roll(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn draw(&mut self) -> Option<Chance> {
        let mut left = self.roll();
        for (chance, share) in &self.of {
            if left < *share {
                return Some(*chance);
            }
            left -= share;
        }
        None
    }
}

/// The rules that hold, and the dice.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// In the order in which they came.
    pub rules: Vec<Rule>,
    /// Where no rule concerns a request.
    pub chances: Chances,
}

impl Script {
    /// What goes wrong with this request, and the item that is meant.
    pub fn next(&mut self, platform: &str, verdict: &Verdict) -> Option<(Chance, Option<String>)> {
        if let Some(rule) = self.rules.iter_mut().find(|rule| rule.concerns(platform, verdict)) {
            rule.times = rule.times.map(|times| times - 1);
            return Some((rule.answer, rule.id.clone()));
        }
        let chance = if self.chances.of.is_empty() { None } else { self.chances.draw() };
        chance.map(|chance| (chance, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::words::Item;

    fn verdict(ids: &[&str]) -> Verdict {
        let items = ids.iter().map(|id| Item { id: (*id).to_owned(), ..Item::default() }).collect();
        Verdict { what: "events", items, ..Verdict::default() }
    }

    #[test]
    fn a_rule_concerns_what_it_names_and_as_often_as_it_says() {
        let rule = r#"{"platform": "meta", "answer": "partial", "id": "b", "times": 1}"#;
        let mut script = Script { rules: vec![serde_json::from_str(rule).expect("a rule")], ..Script::default() };
        assert_eq!(script.next("meta", &verdict(&["a"])), None);
        assert_eq!(script.next("awin", &verdict(&["b"])), None);
        let (chance, id) = script.next("meta", &verdict(&["a", "b"])).expect("a fault");
        let mut found = verdict(&["a", "b"]);
        chance.put(&mut found, id.as_deref());
        assert_eq!((found.faults[0].concern, found.faults[0].item), (Concern::Item, Some(1)));
        assert_eq!(script.next("meta", &verdict(&["b"])), None, "once only");
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_as_often_as_asked() {
        let of = BTreeMap::from([(Chance::Throttled, 0.2), (Chance::Down, 0.1)]);
        let draw = |seed| {
            let mut script = Script { rules: Vec::new(), chances: Chances { of: of.clone(), seed } };
            (0..10_000).map(|_| script.next("meta", &verdict(&[])).map(|(chance, _)| chance)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let count = |chance| draw(7).iter().filter(|drawn| **drawn == Some(chance)).count();
        assert!((1800..2200).contains(&count(Chance::Throttled)) && (850..1150).contains(&count(Chance::Down)));
    }
}
