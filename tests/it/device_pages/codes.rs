//! The codes that people type, and those that somebody guesses.

use http::Method;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::application::{Answer, Application, encode, request};
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::device::{Device, application};
use proptest::prelude::*;

use super::{FORM, is_the_consent_page, leads_to_consent};
use crate::pages::{HOSTILE, assert_is_a_safe_page};

#[tokio::test]
async fn a_code_that_is_wrong_used_denied_or_expired_has_one_and_the_same_answer() {
    let application = application();
    let (used, denied, expired) = (
        Device::begin(&application).await,
        Device::begin(&application).await,
        Device::begin(&application).await,
    );
    used.let_in(&application, "ada").await;
    let mut browser = Browser::default();
    let consent = browser.enter(&application, &denied.user_code).await;
    browser.decide(&application, &consent, "deny").await;
    let strip = |answer: &Answer, code: &str| {
        assert_eq!(answer.status, 400);
        assert_is_a_safe_page(answer);
        let body = answer.body.replace(code, "");
        let nonce = answer.header("content-security-policy").to_owned();
        let nonce = nonce
            .split("nonce-")
            .nth(1)
            .unwrap()
            .split('\'')
            .next()
            .unwrap()
            .to_owned();
        body.replace(&nonce, "")
    };
    let wrong = strip(&Browser::default().enter(&application, "BBBB-BBBB").await, "BBBB-BBBB");
    assert!(wrong.contains("This code does not work"));
    for device in [&used, &denied] {
        let answer = Browser::default().enter(&application, &device.user_code).await;
        assert_eq!(strip(&answer, &device.user_code), wrong);
    }
    used.poll(&application).await;
    let redeemed = Browser::default().enter(&application, &used.user_code).await;
    assert_eq!(strip(&redeemed, &used.user_code), wrong);
    application.clock.advance(std::time::Duration::from_secs(600));
    let answer = Browser::default().enter(&application, &expired.user_code).await;
    assert_eq!(strip(&answer, &expired.user_code), wrong);
    for nonsense in ["", "x", "0000-0000", HOSTILE, &"B".repeat(5000)] {
        let page = Browser::default().enter(&application, nonsense).await;
        assert_eq!(strip(&page, ""), wrong, "{nonsense}");
    }
}

