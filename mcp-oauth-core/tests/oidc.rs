//! Sign-ins with a provider that these tests play themselves, over real HTTP, down to its signatures.

#![cfg(feature = "oidc")]
#![allow(clippy::unwrap_used, reason = "in a test, the helpers are tests too")]

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mcp_oauth_core::clock::{Clock as _, ManualClock};
use mcp_oauth_core::identity::membership::Membership;
use mcp_oauth_core::identity::oidc::OpenIdConnect;
use mcp_oauth_core::identity::tokens::{TokensRefreshed, UpstreamTokens};
use mcp_oauth_core::identity::{Identity, IdentityError, IdentityProvider, SignIn, SignInReturn, Standing};
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::token::keys::{Algorithm, SigningKey};
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{body_string_contains, header, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const CLIENT: &str = "mcp gateway";
const SECRET: &str = "s3cr%t";

/// A provider, with a key.
struct Provider {
    server: MockServer,
    key: EcdsaKeyPair,
    clock: ManualClock,
    verifier: CodeVerifier,
}

impl Provider {
    async fn start() -> Self {
        let provider = Self {
            server: MockServer::start().await,
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            clock: ManualClock::default(),
            verifier: "v".repeat(43).parse().unwrap(),
        };
        provider.publishes(&json!({})).await;
        provider
    }

    /// Publishes its metadata, with these members changed, and its keys.
    async fn publishes(&self, changed: &Value) {
        let issuer = self.server.uri();
        let mut document = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize?tenant=a"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": format!("{issuer}/me"),
            "jwks_uri": format!("{issuer}/jwks"),
        });
        for (name, value) in changed.as_object().unwrap() {
            document[name] = value.clone();
        }
        let point = self.key.public_key().as_ref();
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({
            "kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256",
            "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
        });
        self.answers(
            "/.well-known/openid-configuration",
            ResponseTemplate::new(200).set_body_json(document),
        )
        .await;
        self.answers(
            "/jwks",
            ResponseTemplate::new(200).set_body_json(json!({"keys": [key]})),
        )
        .await;
    }

    async fn answers(&self, at: &str, answer: ResponseTemplate) {
        let mock = Mock::given(path(at)).respond_with(answer);
        mock.with_priority(5).mount(&self.server).await;
    }

    fn client(&self) -> OpenIdConnect {
        OpenIdConnect::new("acme", self.server.uri(), CLIENT)
            .unwrap()
            .client_secret(SECRET)
            .clock(self.clock.clone())
    }

    fn callback() -> Url {
        "https://auth.example.com/callback".parse().unwrap()
    }

    async fn sign_in_url(&self, client: &OpenIdConnect) -> Result<Url, IdentityError> {
        let state = Secret::from("the state");
        client
            .sign_in_url(&SignIn::new(&state, &Self::callback(), &self.verifier))
            .await
    }

    async fn nonce(&self, client: &OpenIdConnect) -> String {
        let url = self.sign_in_url(client).await.unwrap();
        parameter(&url, "nonce").unwrap()
    }

    async fn claims(&self, client: &OpenIdConnect) -> Value {
        let now = self.clock.now().as_seconds();
        json!({
            "iss": self.server.uri(), "aud": CLIENT, "sub": "U1", "iat": now, "exp": now + 600,
            "nonce": self.nonce(client).await, "name": "Ada", "preferred_username": "ada", "email": "ada@acme.example",
            "email_verified": true,
        })
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    async fn gives(&self, id_token: &str) {
        let tokens =
            json!({"access_token": "upstream-token", "token_type": "Bearer", "expires_in": 600, "id_token": id_token});
        self.answers("/token", ResponseTemplate::new(200).set_body_json(tokens))
            .await;
    }

    async fn gives_claims(&self, claims: &Value) {
        let header = json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
        self.gives(&self.signed(&header, claims)).await;
    }

    async fn identify(&self, client: &OpenIdConnect) -> Result<Identity, IdentityError> {
        let parameters = Parameters::parse(b"code=the-code&state=x").unwrap();
        client
            .identify(&SignInReturn::new(&parameters, &Self::callback(), &self.verifier))
            .await
    }

    async fn asked(&self, at: &str) -> Vec<Request> {
        let requests = self.server.received_requests().await.unwrap();
        requests
            .into_iter()
            .filter(|request| request.url.path() == at)
            .collect()
    }
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut values = url.query_pairs().filter(|(known, _)| known == name);
    let value = values.next().map(|(_, value)| value.into_owned());
    assert!(values.next().is_none(), "{name} is there twice");
    value
}

