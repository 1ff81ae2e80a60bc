//! What a person sees who lets a device in, and what nobody can do in their name (RFC 8628 §5).

use http::Method;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::application::{Answer, Application, NOTES, encode, request};
use mcp_oauth_tests::browser::{Browser, hidden_field};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::device::{Device, application, device_metadata};
use mcp_oauth_tests::identity::ScriptedIdentity;
use mcp_oauth_tower::AllowList;
use mcp_oauth_tower::mcp_oauth_core::identity::{Identity, IdentityError};
use proptest::prelude::*;
use serde_json::json;

use crate::pages::{HOSTILE, assert_is_a_safe_page};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn is_the_form(page: &Answer) -> bool {
    page.body.contains(r#"name="user_code""#)
}

fn is_the_consent_page(page: &Answer) -> bool {
    page.body.contains(r#"name="decision" value="approve""#)
}

fn leads_to_consent(entered: &Answer) -> bool {
    entered.status == 303 && entered.header("location").contains("/device/consent?")
}

fn assert_is_closed(page: &Answer) {
    assert_eq!(page.status, 400);
    assert!(page.body.contains("does not work any more"), "{}", page.body);
}

#[tokio::test]
async fn the_form_asks_for_one_code_and_helps_to_type_it() {
    let page = application().get("/device").await;
    assert_eq!(page.status, 200);
    assert_is_a_safe_page(&page);
    for part in [
        r#"<form method="post" action="/device">"#,
        r#"<label for="user_code">"#,
        r#"name="user_code""#,
        r#"autocapitalize="characters""#,
        r#"autocomplete="off""#,
        r#"value="""#,
    ] {
        assert!(page.body.contains(part), "{part} in {}", page.body);
    }
    assert_eq!(page.header("set-cookie"), "");
}

#[tokio::test]
async fn a_link_with_the_code_fills_it_in_and_skips_nothing() {
    let application = application();
    let device = Device::begin(&application).await;
    let before = application.store.operations();
    let page = application
        .get(&format!("/device?user_code={}", device.user_code))
        .await;
    assert!(is_the_form(&page) && !is_the_consent_page(&page));
    assert!(page.body.contains(&format!(r#"value="{}""#, device.user_code)));
    assert!(page.body.contains("Compare this code") && page.body.contains("If somebody sent you this link"));
    assert_eq!(application.store.operations(), before, "and nothing is looked up");
    // Another site can send the form for the person; it gets as far as a link would.
    for site in ["cross-site", "same-site"] {
        let body = encode(&[("user_code", &device.user_code)]);
        let sent = request(Method::POST, "/device", &[FORM, ("sec-fetch-site", site)], &body);
        let page = application.send(sent).await;
        assert!(is_the_form(&page) && !is_the_consent_page(&page), "{site}");
        assert_eq!(page.header("set-cookie"), "");
    }
    let body = encode(&[("user_code", &device.user_code)]);
    let own = request(
        Method::POST,
        "/device",
        &[FORM, ("sec-fetch-site", "same-origin")],
        &body,
    );
    assert!(leads_to_consent(&application.send(own).await));
}

#[tokio::test]
async fn the_consent_page_shows_the_code_the_client_and_what_it_wants_and_warns() {
    let application = application();
    let device = Device::begin(&application).await;
    let page = Browser::default().enter(&application, &device.user_code).await;
    assert_eq!(page.status, 200);
    assert_is_a_safe_page(&page);
    for part in [
        &*device.user_code,
        "Test device",
        "Notes",
        NOTES,
        "use your notes",
        "Only go on if you have just started this yourself and the code is on your own device's screen.",
        "Do not allow",
    ] {
        assert!(page.body.contains(part), "{part} in {}", page.body);
    }
    assert!(!page.body.contains("sent back to") && !page.body.contains("code to copy"));
}

#[tokio::test]
async fn the_page_at_the_end_sends_the_person_back_to_the_device_and_has_no_code() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut browser = Browser::default();
    let consent = browser.enter(&application, &device.user_code).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    assert_eq!(approved.status, 303);
    let page = browser.sign_in(&application, &approved, "ada").await;
    assert_eq!((page.status.as_u16(), page.header("location")), (200, ""));
    assert_is_a_safe_page(&page);
    assert!(page.body.contains("You are signed in") && page.body.contains("Go back to your device"));
    assert!(!page.body.contains(&device.user_code) && !page.body.contains(&device.device_code));
    assert!(browser.cookie_names().is_empty(), "nothing is left when it is over");
}

#[tokio::test]
async fn a_person_who_does_not_allow_it_sees_that_it_was_not_allowed() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut browser = Browser::default();
    let consent = browser.enter(&application, &device.user_code).await;
    for _ in 0..2 {
        let page = browser.decide(&application, &consent, "deny").await;
        assert_eq!(page.status, 200);
        assert_is_a_safe_page(&page);
        assert!(page.body.contains("You did not allow it"), "{}", page.body);
    }
    assert_eq!(browser.decide(&application, &consent, "approve").await.status, 400);
    assert_eq!(device.poll(&application).await.error(), "access_denied");
}

// === Codes ===

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

// === Browsers and people ===

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

#[tokio::test]
async fn no_page_of_a_device_shows_foreign_text_as_anything_but_text() {
    let application = application();
    let mut metadata = device_metadata();
    metadata["client_name"] = json!(HOSTILE);
    let client = Client::register(&application, &metadata).await;
    let device = Device::of(&application, client).await;
    let hostile = encode(&[("user_code", HOSTILE), ("error", HOSTILE)]);
    for page in [
        Browser::default().enter(&application, &device.user_code).await,
        Browser::default().enter(&application, HOSTILE).await,
        application.get(&format!("/device?{hostile}")).await,
        application.get("/device?user_code=%ff").await,
        application.get("/device?user_code=a&user_code=b").await,
    ] {
        assert_is_a_safe_page(&page);
        assert!(page.body.contains("For development."));
    }
}

#[tokio::test]
async fn a_form_that_is_none_has_a_page() {
    let application = application();
    let wrong_type = request(
        Method::POST,
        "/device",
        &[("content-type", "text/plain")],
        "user_code=x",
    );
    let page = application.send(wrong_type).await;
    assert_eq!(page.status, 400);
    assert_is_a_safe_page(&page);
    let large = "x".repeat(64 * 1024 + 1);
    let large = request(Method::POST, "/device", &[FORM], &large);
    assert_eq!(application.send(large).await.status, 413);
    let rebound = [FORM, ("host", "evil.example:8080")];
    let rebound = request(Method::POST, "/device", &rebound, "user_code=BBBB-BBBB");
    let page = application.send(rebound).await;
    assert!(
        page.status == 400 && !is_the_form(&page),
        "made-up people are for one's own machine"
    );
}

#[tokio::test]
async fn a_wrong_method_is_a_405_that_names_the_right_ones() {
    let application = application();
    for (path, right) in [
        ("/device", &["GET", "POST"][..]),
        ("/device/consent", &["GET"]),
        ("/device_authorization", &["POST"]),
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            if right.contains(&method.as_str()) {
                continue;
            }
            let answer = application.send(request(method.clone(), path, &[], "")).await;
            assert_eq!(
                (answer.status.as_u16(), &*answer.error()),
                (405, "invalid_request"),
                "{method} {path}"
            );
            for right in right {
                assert!(answer.header("allow").contains(right), "{method} {path}");
            }
        }
    }
}
