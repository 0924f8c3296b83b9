//! Where a value stands, and how it is written there.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{CLOSE, Fault, OPEN, scan, strict};

/// Everything but the unreserved characters of RFC 3986: right in path segments, query and form values alike.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a template is written into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A whole URL with a constant host.
    Url,
    /// A body of `application/x-www-form-urlencoded`.
    Form,
    /// A JSON body.
    Json,
    /// The value of an HTTP header.
    Header,
    /// Plain text: control characters but tabs become spaces.
    Text,
    /// A value that its user encodes as a whole, e.g. one entry of a `query` or `form` table.
    Value,
}

/// A text for path segments, query and form values.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Scheme, host and port must be the template's own characters, up to the first `/` or `?`.
pub fn check_host(source: &str) -> Result<(), String> {
    let prefix = scan::literal_prefix(source);
    let Some(after) = prefix.strip_prefix("https://").or_else(|| prefix.strip_prefix("http://")) else {
        return Err("a URL begins with https:// (or http://) and a constant host".into());
    };
    let Some(end) = after.find(['/', '?']) else {
        return Err("the host must be constant and end with \"/\" before the first macro: hosts come from the configuration only".into());
    };
    if after[..end].contains(['@', '\\', '#']) {
        return Err("the host may hold no user, password, \"\\\" or \"#\"; write auth = { basic = .. } instead".into());
    }
    if scan::literals(source).contains('#') {
        return Err("a URL template holds no fragment (\"#\"): it would never be sent".into());
    }
    let base = format!("{}{}/", &prefix[..prefix.len() - after.len()], &after[..end]);
    let parsed = url::Url::parse(&base).map_err(|error| format!("the host cannot be read: {error}"))?;
    if parsed.as_str() == base || parsed.port().is_none() { Ok(()) } else { Err(format!("write the host as {}", parsed.as_str())) }
}

/// Turns packed text into the final one.
pub fn unpack(packed: &str, place: Place) -> Result<String, Fault> {
    let mut out = String::with_capacity(packed.len());
    let mut at = Cursor::default();
    let mut rest = packed;
    loop {
        let (literal, value) = rest.split_once(OPEN).map_or((rest, None), |(literal, after)| (literal, after.split_once(CLOSE)));
        at.walk(literal, place);
        out.push_str(literal);
        let Some((value, after)) = value else { break };
        insert(&mut out, &at, value, place)?;
        rest = after;
    }
    finish(out, place)
}

/// What the template's own characters have opened so far.
#[derive(Default)]
struct Cursor {
    in_query: bool,
    in_string: bool,
    escaped: bool,
}

impl Cursor {
    fn walk(&mut self, literal: &str, place: Place) {
        for c in literal.chars() {
            match (place, c) {
                (Place::Url, '?') => self.in_query = true,
                (Place::Json, _) if self.escaped => self.escaped = false,
                (Place::Json, '\\') if self.in_string => self.escaped = true,
                (Place::Json, '"') => self.in_string = !self.in_string,
                _ => {}
            }
        }
    }
}

fn insert(out: &mut String, at: &Cursor, packed: &str, place: Place) -> Result<(), Fault> {
    let broken = || Fault::Bad("the template printed something unreadable".into());
    let tag = packed.chars().next().ok_or_else(broken)?;
    let text = hex::decode(&packed[1..]).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(broken)?;
    if tag == 'm' {
        return Err(Fault::Missing(text));
    }
    match place {
        Place::Url if !at.in_query && text.is_empty() => return Err(Fault::Bad("a value in the URL's path is empty".into())),
        Place::Url | Place::Form => out.push_str(&encode(&text)),
        Place::Json if at.escaped => return Err(Fault::Bad("a macro follows a backslash in a JSON string".into())),
        Place::Json if at.in_string => {
            let quoted = serde_json::Value::from(text).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
        Place::Json => match tag {
            'e' => out.push_str("null"),
            'j' => out.push_str(&text),
            _ => out.push_str(&serde_json::Value::from(text).to_string()),
        },
        Place::Header if !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) => {
            return Err(Fault::Bad("a header value holds control or non-ASCII characters; use | urlencode or | base64".into()));
        }
        Place::Text => out.extend(text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c })),
        Place::Header | Place::Value => out.push_str(&text),
    }
    Ok(())
}

