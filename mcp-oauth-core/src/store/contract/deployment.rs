//! Several servers that share nothing but the store.
//!
//! Each server has its own handle to the database and its own memory; they share their signing keys, as the processes of
//! one deployment do. The tests of what people are promised are made of this, and a store's author can make more of them:
//! what happens to people when the database goes away half-way.

use std::time::Duration;

use super::{Database, MANY, handles};
use crate::clock::ManualClock;
use crate::identity::development::DevIdentity;
use crate::limits::Limits;
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::pkce::{CodeChallenge, CodeVerifier};
use crate::policy::AllowList;
use crate::resource::Resource;
use crate::secret::Secret;
use crate::server::AuthorizationServer;
use crate::server::access::{ConfirmError, VerifiedToken};
use crate::server::callback::CallbackOutcome;
use crate::server::consent::ConsentOutcome;
use crate::server::token::{TokenError, TokenResponse};
use crate::token::keys::{Algorithm, KeySet};
use crate::transaction::Decision;

const ISSUER: &str = "http://127.0.0.1:8080";
const RESOURCE: &str = "http://127.0.0.1:8080/mcp";
const REDIRECT_URI: &str = "http://127.0.0.1:9999/callback";

/// Several servers over one database, and a client of theirs.
#[derive(Debug)]
pub struct Deployment {
    pub(super) servers: Vec<AuthorizationServer>,
    pub(super) clock: ManualClock,
    pub(super) client_id: String,
    pub(super) registration_access_token: Secret,
    pub(super) verifier: CodeVerifier,
}

pub(super) fn parameters<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Parameters {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

impl Deployment {
    /// Starts the servers and registers the client.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn of(database: &dyn Database) -> Self {
        let keys = KeySet::generate(Algorithm::Es256).unwrap();
        let clock = ManualClock::default();
        let server = |store| {
            AuthorizationServer::builder(ISSUER)
                .resource(Resource::new(RESOURCE).unwrap())
                .identity(DevIdentity::default())
                .allow(AllowList::everybody())
                .limits(Limits::unlimited())
                .keys(keys.clone())
                .clock(clock.clone())
                .shared_store(store)
                .build()
                .unwrap()
        };
        let servers: Vec<_> = handles(database).await.into_iter().map(server).collect();
        let registration = serde_json::json!({
            "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        let origin = Origin::unknown();
        let admitted = servers[0].admit_registration(None, &origin).await.unwrap();
        let registration = registration.to_string();
        let registered = servers[0].register(registration.as_bytes(), admitted, &origin).await;
        let registered = registered.unwrap();
        Self {
            servers,
            clock,
            client_id: registered.client_id.as_str().to_owned(),
            registration_access_token: registered
                .registration_access_token
                .expect("a client of one's own can be managed"),
            verifier: Secret::random().expose().parse().unwrap(),
        }
    }

    /// One of the servers. There are four; counting goes round.
    #[must_use]
    pub fn server(&self, number: usize) -> &AuthorizationServer {
        &self.servers[number % self.servers.len()]
    }

    /// The identifier of the client.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Turns the clock of the servers.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Signs somebody in, each step at another server, and gives the code.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn code(&self) -> String {
        let challenge = CodeChallenge::of(&self.verifier).to_string();
        let request = parameters([
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let origin = Origin::unknown();
        let prompt = self.server(0).authorize(&request, &origin).await.unwrap();
        let consent = self
            .server(1)
            .consent(&prompt.transaction, Decision::Approve, Some(&prompt.browser), &origin);
        let ConsentOutcome::SignIn { location, sign_in } = consent.await.unwrap() else {
            panic!("approving leads to the identity provider");
        };
        let state = query(location.as_str(), "state").parse().unwrap();
        let returned = parameters([("code", "ada")]);
        let callback = self
            .server(2)
            .callback(&state, &returned, Some(&sign_in), &origin)
            .await
            .unwrap();
        let CallbackOutcome::Client(redirect) = callback else {
            panic!("whoever is identified goes back to the client");
        };
        query(redirect.location(), "code")
    }

    pub(super) fn redemption(&self, code: &str) -> Parameters {
        parameters([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("client_id", &self.client_id),
            ("code_verifier", self.verifier.expose()),
        ])
    }

    pub(super) fn refreshment(&self, token: &Secret) -> Parameters {
        parameters([
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose()),
            ("client_id", &self.client_id),
        ])
    }

    /// Redeems a code at one of the servers.
    ///
    /// # Errors
    ///
    /// As the server says.
    pub async fn redeem(&self, number: usize, code: &str) -> Result<TokenResponse, TokenError> {
        let form = self.redemption(code);
        self.server(number).token(&form, None, &Origin::unknown()).await
    }

    /// Refreshes at one of the servers.
    ///
    /// # Errors
    ///
    /// As the server says.
    pub async fn refresh(&self, number: usize, token: &Secret) -> Result<TokenResponse, TokenError> {
        let form = self.refreshment(token);
        self.server(number).token(&form, None, &Origin::unknown()).await
    }

    /// Gives a token back at one of the servers.
    ///
    /// # Errors
    ///
    /// As the server says.
    pub async fn revoke(&self, number: usize, token: &Secret) -> Result<(), TokenError> {
        let form = parameters([("token", token.expose()), ("client_id", &self.client_id)]);
        self.server(number).revoke(&form, None, &Origin::unknown()).await
    }

    /// Signs somebody in and redeems the code.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn sign_in(&self) -> TokenResponse {
        let code = self.code().await;
        self.redeem(3, &code).await.unwrap()
    }

    /// Sends one request many times at once, spread over the servers.
    pub(super) async fn storm(&self, form: Parameters) -> Vec<Result<TokenResponse, TokenError>> {
        let tasks: Vec<_> = (0..MANY)
            .map(|number| {
                let (server, form) = (self.server(number).clone(), form.clone());
                tokio::spawn(async move { server.token(&form, None, &Origin::unknown()).await })
            })
            .collect();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.expect("no server panics"));
        }
        outcomes
    }

    /// Whether one of the servers takes an access token, as a protected resource asks it.
    ///
    /// # Errors
    ///
    /// When nobody can say, because the store does not answer.
    ///
    /// # Panics
    ///
    /// Never: the resource is one.
    pub async fn accepts(&self, number: usize, token: &Secret) -> Result<bool, ConfirmError> {
        let (server, resource) = (self.server(number), RESOURCE.parse().unwrap());
        match server.verify_access_token(token.expose(), &resource) {
            Ok(VerifiedToken::Good(_)) => Ok(true),
            Ok(VerifiedToken::Unconfirmed(token)) => match server.confirm_access_token(token).await {
                Ok(_) => Ok(true),
                Err(ConfirmError::Refused(_)) => Ok(false),
                Err(error) => Err(error),
            },
            Err(_) => Ok(false),
        }
    }

    pub(super) async fn all_accept(&self, token: &Secret) -> Vec<bool> {
        let mut answers = Vec::new();
        for number in 0..self.servers.len() {
            answers.push(self.accepts(number, token).await.expect("the store answers"));
        }
        answers
    }
}

pub(super) fn query(url: &str, name: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    let value = url
        .query_pairs()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned());
    value.unwrap_or_else(|| panic!("{name} is missing"))
}
