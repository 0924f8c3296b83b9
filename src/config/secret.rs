//! Secrets by reference: `{ env = ".." }`, `{ file = ".." }`, `{ credential = ".." }`; plain text is taken too.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::secret::Secret;

/// Whether secrets are read, or stand for themselves by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretMode {
    /// Their values, for sending.
    Reveal,
    /// `SECRET.env.META_TOKEN` instead of the value, which is not even read: for printing requests. The characters are
    /// those that percent-encoding leaves alone.
    Names,
}

/// Where references lead.
pub(super) struct Vault<'a> {
    /// Directory of the configuration file: relative files are below it.
    pub base: &'a Path,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A secret, and a word of warning about how it is kept.
pub(super) type Found = (Secret, Option<String>);

impl Vault<'_> {
    /// Follows a reference. The error says what was tried.
    pub(super) fn find(&self, value: &toml::Value, mode: SecretMode) -> Result<Found, String> {
        let shape = || "write it as { env = \"NAME\" }, { file = \"/path\" } or { credential = \"name\" }".to_owned();
        let (kind, name) = match value {
            toml::Value::String(text) => return Ok((plain(text, mode), None)),
            toml::Value::Table(table) if table.len() == 1 => table.iter().next().and_then(|(kind, name)| Some((kind.as_str(), name.as_str()?))),
            _ => None,
        }
        .ok_or_else(shape)?;
        if !matches!(kind, "env" | "file" | "credential") || name.is_empty() {
            return Err(shape());
        }
        if mode == SecretMode::Names {
            return Ok((named(kind, name), None));
        }
        match kind {
            "env" => {
                let value = (self.env)(name)
                    .ok_or_else(|| format!("the environment variable {name} is not set; set it for the daemon (systemd: EnvironmentFile=)"))?;
                Ok((filled(format!("env {name}"), value)?, None))
            }
            "credential" => {
                if name.contains('/') {
                    return Err(format!("credential {name:?} is a name, not a path; use {{ file = .. }} for a path"));
                }
                Ok((filled(format!("credential {name}"), self.credential(name)?)?, None))
            }
            _ => {
                let path = self.base.join(name);
                let value = read(&path)?;
                Ok((filled(format!("file {}", path.display()), value)?, readable_by_all(&path)))
            }
        }
    }
}

/// What the units of the package put before the names of the files in their directory of credentials, because systemd wants something.
const PACKAGE: &str = "postbackd_";

impl Vault<'_> {
    /// What the service manager hands to the daemon. Whoever runs a command by hand reads the package's files themselves, if they may.
    fn credential(&self, name: &str) -> Result<String, String> {
        let Some(directory) = (self.env)("CREDENTIALS_DIRECTORY").map(PathBuf::from) else {
            let path = self.base.join("credentials").join(name);
            return read(&path).map_err(|error| {
                format!("{error}; nor is there $CREDENTIALS_DIRECTORY, which systemd sets for the daemon by LoadCredential={name}:/path/to/it")
            });
        };
        let of_package = directory.join(format!("{PACKAGE}{name}"));
        let path = directory.join(name);
        read(if !path.exists() && of_package.exists() { &of_package } else { &path }).map_err(|error| {
            format!("{error}; put it into /etc/postbackd/credentials or add LoadCredential={name}:/path/to/it, and restart the unit")
        })
    }
}

fn plain(text: &str, mode: SecretMode) -> Secret {
    match mode {
        SecretMode::Reveal => Secret::new("the configuration file", text),
        SecretMode::Names => Secret::new("the configuration file", "SECRET.inline"),
    }
}

fn named(kind: &str, name: &str) -> Secret {
    let last = name.rsplit('/').next().unwrap_or(name);
    let kept: String = last.chars().map(|c| if c.is_ascii_alphanumeric() || "-._~".contains(c) { c } else { '_' }).collect();
    Secret::new(format!("{kind} {name}"), format!("SECRET.{kind}.{kept}"))
}

/// One newline at the end is the editor's; everything else belongs to the secret.
fn read(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
    Ok(text.to_owned())
}

fn filled(name: String, value: String) -> Result<Secret, String> {
    if value.is_empty() { Err(format!("{name} is empty")) } else { Ok(Secret::new(name, value)) }
}

/// A warning when everybody on the machine may read it.
pub(super) fn readable_by_all(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        format!("{} is readable by everybody on this machine; chmod 640 {} and give it to the daemon's group", path.display(), path.display())
    })
}