fn finish(out: String, place: Place) -> Result<String, Fault> {
    match place {
        Place::Url => {
            let path = out.split('?').next().unwrap_or_default();
            let dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
            if path.split('/').skip(3).any(dots) {
                return Err(Fault::Bad("a part of the URL's path is \".\" or \"..\"".into()));
            }
            match url::Url::parse(&out) {
                Ok(url) if url.as_str().len() == out.len() || same_but_port(&url, &out) => Ok(out),
                Ok(_) => Err(Fault::Bad("the URL holds characters that must be percent-encoded in the template".into())),
                Err(error) => Err(Fault::Bad(format!("the URL cannot be read: {error}"))),
            }
        }
        Place::Json => strict::check(&out).map(|()| out).map_err(|why| Fault::Bad(why.into())),
        Place::Header if out.chars().any(char::is_control) => Err(Fault::Bad("a header value holds control characters".into())),
        _ => Ok(out),
    }
}

/// A URL without a path gets "/" and a default port goes: neither is something that the template has to say.
fn same_but_port(url: &url::Url, text: &str) -> bool {
    let tail = |text: &str| text.splitn(4, '/').nth(3).map(str::to_owned);
    tail(url.as_str()) == tail(text) || (tail(text).is_none() && url.path() == "/")
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::{super::Template, *};

    fn render(source: &str, place: Place, x: &str) -> Result<String, Fault> {
        Template::compile(source, place).expect(source).render(&context! { x })
    }

    #[test]
    fn a_value_fills_its_place_and_never_makes_one() {
        let nasty = "a&b=c#d?e/f%20\"'\\\r\n\0{{ x }}";
        let url = render("https://t.example/p/{{ x }}/q?a={{ x }}&b=1", Place::Url, nasty).expect("a URL");
        let url = url::Url::parse(&url).expect("parses");
        assert_eq!(url.path_segments().expect("path").count(), 3);
        assert_eq!(url.query_pairs().collect::<Vec<_>>(), [("a".into(), nasty.into()), ("b".into(), "1".into())]);
        let json = render(r#"{"q":"<{{ x }}>","v":{{ x }},"\"":1}"#, Place::Json, nasty).expect("JSON");
        let json: serde_json::Value = serde_json::from_str(&json).expect("parses");
        assert_eq!(json, serde_json::json!({"q": format!("<{nasty}>"), "v": nasty, "\"": 1}));
        assert!(matches!(render("{{ x }}", Place::Header, nasty), Err(Fault::Bad(_))));
        assert_eq!(render("<{{ x }}>", Place::Text, "a\r\nb\0").as_deref(), Ok("<a  b >"));
    }

    #[test]
    fn dots_do_not_climb() {
        for x in [".", "..", ""] {
            assert!(matches!(render("https://t.example/a/{{ x }}/b", Place::Url, x), Err(Fault::Bad(_))), "{x:?}");
        }
        assert!(render("https://t.example/a/.{{ x }}", Place::Url, ".").is_err());
    }

    #[test]
    fn hosts_are_constant() {
        for source in [
            "https://{{ x }}/",
            "https://t.example{{ x }}/",
            "https://u@t.example/?{{ x }}",
            "{{ x }}",
            "https://t.example:{{ x }}/",
            "ftp://t/",
            "https://t.example/#{{ x }}",
        ] {
            assert!(Template::compile(source, Place::Url).is_err(), "{source}");
        }
        assert!(Template::compile("https://t.example?a={{ x }}", Place::Url).is_ok());
        assert!(Template::compile("http://127.0.0.1:8080/{{ x }}", Place::Url).is_ok());
    }
}