fn form(request: &Request) -> Vec<(String, String)> {
    form_urlencoded::parse(&request.body)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

fn field(form: &[(String, String)], name: &str) -> Option<String> {
    form.iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.clone())
}

fn is_unusable(result: Result<Identity, IdentityError>, what: &str) -> String {
    match result {
        Err(IdentityError::Unusable(reason)) => reason,
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn the_sign_in_is_the_code_flow_with_pkce_and_a_nonce_of_its_own() {
    let provider = Provider::start().await;
    let client = provider
        .client()
        .scopes(["groups", "openid"])
        .authorization_parameter("prompt", "select_account");
    let url = provider.sign_in_url(&client).await.unwrap();
    assert_eq!(url.path(), "/authorize");
    let challenge = CodeChallenge::of(&provider.verifier).to_string();
    for (name, expected) in [
        ("tenant", "a"),
        ("client_id", CLIENT),
        ("response_type", "code"),
        ("redirect_uri", "https://auth.example.com/callback"),
        ("scope", "openid profile email groups"),
        ("state", "the state"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("prompt", "select_account"),
    ] {
        assert_eq!(parameter(&url, name).as_deref(), Some(expected), "{name}");
    }
    let nonce = parameter(&url, "nonce").unwrap();
    assert!(nonce.len() >= 43 && nonce != provider.verifier.expose());
    let mut other = Provider::start().await;
    other.verifier = "w".repeat(43).parse().unwrap();
    assert_ne!(other.nonce(&other.client()).await, nonce);
}

#[tokio::test]
async fn a_person_is_who_the_id_token_says() {
    let provider = Provider::start().await;
    let client = provider.client();
    provider.gives_claims(&provider.claims(&client).await).await;
    let expected = Identity::new("acme", "U1")
        .with_login("ada")
        .with_name("Ada")
        .with_verified_email("ada@acme.example");
    assert_eq!(provider.identify(&client).await.unwrap(), expected);
    assert!(provider.asked("/me").await.is_empty(), "nothing was missing");
    let asked = form(&provider.asked("/token").await[0]);
    assert_eq!(field(&asked, "grant_type").as_deref(), Some("authorization_code"));
    assert_eq!(field(&asked, "code").as_deref(), Some("the-code"));
    assert_eq!(
        field(&asked, "redirect_uri").as_deref(),
        Some("https://auth.example.com/callback")
    );
    assert_eq!(
        field(&asked, "code_verifier").as_deref(),
        Some(provider.verifier.expose())
    );
}

/// V-47, V-49.
#[tokio::test]
async fn an_id_token_that_is_wrong_in_anything_lets_nobody_in() {
    let provider = Provider::start().await;
    let client = provider.client();
    let now = provider.clock.now().as_seconds();
    let es256 = json!({"alg": "ES256", "kid": "k1"});
    let claims = provider.claims(&client).await;
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let stranger = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let good = provider.signed(&es256, &claims);
    let unsigned = |alg: &str| {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", encode(&json!({"alg": alg})), encode(&claims))
    };
    let forged = {
        let (text, _) = good.rsplit_once('.').unwrap();
        let signature = stranger.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    };
    for (what, id_token) in [
        (
            "iss",
            provider.signed(&es256, &with("iss", json!("https://other.example"))),
        ),
        ("aud", provider.signed(&es256, &with("aud", json!("other")))),
        (
            "several aud",
            provider.signed(&es256, &with("aud", json!([CLIENT, "other"]))),
        ),
        ("azp", provider.signed(&es256, &with("azp", json!("other")))),
        ("expired", provider.signed(&es256, &with("exp", json!(now - 31)))),
        (
            "from the future",
            provider.signed(&es256, &with("iat", json!(now + 31))),
        ),
        (
            "nonce",
            provider.signed(&es256, &with("nonce", json!("of another sign-in"))),
        ),
        ("no nonce", provider.signed(&es256, &with("nonce", Value::Null))),
        ("at_hash", provider.signed(&es256, &with("at_hash", json!("AAAA")))),
        (
            "unknown kid",
            provider.signed(&json!({"alg": "ES256", "kid": "k2"}), &claims),
        ),
        (
            "typ",
            provider.signed(&json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt"}), &claims),
        ),
        (
            "crit",
            provider.signed(&json!({"alg": "ES256", "kid": "k1", "crit": ["x"]}), &claims),
        ),
        ("alg", provider.signed(&json!({"alg": "RS256", "kid": "k1"}), &claims)),
        ("HS256", provider.signed(&json!({"alg": "HS256", "kid": "k1"}), &claims)),
        ("none", unsigned("none")),
        ("nOnE", unsigned("nOnE")),
        ("empty signature", unsigned("ES256")),
        ("a stranger's key", forged),
        ("no JWT", "not.a.jwt".to_owned()),
        ("empty", String::new()),
    ] {
        provider.server.reset().await;
        provider.publishes(&json!({})).await;
        provider.gives(&id_token).await;
        is_unusable(provider.identify(&client).await, what);
        assert!(
            provider.asked("/me").await.is_empty(),
            "{what}: the token is not used for anything"
        );
    }
    provider.server.reset().await;
    provider.publishes(&json!({})).await;
    provider.gives(&good).await;
    assert!(provider.identify(&client).await.is_ok());
}

#[tokio::test]
async fn a_provider_is_discovered_once_for_a_while_and_only_under_its_own_issuer() {
    let provider = Provider::start().await;
    let client = provider.client();
    for _ in 0..3 {
        provider.sign_in_url(&client).await.unwrap();
    }
    let discovered = || async { provider.asked("/.well-known/openid-configuration").await.len() };
    assert_eq!(discovered().await, 1);
    provider.clock.advance(Duration::from_secs(60 * 60));
    provider.sign_in_url(&client).await.unwrap();
    assert_eq!(discovered().await, 2);

    for (what, changed) in [
        ("issuer", json!({"issuer": "https://other.example"})),
        ("slash", json!({"issuer": format!("{}/", provider.server.uri())})),
        ("endpoint", json!({"token_endpoint": "http://169.254.169.254/token"})),
        ("script", json!({"authorization_endpoint": "javascript:alert(1)"})),
        ("no code", json!({"response_types_supported": ["id_token"]})),
    ] {
        provider.server.reset().await;
        provider.publishes(&changed).await;
        let refused = provider.sign_in_url(&provider.client()).await;
        assert!(
            matches!(refused, Err(IdentityError::Unusable(_))),
            "{what}: {refused:?}"
        );
    }
}

/// V-62, V-63.
#[tokio::test]
async fn metadata_cannot_send_this_server_to_other_machines_of_the_network_or_along_a_redirect() {
    let provider = Provider::start().await;
    let client = provider.client();
    provider.server.reset().await;
    provider
        .publishes(&json!({"token_endpoint": "https://10.0.0.1/token", "jwks_uri": "https://192.168.0.1/jwks"}))
        .await;
    let reason = is_unusable(provider.identify(&client).await, "private address");
    assert!(reason.contains("not public"), "{reason}");

    for status in [301, 302, 307] {
        provider.server.reset().await;
        let client = provider.client();
        provider.publishes(&json!({})).await;
        let elsewhere = format!("{}/elsewhere", provider.server.uri());
        provider
            .answers(
                "/token",
                ResponseTemplate::new(status).insert_header("location", elsewhere.as_str()),
            )
            .await;
        is_unusable(provider.identify(&client).await, "redirect");
        assert!(provider.asked("/elsewhere").await.is_empty());
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_unavailable_and_what_is_known_of_it_serves_meanwhile() {
    let provider = Provider::start().await;
    let fresh = provider.client();
    let known = provider.client();
    provider.sign_in_url(&known).await.unwrap();
    provider.server.reset().await;
    provider
        .answers("/.well-known/openid-configuration", ResponseTemplate::new(503))
        .await;
    let unknown = provider.sign_in_url(&fresh).await;
    assert!(matches!(unknown, Err(IdentityError::Unavailable { .. })), "{unknown:?}");
    provider.clock.advance(Duration::from_secs(2 * 60 * 60));
    assert!(provider.sign_in_url(&known).await.is_ok());
    provider.clock.advance(Duration::from_secs(24 * 60 * 60));
    assert!(provider.sign_in_url(&known).await.is_err(), "not for ever");
}

#[tokio::test]
async fn a_rate_limit_is_passed_on_and_kept_to() {
    let provider = Provider::start().await;
    let client = provider.client();
    provider
        .answers("/token", ResponseTemplate::new(429).insert_header("retry-after", "42"))
        .await;
    for expected in [42, 32] {
        match provider.identify(&client).await {
            Err(IdentityError::Unavailable {
                retry_after: Some(wait),
                ..
            }) => assert_eq!(wait.as_secs(), expected),
            other => panic!("{other:?}"),
        }
        provider.clock.advance(Duration::from_secs(10));
    }
    assert_eq!(
        provider.asked("/token").await.len(),
        1,
        "nobody asks while they are to wait"
    );
}

#[tokio::test]
async fn each_way_to_prove_itself_is_the_standards_own() {
    let provider = Provider::start().await;
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let plain = OpenIdConnect::new("acme", provider.server.uri(), CLIENT).unwrap();
    let client = |client: OpenIdConnect| client.clock(provider.clock.clone());
    let post_alone = json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]});
    for (what, client, metadata) in [
        ("basic", client(plain.clone().client_secret(SECRET)), json!({})),
        ("post", client(plain.clone().client_secret(SECRET)), post_alone),
        (
            "post by choice",
            client(plain.clone().client_secret_in_form(SECRET)),
            json!({}),
        ),
        ("none", client(plain.clone()), json!({})),
        ("key", client(plain.clone().private_key(key.clone())), json!({})),
    ] {
        provider.server.reset().await;
        provider.publishes(&metadata).await;
        if what == "post" {
            // Clones share what they know of the provider; time makes it old.
            provider.clock.advance(Duration::from_secs(60 * 60));
        }
        provider.gives_claims(&provider.claims(&client).await).await;
        provider
            .identify(&client)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let request = &provider.asked("/token").await[0];
        let form = form(request);
        let basic = request
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        let encoded = format!("Basic {}", STANDARD.encode("mcp+gateway:s3cr%25t"));
        let secret = field(&form, "client_secret");
        match what {
            "basic" => assert_eq!((basic, secret), (Some(encoded), None)),
            "post" | "post by choice" => assert_eq!((basic, secret.as_deref()), (None, Some(SECRET)), "{what}"),
            "none" => assert_eq!(
                (basic, secret, field(&form, "client_id").as_deref()),
                (None, None, Some(CLIENT))
            ),
            _ => {
                assert_eq!((basic, secret), (None, None));
                let assertion = field(&form, "client_assertion").unwrap();
                let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
                let claims: Value = serde_json::from_slice(&claims).unwrap();
                assert_eq!((&claims["iss"], &claims["sub"]), (&json!(CLIENT), &json!(CLIENT)));
                assert_eq!(claims["aud"], json!(format!("{}/token", provider.server.uri())));
                assert!(claims["exp"].as_u64().unwrap() - provider.clock.now().as_seconds() <= 60);
                assert_eq!(
                    field(&form, "client_assertion_type").as_deref(),
                    Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                );
            }
        }
    }
}

#[tokio::test]
async fn what_the_id_token_leaves_out_is_asked_of_the_userinfo_endpoint_about_the_same_person() {
    let provider = Provider::start().await;
    let staff = Membership::group("staff").unwrap();
    let client = || {
        let client = provider.client().groups_claim(["realm_access", "roles"]);
        client.read_memberships([staff.clone()])
    };
    let mut claims = provider.claims(&client()).await;
    claims["name"] = Value::Null;
    provider.gives_claims(&claims).await;
    Mock::given(path("/me"))
        .and(header("authorization", "Bearer upstream-token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "sub": "U1", "name": "Other", "preferred_username": "mallory", "realm_access": {"roles": ["staff"]},
        })))
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&provider.server)
        .await;
    let ada = provider.identify(&client()).await.unwrap();
    assert!(ada.belongs_to(&staff));
    assert_eq!(ada.login.as_deref(), Some("ada"), "what was signed stands");

    for (what, answer) in [
        (
            "somebody else",
            ResponseTemplate::new(200).set_body_json(json!({"sub": "U2", "realm_access": {"roles": ["staff"]}})),
        ),
        (
            "nobody",
            ResponseTemplate::new(200).set_body_json(json!({"realm_access": {"roles": ["staff"]}})),
        ),
        ("HTML", ResponseTemplate::new(200).set_body_string("<html>")),
        ("token refused", ResponseTemplate::new(401)),
        ("forbidden", ResponseTemplate::new(403)),
    ] {
        provider.server.reset().await;
        provider.publishes(&json!({})).await;
        provider.gives_claims(&claims).await;
        provider.answers("/me", answer).await;
        is_unusable(provider.identify(&client()).await, what);
    }
    provider.server.reset().await;
    provider.publishes(&json!({})).await;
    provider.gives_claims(&claims).await;
    provider.answers("/me", ResponseTemplate::new(503)).await;
    let away = provider.identify(&client()).await;
    assert!(
        matches!(away, Err(IdentityError::Unavailable { .. })),
        "groups decide, so they are waited for: {away:?}"
    );
}

