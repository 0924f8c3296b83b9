//! Postbacks that Apple's devices send: SKAdNetwork and AdAttributionKit. What they say, whether they are Apple's, and what they mean
//! to the shop. Pure.
//!
//! An iPhone sends a copy of each winning install-validation postback to the advertised app's own domain. It names an ad network, an
//! app and a campaign, perhaps a conversion value; never a person and never an order. Anybody can send such a body, so everything
//! hangs on the signature, and on what it does not cover: conversion values, country and kind of interaction are never signed.
//!
//! Source: developer.apple.com, "Verifying an install-validation postback", "Identifying the parameters in install-validation postbacks",
//! and "Verifying a postback", "Identifying the parameters in a postback" of AdAttributionKit, read 2026.

pub mod adattributionkit;
pub mod count;
mod fields;
pub mod json;
pub mod keys;
pub mod meaning;
mod postback;
pub mod skadnetwork;
pub mod tell;
#[cfg(test)]
mod testing;

pub use keys::Keys;
pub use postback::{Coarse, Postback, SourceIdentifier};

/// Bytes of a body at most. Apple's are under 1 KiB; the tenfold leaves room for versions to come.
pub const BODY_MAX: usize = 16 * 1024;

/// What sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// iOS 14 and later.
    SkAdNetwork,
    /// iOS 17.4 and later.
    AdAttributionKit,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::SkAdNetwork, Self::AdAttributionKit];

    /// As it stands in the database, in configuration and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::SkAdNetwork => "skadnetwork",
            Self::AdAttributionKit => "adattributionkit",
        }
    }

    /// Where devices send it, on the domain that the app names.
    pub fn path(self) -> &'static str {
        match self {
            Self::SkAdNetwork => "/.well-known/skadnetwork/report-attribution/",
            Self::AdAttributionKit => "/.well-known/appattribution/report-attribution/",
        }
    }

    /// Whose path it is, with and without the slash at its end.
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| path == protocol.path() || path == protocol.path().trim_end_matches('/'))
    }

    /// Which of the two a body is: one wraps everything in `jws-string`.
    pub fn of_body(body: &[u8]) -> Result<Self, Malformed> {
        let members = json::object(body)?;
        Ok(if members.iter().any(|(key, _)| key == "jws-string") { Self::AdAttributionKit } else { Self::SkAdNetwork })
    }

    /// Reads and verifies a body.
    pub fn read(self, body: &[u8], keys: &Keys) -> Result<Received, Malformed> {
        if body.len() > BODY_MAX {
            return Err(Malformed::new("too_large", format!("it is longer than {BODY_MAX} bytes")));
        }
        match self {
            Self::SkAdNetwork => skadnetwork::read(body, keys),
            Self::AdAttributionKit => adattributionkit::read(body, keys),
        }
    }
}

/// No postback of Apple's, whatever was signed. The text names fields, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Malformed {
    /// One of a few, to be counted by.
    pub word: &'static str,
    /// What is wrong, with the field's name.
    pub why: String,
}

impl Malformed {
    pub(crate) fn new(word: &'static str, why: impl Into<String>) -> Self {
        Self { word, why: why.into() }
    }
}

/// Whether it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Environment {
    /// An app of the App Store, a real advertisement.
    Production,
    /// A test: any phone in developer mode can make these for any app.
    Development,
}

impl Environment {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Development => "development",
        }
    }
}

/// Whether it is Apple's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Signed by Apple.
    Verified(Environment),
    /// Signed by somebody else, or altered.
    Invalid(Reason),
    /// Nobody can tell here.
    Unverifiable(Reason),
}

/// Why it is not known to be Apple's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Reason {
    Signature,
    Encoding,
    Algorithm,
    Critical,
    P192,
    Version,
    Kid,
}

impl Reason {
    /// As it stands in the database and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Encoding => "encoding",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical_header",
            Self::P192 => "p192",
            Self::Version => "unknown_version",
            Self::Kid => "unknown_key",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Signature => "the signature does not fit what it signs: somebody altered or made it up",
            Self::Encoding => "the signature is not encoded as Apple encodes it",
            Self::Algorithm => "the header names another algorithm than ES256",
            Self::Critical => "the header has a critical extension, which Apple's has not",
            Self::P192 => "SKAdNetwork 1.0 and 2.0 are signed on the curve P-192, which is not supported; devices since iOS 14.5 send 2.1 or later",
            Self::Version => "this version of SKAdNetwork is not known; a newer postbackd may know it",
            Self::Kid => "no pinned key has this key id; Apple may have a new key, which a newer postbackd may know",
        }
    }
}

impl Verdict {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Verified(_) => "verified",
            Self::Invalid(_) => "invalid",
            Self::Unverifiable(_) => "unverifiable",
        }
    }

    /// Why not.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Verified(_) => None,
            Self::Invalid(reason) | Self::Unverifiable(reason) => Some(reason),
        }
    }

    /// Of what is verified.
    pub fn environment(self) -> Option<Environment> {
        match self {
            Self::Verified(environment) => Some(environment),
            _ => None,
        }
    }
}

/// A body that was read, and what it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What it says.
    pub postback: Postback,
    /// Whether Apple says it.
    pub verdict: Verdict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_paths_are_apples() {
        assert_eq!(Protocol::at("/.well-known/skadnetwork/report-attribution/"), Some(Protocol::SkAdNetwork));
        assert_eq!(Protocol::at("/.well-known/appattribution/report-attribution"), Some(Protocol::AdAttributionKit));
        for path in ["/", "", "/.well-known/skadnetwork/report-attribution//", "/.well-known/adattributionkit/report-attribution/"] {
            assert_eq!(Protocol::at(path), None, "{path}");
        }
    }
}
