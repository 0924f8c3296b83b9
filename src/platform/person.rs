//! Match keys: each platform's normalisation, then SHA-256 in lower-case hex. Pure; small functions with the rule in their
//! name, so that an adapter reads like the platform's page. `None` means: not worth sending.
//!
//! They agree with the platforms' own libraries (`tests/golden/match_keys/*.json`). A value that is a SHA-256 in hex already goes as it is.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::event::Object;

/// A normalisation.
pub type Rule = fn(&str) -> Option<String>;

/// SHA-256 of a text's UTF-8 in lower-case hex.
pub fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Whether it is a SHA-256 in hex already.
pub fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Normalised and hashed, unless it is hashed already.
pub fn hashed(text: &str, rule: Rule) -> Option<String> {
    let text = text.trim();
    if is_hash(text) { Some(text.to_ascii_lowercase()) } else { rule(text).map(|normal| sha256(&normal)) }
}

/// What `who` says under a key: a text, a number, or a list of them.
pub fn texts(who: &Object, key: &str) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match who.get(key) {
        Some(Value::Array(list)) => list.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The first of them.
pub fn text(who: &Object, key: &str) -> Option<String> {
    texts(who, key).into_iter().next()
}

/// The customer's id in clear, where the platform takes it so; an address is none, since it would name a person.
pub fn customer(who: &Object) -> Option<String> {
    text(who, "external_id").filter(|id| !id.contains('@'))
}

/// All of them hashed, each once.
pub fn hashes(who: &Object, key: &str, rule: Rule) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for hash in texts(who, key).iter().filter_map(|text| hashed(text, rule)) {
        if !found.contains(&hash) {
            found.push(hash);
        }
    }
    found
}

/// Puts hashes into an object as a list, where there are any.
pub fn put_hashes(into: &mut Object, name: &str, who: &Object, key: &str, rule: Rule) {
    let found = hashes(who, key, rule);
    if !found.is_empty() {
        into.insert(name.to_owned(), json!(found));
    }
}

/// Puts what `who` says as it is, where it says something.
pub fn put_plain(into: &mut Object, name: &str, who: &Object, key: &str) {
    if let Some(text) = text(who, key) {
        into.insert(name.to_owned(), text.into());
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Trimmed.
pub fn trimmed(text: &str) -> Option<String> {
    some(text.trim().to_owned())
}

/// Trimmed, in lower case.
pub fn lower(text: &str) -> Option<String> {
    some(text.trim().to_lowercase())
}

/// In lower case, without blanks: names (TikTok).
pub fn unspaced(text: &str) -> Option<String> {
    some(text.to_lowercase().split_whitespace().collect())
}

/// Letters and digits alone, in lower case: places and post codes (TikTok).
pub fn alphanumeric(text: &str) -> Option<String> {
    some(text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect())
}

/// Digits alone, leading zeros kept: post codes (Pinterest).
pub fn digits(text: &str) -> Option<String> {
    some(text.chars().filter(char::is_ascii_digit).collect())
}

/// An e-mail address, trimmed and in lower case; nothing else is taken off (Meta, TikTok, Pinterest, Snap).
pub fn email(text: &str) -> Option<String> {
    let text = lower(text)?;
    let (user, host) = text.split_once('@')?;
    let good = !user.is_empty() && !host.is_empty() && !host.contains('@') && !text.contains(char::is_whitespace);
    good.then_some(text)
}

/// The same without dots and `+..` of the user at gmail.com and googlemail.com (Google).
pub fn email_google(text: &str) -> Option<String> {
    let text = email(text)?;
    let (user, host) = text.split_once('@')?;
    if !matches!(host, "gmail.com" | "googlemail.com") {
        return Some(text);
    }
    let user = user.split('+').next().unwrap_or_default().replace('.', "");
    (!user.is_empty()).then(|| format!("{user}@{host}"))
}

/// The same without dots and `+..` of the user at any host (Microsoft).
pub fn email_microsoft(text: &str) -> Option<String> {
    let text = email(text)?;
    let (user, host) = text.split_once('@')?;
    let user = user.split('+').next().unwrap_or_default().replace('.', "");
    (!user.is_empty()).then(|| format!("{user}@{host}"))
}

/// A phone number as digits alone, without leading zeros (Meta, Pinterest, Snap). It has to have its country code: nothing is added.
pub fn phone_digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    some(digits.trim_start_matches('0').to_owned())
}

/// `+` and all digits, zeros included (Google).
pub fn phone_google(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| c.is_numeric()).collect();
    some(digits).map(|digits| format!("+{digits}"))
}

/// `+` and the digits without leading zeros (TikTok, Microsoft, AppsFlyer).
pub fn phone_e164(text: &str) -> Option<String> {
    phone_digits(text).map(|digits| format!("+{digits}"))
}

/// In lower case, without digits, blanks, dots, dashes and brackets: city and state (Meta).
pub fn place(text: &str) -> Option<String> {
    some(text.trim().to_lowercase().chars().filter(|c| !c.is_numeric() && !c.is_whitespace() && !".-()".contains(*c)).collect())
}

