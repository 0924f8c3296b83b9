//! Reading a destination's own keys; every error names its key and what to write instead. All adapters read by these, so that
//! the same mistake gets the same answer everywhere.

use std::{sync::Arc, time::Duration};

use toml::{Table, Value};

use crate::{
    grant::{Grant, Means},
    platform::{Resolve, SettingError},
    secret::Secret,
    words::hint,
};

pub(in crate::platform) type Parsed<T> = Result<T, SettingError>;

pub(in crate::platform) fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Parsed<T> {
    Err(SettingError { key: key.into(), message: message.into() })
}

pub(in crate::platform) fn only(table: &Table, prefix: &str, known: &[&str]) -> Parsed<()> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            wrong(path, format!("unknown key {key:?}{}", hint(key, known.iter().copied())))
        }
    }
}

pub(in crate::platform) fn text_at<'a>(table: &'a Table, key: &str, path: &str) -> Parsed<Option<&'a str>> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => wrong(path, "a text is expected"),
    }
}

pub(in crate::platform) fn text<'a>(table: &'a Table, key: &str) -> Parsed<Option<&'a str>> {
    text_at(table, key, key)
}

pub(in crate::platform) fn flag(table: &Table, key: &str) -> Parsed<bool> {
    match table.get(key) {
        None => Ok(false),
        Some(Value::Boolean(yes)) => Ok(*yes),
        Some(_) => wrong(key, "true or false is expected"),
    }
}

/// One text or a list of them.
pub(in crate::platform) fn texts(table: &Table, key: &str) -> Parsed<Option<Vec<String>>> {
    let bad = || SettingError { key: key.into(), message: "a list of texts is expected".into() };
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
        Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(bad)).collect::<Parsed<Vec<_>>>().map(Some),
        Some(_) => Err(bad()),
    }
}

pub(in crate::platform) fn statuses(table: &Table, key: &str) -> Parsed<Option<Vec<u16>>> {
    let bad = || SettingError { key: key.into(), message: "a list of HTTP statuses is expected, e.g. [200, 204]".into() };
    let Some(value) = table.get(key) else { return Ok(None) };
    let status =
        |item: &Value| item.as_integer().and_then(|status| u16::try_from(status).ok()).filter(|status| (100..600).contains(status)).ok_or_else(bad);
    value.as_array().ok_or_else(bad)?.iter().map(status).collect::<Parsed<_>>().map(Some)
}

pub(in crate::platform) fn named<T>(table: &Table, key: &str, parse: impl Fn(&Value, &str) -> Parsed<T>) -> Parsed<Vec<(String, T)>> {
    match table.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Table(entries)) => entries.iter().map(|(name, value)| Ok((name.clone(), parse(value, &format!("{key}.{name}"))?))).collect(),
        Some(_) => wrong(key, "a table is expected"),
    }
}

pub(in crate::platform) fn secret(value: &Value, key: &str, resolve: Resolve<'_>) -> Parsed<Secret> {
    let secret = resolve(value).or_else(|message| wrong(key, message))?;
    if secret.reveal().is_empty() { wrong(key, format!("the secret {} is empty", secret.name())) } else { Ok(secret) }
}

pub(in crate::platform) fn field<'a>(table: &'a Table, name: &str, path: &str) -> Parsed<&'a Value> {
    table.get(name).map_or_else(|| wrong(path, format!("{name} is missing")), Ok)
}

/// A header's name by RFC 9110, and none that the HTTP client has to set.
pub(in crate::platform) fn can_be_set(header: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let own = ["host", "content-length", "transfer-encoding", "connection"];
    !header.is_empty() && header.chars().all(token) && !own.contains(&header.to_ascii_lowercase().as_str())
}

pub(in crate::platform) fn in_header(value: &str) -> bool {
    value.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}

pub(in crate::platform) fn header_secret(secret: Secret, key: &str) -> Parsed<Secret> {
    if in_header(secret.reveal()) {
        Ok(secret)
    } else {
        wrong(key, format!("the secret {} holds characters that a header cannot carry", secret.name()))
    }
}

/// Whether it goes over a network without TLS. Hosts are constant, so that the template's own text has it.
pub(in crate::platform) fn in_clear(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let loopback = url::Url::parse(&format!("http://{host}/")).is_ok_and(|url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    });
    !loopback
}

/// A key that has to be there and not empty; `like` is an example of it.
pub(in crate::platform) fn required(table: &Table, key: &str, like: &str) -> Parsed<String> {
    match scalar(table, key)?.filter(|text| !text.trim().is_empty()) {
        Some(text) => Ok(text.trim().to_owned()),
        None => wrong(key, format!("it is missing: {key} = \"{like}\"")),
    }
}

