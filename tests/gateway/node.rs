//! One of several gateways that share a Redis, as a browser, a client and a caller see it over HTTP.

use std::time::{Duration, Instant};

use http::HeaderMap;
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::application::{Answer, encode};
use mcp_oauth_tests::browser::hidden_field;
use mcp_oauth_tests::client::{REDIRECT_URI, Tokens, public_metadata};
use mcp_oauth_tests::gateway::{Gateway, free_port};
use reqwest::{Client, RequestBuilder, redirect};
use serde_json::{Value, json};
use url::Url;

/// What seals the signing keys of all nodes.
pub(crate) const SEALING_SECRET: &str = "yTbDSpVfX7Ak3zL8cUhMdQnYrGxKo1WeJtvBiP0sZm4=";

/// What all nodes have in common.
#[derive(Debug)]
pub(crate) struct Site {
    /// The issuer, which is where none of the nodes has to be.
    pub(crate) issuer: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            issuer: format!("http://127.0.0.1:{}", free_port()),
        }
    }

    /// Starts a process that keeps its records in this Redis.
    pub(crate) async fn node(&self, redis: &str) -> Node {
        self.node_at(&format!("127.0.0.1:{}", free_port()), redis).await
    }

    /// Starts the process that is where the issuer says.
    pub(crate) async fn node_at_issuer(&self, redis: &str) -> Node {
        self.node_at(self.address(), redis).await
    }

    /// The host and the port of the issuer.
    pub(crate) fn address(&self) -> &str {
        self.issuer.trim_start_matches("http://")
    }

    async fn node_at(&self, address: &str, redis: &str) -> Node {
        let settings = [
            ("GATEWAY_PUBLIC_URL", self.issuer.as_str()),
            ("GATEWAY_KEY_SEALING_SECRET", SEALING_SECRET),
            ("REDIS_URL", redis),
        ];
        let gateway = Gateway::start_with(address, &settings, "").await;
        Node {
            gateway,
            http: Http::at(&format!("http://{address}"), &self.issuer),
        }
    }
}

/// A process.
#[derive(Debug)]
pub(crate) struct Node {
    gateway: Gateway,
    pub(crate) http: Http,
}

impl Node {
    pub(crate) fn process(&self) -> u32 {
        self.gateway.process()
    }

    pub(crate) async fn kill(self) {
        self.gateway.kill().await;
    }
}

/// A way to a process. Clones are the same way.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    url: String,
    issuer: String,
    client: Client,
    /// What is asked for; all that there is if nothing is said.
    scope: Option<&'static str>,
}

/// A client that has registered itself, with the verifier of its requests.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) client_id: String,
    verifier: String,
}

impl Registered {
    /// A client that has this identifier already.
    pub(crate) fn known(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            verifier: Secret::random().expose().to_owned(),
        }
    }

    pub(crate) fn verifier(&self) -> &str {
        &self.verifier
    }
}

/// An answer of a protected resource, and when it was asked.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
}

