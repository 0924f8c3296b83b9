//! SKAdNetwork, versions 2.1 to 4.0 by their signature; 1.0 and 2.0 by their names.
//!
//! Signed are the values in the order of their version, with U+2063 between them: integers in decimal, booleans as `true` and `false`,
//! texts as they came. What comes later in a version's list than in an older one's has its place before nothing else moves.
//!
//! P-192, on which 1.0 and 2.0 are signed, is in no crate that is finished: p192 0.14, which fits the digests of this tree, is a release
//! candidate and would bring a second stack of elliptic curves for versions that no device sends to an app's own domain.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Coarse, Environment, Keys, Malformed, Postback, Protocol, Reason, Received, SourceIdentifier, Verdict,
    fields::{Fields, SEPARATOR, needed, unsigned},
    json,
};

/// Known versions; each has what the one before has, and more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    V1,
    V2,
    V2_1,
    V2_2,
    V3,
    V4,
    Unknown,
}

impl Version {
    fn of(text: Option<&str>) -> Self {
        match text {
            None => Self::V1,
            Some("2.0") => Self::V2,
            Some("2.1") => Self::V2_1,
            Some("2.2") => Self::V2_2,
            Some("3.0") => Self::V3,
            Some("4.0") => Self::V4,
            Some(_) => Self::Unknown,
        }
    }
}

/// Reads and verifies a body.
pub fn read(body: &[u8], keys: &Keys) -> Result<Received, Malformed> {
    let members = json::object(body)?;
    let fields = Fields(&members);
    let version = fields.text("version")?;
    if let Some(text) = &version
        && !(text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    {
        return Err(Malformed::new("wrong_type", "version: a number like 4.0 is expected"));
    }
    let known = Version::of(version.as_deref());
    let transaction = needed("transaction-id", fields.uuid("transaction-id")?)?;
    let signature = needed("attribution-signature", fields.long("attribution-signature")?)?;
    let postback = postback(&fields, known, version, &transaction)?;
    let verdict = match known {
        Version::V1 | Version::V2 => Verdict::Unverifiable(Reason::P192),
        Version::Unknown => Verdict::Unverifiable(Reason::Version),
        _ => match STANDARD.decode(signature) {
            Err(_) => Verdict::Invalid(Reason::Encoding),
            Ok(signature) if keys.skadnetwork(message(&postback, known, &transaction).as_bytes(), &signature) => {
                Verdict::Verified(environment(&postback))
            }
            Ok(_) => Verdict::Invalid(Reason::Signature),
        },
    };
    Ok(Received { postback, verdict })
}

/// Apple's own tests name the app 0 as the one that showed the advertisement.
fn environment(postback: &Postback) -> Environment {
    if postback.source_app == Some(0) { Environment::Development } else { Environment::Production }
}

fn postback(fields: &Fields<'_>, known: Version, version: Option<String>, transaction: &str) -> Result<Postback, Malformed> {
    // Members that a version does not have are nobody's: they are neither signed nor meant.
    let since = |first: Version| known >= first && known != Version::Unknown;
    let mut postback = Postback {
        protocol: Protocol::SkAdNetwork,
        version,
        kid: None,
        identifier: transaction.to_ascii_lowercase(),
        sequence: 0,
        app: needed("app-id", fields.whole("app-id", 1..=i64::MAX)?)?,
        network: needed("ad-network-id", fields.text("ad-network-id")?)?,
        campaign: None,
        source: None,
        source_app: None,
        source_domain: None,
        fidelity: None,
        redownload: None,
        conversion_type: None,
        impression_type: None,
        marketplace: None,
        did_win: None,
        value: None,
        coarse: None,
        country: unsigned(fields.text("country-code")),
        interaction: None,
    };
    if since(Version::V1) && known < Version::V4 {
        postback.campaign = Some(needed("campaign-id", fields.small("campaign-id", 1..=100)?)?);
    }
    if since(Version::V2) {
        postback.redownload = Some(needed("redownload", fields.bool_or_bit("redownload")?)?);
        postback.source_app = fields.whole("source-app-id", 0..=i64::MAX)?;
        postback.value = unsigned(fields.small("conversion-value", 0..=63));
    }
    if since(Version::V2_2) {
        postback.fidelity = Some(needed("fidelity-type", fields.small("fidelity-type", 0..=1)?)?);
    }
    if since(Version::V3) {
        postback.did_win = Some(needed("did-win", fields.bool("did-win")?)?);
    }
    if since(Version::V4) {
        let source = needed("source-identifier", fields.text("source-identifier")?)?;
        let wrong = || Malformed::new("wrong_type", "source-identifier: a text of two to four digits is expected");
        postback.source = Some(SourceIdentifier::parse(&source).ok_or_else(wrong)?);
        postback.sequence = needed("postback-sequence-index", fields.small("postback-sequence-index", 0..=2)?)?;
        postback.source_domain = fields.text("source-domain")?;
        postback.coarse = unsigned(coarse(fields));
    }
    if let Some(domain) = &postback.source_domain {
        // Both are signed in the same place: a domain of digits alone would be taken for an app, and the other way round.
        if domain.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed::new("wrong_type", "source-domain: a domain is expected"));
        }
        if postback.source_app.is_some() {
            return Err(Malformed::new("ambiguous", "source-app-id and source-domain exclude each other"));
        }
    }
    Ok(postback)
}

/// Also AdAttributionKit's.
pub(super) fn coarse(fields: &Fields<'_>) -> Result<Option<Coarse>, Malformed> {
    let Some(text) = fields.text("coarse-conversion-value")? else { return Ok(None) };
    let found = Coarse::ALL.into_iter().find(|coarse| coarse.word() == text);
    found.map_or_else(|| Err(Malformed::new("wrong_type", "coarse-conversion-value: low, medium or high is expected")), |coarse| Ok(Some(coarse)))
}

/// What is signed.
fn message(postback: &Postback, version: Version, transaction: &str) -> String {
    let Postback { network, app, campaign, source, source_app, source_domain, fidelity, redownload, did_win, sequence, .. } = postback;
    let sequence = (version >= Version::V4).then_some(*sequence);
    let parts = [
        postback.version.clone(),
        Some(network.clone()),
        campaign.map(|campaign| campaign.to_string()),
        source.as_ref().map(|source| source.as_str().to_owned()),
        Some(app.to_string()),
        Some(transaction.to_owned()),
        redownload.map(|redownload| redownload.to_string()),
        source_app.map(|app| app.to_string()),
        source_domain.clone(),
        fidelity.map(|fidelity| fidelity.to_string()),
        did_win.map(|did_win| did_win.to_string()),
        sequence.map(|sequence| sequence.to_string()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(SEPARATOR.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests;
