//! A protected resource whose tokens somebody else has issued: signed ones, and opaque ones.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{Method, StatusCode};
use mcp_oauth_core::clock::{Clock as _, ManualClock};
use mcp_oauth_core::jwt::remote::REFETCH_INTERVAL;
use mcp_oauth_tests::application::{Answer, request};
use mcp_oauth_tests::signing::{Signer, change};
use mcp_oauth_tower::{Caller, InvalidProtectedResource, ProtectedResource, TrustedIssuer};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

mod introspection;

const RESOURCE: &str = "https://mcp.example.com/mcp";
const SECOND: Duration = Duration::from_secs(1);

/// Somebody else's authorization server.
struct Issuer {
    server: MockServer,
    signer: Signer,
    path: &'static str,
}

impl Issuer {
    async fn new() -> Self {
        Self::at("").await
    }

    /// One whose issuer has a path.
    async fn at(path: &'static str) -> Self {
        let issuer = Self {
            server: MockServer::start().await,
            signer: Signer::new("2026"),
            path,
        };
        issuer.publishes(&issuer.signer.jwks()).await;
        issuer
    }

    fn name(&self) -> String {
        format!("{}{}", self.server.uri(), self.path)
    }

    fn metadata(&self) -> Value {
        let at = |endpoint: &str| format!("{}/{endpoint}", self.server.uri());
        json!({"issuer": self.name(), "jwks_uri": at("jwks"), "introspection_endpoint": at("introspect"),
            "authorization_endpoint": at("authorize")})
    }

    async fn answers(&self, at: &str, answer: ResponseTemplate) {
        Mock::given(path(at)).respond_with(answer).mount(&self.server).await;
    }

    async fn publishes(&self, jwks: &Value) {
        self.server.reset().await;
        let metadata = ResponseTemplate::new(200).set_body_json(self.metadata());
        let place = format!("/.well-known/oauth-authorization-server{}", self.path);
        self.answers(&place, metadata).await;
        self.answers("/jwks", ResponseTemplate::new(200).set_body_json(jwks))
            .await;
    }

    fn header(&self) -> Value {
        json!({"alg": "EdDSA", "typ": "at+jwt", "kid": self.signer.kid})
    }

    fn claims(&self, clock: &ManualClock) -> Value {
        let now = clock.now().as_seconds();
        json!({"iss": self.name(), "aud": RESOURCE, "sub": "248289761001", "client_id": "client", "scope": "mcp:read other",
            "iat": now, "exp": now + 3600, "jti": "1", "preferred_username": "ada", "name": "Ada"})
    }

    fn token(&self, clock: &ManualClock, header: &Value, claims: &Value) -> String {
        let (mut all_headers, mut all_claims) = (self.header(), self.claims(clock));
        change(&mut all_headers, header);
        change(&mut all_claims, claims);
        self.signer.sign(&all_headers, &all_claims)
    }

    async fn requests(&self, at: &str) -> usize {
        let requests = self.server.received_requests().await.unwrap();
        requests.iter().filter(|request| request.url.path() == at).count()
    }
}

/// A server behind the layer.
#[derive(Clone)]
struct Protected {
    clock: ManualClock,
    resource: ProtectedResource,
    router: Router,
}

impl Protected {
    fn new(issuers: Vec<TrustedIssuer>) -> Self {
        let clock = ManualClock::default();
        let builder = ProtectedResource::builder(RESOURCE)
            .require("mcp:read")
            .allow_loopback();
        let resource = issuers
            .into_iter()
            .fold(
                builder,
                mcp_oauth_tower::protected_resource::ProtectedResourceBuilder::issuer,
            )
            .clock(clock.clone())
            .build()
            .unwrap();
        let router = Router::new()
            .route("/mcp", any(describe))
            .layer(resource.layer().with_json_bodies())
            .merge(resource.router());
        Self {
            clock,
            resource,
            router,
        }
    }

    fn of(issuer: &Issuer) -> Self {
        Self::new(vec![TrustedIssuer::new(issuer.name())])
    }

