//! Browsers and people: who lets a device in, and who cannot.

use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::application::{Answer, Application, NOTES, encode};
use mcp_oauth_tests::browser::{Browser, hidden_field};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::device::{Device, application};
use mcp_oauth_tests::identity::ScriptedIdentity;
use mcp_oauth_tower::AllowList;
use mcp_oauth_tower::mcp_oauth_core::identity::{Identity, IdentityError};

use super::{assert_is_closed, is_the_consent_page, leads_to_consent};
use crate::pages::assert_is_a_safe_page;

#[tokio::test]
async fn a_device_is_let_in_by_the_browser_that_saw_the_consent_page_and_by_no_other() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut attacker = Browser::default();
    let consent = attacker.enter(&application, &device.user_code).await;
    let mut victim = Browser::default();
    victim.enter(&application, &device.user_code).await;
    for decision in ["approve", "deny"] {
        let page = victim.decide(&application, &consent, decision).await;
        assert_eq!(page.status, 400);
        assert!(page.body.contains("another browser"));
    }
    // Nor can somebody be sent to the sign-in that another browser has begun.
    let approved = attacker.decide(&application, &consent, "approve").await;
    assert_eq!(victim.sign_in(&application, &approved, "grace").await.status, 400);
    assert_eq!(device.poll(&application).await.error(), "authorization_pending");
    assert_eq!(attacker.sign_in(&application, &approved, "ada").await.status, 200);
}

#[tokio::test]
async fn the_consent_page_can_be_loaded_again_by_its_browser_until_it_is_decided_and_by_nobody_else() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut browser = Browser::default();
    let entered = browser
        .submit(&application, "/device", &[("user_code", &device.user_code)])
        .await;
    assert!(leads_to_consent(&entered));
    assert_eq!(entered.header("cache-control"), "no-store");
    let location = entered.header("location").to_owned();
    for _ in 0..2 {
        let page = browser.open(&application, &location).await;
        assert!(is_the_consent_page(&page) && page.body.contains(&device.user_code));
    }
    // What the page shows for comparison is the code that was entered, and not what a link says.
    let other = location.replace(&device.user_code, "BBBB-BBBB");
    for (mut browser, location) in [
        (Browser::default(), &location),
        (browser.clone(), &other),
        (browser.clone(), &"/device/consent".to_owned()),
        (browser.clone(), &"/device/consent?transaction=x&user_code=y".to_owned()),
    ] {
        let page = browser.open(&application, location).await;
        assert_eq!(page.status, 400, "{location}");
        assert_is_a_safe_page(&page);
        assert!(!is_the_consent_page(&page) && !page.body.contains("BBBB"));
    }
    let consent = browser.open(&application, &location).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    let back = browser.open(&application, &location).await;
    assert!(is_the_consent_page(&back), "until it is over");
    browser.sign_in(&application, &approved, "ada").await;
    assert_eq!(browser.open(&application, &location).await.status, 400);
}

#[tokio::test]
async fn after_a_denial_the_consent_page_is_over() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut browser = Browser::default();
    let entered = browser
        .submit(&application, "/device", &[("user_code", &device.user_code)])
        .await;
    let consent = browser.open(&application, entered.header("location")).await;
    browser.decide(&application, &consent, "deny").await;
    let again = browser.open(&application, entered.header("location")).await;
    assert_eq!(again.status, 400);
    assert!(again.body.contains("already finished"));
}

#[tokio::test]
async fn the_consent_page_of_an_ordinary_sign_in_is_not_a_devices() {
    let application = application();
    let client = Client::public(&application).await;
    let mut browser = Browser::default();
    let consent = browser.open(&application, &client.authorization_url(&[])).await;
    let transaction = hidden_field(&consent, "transaction");
    let location = format!("/device/consent?transaction={transaction}&user_code=BBBB-BBBB");
    assert_eq!(browser.open(&application, &location).await.status, 400);
}

#[tokio::test]
async fn nobody_is_let_in_without_consent() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut browser = Browser::default();
    let consent = browser.enter(&application, &device.user_code).await;
    let transaction = hidden_field(&consent, "transaction");
    let made_up = format!("/callback?state={transaction}.{}&code=ada", "x".repeat(43));
    assert_eq!(browser.open(&application, &made_up).await.status, 400);
    assert_eq!(device.poll(&application).await.error(), "authorization_pending");
}

