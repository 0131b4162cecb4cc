//! A real browser without a window, told what to do through chromedriver (the W3C's `WebDriver` protocol).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Response;

/// A browser with one page. It ends when this is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    session: String,
}

/// A browser that does not answer within this time is broken.
const PATIENCE: Duration = Duration::from_secs(60);

impl Browser {
    /// Whether Debian's `chromium-driver` is installed.
    pub fn is_installed() -> bool {
        let version = Command::new("chromedriver").arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    }

    /// Starts one with a window of this size, in light or dark mode.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start(width: u32, height: u32, is_dark: bool) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver");
        let url = format!("http://127.0.0.1:{port}");
        let mut browser = Self {
            driver,
            session: url.clone(),
        };
        let end = Instant::now() + PATIENCE;
        while ureq::get(format!("{url}/status")).call().is_err() {
            assert!(Instant::now() < end, "chromedriver does not start");
            sleep(Duration::from_millis(50));
        }
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--window-size={width},{height}"),
        ];
        if is_dark {
            arguments.push("--force-dark-mode".to_owned());
        }
        let options = json!({ "args": arguments });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" } } } });
        let made = browser.send("/session", &wanted);
        let id = made["sessionId"].as_str().expect("a session");
        browser.session = format!("{url}/session/{id}");
        browser
    }

    /// Opens a page.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.send("/url", &json!({ "url": url }));
    }

    /// The value of an expression of JavaScript in the page.
    #[track_caller]
    pub fn value(&self, script: &str) -> Value {
        self.send(
            "/execute/sync",
            &json!({ "script": format!("return {script}"), "args": [] }),
        )
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// If it is not within a minute.
    #[track_caller]
    pub fn wait_until(&self, script: &str) {
        let end = Instant::now() + PATIENCE;
        while self.value(script) != true {
            let page = || self.value("document.body.innerText");
            assert!(Instant::now() < end, "{script}: {}", page());
            sleep(Duration::from_millis(100));
        }
    }

    /// Clicks what a CSS selector finds first, as a user would: it must be visible.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.send(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into what a CSS selector finds first.
    #[track_caller]
    pub fn write(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.send(
            &format!("/element/{element}/value"),
            &json!({ "text": text }),
        );
    }

    /// Presses keys wherever the focus is.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let pairs = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        let actions: Vec<Value> = pairs.collect();
        let device = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.send("/actions", &json!({ "actions": [device] }));
    }

    /// What the page complained of: errors of its script, what its policy forbids, missing files.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.send("/se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    /// Writes a picture of the window, a PNG.
    #[track_caller]
    pub fn picture(&self, path: &Path) {
        let picture = said(agent().get(format!("{}/screenshot", self.session)).call());
        let bytes = STANDARD.decode(picture.as_str().expect("a picture"));
        std::fs::write(path, bytes.expect("base64")).expect("writing a picture");
    }

    #[track_caller]
    fn find(&self, selector: &str) -> String {
        let found = self.send(
            "/element",
            &json!({ "using": "css selector", "value": selector }),
        );
        let ids = found.as_object().into_iter().flat_map(|ids| ids.values());
        let id = ids.filter_map(Value::as_str).next();
        id.unwrap_or_else(|| panic!("no {selector}")).to_owned()
    }

    #[track_caller]
    fn send(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        said(agent().post(url).send(body.to_string()))
    }
}

/// What chromedriver says.
#[track_caller]
fn said(answer: Result<Response<ureq::Body>, ureq::Error>) -> Value {
    let mut answer = answer.expect("an answer of chromedriver");
    let text = answer
        .body_mut()
        .with_config()
        .limit(50_000_000)
        .read_to_string();
    let text = text.expect("a text");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert!(
        answer.status().is_success(),
        "{}",
        value["value"]["message"]
    );
    value["value"].clone()
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser itself, which outlives its driver otherwise.
        let _ = agent().delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .proxy(None);
    config.build().into()
}
