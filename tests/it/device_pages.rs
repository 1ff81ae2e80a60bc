//! What a person sees who lets a device in, and what nobody can do in their name (RFC 8628 §5).

use http::Method;
use mcp_oauth_tests::application::{Answer, NOTES, encode, request};
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::device::{Device, application, device_metadata};
use serde_json::json;

use crate::pages::{HOSTILE, assert_is_a_safe_page};

mod codes;
mod people;

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
