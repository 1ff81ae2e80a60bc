//! Sign-ins with a GitHub that these tests play themselves, over real HTTP.
//!
//! Each sign-in takes its whole way through an [`AuthorizationServer`], since that is who hands a provider its secrets. A
//! [`Witness`] stands between the two and keeps what GitHub's provider said.

#![cfg(feature = "github")]
#![allow(clippy::unwrap_used, reason = "in a test, the helpers are tests too")]

use std::collections::HashMap;
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::clock::{ManualClock, UnixTime};
use mcp_oauth_core::identity::github::{GitHub, InvalidBaseUrl};
use mcp_oauth_core::identity::{Identity, IdentityError, IdentityProvider, SignIn, SignInReturn};
use mcp_oauth_core::issuer::Issuer;
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_core::policy::AllowList;
use mcp_oauth_core::resource::Resource;
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::server::consent::ConsentOutcome;
use mcp_oauth_core::store::{
    Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MemberPage, Store, StoreError,
};
use mcp_oauth_core::transaction::{Decision, SignInSecret};
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{header, header_exists, method, path};
use wiremock::{Match, Mock, MockServer, Request, ResponseTemplate};

const ORIGIN: Origin = Origin::unknown();

const CLIENT_ID: &str = "Ov23liExample";
const CLIENT_SECRET: &str = "the-client-secret";
const CODE: &str = "the-code";
const TOKEN: &str = "gho_the-token";
/// Stands in every answer that an error is made of.
const UPSTREAM_TEXT: &str = "words of the upstream";

// === The way to a provider ===

#[derive(Debug, Default)]
struct Records(Mutex<HashMap<Key, Bytes>>);

#[async_trait]
impl Store for Records {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn insert(&self, key: &Key, record: Bytes, _: Option<Duration>) -> Result<bool, StoreError> {
        Ok(self.0.lock().unwrap().insert(key.clone(), record).is_none())
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        _: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let mut records = self.0.lock().unwrap();
        let current = records.get_mut(key).filter(|current| current.as_ref() == expected);
        Ok(current.map(|current| *current = record).is_some())
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        Ok(self.0.lock().unwrap().remove(key).is_some())
    }

    async fn increment(&self, _: &Key, _: Duration) -> Result<u64, StoreError> {
        Ok(1)
    }