impl Http {
    /// The way to the gateway at this address.
    pub(crate) fn at(url: &str, issuer: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            ..Self::to(
                url,
                Client::builder().redirect(redirect::Policy::none()).build().unwrap(),
            )
        }
    }

    /// The way to a gateway that is its own issuer.
    pub(crate) fn to(url: &str, client: Client) -> Self {
        Self {
            url: url.to_owned(),
            issuer: url.to_owned(),
            client,
            scope: None,
        }
    }

    /// The same for a client that asks for these scopes.
    pub(crate) fn asking_for(self, scope: &'static str) -> Self {
        Self {
            scope: Some(scope),
            ..self
        }
    }

    /// Signs in to a server, as this made-up person.
    pub(crate) async fn sign_in_to(&self, resource: &str, person: &str) -> Tokens {
        let client = self.register().await;
        let code = self.code_for(&client, resource, person).await;
        Tokens::of(&self.redeem(&client, &code).await)
    }

    /// The way to a gateway that is where its issuer says.
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self::at(&gateway.url, &gateway.url)
    }

    fn here(&self, location: &str) -> String {
        let path = location.strip_prefix(&self.issuer).unwrap_or(location);
        format!("{}{path}", self.url)
    }

    async fn send(request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("the gateway answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.expect("the answer is text");
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Self::send(self.client.get(self.here(path))).await
    }

    /// Sends a form, or says that there is no answer.
    pub(crate) async fn try_form(&self, path: &str, fields: &[(&str, &str)]) -> Option<Answer> {
        let request = self
            .client
            .post(self.here(path))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encode(fields));
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.ok()?;
        Some(Answer { status, headers, body })
    }

    pub(crate) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.try_form(path, fields).await.expect("the gateway answers")
    }

    /// Registers, if that is let.
    pub(crate) async fn try_register(&self) -> Answer {
        Self::send(self.client.post(self.here("/register")).json(&public_metadata())).await
    }

    pub(crate) async fn register(&self) -> Registered {
        let answer = self.try_register().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        Registered::known(answer.json()["client_id"].as_str().unwrap())
    }

    /// Gets a code, as a made-up person whose browser has nobody else's cookies.
    pub(crate) async fn code(&self, client: &Registered) -> String {
        self.code_for(client, &self.resource(), "ada").await
    }

    async fn code_for(&self, client: &Registered, resource: &str, person: &str) -> String {
        let verifier: CodeVerifier = client.verifier.parse().unwrap();
        let challenge = CodeChallenge::of(&verifier).to_string();
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", &client.client_id),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", resource),
        ];
        parameters.extend(self.scope.map(|scope| ("scope", scope)));
        let mut browser = Visitor::of(self);
        let consent = browser.open(&format!("/authorize?{}", encode(&parameters))).await;
        let returned = browser.approve_as(&consent, person).await;
        assert_eq!(returned.status, 303, "{returned:?}");
        let arrival: Url = returned.header("location").parse().unwrap();
        let code = arrival.query_pairs().find(|(name, _)| name == "code");
        code.expect("a code").1.into_owned()
    }

    /// Lets a device in by the code that it shows, as a made-up person.
    pub(crate) async fn let_in(&self, user_code: &str) {
        let mut browser = Visitor::of(self);
        let entered = browser.submit("/device", &[("user_code", user_code)]).await;
        assert_eq!(entered.status, 303, "{entered:?}");
        let consent = browser.open(entered.header("location")).await;
        let end = browser.approve(&consent).await;
        assert!(end.status.is_success() || end.status == 303, "{end:?}");
    }

    pub(crate) async fn redeem(&self, client: &Registered, code: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", &client.client_id),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", &client.verifier),
        ];
        self.form("/token", &fields).await
    }

    /// Signs in to the server of this name.
    pub(crate) async fn sign_in_to_server(&self, client: &Registered, server: &str) -> Tokens {
        let resource = format!("{}/{server}/mcp", self.issuer);
        let code = self.code_for(client, &resource, "ada").await;
        Tokens::of(&self.redeem(client, &code).await)
    }

    pub(crate) async fn sign_in(&self, client: &Registered) -> Tokens {
        let code = self.code(client).await;
        Tokens::of(&self.redeem(client, &code).await)
    }

    /// Uses a refresh token, if there is somebody to answer.
    pub(crate) async fn try_refresh(&self, client: &Registered, refresh_token: &str) -> Option<Answer> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", &client.client_id),
            ("refresh_token", refresh_token),
        ];
        self.try_form("/token", &fields).await
    }

    pub(crate) async fn refresh(&self, client: &Registered, refresh_token: &str) -> Answer {
        self.try_refresh(client, refresh_token)
            .await
            .expect("the gateway answers")
    }

    /// Gives a token back, which ends the grant.
    pub(crate) async fn revoke(&self, client: &Registered, token: &str) {
        let fields = [("client_id", client.client_id.as_str()), ("token", token)];
        assert_eq!(self.form("/revoke", &fields).await.status, 200);
    }

    fn resource(&self) -> String {
        format!("{}/echo/mcp", self.issuer)
    }

    /// Asks the protected server for its tools.
    pub(crate) async fn call(&self, token: &str) -> Called {
        let request = self
            .client
            .post(self.here(&self.resource()))
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/list")
            .timeout(Duration::from_secs(60))
            .bearer_auth(token)
            .json(&list_tools());
        let sent = Instant::now();
        let answer = Self::send(request).await;
        let called = Called {
            sent,
            received: Instant::now(),
            status: answer.status.as_u16(),
            headers: answer.headers,
        };
        if called.status == 200 {
            assert!(answer.body.contains("\"tools\""), "{}", answer.body);
        }
        called
    }
}

/// A browser that has nobody else's cookies.
struct Visitor<'a> {
    http: &'a Http,
    cookies: Vec<String>,
}

impl<'a> Visitor<'a> {
    fn of(http: &'a Http) -> Self {
        Self {
            http,
            cookies: Vec::new(),
        }
    }

    async fn send(&mut self, request: RequestBuilder) -> Answer {
        let answer = Http::send(request.header("cookie", self.cookies.join("; "))).await;
        let set = answer.headers.get_all("set-cookie").iter();
        for cookie in set.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap()) {
            let name = cookie.split_once('=').unwrap().0;
            self.cookies.retain(|other| other.split_once('=').unwrap().0 != name);
            self.cookies.push(cookie.to_owned());
        }
        answer
    }

    async fn open(&mut self, location: &str) -> Answer {
        let request = self.http.client.get(self.http.here(location));
        self.send(request.header("accept", "text/html")).await
    }

    async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self.http.client.post(self.http.here(path));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(encode(fields))).await
    }

    /// Approves on the consent page, and signs in.
    async fn approve(&mut self, consent: &Answer) -> Answer {
        self.approve_as(consent, "ada").await
    }

    /// Approves on the consent page, and signs in as this made-up person.
    async fn approve_as(&mut self, consent: &Answer, person: &str) -> Answer {
        let transaction = hidden_field(consent, "transaction");
        let decision = [("transaction", transaction.as_str()), ("decision", "approve")];
        let approved = self.submit("/consent", &decision).await;
        let choice = self.open(approved.header("location")).await;
        let state = hidden_field(&choice, "state");
        let chosen = self
            .submit("/development/sign-in", &[("state", &state), ("user", person)])
            .await;
        self.open(chosen.header("location")).await
    }
}

/// As clients of MCP 2026-07-28 ask, who need no session.
fn list_tools() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }}})
}