    async fn send(&self, request: http::Request<Body>) -> Answer {
        Answer::from(&self.router, request).await
    }

    async fn call(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.send(request(Method::POST, "/mcp", &[("authorization", &bearer)], ""))
            .await
    }
}

async fn describe(caller: Caller) -> axum::Json<Value> {
    axum::Json(
        json!({"subject": caller.subject(), "username": caller.username(), "client_id": caller.client_id(),
        "scope": caller.scopes().to_string(), "grant": caller.grant(), "issuer": caller.issuer(),
        "expires_at": caller.expires_at().as_seconds()}),
    )
}

async fn status(protected: &Protected, issuer: &Issuer, header: &Value, claims: &Value) -> StatusCode {
    protected
        .call(&issuer.token(&protected.clock, header, claims))
        .await
        .status
}

#[tokio::test]
async fn a_token_that_the_issuer_has_signed_opens_and_says_who_calls() {
    let issuer = Issuer::new().await;
    let protected = Protected::of(&issuer);
    let token = issuer.token(&protected.clock, &json!({}), &json!({}));
    let seen = protected.call(&token).await.json();
    let expected = json!({"subject": "248289761001", "username": "ada", "client_id": "client", "scope": "mcp:read other",
        "grant": null, "issuer": issuer.name(), "expires_at": protected.clock.now().as_seconds() + 3600});
    assert_eq!(seen, expected);
}

/// Rows 170 to 173.
#[tokio::test]
async fn clients_are_sent_to_the_issuer() {
    let issuer = Issuer::new().await;
    let protected = Protected::of(&issuer);
    let answer = protected.send(request(Method::POST, "/mcp", &[], "")).await;
    let place = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
    let challenge = format!(r#"Bearer resource_metadata="{place}", scope="mcp:read""#);
    assert_eq!(
        (answer.status.as_u16(), answer.header("www-authenticate")),
        (401, challenge.as_str())
    );
    let get = request(
        Method::GET,
        "/.well-known/oauth-protected-resource/mcp",
        &[("origin", "https://a.example")],
        "",
    );
    let metadata = protected.send(get).await;
    assert_eq!(metadata.header("access-control-allow-origin"), "*");
    let metadata = metadata.json();
    assert_eq!(
        (
            &metadata["resource"],
            &metadata["authorization_servers"],
            &metadata["scopes_supported"]
        ),
        (&json!(RESOURCE), &json!([issuer.name()]), &json!(["mcp:read"]))
    );
    assert_eq!(issuer.requests("/jwks").await, 0, "and nothing is fetched for it");
}

/// Row 133, V-27, V-45 to V-50.
#[tokio::test]
async fn each_part_of_a_token_has_to_be_as_the_standard_has_it() {
    let issuer = Issuer::new().await;
    let protected = Protected::of(&issuer);
    let now = protected.clock.now().as_seconds();
    let unchanged = json!({});
    assert_eq!(status(&protected, &issuer, &unchanged, &unchanged).await, 200);
    for header in [
        json!({"typ": "JWT"}),
        json!({"typ": null}),
        json!({"typ": "id_token+jwt"}),
        json!({"typ": "oauth-id-jag+jwt"}),
        json!({"alg": "HS256"}),
        json!({"alg": "none"}),
        json!({"alg": "ES256"}),
        json!({"crit": ["exp"]}),
    ] {
        assert_eq!(status(&protected, &issuer, &header, &unchanged).await, 401, "{header}");
    }
    for claims in [
        json!({"iss": null}),
        json!({"iss": format!("{}/", issuer.name())}),
        json!({"iss": "https://evil.example"}),
        json!({"iss": [issuer.name()]}),
        json!({"aud": null}),
        json!({"aud": "https://mcp.example.com"}),
        json!({"aud": format!("{RESOURCE}/")}),
        json!({"aud": []}),
        json!({"aud": {"a": RESOURCE}}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 1}),
        json!({"client_id": null}),
        json!({"client_id": "two words"}),
        json!({"client_id": null, "azp": "client"}),
        json!({"scope": null}),
        json!({"scope": ["mcp:read"]}),
        json!({"scope": null, "scp": "mcp:read"}),
        json!({"exp": null}),
        json!({"exp": (now + 60).to_string()}),
        json!({"exp": now}),
        json!({"exp": [now + 60]}),
        json!({"nbf": now + 31}),
        json!({"nbf": "0"}),
        json!({"nonce": "n"}),
    ] {
        assert_eq!(status(&protected, &issuer, &unchanged, &claims).await, 401, "{claims}");
    }
    for claims in [
        json!({"aud": ["https://other.example", RESOURCE]}),
        json!({"exp": now + 1}),
        json!({"nbf": now + 30}),
        json!({"iat": null, "jti": null}),
    ] {
        assert_eq!(status(&protected, &issuer, &unchanged, &claims).await, 200, "{claims}");
    }
    assert_eq!(
        status(&protected, &issuer, &unchanged, &json!({"scope": "other"})).await,
        403
    );
    let (good, stranger) = (
        issuer.token(&protected.clock, &unchanged, &unchanged),
        Signer::new("2026"),
    );
    let forged = stranger.sign(&issuer.header(), &issuer.claims(&protected.clock));
    assert_eq!(protected.call(&forged).await.status, 401);
    assert_eq!(protected.call(&good[..good.len() - 4]).await.status, 401);
}