    async fn publish_ended(&self, _: &str, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn read_ended(&self, _: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        Ok(FeedPage::default())
    }

    async fn inspect(&self, _: &Key) -> Result<Option<Kept>, StoreError> {
        unreachable!("no list is read here")
    }

    async fn add_member(&self, _: &Key, _: &str, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remove_member(&self, _: &Key, _: &str) -> Result<bool, StoreError> {
        unreachable!("no list is read here")
    }

    async fn members(&self, _: &Key, _: Option<&ListPosition>, _: usize) -> Result<MemberPage, StoreError> {
        unreachable!("no list is read here")
    }

    async fn list(&self, _: Kind, _: Option<&ListPosition>, _: usize) -> Result<KeyPage, StoreError> {
        unreachable!("no list is read here")
    }

    async fn count(&self) -> Result<Counts, StoreError> {
        unreachable!("no list is read here")
    }
}

type Identified = Result<Identity, IdentityError>;

/// Keeps what the provider says, and tells the server that the person declined.
#[derive(Debug)]
struct Witness {
    github: GitHub,
    identified: Mutex<Option<Identified>>,
}

#[async_trait]
impl IdentityProvider for Witness {
    fn id(&self) -> &str {
        self.github.id()
    }

    fn display_name(&self) -> &str {
        self.github.display_name()
    }

    fn check(&self, issuer: &Issuer) -> Result<(), String> {
        self.github.check(issuer)
    }

    async fn sign_in_url(&self, sign_in: &SignIn<'_>) -> Result<Url, IdentityError> {
        self.github.sign_in_url(sign_in).await
    }

    async fn identify(&self, returned: &SignInReturn<'_>) -> Identified {
        let identified = self.github.identify(returned).await;
        *self.identified.lock().unwrap() = Some(identified);
        Err(IdentityError::Denied)
    }
}

/// A person at GitHub, whom this server has just sent there.
struct Away {
    server: AuthorizationServer,
    witness: Arc<Witness>,
    location: Url,
    cookie: SignInSecret,
}

impl Away {
    async fn with(github: GitHub) -> Self {
        let witness = Arc::new(Witness {
            github,
            identified: Mutex::new(None),
        });
        let server = AuthorizationServer::builder("http://127.0.0.1:8080")
            .resource(Resource::new("http://127.0.0.1:8080/mcp").unwrap())
            .shared_identity(witness.clone())
            .allow(AllowList::everybody())
            .store(Records::default())
            .build()
            .unwrap();
        let admitted = server.admit_registration(None, &ORIGIN).await.unwrap();
        let client = server
            .register(
                br#"{"redirect_uris":["https://client.example/back"]}"#,
                admitted,
                &ORIGIN,
            )
            .await
            .unwrap();
        let request = [
            ("client_id", client.client_id.as_str()),
            ("response_type", "code"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ];
        let prompt = server.authorize(&parameters(request), &ORIGIN).await.unwrap();
        let decided = server
            .consent(&prompt.transaction, Decision::Approve, Some(&prompt.browser), &ORIGIN)
            .await;
        let Ok(ConsentOutcome::SignIn { location, sign_in }) = decided else {
            panic!("consent does not lead to the identity provider: {decided:?}");
        };
        Self {
            server,
            witness,
            location: location.as_str().parse().unwrap(),
            cookie: sign_in,
        }
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.location
            .query_pairs()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    }

    async fn come_back_with(self, returned: &[(&str, &str)]) -> Identified {
        let state = self.parameter("state").unwrap();
        let returned = parameters(returned.iter().copied().chain([("state", state.as_str())]));
        self.server
            .callback(&state.parse().unwrap(), &returned, Some(&self.cookie), &ORIGIN)
            .await
            .unwrap();
        self.witness.identified.lock().unwrap().take().unwrap()
    }

    async fn come_back(self) -> Identified {
        self.come_back_with(&[("code", CODE)]).await
    }
}

fn parameters<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Parameters {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

// === The GitHub of these tests ===

fn github_at(base: &str) -> GitHub {
    GitHub::new(CLIENT_ID, CLIENT_SECRET)
        .base_urls(base, &format!("{base}/api"))
        .unwrap()
        .provider_id("github")
        .clock(ManualClock::at(UnixTime::from_seconds(1_700_000_000)))
}

fn github(upstream: &MockServer) -> GitHub {
    github_at(&upstream.uri())
}

fn token() -> ResponseTemplate {
    let token = json!({ "access_token": TOKEN, "scope": "read:user,user:email", "token_type": "bearer" });
    ResponseTemplate::new(200).set_body_json(token)
}

fn account() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "id": 583_231, "login": "ada", "name": "Ada Lovelace" }))
}

fn emails(entries: impl Into<Value>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(entries.into())
}

fn ada_s_emails() -> ResponseTemplate {
    emails(json!([
        { "email": "old@example.com", "primary": false, "verified": true, "visibility": null },
        { "email": "ada@example.com", "primary": true, "verified": true, "visibility": "private" },
    ]))
}

/// A GitHub that answers the three calls of a sign-in.
async fn upstream(token: ResponseTemplate, account: ResponseTemplate, emails: ResponseTemplate) -> MockServer {
    let upstream = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/login/oauth/access_token"))
        .respond_with(token)
        .mount(&upstream)
        .await;
    Mock::given(method("GET"))
        .and(path("/api/user"))
        .respond_with(account)
        .mount(&upstream)
        .await;
    Mock::given(method("GET"))
        .and(path("/api/user/emails"))
        .respond_with(emails)
        .mount(&upstream)
        .await;
    upstream
}

async fn identify(token: ResponseTemplate, account: ResponseTemplate, emails: ResponseTemplate) -> Identified {
    Away::with(github(&upstream(token, account, emails).await))
        .await
        .come_back()
        .await
}

async fn with_token(token: ResponseTemplate) -> Identified {
    identify(token, account(), ada_s_emails()).await
}

async fn with_account(account: ResponseTemplate) -> Identified {
    identify(token(), account, ada_s_emails()).await
}

async fn email_among(emails: ResponseTemplate) -> Option<String> {
    let identity = identify(token(), account(), emails).await.unwrap();
    assert_eq!(identity.subject(), "github:583231");
    identity.email
}

