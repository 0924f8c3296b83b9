//! Where a value can stand in a request, and how a receiver finds it again there.

use postbackd::{
    platform::Settings,
    request::{Method, Request},
};
use serde_json::Value;

use crate::golden::resolve;

/// A place in the settings for an expression, written `@`.
pub struct Position {
    pub name: &'static str,
    settings: &'static str,
    find: fn(&Request) -> Option<Parts>,
}

/// What a receiver makes of a request.
#[derive(Debug, PartialEq)]
pub struct Parts {
    /// Everything but the value: it must not depend on it.
    pub shape: String,
    /// The value; as JSON where it stands bare in JSON.
    pub value: Value,
}

pub static ALL: [Position; 14] = [
    Position { name: "path", settings: "url = '''https://t.example/p/@/end?b=1'''", find: |r| segment(r, "") },
    Position { name: "part of a path segment", settings: "url = '''https://t.example/p/.@/end?b=1'''", find: |r| segment(r, ".") },
    Position { name: "query", settings: "url = '''https://t.example/p?a=@&b=1'''", find: |r| entry(r, "a") },
    Position { name: "query key", settings: "url = '''https://t.example/p?@=a&b=1'''", find: key_of_query },
    Position { name: "query table", settings: "url = '''https://t.example/p'''\nquery = { a = '''@''', b = '''1''' }", find: |r| entry(r, "a") },
    Position {
        name: "form table",
        settings: "url = '''https://t.example/p'''\nmethod = '''POST'''\nform = { a = '''@''', b = '''1''' }",
        find: form,
    },
    Position {
        name: "form body",
        settings: "url = '''https://t.example/p'''\nmethod = '''POST'''\nbody_type = '''form'''\nbody = '''a=@&b=1'''",
        find: form,
    },
    Position {
        name: "json in quotes",
        settings: "url = '''https://t.example/p'''\nbody_type = '''json'''\nbody = '''{\"a\": \"<@>\", \"b\": 1}'''",
        find: quoted,
    },
    Position {
        name: "json bare",
        settings: "url = '''https://t.example/p'''\nbody_type = '''json'''\nbody = '''{\"a\": @, \"b\": 1}'''",
        find: bare,
    },
    Position {
        name: "json in a list",
        settings: "url = '''https://t.example/p'''\nbody_type = '''json'''\nbody = '''{\"a\": [0, @, 2], \"b\": 1}'''",
        find: listed,
    },
    Position {
        name: "json key",
        settings: "url = '''https://t.example/p'''\nbody_type = '''json'''\nbody = '''{\"@\": 0, \"b\": 1}'''",
        find: key_of_json,
    },
    Position {
        name: "inner json key",
        settings: "url = '''https://t.example/p'''\nbody_type = '''json'''\nbody = '''[{\"b\": 1, \"@\": 0}]'''",
        find: inner_key,
    },
    Position { name: "header", settings: "url = '''https://t.example/p?b=1'''\nheaders = { X-A = '''v @ w''' }", find: header },
    Position {
        name: "text",
        settings: "url = '''https://t.example/p?b=1'''\nmethod = '''POST'''\nbody_type = '''text'''\nbody = '''v @ w'''",
        find: text,
    },
];

impl Position {
    /// Settings with the expression there; the error says why the configuration refuses it.
    pub fn with(&self, expression: &str) -> Result<Settings, String> {
        let tag = if expression.starts_with("{%") { expression.to_owned() } else { format!("{{{{ {expression} }}}}") };
        let text = format!(
            "{}\nallow_pii = true\nallow_empty = true\nclick_param = 'cid'\nrefunds = 'event'\nsecrets.token = {{ env = 'TOKEN' }}",
            self.settings.replace('@', &tag)
        );
        let table = toml::from_str(&text).map_err(|error| error.to_string())?;
        Settings::parse("postback", &table, &resolve).map_err(|error| format!("{}: {error}", error.key))
    }

    /// Reads the request as a receiver does; `None`: it is malformed, or the template is not to be found in it any more.
    pub fn read(&self, request: &Request) -> Option<Parts> {
        let line = request.url.bytes().all(|byte| byte.is_ascii_graphic()) && request.url.parse::<hyper::Uri>().is_ok();
        let headers = request.headers.iter().all(|(name, value)| {
            reqwest::header::HeaderName::try_from(name.as_str()).is_ok()
                && reqwest::header::HeaderValue::from_str(value).is_ok_and(|value| value.to_str().is_ok())
        });
        let body = request.method != Method::Get || request.body.is_empty();
        if line && headers && body { (self.find)(request) } else { None }
    }
}