#[tokio::test]
async fn each_refusal_of_the_token_endpoint_says_what_to_do_and_shows_nothing_of_the_answer() {
    let provider = Provider::start().await;
    for (status, body, expected) in [
        (
            400,
            json!({"error": "invalid_grant", "error_description": "leak"}),
            "sign in again",
        ),
        (
            401,
            json!({"error": "invalid_client", "error_description": "leak"}),
            "client ID",
        ),
        (
            400,
            json!({"error": "invalid_request", "error_description": "leak"}),
            "callback URL",
        ),
        (
            400,
            json!({"error": "something_new", "error_description": "leak"}),
            "sign in again",
        ),
        (200, json!({"access_token": "leak", "token_type": "DPoP"}), "bearer"),
        (
            200,
            json!({"access_token": "leak", "token_type": "Bearer"}),
            "no ID token",
        ),
        (200, json!({"token_type": "Bearer", "leak": 1}), "no token"),
        (200, json!("leak"), "no token"),
    ] {
        provider.server.reset().await;
        provider.publishes(&json!({})).await;
        provider
            .answers("/token", ResponseTemplate::new(status).set_body_json(&body))
            .await;
        let reason = is_unusable(provider.identify(&provider.client()).await, expected);
        assert!(
            reason.contains(expected) && !reason.contains("leak"),
            "{body}: {reason}"
        );
    }
}