/// An answer in JSON that holds what no error may hold.
fn gossip(status: u16) -> ResponseTemplate {
    let gossip = json!({ "message": UPSTREAM_TEXT, "echo": [CODE, TOKEN, CLIENT_SECRET] });
    ResponseTemplate::new(status).set_body_json(gossip)
}

fn refusal(status: u16, error: &str) -> ResponseTemplate {
    let words = format!("{UPSTREAM_TEXT} {CODE} {CLIENT_SECRET}");
    ResponseTemplate::new(status).set_body_json(json!({ "error": error, "error_description": words }))
}

// === What is expected of errors ===

/// Everything an error can show, its causes included.
fn shown(error: &IdentityError) -> String {
    let causes = std::iter::successors(Some(error as &dyn Error), |cause| (*cause).source());
    causes
        .map(|cause| format!("{cause} {cause:?}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn assert_discreet(error: &IdentityError) {
    let shown = shown(error);
    for secret in [CODE, TOKEN, CLIENT_SECRET, UPSTREAM_TEXT, "http://"] {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
}

#[track_caller]
fn assert_unusable(identified: Identified, sentence: &str) {
    let error = identified.unwrap_err();
    assert_discreet(&error);
    let IdentityError::Unusable(said) = &error else {
        panic!("{error:?} in place of: {sentence}")
    };
    assert!(said.contains(sentence), "{said:?} does not say: {sentence}");
}

#[track_caller]
fn assert_unavailable(identified: Identified, seconds: Option<u64>) {
    let error = identified.unwrap_err();
    assert_discreet(&error);
    assert!(error.source().is_some(), "{error:?} has no cause");
    let IdentityError::Unavailable { retry_after, .. } = error else {
        panic!("{error:?} is not unavailable")
    };
    assert_eq!(retry_after, seconds.map(Duration::from_secs));
}

// === Signing in ===

#[tokio::test]
async fn the_sign_in_url_has_what_github_needs_and_nothing_else() {
    let away = Away::with(GitHub::new(CLIENT_ID, CLIENT_SECRET)).await;
    assert_eq!(away.location.origin().ascii_serialization(), "https://github.com");
    assert_eq!(away.location.path(), "/login/oauth/authorize");
    let mut names: Vec<_> = away.location.query_pairs().map(|(name, _)| name.into_owned()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "client_id",
            "code_challenge",
            "code_challenge_method",
            "redirect_uri",
            "response_type",
            "scope",
            "state"
        ]
    );
    assert_eq!(away.parameter("client_id").as_deref(), Some(CLIENT_ID));
    assert_eq!(away.parameter("code_challenge_method").as_deref(), Some("S256"));
    assert_eq!(
        away.parameter("redirect_uri").as_deref(),
        Some("http://127.0.0.1:8080/callback")
    );
    assert_eq!(away.parameter("response_type").as_deref(), Some("code"));
    assert_eq!(away.parameter("scope").as_deref(), Some("read:user user:email"));
    assert!(
        away.parameter("code_challenge")
            .unwrap()
            .parse::<CodeChallenge>()
            .is_ok()
    );
    assert!(!away.location.as_str().contains(CLIENT_SECRET));
}

#[tokio::test]
async fn the_state_and_the_challenge_are_those_of_this_sign_in_alone() {
    let (first, second) = (
        Away::with(github_at("http://[::1]:9")).await,
        Away::with(github_at("http://[::1]:9")).await,
    );
    assert_ne!(first.parameter("state"), second.parameter("state"));
    assert_ne!(first.parameter("code_challenge"), second.parameter("code_challenge"));
}

/// A token request that proves the sign-in it belongs to and the client it comes from.
struct Proven {
    challenge: CodeChallenge,
}

impl Match for Proven {
    fn matches(&self, request: &Request) -> bool {
        let Ok(form) = Parameters::parse(&request.body) else {
            return false;
        };
        let is = |name: &str, value: &str| form.get(name).is_ok_and(|found| found == Some(value));
        let verifier = form
            .require("code_verifier")
            .ok()
            .and_then(|text| text.parse::<CodeVerifier>().ok());
        verifier.is_some_and(|verifier| self.challenge.is_met_by(&verifier))
            && is("grant_type", "authorization_code")
            && is("code", CODE)
            && is("redirect_uri", "http://127.0.0.1:8080/callback")
            && is("client_id", CLIENT_ID)
            && is("client_secret", CLIENT_SECRET)
    }
}

#[tokio::test]
async fn a_person_is_identified_by_a_code_that_is_redeemed_with_verifier_and_credentials() {
    let upstream = MockServer::start().await;
    let away = Away::with(github(&upstream)).await;
    let challenge = away.parameter("code_challenge").unwrap().parse().unwrap();
    let agent = concat!("mcp-oauth-core/", env!("CARGO_PKG_VERSION"));
    Mock::given(method("POST"))
        .and(path("/login/oauth/access_token"))
        .and(header("accept", "application/json"))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(header("user-agent", agent))
        .and(Proven { challenge })
        .respond_with(token())
        .expect(1)
        .mount(&upstream)
        .await;
    for (endpoint, answer) in [("/api/user", account()), ("/api/user/emails", ada_s_emails())] {
        Mock::given(method("GET"))
            .and(path(endpoint))
            .and(header("accept", "application/json"))
            .and(header("authorization", format!("Bearer {TOKEN}")))
            .and(header("user-agent", agent))
            .and(header("x-github-api-version", "2022-11-28"))
            .respond_with(answer)
            .expect(1)
            .mount(&upstream)
            .await;
    }
    let ada = Identity::new("github", "583231")
        .with_login("ada")
        .with_name("Ada Lovelace")
        .with_verified_email("ada@example.com");
    assert_eq!(away.come_back().await.unwrap(), ada);
}

#[tokio::test]
async fn the_number_of_an_account_is_the_subject_and_its_login_is_not() {
    let renamed =
        ResponseTemplate::new(200).set_body_json(json!({ "id": 583_231, "login": "countess", "name": "Ada" }));
    let identity = with_account(renamed).await.unwrap();
    assert_eq!(identity.subject(), "github:583231");
    assert_eq!(identity.login.as_deref(), Some("countess"));
}

#[tokio::test]
async fn the_largest_number_is_kept_to_the_last_digit() {
    let body = format!(r#"{{"id":{},"login":"ada"}}"#, u64::MAX);
    let identity = with_account(ResponseTemplate::new(200).set_body_raw(body, "application/json"))
        .await
        .unwrap();
    assert_eq!(identity.id, "18446744073709551615");
}

#[tokio::test]
async fn an_account_without_a_name_is_a_good_account() {
    for body in [
        json!({ "id": 7, "login": "ada" }),
        json!({ "id": 7, "login": "ada", "name": null }),
        json!({ "id": 7, "login": "ada", "name": "" }),
    ] {
        let identity = with_account(ResponseTemplate::new(200).set_body_json(body))
            .await
            .unwrap();
        assert_eq!(
            identity,
            Identity::new("github", "7")
                .with_login("ada")
                .with_verified_email("ada@example.com")
        );
    }
}

#[tokio::test]
async fn simultaneous_sign_ins_do_not_exchange_their_people() {
    let upstream = MockServer::start().await;
    for (code, id) in [("one", 1), ("two", 2)] {
        let token = json!({ "access_token": format!("gho_{code}"), "token_type": "bearer" });
        Mock::given(method("POST"))
            .and(wiremock::matchers::body_string_contains(format!("code={code}&")))
            .respond_with(ResponseTemplate::new(200).set_body_json(token))
            .mount(&upstream)
            .await;
        Mock::given(path("/api/user"))
            .and(header("authorization", format!("Bearer gho_{code}")))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "id": id, "login": code })))
            .mount(&upstream)
            .await;
    }
    let github = github(&upstream);
    let sign_ins = (0..40).map(|round| {
        let github = github.clone();
        async move {
            let (code, id) = if round % 2 == 0 { ("one", "1") } else { ("two", "2") };
            let identity = Away::with(github)
                .await
                .come_back_with(&[("code", code)])
                .await
                .unwrap();
            assert_eq!((identity.id.as_str(), identity.login.as_deref()), (id, Some(code)));
        }
    });
    futures_util::future::join_all(sign_ins).await;
}