/// The whole request as text, but for what the position puts aside.
fn parts(
    request: &Request,
    path: &[String],
    query: &[(String, String)],
    headers: &[(String, String)],
    body: &str,
    value: impl Into<Value>,
) -> Option<Parts> {
    let url = url::Url::parse(&request.url).ok()?;
    let place = (url.scheme(), url.username(), url.password(), url.host_str(), url.port(), url.fragment());
    Some(Parts { shape: format!("{:?} {place:?} {path:?} {query:?} {headers:?} {body}", request.method), value: value.into() })
}

fn path(request: &Request) -> Option<Vec<String>> {
    let decoded = |part: &str| Some(percent_encoding::percent_decode_str(part).decode_utf8().ok()?.into_owned());
    url::Url::parse(&request.url).ok()?.path_segments()?.map(decoded).collect()
}

fn query(request: &Request) -> Option<Vec<(String, String)>> {
    Some(url::Url::parse(&request.url).ok()?.query_pairs().into_owned().collect())
}

fn body(request: &Request) -> Option<&str> {
    std::str::from_utf8(&request.body).ok()
}

fn segment(request: &Request, before: &str) -> Option<Parts> {
    let mut path = path(request)?;
    let found = std::mem::take(path.get_mut(1)?);
    parts(request, &path, &query(request)?, &request.headers, body(request)?, found.strip_prefix(before)?)
}

/// Takes out the entry of that name. Entries of tables are left out when they are empty, which is as good as empty.
fn take(pairs: &mut Vec<(String, String)>, name: &str) -> String {
    pairs.iter().position(|(key, _)| key == name).map(|at| pairs.remove(at).1).unwrap_or_default()
}

fn entry(request: &Request, name: &str) -> Option<Parts> {
    let mut query = query(request)?;
    let found = take(&mut query, name);
    parts(request, &path(request)?, &query, &request.headers, body(request)?, found)
}

fn key_of_query(request: &Request) -> Option<Parts> {
    let mut query = query(request)?;
    let found = std::mem::take(&mut query.first_mut()?.0);
    parts(request, &path(request)?, &query, &request.headers, body(request)?, found)
}

fn form(request: &Request) -> Option<Parts> {
    let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let found = take(&mut pairs, "a");
    parts(request, &path(request)?, &query(request)?, &request.headers, &format!("{pairs:?}"), found)
}

/// The body as JSON, by a reader that keeps the first of two equal keys and counts them all.
fn json(request: &Request, find: impl FnOnce(&mut Value) -> Option<Value>) -> Option<Parts> {
    let mut json: Value = serde_json::from_slice(&request.body).ok()?;
    let found = find(&mut json)?;
    parts(request, &path(request)?, &query(request)?, &request.headers, &json.to_string(), found)
}

fn quoted(request: &Request) -> Option<Parts> {
    json(request, |json| {
        let found = json.get_mut("a")?.take();
        Some(found.as_str()?.strip_prefix('<')?.strip_suffix('>')?.into())
    })
}

fn bare(request: &Request) -> Option<Parts> {
    json(request, |json| Some(json.get_mut("a")?.take()))
}

fn listed(request: &Request) -> Option<Parts> {
    json(request, |json| Some(json.get_mut("a")?.get_mut(1)?.take()))
}

/// Renames the key whose value is 0, which is the template's.
fn rename(object: &mut Value) -> Option<Value> {
    let object = object.as_object_mut()?;
    let name = object.iter().find(|(_, value)| **value == 0)?.0.clone();
    let value = object.remove(&name)?;
    object.insert("*".to_owned(), value);
    Some(name.into())
}

fn key_of_json(request: &Request) -> Option<Parts> {
    json(request, rename)
}

fn inner_key(request: &Request) -> Option<Parts> {
    json(request, |json| rename(json.get_mut(0)?))
}

fn header(request: &Request) -> Option<Parts> {
    let mut headers = request.headers.clone();
    let at = headers.iter().position(|(name, _)| name == "X-A")?;
    let found = headers.remove(at).1;
    parts(request, &path(request)?, &query(request)?, &headers, body(request)?, found.strip_prefix("v ")?.strip_suffix(" w")?)
}

fn text(request: &Request) -> Option<Parts> {
    let found = body(request)?.strip_prefix("v ")?.strip_suffix(" w")?;
    parts(request, &path(request)?, &query(request)?, &request.headers, "", found)
}