/// V-39: RFC 9207.
#[tokio::test]
async fn an_answer_has_to_be_of_the_provider_that_it_says() {
    let provider = Provider::start().await;
    let is_own = async |client: &OpenIdConnect, query: &str| {
        let parameters = Parameters::parse(query.as_bytes()).unwrap();
        client.is_own_answer(&parameters).await.unwrap()
    };
    let right = format!("code=x&iss={}", provider.server.uri());
    let plain = provider.client();
    assert!(is_own(&plain, "code=x").await && is_own(&plain, &right).await);
    assert!(!is_own(&plain, "code=x&iss=https://other.example").await);
    assert!(!is_own(&plain, "error=access_denied&iss=https://other.example").await);
    assert!(!is_own(&plain, &format!("{right}&iss=https://other.example")).await);

    provider.server.reset().await;
    provider
        .publishes(&json!({"authorization_response_iss_parameter_supported": true}))
        .await;
    let strict = provider.client();
    assert!(is_own(&strict, &right).await && !is_own(&strict, "code=x").await);
}

fn tokens() -> UpstreamTokens {
    UpstreamTokens::new("upstream-token").with_refresh_token("refresh-1")
}

#[tokio::test]
async fn tokens_are_exchanged_and_a_refusal_is_one() {
    let provider = Provider::start().await;
    let client = provider.client();
    Mock::given(method("POST"))
        .and(path("/token"))
        .and(body_string_contains("refresh_token=refresh-1"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({"access_token": "new", "token_type": "bearer", "expires_in": 60})),
        )
        .up_to_n_times(1)
        .mount(&provider.server)
        .await;
    match client.refresh_tokens(&tokens()).await.unwrap() {
        TokensRefreshed::Tokens(new, None) => {
            assert_eq!(new.access_token.expose(), "new");
            assert_eq!(new.expires_at, Some(provider.clock.now() + Duration::from_secs(60)));
            assert_eq!(new.refresh_token.unwrap().expose(), "refresh-1", "it stays good");
        }
        other => panic!("{other:?}"),
    }
    provider
        .answers(
            "/token",
            ResponseTemplate::new(400).set_body_json(json!({"error": "invalid_grant"})),
        )
        .await;
    assert!(matches!(
        client.refresh_tokens(&tokens()).await,
        Ok(TokensRefreshed::Refused)
    ));
    let none = UpstreamTokens::new("upstream-token");
    assert!(matches!(
        client.refresh_tokens(&none).await,
        Ok(TokensRefreshed::Impossible)
    ));
}

