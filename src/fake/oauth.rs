//! Token endpoints: a refresh token, client credentials, or the signed assertion of a service account against an access token.
//!
//! Form of the requests: RFC 6749 sections 4.4 and 6, RFC 7523 section 2.1; claims of Google's assertions:
//! <https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    look::{Faults, Look},
    words::{Answer, Call, Concern, Memory, Verdict},
};

const ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const LIFE: i64 = 3600;

/// Reads a request for a token. `scope` is what an assertion has to ask for.
pub fn judge(call: &Call, scope: &str) -> Verdict {
    let faults = Faults::default();
    if call.method != "POST" {
        faults.add(Concern::Address, "method", "a token is asked for by POST");
    }
    if !call.header("content-type").is_some_and(|it| it.starts_with("application/x-www-form-urlencoded")) {
        faults.add(Concern::Request, "content-type", "must be application/x-www-form-urlencoded");
    }
    let form = call.form();
    let look = faults.look(&form);
    look.at("grant_type").required();
    match look.at("grant_type").text() {
        "refresh_token" => {
            look.at("client_id").required();
            look.at("refresh_token").required();
            if matches!(look.at("refresh_token").text(), "expired" | "revoked") {
                faults.add(Concern::Auth, "refresh_token", "has expired or was revoked");
            }
        }
        "client_credentials" => {
            look.at("client_id").required();
            look.at("client_secret").required();
        }
        ASSERTION => assertion(&look.at("assertion"), call, scope),
        _ => {
            look.at("grant_type").one_of(&["refresh_token", "client_credentials", ASSERTION]);
        }
    }
    faults.verdict("token")
}

fn assertion(look: &Look<'_>, call: &Call, scope: &str) {
    if !look.required() {
        return;
    }
    let parts: Vec<Vec<u8>> = look.text().split('.').filter_map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok()).collect();
    let [header, claims, signature] = parts.as_slice() else {
        return look.fault("must be three parts of base64url without padding, joined by points");
    };
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let (header, claims) = (parse(header), parse(claims));
    look.must(header["alg"] == "RS256", "must be signed by RS256 (alg)");
    look.must(signature.len() >= 256, "must have an RSA signature of 2048 bits or more");
    look.must(claims["iss"].as_str().is_some_and(|iss| iss.contains('@')), "must be issued by the service account's address (iss)");
    look.must(claims["scope"].as_str().is_some_and(|have| have.split(' ').any(|one| one == scope)), &format!("must ask for {scope} (scope)"));
    look.must(claims["aud"].as_str().is_some_and(super::look::web), "must name the token endpoint (aud)");
    let (Some(iat), Some(exp)) = (claims["iat"].as_i64(), claims["exp"].as_i64()) else {
        return look.fault("must say when it was issued and when it ends, in Unix seconds (iat, exp)");
    };
    let now = call.now.as_second();
    look.must(exp > now && iat <= now + 60, "must be valid now (iat, exp)");
    look.must(exp > iat && exp - iat <= 3600, "must live for an hour at most (exp)");
}

/// The token, or the reason as RFC 6749 section 5.2 has it.
pub fn answer(call: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer {
    if let Some(fault) = verdict.worst() {
        let error = if fault.concern == Concern::Auth || fault.field == "assertion" { "invalid_grant" } else { "invalid_request" };
        return super::json(400, &json!({"error": error, "error_description": format!("{} {}", fault.field, fault.rule)}));
    }
    let token = format!("fake-token-{}", memory.number());
    let end = call.now.checked_add(SignedDuration::from_secs(LIFE)).unwrap_or(call.now);
    memory.tokens.insert(token.clone(), end);
    super::json(200, &json!({"access_token": token, "expires_in": LIFE, "token_type": "Bearer"}))
}

/// `Authorization: Bearer` with a token that this platform gave and that has not ended.
pub fn bearer(call: &Call, memory: &Memory, faults: &Faults) {
    match call.bearer().map(|token| memory.tokens.get(token)) {
        None => faults.add(Concern::Auth, "authorization", "must be \"Bearer\" and an access token"),
        Some(None) => faults.add(Concern::Auth, "authorization", "holds a token that the token endpoint did not give"),
        Some(Some(end)) if *end <= call.now => faults.add(Concern::Auth, "authorization", "holds a token that has expired"),
        Some(Some(_)) => {}
    }
}

/// A credential that never changes: anything but nothing, and the text `expired` that stands for an expired one.
pub fn fixed(value: Option<&str>, field: &str, faults: &Faults) {
    match value {
        None | Some("") => faults.add(Concern::Auth, field, "is required and missing"),
        Some("expired") => faults.add(Concern::Auth, field, "has expired"),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::testing;

    const SCOPE: &str = "https://www.googleapis.com/auth/datamanager";

    fn assertion(change: impl Fn(&mut Value, &mut Value), signature: usize) -> Call {
        let now = testing::NOW;
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        let mut claims = json!({"iss": "shop@project.iam.gserviceaccount.com", "scope": SCOPE, "aud": "https://oauth2.googleapis.com/token", "iat": now, "exp": now + 3600});
        change(&mut header, &mut claims);
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let text = [part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()), part(&vec![7; signature])].join(".");
        testing::form("POST", "/token", &format!("grant_type={}&assertion={text}", ASSERTION.replace(':', "%3A")))
    }

    #[test]
    fn assertions() {
        let rules = |call: &Call| judge(call, SCOPE).faults.into_iter().map(|fault| fault.rule).collect::<Vec<_>>().join("; ");
        assert_eq!(rules(&assertion(|_, _| (), 256)), "");
        for (call, want) in [
            (assertion(|header, _| header["alg"] = "HS256".into(), 256), "RS256"),
            (assertion(|_, _| (), 32), "2048 bits"),
            (assertion(|_, claims| claims["iss"] = "shop".into(), 256), "(iss)"),
            (assertion(|_, claims| claims["scope"] = "x".into(), 256), "(scope)"),
            (assertion(|_, claims| claims["aud"] = "x".into(), 256), "(aud)"),
            (assertion(|_, claims| claims["exp"] = (testing::NOW + 7200).into(), 256), "an hour at most"),
            (assertion(|_, claims| claims["exp"] = (testing::NOW - 1).into(), 256), "valid now"),
            (testing::form("POST", "/token", "grant_type=refresh_token&client_id=c"), "required and missing"),
            (testing::form("POST", "/token", "grant_type=refresh_token&client_id=c&refresh_token=revoked"), "revoked"),
        ] {
            assert!(rules(&call).contains(want), "{want}: {}", rules(&call));
        }
    }

    #[test]
    fn tokens_are_known_until_they_end() {
        let mut memory = Memory::default();
        let call = testing::form("POST", "/token", "grant_type=refresh_token&client_id=c&refresh_token=r");
        assert_eq!(answer(&call, &judge(&call, SCOPE), &mut memory).status, 200);
        let bears = |token: &str, later: i64| {
            let mut call = testing::post("/", &json!({})).with("authorization", &format!("Bearer {token}"));
            call.now = call.now.checked_add(SignedDuration::from_secs(later)).expect("a time");
            let faults = Faults::default();
            bearer(&call, &memory, &faults);
            faults.verdict("").faults.first().map(|fault| fault.rule.clone()).unwrap_or_default()
        };
        assert_eq!(bears("fake-token-1", 0), "");
        assert_eq!(bears("fake-token-1", 3600), "holds a token that has expired");
        assert_eq!(bears("other", 0), "holds a token that the token endpoint did not give");
    }
}