/// A post code in lower case, without blanks and without what follows a dash (Meta).
pub fn zip(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    some(text.split('-').next().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect())
}

/// A country by its two letters, in lower case; names of countries are nothing.
pub fn country(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic())).then(|| text.to_ascii_lowercase())
}

/// An advertising id in lower case, dashes kept; zeros alone stand for a person who did not want to be known.
pub fn device(text: &str) -> Option<String> {
    lower(text).filter(|id| id.chars().any(|c| !matches!(c, '0' | '-')))
}

/// `f` or `m`.
pub fn gender(text: &str) -> Option<String> {
    match text.trim().to_lowercase().as_str() {
        "f" | "female" => Some("f".into()),
        "m" | "male" => Some("m".into()),
        _ => None,
    }
}

/// `19900214`, from that or from `1990-02-14`; other orders of day and month cannot be told apart.
pub fn birthday(text: &str) -> Option<String> {
    let text = text.trim();
    let shape =
        text.len() == 8 && !text.contains('-') || text.len() == 10 && text.as_bytes().get(4) == Some(&b'-') && text.as_bytes().get(7) == Some(&b'-');
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (shape && digits.len() == 8).then_some(digits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a platform's own libraries give: `{"kind": {"input": ["sha256", ..]}}`; null: at least one of them refuses it.
    fn agree(file: &str, rules: &[(&str, Rule)]) {
        let vectors: Value = serde_json::from_str(file).expect("vectors");
        let mut seen = 0;
        for (kind, rule) in rules {
            for (input, accept) in vectors[kind].as_object().unwrap_or_else(|| panic!("{kind}")) {
                let accept: Vec<Option<&str>> = accept.as_array().expect("answers").iter().map(Value::as_str).collect();
                match hashed(input, *rule) {
                    Some(hash) => assert!(accept.contains(&Some(hash.as_str())), "{kind} {input:?}: {:?}", rule(input)),
                    // Some libraries hash what is no address; nobody could be found by it.
                    None => assert!(accept.contains(&None) || *kind == "emails" && !is_address(input), "{kind} {input:?} is refused"),
                }
                seen += 1;
            }
        }
        assert!(seen >= rules.len() * 4, "vectors are missing");
    }

    fn is_address(text: &str) -> bool {
        let text = text.trim();
        text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()) && !text.contains(' ')
    }

    #[test]
    fn meta_agrees_with_its_own_libraries() {
        let file = include_str!("../../tests/golden/match_keys/meta.json");
        let rules: [(&str, Rule); 8] = [
            ("emails", email),
            ("phones", phone_digits),
            ("first_names", lower),
            ("last_names", lower),
            ("cities", place),
            ("states", place),
            ("zips", zip),
            ("countries", country),
        ];
        agree(file, &rules);
    }

    #[test]
    fn google_agrees_with_its_own_library() {
        let file = include_str!("../../tests/golden/match_keys/google.json");
        agree(file, &[("emails", email_google), ("phones", phone_google), ("first_names", lower), ("last_names", lower)]);
    }

    #[test]
    fn snap_and_tiktok_agree_where_their_rule_is_the_plain_one() {
        agree(include_str!("../../tests/golden/match_keys/snap.json"), &[("emails", email), ("first_names", lower), ("last_names", lower)]);
        agree(include_str!("../../tests/golden/match_keys/tiktok.json"), &[("emails", email)]);
    }

    #[test]
    fn what_is_hashed_already_stays() {
        let hash = sha256("user@example.com");
        assert_eq!(hashed(&format!(" {} ", hash.to_uppercase()), email), Some(hash.clone()));
        let who = json!({"email": ["User@example.com", hash, "user@example.com", "nobody"]});
        assert_eq!(hashes(who.as_object().expect("an object"), "email", email), [hash]);
    }

    #[test]
    fn customers_are_not_told_by_their_address() {
        let customer = |id: Value| customer(json!({ "external_id": id }).as_object().expect("an object"));
        assert_eq!((customer(json!(77)).as_deref(), customer(json!("john.doe@example.com"))), (Some("77"), None));
    }

    #[test]
    fn phones_and_people() {
        assert_eq!(phone_e164("0049 30 123456").as_deref(), Some("+4930123456"));
        assert_eq!(email_microsoft("Jo.Do+x@Shop.example").as_deref(), Some("jodo@shop.example"));
        for (text, want) in [("1990-02-14", Some("19900214")), ("19900214", Some("19900214")), ("14.02.1990", None), ("900214", None)] {
            assert_eq!(birthday(text).as_deref(), want, "{text}");
        }
        assert_eq!((unspaced(" Anne Marie\u{a0}Louise"), unspaced(" ")), (Some("annemarielouise".into()), None));
        assert_eq!((alphanumeric("St. Gallen-Süd 9").as_deref(), digits("01067-A").as_deref()), (Some("stgallensüd9"), Some("01067")));
        assert_eq!((device("EA75-CD").as_deref(), device("00000000-0000-0000-0000-000000000000")), (Some("ea75-cd"), None));
        assert_eq!((gender("Female").as_deref(), gender("x")), (Some("f"), None));
    }
}
