//! Somebody who comes to the gateway from a network of their own: their browser, and the clients that they use.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::Method;
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_tests::application::{Answer, encode};
use mcp_oauth_tests::browser::hidden_field;
use mcp_oauth_tests::client::{REDIRECT_URI, Tokens, public_metadata};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use url::Url;

use crate::begun::What;
use crate::site::{RESIDENT, RESIDENT_SECRET, Site, random};

/// A client that may sign people in.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    secret: Option<String>,
    verifier: String,
    /// Where it is managed, and with what.
    pub(crate) management: Option<(String, String)>,
}

impl Client {
    /// The one of the configuration.
    pub(crate) fn resident() -> Self {
        Self {
            id: RESIDENT.to_owned(),
            secret: Some(RESIDENT_SECRET.to_owned()),
            verifier: random(),
            management: None,
        }
    }

    /// The same with a secret that is not its own.
    pub(crate) fn with_secret(self, secret: String) -> Self {
        Self {
            secret: Some(secret),
            ..self
        }
    }

    /// The same with another verifier than the one that it has asked with.
    pub(crate) fn with_another_verifier(self) -> Self {
        Self {
            verifier: random(),
            ..self
        }
    }

    fn is_registered(&self) -> bool {
        self.id != RESIDENT
    }
}

/// The way to the gateway of one visitor.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) site: Arc<Site>,
    network: String,
    cookies: Vec<String>,
}

/// Says what was expected, and what came.
pub(crate) fn expect(answer: Answer, status: u16, step: &str) -> Answer {
    assert_eq!(answer.status, status, "{step}: {answer:?}");
    answer
}

/// The same of an error as OAuth writes it.
pub(crate) fn expect_error(answer: &Answer, status: u16, error: &str, step: &str) {
    let told = (answer.status.as_u16(), answer.json()["error"].clone());
    assert_eq!(told, (status, json!(error)), "{step}: {answer:?}");
}

impl Visitor {
    pub(crate) fn new(site: &Arc<Site>) -> Self {
        Self {
            site: Arc::clone(site),
            network: site.next_network(),
            cookies: Vec::new(),
        }
    }

    /// A request to a URL of the gateway, or to a path there.
    pub(crate) fn request(&self, method: Method, location: &str) -> RequestBuilder {
        let url = if location.starts_with('/') {
            format!("{}{location}", self.site.gateway.url)
        } else {
            location.to_owned()
        };
        self.site.sent.fetch_add(1, Ordering::Relaxed);
        let request = self.site.http.request(method, url);
        request.header("x-forwarded-for", &self.network)
    }

