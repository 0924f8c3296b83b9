//! How an access token is come by, as plain data: an adapter names it in a request, the HTTP edge fills it in.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::secret::Secret;

/// What is shown for a token, in golden files and previews, in place of one.
const SHOWN: &str = "TOKEN";

/// A token that has to be fetched before a request can be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// Where tokens are given out.
    pub token_url: String,
    /// What is shown there.
    pub means: Means,
}

/// What a token is given for.
#[derive(Clone, PartialEq, Eq)]
pub enum Means {
    /// OAuth 2.0 refresh token (RFC 6749, section 6). The answer may hold a new one, which replaces it from then on.
    Refresh {
        /// Public.
        client_id: String,
        /// Clients without one exist.
        client_secret: Option<Secret>,
        /// As configured; a rotated one is kept by the token room.
        refresh_token: Secret,
        /// Space-separated; `None`: that of the refresh token.
        scope: Option<String>,
    },
    /// OAuth 2.0 client credentials (RFC 6749, section 4.4), in the form.
    Client {
        /// Public.
        client_id: String,
        /// Its password.
        client_secret: Secret,
        /// Space-separated.
        scope: Option<String>,
    },
    /// A service account's signed assertion (RFC 7523, RS256).
    ServiceAccount {
        /// The JSON key file as the cloud's console gives it out: `client_email`, `private_key`, `private_key_id`.
        key_file: Secret,
        /// Space-separated.
        scope: String,
    },
}

impl Grant {
    /// The secret that is to be renewed when no token is given out any more.
    pub fn secret(&self) -> &Secret {
        match &self.means {
            Means::Refresh { refresh_token, .. } => refresh_token,
            Means::Client { client_secret, .. } => client_secret,
            Means::ServiceAccount { key_file, .. } => key_file,
        }
    }

    /// The same for the same credential, another one as soon as anything about it changes. Tells nothing of what it is made of.
    pub fn id(&self) -> String {
        let parts: [&str; 5] = match &self.means {
            Means::Refresh { client_id, client_secret, refresh_token, scope } => [
                "refresh",
                client_id,
                client_secret.as_ref().map_or("", Secret::reveal),
                refresh_token.reveal(),
                scope.as_deref().unwrap_or_default(),
            ],
            Means::Client { client_id, client_secret, scope } => {
                ["client", client_id, client_secret.reveal(), "", scope.as_deref().unwrap_or_default()]
            }
            Means::ServiceAccount { key_file, scope } => ["service_account", "", key_file.reveal(), "", scope],
        };
        let mut digest = Sha256::new();
        for part in parts.into_iter().chain([self.token_url.as_str()]) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        hex::encode(&digest.finalize()[..16])
    }

    /// Stands for the token where it is not known: `TOKEN.env.NAME`, in characters that no shell and no URL touches.
    pub fn placeholder(&self) -> String {
        let name = self.secret().name();
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || "-._~".contains(c) { c } else { '.' }).collect();
        format!("{SHOWN}.{name}")
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({})", self.secret().name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refresh(client_id: &str, token: &str) -> Grant {
        let refresh_token = Secret::new("env T", token);
        let means = Means::Refresh { client_id: client_id.into(), client_secret: None, refresh_token, scope: None };
        Grant { token_url: "https://auth.example/token".into(), means }
    }

    #[test]
    fn a_credential_is_known_by_all_of_its_parts() {
        assert_eq!(refresh("a", "b").id(), refresh("a", "b").id());
        assert_ne!(refresh("a", "b").id(), refresh("a", "c").id());
        assert_ne!(refresh("ab", "c").id(), refresh("a", "bc").id());
    }

    #[test]
    fn it_shows_names_and_no_values() {
        let grant = refresh("client", "hush");
        assert_eq!((grant.placeholder(), format!("{grant:?}")), ("TOKEN.env.T".into(), "Grant(env T)".into()));
        assert!(!grant.id().contains("hush"));
    }
}