// === E-mail addresses ===

#[tokio::test]
async fn an_address_that_is_not_verified_is_not_taken() {
    assert_eq!(
        email_among(emails(
            json!([{ "email": "a@example.com", "primary": true, "verified": false }])
        ))
        .await,
        None
    );
    assert_eq!(
        email_among(emails(json!([{ "email": "a@example.com", "primary": true }]))).await,
        None
    );
}

#[tokio::test]
async fn a_verification_that_is_anything_but_json_s_true_is_none() {
    for verified in [
        json!("true"),
        json!(1),
        json!("1"),
        json!([true]),
        json!({}),
        json!(null),
    ] {
        let entry = json!([{ "email": "a@example.com", "primary": true, "verified": verified }]);
        assert_eq!(email_among(emails(entry)).await, None, "{verified}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_the_primary_one_is_not_taken() {
    for primary in [json!(false), json!("true"), json!(1), json!(null)] {
        let entry = json!([{ "email": "a@example.com", "primary": primary, "verified": true }]);
        assert_eq!(email_among(emails(entry)).await, None, "{primary}");
    }
}

#[tokio::test]
async fn an_unreadable_entry_does_not_spoil_the_others() {
    let entries = json!([
        17,
        "text",
        { "email": "b@example.com", "primary": true, "verified": "true" },
        { "email": "a@example.com", "primary": true, "verified": true },
    ]);
    assert_eq!(email_among(emails(entries)).await.as_deref(), Some("a@example.com"));
    for nothing in [json!(null), json!(""), json!(7)] {
        let entry = json!([{ "email": nothing, "primary": true, "verified": true }]);
        assert_eq!(email_among(emails(entry)).await, None, "{nothing}");
    }
}

#[tokio::test]
async fn a_person_whose_addresses_cannot_be_read_is_signed_in_without_one() {
    for answer in [
        gossip(401),
        gossip(403),
        gossip(404),
        gossip(429),
        gossip(500),
        gossip(200),
        ResponseTemplate::new(200),
        ResponseTemplate::new(200).set_body_string("<html>"),
        ResponseTemplate::new(200).set_body_string("[".repeat(2 * 1024 * 1024)),
        ResponseTemplate::new(302).insert_header("location", "https://elsewhere.example/"),
        emails(json!([])),
    ] {
        assert_eq!(email_among(answer).await, None);
    }
}

// === When GitHub refuses ===

#[tokio::test]
async fn a_refusal_with_status_200_says_what_to_do() {
    for (error, sentence) in [
        ("bad_verification_code", "sign in again"),
        (
            "incorrect_client_credentials",
            "the client ID or the client secret is wrong",
        ),
        ("redirect_uri_mismatch", "another callback URL"),
        ("unverified_user_email", "verify the primary address at GitHub"),
        ("words_of_the_future", "sign in again"),
    ] {
        assert_unusable(with_token(refusal(200, error)).await, sentence);
    }
}

#[tokio::test]
async fn a_refusal_with_another_status_says_what_to_do() {
    assert_unusable(with_token(refusal(400, "invalid_grant")).await, "sign in again");
    assert_unusable(
        with_token(refusal(401, "invalid_client")).await,
        "the client ID or the client secret is wrong",
    );
    assert_unusable(
        with_token(refusal(404, "Not Found")).await,
        "the client ID or the client secret is wrong",
    );
    assert_unusable(with_token(refusal(403, "forbidden")).await, "look at the OAuth app");
}

#[tokio::test]
async fn a_person_who_declined_has_declined() {
    assert!(matches!(
        with_token(refusal(200, "access_denied")).await,
        Err(IdentityError::Denied)
    ));
}

#[tokio::test]
async fn a_return_without_exactly_one_code_is_unusable_and_nobody_is_asked() {
    let upstream = MockServer::start().await;
    for returned in [&[][..], &[("code", "")], &[("code", "a"), ("code", "b")]] {
        let away = Away::with(github(&upstream)).await;
        assert_unusable(away.come_back_with(returned).await, "without exactly one code");
    }
    assert!(upstream.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_token_is_unusable() {
    let json = |body: Value| ResponseTemplate::new(200).set_body_json(body);
    for answer in [
        ResponseTemplate::new(200),
        ResponseTemplate::new(200).set_body_raw("", "application/json"),
        ResponseTemplate::new(200).set_body_raw("{", "application/json"),
        ResponseTemplate::new(200).set_body_raw(format!("<html>{UPSTREAM_TEXT}"), "text/html"),
        ResponseTemplate::new(200).set_body_raw(format!("access_token={TOKEN}&token_type=bearer"), "text/plain"),
        ResponseTemplate::new(201).set_body_json(json!({ "access_token": TOKEN, "token_type": "bearer" })),
        ResponseTemplate::new(401),
        ResponseTemplate::new(404).set_body_raw(UPSTREAM_TEXT, "text/html"),
        json(json!({ "access_token": 7, "token_type": "bearer" })),
        json(json!({ "access_token": TOKEN })),
        json(json!([TOKEN, "bearer"])),
        gossip(200),
        gossip(401),
    ] {
        assert_unusable(with_token(answer).await, "check the base URLs");
    }
    let mac = json(json!({ "access_token": TOKEN, "token_type": "mac" }));
    assert_unusable(with_token(mac).await, "not a bearer token");
    let split = json(json!({ "access_token": format!("{TOKEN}\r\nX: y"), "token_type": "bearer" }));
    assert_unusable(with_token(split).await, "cannot stand in a header");
}

#[tokio::test]
async fn an_account_that_cannot_be_read_is_unusable() {
    let json = |body: Value| ResponseTemplate::new(200).set_body_json(body);
    for answer in [
        ResponseTemplate::new(200),
        ResponseTemplate::new(200).set_body_raw("{", "application/json"),
        ResponseTemplate::new(200).set_body_raw(format!("<html>{UPSTREAM_TEXT}"), "text/html"),
        json(json!({ "id": "583231", "login": "ada" })),
        json(json!({ "id": 583_231.5, "login": "ada" })),
        json(json!({ "id": -1, "login": "ada" })),
        json(json!({ "id": 0, "login": "ada" })),
        json(json!({ "id": null, "login": "ada" })),
        json(json!({ "login": "ada" })),
        json(json!({ "id": 583_231 })),
        json(json!({ "id": 583_231, "login": "" })),
        json(json!({ "id": 583_231, "login": 7 })),
        json(json!({ "id": 583_231, "login": "ada", "name": 7 })),
        json(json!([583_231, "ada", null])),
        gossip(200),
    ] {
        assert_unusable(with_account(answer).await, "no readable number and login");
    }
}

#[tokio::test]
async fn an_api_that_refuses_the_token_is_unusable() {
    assert_unusable(with_account(gossip(401)).await, "sign in again");
    assert_unusable(with_account(gossip(403)).await, "forbids");
    assert_unusable(with_account(gossip(404)).await, "status 404");
    assert_unusable(with_account(gossip(410)).await, "status 410");
}

#[tokio::test]
async fn an_answer_longer_than_a_mebibyte_is_not_read() {
    let long = |length: usize| {
        let padding = " ".repeat(length - r#"{"id":7,"login":"ada"}"#.len());
        let body = format!(r#"{{"id":7,"login":"ada"}}{padding}"#);
        ResponseTemplate::new(200).set_body_raw(body, "application/json")
    };
    assert!(with_account(long(1024 * 1024)).await.is_ok());
    assert_unusable(with_account(long(1024 * 1024 + 1)).await, "longer than anything");
    assert_unusable(with_token(long(1024 * 1024 + 1)).await, "longer than anything");
}

// === When GitHub does not answer ===

/// Answers one request with these bytes, then `more` until nobody reads them, and then hangs up.
fn raw_upstream(head: &'static str, more: &'static str, times: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request
            .windows(CLIENT_SECRET.len())
            .any(|window| window == CLIENT_SECRET.as_bytes())
        {
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..length]);
        }
        let pieces = std::iter::once(head).chain(std::iter::repeat_n(more, times));
        let _ = pieces.map(str::as_bytes).try_for_each(|piece| stream.write_all(piece));
    });
    base
}

#[tokio::test]
async fn an_answer_of_unknown_length_is_read_no_further_than_a_mebibyte() {
    const PIECE: &str = "40\r\n                                                                \r\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    // Without the bound, this would go on for ever.
    let base = raw_upstream(head, PIECE, usize::MAX);
    assert_unusable(
        Away::with(github_at(&base)).await.come_back().await,
        "longer than anything",
    );
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_is_unavailable() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    assert_unavailable(
        Away::with(github_at(&raw_upstream(head, "", 0)))
            .await
            .come_back()
            .await,
        None,
    );
    assert_unavailable(
        Away::with(github_at(&raw_upstream("", "", 0))).await.come_back().await,
        None,
    );
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_unavailable(Away::with(github_at(&base)).await.come_back().await, None);
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_unavailable() {
    let late = token().set_delay(Duration::from_secs(60));
    let upstream = upstream(late, account(), ada_s_emails()).await;
    let away = Away::with(github(&upstream).timeout(Duration::from_millis(50))).await;
    assert_unavailable(away.come_back().await, None);
}

#[tokio::test]
async fn a_server_in_trouble_is_unavailable() {
    for status in [500, 502, 503, 504] {
        assert_unavailable(with_token(gossip(status)).await, None);
        assert_unavailable(with_account(gossip(status)).await, None);
    }
    let later = |after: &str| gossip(503).insert_header("retry-after", after);
    assert_unavailable(with_account(later("120")).await, Some(120));
    // A date is allowed by HTTP and not sent by GitHub.
    assert_unavailable(with_account(later("Wed, 21 Oct 2026 07:28:00 GMT")).await, None);
    assert_unavailable(with_account(later("-1")).await, None);
}

#[tokio::test]
async fn a_rate_limit_is_unavailable_until_github_says_otherwise() {
    for status in [403, 429] {
        let exhausted = || gossip(status).insert_header("x-ratelimit-remaining", "0");
        assert_unavailable(with_account(exhausted()).await, None);
        assert_unavailable(with_token(exhausted()).await, None);
        assert_unavailable(
            with_account(exhausted().insert_header("x-ratelimit-reset", "1700000090")).await,
            Some(90),
        );
        assert_unavailable(
            with_account(exhausted().insert_header("x-ratelimit-reset", "1600000000")).await,
            Some(0),
        );
        let both = exhausted()
            .insert_header("x-ratelimit-reset", "1700000090")
            .insert_header("retry-after", "60");
        assert_unavailable(with_account(both).await, Some(60));
        // Too many at once: some remain, and the moment at which the hour is over means nothing.
        let burst = || {
            let burst = gossip(status).insert_header("x-ratelimit-remaining", "4000");
            burst.insert_header("x-ratelimit-reset", "1700000090")
        };
        assert_unavailable(with_account(burst().insert_header("retry-after", "30")).await, Some(30));
        let expected = if status == 429 { "unavailable" } else { "unusable" };
        match with_account(burst()).await.unwrap_err() {
            IdentityError::Unavailable { retry_after: None, .. } => assert_eq!(expected, "unavailable"),
            IdentityError::Unusable(_) => assert_eq!(expected, "unusable"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn nobody_is_told_to_wait_for_more_than_an_hour() {
    let exhausted = |name: &'static str, value: &str| {
        gossip(429)
            .insert_header("x-ratelimit-remaining", "0")
            .insert_header(name, value)
    };
    let for_ever = u64::MAX.to_string();
    assert_unavailable(with_account(exhausted("retry-after", &for_ever)).await, Some(3600));
    assert_unavailable(
        with_account(exhausted("x-ratelimit-reset", &for_ever)).await,
        Some(3600),
    );
}

// === Redirects ===

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = MockServer::start().await;
    for status in [301, 302, 303, 307, 308] {
        let redirect = || ResponseTemplate::new(status).insert_header("location", format!("{}/login", elsewhere.uri()));
        assert_unusable(with_token(redirect()).await, "not followed");
        assert_unusable(with_account(redirect()).await, "not followed");
        assert_eq!(email_among(redirect()).await, None);
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_to_the_same_server_is_not_followed_either() {
    let upstream = upstream(token(), account(), ada_s_emails()).await;
    upstream.reset().await;
    let redirect = ResponseTemplate::new(307).insert_header("location", "/moved");
    Mock::given(path("/login/oauth/access_token"))
        .respond_with(redirect)
        .expect(1)
        .mount(&upstream)
        .await;
    Mock::given(path("/moved"))
        .respond_with(token())
        .expect(0)
        .mount(&upstream)
        .await;
    Mock::given(header_exists("authorization"))
        .respond_with(account())
        .expect(0)
        .mount(&upstream)
        .await;
    assert_unusable(Away::with(github(&upstream)).await.come_back().await, "not followed");
}

// === Configuration ===

#[tokio::test]
async fn debug_output_shows_no_secret() {
    let upstream = upstream(token(), account(), ada_s_emails()).await;
    let github = github(&upstream);
    let before = format!("{github:?} {github:#?}");
    Away::with(github.clone()).await.come_back().await.unwrap();
    let after = format!("{github:?} {github:#?}");
    for shown in [before, after] {
        assert!(shown.contains(CLIENT_ID));
        for secret in [CLIENT_SECRET, CODE, TOKEN] {
            assert!(!shown.contains(secret), "{secret} is in {shown}");
        }
    }
}

#[tokio::test]
async fn an_enterprise_server_has_its_endpoints_below_its_own_url() {
    let upstream = MockServer::start().await;
    let answers = [
        ("/login/oauth/access_token", token()),
        ("/api/v3/user", account()),
        ("/api/v3/user/emails", ada_s_emails()),
    ];
    for (endpoint, answer) in answers {
        Mock::given(path(endpoint))
            .respond_with(answer)
            .expect(1)
            .mount(&upstream)
            .await;
    }
    let github = GitHub::new(CLIENT_ID, CLIENT_SECRET)
        .enterprise(&upstream.uri())
        .unwrap();
    let away = Away::with(github).await;
    assert!(
        away.location
            .as_str()
            .starts_with(&format!("{}/login/oauth/authorize?", upstream.uri()))
    );
    let identity = away.come_back().await.unwrap();
    assert_eq!(identity.email.as_deref(), Some("ada@example.com"));
}

#[test]
fn people_of_an_enterprise_server_are_not_people_of_github_com() {
    let github = || GitHub::new(CLIENT_ID, CLIENT_SECRET);
    assert_eq!((github().id(), github().display_name()), ("github", "GitHub"));
    let corporate = github().enterprise("https://github.corp.example/").unwrap();
    assert_eq!(corporate.id(), "github.corp.example");
    assert_eq!(corporate.display_name(), "GitHub at github.corp.example");
    let second = github().enterprise("https://github.corp.example:8443").unwrap();
    assert_eq!(second.id(), "github.corp.example:8443");
    let named = github()
        .provider_id("corporate")
        .enterprise("https://github.corp.example")
        .unwrap();
    assert_eq!(named.id(), "corporate");
    let resident = github()
        .base_urls("https://acme.ghe.com", "https://api.acme.ghe.com")
        .unwrap();
    assert_eq!(resident.id(), "acme.ghe.com");
}

#[test]
fn a_url_that_would_send_secrets_in_the_clear_is_refused() {
    let github = || GitHub::new(CLIENT_ID, CLIENT_SECRET);
    let insecure = |host: &str| InvalidBaseUrl::Insecure(host.to_owned());
    assert_eq!(
        github().enterprise("http://github.corp.example").unwrap_err(),
        insecure("github.corp.example")
    );
    let mixed = github().base_urls("https://github.corp.example", "http://api.corp.example");
    assert_eq!(mixed.unwrap_err(), insecure("api.corp.example"));
}

#[test]
fn what_cannot_work_is_told_before_anybody_signs_in() {
    let issuer: Issuer = "https://auth.example.com".parse().unwrap();
    let check = |github: GitHub| github.check(&issuer);
    assert_eq!(check(GitHub::new(CLIENT_ID, CLIENT_SECRET)), Ok(()));
    for (github, sentence) in [
        (GitHub::new("", CLIENT_SECRET), "client ID"),
        (GitHub::new(" x", CLIENT_SECRET), "client ID"),
        (GitHub::new(CLIENT_ID, ""), "client secret"),
        (GitHub::new(CLIENT_ID, format!("{CLIENT_SECRET}\n")), "client secret"),
        (GitHub::new(CLIENT_ID, CLIENT_SECRET).provider_id(""), "provider ID"),
        (GitHub::new(CLIENT_ID, CLIENT_SECRET).provider_id("a,b"), "provider ID"),
    ] {
        let said = check(github).unwrap_err();
        assert!(said.contains(sentence), "{said:?} does not say: {sentence}");
        assert!(!said.contains(CLIENT_SECRET));
    }
}

#[test]
fn a_provider_can_be_shared_by_threads() {
    fn assert_shareable<T: Clone + Send + Sync + 'static>() {}
    assert_shareable::<GitHub>();
}
