//! Who may register, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use mcp_oauth_core::client::redirect_uri::policy::{RedirectUriPolicy, Unfit};
use mcp_oauth_core::client::registration::policy::{Admission, InitialAccessTokens, RegistrationPolicy, Repeats};
use mcp_oauth_core::client::registration::statement::{SoftwareStatements, TrustedIssuers};
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::application::{Answer, Application, ISSUER, request};
use mcp_oauth_tests::client::{Client, REDIRECT_URI, public_metadata};
use serde_json::{Value, json};

const DAY: Duration = Duration::from_secs(24 * 3600);

const TOKEN: &str = "an-initial-access-token-of-the-operator";

const OTHER_TOKEN: &str = "another-initial-access-token-of-the-operator";

fn with(change: impl FnOnce(&mut RegistrationPolicy)) -> Application {
    let mut policy = RegistrationPolicy::default();
    change(&mut policy);
    Application::new(|builder| builder.registration(policy))
}

fn with_tokens() -> Application {
    with(|policy| {
        let tokens = InitialAccessTokens::new([TOKEN, OTHER_TOKEN]).unwrap();
        policy.admission = Admission::InitialAccessToken(tokens);
    })
}

fn idempotent() -> Application {
    with(|policy| policy.repeats = Repeats::OneRecord)
}

async fn register(application: &Application, authorization: &str, metadata: &Value) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    if !authorization.is_empty() {
        headers.push(("authorization", authorization));
    }
    application
        .send(request(Method::POST, "/register", &headers, &metadata.to_string()))
        .await
}

/// Registers what has to be registered, and gives the identifier.
async fn id(application: &Application, metadata: &Value) -> String {
    let answer = application.post_json("/register", metadata).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["client_id"].as_str().unwrap().to_owned()
}

fn clients(application: &Application) -> usize {
    application.store.inner().count_of(Kind::Client)
}

// === Who may register ===

#[tokio::test]
async fn whoever_has_an_initial_access_token_may_register() {
    let application = with_tokens();
    for authorization in [
        format!("Bearer {TOKEN}"),
        format!("bearer {TOKEN}"),
        format!("Bearer {OTHER_TOKEN}"),
    ] {
        let answer = register(&application, &authorization, &public_metadata()).await;
        assert_eq!(answer.status, 201, "{authorization}");
    }
    let metadata = application.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["registration_endpoint"], format!("{ISSUER}/register"));
}

/// V-20.
#[tokio::test]
async fn a_wrong_or_missing_initial_access_token_or_a_malformed_header_is_a_401_with_a_challenge() {
    let application = with_tokens();
    let mut almost = TOKEN.to_owned();
    almost.pop();
    for (authorization, says_why) in [
        (String::new(), false),
        ("Bearer".to_owned(), false),
        ("Bearer ".to_owned(), false),
        (format!("Basic {TOKEN}"), false),
        (TOKEN.to_owned(), false),
        ("Bearer wrong".to_owned(), true),
        (format!("Bearer {almost}"), true),
        (format!("Bearer {TOKEN} x"), true),
        (format!("Bearer {TOKEN}, Bearer {TOKEN}"), true),
        (format!("Bearer {}", "x".repeat(10_000)), true),
        ("Bearer \u{1}".replace('\u{1}', "\t\t"), false),
        ("Bearer {\"a\":[]}".to_owned(), true),
    ] {
        let answer = register(&application, &authorization, &public_metadata()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (401, "invalid_token"),
            "{authorization}"
        );
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        assert_eq!(challenge.contains("invalid_token"), says_why, "{authorization}");
        assert!(!answer.body.contains(TOKEN));
    }
    let mut not_ascii = request(Method::POST, "/register", &[], "");
    let value = http::HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
    not_ascii.headers_mut().insert("authorization", value);
    assert_eq!(application.send(not_ascii).await.status, 401);
    let mut twice = request(Method::POST, "/register", &[], "");
    for _ in 0..2 {
        let value = format!("Bearer {TOKEN}").parse().unwrap();
        twice.headers_mut().append("authorization", value);
    }
    assert_eq!(application.send(twice).await.status, 401);
    assert_eq!(clients(&application), 0);
}

#[tokio::test]
async fn who_may_not_register_is_told_nothing_about_what_they_sent() {
    let application = with_tokens();
    let answer = register(&application, "Bearer wrong", &json!(["nonsense"])).await;
    assert_eq!(answer.error(), "invalid_token");
}

