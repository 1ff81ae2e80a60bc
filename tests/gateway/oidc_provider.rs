//! Signing in with a certified OpenID Connect provider that nobody here wrote (npm `oidc-provider`): through the whole
//! gateway, and with every way to prove the client and every signature by the library alone.

use std::collections::BTreeMap;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_oauth_core::identity::membership::Membership;
use mcp_oauth_core::identity::oidc::OpenIdConnect;
use mcp_oauth_core::identity::tokens::TokensRefreshed;
use mcp_oauth_core::identity::{IdentityError, IdentityProvider as _, SignIn, SignInReturn, Standing};
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::pkce::CodeVerifier;
use mcp_oauth_core::secret::{Secret, SecretDigest};
use mcp_oauth_core::token::keys::{Algorithm, SigningKey};
use mcp_oauth_tests::gateway::{Gateway, free_port};
use mcp_oauth_tests::tools;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;

/// The provider as a process, which ends when it is dropped.
struct Provider {
    issuer: String,
    http: reqwest::Client,
    _child: Child,
}

impl Provider {
    async fn start(folder: &std::path::Path, port: u16, clients: &Value) -> Self {
        let mut child = Command::new("node")
            .arg(folder.join("provider.mjs"))
            .args([port.to_string(), clients.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
        Self {
            issuer: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::new(),
            _child: child,
        }
    }

    /// Who signs in from now on, and what is known of them.
    async fn person(&self, person: &Value) {
        let address = format!("{}/test/person", self.issuer);
        let answer = self.http.post(address).json(person).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
}

/// A browser that goes where it is sent. All hosts are one here, and so all cookies are sent everywhere.
struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new() -> Self {
        Self {
            http: reqwest::Client::builder().redirect(Policy::none()).build().unwrap(),
            cookies: BTreeMap::new(),
        }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Response {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let answer = request.header(COOKIE, cookies.join("; ")).send().await.unwrap();
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    async fn open(&mut self, url: &Url) -> Response {
        let request = self.http.get(url.clone());
        self.send(request).await
    }

    /// Follows redirects until one leads to `stop`, and says where that is.
    async fn follow(&mut self, from: &Url, stop: &str) -> Url {
        let mut url = from.clone();
        for _ in 0..12 {
            let answer = self.open(&url).await;
            let status = answer.status();
            let Some(location) = answer.headers().get(LOCATION) else {
                panic!("{url}: {status} {}", answer.text().await.unwrap());
            };
            url = url.join(location.to_str().unwrap()).unwrap();
            if url.as_str().starts_with(stop) {
                return url;
            }
        }
        panic!("too many redirects: {url}");
    }
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

// === The whole gateway ===

const REDIRECT: &str = "http://127.0.0.1:1/done";
const VERIFIER: &str = "a-verifier-of-the-client-that-is-long-enough-for-anybody";

/// An MCP client, and the person at its browser.
struct Visit<'a> {
    gateway: &'a Gateway,
    browser: Browser,
    client_id: String,
}

impl<'a> Visit<'a> {
    async fn new(gateway: &'a Gateway) -> Self {
        let browser = Browser::new();
        let metadata =
            json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", "client_name": "A client"});
        let address = format!("{}/register", gateway.url);
        let registered: Value = browser
            .http
            .post(address)
            .json(&metadata)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        Self {
            gateway,
            browser,
            client_id: registered["client_id"].as_str().unwrap().to_owned(),
        }
    }

    fn resource(&self) -> String {
        format!("{}/echo/mcp", self.gateway.url)
    }

    /// Approves, signs in at the provider, and comes back to the client.
    async fn arrive(&mut self) -> Url {
        let challenge = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            VERIFIER.as_bytes(),
        ));
        let mut authorize: Url = format!("{}/authorize", self.gateway.url).parse().unwrap();
        authorize
            .query_pairs_mut()
            .append_pair("client_id", &self.client_id)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", REDIRECT)
            .append_pair("resource", &self.resource())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("state", "of the client");
        let page = self.browser.open(&authorize).await.text().await.unwrap();
        assert!(page.contains("you will sign in with <bdi>Acme</bdi>"), "{page}");
        let (_, rest) = page.split_once("name=\"transaction\" value=\"").unwrap();
        let (transaction, _) = rest.split_once('"').unwrap();
        let form = form(&[("transaction", transaction), ("decision", "approve")]);
        let request = self.browser.http.post(format!("{}/consent", self.gateway.url));
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let approved = self.browser.send(request).await;
        assert_eq!(approved.status(), 303);
        let away: Url = approved.headers()[LOCATION].to_str().unwrap().parse().unwrap();
        self.browser.follow(&away, REDIRECT).await
    }

    async fn token(&self, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        let request = self.browser.http.post(format!("{}/token", self.gateway.url));
        let body = form(&[fields, &[("client_id", self.client_id.as_str())]].concat());
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn sign_in(&mut self) -> Value {
        let arrived = self.arrive().await;
        assert_eq!(parameter(&arrived, "iss").as_deref(), Some(self.gateway.url.as_str()));
        assert_eq!(parameter(&arrived, "state").as_deref(), Some("of the client"));
        let code = parameter(&arrived, "code").unwrap_or_else(|| panic!("{arrived}"));
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        let (status, tokens) = self.token(&fields).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    async fn refresh(&self, tokens: &Value) -> (StatusCode, Value) {
        let token = tokens["refresh_token"].as_str().unwrap();
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            .await
    }

    /// Whether the token opens the server.
    async fn opens(&self, tokens: &Value) -> bool {
        let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"},
        }});
        let request = self.browser.http.post(self.resource()).json(&initialize);
        let request = request.header("accept", "application/json, text/event-stream");
        let answer = request
            .bearer_auth(tokens["access_token"].as_str().unwrap())
            .send()
            .await
            .unwrap();
        answer.status() == 200
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

fn claims(token: &Value) -> Value {
    let payload = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn toml(port: u16, more: &str) -> String {
    format!(
        "{more}\n[[identity_providers]]\nid = \"acme\"\nname = \"Acme\"\nissuer = \"http://127.0.0.1:{port}\"\n\
         client_id = \"gateway\"\nclient_secret = \"a%secret:of+the~gateway\"\nscopes = [\"groups\"]\ngroups_claim = \"groups\"\n\
         allowed_users = \"group=staff\"\n"
    )
}

fn gateway_client(gateway: &Gateway) -> Value {
    json!([{
        "client_id": "gateway", "client_secret": "a%secret:of+the~gateway",
        "redirect_uris": [format!("{}/callback", gateway.url)],
        "grant_types": ["authorization_code", "refresh_token"],
    }])
}

#[tokio::test]
async fn people_of_a_certified_provider_sign_in_and_whoever_is_in_no_group_does_not() {
    let Some(folder) = tools::node("oidc-provider as the place to sign in", "oidc-provider") else {
        return;
    };
    let port = free_port();
    let gateway = Gateway::start(&toml(port, "")).await;
    let provider = Provider::start(&folder, port, &gateway_client(&gateway)).await;
    let mut visit = Visit::new(&gateway).await;
    let tokens = visit.sign_in().await;
    let seen = claims(&tokens["access_token"]);
    assert_eq!(
        (&seen["sub"], &seen["name"]),
        (&json!("acme:ada"), &json!("The person ada"))
    );
    assert!(visit.opens(&tokens).await);
    let (status, next) = visit.refresh(&tokens).await;
    assert_eq!(status, 200, "{next}");
    assert!(visit.opens(&next).await);

    provider.person(&json!({"sub": "eve", "groups": ["visitors"]})).await;
    let mut visit = Visit::new(&gateway).await;
    let arrived = visit.arrive().await;
    assert_eq!(parameter(&arrived, "error").as_deref(), Some("access_denied"));
}

/// Issue 7, done when 5.
#[tokio::test]
async fn whoever_leaves_the_group_or_the_provider_is_out_at_the_next_refresh() {
    let Some(folder) = tools::node("oidc-provider and somebody who leaves", "oidc-provider") else {
        return;
    };
    let port = free_port();
    let sealing =
        "token_vault = true\nidentity_check = 0\nkey_sealing_secret = \"yTbDSpVfX7Ak3zL8cUhMdQnYrGxKo1WeJtvBiP0sZm4=\"";
    let gateway = Gateway::start(&toml(port, sealing)).await;
    let provider = Provider::start(&folder, port, &gateway_client(&gateway)).await;
    for left in [
        json!({"sub": "ada", "groups": []}),
        json!({"sub": "ada", "groups": ["staff"], "gone": true}),
    ] {
        provider.person(&json!({"sub": "ada", "groups": ["staff"]})).await;
        let mut visit = Visit::new(&gateway).await;
        let tokens = visit.sign_in().await;
        // Still there: the provider's tokens are exchanged and used, and used again.
        let (status, tokens) = visit.refresh(&tokens).await;
        assert_eq!(status, 200, "{tokens}");
        let (status, tokens) = visit.refresh(&tokens).await;
        assert_eq!(status, 200, "{tokens}");
        assert!(visit.opens(&tokens).await);

        provider.person(&left).await;
        let (status, refused) = visit.refresh(&tokens).await;
        assert_eq!(
            (status.as_u16(), &refused["error"]),
            (400, &json!("invalid_grant")),
            "{left}"
        );
        assert!(!visit.opens(&tokens).await, "{left}: the access token ends too");
    }
}

// === The library alone ===

#[tokio::test]
async fn every_way_to_prove_the_client_and_every_signature_is_understood() {
    let Some(folder) = tools::node("oidc-provider with every client authentication", "oidc-provider") else {
        return;
    };
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let callback: Url = "http://127.0.0.1:1/callback".parse().unwrap();
    let client = |id: &str, method: &str, algorithm: &str| {
        let mut client = json!({
            "client_id": id, "redirect_uris": [callback.as_str()], "token_endpoint_auth_method": method,
            "id_token_signed_response_alg": algorithm, "grant_types": ["authorization_code", "refresh_token"],
        });
        match method {
            "private_key_jwt" => {
                client["jwks"] = json!({"keys": [key.public()]});
                client["token_endpoint_auth_signing_alg"] = json!("ES256");
            }
            "none" => {}
            _ => client["client_secret"] = json!("a%secret:100%25of+it"),
        }
        client
    };
    let clients = [
        ("basic", "client_secret_basic", "RS256"),
        ("post", "client_secret_post", "PS256"),
        ("key", "private_key_jwt", "ES256"),
        ("none", "none", "EdDSA"),
    ];
    let registered: Vec<_> = clients
        .iter()
        .map(|(id, method, alg)| client(id, method, alg))
        .collect();
    let provider = Provider::start(&folder, free_port(), &json!(registered)).await;
    for (id, method, _) in clients {
        let staff = Membership::group("staff").unwrap();
        let acme = OpenIdConnect::new("acme", provider.issuer.as_str(), id).unwrap();
        let acme = match method {
            "client_secret_basic" => acme.client_secret("a%secret:100%25of+it"),
            "client_secret_post" => acme.client_secret_in_form("a%secret:100%25of+it"),
            "private_key_jwt" => acme.private_key(key.clone()),
            _ => acme,
        };
        let acme = acme
            .scopes(["groups"])
            .groups_claim(["groups"])
            .read_memberships([staff.clone()])
            .ask_for_refresh_token();
        provider
            .person(&json!({"sub": "ada", "groups": ["staff", "others"]}))
            .await;
        let (state, verifier): (_, CodeVerifier) = (Secret::random(), Secret::random().expose().parse().unwrap());
        let away = acme
            .sign_in_url(&SignIn::new(&state, &callback, &verifier))
            .await
            .unwrap();
        let back = Browser::new().follow(&away, callback.as_str()).await;
        let parameters = Parameters::parse(back.query().unwrap().as_bytes()).unwrap();
        assert!(SecretDigest::of(parameters.require("state").unwrap()).matches(&state));
        assert!(
            acme.is_own_answer(&parameters).await.unwrap(),
            "{method}: iss is there and right"
        );

        let other: CodeVerifier = Secret::random().expose().parse().unwrap();
        let without_verifier = acme.identify(&SignInReturn::new(&parameters, &callback, &other)).await;
        assert!(
            matches!(without_verifier, Err(IdentityError::Unusable(_))),
            "{method}: {without_verifier:?}"
        );
        let returned = SignInReturn::new(&parameters, &callback, &verifier);
        let person = acme
            .identify_with_tokens(&returned)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"));
        let ada = person.identity;
        assert_eq!(
            (ada.subject().as_str(), ada.login.as_deref()),
            ("acme:ada", Some("ada")),
            "{method}"
        );
        assert_eq!(ada.email.as_deref(), Some("ada@acme.example"));
        assert_eq!(ada.memberships, [staff]);
        let again = acme.identify(&returned).await;
        assert!(
            matches!(again, Err(IdentityError::Unusable(_))),
            "{method}: a code is good once: {again:?}"
        );
        let tokens = person.tokens.unwrap();
        // That second try ended what came of the code (RFC 6749 §4.1.2), which a refresh shows.
        let refused = acme.refresh_tokens(&tokens).await;
        assert!(matches!(refused, Ok(TokensRefreshed::Refused)), "{method}: {refused:?}");
        assert_eq!(
            acme.standing_with_tokens(&ada, &tokens).await.unwrap(),
            Standing::Revoked,
            "{method}"
        );
    }
}
