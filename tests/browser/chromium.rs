//! A real Chromium, shared by all tests, in which each test has profiles of its own: the browsers of people who have nothing
//! in common.
//!
//! `clients/browser/driver.mjs` drives it. Whatever is waited for is waited for there, up to a bound.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use mcp_oauth_tests::tools;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use url::Url;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>;

/// The driver's process. It ends with this one, when nobody holds its stdin any more.
#[derive(Debug)]
struct Driver {
    stdin: Mutex<ChildStdin>,
    waiting: Waiting,
    last: AtomicU64,
}

impl Driver {
    fn start(chromium: PathBuf, folder: &Path) -> Self {
        let mut child = Command::new("node")
            .arg(folder.join("driver.mjs"))
            .arg(chromium)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let waiting = Waiting::default();
        let theirs = waiting.clone();
        std::thread::spawn(move || {
            for line in answers.lines().map_while(Result::ok) {
                let mut answer: Value = serde_json::from_str(&line).unwrap();
                let asked = theirs.lock().unwrap().remove(&answer["id"].as_u64().unwrap());
                let answer = match answer["failed"].as_str() {
                    Some(failed) => Err(failed.to_owned()),
                    None => Ok(answer["value"].take()),
                };
                // A test that has failed waits for nothing.
                let _ = asked.unwrap().send(answer);
            }
            // Whoever still waits is told that there is nobody.
            theirs.lock().unwrap().clear();
            let _ = child.wait();
        });
        Self {
            stdin: Mutex::new(stdin),
            waiting,
            last: AtomicU64::new(0),
        }
    }

    async fn ask(&self, command: &str, on: u64, with: Value) -> Result<Value, String> {
        let answered = self.send(command, on, &with);
        answered.await.expect("the driver runs")
    }

    fn send(&self, command: &str, on: u64, with: &Value) -> oneshot::Receiver<Result<Value, String>> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, answer);
        let line = json!({"id": id, "do": command, "on": on, "with": with});
        writeln!(self.stdin.lock().unwrap(), "{line}").unwrap();
        answered
    }
}

/// The browser on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chromium(&'static Driver);

/// How somebody has set their browser.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) scripts: bool,
    pub(crate) cookies: bool,
    /// What a proxy or an extension adds to each request.
    pub(crate) headers: &'a [(&'a str, &'a str)],
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self {
            scripts: true,
            cookies: true,
            headers: &[],
        }
    }
}

impl Chromium {
    /// Finds the browser and what drives it, or says what to install.
    pub(crate) fn find(test: &str) -> Option<Self> {
        static DRIVER: OnceLock<Driver> = OnceLock::new();
        let chromium = tools::chromium(test)?;
        let folder = tools::node(test, "browser")?;
        Some(Self(DRIVER.get_or_init(|| Driver::start(chromium, &folder))))
    }

    pub(crate) async fn profile(self, settings: Settings<'_>) -> Profile {
        let headers: serde_json::Map<_, _> = settings
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let with = json!({"scripts": settings.scripts, "cookies": settings.cookies, "headers": headers});
        let handle = self.0.ask("profile", 0, with).await.unwrap();
        Profile(Arc::new(Opened {
            driver: self.0,
            handle: handle.as_u64().unwrap(),
        }))
    }

    /// A profile as it is when nobody has set anything.
    pub(crate) async fn fresh(self) -> Profile {
        self.profile(Settings::default()).await
    }
}

/// A profile that the driver has opened, until nobody and no tab needs it any more.
#[derive(Debug)]
struct Opened {
    driver: &'static Driver,
    handle: u64,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // After a test that has failed the driver may be gone as well.
        if !std::thread::panicking() {
            drop(self.driver.send("close", self.handle, &Value::Null));
        }
    }
}

/// A browser of one person's.
#[derive(Clone, Debug)]
pub(crate) struct Profile(Arc<Opened>);

impl Profile {
    async fn ask(&self, command: &str, with: Value) -> Value {
        let answer = self.0.driver.ask(command, self.0.handle, with).await;
        answer.unwrap_or_else(|failed| panic!("{failed}"))
    }

    /// A new tab with this address.
    pub(crate) async fn open(&self, url: &str) -> Tab {
        let tab = Tab {
            profile: self.clone(),
            handle: self.ask("tab", Value::Null).await.as_u64().unwrap(),
        };
        tab.open(url).await;
        tab
    }

