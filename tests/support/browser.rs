//! A browser without a screen: it keeps cookies, follows what it is told to, and presses buttons.

use std::collections::BTreeMap;

use http::Method;
use url::Url;

use crate::application::{Answer, Application, ISSUER, encode, request};

/// A browser with a cookie jar of its own.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    cookies: BTreeMap<String, String>,
}

/// Where a sign-in ended.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The URL at the client.
    pub url: Url,
}

impl Arrival {
    /// One parameter of the URL.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.url
            .query_pairs()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> String {
        self.parameter("code")
            .unwrap_or_else(|| panic!("no code in {}", self.url))
    }
}

/// The value of a hidden field of a page.
#[must_use]
pub fn hidden_field(page: &Answer, name: &str) -> String {
    let begin = format!(r#"name="{name}" value=""#);
    let at = page
        .body
        .find(&begin)
        .unwrap_or_else(|| panic!("no field {name} in {page:?}"))
        + begin.len();
    page.body[at..].split('"').next().unwrap_or_default().to_owned()
}

impl Browser {
    /// The names of the cookies that it has.
    #[must_use]
    pub fn cookie_names(&self) -> Vec<&str> {
        self.cookies.keys().map(String::as_str).collect()
    }

    /// The values of the cookies that it has.
    #[must_use]
    pub fn cookie_values(&self) -> Vec<String> {
        self.cookies.values().cloned().collect()
    }

    /// The value of one cookie.
    #[must_use]
    pub fn cookie_value(&self, name: &str) -> Option<String> {
        self.cookies.get(name).cloned()
    }

    /// All cookies, as they are sent along.
    #[must_use]
    pub fn cookie_header(&self) -> String {
        self.cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// Puts a cookie into the jar.
    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    /// Keeps what an answer sets.
    pub fn keep_cookies(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("cookies are text");
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').expect("a cookie has a name and a value");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Opens a page of the application.
    pub async fn open(&mut self, application: &Application, location: &str) -> Answer {
        let path = location.strip_prefix(ISSUER).unwrap_or(location);
        let cookies = self.cookie_header();
        let answer = application
            .send(request(
                Method::GET,
                path,
                &[("cookie", &cookies), ("accept", "text/html")],
                "",
            ))
            .await;
        self.keep_cookies(&answer);
        answer
    }

    /// Submits a form.
    pub async fn submit(&mut self, application: &Application, path: &str, fields: &[(&str, &str)]) -> Answer {
        let cookies = self.cookie_header();
        let headers = [
            ("cookie", cookies.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer = application
            .send(request(Method::POST, path, &headers, &encode(fields)))
            .await;
        self.keep_cookies(&answer);
        answer
    }

    /// Presses a button of the consent page.
    pub async fn decide(&mut self, application: &Application, consent: &Answer, decision: &str) -> Answer {
        let transaction = hidden_field(consent, "transaction");
        self.submit(
            application,
            "/consent",
            &[("transaction", &transaction), ("decision", decision)],
        )
        .await
    }

    /// Goes on from an approved consent, as this made-up person, up to the callback's answer.
    pub async fn sign_in(&mut self, application: &Application, approved: &Answer, person: &str) -> Answer {
        let choice = self.open(application, approved.header("location")).await;
        let state = hidden_field(&choice, "state");
        let chosen = self
            .submit(
                application,
                "/development/sign-in",
                &[("state", &state), ("user", person)],
            )
            .await;
        self.open(application, chosen.header("location")).await
    }

    /// The whole way from the authorization URL to the client: approves, and signs in as this person.
    pub async fn authorize(&mut self, application: &Application, location: &str, person: &str) -> Arrival {
        let consent = self.open(application, location).await;
        let approved = self.decide(application, &consent, "approve").await;
        let returned = self.sign_in(application, &approved, person).await;
        arrival(&returned)
    }
}

/// Where an answer sends the browser.
#[must_use]
pub fn arrival(answer: &Answer) -> Arrival {
    assert_eq!(answer.status, 303, "{answer:?}");
    Arrival {
        url: answer.header("location").parse().expect("a URL"),
    }
}
