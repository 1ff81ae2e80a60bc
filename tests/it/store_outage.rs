//! Without its store the server says so and nothing else: never that a token is wrong, and never that all is well.

use std::time::Duration;

use mcp_oauth_tests::application::{Application, NOTES};
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tests::failing_store::Loss;

#[tokio::test]
async fn the_endpoints_answer_503_with_retry_after() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let code = client.code(&application, "ada").await;
    let tokens = client.sign_in(&application, "ada").await;
    application.store.set_down(true);
    for answer in [
        application.post_json("/register", &public_metadata()).await,
        client.redeem(&application, &code, &[]).await,
        client.refresh(&application, &tokens.refresh_token, &[]).await,
    ] {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.error(), "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(application.get(&client.authorization_url(&[])).await.status, 503);

    application.store.set_down(false);
    assert_eq!(client.redeem(&application, &code, &[]).await.status, 200);
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn a_good_token_is_never_called_wrong() {
    let application = Application::default();
    let token = Tokens::issued_to(&application, "ada").await.access_token;
    assert_eq!(application.call(NOTES, &token).await.status, 200);
    application.store.set_down(true);
    assert_eq!(
        application.call(NOTES, &token).await.status,
        200,
        "what was read a moment ago still counts"
    );
    application.clock.advance(Duration::from_secs(1));
    let answer = application.call(NOTES, &token).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("www-authenticate"), "");
    assert_eq!(application.call(NOTES, "wrong.to.ken").await.status, 401);
    application.store.set_down(false);
    assert_eq!(application.call(NOTES, &token).await.status, 200);
}

#[tokio::test]
async fn a_sign_in_goes_on_where_it_stopped() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let mut browser = Browser::default();
    let consent = browser.open(&application, &client.authorization_url(&[])).await;
    application.store.set_down(true);
    assert_eq!(browser.decide(&application, &consent, "approve").await.status, 503);
    application.store.set_down(false);
    let approved = browser.decide(&application, &consent, "approve").await;
    application.store.set_down(true);
    assert_eq!(browser.sign_in(&application, &approved, "ada").await.status, 503);
    application.store.set_down(false);
    let code = arrival(&browser.sign_in(&application, &approved, "ada").await).code();
    assert_eq!(client.redeem(&application, &code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_process_learns_within_a_second_that_another_has_ended_a_grant() {
    let one = Application::default();
    let keys = mcp_oauth_core::token::keys::KeySet::generate(mcp_oauth_core::token::keys::Algorithm::Es256).unwrap();
    let with_keys = |keys: &mcp_oauth_core::token::keys::KeySet| {
        let keys = keys.clone();
        Application::with(one.store.clone(), one.clock.clone(), |builder| builder.keys(keys))
    };
    let (one, other) = (with_keys(&keys), with_keys(&keys));
    let client = Client::public(&one).await;
    let code = client.code(&one, "ada").await;
    let tokens = Tokens::of(&client.redeem(&one, &code, &[]).await);
    assert_eq!(other.call(NOTES, &tokens.access_token).await.status, 200);
    client.redeem(&one, &code, &[]).await;
    assert_eq!(
        one.call(NOTES, &tokens.access_token).await.status,
        401,
        "at once where it was ended"
    );
    one.clock.advance(Duration::from_secs(1));
    assert_eq!(other.call(NOTES, &tokens.access_token).await.status, 401);
}

/// Each operation of the store is lost once, before or after it took place; what was acknowledged before stays, and
/// nothing is acknowledged that was not stored.
#[tokio::test]
async fn whichever_operation_is_lost_no_success_is_made_up() {
    for loss in [Loss::Request, Loss::Answer] {
        for number in 0..3 {
            let application = Application::default();
            let client = Client::public(&application).await;
            let code = client.code(&application, "ada").await;
            application.store.fail_once(number, loss);
            let redeemed = client.redeem(&application, &code, &[]).await;
            assert_eq!(redeemed.status, 503, "redeem, {number}, {loss:?}");
            if loss == Loss::Request {
                assert_eq!(
                    client.redeem(&application, &code, &[]).await.status,
                    200,
                    "nothing was used up"
                );
            }

            let tokens = client.sign_in(&application, "ada").await;
            application.store.fail_once(number, loss);
            let refreshed = client.refresh(&application, &tokens.refresh_token, &[]).await;
            assert_eq!(refreshed.status, 503, "refresh, {number}, {loss:?}");
            let again = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
            assert_eq!(
                client.refresh(&application, &again.refresh_token, &[]).await.status,
                200
            );
        }
    }
}

#[tokio::test]
async fn a_grant_that_could_only_be_ended_in_part_never_comes_back() {
    for number in 2..4 {
        for loss in [Loss::Request, Loss::Answer] {
            let application = Application::default();
            let client = Client::public(&application).await;
            let first = client.sign_in(&application, "ada").await;
            let second = Tokens::of(&client.refresh(&application, &first.refresh_token, &[]).await);
            application.clock.advance(Duration::from_secs(120));
            // Somebody uses the old token; the store fails at the record's end, or at the feed.
            application.store.fail_once(number, loss);
            assert_eq!(
                client.refresh(&application, &first.refresh_token, &[]).await.status,
                503,
                "{number}, {loss:?}"
            );
            // Whoever comes next completes it, and nothing comes of it any more, however long one waits.
            client.refresh(&application, &first.refresh_token, &[]).await;
            assert_eq!(
                application.call(NOTES, &second.access_token).await.status,
                401,
                "{number}, {loss:?}"
            );
            for wait in [0, 3700, 3700] {
                application.clock.advance(Duration::from_secs(wait));
                let refreshed = client.refresh(&application, &second.refresh_token, &[]).await;
                assert_eq!(refreshed.error(), "invalid_grant", "{number}, {loss:?}");
            }
        }
    }
}
