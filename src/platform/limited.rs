//! Limited data use: people of some US states who asked that their data is used for nothing but counting. Pure.

use toml::Table;

use super::keys::{self, Parsed};
use crate::{event::Object, route};

/// When events are marked for it: `limited_data_use = ".."`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// All of them.
    Always,
    /// Where `who.consent.limited_data_use` is granted.
    WhenAsked,
    /// None.
    Never,
}

impl Limited {
    /// `consent` where nothing is written.
    pub(super) fn parse(table: &Table) -> Parsed<Self> {
        keys::choice(table, "limited_data_use", Self::WhenAsked, &[("always", Self::Always), ("consent", Self::WhenAsked), ("never", Self::Never)])
    }

    /// Whether this person's event is marked.
    pub fn holds(self, who: &Object) -> bool {
        match self {
            Self::Always => true,
            Self::WhenAsked => route::consent_of(who, "limited_data_use") == Some(true),
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_follows_the_word_of_the_person_unless_told_otherwise() {
        let who = |asked: &str| json!({"consent": {"limited_data_use": asked}}).as_object().cloned().expect("an object");
        let limited = |text: &str| Limited::parse(&text.parse().expect("TOML"));
        assert_eq!(["granted", "denied", ""].map(|asked| limited("").expect("a default").holds(&who(asked))), [true, false, false]);
        assert!(limited("limited_data_use = 'always'").is_ok_and(|always| always.holds(&who("denied"))));
        assert!(limited("limited_data_use = 'never'").is_ok_and(|never| !never.holds(&who("granted"))));
        assert!(limited("limited_data_use = 'allways'").is_err_and(|error| error.message.contains("did you mean always?")));
    }
}