#[tokio::test]
async fn a_network_that_tries_initial_access_tokens_has_to_wait_and_whoever_has_one_need_not() {
    let mut limits = Limits::unlimited();
    limits.failed_authentications_of_a_network = Quota::per_minute(3);
    let mut policy = RegistrationPolicy::default();
    policy.admission = Admission::InitialAccessToken(InitialAccessTokens::new([TOKEN]).unwrap());
    let application = Application::new(|builder| builder.registration(policy).limits(limits));
    let attempt = async |address: &str, token: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", authorization.as_str()),
        ];
        let body = public_metadata().to_string();
        application
            .send_from(address, request(Method::POST, "/register", &headers, &body))
            .await
    };
    for _ in 0..3 {
        assert_eq!(
            attempt("192.0.2.1", TOKEN).await.status,
            201,
            "what succeeds does not count"
        );
        assert_eq!(attempt("192.0.2.1", "wrong").await.status, 401);
    }
    let refused = attempt("192.0.2.1", "wrong").await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(attempt(address, TOKEN).await.status, 201, "{address}");
    }
    assert_eq!(attempt("192.0.2.2", "wrong").await.status, 401);
    application.clock.advance(Duration::from_secs(wait));
    assert_eq!(attempt("192.0.2.1", "wrong").await.status, 401);
}

#[tokio::test]
async fn closed_registration_leaves_the_metadata_and_the_endpoint_is_not_there() {
    let application = with(|policy| policy.admission = Admission::Nobody);
    for document in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let metadata = application.get(document).await.json();
        assert!(metadata.get("registration_endpoint").is_none(), "{document}");
        assert!(metadata["token_endpoint"].is_string());
    }
    for method in [Method::POST, Method::GET, Method::PUT] {
        let headers = [("content-type", "application/json")];
        let body = public_metadata().to_string();
        let answer = application.send(request(method, "/register", &headers, &body)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (404, "access_denied")
        );
    }
    assert_eq!(clients(&application), 0);
}

#[tokio::test]
async fn who_registered_before_registration_was_closed_stays_and_manages_itself() {
    let open = Application::default();
    let registered = open.post_json("/register", &public_metadata()).await.json();
    let closed = Application::with(open.store.clone(), open.clock.clone(), |builder| {
        let mut policy = RegistrationPolicy::default();
        policy.admission = Admission::Nobody;
        builder.registration(policy)
    });
    let path = registered["registration_client_uri"].as_str().unwrap();
    let bearer = format!("Bearer {}", registered["registration_access_token"].as_str().unwrap());
    let path = path.strip_prefix(ISSUER).unwrap();
    let read = closed
        .send(request(Method::GET, path, &[("authorization", &bearer)], ""))
        .await;
    assert_eq!((read.status.as_u16(), read.json()), (200, registered));
}

// === Repeats ===

#[tokio::test]
async fn each_registration_is_a_client_of_its_own_unless_said_otherwise() {
    let application = Application::default();
    let first = application.post_json("/register", &public_metadata()).await.json();
    let second = application.post_json("/register", &public_metadata()).await.json();
    for member in ["client_id", "registration_access_token", "registration_client_uri"] {
        assert_ne!(first[member], second[member]);
    }
    assert_eq!(clients(&application), 2);
}

#[tokio::test]
async fn the_same_public_client_again_is_one_record_that_nobody_manages() {
    let application = idempotent();
    let first = application.post_json("/register", &public_metadata()).await;
    application.clock.advance(Duration::from_secs(60));
    let second = application.post_json("/register", &public_metadata()).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 201));
    assert_eq!(first.json(), second.json());
    assert_eq!(clients(&application), 1);
    for absent in ["registration_access_token", "registration_client_uri", "client_secret"] {
        assert!(first.json().get(absent).is_none(), "{absent}");
    }
    assert_eq!(first.json()["redirect_uris"], json!([REDIRECT_URI]));
    let path = format!("/register/{}", first.json()["client_id"].as_str().unwrap());
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for token in ["x", "nobody", ""] {
            let headers = [("authorization", format!("Bearer {token}"))];
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            let answer = application.send(request(method.clone(), &path, &headers, "")).await;
            assert_eq!(answer.status, 401, "{method} {token}");
        }
    }
}

#[tokio::test]
async fn who_says_anything_else_is_another_client() {
    let application = idempotent();
    let first = id(&application, &public_metadata()).await;
    let mut other = public_metadata();
    other["redirect_uris"] = json!([REDIRECT_URI, "https://evil.example/cb"]);
    assert_ne!(id(&application, &other).await, first);
    let reordered = json!({"client_name": "Test client", "token_endpoint_auth_method": "none", "unknown": 1,
        "redirect_uris": [REDIRECT_URI, REDIRECT_URI], "response_types": ["code"]});
    assert_eq!(id(&application, &reordered).await, first);
    assert_eq!(clients(&application), 2);
}

