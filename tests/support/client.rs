//! An OAuth client that takes one step at a time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_core::secret::Secret;
use serde_json::{Value, json};

use crate::application::{Answer, Application, NOTES, encode, request};
use crate::browser::Browser;

/// Where codes go.
pub const REDIRECT_URI: &str = "http://127.0.0.1:49152/callback";

/// A registered client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its identifier.
    pub client_id: String,
    /// Its secret, if it is confidential.
    pub client_secret: Option<String>,
    /// The verifier of its requests.
    pub verifier: String,
}

/// What a successful token request gave.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
}

impl Tokens {
    /// Those of a client that has just registered, as this made-up person.
    pub async fn issued_to(application: &Application, person: &str) -> Self {
        Client::public(application).await.sign_in(application, person).await
    }

    /// Takes the tokens out of an answer.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = |name: &str| {
            answer.json()[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name}"))
                .to_owned()
        };
        Self {
            access_token: text("access_token"),
            refresh_token: text("refresh_token"),
        }
    }
}

/// The form of a client that registers without a secret.
#[must_use]
pub fn public_metadata() -> Value {
    json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none", "client_name": "Test client"})
}

impl Client {
    /// Registers a public client.
    pub async fn public(application: &Application) -> Self {
        Self::register(application, &public_metadata()).await
    }

    /// Registers a client that has a secret.
    pub async fn confidential(application: &Application) -> Self {
        let metadata = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "client_secret_basic"});
        Self::register(application, &metadata).await
    }

    /// Registers.
    pub async fn register(application: &Application, metadata: &Value) -> Self {
        let answer = application.post_json("/register", metadata).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let body = answer.json();
        Self {
            client_id: body["client_id"].as_str().expect("an identifier").to_owned(),
            client_secret: body["client_secret"].as_str().map(str::to_owned),
            verifier: Secret::random().expose().to_owned(),
        }
    }

    /// The S256 challenge of its verifier.
    #[must_use]
    pub fn challenge(&self) -> String {
        let verifier: CodeVerifier = self.verifier.parse().expect("a verifier");
        CodeChallenge::of(&verifier).to_string()
    }

    /// The parameters of a good authorization request.
    #[must_use]
    pub fn parameters(&self) -> Vec<(String, String)> {
        [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", REDIRECT_URI),
            ("state", "state of the client"),
            ("code_challenge", &self.challenge()),
            ("code_challenge_method", "S256"),
            ("resource", NOTES),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The authorization URL with some parameters changed; an empty value leaves one out.
    #[must_use]
    pub fn authorization_url(&self, changes: &[(&str, &str)]) -> String {
        let mut parameters = self.parameters();
        for (name, value) in changes {
            parameters.retain(|(known, _)| known != name);
            if !value.is_empty() {
                parameters.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        let pairs: Vec<_> = parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        format!("/authorize?{}", encode(&pairs))
    }

    /// Gets a code, as this made-up person.
    pub async fn code(&self, application: &Application, person: &str) -> String {
        Browser::default()
            .authorize(application, &self.authorization_url(&[]), person)
            .await
            .code()
    }

    /// Sends a token request with this client's authentication and the given fields; a field that is there already
    /// is changed, and an empty value leaves it out.
    pub async fn token(&self, application: &Application, fields: &[(&str, &str)]) -> Answer {
        self.post(application, "/token", fields).await
    }

    /// The same at another endpoint.
    pub async fn post(&self, application: &Application, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        let mut form: Vec<(&str, &str)> = Vec::new();
        match &self.client_secret {
            None => form.push(("client_id", &self.client_id)),
            Some(secret) => {
                let basic = STANDARD.encode(format!("{}:{secret}", self.client_id));
                headers.push(("authorization", format!("Basic {basic}")));
            }
        }
        for (name, value) in fields {
            form.retain(|(known, _)| known != name);
            if !value.is_empty() {
                form.push((name, value));
            }
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        application
            .send(request(http::Method::POST, path, &headers, &encode(&form)))
            .await
    }

    /// Redeems a code, with some fields changed.
    pub async fn redeem(&self, application: &Application, code: &str, changes: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", &self.verifier),
        ];
        fields.extend_from_slice(changes);
        self.token(application, &fields).await
    }

    /// Uses a refresh token.
    pub async fn refresh(&self, application: &Application, refresh_token: &str, changes: &[(&str, &str)]) -> Answer {
        let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        fields.extend_from_slice(changes);
        self.token(application, &fields).await
    }

    /// The whole way to tokens, as this made-up person.
    pub async fn sign_in(&self, application: &Application, person: &str) -> Tokens {
        let code = self.code(application, person).await;
        Tokens::of(&self.redeem(application, &code, &[]).await)
    }
}
