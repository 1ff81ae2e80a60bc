//! Everything in a run that nobody may read in a log.

use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::application::Answer;
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::client::{Client, Tokens};

/// A piece of this many characters is as good as the whole.
const PIECE: usize = 20;

/// What was used, and what it was.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Adds a value, as it is.
    pub(crate) fn add(&mut self, what: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() && !self.0.iter().any(|(_, known)| *known == value) {
            self.0.push((what.to_owned(), value));
        }
    }

    /// Makes a value up that is used in place of a good one: what somebody presents may be good elsewhere.
    pub(crate) fn made_up(&mut self, what: &str) -> String {
        let value = Secret::random().expose().to_owned();
        self.add(&format!("made-up {what}"), &value);
        value
    }

    /// Adds a code or a refresh token: what stands in front of the dot names the grant and is no secret.
    pub(crate) fn behind_the_dot(&mut self, what: &str, value: &str) {
        self.add(what, value.split_once('.').unwrap().1);
    }

    pub(crate) fn tokens(&mut self, answer: &Answer) -> Tokens {
        let tokens = Tokens::of(answer);
        // The two first parts of a JWT say what the grant is for; with its signature it is a credential.
        self.add("access token", tokens.access_token.rsplit_once('.').unwrap().1);
        self.behind_the_dot("refresh token", &tokens.refresh_token);
        tokens
    }

    pub(crate) fn client(&mut self, client: &Client) {
        self.add("client secret", client.client_secret.clone().unwrap_or_default());
        self.add("code verifier", &client.verifier);
    }

    pub(crate) fn cookies(&mut self, browser: &Browser) {
        for value in browser.cookie_values() {
            self.add("cookie", value);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Which of them, or which beginnings and ends of them, are in the text.
    pub(crate) fn found_in(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (what, value) in &self.0 {
            let (begin, end) = (
                value.get(..PIECE),
                value.len().checked_sub(PIECE).map(|at| &value[at..]),
            );
            let pieces = [Some(value.as_str()), begin, end];
            if let Some(piece) = pieces.into_iter().flatten().find(|piece| text.contains(piece)) {
                let line = text.lines().find(|line| line.contains(piece)).unwrap_or_default();
                found.push(format!("{what} {piece} in: {line}"));
            }
        }
        found
    }
}
