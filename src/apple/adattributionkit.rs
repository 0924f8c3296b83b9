//! AdAttributionKit: a JWS in an envelope. The envelope's other members are not signed.
//!
//! ES256 alone, by a pinned key of the header's `kid`; nothing else of the header decides anything.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Environment, Keys, Malformed, Postback, Protocol, Reason, Received, SourceIdentifier, Verdict,
    fields::{Fields, needed, unsigned},
    json::{self, Json},
    skadnetwork::coarse,
};

/// The ad network of Apple's own development tools.
const DEVELOPMENT_NETWORK: &str = "development.adattributionkit";

/// Reads and verifies a body.
pub fn read(body: &[u8], keys: &Keys) -> Result<Received, Malformed> {
    let envelope = json::object(body)?;
    let envelope = Fields(&envelope);
    let jws = needed("jws-string", envelope.long("jws-string")?)?;
    let shape = || Malformed::new("not_jws", "jws-string: three parts with a dot between them are expected");
    let (signed, signature) = jws.rsplit_once('.').ok_or_else(shape)?;
    let (header, payload) = signed.split_once('.').filter(|(_, payload)| !payload.contains('.')).ok_or_else(shape)?;
    let header = part("header", header)?;
    let header = Fields(&header);
    let algorithm = header.text("alg").and_then(|alg| needed("alg", alg)).map_err(|why| within("header", why))?;
    let kid = header.text("kid").map_err(|why| within("header", why))?;
    let payload = part("payload", payload)?;
    let payload = Fields(&payload);
    let postback = postback(&envelope, &payload, kid)?;
    let verdict = verdict(&header, &algorithm, signed, signature, &postback, keys);
    Ok(Received { postback, verdict })
}

fn verdict(header: &Fields<'_>, algorithm: &str, signed: &str, signature: &str, postback: &Postback, keys: &Keys) -> Verdict {
    if algorithm != "ES256" {
        return Verdict::Invalid(Reason::Algorithm);
    }
    if header.get("crit").is_some() {
        return Verdict::Invalid(Reason::Critical);
    }
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return Verdict::Invalid(Reason::Encoding) };
    match postback.kid.as_deref().and_then(|kid| keys.jws(kid, signed.as_bytes(), &signature)) {
        None => Verdict::Unverifiable(Reason::Kid),
        Some((_, false)) => Verdict::Invalid(Reason::Signature),
        // Whatever key it was: this is how Apple's own tests look.
        Some((_, true)) if postback.source_app == Some(0) || postback.network == DEVELOPMENT_NETWORK => Verdict::Verified(Environment::Development),
        Some((environment, true)) => Verdict::Verified(environment),
    }
}

/// One of the parts of a JWS that are JSON.
fn part(name: &str, text: &str) -> Result<Vec<(String, Json)>, Malformed> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed::new("not_jws", format!("jws-string: its {name} is no base64url")))?;
    json::object(&bytes).map_err(|why| within(name, why))
}

fn within(name: &str, why: Malformed) -> Malformed {
    Malformed { why: format!("{name} of jws-string: {}", why.why), ..why }
}

fn postback(envelope: &Fields<'_>, payload: &Fields<'_>, kid: Option<String>) -> Result<Postback, Malformed> {
    let signed = || -> Result<Postback, Malformed> {
        let source = payload.text("source-identifier")?;
        let digits = || Malformed::new("wrong_type", "source-identifier: a text of two to four digits is expected");
        Ok(Postback {
            protocol: Protocol::AdAttributionKit,
            version: None,
            kid,
            identifier: needed("postback-identifier", payload.uuid("postback-identifier")?)?.to_ascii_lowercase(),
            sequence: needed("postback-sequence-index", payload.small("postback-sequence-index", 0..=2)?)?,
            app: needed("advertised-item-identifier", payload.whole("advertised-item-identifier", 1..=i64::MAX)?)?,
            network: needed("ad-network-identifier", payload.text("ad-network-identifier")?)?,
            campaign: None,
            source: source.map(|text| SourceIdentifier::parse(&text).ok_or_else(digits)).transpose()?,
            source_app: payload.whole("publisher-item-identifier", 0..=i64::MAX)?,
            source_domain: None,
            fidelity: None,
            redownload: None,
            conversion_type: payload.text("conversion-type")?,
            impression_type: payload.text("impression-type")?,
            marketplace: payload.text("marketplace-identifier")?,
            did_win: payload.bool("did-win")?,
            value: None,
            coarse: None,
            country: None,
            interaction: None,
        })
    };
    let signed = signed().map_err(|why| within("payload", why))?;
    Ok(Postback {
        value: unsigned(envelope.small("conversion-value", 0..=63)),
        coarse: unsigned(coarse(envelope)),
        country: unsigned(envelope.text("country-code")),
        interaction: unsigned(envelope.text("ad-interaction-type")),
        ..signed
    })
}

#[cfg(test)]
mod tests;
