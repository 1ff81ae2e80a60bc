//! People whom an enterprise's identity provider vouches for (MCP extension *enterprise-managed authorization*).

use std::sync::Arc;
use std::time::Duration;

use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::client::registration::GrantType;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::identity::enterprise::EnterpriseIssuer;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::store::Kind;
use mcp_oauth_store::memory::MemoryStore;
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, SCOPE};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::failing_store::{FailingStore, Loss};
use mcp_oauth_tests::signing::{Signer, change, now, post, post_with_basic};
use mcp_oauth_tower::{AllowList, Fetcher, Resource};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

const SECRET: &str = "a secret that somebody made up, 0123456789";
const IDP: &str = "https://acme.idp.example/";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// An enterprise with a provider, and a client that its people use.
struct Enterprise {
    provider: Signer,
    application: Application,
}

impl Enterprise {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder) -> Self {
        let provider = Signer::new("idp");
        let acme = EnterpriseIssuer::with_keys("acme", IDP, provider.jwks());
        let application = Application::new(|builder| configure(builder.enterprise(acme).client(assistant())));
        Self { provider, application }
    }

    /// The provider's word for a person, with some claims changed; `null` leaves one out.
    fn word(&self, changes: &Value) -> String {
        let now = now(&self.application);
        let mut claims = json!({"iss": IDP, "sub": "U019488227", "aud": ISSUER, "client_id": "assistant",
            "resource": NOTES, "scope": SCOPE, "iat": now, "exp": now + 300, "jti": Secret::random().expose()});
        change(&mut claims, changes);
        self.provider.sign(&header(), &claims)
    }

    async fn bring(&self, assertion: &str, fields: &[(&str, &str)]) -> Answer {
        bring(&self.application, assertion, fields).await
    }
}

fn assistant() -> PreregisteredClient {
    PreregisteredClient::with_secret("assistant", Secret::from(SECRET)).grant_type(GrantType::JwtBearer)
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "idp", "typ": "oauth-id-jag+jwt"})
}

async fn bring(application: &Application, assertion: &str, fields: &[(&str, &str)]) -> Answer {
    let form = [&[("grant_type", JWT_BEARER), ("assertion", assertion)], fields].concat();
    post_with_basic(application, "/token", "assistant", SECRET, &form).await
}

fn access_token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.error())
}

#[tokio::test]
async fn a_person_whom_the_provider_vouches_for_is_let_in_without_a_page() {
    let enterprise = Enterprise::new();
    let answer = enterprise.bring(&enterprise.word(&json!({"name": "Ada"})), &[]).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json()["scope"], SCOPE);
    assert!(answer.json().get("refresh_token").is_none());
    let token = access_token(&answer);
    let called = enterprise.application.call(NOTES, &token).await.json();
    assert_eq!(
        (&called["subject"], &called["client_id"], &called["name"]),
        (&json!("acme:U019488227"), &json!("assistant"), &json!("Ada"))
    );
    assert_eq!(
        enterprise.application.call(FILES, &token).await.status,
        401,
        "it is for the resource of the assertion"
    );
    let fields = [("token", token.as_str())];
    let revoked = post_with_basic(&enterprise.application, "/revoke", "assistant", SECRET, &fields).await;
    assert_eq!(revoked.status, 200);
    assert_eq!(enterprise.application.call(NOTES, &token).await.status, 401);
}

#[tokio::test]
async fn each_claim_is_required_and_right() {
    let enterprise = Enterprise::new();
    let now = now(&enterprise.application);
    for changes in [
        json!({"iss": null}),
        json!({"iss": "https://acme.idp.example"}),
        json!({"iss": "https://other.idp.example/"}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "a\nb"}),
        json!({"sub": "x".repeat(256)}),
        json!({"sub": 7}),
        json!({"aud": null}),
        json!({"aud": format!("{ISSUER}/")}),
        json!({"aud": format!("{ISSUER}/token")}),
        json!({"aud": NOTES}),
        json!({"aud": [ISSUER, "https://other.example"]}),
        json!({"client_id": null}),
        json!({"client_id": "somebody"}),
        json!({"resource": null}),
        json!({"resource": "https://other.example/mcp"}),
        json!({"resource": [NOTES, "https://other.example/mcp"]}),
        json!({"resource": []}),
        json!({"exp": null}),
        json!({"exp": (now + 300).to_string()}),
        json!({"exp": now - 30}),
        json!({"exp": now + 3700}),
        json!({"iat": null}),
        json!({"iat": now + 31}),
        json!({"nbf": now + 31}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"scope": "other:scope"}),
        json!({"scope": ""}),
        json!({"scope": [SCOPE]}),
    ] {
        let answer = enterprise.bring(&enterprise.word(&changes), &[]).await;
        assert_eq!(refusal(&answer), (400, "invalid_grant".to_owned()), "{changes}");
    }
    assert_eq!(
        enterprise.application.store.inner().len(),
        0,
        "nothing was kept of these"
    );
}

