//! A policy of one's own, beside the lists: what it is asked, and what its answers do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mcp_oauth_core::policy::{GrantPolicy, GrantRequest, Occasion, PolicyError, Verdict};
use mcp_oauth_tests::application::{Answer, FILES, NOTES, SCOPE};
use mcp_oauth_tests::client::{Client, Tokens};

use super::{MAXIMUM_AGE, World, ada, authorize, ending, error_of, member};

/// Answers in the order in which the test has put them in, then allows everything.
#[derive(Clone, Debug, Default)]
pub(super) struct ScriptedPolicy {
    answers: Arc<Mutex<VecDeque<Result<Verdict, &'static str>>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl ScriptedPolicy {
    fn then(&self, answer: Result<Verdict, &'static str>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn narrows_to(&self, scopes: &str) {
        self.then(Ok(Verdict::Narrow(scopes.parse().unwrap())));
    }

    fn denies(&self, reason: &str) {
        self.then(Ok(Verdict::Deny(reason.to_owned())));
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

#[async_trait]
impl GrantPolicy for ScriptedPolicy {
    async fn decide(&self, request: &GrantRequest<'_>) -> Result<Verdict, PolicyError> {
        let occasion = match request.occasion {
            Occasion::Approval => "approval",
            Occasion::Refresh => "refresh",
            _ => "something else",
        };
        let resources: Vec<_> = request.resources.iter().map(ToString::to_string).collect();
        self.seen.lock().unwrap().push(format!(
            "{occasion}: {} by {} for {} with {}",
            request.identity.subject(),
            request.client.display_name(),
            resources.join(" "),
            request.scopes,
        ));
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(Verdict::Allow));
        answer.map_err(PolicyError::new)
    }
}

fn scope_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["scope"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_policy_is_asked_about_whom_the_lists_let_in_at_approval_and_at_refresh() {
    let (world, policy) = World::with_policy();
    let application = world.application("ada", [None, None]);
    let client = Client::public(&application).await;
    let denied = authorize(&application, &client, "grace", &[NOTES]).await;
    assert_eq!(error_of(&denied).as_deref(), Some("access_denied"));
    assert!(policy.seen().is_empty());

    let tokens = client.sign_in(&application, "ada").await;
    let what = format!("development:ada by Test client for {NOTES} with {SCOPE} notes:write");
    assert_eq!(policy.seen(), [format!("approval: {what}")]);
    client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(policy.seen()[1..], [format!("refresh: {what}")]);
}

#[tokio::test]
async fn what_a_policy_denies_the_client_is_told_with_the_reason() {
    let (world, policy) = World::with_policy();
    let application = world.application("*", [None, None]);
    let client = Client::public(&application).await;
    policy.denies("the contract has ended, ask \"sales\"");
    let denied = authorize(&application, &client, "ada", &[NOTES]).await;
    assert_eq!(error_of(&denied).as_deref(), Some("access_denied"));
    let reason = "the contract has ended, ask 'sales'";
    assert_eq!(denied.parameter("error_description").as_deref(), Some(reason));

    let tokens = client.sign_in(&application, "ada").await;
    policy.denies("the contract has ended, ask \"sales\"");
    let refused = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refused.error(), "invalid_grant");
    assert_eq!(refused.json()["error_description"], reason);
    ending(&application, &client, tokens)
        .has_come_at_a_refresh_at(&application)
        .await;
}

#[tokio::test]
async fn scopes_that_a_policy_took_away_do_not_come_back_within_the_grant() {
    let (world, policy) = World::with_policy();
    let application = world.application("*", [None, None]);
    let client = Client::public(&application).await;
    let all = format!("{SCOPE} notes:write");

    policy.narrows_to(SCOPE);
    let code = client.code(&application, "ada").await;
    let redeemed = client.redeem(&application, &code, &[]).await;
    assert_eq!(scope_of(&redeemed), SCOPE);
    let token = Tokens::of(&redeemed).refresh_token;
    assert_eq!(
        scope_of(&client.refresh(&application, &token, &[("scope", &all)]).await),
        SCOPE
    );

    // In a grant that had all of them, at a refresh and at a repeat.
    let tokens = client.sign_in(&application, "ada").await;
    let first = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(scope_of(&first), all);
    policy.narrows_to("notes:write and:more");
    let repeat = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(scope_of(&repeat), "notes:write");
    assert_eq!(Tokens::of(&repeat).refresh_token, Tokens::of(&first).refresh_token);
    let next = client
        .refresh(&application, &Tokens::of(&first).refresh_token, &[("scope", &all)])
        .await;
    assert_eq!(scope_of(&next), "notes:write");

    // And approved anew.
    let code = client.code(&application, "ada").await;
    assert_eq!(scope_of(&client.redeem(&application, &code, &[]).await), all);
}

#[tokio::test]
async fn to_leave_no_scope_is_to_deny() {
    let (world, policy) = World::with_policy();
    let application = world.application("*", [None, None]);
    let client = Client::public(&application).await;
    policy.narrows_to("other:scope");
    let denied = authorize(&application, &client, "ada", &[NOTES]).await;
    assert_eq!(error_of(&denied).as_deref(), Some("access_denied"));
    let tokens = client.sign_in(&application, "ada").await;
    policy.narrows_to("other:scope");
    ending(&application, &client, tokens)
        .comes_with_a_refresh_at(&application)
        .await;
    // Where there was none, there is none to lose.
    policy.narrows_to("other:scope");
    let code = authorize(&application, &client, "ada", &[FILES]).await.code();
    assert_eq!(client.redeem(&application, &code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_policy_that_fails_lets_nobody_in_and_ends_nothing() {
    let (world, policy) = World::with_policy();
    let application = world.scripted("*");
    let client = Client::public(&application).await;
    policy.then(Err("the database is gone: password hunter2"));
    let page = world.come_back(&application, &client, ada()).await;
    assert_eq!(page.status, 503, "{page:?}");
    assert_ne!(page.header("retry-after"), "");
    assert!(!page.body.contains("hunter2"));

    let tokens = world.sign_in(&application, &client, ada()).await;
    for _ in 0..2 {
        policy.then(Err("the database is gone: password hunter2"));
        let later = client.refresh(&application, &tokens.refresh_token, &[]).await;
        assert_eq!(
            (later.status.as_u16(), later.error()),
            (503, "temporarily_unavailable".to_owned())
        );
        assert_ne!(later.header("retry-after"), "");
        assert!(!later.body.contains("hunter2"));
    }
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.status,
        200
    );
}

/// It may count on what no list names.
#[tokio::test]
async fn with_a_policy_memberships_grow_too_old_for_everybody_who_has_some() {
    for (person, ends) in [(ada(), false), (member(), true)] {
        let (world, _) = World::with_policy();
        let application = world.scripted("*");
        let client = Client::public(&application).await;
        let tokens = world.sign_in(&application, &client, person).await;
        world.clock.advance(MAXIMUM_AGE);
        let refreshed = client.refresh(&application, &tokens.refresh_token, &[]).await;
        assert_eq!(refreshed.status == 400, ends, "{refreshed:?}");
    }
}
