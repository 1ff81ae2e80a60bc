//! What GitHub does with the tokens of people: its device flow, tokens that expire, and what they tell of somebody who is
//! away. With a GitHub that these tests play themselves.

#![cfg(feature = "github")]
#![allow(clippy::unwrap_used, reason = "in a test, the helpers are tests too")]

use std::time::Duration;

use mcp_oauth_core::clock::{ManualClock, UnixTime};
use mcp_oauth_core::identity::github::GitHub;
use mcp_oauth_core::identity::github::device::{DevicePoll, DeviceSignIn};
use mcp_oauth_core::identity::tokens::{TokensRefreshed, UpstreamTokens};
use mcp_oauth_core::identity::{Identity, IdentityError, IdentityProvider, Standing};
use serde_json::{Value, json};
use wiremock::matchers::{body_string_contains, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const TOKEN: &str = "ghu_the-token";
const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);

struct Upstream {
    server: MockServer,
    clock: ManualClock,
}

impl Upstream {
    async fn start() -> Self {
        Self {
            server: MockServer::start().await,
            clock: ManualClock::at(NOW),
        }
    }

    fn github(&self, wanted: &[&str]) -> GitHub {
        let base = self.server.uri();
        GitHub::new("Ov23liExample", "the-client-secret")
            .base_urls(&base, &format!("{base}/api"))
            .unwrap()
            .provider_id("github")
            .clock(self.clock.clone())
            .read_memberships(wanted.iter().map(|text| text.parse().unwrap()))
    }

    async fn posts(&self, at: &str, status: u16, body: &Value) {
        Mock::given(method("POST"))
            .and(path(at))
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .mount(&self.server)
            .await;
    }

    async fn gets(&self, at: &str, status: u16, body: &Value) {
        Mock::given(method("GET"))
            .and(path(format!("/api{at}")))
            .and(header("authorization", format!("Bearer {TOKEN}")))
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .mount(&self.server)
            .await;
    }

    async fn knows_ada(&self) {
        self.gets("/user", 200, &json!({"id": 583_231, "login": "ada", "name": "Ada"}))
            .await;
        let emails = json!([{"email": "ada@example.com", "primary": true, "verified": true}]);
        self.gets("/user/emails", 200, &emails).await;
    }

    async fn begin(&self, github: &GitHub) -> DeviceSignIn {
        let begun = json!({
            "device_code": "3584d83530557fdd1f46af8289938c8ef79f9dc5", "user_code": "WDJB-MJHT",
            "verification_uri": "https://github.com/login/device", "expires_in": 900, "interval": 5,
        });
        self.posts("/login/device/code", 200, &begun).await;
        github.begin_device_sign_in().await.unwrap()
    }
}

fn ada() -> Identity {
    Identity::new("github", "583231")
        .with_login("ada")
        .with_name("Ada")
        .with_verified_email("ada@example.com")
}

