//! Clients that prove themselves with keys (`private_key_jwt`), at every endpoint for clients.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mcp_oauth_core::client::assertion::JWT_BEARER;
use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::store::Kind;
use mcp_oauth_store::memory::{Bounds, MemoryStore};
use mcp_oauth_tests::application::{Application, ISSUER, NOTES, request};
use mcp_oauth_tests::client::{Client, REDIRECT_URI, Tokens, public_metadata};
use mcp_oauth_tests::failing_store::{FailingStore, Loss};
use mcp_oauth_tests::signing::{Signer, now, post, post_with_basic};
use mcp_oauth_tower::Fetcher;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A registered client with keys.
struct KeyClient {
    signer: Signer,
    client: Client,
}

impl KeyClient {
    async fn new(application: &Application) -> Self {
        let signer = Signer::new("a");
        let jwks = signer.jwks();
        let client = Client::register(application, &metadata(&json!({ "jwks": jwks }))).await;
        assert_eq!(client.client_secret, None);
        Self { signer, client }
    }

    fn assertion(&self, application: &Application) -> String {
        self.assertion_with(application, &json!({}))
    }

    fn assertion_with(&self, application: &Application, changes: &Value) -> String {
        self.signer.assertion(application, &self.client.client_id, changes)
    }

    /// The fields that redeem a code.
    fn redemption<'a>(&'a self, code: &'a str) -> [(&'a str, &'a str); 4] {
        [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", &self.client.verifier),
        ]
    }
}

fn metadata(keys: &Value) -> Value {
    let mut metadata = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "private_key_jwt"});
    mcp_oauth_tests::signing::change(&mut metadata, keys);
    metadata
}

#[tokio::test]
async fn a_client_with_keys_goes_the_whole_way() {
    let application = Application::default();
    let client = KeyClient::new(&application).await;
    let code = client.client.code(&application, "ada").await;
    let assertion = || client.assertion(&application);
    let redeemed = post(&application, "/token", &assertion(), &client.redemption(&code)).await;
    let tokens = Tokens::of(&redeemed);
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &tokens.refresh_token),
    ];
    let refreshed = Tokens::of(&post(&application, "/token", &assertion(), &refresh).await);
    let token = [("token", refreshed.access_token.as_str())];
    let looked_at = post(&application, "/introspect", &assertion(), &token).await;
    assert_eq!(looked_at.json()["active"], true);
    assert_eq!(looked_at.json()["client_id"], client.client.client_id.as_str());
    assert_eq!(post(&application, "/revoke", &assertion(), &token).await.status, 200);
    let looked_at = post(&application, "/introspect", &assertion(), &token).await;
    assert_eq!(looked_at.json()["active"], false);
}

#[tokio::test]
async fn an_assertion_is_good_for_one_request_on_all_nodes() {
    let clock = ManualClock::default();
    let store = FailingStore::new(MemoryStore::default().with_clock(clock.clone()));
    let first = Application::with(store.clone(), clock.clone(), |builder| builder);
    let second = Application::with(store, clock.clone(), |builder| builder);
    let client = KeyClient::new(&first).await;
    let assertion = client.assertion(&first);
    let token = [("token", "x")];
    assert_eq!(post(&first, "/introspect", &assertion, &token).await.status, 200);
    for application in [&second, &first] {
        let again = post(application, "/introspect", &assertion, &token).await;
        assert_eq!((again.status.as_u16(), again.error().as_str()), (401, "invalid_client"));
        assert!(again.body.contains("jti"), "{again:?}");
    }
    clock.advance(Duration::from_secs(89));
    assert_eq!(
        post(&second, "/introspect", &assertion, &token).await.status,
        401,
        "it is remembered for as long as it could be taken"
    );
    clock.advance(Duration::from_secs(1));
    let late = post(&second, "/introspect", &assertion, &token).await;
    assert!(late.status == 401 && late.body.contains("expired"), "{late:?}");
    assert_eq!(first.store.inner().count_of(Kind::Assertion), 0, "and no longer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_32_requests_with_one_assertion_one_succeeds() {
    let application = Application::default();
    let client = KeyClient::new(&application).await;
    let assertion: Arc<str> = client.assertion(&application).into();
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (application, assertion) = (application.clone(), Arc::clone(&assertion));
            tokio::spawn(async move {
                post(&application, "/introspect", &assertion, &[("token", "x")])
                    .await
                    .status
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1], statuses[31]), (200, 401, 401));
}

