//! What people and clients are promised, kept by several servers that share nothing but the store.
//!
//! The servers' clock is turned by hand whatever the store's is: times to live are another subject.

use std::fmt::Debug;
use std::time::Duration;

use super::deployment::{parameters, query};
use super::{Database, Deployment, MANY};
use crate::origin::Origin;
use crate::pkce::CodeChallenge;
use crate::revocation::MAXIMUM_AGE;
use crate::secret::Secret;
use crate::server::callback::CallbackOutcome;
use crate::server::consent::ConsentOutcome;
use crate::server::manage::ManagementError;
use crate::server::token::TokenError;
use crate::transaction::Decision;

fn is_invalid_grant<T: Debug>(outcome: &Result<T, TokenError>) -> bool {
    outcome
        .as_ref()
        .is_err_and(|error| error.error().code().as_str() == "invalid_grant")
}

/// Of many redemptions of one code at the same time, at any servers, one succeeds and the others are told
/// `invalid_grant`.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_code_pays_once_over_all_servers(database: &dyn Database) {
    let deployment = Deployment::of(database).await;
    for _ in 0..3 {
        let code = deployment.code().await;
        let outcomes = deployment.storm(deployment.redemption(&code)).await;
        let (paid, refused): (Vec<_>, Vec<_>) = outcomes.iter().partition(|outcome| outcome.is_ok());
        assert_eq!(paid.len(), 1);
        assert!(refused.into_iter().all(is_invalid_grant));
    }
}

/// Many refreshes with one token at the same time, at any servers, all succeed with the same successor.
///
/// # Panics
///
/// When it does not hold.
pub async fn parallel_refreshes_over_all_servers_give_one_successor(database: &dyn Database) {
    let deployment = Deployment::of(database).await;
    let first = deployment.sign_in().await.refresh_token.unwrap();
    let outcomes = deployment.storm(deployment.refreshment(&first)).await;
    let mut successors: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap().refresh_token.unwrap().expose().to_owned())
        .collect();
    successors.sort_unstable();
    successors.dedup();
    assert_eq!(successors.len(), 1);
    assert!(deployment.refresh(2, &Secret::from(successors.remove(0))).await.is_ok());
}

/// Whoever did not get the answer to a refresh gets it from another server: the same successor, within the window.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_repeated_refresh_is_answered_at_another_server(database: &dyn Database) {
    let deployment = Deployment::of(database).await;
    let first = deployment.sign_in().await.refresh_token.unwrap();
    let successor = deployment.refresh(0, &first).await.unwrap().refresh_token.unwrap();
    deployment.clock.advance(Duration::from_secs(59));
    let again = deployment.refresh(1, &first).await.unwrap().refresh_token.unwrap();
    assert_eq!(again.expose(), successor.expose());
}

/// A refresh token that was replaced long ago ends the grant, and with it every token of it, at every server.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_late_replay_ends_the_grant_at_every_server(database: &dyn Database) {
    let deployment = Deployment::of(database).await;
    let first = deployment.sign_in().await.refresh_token.unwrap();
    let second = deployment.refresh(0, &first).await.unwrap();
    deployment.clock.advance(Duration::from_secs(61));
    assert!(
        deployment
            .all_accept(&second.access_token)
            .await
            .iter()
            .all(|accepts| *accepts)
    );
    assert!(is_invalid_grant(&deployment.refresh(1, &first).await));
    assert!(is_invalid_grant(
        &deployment.refresh(2, &second.refresh_token.unwrap()).await
    ));
    deployment.clock.advance(MAXIMUM_AGE);
    assert_eq!(deployment.all_accept(&second.access_token).await, [false; 4]);
}

/// A token that was given back at one server is refused there at once, and everywhere within the bound; giving it back
/// again does no harm.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_revocation_reaches_every_server_within_the_bound(database: &dyn Database) {
    let deployment = Deployment::of(database).await;
    let (ended, other) = (deployment.sign_in().await, deployment.sign_in().await);
    assert_eq!(deployment.all_accept(&ended.access_token).await, [true; 4]);
    for number in 0..2 {
        let refresh_token = ended.refresh_token.as_ref().unwrap();
        deployment.revoke(number, refresh_token).await.unwrap();
        assert!(!deployment.accepts(number, &ended.access_token).await.unwrap());
    }
    deployment.clock.advance(MAXIMUM_AGE);
    assert_eq!(deployment.all_accept(&ended.access_token).await, [false; 4]);
    assert!(is_invalid_grant(
        &deployment.refresh(3, &ended.refresh_token.unwrap()).await
    ));
    assert_eq!(
        deployment.all_accept(&other.access_token).await,
        [true; 4],
        "another grant"
    );
}

/// A client that is deleted at one server is unknown at every other, and its tokens end everywhere within the bound.
///
/// # Panics
///
/// When it does not hold.
pub async fn deleting_a_client_ends_what_it_had_at_every_server(database: &dyn Database) {
    let deployment = Deployment::of(database).await;
    let tokens = deployment.sign_in().await;
    let delete = async |number: usize| {
        let token = Some(deployment.registration_access_token.clone());
        let server = deployment.server(number);
        server
            .delete_client(&deployment.client_id, token, &Origin::unknown())
            .await
    };
    assert_eq!(deployment.all_accept(&tokens.access_token).await, [true; 4]);
    delete(0).await.unwrap();
    assert!(matches!(delete(1).await, Err(ManagementError::InvalidToken)));
    deployment.clock.advance(MAXIMUM_AGE);
    assert_eq!(deployment.all_accept(&tokens.access_token).await, [false; 4]);
    let refused = deployment.refresh(2, &tokens.refresh_token.unwrap()).await.unwrap_err();
    assert_eq!(refused.error().code().as_str(), "invalid_client");
}

/// Approving twice, at two servers, leads to the same sign-in; coming back from it twice gives one code.
///
/// # Panics
///
/// When it does not hold.
pub async fn deciding_twice_is_deciding_once(database: &dyn Database) {
    let deployment = Deployment::of(database).await;
    let challenge = CodeChallenge::of(&deployment.verifier).to_string();
    let request = parameters([
        ("response_type", "code"),
        ("client_id", &deployment.client_id),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    let origin = Origin::unknown();
    let prompt = deployment.server(0).authorize(&request, &origin).await.unwrap();
    let mut approvals = Vec::new();
    for number in 0..4 {
        let browser = Some(&prompt.browser);
        let server = deployment.server(number);
        let consent = server
            .consent(&prompt.transaction, Decision::Approve, browser, &origin)
            .await;
        let Ok(ConsentOutcome::SignIn { location, sign_in }) = consent else {
            panic!("approving leads to the identity provider");
        };
        approvals.push((query(location.as_str(), "state"), sign_in));
    }
    let (state, sign_in) = approvals.pop().unwrap();
    assert!(approvals.iter().all(|(other, _)| *other == state));
    let tasks: Vec<_> = (0..MANY)
        .map(|number| {
            let (server, state, sign_in) = (deployment.server(number).clone(), state.clone(), sign_in.clone());
            tokio::spawn(async move {
                let returned = parameters([("code", "ada")]);
                let state = state.parse().unwrap();
                let outcome = server
                    .callback(&state, &returned, Some(&sign_in), &Origin::unknown())
                    .await;
                matches!(outcome, Ok(CallbackOutcome::Client(_)))
            })
        })
        .collect();
    let mut codes = 0;
    for task in tasks {
        codes += usize::from(task.await.expect("no server panics"));
    }
    assert_eq!(codes, 1);
}
