//! The page, as a browser's requests and a hostile site's reach it: who may look and act, what it shows, what it does.

mod browser;
mod door;
mod plans;
mod show;
mod webdriver;

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    apple,
    sending::Stage,
    support::daemon::{Config, Daemon},
};

/// Of all daemons here.
pub const TOKEN: &str = "canary-token-0123456789";

/// With the page, behind a token.
pub fn with_page(config: Config) -> Config {
    config.raw(&format!("[web]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n"))
}

/// With the page, open to this machine.
pub fn with_open_page(config: Config) -> Config {
    config.raw("[web]\nlisten = \"127.0.0.1:0\"\n")
}

/// With the page, behind a token, and a port for Apple's devices.
pub fn with_apple(config: Config) -> Config {
    with_page(config).raw(&apple::apple("forward = true"))
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body, which has to be a page.
    pub fn page(self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }
}

/// Somebody with a browser, or without.
#[derive(Clone, Debug)]
pub struct Visitor {
    address: String,
    cookie: Option<String>,
}

impl Visitor {
    /// Not logged in.
    pub async fn new(daemon: &Daemon) -> Self {
        Self { address: daemon.web().await, cookie: None }
    }

    /// Logged in as Ada.
    pub async fn ada(daemon: &Daemon) -> Self {
        let mut ada = Self::new(daemon).await;
        let answer = ada.post("/login", &[("token", TOKEN), ("name", "Ada"), ("to", "/")]).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        ada.cookie = answer.header("set-cookie").split(';').next().map(str::to_owned);
        ada
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// As a form of our own would.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(path, fields, &[("Sec-Fetch-Site", "same-origin")]).await
    }

    pub async fn post_with(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut all = vec![("Content-Type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.ask("POST", path, &all, &body).await
    }

    /// The fields of the only form to `/act` on a page, and sends it.
    pub async fn act(&self, page: &str) -> Answer {
        let form = page.split("action=\"/act\"").nth(1).unwrap_or_else(|| panic!("no form in {page}")).split("</form>").next().unwrap_or_default();
        let mut fields = Vec::new();
        for field in form.split("<input type=\"hidden\" name=\"").skip(1) {
            let (name, rest) = field.split_once("\" value=\"").expect("a value");
            fields.push((name, unescaped(rest.split('"').next().unwrap_or_default())));
        }
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.post("/act", &fields).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let asked = async {
            let mut stream = self.connected(method, path, headers, body).await;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.expect("an answer");
            bytes
        };
        let bytes = tokio::time::timeout(Duration::from_secs(60), asked).await.expect("an answer within a minute");
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok()).expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: body.to_owned() }
    }

    /// The connection, with the request on it.
    pub async fn connected(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        if let Some(cookie) = &self.cookie {
            head += &format!("Cookie: {cookie}\r\n");
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        let mut stream = TcpStream::connect(&self.address).await.expect("the page listens");
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.expect("it reads");
        stream
    }
}

/// What `&#x2f;` and its like stand for.
pub fn unescaped(text: &str) -> String {
    let mut text = text.to_owned();
    for (name, plain) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#x2f;", "/"), ("&#39;", "'"), ("&amp;", "&")] {
        text = text.replace(name, plain);
    }
    text
}

/// A shop with a good order, a dead one, one in doubt, and a daemon that shows them.
pub async fn shop_with(keys: &[(&str, &str)], page: fn(Config) -> Config) -> (Stage, Daemon) {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| (arrival.order() == "bad").then(|| crate::support::receiver::Behaviour::body(400, "no such pixel")));
    let daemon = Daemon::start(page(stage.config(keys))).await;
    stage
        .shop(
            "select postback.purchase('good', 10, 'EUR', '{\"email\": \"ada.canary@shop.example\", \"gclid\": \"CanaryClick-0123456789\"}');
             select postback.purchase('bad', 20, 'EUR', '{\"email\": \"ada.canary@shop.example\"}'); select postback.refund('good', 'r1', 4)",
        )
        .await;
    stage.settled().await;
    (stage, daemon)
}