#[tokio::test]
async fn a_code_can_be_typed_in_any_case_with_any_separators() {
    let application = application();
    let device = Device::begin(&application).await;
    let plain = device.user_code.replace('-', "");
    for typed in [
        plain.clone(),
        plain.to_lowercase(),
        format!(" {} ", device.user_code.to_lowercase()),
        device.user_code.replace('-', " \u{2013} "),
        plain.chars().flat_map(|letter| [letter, '.']).collect(),
    ] {
        let page = Browser::default().enter(&application, &typed).await;
        assert!(is_the_consent_page(&page), "{typed:?}");
        assert!(page.body.contains(&device.user_code), "{typed:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_entered_as_a_code_there_is_a_page(entered in ".{0,200}", linked in ".{0,200}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let application = Application::new(|builder| builder.device_authorization().limits(Limits::unlimited()));
        let (posted, opened) = runtime.block_on(async {
            let link = format!("/device?{}", encode(&[("user_code", &linked)]));
            (Browser::default().enter(&application, &entered).await, application.get(&link).await)
        });
        prop_assert_eq!(posted.status.as_u16(), 400);
        prop_assert_eq!(opened.status.as_u16(), 200);
        assert_is_a_safe_page(&posted);
        assert_is_a_safe_page(&opened);
    }
}

fn guessing(limits: impl FnOnce(&mut Limits)) -> Application {
    let mut all = Limits::unlimited();
    limits(&mut all);
    Application::new(|builder| builder.device_authorization().limits(all))
}

async fn enter_from(application: &Application, address: &str, code: &str) -> Answer {
    let body = encode(&[("user_code", code)]);
    application
        .send_from(address, request(Method::POST, "/device", &[FORM], &body))
        .await
}

#[tokio::test]
async fn a_network_that_guesses_is_turned_away_before_its_guesses_are_looked_at() {
    let application = guessing(|limits| {
        limits.wrong_user_codes_of_a_network = Quota::within(3, std::time::Duration::from_secs(600));
    });
    let device = Device::begin(&application).await;
    // Right codes and what can be none are no guesses.
    for code in [&*device.user_code, "", "0000", &device.user_code] {
        enter_from(&application, "192.0.2.1", code).await;
    }
    for guess in ["BBBB-BBBB", "BBBB-BBBC", "BBBB-BBBD"] {
        assert_eq!(enter_from(&application, "192.0.2.1", guess).await.status, 400);
    }
    for code in ["BBBB-BBBF", &device.user_code] {
        let page = enter_from(&application, "192.0.2.1", code).await;
        assert_eq!(page.status, 429, "a right code is not told from a wrong one");
        assert_is_a_safe_page(&page);
        let wait: u64 = page.header("retry-after").parse().unwrap();
        assert!((1..=600).contains(&wait));
        assert!(page.body.contains("Too many tries"), "{}", page.body);
    }
    assert!(leads_to_consent(
        &enter_from(&application, "192.0.2.2", &device.user_code).await
    ));
    application.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(enter_from(&application, "192.0.2.1", "BBBB-BBBB").await.status, 400);
}

/// It leads to a device, and counts like one that leads to none.
#[tokio::test]
async fn a_code_of_a_device_that_waits_no_more_is_a_guess_like_any_other_and_begins_nothing() {
    let application = guessing(|limits| {
        limits.wrong_user_codes_of_a_network = Quota::within(4, std::time::Duration::from_secs(600));
        limits.wrong_user_codes = Quota::within(6, std::time::Duration::from_secs(600));
        limits.wrong_user_codes_in_a_flood = 1;
    });
    let (waiting, used) = (Device::begin(&application).await, Device::begin(&application).await);
    used.let_in(&application, "ada").await;
    let before = application.store.inner().count_of(Kind::Transaction);
    for code in [&*used.user_code, "BBBB-BBBB", &used.user_code, &used.user_code] {
        assert_eq!(enter_from(&application, "192.0.2.1", code).await.status, 400);
    }
    let page = enter_from(&application, "192.0.2.1", &waiting.user_code).await;
    assert_eq!(page.status, 429, "four were wrong");
    for code in [&used.user_code, &used.user_code] {
        assert_eq!(enter_from(&application, "192.0.2.2", code).await.status, 400);
    }
    let page = enter_from(&application, "192.0.2.2", &waiting.user_code).await;
    assert_eq!(page.status, 429, "six were, from everybody");
    assert_eq!(application.store.inner().count_of(Kind::Transaction), before);
}

#[tokio::test]
async fn many_networks_together_cannot_guess_for_ever_either() {
    let application = guessing(|limits| {
        limits.wrong_user_codes = Quota::within(3, std::time::Duration::from_secs(60));
        limits.wrong_user_codes_in_a_flood = 3;
    });
    for guess in 0..60 {
        let page = enter_from(&application, &format!("192.0.2.{}", guess % 10), "BBBB-BBBB").await;
        // Three are free for all; after them each network has three, of which it may have had some.
        let allowed = guess < 30;
        assert_eq!(page.status.as_u16(), if allowed { 400 } else { 429 }, "{guess}");
    }
    assert_eq!(enter_from(&application, "192.0.2.11", "BBBB-BBBB").await.status, 400);
}

/// Three tries each when everybody together has used up ten.
fn besieged() -> Application {
    guessing(|limits| {
        limits.wrong_user_codes_of_a_network = Quota::within(20, std::time::Duration::from_secs(600));
        limits.wrong_user_codes = Quota::within(10, std::time::Duration::from_secs(600));
        limits.wrong_user_codes_in_a_flood = 3;
    })
}

#[tokio::test]
async fn when_many_networks_guess_each_has_a_few_tries_left_and_nobody_is_kept_out() {
    let application = besieged();
    let device = Device::begin(&application).await;
    for number in 1..=10 {
        let page = enter_from(&application, &format!("192.0.2.{number}"), "BBBB-BBBB").await;
        assert_eq!(page.status, 400);
    }
    let mut person = Vec::new();
    for code in [
        "BBBB-BBBC",
        "BBBB-BBBD",
        &device.user_code,
        "BBBB-BBBF",
        "BBBB-BBBG",
        &device.user_code,
    ] {
        person.push(enter_from(&application, "198.51.100.1", code).await.status.as_u16());
    }
    assert_eq!(
        person,
        [400, 400, 303, 400, 429, 429],
        "three wrong ones, and then none"
    );
    assert_eq!(
        enter_from(&application, "192.0.2.1", "BBBB-BBBH").await.status,
        400,
        "it has one of three"
    );
    assert!(leads_to_consent(
        &enter_from(&application, "192.0.2.2", &device.user_code).await
    ));
    application.clock.advance(std::time::Duration::from_secs(600));
    let device = Device::begin(&application).await;
    assert!(leads_to_consent(
        &enter_from(&application, "198.51.100.1", &device.user_code).await
    ));
}

#[tokio::test]
async fn where_nobody_knows_where_guesses_come_from_everybody_counts_as_one() {
    let application = besieged();
    let form = [("user_code", "BBBB-BBBB")];
    for number in 1..=11 {
        let page = application.post_form("/device", &form).await;
        assert_eq!(page.status.as_u16(), if number <= 10 { 400 } else { 429 }, "{number}");
    }
}

#[tokio::test]
async fn a_site_of_ipv6_guesses_no_more_than_ten_of_its_networks_may() {
    let application = guessing(|limits| {
        limits.wrong_user_codes_of_a_network = Quota::within(2, std::time::Duration::from_secs(600));
    });
    let mut wrong = 0;
    for number in 0..30 {
        let page = enter_from(&application, &format!("2001:db8:1:{number:x}::1"), "BBBB-BBBB").await;
        wrong += usize::from(page.status == 400);
    }
    assert_eq!(wrong, 20);
    assert_eq!(enter_from(&application, "2001:db8:2::1", "BBBB-BBBB").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_the_same_time_are_no_more_than_one_after_the_other() {
    let application = guessing(|limits| {
        limits.wrong_user_codes_of_a_network = Quota::within(20, std::time::Duration::from_secs(600));
    });
    let guesses: Vec<_> = (0..64)
        .map(|_| {
            let application = application.clone();
            tokio::spawn(async move { enter_from(&application, "192.0.2.1", "BBBB-BBBB").await.status })
        })
        .collect();
    let mut looked_at = 0;
    for guess in guesses {
        looked_at += usize::from(guess.await.unwrap() == 400);
    }
    assert_eq!(looked_at, 20);
}

#[tokio::test]
async fn entering_a_right_code_again_and_again_is_bounded_as_any_sign_in_is() {
    let application = guessing(|limits| limits.authorizations_of_a_network = Quota::per_minute(2));
    let device = Device::begin(&application).await;
    for _ in 0..2 {
        assert!(leads_to_consent(
            &enter_from(&application, "192.0.2.1", &device.user_code).await
        ));
    }
    assert_eq!(
        enter_from(&application, "192.0.2.1", &device.user_code).await.status,
        429
    );
}