/// What Keycloak, Auth0 and Entra ID need is taken where it is asked for, and nothing beyond.
#[tokio::test]
async fn older_forms_of_tokens_are_taken_where_the_operator_says_so() {
    let issuer = Issuer::new().await;
    let trusted = TrustedIssuer::new(issuer.name());
    let keycloak = Protected::new(vec![trusted.clone().plain_type().client_claim("azp")]);
    let plain = json!({"typ": "JWT"});
    let claims = json!({"client_id": null, "azp": "client"});
    assert_eq!(status(&keycloak, &issuer, &plain, &claims).await, 200);
    assert_eq!(status(&keycloak, &issuer, &json!({"typ": null}), &claims).await, 200);
    assert_eq!(
        status(&keycloak, &issuer, &json!({"typ": "oauth-id-jag+jwt"}), &claims).await,
        401
    );
    assert_eq!(
        status(&keycloak, &issuer, &plain, &json!({})).await,
        401,
        "azp is asked for"
    );
    for of_an_id_token in ["nonce", "at_hash", "c_hash"] {
        let claims = json!({"client_id": null, "azp": "client", of_an_id_token: "x"});
        assert_eq!(
            status(&keycloak, &issuer, &plain, &claims).await,
            401,
            "{of_an_id_token}"
        );
    }
    let entra = Protected::new(vec![trusted.scope_claim("scp").audience("api://notes")]);
    for scopes in [json!("mcp:read"), json!(["other", "mcp:read"])] {
        let claims = json!({"scope": null, "scp": scopes, "aud": "api://notes"});
        assert_eq!(status(&entra, &issuer, &json!({}), &claims).await, 200, "{scopes}");
    }
    for claims in [
        json!({"aud": "api://notes"}),
        json!({"scp": "mcp:read"}),
        json!({"scp": [1], "aud": "api://notes"}),
    ] {
        assert_eq!(status(&entra, &issuer, &json!({}), &claims).await, 401, "{claims}");
    }
}

/// Row 71, from the other side.
#[tokio::test]
async fn an_issuer_with_a_path_is_found_in_every_spelling() {
    for place in [
        "/.well-known/oauth-authorization-server/realms/acme",
        "/.well-known/openid-configuration/realms/acme",
        "/realms/acme/.well-known/openid-configuration",
    ] {
        let issuer = Issuer::at("/realms/acme").await;
        issuer.server.reset().await;
        issuer
            .answers(place, ResponseTemplate::new(200).set_body_json(issuer.metadata()))
            .await;
        issuer
            .answers("/jwks", ResponseTemplate::new(200).set_body_json(issuer.signer.jwks()))
            .await;
        let protected = Protected::of(&issuer);
        assert_eq!(
            status(&protected, &issuer, &json!({}), &json!({})).await,
            200,
            "{place}"
        );
    }
}