#[tokio::test]
async fn clients_that_prove_themselves_always_get_records_of_their_own() {
    let application = idempotent();
    let metadata = json!({"redirect_uris": [REDIRECT_URI]});
    let first = application.post_json("/register", &metadata).await.json();
    let second = application.post_json("/register", &metadata).await.json();
    for member in ["client_id", "client_secret", "registration_access_token"] {
        assert_ne!(first[member], second[member], "{member}");
    }
    assert_eq!(clients(&application), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_client_many_times_at_once_is_one_record() {
    let application = Arc::new(idempotent());
    let start = Arc::new(tokio::sync::Barrier::new(64));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (application, start) = (application.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                id(&application, &public_metadata()).await
            })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    ids.dedup();
    assert_eq!((ids.len(), clients(&application)), (1, 1));
}

#[tokio::test]
async fn a_shared_client_that_was_forgotten_comes_back_under_the_same_name() {
    let application = idempotent();
    let first = Client::public(&application).await;
    application.clock.advance(DAY);
    assert_eq!(clients(&application), 0);
    let second = Client::public(&application).await;
    assert_eq!(first.client_id, second.client_id);
    second.sign_in(&application, "ada").await;
}

#[tokio::test]
async fn a_repeat_that_nobody_uses_makes_no_client_live_for_long_and_none_is_lost_in_a_sign_in() {
    let mut lifetimes = mcp_oauth_core::server::builder::Lifetimes::default();
    lifetimes.client = None;
    let mut policy = RegistrationPolicy::default();
    policy.repeats = Repeats::OneRecord;
    let application = Application::new(|builder| builder.registration(policy).lifetimes(lifetimes));
    let client = Client::public(&application).await;
    application.clock.advance(Duration::from_secs(24 * 3600 - 60));
    // A minute before its end somebody begins to sign in: there is time to finish.
    assert_eq!(Client::public(&application).await.client_id, client.client_id);
    application.clock.advance(Duration::from_secs(600));
    assert_eq!(application.get(&client.authorization_url(&[])).await.status, 200);
    application.clock.advance(DAY);
    assert_eq!(clients(&application), 0, "a repeat is no use");
    let client = Client::public(&application).await;
    client.sign_in(&application, "ada").await;
    application.clock.advance(4000 * DAY);
    assert_eq!(application.get(&client.authorization_url(&[])).await.status, 200);
}

#[tokio::test]
async fn a_repeat_does_not_shorten_the_life_of_a_client_that_is_used() {
    let application = idempotent();
    let client = Client::public(&application).await;
    client.sign_in(&application, "ada").await;
    application.clock.advance(2 * DAY);
    let tokens = client.sign_in(&application, "ada").await;
    Client::public(&application).await;
    application.clock.advance(29 * DAY);
    let refreshed = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refreshed.status, 200);
}

#[tokio::test]
async fn repeats_cost_no_quota_and_what_they_lengthen_does() {
    let mut limits = Limits::unlimited();
    limits.registrations = Quota::per_hour(2);
    let mut policy = RegistrationPolicy::default();
    policy.repeats = Repeats::OneRecord;
    let application = Application::new(|builder| builder.registration(policy).limits(limits));
    for _ in 0..50 {
        id(&application, &public_metadata()).await;
    }
    let other = |name: &str| json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none", "client_name": name});
    id(&application, &other("second")).await;
    let third = application.post_json("/register", &other("third")).await;
    assert_eq!(
        (third.status.as_u16(), third.error().as_str()),
        (429, "temporarily_unavailable")
    );
    assert_eq!(application.post_json("/register", &public_metadata()).await.status, 201);

    application.clock.advance(Duration::from_secs(24 * 3600 - 60));
    id(&application, &public_metadata()).await;
    id(&application, &other("second")).await;
    assert_eq!(application.post_json("/register", &other("third")).await.status, 429);
}

#[tokio::test]
async fn a_shared_client_is_lengthened_when_less_is_left_of_it_than_a_sign_in_takes_and_then_not_again() {
    let mut limits = Limits::unlimited();
    limits.registrations = Quota::per_hour(2);
    limits.lasting_registrations = Quota::per_hour(0);
    let mut policy = RegistrationPolicy::default();
    policy.repeats = Repeats::OneRecord;
    // Ten minutes to sign in, and one for the code, of the thirty that it has.
    for (repeated, lengthened, again) in [
        (19 * 60, true, true),
        (19 * 60, true, false),
        (19 * 60 - 1, false, false),
    ] {
        let application = Application::new(|builder| builder.registration(policy.clone()).limits(limits));
        let client = Client::public(&application).await;
        application.clock.advance(Duration::from_secs(repeated));
        Client::public(&application).await;
        // What was lengthened has its whole time again, and is not counted a third time.
        application.clock.advance(Duration::from_secs(10 * 60));
        if again {
            assert_eq!(application.post_json("/register", &public_metadata()).await.status, 201);
        }
        application.clock.advance(Duration::from_secs(5 * 60));
        let known = application.get(&client.authorization_url(&[])).await.status == 200;
        assert_eq!(known, lengthened, "{repeated}");
    }
}

