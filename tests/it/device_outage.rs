//! A device, its person and a store that fails: nothing is made up, and nothing is lost that was not the store's to
//! lose.

use mcp_oauth_core::store::{Key, Kind, Store};
use mcp_oauth_tests::application::{Application, NOTES};
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::device::{Device, application, device_metadata};
use mcp_oauth_tests::failing_store::Loss;
use mcp_oauth_tower::AllowList;

#[tokio::test]
async fn every_step_says_that_the_store_is_gone_and_goes_on_when_it_is_back() {
    let application = application();
    let down = |down| application.store.set_down(down);
    let client = Client::register(&application, &device_metadata()).await;
    down(true);
    let asked = client.post(&application, "/device_authorization", &[]).await;
    assert_eq!(
        (asked.status.as_u16(), &*asked.error()),
        (503, "temporarily_unavailable")
    );
    assert_eq!(asked.header("retry-after"), "1");
    down(false);
    let device = Device::of(&application, client).await;

    down(true);
    let polled = device.poll(&application).await;
    assert_eq!((polled.status.as_u16(), polled.header("retry-after")), (503, "1"));
    let mut browser = Browser::default();
    let entered = browser.enter(&application, &device.user_code).await;
    assert_eq!((entered.status.as_u16(), entered.header("retry-after")), (503, "1"));
    assert_eq!(application.get("/device").await.status, 200, "the form needs no store");
    down(false);
    let consent = browser.enter(&application, &device.user_code).await;

    down(true);
    assert_eq!(browser.decide(&application, &consent, "approve").await.status, 503);
    assert_eq!(browser.decide(&application, &consent, "deny").await.status, 503);
    down(false);
    let approved = browser.decide(&application, &consent, "approve").await;
    down(true);
    assert_eq!(browser.sign_in(&application, &approved, "ada").await.status, 503);
    down(false);
    assert_eq!(browser.sign_in(&application, &approved, "ada").await.status, 200);

    down(true);
    assert_eq!(device.poll(&application).await.status, 503);
    down(false);
    assert_eq!(device.poll(&application).await.status, 200);
}

/// Whichever single operation of the last poll is lost, before or after it took place, and the store is there again at
/// once, the device gets its tokens with the next poll, and nobody gets them twice.
#[tokio::test]
async fn whichever_operation_of_the_last_poll_is_lost_the_next_poll_gets_the_tokens() {
    for loss in [Loss::Request, Loss::Answer] {
        for number in 0..5 {
            let application = application();
            let device = Device::begin(&application).await;
            device.let_in(&application, "ada").await;
            application.store.fail_once(number, loss);
            let failed = device.poll(&application).await;
            assert_eq!(failed.status, 503, "{number}, {loss:?}");
            let tokens = Tokens::of(&device.poll(&application).await);
            assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
            assert_eq!(
                device.poll(&application).await.error(),
                "invalid_grant",
                "{number}, {loss:?}"
            );
            assert_eq!(application.store.inner().count_of(Kind::Grant), 1, "{number}, {loss:?}");
        }
    }
}

/// The client's life is lengthened on the way; whether that works is nobody's concern.
#[tokio::test]
async fn a_client_that_cannot_be_renewed_gets_its_tokens_all_the_same() {
    for number in 5..7 {
        for loss in [Loss::Request, Loss::Answer] {
            let application = application();
            let device = Device::begin(&application).await;
            device.let_in(&application, "ada").await;
            application.store.fail_once(number, loss);
            assert_eq!(device.poll(&application).await.status, 200, "{number}, {loss:?}");
        }
    }
}

#[tokio::test]
async fn whichever_operation_is_lost_while_a_code_is_entered_it_can_be_entered_again() {
    let enter = async |application: &Application, browser: &mut Browser, device: &Device| {
        let form = [("user_code", device.user_code.as_str())];
        browser.submit(application, "/device", &form).await.status
    };
    let application = application();
    let device = Device::begin(&application).await;
    let before = application.store.operations();
    assert_eq!(enter(&application, &mut Browser::default(), &device).await, 303);
    let operations = application.store.operations() - before;
    for loss in [Loss::Request, Loss::Answer] {
        for number in 0..operations {
            let device = Device::of(&application, device.client.clone()).await;
            let mut browser = Browser::default();
            application.store.fail_once(number, loss);
            assert_eq!(
                enter(&application, &mut browser, &device).await,
                503,
                "{number}, {loss:?}"
            );
            let consent = browser.enter(&application, &device.user_code).await;
            let approved = browser.decide(&application, &consent, "approve").await;
            assert_eq!(browser.sign_in(&application, &approved, "ada").await.status, 200);
            assert_eq!(device.poll(&application).await.status, 200, "{number}, {loss:?}");
        }
    }
}