#[tokio::test]
async fn an_assertion_that_is_not_good_is_refused_and_uses_nothing_up() {
    let application = Application::default();
    let client = KeyClient::new(&application).await;
    let code = client.client.code(&application, "ada").await;
    let now = now(&application);
    for changes in [
        json!({"iss": null}),
        json!({"sub": null}),
        json!({"aud": null}),
        json!({"exp": null}),
        json!({"jti": null}),
        json!({"iss": "somebody"}),
        json!({"sub": "somebody"}),
        json!({"aud": format!("{ISSUER}/token")}),
        json!({"aud": [ISSUER, "https://other.example"]}),
        json!({"exp": now.to_string()}),
        json!({"exp": now - 30}),
        json!({"exp": now + 3700}),
        json!({"nbf": now + 60}),
        json!({"iat": now + 60}),
        json!({"jti": ""}),
    ] {
        let fields = [
            client.redemption(&code).as_slice(),
            &[("client_id", &client.client.client_id)],
        ]
        .concat();
        let assertion = client.assertion_with(&application, &changes);
        let refused = post(&application, "/token", &assertion, &fields).await;
        assert_eq!(
            (refused.status.as_u16(), refused.error().as_str()),
            (401, "invalid_client"),
            "{changes}"
        );
    }
    assert_eq!(application.store.inner().count_of(Kind::Assertion), 0);
    let assertion = client.assertion(&application);
    let redeemed = post(&application, "/token", &assertion, &client.redemption(&code)).await;
    assert_eq!(redeemed.status, 200, "the code is still good");
}

#[tokio::test]
async fn an_assertion_that_was_signed_by_somebody_else_is_like_an_unknown_client() {
    let application = Application::default();
    let client = KeyClient::new(&application).await;
    let token = [("token", "x")];
    let stranger = Signer::new("a");
    let forged = stranger.assertion(&application, &client.client.client_id, &json!({}));
    let forged = post(&application, "/introspect", &forged, &token).await;
    let unknown = stranger.assertion(&application, "nobody", &json!({}));
    let unknown = post(&application, "/introspect", &unknown, &token).await;
    let other_name = Signer::new("b").assertion(&application, &client.client.client_id, &json!({}));
    let other_name = post(&application, "/introspect", &other_name, &token).await;
    assert_eq!(forged.status, 401);
    assert_eq!((&forged.body, &forged.body), (&unknown.body, &other_name.body));
}

#[tokio::test]
async fn the_client_of_the_form_is_the_one_that_signed() {
    let application = Application::default();
    let (client, other) = (KeyClient::new(&application).await, KeyClient::new(&application).await);
    let with_id = |client_id: String| {
        let assertion = client.assertion(&application);
        let application = application.clone();
        async move {
            let fields = [("token", "x"), ("client_id", client_id.as_str())];
            post(&application, "/introspect", &assertion, &fields).await.status
        }
    };
    assert_eq!(with_id(client.client.client_id.clone()).await, 200);
    assert_eq!(with_id(other.client.client_id.clone()).await, 401);
    assert_eq!(with_id("nobody".to_owned()).await, 401);
}

/// Every client shows what it has registered, and that alone.
#[tokio::test]
async fn no_method_stands_in_for_another() {
    let application = Application::default();
    let with_keys = KeyClient::new(&application).await;
    let with_secret = Client::confidential(&application).await;
    let public = Client::public(&application).await;
    let token = ("token", "x");
    let id = with_keys.client.client_id.as_str();
    for path in ["/token", "/revoke", "/introspect"] {
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", "x"), token];
        let nothing = [&refresh[..], &[("client_id", id)]].concat();
        assert_eq!(application.post_form(path, &nothing).await.status, 401, "{path}");
        let secret = [&nothing[..], &[("client_secret", "x")]].concat();
        assert_eq!(application.post_form(path, &secret).await.status, 401, "{path}");
        let basic = post_with_basic(&application, path, id, "x", &refresh).await;
        assert_eq!(basic.status, 401, "{path}");
        for client_id in [&with_secret.client_id, &public.client_id] {
            let assertion = with_keys.signer.assertion(&application, client_id, &json!({}));
            let refused = post(&application, path, &assertion, &refresh).await;
            assert_eq!(refused.status, 401, "{path}");
        }
        let assertion = with_keys.assertion(&application);
        let both = [&refresh[..], &[("client_secret", "x")]].concat();
        let refused = post(&application, path, &assertion, &both).await;
        assert_eq!(
            (refused.status.as_u16(), refused.error().as_str()),
            (400, "invalid_request")
        );
        let both = [
            &refresh[..],
            &[("client_assertion_type", JWT_BEARER), ("client_assertion", &assertion)],
        ]
        .concat();
        let refused = post_with_basic(&application, path, id, "x", &both).await;
        assert_eq!(
            (refused.status.as_u16(), refused.error().as_str()),
            (400, "invalid_request")
        );
    }
    assert_eq!(application.store.inner().count_of(Kind::Assertion), 0);
}