#[tokio::test]
async fn only_the_provider_speaks_and_only_in_assertions_of_this_kind() {
    let enterprise = Enterprise::new();
    let now = now(&enterprise.application);
    let claims = json!({"iss": IDP, "sub": "U1", "aud": ISSUER, "client_id": "assistant", "resource": NOTES,
        "iat": now, "exp": now + 300, "jti": "1"});
    let invalid = (400, "invalid_grant".to_owned());
    for typ in [
        json!("JWT"),
        json!("at+jwt"),
        json!("client-authentication+jwt"),
        json!(""),
    ] {
        let mut header = header();
        header["typ"] = typ.clone();
        let other = enterprise.provider.sign(&header, &claims);
        assert_eq!(refusal(&enterprise.bring(&other, &[]).await), invalid, "{typ}");
    }
    let untyped = enterprise
        .provider
        .sign(&json!({"alg": "EdDSA", "kid": "idp"}), &claims);
    assert_eq!(refusal(&enterprise.bring(&untyped, &[]).await), invalid);
    let forged = Signer::new("idp").sign(&header(), &claims);
    assert_eq!(refusal(&enterprise.bring(&forged, &[]).await), invalid);
    let mut none = header();
    none["alg"] = json!("none");
    let unsigned = enterprise.provider.sign(&none, &claims);
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    for text in [unsigned.as_str(), "x", "a.b.c", &".".repeat(10_000)] {
        assert_eq!(refusal(&enterprise.bring(text, &[]).await), invalid);
    }
    assert_eq!(
        refusal(&enterprise.bring("", &[]).await),
        (400, "invalid_request".to_owned())
    );
    let good = enterprise.provider.sign(&header(), &claims);
    assert_eq!(
        enterprise.application.call(NOTES, &good).await.status,
        401,
        "and such an assertion is no access token"
    );
    assert_eq!(enterprise.bring(&good, &[]).await.status, 200);
}

#[tokio::test]
async fn an_assertion_counts_once_on_all_nodes() {
    let clock = ManualClock::default();
    let store = FailingStore::new(MemoryStore::default().with_clock(clock.clone()));
    let provider = Signer::new("idp");
    let node = || {
        let acme = EnterpriseIssuer::with_keys("acme", IDP, provider.jwks());
        Application::with(store.clone(), clock.clone(), |builder| {
            builder.enterprise(acme).client(assistant())
        })
    };
    let (first, second) = (node(), node());
    let enterprise = Enterprise {
        application: first.clone(),
        provider,
    };
    let word = enterprise.word(&json!({"jti": "once"}));
    access_token(&bring(&first, &word, &[]).await);
    for application in [&second, &first] {
        let again = bring(application, &word, &[]).await;
        assert_eq!(refusal(&again), (400, "invalid_grant".to_owned()));
        assert!(again.body.contains("jti"));
    }
    let same = enterprise.word(&json!({"jti": "once", "sub": "U2"}));
    assert_eq!(bring(&second, &same, &[]).await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_32_requests_with_one_assertion_one_succeeds() {
    let enterprise = Arc::new(Enterprise::new());
    let word: Arc<str> = enterprise.word(&json!({})).into();
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (enterprise, word) = (Arc::clone(&enterprise), Arc::clone(&word));
            tokio::spawn(async move { enterprise.bring(&word, &[]).await.status == 200 })
        })
        .collect();
    let mut successes = 0;
    for task in tasks {
        successes += u32::from(task.await.unwrap());
    }
    assert_eq!(successes, 1);
    assert_eq!(enterprise.application.store.inner().count_of(Kind::Grant), 1);
}

