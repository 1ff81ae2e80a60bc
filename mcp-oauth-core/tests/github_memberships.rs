//! Organisations and teams, at sign-ins and while people are away, with a GitHub that these tests play themselves.

#![cfg(feature = "github")]
#![allow(clippy::unwrap_used, reason = "in a test, the helpers are tests too")]

use std::error::Error;
use std::time::Duration;

use mcp_oauth_core::clock::{ManualClock, UnixTime};
use mcp_oauth_core::identity::github::GitHub;
use mcp_oauth_core::identity::membership::Membership;
use mcp_oauth_core::identity::{Identity, IdentityError, IdentityProvider, SignIn, SignInReturn, Standing};
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::pkce::CodeVerifier;
use mcp_oauth_core::policy::AllowList;
use mcp_oauth_core::secret::Secret;
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const TOKEN: &str = "gho_the-token";
const MEMBERSHIP_TOKEN: &str = "ghp_of-the-operator";
/// Stands in every answer that an error is made of.
const UPSTREAM_TEXT: &str = "words of the upstream";
const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);

// === The GitHub of these tests ===

struct Upstream(MockServer);

impl Upstream {
    /// One where Ada can sign in.
    async fn start() -> Self {
        let upstream = Self(MockServer::start().await);
        Mock::given(method("POST"))
            .and(path("/login/oauth/access_token"))
            .respond_with(json_answer(
                200,
                &json!({ "access_token": TOKEN, "token_type": "bearer" }),
            ))
            .mount(&upstream.0)
            .await;
        upstream
            .answers(
                TOKEN,
                "/user",
                200,
                json!({ "id": 583_231, "login": "ada", "name": "Ada Lovelace" }),
            )
            .await;
        upstream
            .answers(
                TOKEN,
                "/user/emails",
                200,
                json!([{ "email": "ada@example.com", "primary": true, "verified": true }]),
            )
            .await;
        upstream
    }

    /// Answers whoever has this token.
    async fn answers(&self, token: &str, at: &str, status: u16, body: Value) {
        self.mount(token, at, json_answer(status, &body)).await;
    }

    async fn mount(&self, token: &str, at: &str, answer: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path(format!("/api{at}")))
            .and(header("authorization", format!("Bearer {token}")))
            .respond_with(answer)
            .mount(&self.0)
            .await;
    }

    /// A page of the teams of who has signed in.
    async fn teams(&self, page: usize, teams: Value, link: Option<&str>) {
        let mut answer = json_answer(200, &teams);
        if let Some(link) = link {
            answer = answer.insert_header("link", link);
        }
        Mock::given(method("GET"))
            .and(path("/api/user/teams"))
            .and(query_param("page", page.to_string()))
            .and(query_param("per_page", "100"))
            .and(header("authorization", format!("Bearer {TOKEN}")))
            .respond_with(answer)
            .mount(&self.0)
            .await;
    }

    fn github(&self, wanted: &str) -> GitHub {
        let base = self.0.uri();
        GitHub::new("Ov23liExample", "the-client-secret")
            .base_urls(&base, &format!("{base}/api"))
            .unwrap()
            .provider_id("github")
            .clock(ManualClock::at(NOW))
            .read_memberships(AllowList::parse(wanted).unwrap().memberships().cloned())
    }

    /// Which paths were asked for, beside those of every sign-in.
    async fn asked(&self) -> Vec<String> {
        let requests = self.0.received_requests().await.unwrap();
        let paths = requests.iter().map(|request| request.url.path().to_owned());
        paths
            .filter(|path| !["/login/oauth/access_token", "/api/user", "/api/user/emails"].contains(&path.as_str()))
            .collect()
    }
}