/// A key that may be left out.
pub(in crate::platform) fn given<T>(table: &Table, key: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Parsed<Option<T>> {
    table.contains_key(key).then(|| parse(key)).transpose()
}

/// A text that may be left out; an empty one is none.
pub(in crate::platform) fn some_text(table: &Table, key: &str) -> Parsed<Option<String>> {
    Ok(text(table, key)?.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned))
}

/// A text or a whole number, as text: ids are written either way.
pub(in crate::platform) fn scalar(table: &Table, key: &str) -> Parsed<Option<String>> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Integer(number)) => Ok(Some(number.to_string())),
        Some(_) => wrong(key, "a text or a whole number is expected"),
    }
}

/// An id of digits alone; dashes and blanks that a console prints between them are dropped.
pub(in crate::platform) fn digits(table: &Table, key: &str, like: &str) -> Parsed<String> {
    let text: String = required(table, key, like)?.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    if text.bytes().all(|b| b.is_ascii_digit()) { Ok(text) } else { wrong(key, format!("digits are expected, e.g. \"{like}\"")) }
}

/// An id that stands in a URL's path.
pub(in crate::platform) fn path_part(table: &Table, key: &str, like: &str) -> Parsed<String> {
    let text = required(table, key, like)?;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && text != "." && text != "..";
    if plain { Ok(text) } else { wrong(key, format!("letters, digits, - _ and . are expected, e.g. \"{like}\"")) }
}

/// One of some words.
pub(in crate::platform) fn choice<T: Copy>(table: &Table, key: &str, default: T, words: &[(&str, T)]) -> Parsed<T> {
    let Some(given) = text(table, key)? else { return Ok(default) };
    match words.iter().find(|(word, _)| *word == given) {
        Some((_, value)) => Ok(*value),
        None => {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            wrong(key, format!("{given:?} is none of {}{}", known.join(", "), hint(given, known.iter().copied())))
        }
    }
}

/// One of the platform's own words, as it writes them.
pub(in crate::platform) fn word(table: &Table, key: &str, default: &'static str, words: &[&'static str]) -> Parsed<&'static str> {
    let words: Vec<_> = words.iter().map(|word| (*word, *word)).collect();
    choice(table, key, default, &words)
}

/// A whole number between two.
pub(in crate::platform) fn whole(table: &Table, key: &str, default: usize, allowed: std::ops::RangeInclusive<usize>) -> Parsed<usize> {
    let Some(value) = table.get(key) else { return Ok(default) };
    let found = value.as_integer().and_then(|number| usize::try_from(number).ok()).filter(|number| allowed.contains(number));
    found.map_or_else(|| wrong(key, format!("a whole number between {} and {} is expected", allowed.start(), allowed.end())), Ok)
}

/// A span of time, at most `most`.
pub(in crate::platform) fn span(table: &Table, key: &str, default: Duration, most: Duration) -> Parsed<Duration> {
    let Some(given) = text(table, key)? else { return Ok(default) };
    match crate::words::parse_duration(given).filter(|found| *found <= most) {
        Some(found) => Ok(found),
        None => wrong(key, format!("a duration of at most {} is expected: \"{}\"", crate::words::duration(most), crate::words::duration(default))),
    }
}

/// `batch_wait`: how long a batch that is not full waits for more.
pub(in crate::platform) fn batch_wait(table: &Table) -> Parsed<Duration> {
    span(table, "batch_wait", Duration::from_secs(1), Duration::from_secs(600))
}

/// `resend = "safe"`, where a person knows of the account what the platform does not promise: that it drops repeats.
pub(in crate::platform) fn resend(table: &Table) -> Parsed<bool> {
    choice(table, "resend", false, &[("never", false), ("safe", true)])
}

/// `version`, which stands in the path: `v3` or `v26.0`.
pub(in crate::platform) fn version(table: &Table, default: &str) -> Parsed<String> {
    let version = text(table, "version")?.unwrap_or(default);
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let good = version.strip_prefix('v').is_some_and(|rest| rest.split('.').all(number));
    if good { Ok(version.to_owned()) } else { wrong("version", format!("a version of the API is expected: \"{default}\"")) }
}

/// `key = SECRET`, to be put into a header.
pub(in crate::platform) fn header_key(table: &Table, key: &str, resolve: Resolve<'_>) -> Parsed<Secret> {
    header_secret(secret_key(table, key, resolve)?, key)
}

