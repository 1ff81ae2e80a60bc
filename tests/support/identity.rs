//! An identity provider that does what the test wants, once for each sign-in.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use mcp_oauth_core::identity::tokens::{SignedIn, TokensRefreshed, UpstreamTokens};
use mcp_oauth_core::identity::{Identity, IdentityError, IdentityProvider, SignIn, SignInReturn, Standing};
use url::Url;

/// Answers in the order in which the test has put them in.
#[derive(Clone, Debug)]
pub struct ScriptedIdentity {
    name: String,
    display_name: String,
    identified: Script<Identity>,
    standing: Script<Standing>,
    asked: Arc<AtomicU64>,
    tokens: Arc<Mutex<TokenScript>>,
}

/// What the provider does with tokens.
#[derive(Debug, Default)]
struct TokenScript {
    /// Those that the next person brings along.
    issued: Option<UpstreamTokens>,
    refreshed: VecDeque<Result<TokensRefreshed, IdentityError>>,
    /// The refresh tokens that were presented.
    presented: Vec<String>,
    /// The access tokens that somebody's standing was asked with.
    asked_with: Vec<String>,
}

impl Default for ScriptedIdentity {
    fn default() -> Self {
        Self {
            display_name: "the scripted provider".to_owned(),
            ..Self::called("scripted")
        }
    }
}

type Script<T> = Arc<Mutex<VecDeque<Result<T, IdentityError>>>>;

impl ScriptedIdentity {
    /// One with this name in front of its subjects.
    #[must_use]
    pub fn called(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            display_name: format!("The provider {name}"),
            identified: Script::default(),
            standing: Script::default(),
            asked: Arc::default(),
            tokens: Arc::default(),
        }
    }

    fn script(&self) -> MutexGuard<'_, TokenScript> {
        self.tokens.lock().expect("no test panics here")
    }

    /// The tokens that people bring along from now on, where somebody keeps them.
    pub fn issues(&self, tokens: UpstreamTokens) {
        self.script().issued = Some(tokens);
    }

    /// What to answer next to a refresh token.
    pub fn then_refreshed(&self, answer: Result<TokensRefreshed, IdentityError>) {
        self.script().refreshed.push_back(answer);
    }

    /// The refresh tokens that were presented so far.
    #[must_use]
    pub fn presented(&self) -> Vec<String> {
        self.script().presented.clone()
    }

    /// The access tokens that somebody's standing was asked with so far.
    #[must_use]
    pub fn asked_with(&self) -> Vec<String> {
        self.script().asked_with.clone()
    }

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
    fn id(&self) -> &str {
        &self.name
    }

    fn display_name(&self) -> &str {
        &self.display_name
    }

    async fn sign_in_url(&self, sign_in: &SignIn<'_>) -> Result<Url, IdentityError> {
        let mut url: Url = "https://provider.example/authorize".parse().expect("a URL");
        url.query_pairs_mut()
            .append_pair("state", sign_in.state.expose())
            .append_pair("redirect_uri", sign_in.callback.as_str());
        Ok(url)
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

    async fn identify_with_tokens(&self, returned: &SignInReturn<'_>) -> Result<SignedIn, IdentityError> {
        let person = SignedIn::new(self.identify(returned).await?);
        let issued = self.script().issued.clone();
        Ok(match issued {
            Some(tokens) => person.with_tokens(tokens),
            None => person,
        })
    }

    async fn refresh_tokens(&self, tokens: &UpstreamTokens) -> Result<TokensRefreshed, IdentityError> {
        // Whoever comes at the same time gets a chance to come in between.
        tokio::task::yield_now().await;
        let mut script = self.script();
        let presented = tokens.refresh_token.as_ref().map_or("", |token| token.expose());
        script.presented.push(presented.to_owned());
        script.refreshed.pop_front().expect("the test has put an answer in")
    }

    async fn standing_with_tokens(
        &self,
        identity: &Identity,
        tokens: &UpstreamTokens,
    ) -> Result<Standing, IdentityError> {
        self.script().asked_with.push(tokens.access_token.expose().to_owned());
        self.standing(identity).await
    }
}
