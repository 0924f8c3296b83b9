//! What a postback says, in words of either protocol.

use super::Protocol;

/// `coarse-conversion-value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Coarse {
    Low,
    Medium,
    High,
}

impl Coarse {
    /// All, from the least on.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// As Apple writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What a postback says. `None` is what its version has not, or what this one leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postback {
    /// What sends it.
    pub protocol: Protocol,
    /// SKAdNetwork's: `2.1`, `2.2`, `3.0`, `4.0`, or one that is not known; AdAttributionKit has none.
    pub version: Option<String>,
    /// AdAttributionKit's key id.
    pub kid: Option<String>,
    /// `transaction-id` or `postback-identifier`, a UUID in lower case.
    pub identifier: String,
    /// Which of up to three of an install, from 0.
    pub sequence: u8,
    /// The advertised app, by its id in the App Store.
    pub app: i64,
    /// E.g. `example123.skadnetwork`.
    pub network: String,
    /// 1 to 100, up to version 3.0.
    pub campaign: Option<u8>,
    /// Two to four digits.
    pub source: Option<SourceIdentifier>,
    /// The app that showed the advertisement; 0 in tests.
    pub source_app: Option<i64>,
    /// The site that showed it.
    pub source_domain: Option<String>,
    /// 0: it was seen; 1: it was clicked.
    pub fidelity: Option<u8>,
    /// Not the first download of this person.
    pub redownload: Option<bool>,
    /// `download`, `redownload`, `re-engagement`.
    pub conversion_type: Option<String>,
    /// E.g. `app-impression`.
    pub impression_type: Option<String>,
    /// E.g. `com.apple.AppStore`.
    pub marketplace: Option<String>,
    /// Whether this network was the one that counts.
    pub did_win: Option<bool>,
    /// 0 to 63. Not signed.
    pub value: Option<u8>,
    /// Not signed.
    pub coarse: Option<Coarse>,
    /// Not signed.
    pub country: Option<String>,
    /// `view` or `click`. Not signed.
    pub interaction: Option<String>,
}

/// Two, three or four digits, of which Apple tells the last ones first: the more people a campaign reached, the more digits come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceIdentifier(String);

impl SourceIdentifier {
    /// `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (2..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| Self(text.to_owned()))
    }

    /// As it came, leading zeros included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last `digits` of it, where so many came: 2 are the campaign in every postback, 3 and 4 say more about it.
    pub fn level(&self, digits: usize) -> Option<&str> {
        self.0.len().checked_sub(digits).map(|from| &self.0[from..])
    }
}

impl Postback {
    /// Whether it says that somebody has the app since then: the first postback of a download.
    pub fn is_install(&self) -> bool {
        self.sequence == 0 && self.conversion_type.as_deref().is_none_or(|kind| matches!(kind, "download" | "redownload"))
    }

    /// Whether the network that this is about is the one that counts; others are told that they are not.
    pub fn won(&self) -> bool {
        self.did_win != Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digits_of_a_source_come_first() {
        let levels = |text: &str| SourceIdentifier::parse(text).map(|source| [2, 3, 4].map(|digits| source.level(digits).unwrap_or("-").to_owned()));
        assert_eq!(levels("5239"), Some(["39", "239", "5239"].map(str::to_owned)));
        assert_eq!(levels("039"), Some(["39", "039", "-"].map(str::to_owned)));
        assert_eq!(levels("39"), Some(["39", "-", "-"].map(str::to_owned)));
        assert_eq!([levels("9"), levels("52391"), levels("5a"), levels("٣٩")], [None, None, None, None]);
    }
}
