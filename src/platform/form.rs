//! Query strings and forms, every name and value percent-encoded. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    request::{Method, Request},
    secret::Secret,
    template::place::encode,
};

/// Names and values in the order in which they are sent.
#[derive(Clone, Debug, Default)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// One more, also where it is empty.
    pub fn put(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.0.push((name.into(), value.into()));
        self
    }

    /// One more, where there is one.
    pub fn put_some(&mut self, name: impl Into<String>, value: Option<impl Into<String>>) -> &mut Self {
        if let Some(value) = value {
            self.put(name, value);
        }
        self
    }

    /// `a=1&b=x%20y`.
    pub fn encoded(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        pairs.join("&")
    }

    /// A GET of `url` with these behind the question mark.
    pub fn get(&self, url: &str) -> Request {
        Request::new(Method::Get, format!("{url}?{}", self.encoded()))
    }

    /// A request whose body is a form of these.
    pub fn form(&self, method: Method, url: &str) -> Request {
        let request = Request::new(method, url).with("Content-Type", "application/x-www-form-urlencoded");
        Request { body: self.encoded().into_bytes(), ..request }
    }
}

/// HTTP Basic.
pub fn basic(request: Request, user: &str, password: &Secret) -> Request {
    let pair = STANDARD.encode(format!("{user}:{}", password.reveal()));
    request.with("Authorization", format!("Basic {pair}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_its_pair() {
        let mut pairs = Pairs::default();
        pairs.put("a", "1&b=2").put("bd[0]", "x y|ü").put("vc", "").put_some("none", None::<String>);
        assert_eq!(pairs.encoded(), "a=1%26b%3D2&bd%5B0%5D=x%20y%7C%C3%BC&vc=");
        assert_eq!(pairs.get("https://a.example/p").url, "https://a.example/p?a=1%26b%3D2&bd%5B0%5D=x%20y%7C%C3%BC&vc=");
        let form = basic(pairs.form(Method::Put, "https://a.example/"), "user", &Secret::new("env P", "pass"));
        let want = "PUT https://a.example/\nContent-Type: application/x-www-form-urlencoded\nAuthorization: Basic dXNlcjpwYXNz\n\na=1%26b%3D2&bd%5B0%5D=x%20y%7C%C3%BC&vc=\n";
        assert_eq!(form.to_text(), want);
    }
}
