//! How one e-mail address stands in texts of all sorts: in JSON, in a landing page's query, in what a platform quotes. What is
//! only part of a longer address is somebody else's.

use sha2::{Digest as _, Sha256};

/// What finds one address, in lower case, in texts that are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// One of them is in every text that holds the address: cheaper to look for than the pattern.
    pub hints: Vec<String>,
    /// Regular expression of PostgreSQL: the address as a whole, plain or percent-encoded once or more often, or its SHA-256.
    pub pattern: String,
}

/// The traces of an address.
pub fn traces(address: &str) -> Traces {
    let address = address.trim().to_lowercase();
    let hash = hex::encode(Sha256::digest(&address));
    let encoded = |c: char| {
        let mut bytes = [0; 4];
        c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%(25)*{byte:02x}")).collect::<String>()
    };
    let whole: String = address
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' => c.to_string(),
            '.' | '-' | '_' | '~' => format!("\\{c}"),
            c if c.is_ascii() => format!("(\\{c}|{})", encoded(c)),
            c => format!("({c}|{})", encoded(c)),
        })
        .collect();
    // An escape of JSON or of a URL before it ends in a letter or digit and is none of the address.
    let before = r"(^|[^a-z0-9._+-]|\\[bfnrt]|\\u[0-9a-f]{4}|%(25)*[0-9a-f]{2})";
    let after = r"($|[^a-z0-9.-]|\.($|[^a-z0-9]))";
    let run = address.split(|c: char| !c.is_ascii_alphanumeric()).max_by_key(|run| run.len()).unwrap_or_default();
    Traces { hints: vec![run.to_owned(), hash.clone()], pattern: format!("{before}{whole}{after}|{hash}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_what_no_encoding_changes() {
        assert_eq!(traces(" Ada+News.2024@Shop.Example ").hints[0], "example");
        assert_eq!(traces("joh.meier-schmidt@x.io").hints[0], "schmidt");
    }

    #[test]
    fn what_means_something_in_a_pattern_stands_for_itself() {
        let pattern = traces("a.b+c(@x.io").pattern;
        assert!(pattern.contains(r"a\.b(\+|%(25)*2b)c(\(|%(25)*28)(\@|%(25)*40)x\.io"), "{pattern}");
    }
}
