//! A headless Chromium by chromedriver's plain HTTP, as much of WebDriver as the page's tests need.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::reaper;

/// The name under which WebDriver hands over an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Time that any single step may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(40);

/// A browser with one window. Both processes end with it.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    home: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one that takes paths of this address. `None`, with a line that says so: there is none on this machine; where
    /// POSTBACKD_TEST_BROWSER=required, that is a failure.
    pub async fn start(address: &str) -> Option<Self> {
        let profile = tempfile::tempdir().expect("a directory");
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A group with its browser, which does not end by itself when the driver is killed.
            .process_group(0)
            .spawn();
        let mut driver = match driver {
            Ok(driver) => driver,
            Err(error) => {
                let why =
                    format!("the page is not tried in a browser: chromedriver cannot be started ({error}); apt-get install chromium chromium-driver");
                assert!(std::env::var("POSTBACKD_TEST_BROWSER").as_deref() != Ok("required"), "{why}");
                println!("{why}");
                return None;
            }
        };
        let pid = driver.id();
        reaper::at_exit(&format!("if [ \"$(cat /proc/{pid}/comm 2>/dev/null)\" = chromedriver ]; then kill -9 -{pid}; fi"));
        let mut lines = BufReader::new(driver.stdout.take().expect("piped above")).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split("started successfully on port ").nth(1)?.trim_end_matches('.').parse().ok())
            .expect("chromedriver says its port");
        // It says more later, to somebody who reads.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let mut browser = Self { driver, port, session: String::new(), home: format!("http://{address}"), _profile: profile };
        let options = json!({ "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-breakpad", "--window-size=1280,900", "--lang=en-GB"] });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } } } });
        let session = browser.call("POST", "/session", wanted).await;
        browser.session = format!("/session/{}", session["sessionId"].as_str().expect("a session"));
        Some(browser)
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        match self.asked(method, path, &body).await {
            (200, answer) => answer,
            (status, answer) => panic!("{method} {path} {body}: {status} {answer}"),
        }
    }

    async fn asked(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        let answered = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("chromedriver listens");
            stream.write_all(format!("{head}{body}").as_bytes()).await.expect("it reads");
            let mut stream = tokio::io::BufReader::new(stream);
            let (mut status, mut length) = (0, 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.expect("a line");
                let line = line.trim_end().to_lowercase();
                if line.is_empty() {
                    break;
                } else if let Some(rest) = line.strip_prefix("http/1.1 ") {
                    status = rest[..3].parse().expect("a status");
                } else if let Some(rest) = line.strip_prefix("content-length:") {
                    length = rest.trim().parse().expect("a length");
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.expect("the body");
            (status, serde_json::from_slice::<Value>(&body).expect("JSON")["value"].take())
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("chromedriver does not answer {method} {path}"))
    }

    async fn of_session(&self, path: &str, body: Value) -> Value {
        self.call("POST", &format!("{}{path}", self.session), body).await
    }

    /// Opens a page of the address.
    pub async fn open(&self, path: &str) {
        self.of_session("/url", json!({ "url": format!("{}{path}", self.home) })).await;
    }

    /// Path and query of the page that is open.
    pub async fn place(&self) -> String {
        let url = self.call("GET", &format!("{}/url", self.session), Value::Null).await;
        url.as_str().and_then(|url| url.strip_prefix(&self.home)).map_or_else(|| url.to_string(), str::to_owned)
    }

    /// By CSS.
    async fn element(&self, css: &str) -> String {
        let began = Instant::now();
        loop {
            let (status, found) = self.asked("POST", &format!("{}/element", self.session), &json!({ "using": "css selector", "value": css })).await;
            match found[ELEMENT].as_str() {
                Some(id) if status == 200 => return id.to_owned(),
                _ => assert!(began.elapsed() < PATIENCE, "no {css} on the page: {found}\n{}", self.text().await),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As with a mouse: what is covered or hidden cannot be clicked.
    pub async fn click(&self, css: &str) {
        let id = self.element(css).await;
        self.of_session(&format!("/element/{id}/click"), json!({})).await;
    }

    /// As on a keyboard.
    pub async fn fill(&self, css: &str, text: &str) {
        let id = self.element(css).await;
        self.of_session(&format!("/element/{id}/value"), json!({ "text": text })).await;
    }

    /// One key, wherever the focus is. Tab is U+E004, Enter U+E007.
    pub async fn press(&self, key: char) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.of_session("/actions", json!({ "actions": [{ "type": "key", "id": "keys", "actions": keys }] })).await;
    }

    /// A script's `return`.
    pub async fn script(&self, script: &str) -> Value {
        self.of_session("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// What can be read on the page.
    pub async fn text(&self) -> String {
        let text = self.call("GET", &format!("{}/element/{}/text", self.session, Box::pin(self.body()).await), Value::Null).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    async fn body(&self) -> String {
        let (_, found) = self.asked("POST", &format!("{}/element", self.session), &json!({ "using": "css selector", "value": "body" })).await;
        found[ELEMENT].as_str().expect("a body").to_owned()
    }

    /// Waits until this can be read on the page.
    pub async fn reads(&self, part: &str) {
        let began = Instant::now();
        loop {
            // A page that changes meanwhile takes its element with it.
            let text = self.script("return document.body.innerText").await;
            if text.as_str().is_some_and(|text| text.contains(part)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{part:?} cannot be read on {}: {}", self.place().await, text.as_str().unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A command of Chromium's own.
    pub async fn own(&self, command: &str, parameters: Value) -> Value {
        self.of_session("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// How wide the window is, and whether the visitor likes it dark.
    pub async fn look(&self, width: u32, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        self.own("Emulation.setDeviceMetricsOverride", json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 })).await;
        self.own("Emulation.setEmulatedMedia", json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] })).await;
    }

    /// With or without scripts, from the next page on.
    pub async fn scripts(&self, on: bool) {
        self.own("Emulation.setScriptExecutionDisabled", json!({ "value": !on })).await;
    }

    /// Everything that the page complained of since the last time: scripts that failed, what the policy forbade, what was not found.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.of_session("/se/log", json!({ "type": "browser" })).await;
        log.as_array().expect("a log").iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The whole page as PNG, kept where POSTBACKD_TEST_SCREENSHOTS names a directory.
    pub async fn screenshot(&self, name: &str) {
        let Ok(directory) = std::env::var("POSTBACKD_TEST_SCREENSHOTS") else { return };
        let shot = self.own("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true })).await;
        let png = BASE64_STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(format!("{directory}/{name}.png"), png).expect("writing the picture");
    }

    /// Ends the browser; its driver goes when this is dropped.
    pub async fn close(self) {
        self.call("DELETE", &self.session, Value::Null).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = Command::new("sh").args(["-c", &format!("kill -9 -{}", self.driver.id())]).status();
        let _ = self.driver.wait();
    }
}
