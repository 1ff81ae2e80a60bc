//! The composition, running: the gateway with a double of GitHub and a real Redis, Traefik as its documentation has it, and the
//! servers, each started by the command of its container.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::application::{Answer, encode};
use mcp_oauth_tests::browser::hidden_field;
use mcp_oauth_tests::gateway::{Gateway, free_port};
use mcp_oauth_tests::redis::RedisServer;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::compose::{Composition, DOMAIN};
use crate::doubles;
use crate::journey::metadata_in;

const REDIRECT_URI: &str = "http://127.0.0.1:49152/callback";

/// Everything, running until it is dropped.
pub(crate) struct Stack {
    proxy: SocketAddr,
    github: MockServer,
    http: reqwest::Client,
    _gateway: Gateway,
    _redis: RedisServer,
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// GitHub, where one person is signed in: Ada.
async fn github() -> MockServer {
    let github = MockServer::start().await;
    let token = json!({"access_token": "gho_upstream", "token_type": "bearer", "scope": "read:user,user:email"});
    for (verb, place, body) in [
        ("POST", "/login/oauth/access_token", token),
        (
            "GET",
            "/api/v3/user",
            json!({"id": 583_231, "login": "ada", "name": "Ada"}),
        ),
    ] {
        Mock::given(method(verb))
            .and(path(place))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&github)
            .await;
    }
    github
}

impl Stack {
    /// Starts it. `servers` says where each server listens that runs.
    pub(crate) async fn start(composition: &Composition, servers: &BTreeMap<String, SocketAddr>) -> Self {
        let (proxy, gateway, github) = (loopback(), loopback(), github().await);
        let redis = RedisServer::start(&[]).await;
        let mut settings: BTreeMap<&str, String> = composition
            .environment("gateway")
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        // What is another one outside of containers, and what stands in the file of secrets.
        settings.insert("GATEWAY_TRUSTED_PROXIES", "127.0.0.1".to_owned());
        settings.insert("REDIS_URL", redis.url());
        settings.insert("GITHUB_CLIENT_ID", "app-id".to_owned());
        settings.insert("GITHUB_CLIENT_SECRET", "app-secret".to_owned());
        settings.insert("GATEWAY_GITHUB__ENTERPRISE_URL", github.uri());
        settings.insert("ALLOWED_GITHUB_USERS", "ada".to_owned());
        settings.insert(
            "GATEWAY_KEY_SEALING_SECRET",
            "yTbDSpVfX7Ak3zL8cUhMdQnYrGxKo1WeJtvBiP0sZm4=".to_owned(),
        );
        settings.remove("GATEWAY_LISTEN");
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let process = Gateway::start_with(&gateway.to_string(), &settings, "").await;

        let routes = composition.routes(|container, _| {
            let address = if container == "gateway" {
                Some(&gateway)
            } else {
                servers.get(container)
            };
            // Nobody listens at the address of a server that does not run.
            format!("http://{}", address.copied().unwrap_or_else(loopback))
        });
        let routes = Arc::new(routes);
        let pass = move |passing| {
            let routes = Arc::clone(&routes);
            async move { routes.pass(passing).await }
        };
        doubles::listen(proxy, pass).await;
        Self {
            proxy,
            github,
            http: reqwest::Client::builder().redirect(Policy::none()).build().unwrap(),
            _gateway: process,
            _redis: redis,
        }
    }

    /// A request as it reaches Traefik once TLS has been taken off it.
    pub(crate) async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let rest = url
            .strip_prefix("https://")
            .unwrap_or_else(|| panic!("{url} is not https"));
        let (host, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let mut request = self
            .http
            .request(method, format!("http://{}{target}", self.proxy))
            .header("host", host)
            .body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.unwrap();
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.ask(Method::GET, url, &[], "").await
    }

