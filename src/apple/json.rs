//! Foreign JSON, read strictly: what devices send is small and flat, and what is signed must be read in one way only.
//!
//! The house's JSON crate takes the last of two equal keys and knows numbers by a member name of its own, which a stranger may
//! send too. Here duplicates are refused, numbers stay the text that came, and nesting, keys and size have bounds.

use super::Malformed;

/// Values within values.
const DEEPEST: usize = 8;
/// Members and items, all together.
const MOST: usize = 256;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// As it was written.
    Number(String),
    /// Unescaped.
    Text(String),
    /// `[..]`
    List(Vec<Json>),
    /// `{..}`, in order, no key twice.
    Object(Vec<(String, Json)>),
}

/// The members of the object that `bytes` are, and nothing but it.
pub fn object(bytes: &[u8]) -> Result<Vec<(String, Json)>, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("not_json", "it is not UTF-8"))?;
    let mut reader = Reader { text, at: 0, count: 0 };
    reader.blanks();
    if reader.peek() != Some(b'{') {
        return Err(reader.broken("an object is expected"));
    }
    let value = reader.value(0)?;
    reader.blanks();
    match value {
        Json::Object(members) if reader.at == text.len() => Ok(members),
        _ => Err(reader.broken("something follows the object")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    count: usize,
}

impl Reader<'_> {
    fn broken(&self, why: &str) -> Malformed {
        Malformed::new("not_json", format!("{why} at byte {}", self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// One more member or item.
    fn counted(&mut self) -> Result<(), Malformed> {
        self.count += 1;
        if self.count > MOST { Err(Malformed::new("too_many_keys", format!("it has more than {MOST} members"))) } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Result<Json, Malformed> {
        if depth > DEEPEST {
            return Err(Malformed::new("too_deep", format!("it is nested more than {DEEPEST} deep")));
        }
        match self.peek() {
            Some(b'{') => self.members(depth),
            Some(b'[') => self.items(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(self.broken("a value is expected")),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Malformed> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.broken("a value is expected"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn members(&mut self, depth: usize) -> Result<Json, Malformed> {
        let mut members: Vec<(String, Json)> = Vec::new();
        self.at += 1;
        self.blanks();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.broken("a key is expected"));
            }
            self.counted()?;
            let key = self.string()?;
            if members.iter().any(|(have, _)| *have == key) {
                return Err(Malformed::new("duplicate_key", format!("a key stands twice, the second time before byte {}", self.at)));
            }
            self.blanks();
            if !self.take(b':') {
                return Err(self.broken("a colon is expected"));
            }
            self.blanks();
            members.push((key, self.value(depth + 1)?));
            self.blanks();
            if self.take(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.take(b',') {
                return Err(self.broken("a comma or } is expected"));
            }
        }
    }

    fn items(&mut self, depth: usize) -> Result<Json, Malformed> {
        let mut items = Vec::new();
        self.at += 1;
        self.blanks();
        if self.take(b']') {
            return Ok(Json::List(items));
        }
        loop {
            self.blanks();
            self.counted()?;
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.take(b']') {
                return Ok(Json::List(items));
            }
            if !self.take(b',') {
                return Err(self.broken("a comma or ] is expected"));
            }
        }
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == from { Err(self.broken("a digit is expected")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Json, Malformed> {
        let from = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        } else if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.broken("a number does not begin with 0"));
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(Json::Number(self.text[from..self.at].to_owned()))
    }

    fn string(&mut self) -> Result<String, Malformed> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').ok_or_else(|| self.broken("a text without its end begins before"))?;
            out.push_str(&rest[..plain]);
            self.at += plain + 1;
            match rest.as_bytes()[plain] {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escape()?),
                _ => return Err(self.broken("a control character stands in a text")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let escaped = self.peek().ok_or_else(|| self.broken("an escape is expected"))?;
        self.at += 1;
        Ok(match escaped {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                let code = match first {
                    // Two halves are one character; half of one is none.
                    0xd800..=0xdbff if self.take(b'\\') && self.take(b'u') => match self.unit()? {
                        second @ 0xdc00..=0xdfff => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                        _ => return Err(self.broken("half a character is escaped")),
                    },
                    other => other,
                };
                char::from_u32(code).ok_or_else(|| self.broken("half a character is escaped"))?
            }
            _ => {
                // The byte may begin a longer character; nothing is read after an error.
                return Err(Malformed::new("not_json", format!("there is no such escape at byte {}", self.at - 1)));
            }
        })
    }

    fn unit(&mut self) -> Result<u32, Malformed> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let code = code.ok_or_else(|| self.broken("four hexadecimal digits are expected"))?;
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> &'static str {
        object(text.as_bytes()).expect_err(text).word
    }

    #[test]
    fn what_is_read_in_two_ways_is_refused_by_name() {
        for (text, word) in [
            ("", "not_json"),
            ("[]", "not_json"),
            ("{} x", "not_json"),
            ("{}{}", "not_json"),
            ("\u{feff}{}", "not_json"),
            ("{\"a\":01}", "not_json"),
            ("{\"a\":+1}", "not_json"),
            ("{\"a\":1.}", "not_json"),
            ("{\"a\":NaN}", "not_json"),
            ("{\"a\":1,}", "not_json"),
            ("{'a':1}", "not_json"),
            ("{\"a\":\"\n\"}", "not_json"),
            ("{\"a\":\"\\ud800\"}", "not_json"),
            ("{\"a\":\"\\ud800\\u0041\"}", "not_json"),
            ("{\"a\":\"\\x\"}", "not_json"),
            ("{\"a\":\"\\é\"}", "not_json"),
            ("{\"a\":\"\\u00é\"}", "not_json"),
            ("{\"a\":\"", "not_json"),
            ("{\"a\":tru}", "not_json"),
            ("{\"a\":1 /* b */}", "not_json"),
            ("{\"a\":1,\"a\":1}", "duplicate_key"),
            ("{\"a\":1,\"\\u0061\":2}", "duplicate_key"),
            ("{\"x\":[{\"a\":1,\"a\":1}]}", "duplicate_key"),
        ] {
            assert_eq!(refused(text), word, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}").map_err(|why| why.word), Err("not_json"));
        assert_eq!(refused(&format!("{{\"a\":{}1{}}}", "[".repeat(8), "]".repeat(8))), "too_deep");
        assert_eq!(refused(&format!("{{\"a\":{}", "[".repeat(1_000_000))), "too_deep");
        assert_eq!(refused(&format!("{{\"a\":[0{}]}}", ",0".repeat(MOST))), "too_many_keys");
    }

    #[test]
    fn numbers_stay_as_they_came() {
        let text = r#"{ "a" : -0.10e+5 , "b":"\ud83d\ude00\/é", "$serde_json::private::Number":"5", "c":[{}, [], null] }"#;
        let want = [
            ("a", Json::Number("-0.10e+5".into())),
            ("b", Json::Text("😀/é".into())),
            ("$serde_json::private::Number", Json::Text("5".into())),
            ("c", Json::List(vec![Json::Object(vec![]), Json::List(vec![]), Json::Null])),
        ];
        assert_eq!(object(text.as_bytes()).expect("JSON"), want.map(|(key, value)| (key.to_owned(), value)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\",:0-9a-u\\\\ .-é]{0,80}") {
            let _ = object(&bytes);
            let _ = object(text.as_bytes());
        }

        /// Whatever it takes, the house's JSON crate takes too, and understands the same.
        #[test]
        fn it_takes_nothing_that_is_no_json(text in "\\{(\"[a-c\\\\u0\\\\n]{0,6}\" ?: ?(-?[0-9.e]{1,4}|true|null|\"[^\"]{0,5}\"|\\[[0-9,]{0,4}\\]),?){0,3}\\}") {
            if let Ok(members) = object(text.as_bytes()) {
                let theirs: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                prop_assert_eq!(members.len(), theirs.as_object().expect("an object").len());
                for (key, value) in members {
                    match value {
                        // It writes exponents its own way.
                        Json::Number(number) => prop_assert_eq!(theirs[&key].to_string().replace("e+", "e"), number.replace("e+", "e")),
                        Json::Text(text) => prop_assert_eq!(theirs[&key].as_str(), Some(text.as_str())),
                        Json::Bool(value) => prop_assert_eq!(theirs[&key].as_bool(), Some(value)),
                        _ => {}
                    }
                }
            }
        }
    }
}
