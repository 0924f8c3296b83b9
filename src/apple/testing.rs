//! What the tests of these rooms stand on: keys of their own, and Apple's published samples.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _},
};
use serde_json::{Value, json};

use super::Keys;

/// Signs as Apple does.
pub struct Signer {
    pkcs8: Vec<u8>,
    pub keys: Keys,
}

impl Signer {
    pub fn new() -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).expect("a key");
        let pkcs8 = document.as_ref().to_vec();
        let public = pair(&pkcs8, &ECDSA_P256_SHA256_ASN1_SIGNING).public_key().as_ref().to_vec();
        Self { keys: Keys::of_test(&public, &public, &public), pkcs8 }
    }

    fn sign(&self, message: &[u8], algorithm: &'static EcdsaSigningAlgorithm) -> Vec<u8> {
        pair(&self.pkcs8, algorithm).sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
    }

    /// `body` with the signature over the values of `parts`, members of the body, in this order; absent ones are left out.
    pub fn skadnetwork(&self, mut body: Value, parts: &[&str]) -> Value {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let values: Vec<String> = parts.iter().filter_map(|part| body.get(part)).map(text).collect();
        body["attribution-signature"] = json!(STANDARD.encode(self.sign(values.join("\u{2063}").as_bytes(), &ECDSA_P256_SHA256_ASN1_SIGNING)));
        body
    }

    pub fn jws(&self, header: &Value, payload: &Value) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
        let signature = self.sign(signed.as_bytes(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn pair(pkcs8: &[u8], algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &SystemRandom::new()).expect("the key made above")
}

/// One of `tests/apple/*.json`: the examples of Apple's documentation.
pub fn sample(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apple").join(name);
    std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// How many cases the property tests try: `PROPTEST_CASES` for a long run.
pub fn cases(few: u32) -> proptest::test_runner::Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    proptest::test_runner::Config { cases: asked.unwrap_or(few), ..Default::default() }
}