    /// The names of the cookies that it keeps.
    pub(crate) async fn cookie_names(&self) -> Vec<String> {
        let cookies = self.ask("cookies", Value::Null).await;
        let names = cookies.as_array().unwrap().iter();
        names
            .map(|cookie| cookie["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The values of the cookies that it keeps, by name.
    pub(crate) async fn cookies(&self) -> Vec<(String, String)> {
        let cookies = self.ask("cookies", Value::Null).await;
        let text = |cookie: &Value, name: &str| cookie[name].as_str().unwrap().to_owned();
        let cookies = cookies.as_array().unwrap().iter();
        cookies
            .map(|cookie| (text(cookie, "name"), text(cookie, "value")))
            .collect()
    }

    /// All cookies with everything about them.
    pub(crate) async fn all_cookies(&self) -> Value {
        self.ask("cookies", Value::Null).await
    }

    /// Puts cookies in that another profile had.
    pub(crate) async fn plant(&self, cookies: &Value) {
        self.ask("plant", cookies.clone()).await;
    }

    /// All addresses that it has asked for.
    pub(crate) async fn asked(&self) -> Vec<String> {
        serde_json::from_value(self.ask("asked", Value::Null).await).unwrap()
    }
}

/// What has the focus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Focused {
    /// What it is called.
    pub(crate) name: String,
    /// Whether people can see that it has the focus.
    pub(crate) visible: bool,
}

/// A tab.
#[derive(Clone, Debug)]
pub(crate) struct Tab {
    profile: Profile,
    handle: u64,
}

impl Tab {
    async fn ask(&self, command: &str, with: Value) -> Value {
        let answer = self.profile.0.driver.ask(command, self.handle, with).await;
        answer.unwrap_or_else(|failed| panic!("{failed}"))
    }

    async fn text_of(&self, command: &str) -> String {
        self.ask(command, Value::Null).await.as_str().unwrap().to_owned()
    }

    pub(crate) async fn open(&self, url: &str) {
        self.ask("open", json!(url)).await;
    }

    pub(crate) async fn back(&self) {
        self.ask("back", Value::Null).await;
    }

    pub(crate) async fn reload(&self) {
        self.ask("reload", Value::Null).await;
    }

    /// Where it is.
    pub(crate) async fn url(&self) -> String {
        self.text_of("url").await
    }

    pub(crate) async fn title(&self) -> String {
        self.text_of("title").await
    }

    /// What people can read.
    pub(crate) async fn text(&self) -> String {
        self.text_of("text").await
    }

    /// Waits until it is at an address that begins like this.
    pub(crate) async fn arrives(&self, prefix: &str) -> Url {
        let url = self.ask("arrives", json!(prefix)).await;
        url.as_str().unwrap().parse().unwrap()
    }

    /// Waits until the page with this heading is there.
    pub(crate) async fn shows(&self, heading: &str) {
        self.ask("shows", json!(heading)).await;
    }

    /// The same, and what the page says.
    pub(crate) async fn reads(&self, heading: &str) -> String {
        self.shows(heading).await;
        self.text().await
    }

    /// Presses the button with this name.
    pub(crate) async fn press(&self, button: &str) {
        self.ask("press", json!(button)).await;
    }

    /// Presses it with a double click.
    pub(crate) async fn press_twice(&self, button: &str) {
        self.ask("pressTwice", json!(button)).await;
    }

    /// Follows the link with this name.
    pub(crate) async fn follow(&self, link: &str) {
        self.ask("follow", json!(link)).await;
    }

    /// Writes into the field with this label.
    pub(crate) async fn write(&self, label: &str, text: &str) {
        self.ask("write", json!({"label": label, "text": text})).await;
    }

    /// Ticks the only box that there is.
    pub(crate) async fn tick(&self) {
        self.ask("tick", Value::Null).await;
    }

    /// Presses a key of the keyboard.
    pub(crate) async fn key(&self, key: &str) {
        self.ask("key", json!(key)).await;
    }

    pub(crate) async fn focused(&self) -> Option<Focused> {
        let focused = self.ask("focused", Value::Null).await;
        (!focused.is_null()).then(|| Focused {
            name: focused["name"].as_str().unwrap().trim().to_owned(),
            visible: focused["visible"].as_bool().unwrap(),
        })
    }

    /// How many things there are that can be operated.
    pub(crate) async fn operable(&self) -> u64 {
        self.ask("operable", Value::Null).await.as_u64().unwrap()
    }

    /// Has the page open another one, which it knows as `opened`.
    pub(crate) async fn opens(&self, url: &str) -> Self {
        let opened = self.ask("opens", json!(url)).await;
        Self {
            handle: opened.as_u64().unwrap(),
            profile: self.profile.clone(),
        }
    }

    /// What a script of the page's own would see.
    pub(crate) async fn evaluate(&self, expression: &str) -> Value {
        self.ask("evaluate", json!(expression)).await
    }

    /// The addresses of the frames within it, as far as they show anything.
    pub(crate) async fn frames(&self) -> Vec<String> {
        serde_json::from_value(self.ask("frames", Value::Null).await).unwrap()
    }

    /// From now on every page in it has this written into it, as if somebody had found a way to do that.
    pub(crate) async fn inject(&self, markup: &str) {
        self.ask("inject", json!(markup)).await;
    }

    /// Asserts that axe finds nothing serious in light and in dark and that the narrowest screen has room for the page; takes
    /// pictures.
    pub(crate) async fn inspect(&self, name: &str) {
        let folder = pictures();
        std::fs::create_dir_all(&folder).unwrap();
        let seen = self.ask("inspect", json!({"name": name, "folder": folder})).await;
        let (serious, other): (Vec<_>, Vec<_>) = seen["found"]
            .as_array()
            .unwrap()
            .iter()
            .partition(|found| found["impact"] == "serious" || found["impact"] == "critical");
        println!("{name}: {other:#?}");
        assert!(serious.is_empty(), "{name}: {serious:#?}");
        assert!(seen["overflow"].as_i64() <= Some(0), "{name} is too wide: {seen}");
    }
}

/// Where pictures go: `MCP_TEST_SCREENSHOTS`, or `target/screenshots`.
fn pictures() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
    std::env::var_os("MCP_TEST_SCREENSHOTS").map_or_else(default, PathBuf::from)
}