fn json_answer(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

fn not_found() -> Value {
    json!({ "message": "Not Found", "status": "404" })
}

fn gossip() -> Value {
    json!({ "message": UPSTREAM_TEXT, "echo": [TOKEN, MEMBERSHIP_TOKEN] })
}

fn membership(state: &str) -> Value {
    json!({ "state": state, "role": "member", "user": { "id": 583_231, "login": "ada" } })
}

fn team(organization: &str, slug: &str) -> Value {
    json!({ "slug": slug, "organization": { "login": organization }, "parent": null })
}

async fn sign_in(github: &GitHub) -> Result<Identity, IdentityError> {
    let parameters: Parameters = [("code".to_owned(), "the-code".to_owned())].into_iter().collect();
    let callback: Url = "http://127.0.0.1:8080/callback".parse().unwrap();
    let verifier: CodeVerifier = "v".repeat(43).parse().unwrap();
    github
        .identify(&SignInReturn::new(&parameters, &callback, &verifier))
        .await
}

async fn memberships(upstream: &Upstream, wanted: &str) -> Vec<String> {
    let identity = sign_in(&upstream.github(wanted)).await.unwrap();
    assert_eq!(identity.subject(), "github:583231");
    assert_eq!(identity.email.as_deref(), Some("ada@example.com"));
    identity.memberships.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_discreet(error: &IdentityError) {
    let causes = std::iter::successors(Some(error as &dyn Error), |cause| (*cause).source());
    let shown = causes
        .map(|cause| format!("{cause} {cause:?}"))
        .collect::<Vec<_>>()
        .join(" ");
    for secret in [TOKEN, MEMBERSHIP_TOKEN, UPSTREAM_TEXT, "http://"] {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(answer: Result<T, IdentityError>, seconds: Option<u64>) {
    let error = answer.unwrap_err();
    assert_discreet(&error);
    let IdentityError::Unavailable { retry_after, .. } = error else {
        panic!("{error:?} is not unavailable")
    };
    assert_eq!(retry_after, seconds.map(Duration::from_secs));
}

#[track_caller]
fn assert_unusable<T: std::fmt::Debug>(answer: Result<T, IdentityError>, sentence: &str) {
    let error = answer.unwrap_err();
    assert_discreet(&error);
    let IdentityError::Unusable(said) = &error else {
        panic!("{error:?} in place of: {sentence}")
    };
    assert!(said.contains(sentence), "{said:?} does not say: {sentence}");
}

// === Signing in ===

#[tokio::test]
async fn organisations_are_asked_for_only_where_they_count() {
    let scopes = async |github: GitHub| {
        let (state, verifier) = (Secret::from("state"), "v".repeat(43).parse().unwrap());
        let callback: Url = "https://auth.example.com/callback".parse().unwrap();
        let url = github
            .sign_in_url(&SignIn::new(&state, &callback, &verifier))
            .await
            .unwrap();
        let (_, scopes) = url.query_pairs().find(|(name, _)| name == "scope").unwrap();
        scopes.into_owned()
    };
    let github = || GitHub::new("id", "secret");
    assert_eq!(scopes(github()).await, "read:user user:email");
    assert_eq!(scopes(github().membership_token("x")).await, "read:user user:email");
    let reading = github().read_memberships(["org=acme".parse().unwrap()]);
    assert_eq!(scopes(reading).await, "read:user user:email read:org");
}

#[tokio::test]
async fn nobody_is_asked_what_nobody_wants_to_know() {
    let upstream = Upstream::start().await;
    assert!(memberships(&upstream, "ada, *").await.is_empty());
    assert!(upstream.asked().await.is_empty());
    assert!(memberships(&upstream, "org=acme").await.is_empty());
    assert_eq!(upstream.asked().await, ["/api/user/memberships/orgs/acme"]);
}

#[tokio::test]
async fn a_member_of_an_organisation_is_one_once_the_invitation_is_accepted() {
    let upstream = Upstream::start().await;
    for (organization, status, body) in [
        ("active", 200, membership("active")),
        ("pending", 200, membership("pending")),
        ("odd", 200, membership("ACTIVE")),
        ("array", 200, json!(["active"])),
        ("truth", 200, json!({ "state": true })),
        ("absent", 404, not_found()),
        ("restricted", 403, gossip()),
        ("strange", 418, gossip()),
    ] {
        let at = format!("/user/memberships/orgs/{organization}");
        upstream.answers(TOKEN, &at, status, body).await;
    }
    let wanted =
        "org=pending org=odd org=array org=truth org=Active org=absent org=restricted org=strange org=unheard-of";
    assert_eq!(memberships(&upstream, wanted).await, ["org=active"]);
}

#[tokio::test]
async fn as_many_organisations_are_read_as_count() {
    let upstream = Upstream::start().await;
    let wanted: Vec<String> = (0..20).map(|number| format!("org=acme-{number}")).collect();
    for organization in &wanted {
        let at = organization.replace("org=", "/user/memberships/orgs/");
        upstream.answers(TOKEN, &at, 200, membership("active")).await;
    }
    assert_eq!(memberships(&upstream, &wanted.join(" ")).await, wanted);
}

/// Its old name can become somebody else's.
#[tokio::test]
async fn an_organisation_that_has_another_name_now_has_no_members_under_its_old_one() {
    let upstream = Upstream::start().await;
    let moved = ResponseTemplate::new(301).insert_header("location", format!("{}/api/elsewhere", upstream.0.uri()));
    upstream.mount(TOKEN, "/user/memberships/orgs/old", moved).await;
    upstream.answers(TOKEN, "/elsewhere", 200, membership("active")).await;
    assert!(memberships(&upstream, "org=old").await.is_empty());
    assert_eq!(upstream.asked().await, ["/api/user/memberships/orgs/old"]);
}

#[tokio::test]
async fn teams_are_looked_for_on_every_page_and_only_those_that_count_are_kept() {
    let upstream = Upstream::start().await;
    // Where the next page is said to be makes no difference.
    let next = r#"<https://evil.example/teams?page=2>; rel="next", <https://evil.example/teams?page=9>; rel="last""#;
    upstream
        .teams(1, json!([team("Acme", "dev"), team("acme", "Secret-Ops")]), Some(next))
        .await;
    upstream
        .teams(2, json!([team("acme", "ops"), team("other", "admins")]), Some(next))
        .await;
    let last = r#"<https://evil.example/teams?page=1>; rel="first""#;
    upstream.teams(3, json!([team("acme", "late")]), Some(last)).await;
    let wanted = "team=acme/ops team=ACME/secret-ops team=acme/admins team=acme/late";
    assert_eq!(
        memberships(&upstream, wanted).await,
        ["team=acme/ops", "team=acme/secret-ops", "team=acme/late"]
    );
    assert_eq!(upstream.asked().await, ["/api/user/teams"; 3]);
}

#[tokio::test]
async fn no_more_than_ten_pages_of_teams_are_read() {
    let upstream = Upstream::start().await;
    for page in 1..=11 {
        let teams = json!([team("acme", &format!("team-{page}"))]);
        upstream.teams(page, teams, Some(r#"<x>; rel="next""#)).await;
    }
    assert_eq!(
        memberships(&upstream, "team=acme/team-10 team=acme/team-11").await,
        ["team=acme/team-10"]
    );
    assert_eq!(upstream.asked().await.len(), 10);
}

#[tokio::test]
async fn whoever_is_in_a_team_is_in_the_one_above_it() {
    let upstream = Upstream::start().await;
    let below = json!({ "slug": "ops-eu", "organization": { "login": "acme" }, "parent": { "slug": "ops" } });
    upstream.teams(1, json!([below]), None).await;
    let wanted = "team=acme/ops team=acme/ops-eu team=acme/ops-us team=ops/acme";
    assert_eq!(
        memberships(&upstream, wanted).await,
        ["team=acme/ops", "team=acme/ops-eu"]
    );
}

#[tokio::test]
async fn an_unreadable_team_does_not_spoil_the_others() {
    let upstream = Upstream::start().await;
    let entries = json!([
        null,
        7,
        "acme/ops",
        { "slug": "ops" },
        { "slug": 7, "organization": { "login": "acme" } },
        { "slug": "../x", "organization": { "login": "acme" } },
        team("acme", "dev"),
    ]);
    upstream.teams(1, entries, None).await;
    assert_eq!(
        memberships(&upstream, "team=acme/ops team=acme/dev").await,
        ["team=acme/dev"]
    );
}

#[tokio::test]
async fn teams_that_cannot_be_read_are_none() {
    for (status, body) in [
        (200, json!({ "teams": [team("acme", "ops")] })),
        (403, gossip()),
        (404, not_found()),
    ] {
        let upstream = Upstream::start().await;
        upstream.answers(TOKEN, "/user/teams", status, body).await;
        assert!(memberships(&upstream, "team=acme/ops").await.is_empty(), "{status}");
    }
}

#[tokio::test]
async fn nobody_is_turned_away_because_github_cannot_answer_now() {
    let limited = |status: u16| json_answer(status, &gossip());
    let answers = [
        (limited(500), None),
        (limited(429).insert_header("retry-after", "17"), Some(17)),
        (limited(403).insert_header("retry-after", "18"), Some(18)),
        (
            limited(403)
                .insert_header("x-ratelimit-remaining", "0")
                .insert_header("x-ratelimit-reset", "1700000019"),
            Some(19),
        ),
    ];
    for (answer, wait) in answers {
        for (at, wanted) in [
            ("/user/memberships/orgs/acme", "org=acme"),
            ("/user/teams", "team=acme/ops"),
        ] {
            let upstream = Upstream::start().await;
            upstream.mount(TOKEN, at, answer.clone()).await;
            assert_unavailable(sign_in(&upstream.github(wanted)).await, wait);
        }
    }
}

#[test]
fn groups_and_what_it_was_not_told_to_read_are_nothing_that_github_tells() {
    let told = |github: &GitHub, membership: &str| github.tells(&membership.parse::<Membership>().unwrap());
    let github = GitHub::new("id", "secret").read_memberships(["org=acme".parse().unwrap()]);
    assert!(told(&github, "org=ACME"));
    assert!(!told(&github, "org=other") && !told(&github, "team=acme/ops") && !told(&github, "group=acme"));
}

// === Standing ===

fn ada() -> Identity {
    Identity::new("github", "583231")
        .with_login("ada")
        .with_name("Ada Lovelace")
        .with_verified_email("ada@example.com")
}

fn with(memberships: &str) -> Identity {
    ada().with_memberships(memberships.split(' ').map(|membership| membership.parse().unwrap()))
}

fn account(login: &str) -> Value {
    json!({ "id": 583_231, "login": login, "name": "Ada Lovelace", "type": "User" })
}

impl Upstream {
    /// One that knows Ada by this login.
    async fn with_account(login: &str) -> Self {
        let upstream = Self(MockServer::start().await);
        upstream
            .answers(MEMBERSHIP_TOKEN, "/user/583231", 200, account(login))
            .await;
        upstream
    }

    async fn standing(&self, wanted: &str, identity: &Identity) -> Result<Standing, IdentityError> {
        self.github(wanted)
            .membership_token(MEMBERSHIP_TOKEN)
            .standing(identity)
            .await
    }
}

#[tokio::test]
async fn without_a_token_of_the_operators_nobody_is_asked_and_nothing_is_known() {
    let upstream = Upstream::with_account("ada").await;
    let standing = upstream.github("org=acme").standing(&with("org=acme")).await;
    assert_eq!(standing.unwrap(), Standing::Unchanged);
    assert!(upstream.asked().await.is_empty());
}

#[tokio::test]
async fn whoever_is_as_they_were_is_confirmed() {
    let upstream = Upstream::with_account("ada").await;
    assert_eq!(upstream.standing("", &ada()).await.unwrap(), Standing::Confirmed);
    let at = "/orgs/acme/memberships/ada";
    upstream.answers(MEMBERSHIP_TOKEN, at, 200, membership("active")).await;
    let at = "/orgs/acme/teams/ops/memberships/ada";
    upstream
        .answers(
            MEMBERSHIP_TOKEN,
            at,
            200,
            json!({ "state": "active", "role": "maintainer" }),
        )
        .await;
    let mut identity = with("org=acme team=acme/ops");
    identity.learnt_at = Some(NOW);
    let standing = upstream.standing("org=Acme team=acme/Ops", &identity).await;
    assert_eq!(standing.unwrap(), Standing::Confirmed);
}

#[tokio::test]
async fn a_new_login_is_told_and_asked_with() {
    let upstream = Upstream::with_account("countess").await;
    let at = "/orgs/acme/memberships/countess";
    upstream.answers(MEMBERSHIP_TOKEN, at, 200, membership("active")).await;
    let standing = upstream.standing("org=acme", &with("org=acme")).await.unwrap();
    assert_eq!(standing, Standing::Changed(with("org=acme").with_login("countess")));
}

/// Attack V-18.
#[tokio::test]
async fn whoever_has_left_an_organisation_or_a_team_belongs_to_it_no_longer() {
    let at_org = "/orgs/acme/memberships/ada";
    let at_team = "/orgs/acme/teams/ops/memberships/ada";
    let somebody_else = json!({ "state": "active", "user": { "id": 666, "login": "ada" } });
    let moved = ResponseTemplate::new(301).insert_header("location", "/elsewhere");
    for answer in [
        json_answer(404, &not_found()),
        json_answer(200, &membership("pending")),
        json_answer(200, &somebody_else),
        moved,
    ] {
        let upstream = Upstream::with_account("ada").await;
        upstream.mount(MEMBERSHIP_TOKEN, at_org, answer.clone()).await;
        upstream.mount(MEMBERSHIP_TOKEN, at_team, answer).await;
        let before = with("org=acme team=acme/ops");
        let standing = upstream.standing("org=acme team=acme/ops", &before).await;
        assert_eq!(standing.unwrap(), Standing::Changed(ada()));
    }
}

#[tokio::test]
async fn whoever_has_joined_since_belongs_to_it() {
    let upstream = Upstream::with_account("ada").await;
    let at = "/orgs/acme/memberships/ada";
    upstream.answers(MEMBERSHIP_TOKEN, at, 200, membership("active")).await;
    let standing = upstream.standing("org=acme", &ada()).await.unwrap();
    assert_eq!(standing, Standing::Changed(with("org=acme")));
}

/// Attack V-18.
#[tokio::test]
async fn an_account_that_is_deleted_or_suspended_is_gone() {
    let suspended = json!({ "id": 583_231, "login": "ada", "suspended_at": "2026-01-01T00:00:00Z" });
    for (status, body) in [(404, not_found()), (200, suspended)] {
        let upstream = Upstream(MockServer::start().await);
        upstream.answers(MEMBERSHIP_TOKEN, "/user/583231", status, body).await;
        assert_eq!(
            upstream.standing("org=acme", &with("org=acme")).await.unwrap(),
            Standing::Gone
        );
        assert_eq!(upstream.asked().await, ["/api/user/583231"]);
    }
}

#[tokio::test]
async fn only_github_itself_can_say_that_somebody_is_gone() {
    let page = ResponseTemplate::new(404).set_body_string("<html>Not Found</html>");
    let named = |id: u64, login: &str| json_answer(200, &json!({ "id": id, "login": login }));
    for (answer, sentence) in [
        (page, "status 404"),
        (json_answer(404, &json!([{ "message": "x" }])), "status 404"),
        (
            ResponseTemplate::new(301).insert_header("location", "/elsewhere"),
            "redirects",
        ),
        (json_answer(410, &gossip()), "status 410"),
        (json_answer(401, &gossip()), "make a new one"),
        (json_answer(403, &gossip()), "may not read"),
        (named(666, "ada"), "cannot be read"),
        (named(583_231, ""), "cannot be read"),
        (named(583_231, ".."), "cannot be read"),
        (named(583_231, "../orgs"), "cannot be read"),
        (json_answer(200, &json!([1])), "cannot be read"),
    ] {
        let upstream = Upstream(MockServer::start().await);
        upstream.mount(MEMBERSHIP_TOKEN, "/user/583231", answer).await;
        assert_unusable(upstream.standing("org=acme", &with("org=acme")).await, sentence);
        assert_eq!(upstream.asked().await, ["/api/user/583231"]);
    }
}

#[tokio::test]
async fn a_token_that_may_not_see_members_takes_nobodys_membership_away() {
    for (wanted, at) in [
        ("org=acme", "/orgs/acme/memberships/ada"),
        ("team=acme/ops", "/orgs/acme/teams/ops/memberships/ada"),
    ] {
        for (answer, sentence) in [
            (json_answer(401, &gossip()), "make a new one"),
            (json_answer(403, &gossip()), "read:org"),
            (ResponseTemplate::new(404).set_body_string("no such page"), "status 404"),
        ] {
            let upstream = Upstream::with_account("ada").await;
            upstream.mount(MEMBERSHIP_TOKEN, at, answer).await;
            assert_unusable(upstream.standing(wanted, &with(wanted)).await, sentence);
        }
    }
}

#[tokio::test]
async fn somebody_without_a_number_cannot_be_asked_about() {
    let upstream = Upstream::with_account("ada").await;
    for id in ["", "0", "ada", "-1", "583231/../1"] {
        let identity = Identity::new("github", id);
        assert_unusable(upstream.standing("", &identity).await, "sign in again");
    }
    assert!(upstream.asked().await.is_empty());
}

#[tokio::test]
async fn github_is_left_alone_for_as_long_as_it_asks_for() {
    let upstream = Upstream(MockServer::start().await);
    let clock = ManualClock::at(NOW);
    let github = upstream
        .github("")
        .clock(clock.clone())
        .membership_token(MEMBERSHIP_TOKEN);
    let limited = json_answer(429, &gossip()).insert_header("retry-after", "60");
    upstream.mount(MEMBERSHIP_TOKEN, "/user/583231", limited).await;
    assert_unavailable(github.standing(&ada()).await, Some(60));

    clock.advance(Duration::from_secs(59));
    let somebody_else = Identity::new("github", "7").with_login("grace");
    assert_unavailable(github.clone().standing(&somebody_else).await, Some(1));
    assert_eq!(upstream.asked().await.len(), 1);

    clock.advance(Duration::from_secs(1));
    upstream.0.reset().await;
    upstream
        .answers(MEMBERSHIP_TOKEN, "/user/583231", 200, account("ada"))
        .await;
    assert_eq!(github.standing(&ada()).await.unwrap(), Standing::Confirmed);
}

#[tokio::test]
async fn a_github_that_does_not_answer_is_unavailable_and_asked_again() {
    let upstream = Upstream::with_account("ada").await;
    upstream
        .answers(MEMBERSHIP_TOKEN, "/orgs/acme/memberships/ada", 502, gossip())
        .await;
    let github = upstream.github("org=acme").membership_token(MEMBERSHIP_TOKEN);
    for _ in 0..2 {
        assert_unavailable(github.standing(&with("org=acme")).await, None);
    }
    assert_eq!(upstream.asked().await.len(), 4);
}

// === The token of the operator ===

#[tokio::test]
async fn a_sign_in_is_not_done_with_the_operators_token() {
    let upstream = Upstream::start().await;
    upstream
        .answers(TOKEN, "/user/memberships/orgs/acme", 200, membership("active"))
        .await;
    let github = upstream.github("org=acme").membership_token(MEMBERSHIP_TOKEN);
    assert_eq!(sign_in(&github).await.unwrap(), with("org=acme"));
    let shown = format!("{:?}", upstream.0.received_requests().await.unwrap());
    assert!(shown.contains(TOKEN) && !shown.contains(MEMBERSHIP_TOKEN));
}

#[test]
fn debug_output_does_not_show_the_operators_token() {
    let github = GitHub::new("id", "secret").membership_token(MEMBERSHIP_TOKEN);
    assert!(!format!("{github:?}").contains(MEMBERSHIP_TOKEN));
}

#[test]
fn a_token_that_cannot_stand_in_a_header_is_told_beforehand() {
    let issuer = "https://auth.example.com".parse().unwrap();
    for token in ["", " ", "ghp_x\n", "ghp x"] {
        let github = GitHub::new("id", "secret").membership_token(token);
        assert!(
            github.check(&issuer).unwrap_err().contains("membership token"),
            "{token:?}"
        );
    }
    assert!(
        GitHub::new("id", "secret")
            .membership_token("ghp_x")
            .check(&issuer)
            .is_ok()
    );
}