#[tokio::test]
async fn a_client_of_its_own_stays_its_own_when_it_comes_to_say_what_others_say() {
    let application = idempotent();
    let shared = id(&application, &public_metadata()).await;
    let own = application
        .post_json("/register", &json!({"redirect_uris": [REDIRECT_URI]}))
        .await
        .json();
    let path = own["registration_client_uri"]
        .as_str()
        .unwrap()
        .strip_prefix(ISSUER)
        .unwrap();
    let bearer = format!("Bearer {}", own["registration_access_token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let mut body = public_metadata();
    body["client_id"] = own["client_id"].clone();
    let replaced = application
        .send(request(Method::PUT, path, &headers, &body.to_string()))
        .await;
    assert_eq!(replaced.status, 200, "{replaced:?}");
    assert_eq!(replaced.json()["client_id"], own["client_id"]);
    assert_eq!(
        replaced.json()["registration_access_token"],
        own["registration_access_token"]
    );
    assert_eq!(id(&application, &public_metadata()).await, shared);
    let deleted = application.send(request(Method::DELETE, path, &headers, "")).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(clients(&application), 1, "the shared one is nobody's to delete");
}

#[tokio::test]
async fn without_the_store_a_repeat_is_a_503_and_not_another_client() {
    let application = idempotent();
    let first = id(&application, &public_metadata()).await;
    application.store.set_down(true);
    let answer = application.post_json("/register", &public_metadata()).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    application.store.set_down(false);
    assert_eq!(id(&application, &public_metadata()).await, first);
}

// === Software statements ===

#[tokio::test]
async fn a_software_statement_is_ignored_or_refused_as_the_operator_likes() {
    let mut metadata = public_metadata();
    metadata["software_statement"] = json!("eyJhbGciOiJub25lIn0.e30.");
    let ignoring = Application::default();
    let answer = ignoring.post_json("/register", &metadata).await;
    assert_eq!(answer.status, 201);
    assert!(
        answer.json().get("software_statement").is_none(),
        "what was not believed is not echoed"
    );

    let refusing = with(|policy| policy.software_statements = SoftwareStatements::Refused);
    let answer = refusing.post_json("/register", &metadata).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (400, "unapproved_software_statement")
    );
    let trusting = with(|policy| policy.software_statements = SoftwareStatements::Trusted(TrustedIssuers::default()));
    let answer = trusting.post_json("/register", &metadata).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (400, "invalid_software_statement")
    );
}

// === One bad redirect URI among several ===

#[tokio::test]
async fn cursor_registers_what_this_server_takes_and_is_told_what_that_is() {
    let application = Application::default();
    let cursor = json!({"client_name": "Cursor", "token_endpoint_auth_method": "none", "application_type": "web",
        "redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"]});
    let answer = application.post_json("/register", &cursor).await;
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.json()["redirect_uris"],
        json!([
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "http://localhost:8787/callback"
        ])
    );
    let client_id = answer.json()["client_id"].as_str().unwrap().to_owned();
    let client = Client {
        client_id,
        client_secret: None,
        verifier: "v".repeat(43),
    };
    let app = client.authorization_url(&[("redirect_uri", "cursor://anysphere.cursor-mcp/oauth/callback")]);
    let refused = application.get(&app).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("cursor://anysphere.cursor-mcp/oauth/callback"));

    let strict = with(|policy| policy.redirect_uris = RedirectUriPolicy::default().unfit(Unfit::Refused));
    let refused = strict.post_json("/register", &cursor).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error().as_str()),
        (400, "invalid_redirect_uri")
    );
    assert!(refused.body.contains("cursor://anysphere.cursor-mcp/oauth/callback"));
}

#[tokio::test]
async fn where_no_redirect_uri_is_left_all_of_them_are_named() {
    let application = Application::default();
    let bad = ["myapp://cb", "other://cb"];
    let answer = application
        .post_json("/register", &json!({ "redirect_uris": bad }))
        .await;
    assert_eq!(answer.error(), "invalid_redirect_uri");
    for uri in bad {
        assert!(answer.body.contains(uri), "{answer:?}");
    }
}