#[tokio::test]
async fn other_jwts_are_no_assertions() {
    let application = Application::default();
    let client = KeyClient::new(&application).await;
    let now = now(&application);
    let id = &client.client.client_id;
    let claims = json!({"iss": id, "sub": id, "aud": ISSUER, "exp": now + 60, "jti": "1"});
    for typ in ["at+jwt", "oauth-id-jag+jwt", "logout+jwt"] {
        let other = client
            .signer
            .sign(&json!({"alg": "EdDSA", "kid": "a", "typ": typ}), &claims);
        let refused = post(&application, "/introspect", &other, &[("token", "x")]).await;
        assert_eq!(refused.status, 401, "{typ}");
    }
    let own = Client::public(&application).await.sign_in(&application, "ada").await;
    let refused = post(&application, "/introspect", &own.access_token, &[("token", "x")]).await;
    assert_eq!(refused.status, 401, "an access token of this server");
    let assertion = client.assertion(&application);
    assert_eq!(
        application.call(NOTES, &assertion).await.status,
        401,
        "and an assertion is no access token"
    );
}

#[tokio::test]
async fn a_store_that_is_gone_or_full_proves_nobody() {
    let application = Application::default();
    let client = KeyClient::new(&application).await;
    // The client is read, then the use of the assertion is noted.
    for (number, loss) in [(0, Loss::Request), (1, Loss::Request), (1, Loss::Answer)] {
        let assertion = client.assertion(&application);
        application.store.fail_once(number, loss);
        let answer = post(&application, "/introspect", &assertion, &[("token", "x")]).await;
        assert_eq!(answer.status, 503, "{number} {loss:?}");
        assert_eq!(answer.header("retry-after"), "1");
    }

    let clock = ManualClock::default();
    let mut bounds = Bounds::default();
    bounds.assertions = 1;
    let store = MemoryStore::with_bounds(bounds).with_clock(clock.clone());
    let application = Application::with(FailingStore::new(store), clock, |builder| builder);
    let client = KeyClient::new(&application).await;
    for status in [200, 503, 503] {
        let assertion = client.assertion(&application);
        let answer = post(&application, "/introspect", &assertion, &[("token", "x")]).await;
        assert_eq!(answer.status, status);
    }
}

