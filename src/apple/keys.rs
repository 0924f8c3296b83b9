//! Apple's public keys, pinned: Apple gives them in its documentation and nowhere else, and nothing is fetched from the network.
//!
//! Source: developer.apple.com, "SKAdNetwork 2 release notes" and "Verifying an install-validation postback" (the P-256 key of 2.1 and
//! later), "Verifying a postback" of AdAttributionKit (key ids), read 2026.

use std::sync::LazyLock;

use base64::Engine as _;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::Environment;

/// SKAdNetwork 2.1 and later, and AdAttributionKit in production.
const PRODUCTION: &str =
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWdp8GPcGqmhgzEFj9Z2nSpQVddayaPe4FMzqM9wib1+aHaaIzoHoLN9zW4K8y4SPykE3YVK3sVqW6Af0lfx3gg==";
/// AdAttributionKit's end-to-end development flows.
const DEVELOPMENT_0: &str =
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELeEDzpJEP+/qRSE5hJVC1p1J0ssUnQGMzBBbvnACBok8OVGGLgxL0myrKiy6lvRtSlLRsWit87i+vftD8AEqeQ==";
/// Postbacks that a device's developer settings make.
const DEVELOPMENT_1: &str =
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YzdO7eM97s/IJ25kdW5CZ3A14USE5IJ5Ha/vhWaxI6UBI1ZxCEvjrKxVluVGe6qWwF1BDFq+QHqKfH5u+wxHQ==";

/// What stands before the point in the DER of every P-256 public key: the algorithm, the curve, and that the point is not compressed.
const P256: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03,
    0x42, 0x00, 0x04,
];

/// A point of P-256, not compressed: 65 bytes that begin with 4.
type Point = Vec<u8>;

/// Which key signs what.
#[derive(Clone, Debug)]
pub struct Keys {
    skadnetwork: Point,
    by_kid: Vec<(&'static str, Environment, Point)>,
}

static APPLE: LazyLock<Keys> = LazyLock::new(|| Keys {
    skadnetwork: point(PRODUCTION),
    by_kid: vec![
        ("apple-cas-identifier/0", Environment::Production, point(PRODUCTION)),
        ("apple-development-identifier/0", Environment::Development, point(DEVELOPMENT_0)),
        ("apple-development-identifier/1", Environment::Development, point(DEVELOPMENT_1)),
    ],
});

/// The point in a key; nothing, with which nothing verifies, where the text is none. A test reads all of the above.
fn point(key: &str) -> Point {
    let der = base64::engine::general_purpose::STANDARD.decode(key).unwrap_or_default();
    match der.strip_prefix(&P256[..26]) {
        Some(point) if point.len() == 65 && der.starts_with(&P256) => point.to_vec(),
        _ => Point::new(),
    }
}

impl Keys {
    /// Apple's.
    pub fn apple() -> &'static Self {
        &APPLE
    }

    /// Whether a DER signature is SKAdNetwork's over `message`.
    pub(super) fn skadnetwork(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.skadnetwork).verify(message, signature).is_ok()
    }

    /// The environment of a key id, and whether a signature of 64 bytes, r and s, is its over `message`; `None`: there is no such key.
    pub(super) fn jws(&self, kid: &str, message: &[u8], signature: &[u8]) -> Option<(Environment, bool)> {
        let (_, environment, key) = self.by_kid.iter().find(|(have, ..)| *have == kid)?;
        Some((*environment, UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature).is_ok()))
    }
}

/// A table of the tests' own: Apple gives no sample for most forms of a postback.
#[cfg(test)]
impl Keys {
    pub(super) fn of_test(skadnetwork: &[u8], production: &[u8], development: &[u8]) -> Self {
        Self {
            skadnetwork: skadnetwork.to_vec(),
            by_kid: vec![
                ("apple-cas-identifier/0", Environment::Production, production.to_vec()),
                ("apple-development-identifier/0", Environment::Development, development.to_vec()),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pinned_key_is_a_point_of_the_curve() {
        assert!([PRODUCTION, DEVELOPMENT_0, DEVELOPMENT_1].iter().all(|key| point(key).len() == 65));
        assert_eq!(Keys::apple().skadnetwork[0], 4);
        assert!(point("MEkwEwYHKoZIzj0CAQYIKoZIzj0DAQEDMgAEMyHD625uvsmGq4C43cQ9BnfN2xslVT5V1nOmAMP6qaRRUll3PB1JYmgSm+62sosG").is_empty(), "P-192");
        assert!(!Keys { skadnetwork: Point::new(), by_kid: vec![] }.skadnetwork(b"", b""), "no key verifies nothing");
    }
}