fn unusable<T: std::fmt::Debug>(result: Result<T, IdentityError>) -> String {
    match result {
        Err(IdentityError::Unusable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

// === The device flow ===

#[tokio::test]
async fn a_person_signs_in_by_entering_a_code_at_github() {
    let upstream = Upstream::start().await;
    let github = upstream.github(&[]);
    let mut device = upstream.begin(&github).await;
    assert_eq!(device.user_code(), "WDJB-MJHT");
    assert_eq!(device.verification_uri().as_str(), "https://github.com/login/device");
    assert_eq!(
        (device.interval(), device.expires_at()),
        (Duration::from_secs(5), NOW + Duration::from_secs(900))
    );
    assert!(!format!("{device:?}").contains("3584d835"));
    Mock::given(method("POST"))
        .and(path("/login/oauth/access_token"))
        .and(body_string_contains(
            "device_code=3584d83530557fdd1f46af8289938c8ef79f9dc5",
        ))
        .and(body_string_contains(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code",
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"error": "authorization_pending"})))
        .up_to_n_times(1)
        .mount(&upstream.server)
        .await;
    assert!(matches!(
        github.poll_device_sign_in(&mut device).await,
        Ok(DevicePoll::Waiting)
    ));
    let token = json!({"access_token": TOKEN, "token_type": "bearer", "scope": "read:user,user:email"});
    upstream.posts("/login/oauth/access_token", 200, &token).await;
    upstream.knows_ada().await;
    match github.poll_device_sign_in(&mut device).await.unwrap() {
        DevicePoll::SignedIn(person) => {
            assert_eq!(person.identity, ada());
            assert_eq!(person.tokens.unwrap().access_token.expose(), TOKEN);
        }
        other => panic!("{other:?}"),
    }
    let requests = upstream.server.received_requests().await.unwrap();
    let secret = |request: &wiremock::Request| String::from_utf8_lossy(&request.body).contains("the-client-secret");
    assert!(!requests.iter().any(secret), "the device flow has no secret");
}

#[tokio::test]
async fn each_answer_to_a_poll_is_the_one_that_github_documents() {
    for (answer, expected, interval) in [
        (json!({"error": "authorization_pending"}), "Waiting", 5),
        (json!({"error": "slow_down"}), "Waiting", 10),
        (json!({"error": "slow_down", "interval": 30}), "Waiting", 30),
        (json!({"error": "expired_token"}), "Expired", 5),
        (json!({"error": "access_denied"}), "Denied", 5),
        (json!({"error": "incorrect_device_code"}), "begin anew", 5),
        (json!({"error": "incorrect_client_credentials"}), "client ID", 5),
        (json!({"error": "device_flow_disabled"}), "Enable Device Flow", 5),
        (json!({"error": "unsupported_grant_type"}), "device flow", 5),
        (json!({"access_token": "x", "token_type": "mac"}), "device flow", 5),
        (json!([]), "base URLs", 5),
    ] {
        let upstream = Upstream::start().await;
        let github = upstream.github(&[]);
        let mut device = upstream.begin(&github).await;
        upstream.posts("/login/oauth/access_token", 200, &answer).await;
        let said = match github.poll_device_sign_in(&mut device).await {
            Ok(poll) => format!("{poll:?}"),
            error => unusable(error),
        };
        assert!(said.contains(expected), "{answer}: {said}");
        assert_eq!(device.interval().as_secs(), interval, "{answer}");
    }
}

#[tokio::test]
async fn a_device_sign_in_ends_in_time_and_failures_are_told_apart() {
    let upstream = Upstream::start().await;
    let github = upstream.github(&[]);
    let mut device = upstream.begin(&github).await;
    upstream.posts("/login/oauth/access_token", 503, &json!({})).await;
    let away = github.poll_device_sign_in(&mut device).await;
    assert!(matches!(away, Err(IdentityError::Unavailable { .. })), "{away:?}");
    upstream.clock.advance(Duration::from_secs(900));
    let over = github.poll_device_sign_in(&mut device).await;
    assert!(matches!(over, Ok(DevicePoll::Expired)), "{over:?}");

    for (status, body, expected) in [
        (200, json!({"error": "device_flow_disabled"}), "Enable Device Flow"),
        (404, json!({"error": "Not Found"}), "client ID"),
        (200, json!({"user_code": "x"}), "base URLs"),
    ] {
        upstream.server.reset().await;
        upstream.posts("/login/device/code", status, &body).await;
        assert!(
            unusable(github.begin_device_sign_in().await).contains(expected),
            "{body}"
        );
    }
}

// === Tokens that expire ===

#[tokio::test]
async fn the_token_of_a_github_app_is_exchanged_and_a_refusal_is_one() {
    let upstream = Upstream::start().await;
    let github = upstream.github(&[]);
    let old = UpstreamTokens::new(TOKEN).with_refresh_token("ghr_old");
    Mock::given(method("POST"))
        .and(path("/login/oauth/access_token"))
        .and(body_string_contains("grant_type=refresh_token"))
        .and(body_string_contains("refresh_token=ghr_old"))
        .and(body_string_contains("client_secret=the-client-secret"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "access_token": "ghu_new", "expires_in": 28800, "refresh_token": "ghr_new", "refresh_token_expires_in": 15_811_200,
            "scope": "", "token_type": "bearer",
        })))
        .up_to_n_times(1)
        .mount(&upstream.server)
        .await;
    match github.refresh_tokens(&old).await.unwrap() {
        TokensRefreshed::Tokens(new, None) => {
            assert_eq!(new.access_token.expose(), "ghu_new");
            assert_eq!(new.refresh_token.unwrap().expose(), "ghr_new");
            assert_eq!(new.expires_at, Some(NOW + Duration::from_secs(28800)));
        }
        other => panic!("{other:?}"),
    }
    for (answer, refused) in [("bad_refresh_token", true), ("incorrect_client_credentials", false)] {
        upstream.server.reset().await;
        upstream
            .posts("/login/oauth/access_token", 200, &json!({"error": answer}))
            .await;
        let result = github.refresh_tokens(&old).await;
        assert_eq!(matches!(result, Ok(TokensRefreshed::Refused)), refused, "{result:?}");
        assert_eq!(result.is_err(), !refused);
    }
    let forever = UpstreamTokens::new(TOKEN);
    assert!(matches!(
        github.refresh_tokens(&forever).await,
        Ok(TokensRefreshed::Impossible)
    ));
}