    async fn submit(&self, url: &str, cookies: &str, form: &[(&str, &str)]) -> Answer {
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "text/html"),
            ("cookie", cookies),
        ];
        self.ask(Method::POST, url, &headers, &encode(form)).await
    }

    /// Signs Ada in at GitHub, for the server at this URL, knowing nothing else. Returns the access token.
    pub(crate) async fn sign_in(&self, server: &str) -> String {
        let refused = self.ask(Method::POST, server, &[], "").await;
        assert_eq!(refused.status, 401, "{server}: {refused:?}");
        let challenge = refused.header("www-authenticate");
        let metadata = metadata_in(challenge);
        let resource = self.get(metadata).await.json();
        assert_eq!(resource["resource"], server);
        let issuer = resource["authorization_servers"][0].as_str().unwrap();
        let document = self
            .get(&format!("{issuer}/.well-known/oauth-authorization-server"))
            .await
            .json();
        let endpoint = |name: &str| document[name].as_str().unwrap().to_owned();

        let registration = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none"});
        let registered = self
            .ask(
                Method::POST,
                &endpoint("registration_endpoint"),
                &[("content-type", "application/json")],
                &registration.to_string(),
            )
            .await;
        assert_eq!(registered.status, 201, "{registered:?}");
        let client_id = registered.json()["client_id"].as_str().unwrap().to_owned();
        let verifier = Secret::random().expose().to_owned();
        let challenge = CodeChallenge::of(&verifier.parse::<CodeVerifier>().unwrap()).to_string();
        let query = encode(&[
            ("response_type", "code"),
            ("client_id", &client_id),
            ("redirect_uri", REDIRECT_URI),
            ("state", "s"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", server),
        ]);
        let page = self
            .get(&format!("{}?{query}", endpoint("authorization_endpoint")))
            .await;
        assert_eq!(page.status, 200, "{page:?}");
        let transaction = hidden_field(&page, "transaction");
        let form = [("transaction", transaction.as_str()), ("decision", "approve")];
        let approved = self
            .submit(&format!("{issuer}/consent"), &cookies(&page.headers), &form)
            .await;
        let at_github: Url = approved.header("location").parse().unwrap();
        assert!(at_github.as_str().starts_with(&self.github.uri()), "{at_github}");
        let state = parameter(&at_github, "state");
        let cookies = [cookies(&page.headers), cookies(&approved.headers)].join("; ");
        let back = format!(
            "{issuer}/callback?{}",
            encode(&[("code", "from-github"), ("state", &state)])
        );
        let returned = self.ask(Method::GET, &back, &[("cookie", &cookies)], "").await;
        let arrival: Url = returned.header("location").parse().unwrap();
        assert!(arrival.as_str().starts_with(REDIRECT_URI), "{arrival}");
        let code = parameter(&arrival, "code");
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &client_id),
            ("code", &code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", &verifier),
            ("resource", server),
        ];
        let tokens = self.submit(&endpoint("token_endpoint"), "", &form).await;
        assert_eq!(tokens.status, 200, "{tokens:?}");
        tokens.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// A session with the MCP server of this name.
    pub(crate) async fn connect(&self, name: &str) -> Session<'_> {
        let url = format!("https://{name}.{DOMAIN}/mcp");
        let token = self.sign_in(&url).await;
        let mut session = Session {
            stack: self,
            url,
            token,
            identifier: None,
            id: 0,
        };
        let capabilities = json!({});
        let parameters = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities,
            "clientInfo": {"name": "tests", "version": "1"}});
        let server = session.request("initialize", parameters).await;
        assert_eq!(server["protocolVersion"], "2025-06-18", "{name}: {server}");
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let answer = session.post(&ready, &[]).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{name}: {answer:?}");
        session
    }
}

fn cookies(headers: &HeaderMap) -> String {
    let values = headers
        .get_all("set-cookie")
        .iter()
        .filter_map(|value| HeaderValue::to_str(value).ok());
    let pairs: Vec<_> = values.filter_map(|value| value.split(';').next()).collect();
    pairs.join("; ")
}

fn parameter(url: &Url, name: &str) -> String {
    let mut pairs = url.query_pairs();
    let found = pairs.find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("{url} has no {name}")).1.into_owned()
}

/// A client of MCP with an access token.
pub(crate) struct Session<'a> {
    stack: &'a Stack,
    pub(crate) url: String,
    pub(crate) token: String,
    identifier: Option<String>,
    id: u64,
}

impl Session<'_> {
    /// Posts a message, with these headers beside a client's own.
    pub(crate) async fn post(&self, message: &Value, more: &[(&str, &str)]) -> Answer {
        let authorization = format!("Bearer {}", self.token);
        let mut headers = vec![
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        if let Some(session) = &self.identifier {
            headers.push(("mcp-session-id", session));
            headers.push(("mcp-protocol-version", "2025-06-18"));
        }
        headers.extend_from_slice(more);
        self.stack
            .ask(Method::POST, &self.url, &headers, &message.to_string())
            .await
    }

    pub(crate) async fn request(&mut self, method: &str, parameters: Value) -> Value {
        self.id += 1;
        let message = json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": parameters});
        let answer = self.post(&message, &[]).await;
        assert_eq!(answer.status, 200, "{method} at {}: {answer:?}", self.url);
        if method == "initialize"
            && let Some(session) = answer.headers.get("mcp-session-id")
        {
            self.identifier = Some(session.to_str().unwrap().to_owned());
        }
        let reply = reply(&answer, self.id);
        assert!(reply["error"].is_null(), "{method} at {}: {reply}", self.url);
        reply["result"].clone()
    }

    /// Calls a tool; all of its texts, and whether it has failed.
    pub(crate) async fn call(&mut self, tool: &str, arguments: &Value) -> (String, bool) {
        let result = self
            .request("tools/call", json!({"name": tool, "arguments": arguments}))
            .await;
        (result["content"].to_string(), result["isError"] == true)
    }

    /// The tools that there are.
    pub(crate) async fn tools(&mut self) -> Vec<String> {
        let list = self.request("tools/list", json!({})).await;
        let tools = list["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// The reply to a request, by itself or among the events of a stream.
fn reply(answer: &Answer, id: u64) -> Value {
    if answer.header("content-type").starts_with("application/json") {
        return answer.json();
    }
    let data = answer.body.lines().filter_map(|line| line.strip_prefix("data:"));
    let mut messages = data.filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok());
    messages
        .find(|message| message["id"] == id)
        .unwrap_or_else(|| panic!("no reply to {id} in {answer:?}"))
}