/// `key = SECRET`.
pub(in crate::platform) fn secret_key(table: &Table, key: &str, resolve: Resolve<'_>) -> Parsed<Secret> {
    match table.get(key) {
        Some(value) => secret(value, key, resolve),
        None => wrong(key, format!("it is missing: {key} = {{ credential = \"name\" }}, {{ file = \"/path\" }} or {{ env = \"NAME\" }}")),
    }
}

/// `base_url`, for tests, proxies and regions: scheme, host and perhaps a path; without the slash at its end.
pub(in crate::platform) fn base_url(table: &Table, key: &str, default: &str) -> Parsed<String> {
    let Some(given) = text(table, key)? else { return Ok(default.to_owned()) };
    let parsed = url::Url::parse(given).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match parsed.filter(|url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty()) {
        Some(_) => Ok(given.trim_end_matches('/').to_owned()),
        None => wrong(key, format!("a URL without query is expected: \"{default}\"")),
    }
}

/// What `check` says of URLs that are not TLS, by their keys.
pub(in crate::platform) fn clear_warnings(urls: &[(&str, &str)]) -> Vec<String> {
    let clear = urls.iter().filter(|(_, url)| in_clear(url));
    clear.map(|(key, _)| format!("{key} is not https: secrets and personal data cross the network in clear")).collect()
}

/// `oauth = { client_id, client_secret, refresh_token }`; `scope` where the platform wants it told with every refresh.
pub(in crate::platform) fn refresh_grant(table: &Table, token_url: &str, scope: Option<&str>, resolve: Resolve<'_>) -> Parsed<Arc<Grant>> {
    const SHAPE: &str = "oauth = { client_id = \"..\", client_secret = SECRET, refresh_token = SECRET }";
    let token_url = base_url(table, "token_url", token_url)?;
    let oauth = match table.get("oauth") {
        Some(Value::Table(oauth)) => oauth,
        Some(_) => return wrong("oauth", format!("a table is expected: {SHAPE}")),
        None => return wrong("oauth", format!("it is missing: {SHAPE}")),
    };
    only(oauth, "oauth", &["client_id", "client_secret", "refresh_token"])?;
    let client_id = client_id(oauth, "oauth.client_id")?;
    let client_secret = oauth.get("client_secret").map(|value| secret(value, "oauth.client_secret", resolve)).transpose()?;
    let refresh_token = secret(field(oauth, "refresh_token", "oauth")?, "oauth.refresh_token", resolve)?;
    Ok(Arc::new(Grant { token_url, means: Means::Refresh { client_id, client_secret, refresh_token, scope: scope.map(str::to_owned) } }))
}

/// `oauth` as above, or `service_account = SECRET` (the JSON key file), for one scope of Google's.
pub(in crate::platform) fn google_grant(table: &Table, scope: &str, resolve: Resolve<'_>) -> Parsed<Arc<Grant>> {
    const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
    let Some(value) = table.get("service_account") else { return refresh_grant(table, TOKEN_URL, None, resolve) };
    if table.contains_key("oauth") {
        return wrong("oauth", "either oauth or service_account, not both");
    }
    let token_url = base_url(table, "token_url", TOKEN_URL)?;
    let means = Means::ServiceAccount { key_file: secret(value, "service_account", resolve)?, scope: scope.to_owned() };
    Ok(Arc::new(Grant { token_url, means }))
}

/// `oauth = { client_id, client_secret }`: client credentials.
#[allow(dead_code, reason = "for adapters to come")]
pub(in crate::platform) fn client_grant(table: &Table, token_url: &str, scope: Option<&str>, resolve: Resolve<'_>) -> Parsed<Arc<Grant>> {
    let token_url = base_url(table, "token_url", token_url)?;
    let Some(Value::Table(oauth)) = table.get("oauth") else {
        return wrong("oauth", "it is missing: oauth = { client_id = \"..\", client_secret = SECRET }");
    };
    only(oauth, "oauth", &["client_id", "client_secret"])?;
    let client_id = client_id(oauth, "oauth.client_id")?;
    let client_secret = secret(field(oauth, "client_secret", "oauth")?, "oauth.client_secret", resolve)?;
    Ok(Arc::new(Grant { token_url, means: Means::Client { client_id, client_secret, scope: scope.map(str::to_owned) } }))
}

fn client_id(oauth: &Table, path: &str) -> Parsed<String> {
    match text_at(oauth, "client_id", path)?.filter(|id| !id.is_empty()) {
        Some(id) => Ok(id.to_owned()),
        None => wrong(path, "it is missing"),
    }
}