// === While people are away ===

#[tokio::test]
async fn a_persons_own_token_tells_how_they_stand() {
    let tokens = UpstreamTokens::new(TOKEN);
    let member = ada().with_memberships(["org=acme".parse().unwrap()]);
    let active = json!({"state": "active", "user": {"id": 583_231, "login": "ada"}});
    let gone = json!({"message": "Not Found"});
    let suspended = json!({"message": "Sorry. Your account was suspended."});
    let account = json!({"id": 583_231, "login": "ada", "name": "Ada"});
    let renamed = json!({"id": 583_231, "login": "countess", "name": "Ada"});
    for (what, user, org, expected) in [
        (
            "still a member",
            (200, account.clone()),
            (200, active.clone()),
            Some(Standing::Confirmed),
        ),
        (
            "left the organisation",
            (200, account.clone()),
            (404, gone),
            Some(Standing::Changed(ada())),
        ),
        (
            "renamed",
            (200, renamed),
            (200, active.clone()),
            Some(Standing::Changed(member.clone().with_login("countess"))),
        ),
        (
            "app revoked",
            (401, json!({"message": "Bad credentials"})),
            (200, active.clone()),
            Some(Standing::Revoked),
        ),
        (
            "suspended",
            (403, suspended),
            (200, active.clone()),
            Some(Standing::Gone),
        ),
        (
            "suspended at an Enterprise Server",
            (
                200,
                json!({"id": 583_231, "login": "ada", "suspended_at": "2026-01-01T00:00:00Z"}),
            ),
            (200, active.clone()),
            Some(Standing::Gone),
        ),
        (
            "somebody else",
            (200, json!({"id": 7, "login": "ada"})),
            (200, active.clone()),
            None,
        ),
        (
            "forbidden",
            (403, json!({"message": "Resource not accessible"})),
            (200, active.clone()),
            None,
        ),
        ("in trouble", (500, json!({})), (200, active.clone()), None),
        (
            "the organisation in trouble",
            (200, account.clone()),
            (502, json!({})),
            None,
        ),
    ] {
        let upstream = Upstream::start().await;
        upstream.gets("/user", user.0, &user.1).await;
        upstream.gets("/user/memberships/orgs/acme", org.0, &org.1).await;
        let emails = json!([{"email": "ada@example.com", "primary": true, "verified": true}]);
        upstream.gets("/user/emails", 200, &emails).await;
        let standing = upstream
            .github(&["org=acme"])
            .standing_with_tokens(&member, &tokens)
            .await;
        assert_eq!(standing.ok(), expected, "{what}");
    }
}

/// GitHub's secondary limits may come without a header that says so.
#[tokio::test]
async fn a_limit_in_words_alone_is_one() {
    let upstream = Upstream::start().await;
    let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    upstream.gets("/user", 403, &json!({ "message": message })).await;
    let standing = upstream
        .github(&[])
        .standing_with_tokens(&ada(), &UpstreamTokens::new(TOKEN))
        .await;
    match standing {
        Err(IdentityError::Unavailable { retry_after, .. }) => assert_eq!(retry_after, Some(Duration::from_secs(60))),
        other => panic!("{other:?}"),
    }
}