#[tokio::test]
async fn whoever_left_the_group_or_took_back_the_permission_is_known_by_their_own_token() {
    let provider = Provider::start().await;
    let staff = Membership::group("staff").unwrap();
    let client = provider
        .client()
        .groups_claim(["groups"])
        .read_memberships([staff.clone()]);
    let ada = Identity::new("acme", "U1").with_login("ada").with_memberships([staff]);
    for (answer, expected) in [
        (json!({"sub": "U1", "groups": ["staff"]}), Standing::Confirmed),
        (
            json!({"sub": "U1", "groups": ["other"]}),
            Standing::Changed(Identity::new("acme", "U1").with_login("ada")),
        ),
        (
            json!({"sub": "U1"}),
            Standing::Changed(Identity::new("acme", "U1").with_login("ada")),
        ),
    ] {
        provider.server.reset().await;
        provider.publishes(&json!({})).await;
        provider
            .answers("/me", ResponseTemplate::new(200).set_body_json(&answer))
            .await;
        assert_eq!(
            client.standing_with_tokens(&ada, &tokens()).await.unwrap(),
            expected,
            "{answer}"
        );
    }
    for (status, expected) in [(401, Some(Standing::Revoked)), (403, None), (500, None), (404, None)] {
        provider.server.reset().await;
        provider.publishes(&json!({})).await;
        provider.answers("/me", ResponseTemplate::new(status)).await;
        assert_eq!(
            client.standing_with_tokens(&ada, &tokens()).await.ok(),
            expected,
            "{status}"
        );
    }
    provider.server.reset().await;
    provider.publishes(&json!({})).await;
    provider
        .answers(
            "/me",
            ResponseTemplate::new(200).set_body_json(json!({"sub": "U2", "groups": ["staff"]})),
        )
        .await;
    assert!(client.standing_with_tokens(&ada, &tokens()).await.is_err());
    let thin = client.groups_in_id_token_alone();
    provider.server.reset().await;
    provider.publishes(&json!({})).await;
    provider
        .answers("/me", ResponseTemplate::new(200).set_body_json(json!({"sub": "U1"})))
        .await;
    assert_eq!(
        thin.standing_with_tokens(&ada, &tokens()).await.unwrap(),
        Standing::Unchanged
    );
}
