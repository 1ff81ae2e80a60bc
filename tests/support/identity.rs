//! An identity provider that does what the test wants, once for each sign-in.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mcp_oauth_core::identity::{Identity, IdentityError, IdentityProvider, SignIn, SignInReturn, Standing};
use url::Url;

/// Answers in the order in which the test has put them in.
#[derive(Clone, Debug, Default)]
pub struct ScriptedIdentity {
    identified: Script<Identity>,
    standing: Script<Standing>,
    asked: Arc<AtomicU64>,
}

type Script<T> = Arc<Mutex<VecDeque<Result<T, IdentityError>>>>;

impl ScriptedIdentity {
    /// What to answer next.
    pub fn then(&self, answer: Result<Identity, IdentityError>) {
        self.identified.lock().expect("no test panics here").push_back(answer);
    }

    /// What to answer next when it is asked how somebody stands. Without an answer, nothing new is known.
    pub fn then_standing(&self, answer: Result<Standing, IdentityError>) {
        self.standing.lock().expect("no test panics here").push_back(answer);
    }

    /// How often it was asked how somebody stands.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl IdentityProvider for ScriptedIdentity {
    fn id(&self) -> &'static str {
        "scripted"
    }

    fn display_name(&self) -> &'static str {
        "the scripted provider"
    }

    fn sign_in_url(&self, sign_in: &SignIn<'_>) -> Url {
        let mut url: Url = "https://provider.example/authorize".parse().expect("a URL");
        url.query_pairs_mut()
            .append_pair("state", sign_in.state.expose())
            .append_pair("redirect_uri", sign_in.callback.as_str());
        url
    }

    async fn identify(&self, _: &SignInReturn<'_>) -> Result<Identity, IdentityError> {
        self.identified
            .lock()
            .expect("no test panics here")
            .pop_front()
            .expect("the test has put an answer in")
    }

    async fn standing(&self, _: &Identity) -> Result<Standing, IdentityError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.standing.lock().expect("no test panics here").pop_front();
        answer.unwrap_or(Ok(Standing::Unchanged))
    }
}