    pub(crate) async fn send(request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("the gateway answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.expect("the answer is text");
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, location: &str) -> Answer {
        Self::send(self.request(Method::GET, location)).await
    }

    pub(crate) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::POST, path);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Self::send(request.body(encode(fields))).await
    }

    // === What a browser does ===

    async fn browse(&mut self, request: RequestBuilder) -> Answer {
        let answer = Self::send(request.header("cookie", self.cookies.join("; "))).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("cookies are text");
            let cookie = cookie.split(';').next().unwrap_or_default();
            let name = |cookie: &str| cookie.split_once('=').map(|(name, _)| name.to_owned());
            self.cookies.retain(|other| name(other) != name(cookie));
            self.cookies.push(cookie.to_owned());
        }
        answer
    }

    pub(crate) async fn open(&mut self, location: &str) -> Answer {
        let request = self.request(Method::GET, location).header("accept", "text/html");
        self.browse(request).await
    }

    pub(crate) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encode(fields));
        self.browse(request).await
    }

    /// Opens the consent page of an authorization request.
    pub(crate) async fn ask(&mut self, client: &Client, resource: &str) -> Answer {
        let verifier: CodeVerifier = client.verifier.parse().expect("a verifier");
        let challenge = CodeChallenge::of(&verifier).to_string();
        let parameters = [
            ("response_type", "code"),
            ("client_id", &client.id),
            ("redirect_uri", REDIRECT_URI),
            ("state", "state of the client"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", resource),
        ];
        self.site.begun.add(What::SignIn);
        let page = self.open(&format!("/authorize?{}", encode(&parameters))).await;
        expect(page, 200, "the consent page")
    }

    /// Presses a button of the consent page.
    pub(crate) async fn decide(&mut self, consent: &Answer, decision: &str) -> Answer {
        let transaction = hidden_field(consent, "transaction");
        let fields = [("transaction", transaction.as_str()), ("decision", decision)];
        expect(self.submit("/consent", &fields).await, 303, "the decision")
    }

    /// Signs in where an approved consent leads to, up to the way back to the gateway.
    pub(crate) async fn choose(&mut self, approved: &Answer) -> Answer {
        let choice = expect(self.open(approved.header("location")).await, 200, "the people");
        let state = hidden_field(&choice, "state");
        let fields = [("state", state.as_str()), ("user", self.site.next_person())];
        let chosen = self.submit("/development/sign-in", &fields).await;
        expect(chosen, 303, "the choice")
    }

    /// Goes back to the gateway, which then knows who it is.
    pub(crate) async fn come_back(&mut self, chosen: &Answer) -> Answer {
        self.site.begun.add(What::Grant);
        self.open(chosen.header("location")).await
    }

    /// The whole way to a code.
    pub(crate) async fn code(&mut self, client: &Client, resource: &str) -> String {
        let consent = self.ask(client, resource).await;
        let approved = self.decide(&consent, "approve").await;
        let chosen = self.choose(&approved).await;
        let returned = expect(self.come_back(&chosen).await, 303, "the way back to the client");
        parameter(&returned, "code").unwrap_or_else(|| panic!("no code: {returned:?}"))
    }

    // === What a client does ===

    async fn register_as(&self, metadata: &Value) -> Client {
        self.site.begun.add(What::Client);
        let answer = Self::send(self.request(Method::POST, "/register").json(metadata)).await;
        let registered = expect(answer, 201, "a registration").json();
        let text = |name: &str| registered[name].as_str().map(str::to_owned);
        Client {
            id: text("client_id").expect("an identifier"),
            secret: text("client_secret"),
            verifier: random(),
            management: text("registration_client_uri").zip(text("registration_access_token")),
        }
    }

    /// Registers a client without a secret.
    pub(crate) async fn register(&self) -> Client {
        self.register_as(&public_metadata()).await
    }

    /// Registers a client with one.
    pub(crate) async fn register_confidential(&self) -> Client {
        let mut metadata = public_metadata();
        metadata["token_endpoint_auth_method"] = json!("client_secret_basic");
        self.register_as(&metadata).await
    }

    /// Sends a form with the proof of a client.
    pub(crate) async fn as_client(&self, client: &Client, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        let mut request = self.request(Method::POST, path);
        match &client.secret {
            Some(secret) => request = request.basic_auth(&client.id, Some(secret)),
            None => fields.push(("client_id", &client.id)),
        }
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Self::send(request.body(encode(&fields))).await
    }

    pub(crate) async fn redeem(&self, client: &Client, code: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", &client.verifier),
        ];
        self.as_client(client, "/token", &fields).await
    }

    pub(crate) async fn refresh(&self, client: &Client, refresh_token: &str) -> Answer {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.as_client(client, "/token", &fields).await
    }

    pub(crate) async fn revoke(&self, client: &Client, token: &str) {
        let answer = self.as_client(client, "/revoke", &[("token", token)]).await;
        expect(answer, 200, "a token is given back");
    }

    /// Whether a token is good, by introspection.
    pub(crate) async fn is_active(&self, client: &Client, token: &str) -> bool {
        let answer = self.as_client(client, "/introspect", &[("token", token)]).await;
        expect(answer, 200, "a question about a token").json()["active"] == true
    }

    /// The whole way to tokens.
    pub(crate) async fn sign_in(&mut self, client: &Client, resource: &str) -> Tokens {
        let code = self.code(client, resource).await;
        if client.is_registered() {
            self.site.begun.add(What::UsedClient);
        }
        Tokens::of(&self.redeem(client, &code).await)
    }
}

/// A parameter of the URL that an answer leads to.
pub(crate) fn parameter(answer: &Answer, name: &str) -> Option<String> {
    let url: Url = answer.header("location").parse().ok()?;
    let mut pairs = url.query_pairs();
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}