/// A code of a device that waits no more has the one answer, whatever else is lost on the way.
#[tokio::test]
async fn no_failure_makes_a_code_good_that_is_not() {
    for loss in [Loss::Request, Loss::Answer] {
        for number in 0..10 {
            let application = application();
            let device = Device::begin(&application).await;
            device.let_in(&application, "ada").await;
            application.store.fail_once(number, loss);
            let page = Browser::default().enter(&application, &device.user_code).await;
            assert!(
                [400, 503].contains(&page.status.as_u16()),
                "{number}, {loss:?}: {page:?}"
            );
        }
    }
}

/// Whichever single operation is lost while a person lets a device in, loading the page again finishes it.
#[tokio::test]
async fn whichever_operation_of_the_callback_is_lost_loading_it_again_lets_the_device_in() {
    for loss in [Loss::Request, Loss::Answer] {
        for number in 0..3 {
            let application = application();
            let device = Device::begin(&application).await;
            let mut browser = Browser::default();
            let consent = browser.enter(&application, &device.user_code).await;
            let approved = browser.decide(&application, &consent, "approve").await;
            application.store.fail_once(number, loss);
            let failed = browser.clone().sign_in(&application, &approved, "ada").await;
            assert_eq!(failed.status, 503, "{number}, {loss:?}");
            let again = browser.sign_in(&application, &approved, "ada").await;
            // The one operation after which nothing is left to do is the last one.
            let finished = number == 2 && loss == Loss::Answer;
            assert_eq!(again.status, if finished { 400 } else { 200 }, "{number}, {loss:?}");
            assert_eq!(device.poll(&application).await.status, 200, "{number}, {loss:?}");
        }
    }
}

#[tokio::test]
async fn whichever_operation_of_a_denial_is_lost_denying_again_turns_the_device_away() {
    for loss in [Loss::Request, Loss::Answer] {
        for number in 0..3 {
            let application = application();
            let device = Device::begin(&application).await;
            let mut browser = Browser::default();
            let consent = browser.enter(&application, &device.user_code).await;
            application.store.fail_once(number, loss);
            assert_eq!(browser.decide(&application, &consent, "deny").await.status, 503);
            assert_eq!(
                browser.decide(&application, &consent, "deny").await.status,
                200,
                "{number}, {loss:?}"
            );
            assert_eq!(device.poll(&application).await.error(), "access_denied");
        }
    }
}

#[tokio::test]
async fn whichever_operation_is_lost_while_somebody_who_may_not_signs_in_the_device_is_told_in_the_end() {
    for loss in [Loss::Request, Loss::Answer] {
        for number in 0..3 {
            let application =
                Application::new(|builder| builder.device_authorization().allow(AllowList::parse("grace").unwrap()));
            let device = Device::begin(&application).await;
            let mut browser = Browser::default();
            let consent = browser.enter(&application, &device.user_code).await;
            let approved = browser.decide(&application, &consent, "approve").await;
            application.store.fail_once(number, loss);
            let failed = browser.clone().sign_in(&application, &approved, "ada").await;
            assert_eq!(failed.status, 503, "{number}, {loss:?}");
            let again = browser.sign_in(&application, &approved, "ada").await;
            let finished = number == 2 && loss == Loss::Answer;
            assert_eq!(again.status, if finished { 400 } else { 403 }, "{number}, {loss:?}");
            assert_eq!(device.poll(&application).await.error(), "access_denied");
        }
    }
}

/// By whatever it is: a decision that nobody can read is none, and nobody can put another in its place.
#[tokio::test]
async fn a_decision_that_cannot_be_read_lets_nobody_in() {
    for damaged in [
        "",
        "{",
        r#"{"version":2,"record":"Denied"}"#,
        r#"{"version":1,"record":"Maybe"}"#,
    ] {
        let application = application();
        let device = Device::begin(&application).await;
        let mut browser = Browser::default();
        let consent = browser.enter(&application, &device.user_code).await;
        let approved = browser.decide(&application, &consent, "approve").await;
        let (id, _) = device.device_code.split_once('.').unwrap();
        let key = Key::new(Kind::DeviceDecision, id);
        let store = application.store.inner();
        assert!(store.insert(&key, damaged.into(), None).await.unwrap());
        assert_eq!(device.poll(&application).await.status, 503, "{damaged}");
        assert_eq!(browser.sign_in(&application, &approved, "ada").await.status, 503);
        assert_eq!(device.poll(&application).await.status, 503, "{damaged}");
        assert_eq!(store.count_of(Kind::Grant), 0);
    }
}

/// A pending poll that could not be written down is none: the next one is not too early.
#[tokio::test]
async fn a_poll_that_the_store_lost_is_not_held_against_the_device() {
    let application: Application = application();
    let device = Device::begin(&application).await;
    application.store.fail_once(3, Loss::Request);
    assert_eq!(device.poll(&application).await.status, 503);
    assert_eq!(device.poll(&application).await.error(), "authorization_pending");
}