/// An issuer is what it is called, to the letter; whoever is called otherwise says nothing about it. And what cannot be
/// verified is not the client's fault.
#[tokio::test]
async fn metadata_of_another_issuer_is_not_used() {
    let issuer = Issuer::new().await;
    for named in [format!("{}/", issuer.name()), "https://evil.example".to_owned()] {
        issuer.server.reset().await;
        let mut metadata = issuer.metadata();
        metadata["issuer"] = json!(named);
        let answer = ResponseTemplate::new(200).set_body_json(metadata);
        issuer.answers("/.well-known/oauth-authorization-server", answer).await;
        issuer
            .answers("/jwks", ResponseTemplate::new(200).set_body_json(issuer.signer.jwks()))
            .await;
        let protected = Protected::of(&issuer);
        let token = issuer.token(&protected.clock, &json!({}), &json!({}));
        let answer = protected.call(&token).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (503, "1"),
            "{named}"
        );
        assert_eq!(issuer.requests("/jwks").await, 0);
    }
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_a_503_and_never_a_401() {
    let issuer = Issuer::new().await;
    let protected = Protected::of(&issuer);
    let token = issuer.token(&protected.clock, &json!({}), &json!({}));
    for answer in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(404),
        ResponseTemplate::new(200).set_body_raw("<html>", "text/html"),
        ResponseTemplate::new(200).set_body_json(json!({"keys": []})),
    ] {
        issuer.server.reset().await;
        let metadata = ResponseTemplate::new(200).set_body_json(issuer.metadata());
        issuer
            .answers("/.well-known/oauth-authorization-server", metadata)
            .await;
        issuer.answers("/jwks", answer).await;
        for _ in 0..2 {
            let answer = protected.call(&token).await;
            assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
            assert_eq!(answer.header("www-authenticate"), "");
        }
        assert_eq!(issuer.requests("/jwks").await, 1, "it is not tried each time");
        protected.clock.advance(REFETCH_INTERVAL);
    }
    issuer.publishes(&issuer.signer.jwks()).await;
    assert_eq!(protected.call(&token).await.status, 200);
}

/// V-52.
#[tokio::test]
async fn a_key_that_is_new_is_fetched_once_and_one_that_is_withdrawn_drops_what_it_has_signed() {
    let issuer = Issuer::new().await;
    let protected = Protected::of(&issuer);
    let old = issuer.token(&protected.clock, &json!({}), &json!({}));
    assert_eq!(protected.call(&old).await.status, 200);
    let next = Signer::new("2027");
    issuer.publishes(&next.jwks()).await;
    let mut header = issuer.header();
    header["kid"] = json!("2027");
    let new = next.sign(&header, &issuer.claims(&protected.clock));
    assert_eq!(protected.call(&new).await.status, 401, "it was fetched a moment ago");
    assert_eq!(protected.call(&old).await.status, 200);
    assert_eq!(
        issuer.requests("/jwks").await,
        0,
        "nobody makes this server fetch at will"
    );
    protected.clock.advance(REFETCH_INTERVAL);
    assert_eq!(protected.call(&new).await.status, 200);
    assert_eq!(protected.call(&old).await.status, 401, "its key is gone");
    assert_eq!(issuer.requests("/jwks").await, 1);
}