/// What a client that brings itself can fill is bounded by what is counted before it is remembered.
#[tokio::test]
async fn a_client_has_a_quota_of_assertions_and_so_has_its_network_and_everybody() {
    type Set = fn(&mut Limits);
    let of_a_client: Set = |limits| limits.assertions_of_a_client = Quota::per_minute(2);
    let of_a_network: Set = |limits| limits.assertions_of_a_network = Quota::per_minute(2);
    let of_everybody: Set = |limits| limits.assertions = Quota::per_minute(2);
    // Who is refused next to the client itself: another client behind the same address, and one elsewhere.
    for (set, neighbour, elsewhere) in [
        (of_a_client, 200, 200),
        (of_a_network, 429, 200),
        (of_everybody, 429, 429),
    ] {
        let mut limits = Limits::unlimited();
        set(&mut limits);
        let configured = Signer::new("a");
        let server = PreregisteredClient::with_keys("server", configured.jwks()).introspects(NOTES);
        let application = Application::new(|builder| builder.limits(limits).client(server));
        let (client, other) = (KeyClient::new(&application).await, KeyClient::new(&application).await);
        let ask = async |assertion: &str, address: &str| {
            let form = format!("client_assertion_type={JWT_BEARER}&client_assertion={assertion}&token=x");
            let headers = [("content-type", "application/x-www-form-urlencoded")];
            let request = request(http::Method::POST, "/introspect", &headers, &form);
            application.send_from(address, request).await
        };
        for _ in 0..2 {
            let assertion = client.assertion(&application);
            assert_eq!(ask(&assertion, "192.0.2.1").await.status, 200);
        }
        let refused = client.assertion(&application);
        let answer = ask(&refused, "192.0.2.1").await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.error()),
            (429, "temporarily_unavailable")
        );
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert_eq!(application.store.inner().count_of(Kind::Assertion), 2);
        let assertion = other.assertion(&application);
        assert_eq!(ask(&assertion, "192.0.2.1").await.status, neighbour);
        let assertion = other.assertion(&application);
        assert_eq!(ask(&assertion, "192.0.2.2").await.status, elsewhere);
        let assertion = configured.assertion(&application, "server", &json!({}));
        assert_eq!(
            ask(&assertion, "192.0.2.1").await.status,
            200,
            "what the operator has configured is not counted"
        );
        application.clock.advance(Duration::from_secs(wait));
        assert_eq!(ask(&refused, "192.0.2.1").await.status, 200, "it was not used up");
    }
}

#[tokio::test]
async fn an_assertion_that_somebody_else_signed_uses_up_nobodys_quota_of_assertions() {
    let mut limits = Limits::unlimited();
    limits.assertions_of_a_client = Quota::per_minute(1);
    let application = Application::new(|builder| builder.limits(limits));
    let client = KeyClient::new(&application).await;
    for _ in 0..5 {
        let forged = Signer::new("a").assertion(&application, &client.client.client_id, &json!({}));
        assert_eq!(
            post(&application, "/introspect", &forged, &[("token", "x")])
                .await
                .status,
            401
        );
    }
    let assertion = client.assertion(&application);
    assert_eq!(
        post(&application, "/introspect", &assertion, &[("token", "x")])
            .await
            .status,
        200
    );
}

/// Whoever registers a client can have it sign without end.
#[tokio::test]
async fn clients_that_bring_themselves_leave_room_for_the_assertions_of_those_that_are_configured() {
    let clock = ManualClock::default();
    let mut bounds = Bounds::default();
    bounds.assertions = 1;
    let store = FailingStore::new(MemoryStore::with_bounds(bounds).with_clock(clock.clone()));
    let signer = Signer::new("a");
    let configured = PreregisteredClient::with_keys("server", signer.jwks()).introspects(NOTES);
    let application = Application::with(store, clock, |builder| builder.client(configured));
    let stranger = KeyClient::new(&application).await;
    let ask = async |assertion: String| {
        post(&application, "/introspect", &assertion, &[("token", "x")])
            .await
            .status
    };
    assert_eq!(ask(stranger.assertion(&application)).await, 200);
    assert_eq!(ask(stranger.assertion(&application)).await, 503);
    for _ in 0..3 {
        assert_eq!(ask(signer.assertion(&application, "server", &json!({}))).await, 200);
    }
}