#[tokio::test]
async fn only_the_client_that_it_was_given_to_may_bring_it() {
    let other = PreregisteredClient::with_secret("other", Secret::from(SECRET)).grant_type(GrantType::JwtBearer);
    let unable = PreregisteredClient::with_secret("unable", Secret::from(SECRET)).introspects(NOTES);
    let enterprise = Enterprise::with(|builder| builder.client(other).client(unable));
    let application = &enterprise.application;
    let form = |assertion: String| vec![("grant_type", JWT_BEARER.to_owned()), ("assertion", assertion)];
    let send = |client_id: &'static str, secret: &'static str, assertion: String| {
        let form = form(assertion);
        let application = application.clone();
        async move {
            let fields: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            refusal(&post_with_basic(&application, "/token", client_id, secret, &fields).await)
        }
    };
    let word = || enterprise.word(&json!({}));
    assert_eq!(send("other", SECRET, word()).await, (400, "invalid_grant".to_owned()));
    assert_eq!(
        send("assistant", "wrong", word()).await,
        (401, "invalid_client".to_owned())
    );
    let named = enterprise.word(&json!({"client_id": "unable"}));
    assert_eq!(
        send("unable", SECRET, named).await,
        (400, "unauthorized_client".to_owned())
    );
    let public = Client::public(application).await;
    let named = enterprise.word(&json!({"client_id": public.client_id}));
    let answer = public
        .token(application, &[("grant_type", JWT_BEARER), ("assertion", &named)])
        .await;
    assert_eq!(refusal(&answer), (400, "unauthorized_client".to_owned()));
}

/// A client that the provider names, and that proves itself, need not have registered the grant type.
#[tokio::test]
async fn a_client_that_registered_itself_may_bring_one() {
    let enterprise = Enterprise::new();
    let signer = Signer::new("a");
    let metadata = json!({"redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": signer.jwks()});
    let client = Client::register(&enterprise.application, &metadata).await;
    let word = enterprise.word(&json!({"client_id": client.client_id}));
    let assertion = signer.assertion(&enterprise.application, &client.client_id, &json!({}));
    let fields = [("grant_type", JWT_BEARER), ("assertion", word.as_str())];
    let answer = post(&enterprise.application, "/token", &assertion, &fields).await;
    let called = enterprise.application.call(NOTES, &access_token(&answer)).await.json();
    assert_eq!(called["client_id"], client.client_id.as_str());
}

#[tokio::test]
async fn a_client_that_registered_itself_and_brings_assertions_is_not_forgotten() {
    let enterprise = Enterprise::new();
    let signer = Signer::new("a");
    let metadata = json!({"redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": signer.jwks()});
    let client = Client::register(&enterprise.application, &metadata).await;
    for _ in 0..3 {
        let word = enterprise.word(&json!({"client_id": client.client_id}));
        let assertion = signer.assertion(&enterprise.application, &client.client_id, &json!({}));
        let fields = [("grant_type", JWT_BEARER), ("assertion", word.as_str())];
        let answer = post(&enterprise.application, "/token", &assertion, &fields).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        enterprise.application.clock.advance(Duration::from_secs(23 * 60 * 60));
    }
}