#[tokio::test]
async fn a_new_key_that_cannot_be_fetched_is_a_503_and_known_ones_go_on() {
    let issuer = Issuer::new().await;
    let protected = Protected::of(&issuer);
    let known = issuer.token(&protected.clock, &json!({}), &json!({}));
    assert_eq!(protected.call(&known).await.status, 200);
    issuer.server.reset().await;
    protected.clock.advance(REFETCH_INTERVAL);
    issuer.answers("/jwks", ResponseTemplate::new(503)).await;
    let unknown = issuer.token(&protected.clock, &json!({"kid": "2027"}), &json!({}));
    for _ in 0..2 {
        assert_eq!(protected.call(&unknown).await.status, 503);
        assert_eq!(protected.call(&known).await.status, 200);
    }
    assert_eq!(issuer.requests("/jwks").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tokens_at_once_have_the_keys_fetched_once_and_each_is_its_own() {
    let issuer = Issuer::new().await;
    issuer.server.reset().await;
    let metadata = ResponseTemplate::new(200).set_body_json(issuer.metadata());
    issuer
        .answers("/.well-known/oauth-authorization-server", metadata)
        .await;
    let slow = ResponseTemplate::new(200)
        .set_body_json(issuer.signer.jwks())
        .set_delay(Duration::from_millis(50));
    issuer.answers("/jwks", slow).await;
    let protected = Protected::of(&issuer);
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let claims = json!({"sub": format!("person {number}")});
            let token = issuer.token(&protected.clock, &json!({}), &claims);
            let protected = protected.clone();
            // V-80: nobody gets somebody else's answer.
            tokio::spawn(async move {
                for _ in 0..3 {
                    let seen = protected.call(&token).await.json();
                    assert_eq!(seen["subject"], format!("person {number}"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(issuer.requests("/jwks").await, 1);
    assert_eq!(issuer.requests("/.well-known/oauth-authorization-server").await, 1);
}

/// V-51, V-64.
#[tokio::test]
async fn keys_of_one_issuer_verify_nothing_of_anothers_and_strangers_are_not_asked() {
    let (one, other, stranger) = (Issuer::new().await, Issuer::new().await, Issuer::new().await);
    let protected = Protected::new(vec![one.name().into(), other.name().into()]);
    for issuer in [&one, &other] {
        assert_eq!(status(&protected, issuer, &json!({}), &json!({})).await, 200);
        assert_eq!(status(&protected, issuer, &json!({}), &json!({})).await, 200);
    }
    let disguised = one.token(&protected.clock, &json!({}), &json!({"iss": other.name()}));
    assert_eq!(
        protected.call(&disguised).await.status,
        401,
        "the same kid, another issuer's key"
    );
    let header = json!({"jku": format!("{}/jwks", stranger.name())});
    assert_eq!(status(&protected, &stranger, &header, &json!({})).await, 401);
    assert_eq!(stranger.server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_remembered_token_is_good_until_it_expires_and_not_a_second_longer() {
    let issuer = Issuer::new().await;
    let protected = Protected::of(&issuer);
    let expires = json!({"exp": protected.clock.now().as_seconds() + 90});
    let token = issuer.token(&protected.clock, &json!({}), &expires);
    for _ in 0..3 {
        assert_eq!(protected.call(&token).await.status, 200);
    }
    protected.clock.advance(SECOND * 89);
    assert_eq!(protected.call(&token).await.status, 200);
    protected.clock.advance(SECOND);
    assert_eq!(protected.call(&token).await.status, 401);
}

#[tokio::test]
async fn what_is_on_this_machine_is_trusted_on_purpose_alone() {
    let build = |issuer: &str| ProtectedResource::builder(RESOURCE).issuer(issuer).build();
    for loopback in ["http://127.0.0.1:8080", "http://localhost", "https://[::1]/a"] {
        let error = build(loopback).unwrap_err();
        assert!(error.to_string().contains("allow_loopback"), "{error}");
    }
    for wrong in [
        "http://login.example.com",
        "login.example.com",
        "https://a.example/?b",
        "https://a.example/#b",
        "https://u@a.example",
        "",
    ] {
        assert!(
            matches!(build(wrong), Err(InvalidProtectedResource::Issuer(_))),
            "{wrong}"
        );
    }
    assert!(build("https://login.example.com/").is_ok());
    assert!(
        ProtectedResource::builder(RESOURCE).build().is_err(),
        "somebody has to be trusted"
    );
    let twice = ProtectedResource::builder(RESOURCE)
        .issuer("https://a.example")
        .issuer("https://a.example");
    assert!(twice.build().is_err());
}