#[tokio::test]
async fn of_two_people_who_enter_the_same_code_the_first_to_sign_in_has_it() {
    let application = application();
    let device = Device::begin(&application).await;
    let (mut first, mut second) = (Browser::default(), Browser::default());
    let first_consent = first.enter(&application, &device.user_code).await;
    let second_consent = second.enter(&application, &device.user_code).await;
    let mut third = Browser::default();
    let third_consent = third.enter(&application, &device.user_code).await;
    let first_approved = first.decide(&application, &first_consent, "approve").await;
    let second_approved = second.decide(&application, &second_consent, "approve").await;
    assert_eq!(
        second.sign_in(&application, &second_approved, "grace").await.status,
        200
    );
    assert_is_closed(&first.sign_in(&application, &first_approved, "ada").await);
    // Who has not signed in yet is told before, whatever they decide.
    assert_is_closed(&third.decide(&application, &third_consent, "approve").await);
    assert_is_closed(&third.decide(&application, &third_consent, "deny").await);
    let tokens = Tokens::of(&device.poll(&application).await);
    let called = application.call(NOTES, &tokens.access_token).await.json();
    assert_eq!(called["username"], "grace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_people_who_sign_in_at_the_same_time_one_lets_the_device_in() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut ready = Vec::new();
    for number in 0..16 {
        let mut browser = Browser::default();
        let consent = browser.enter(&application, &device.user_code).await;
        let approved = browser.decide(&application, &consent, "approve").await;
        ready.push((browser, approved, ["ada", "grace"][number % 2]));
    }
    let tasks: Vec<_> = ready
        .into_iter()
        .map(|(mut browser, approved, person)| {
            let application = application.clone();
            tokio::spawn(async move { (browser.sign_in(&application, &approved, person).await.status, person) })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        let (status, person) = task.await.unwrap();
        if status == 200 {
            winners.push(person);
        }
    }
    // All that were let in are one and the same person.
    winners.dedup();
    assert_eq!(winners.len(), 1);
    let tokens = Tokens::of(&device.poll(&application).await);
    let called = application.call(NOTES, &tokens.access_token).await.json();
    assert_eq!(called["username"], winners[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_people_who_approve_and_deny_at_the_same_time_the_device_is_told_what_one_of_them_saw() {
    for _ in 0..16 {
        let application = application();
        let device = Device::begin(&application).await;
        let (mut one, mut other) = (Browser::default(), Browser::default());
        let consent = one.enter(&application, &device.user_code).await;
        let approved = one.decide(&application, &consent, "approve").await;
        let consent = other.enter(&application, &device.user_code).await;
        let approving = {
            let application = application.clone();
            tokio::spawn(async move { one.sign_in(&application, &approved, "ada").await })
        };
        let denying = {
            let application = application.clone();
            tokio::spawn(async move { other.decide(&application, &consent, "deny").await })
        };
        let (let_in, denied) = (approving.await.unwrap(), denying.await.unwrap());
        let told = device.poll(&application).await;
        if let_in.status == 200 {
            assert_is_closed(&denied);
            assert_eq!(told.status, 200);
        } else {
            assert_is_closed(&let_in);
            assert_eq!((denied.status.as_u16(), &*told.error()), (200, "access_denied"));
        }
    }
}

#[tokio::test]
async fn two_tabs_reloads_and_double_clicks_do_what_a_person_expects() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut browser = Browser::default();
    // The form is sent twice: two consent pages, either of which can be used.
    let tabs = [
        browser.enter(&application, &device.user_code).await,
        browser.enter(&application, &device.user_code).await,
    ];
    let second_click = browser.clone().decide(&application, &tabs[1], "approve").await;
    let approved = browser.decide(&application, &tabs[1], "approve").await;
    assert_eq!(approved.header("location"), second_click.header("location"));
    let before = browser.clone();
    assert_eq!(browser.sign_in(&application, &approved, "ada").await.status, 200);
    // Reloaded with the cookies that were there, and with those that are left.
    assert_eq!(before.clone().sign_in(&application, &approved, "ada").await.status, 400);
    assert_eq!(browser.sign_in(&application, &approved, "ada").await.status, 400);
    // Back, to the other tab.
    assert_is_closed(&browser.decide(&application, &tabs[0], "approve").await);
    assert_eq!(device.poll(&application).await.status, 200);
    assert_is_closed(&browser.decide(&application, &tabs[0], "deny").await);
    assert_eq!(application.store.inner().count_of(Kind::Grant), 1);
}

#[tokio::test]
async fn whoever_takes_longer_than_the_code_lives_is_told_so() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut browser = Browser::default();
    application.clock.advance(std::time::Duration::from_secs(540));
    let consent = browser.enter(&application, &device.user_code).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    application.clock.advance(std::time::Duration::from_secs(60));
    assert_is_closed(&browser.sign_in(&application, &approved, "ada").await);
    assert_eq!(device.poll(&application).await.error(), "expired_token");
}

#[tokio::test]
async fn a_person_who_may_not_sign_in_sees_why_and_the_device_is_told() {
    let application =
        Application::new(|builder| builder.device_authorization().allow(AllowList::parse("grace").unwrap()));
    let device = Device::begin(&application).await;
    let page = device.let_in(&application, "ada").await;
    assert_eq!((page.status.as_u16(), page.header("location")), (403, ""));
    assert_is_a_safe_page(&page);
    assert!(page.body.contains("not allowed to sign in here"), "{}", page.body);
    assert_eq!(device.poll(&application).await.error(), "access_denied");
}

#[tokio::test]
async fn a_provider_that_fails_can_be_tried_again_and_one_that_was_declined_turns_the_device_away() {
    let provider = ScriptedIdentity::default();
    let application = Application::new(|builder| builder.device_authorization().identity(provider.clone()));
    let sign_in = async |browser: &mut Browser, approved: &Answer| {
        let url: url::Url = approved.header("location").parse().unwrap();
        let state = url
            .query_pairs()
            .find(|(name, _)| name == "state")
            .unwrap()
            .1
            .into_owned();
        browser
            .open(
                &application,
                &format!("/callback?{}", encode(&[("state", &state), ("code", "x")])),
            )
            .await
    };
    let device = Device::begin(&application).await;
    let mut browser = Browser::default();
    let consent = browser.enter(&application, &device.user_code).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    provider.then(Err(IdentityError::Unavailable {
        retry_after: None,
        source: None,
    }));
    let failed = sign_in(&mut browser, &approved).await;
    assert_eq!(failed.status, 503);
    let approved = browser.decide(&application, &failed, "approve").await;
    provider.then(Ok(Identity::new("scripted", "7")));
    assert_eq!(sign_in(&mut browser, &approved).await.status, 200);
    assert_eq!(device.poll(&application).await.status, 200);

    let device = Device::begin(&application).await;
    let consent = browser.enter(&application, &device.user_code).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    provider.then(Err(IdentityError::Denied));
    let declined = sign_in(&mut browser, &approved).await;
    assert_eq!((declined.status.as_u16(), declined.header("location")), (403, ""));
    assert_eq!(device.poll(&application).await.error(), "access_denied");
}
