//! A service account's assertion (RFC 7523): a JSON Web Token signed with RS256 by the key of its JSON file.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};

use crate::secret::Secret;

/// The error completes a sentence that begins with the secret's name; it holds nothing of the file.
pub(super) fn signed(key_file: &Secret, scope: &str, audience: &str, now: Timestamp) -> Result<String, &'static str> {
    let file: Value = serde_json::from_str(key_file.reveal()).map_err(|_| "is no JSON")?;
    let text = |key: &str| file.get(key).and_then(Value::as_str);
    let (Some(issuer), Some(pem)) = (text("client_email"), text("private_key")) else { return Err("has no client_email or no private_key") };
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| "holds a private_key that is no PEM (PKCS #8)")?;
    let key = KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| "holds a private_key that is no RSA key of 2048 bits or more")?;
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = text("private_key_id") {
        header["kid"] = json!(id);
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&super::claims(issuer, scope, audience, now)));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).map_err(|_| "could not sign")?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