/// Nobody has been sent to the authorization endpoint by it, so nothing is known of it yet.
#[tokio::test]
async fn a_client_with_a_document_may_bring_one_and_its_document_is_read_once_the_provider_has_named_it() {
    let host = MockServer::start().await;
    let fetcher = Fetcher::default().allow_loopback().timeout(Duration::from_millis(500));
    let enterprise = Enterprise::with(|builder| builder.client_id_metadata_documents(fetcher));
    let (signer, client_id) = (Signer::new("a"), format!("{}/client.json", host.uri()));
    let document = json!({"client_id": client_id, "client_name": "A published client",
        "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks()});
    Mock::given(path("/client.json"))
        .respond_with(ResponseTemplate::new(200).set_body_json(document))
        .mount(&host)
        .await;
    let bring = async |word: &str| {
        let assertion = signer.assertion(&enterprise.application, &client_id, &json!({}));
        let fields = [("grant_type", JWT_BEARER), ("assertion", word)];
        post(&enterprise.application, "/token", &assertion, &fields).await
    };
    let of_another = enterprise.word(&json!({}));
    let of_nobody = Signer::new("idp").sign(&header(), &json!({"iss": IDP, "client_id": client_id}));
    for word in [of_another.as_str(), of_nobody.as_str(), "x"] {
        assert_eq!(refusal(&bring(word).await), (401, "invalid_client".to_owned()));
    }
    assert_eq!(
        host.received_requests().await.unwrap().len(),
        0,
        "strangers have nothing fetched"
    );
    let answer = bring(&enterprise.word(&json!({"client_id": client_id}))).await;
    let called = enterprise.application.call(NOTES, &access_token(&answer)).await.json();
    assert_eq!(called["client_id"], client_id.as_str());
}

#[tokio::test]
async fn resource_and_scope_are_what_assertion_request_and_server_agree_on() {
    const WIDE: &str = "http://127.0.0.1:8080/wide/mcp";
    let enterprise = Enterprise::with(|builder| {
        let wide = Resource::new(WIDE).unwrap().scope("wide:read", "read").unwrap();
        builder.resource(wide.scope("wide:write", "write").unwrap())
    });
    let scope = |claims: Value, fields: Vec<(&'static str, &'static str)>| {
        let word = enterprise.word(&claims);
        let enterprise = &enterprise;
        async move {
            let answer = enterprise.bring(&word, &fields).await;
            match answer.status.as_u16() {
                200 => answer.json()["scope"].as_str().unwrap_or_default().to_owned(),
                _ => answer.error(),
            }
        }
    };
    let both = json!({"resource": WIDE, "scope": "wide:read wide:write"});
    assert_eq!(scope(both.clone(), vec![]).await, "wide:read wide:write");
    assert_eq!(
        scope(both.clone(), vec![("scope", "wide:write unknown")]).await,
        "wide:write"
    );
    assert_eq!(scope(both.clone(), vec![("scope", "unknown")]).await, "invalid_scope");
    let narrow = json!({"resource": WIDE, "scope": "wide:read unknown"});
    assert_eq!(
        scope(narrow.clone(), vec![("scope", "wide:read wide:write")]).await,
        "wide:read"
    );
    assert_eq!(scope(narrow, vec![("scope", "wide:write")]).await, "invalid_scope");
    let silent = json!({"resource": WIDE, "scope": null});
    assert_eq!(scope(silent.clone(), vec![]).await, "wide:read wide:write");
    assert_eq!(scope(silent, vec![("scope", "wide:read")]).await, "wide:read");
    let two = json!({"resource": [WIDE, NOTES], "scope": format!("wide:read {SCOPE}")});
    assert_eq!(scope(two.clone(), vec![("resource", NOTES)]).await, SCOPE);
    assert_eq!(scope(two.clone(), vec![("resource", FILES)]).await, "invalid_target");
    assert_eq!(
        scope(two, vec![("resource", "https://other.example/")]).await,
        "invalid_target"
    );
    let spelled = json!({"resource": NOTES.replace("http://", "HTTP://")});
    assert_eq!(
        scope(spelled, vec![]).await,
        SCOPE,
        "a spelling that counts as the same"
    );
}

/// People are known by provider and `sub`; an address or a name of theirs lets nobody in.
#[tokio::test]
async fn the_allow_list_is_asked_about_the_subject() {
    let claims =
        json!({"email": "ada@acme.example", "email_verified": true, "name": "ada", "preferred_username": "ada"});
    for (list, allowed) in [
        ("acme:U019488227", true),
        ("*", true),
        ("", false),
        ("ada, U019488227, github:U019488227", false),
        ("email=ada@acme.example", false),
        ("domain=acme.example", false),
    ] {
        let enterprise = Enterprise::with(|builder| builder.allow(AllowList::parse(list).unwrap()));
        let answer = enterprise.bring(&enterprise.word(&claims), &[]).await;
        assert_eq!(answer.status == 200, allowed, "{list}: {answer:?}");
        if !allowed {
            assert_eq!(refusal(&answer), (400, "invalid_grant".to_owned()));
            assert_eq!(enterprise.application.store.inner().len(), 0);
        }
    }
}

#[tokio::test]
async fn it_is_advertised_when_a_provider_is_configured_and_done_then_only() {
    let path = "/.well-known/oauth-authorization-server";
    let on = Enterprise::new().application.get(path).await.json();
    assert_eq!(
        on["authorization_grant_profiles_supported"],
        json!(["urn:ietf:params:oauth:grant-profile:id-jag"])
    );
    assert!(
        on["grant_types_supported"]
            .as_array()
            .unwrap()
            .contains(&json!(JWT_BEARER))
    );
    let application = Application::default();
    let off = application.get(path).await.json();
    assert!(off.get("authorization_grant_profiles_supported").is_none());
    assert!(
        !off["grant_types_supported"]
            .as_array()
            .unwrap()
            .contains(&json!(JWT_BEARER))
    );
    let answer = bring(&application, "a.b.c", &[]).await;
    assert_eq!(refusal(&answer), (400, "unsupported_grant_type".to_owned()));
}

#[tokio::test]
async fn a_store_that_fails_issues_nothing() {
    let enterprise = Enterprise::new();
    // The assertion is used, then the grant is kept.
    for (number, loss) in [
        (0, Loss::Request),
        (0, Loss::Answer),
        (1, Loss::Request),
        (1, Loss::Answer),
    ] {
        enterprise.application.store.fail_once(number, loss);
        let answer = enterprise.bring(&enterprise.word(&json!({})), &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (503, "1"),
            "{number} {loss:?}"
        );
    }
}

#[tokio::test]
async fn the_providers_keys_are_fetched_and_can_be_rotated() {
    let host = MockServer::start().await;
    let (old, new) = (Signer::new("idp"), Signer::new("idp-2"));
    let publish = |keys: Value| {
        let host = &host;
        async move {
            host.reset().await;
            Mock::given(path("/jwks"))
                .respond_with(ResponseTemplate::new(200).set_body_json(keys))
                .mount(host)
                .await;
        }
    };
    let acme = EnterpriseIssuer::with_keys_at("acme", IDP, format!("{}/jwks", host.uri()));
    let application = Application::new(|builder| {
        builder
            .remote_keys(Fetcher::default().allow_loopback().timeout(Duration::from_millis(500)))
            .enterprise(acme)
            .client(assistant())
    });
    let mut enterprise = Enterprise {
        provider: old,
        application,
    };
    let unavailable = enterprise.bring(&enterprise.word(&json!({})), &[]).await;
    assert_eq!(
        refusal(&unavailable),
        (400, "invalid_grant".to_owned()),
        "there is nothing at the address"
    );
    enterprise.application.clock.advance(Duration::from_secs(10));
    publish(enterprise.provider.jwks()).await;
    assert_eq!(enterprise.bring(&enterprise.word(&json!({})), &[]).await.status, 200);
    publish(new.jwks()).await;
    enterprise.application.clock.advance(Duration::from_secs(10));
    let claims = {
        let now = now(&enterprise.application);
        json!({"iss": IDP, "sub": "U1", "aud": ISSUER, "client_id": "assistant", "resource": NOTES,
            "iat": now, "exp": now + 300, "jti": "rotated"})
    };
    let rotated = new.sign(
        &json!({"alg": "EdDSA", "kid": "idp-2", "typ": "oauth-id-jag+jwt"}),
        &claims,
    );
    assert_eq!(enterprise.bring(&rotated, &[]).await.status, 200);
    assert_eq!(enterprise.bring(&enterprise.word(&json!({})), &[]).await.status, 400);
    host.reset().await;
    Mock::given(path("/jwks"))
        .respond_with(ResponseTemplate::new(503))
        .mount(&host)
        .await;
    enterprise.provider = new;
    enterprise.application.clock.advance(Duration::from_secs(3600));
    let word = enterprise
        .provider
        .sign(&json!({"alg": "EdDSA", "kid": "idp-2", "typ": "oauth-id-jag+jwt"}), &{
            let now = now(&enterprise.application);
            json!({"iss": IDP, "sub": "U1", "aud": ISSUER, "client_id": "assistant", "resource": NOTES,
                "iat": now, "exp": now + 300, "jti": "late"})
        });
    let answer = enterprise.bring(&word, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
}

/// Whoever registers a client names an address, and can have it answer as slowly as it likes.
#[tokio::test]
async fn strangers_whose_keys_come_slowly_do_not_keep_the_providers_keys_from_being_fetched() {
    let (provider, host) = (Signer::new("idp"), MockServer::start().await);
    let slowly = ResponseTemplate::new(200).set_delay(Duration::from_secs(1));
    let at_once = ResponseTemplate::new(200).set_body_json(provider.jwks());
    for (address, answer) in [("/slow", slowly), ("/jwks", at_once)] {
        Mock::given(path(address)).respond_with(answer).mount(&host).await;
    }
    let fetcher = Fetcher::default().allow_loopback().maximum_in_flight(1);
    let acme = EnterpriseIssuer::with_keys_at("acme", IDP, format!("{}/jwks", host.uri()));
    let application = Application::new(|builder| builder.remote_keys(fetcher).enterprise(acme).client(assistant()));
    let metadata = json!({"redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": format!("{}/slow", host.uri())});
    let stranger = Client::register(&application, &metadata).await;
    let enterprise = Enterprise { provider, application };
    let assertion = Signer::new("a").assertion(&enterprise.application, &stranger.client_id, &json!({}));
    let slow = post(&enterprise.application, "/introspect", &assertion, &[("token", "x")]);
    let brought = async {
        while host.received_requests().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        enterprise.bring(&enterprise.word(&json!({})), &[]).await
    };
    tokio::select! {
        biased;
        answer = slow => panic!("the stranger's keys came first: {answer:?}"),
        answer = brought => assert_eq!(answer.status, 200, "{answer:?}"),
    }
}