#[tokio::test]
async fn guessing_is_counted_by_network_by_client_and_by_both() {
    let mut limits = Limits::default();
    limits.failed_authentications_of_a_network = Quota::per_minute(3);
    limits.failed_authentications_of_a_client = Quota::per_minute(4);
    let application = Application::new(|builder| builder.limits(limits));
    let client = Client::confidential(&application).await;
    let secret = client.client_secret.clone().unwrap();
    let show = |secret: String, address: &str| {
        let (application, client_id) = (application.clone(), client.client_id.clone());
        let origin = Origin::address(address.parse::<IpAddr>().unwrap());
        async move {
            let form: Parameters = [
                ("client_id", client_id),
                ("client_secret", secret),
                ("token", "x".into()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect();
            match application.server.introspect(&form, None, &origin).await {
                Ok(_) => 200,
                Err(refused) => refused.error().status(),
            }
        }
    };
    for _ in 0..3 {
        assert_eq!(show("wrong".into(), "192.0.2.1").await, 401);
    }
    assert_eq!(show("wrong".into(), "192.0.2.1").await, 429);
    assert_eq!(
        show(secret.clone(), "192.0.2.1").await,
        429,
        "this network has guessed at this very client, and has to wait whatever it shows"
    );
    assert_eq!(show("wrong".into(), "192.0.2.2").await, 401);
    assert_eq!(
        show("wrong".into(), "192.0.2.3").await,
        429,
        "enough was guessed for this client"
    );
    assert_eq!(
        show(secret.clone(), "192.0.2.4").await,
        200,
        "nobody locks a client out by guessing"
    );
    application.clock.advance(Duration::from_secs(60));
    assert_eq!(show(secret, "192.0.2.1").await, 200);
}

// === Registration ===

#[tokio::test]
async fn keys_are_registered_in_one_of_two_ways_and_private_ones_are_not() {
    let application = Application::default();
    let signer = Signer::new("a");
    let registered = application
        .post_json("/register", &metadata(&json!({"jwks": signer.jwks()})))
        .await;
    assert_eq!(registered.status, 201);
    assert_eq!(registered.json()["jwks"], signer.jwks());
    assert!(registered.json().get("client_secret").is_none());
    let mut private = signer.jwks();
    private["keys"][0]["d"] = json!("hunter2");
    for keys in [
        json!({}),
        json!({"jwks": signer.jwks(), "jwks_uri": "https://a.example/jwks"}),
        json!({ "jwks": private }),
        json!({"jwks": {"keys": []}}),
        json!({"jwks": signer.jwks(), "token_endpoint_auth_signing_alg": "HS256"}),
        json!({"jwks_uri": "https://a.example/jwks"}),
    ] {
        let refused = application.post_json("/register", &metadata(&keys)).await;
        assert_eq!(refused.error(), "invalid_client_metadata", "{keys}");
        assert!(!refused.body.contains("hunter2"));
    }
}

#[tokio::test]
async fn a_registration_that_is_replaced_changes_how_the_client_proves_itself() {
    let application = Application::default();
    let registered = application.post_json("/register", &public_metadata()).await.json();
    let (id, token) = (
        registered["client_id"].as_str().unwrap(),
        registered["registration_access_token"].as_str().unwrap(),
    );
    let signer = Signer::new("a");
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let replace = |metadata: Value| {
        let request = mcp_oauth_tests::application::request(
            http::Method::PUT,
            &format!("/register/{id}"),
            &headers,
            &metadata.to_string(),
        );
        application.send(request)
    };
    let mut with_keys = metadata(&json!({"jwks": signer.jwks()}));
    with_keys["client_id"] = json!(id);
    let replaced = replace(with_keys).await;
    assert_eq!(
        (replaced.status.as_u16(), &replaced.json()["jwks"]),
        (200, &signer.jwks())
    );
    let look = |assertion: String| {
        let application = application.clone();
        async move {
            post(&application, "/introspect", &assertion, &[("token", "x")])
                .await
                .status
        }
    };
    assert_eq!(look(signer.assertion(&application, id, &json!({}))).await, 200);
    let mut public = public_metadata();
    public["client_id"] = json!(id);
    let replaced = replace(public).await.json();
    assert!(replaced.get("jwks").is_none());
    assert_eq!(look(signer.assertion(&application, id, &json!({}))).await, 401);
}

// === Keys at an address ===

/// A client whose keys are published on a host of the test's own.
struct Published {
    host: MockServer,
    application: Application,
    client: Client,
}

impl Published {
    async fn new() -> Self {
        let host = MockServer::start().await;
        let fetcher = Fetcher::default().allow_loopback().timeout(Duration::from_millis(500));
        let application = Application::new(|builder| builder.remote_keys(fetcher));
        let keys = json!({"jwks_uri": format!("{}/jwks", host.uri())});
        let client = Client::register(&application, &metadata(&keys)).await;
        Self {
            host,
            application,
            client,
        }
    }

    async fn answers(&self, answer: ResponseTemplate) {
        self.host.reset().await;
        Mock::given(path("/jwks")).respond_with(answer).mount(&self.host).await;
    }

    async fn publishes(&self, signers: &[&Signer]) {
        let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
        self.answers(ResponseTemplate::new(200).set_body_json(json!({ "keys": keys })))
            .await;
    }

    async fn show(&self, signer: &Signer) -> u16 {
        let assertion = signer.assertion(&self.application, &self.client.client_id, &json!({}));
        let answer = post(&self.application, "/introspect", &assertion, &[("token", "x")]).await;
        answer.status.as_u16()
    }

    async fn fetches(&self) -> usize {
        self.host.received_requests().await.unwrap().len()
    }
}

#[tokio::test]
async fn keys_are_fetched_when_something_is_to_be_verified_and_kept() {
    let published = Published::new().await;
    let signer = Signer::new("a");
    published.publishes(&[&signer]).await;
    assert_eq!(published.fetches().await, 0, "registration fetches nothing");
    for _ in 0..3 {
        assert_eq!(published.show(&signer).await, 200);
    }
    assert_eq!(published.fetches().await, 1);
}

/// V-52: a key that is taken away is not good any more, and nobody makes the server fetch at will.
#[tokio::test]
async fn keys_can_be_rotated_at_their_address() {
    let published = Published::new().await;
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    published.publishes(&[&old]).await;
    assert_eq!(published.show(&old).await, 200);
    published.publishes(&[&old, &new]).await;
    for _ in 0..5 {
        assert_eq!(published.show(&new).await, 401);
    }
    assert_eq!(published.fetches().await, 0);
    published.application.clock.advance(Duration::from_secs(10));
    assert_eq!((published.show(&new).await, published.show(&old).await), (200, 200));
    published.publishes(&[&new]).await;
    published.application.clock.advance(Duration::from_secs(300));
    assert_eq!((published.show(&new).await, published.show(&old).await), (200, 401));
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_the_servers_trouble_and_bad_ones_the_clients() {
    let published = Published::new().await;
    let signer = Signer::new("a");
    published.answers(ResponseTemplate::new(503)).await;
    assert_eq!(published.show(&signer).await, 503);
    assert_eq!(published.show(&signer).await, 503);
    assert_eq!(published.fetches().await, 1);
    let mut private = signer.jwks();
    private["keys"][0]["d"] = json!("AA");
    for answer in [
        ResponseTemplate::new(404),
        ResponseTemplate::new(200).set_body_json(private),
        ResponseTemplate::new(302).insert_header("location", "/elsewhere"),
    ] {
        published.application.clock.advance(Duration::from_secs(10));
        published.answers(answer).await;
        assert_eq!(published.show(&signer).await, 401);
    }
    published.application.clock.advance(Duration::from_secs(10));
    published.publishes(&[&signer]).await;
    assert_eq!(published.show(&signer).await, 200, "nothing of that was kept");
}

/// V-64: the address is the client's, and never the token's.
#[tokio::test]
async fn nothing_is_fetched_for_strangers_or_from_where_a_token_says() {
    let published = Published::new().await;
    let signer = Signer::new("a");
    published.publishes(&[&signer]).await;
    let application = &published.application;
    let elsewhere = MockServer::start().await;
    let now = now(application);
    for client_id in ["nobody", &Client::public(application).await.client_id] {
        let claims = json!({"iss": client_id, "sub": client_id, "aud": ISSUER, "exp": now + 60, "jti": "1"});
        let header =
            json!({"alg": "EdDSA", "kid": "a", "jku": elsewhere.uri(), "x5u": elsewhere.uri(), "jwk": signer.jwk()});
        let assertion = signer.sign(&header, &claims);
        let refused = post(application, "/introspect", &assertion, &[("token", "x")]).await;
        assert_eq!(refused.status, 401);
    }
    assert_eq!(published.fetches().await, 0);
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn keys_in_the_machines_own_network_are_not_fetched() {
    let host = MockServer::start().await;
    let application = Application::new(|builder| builder.remote_keys(Fetcher::default()));
    let signer = Signer::new("a");
    for address in [
        host.uri(),
        "https://169.254.169.254/jwks".to_owned(),
        "https://[::1]/jwks".to_owned(),
    ] {
        let client = Client::register(&application, &metadata(&json!({ "jwks_uri": address }))).await;
        let assertion = signer.assertion(&application, &client.client_id, &json!({}));
        let refused = post(&application, "/introspect", &assertion, &[("token", "x")]).await;
        assert_eq!(refused.status, 401, "{address}");
    }
    assert_eq!(host.received_requests().await.unwrap().len(), 0);
}
