//! Wrong methods, wrong types, too much, too little, and bytes without sense: each has the error of its
//! specification. Defect R4.

use http::Method;
use mcp_oauth_tests::application::{Answer, Application, request};
use mcp_oauth_tests::client::Client;

const FORM: &str = "application/x-www-form-urlencoded";

async fn post(application: &Application, path: &str, content_type: &str, body: &str) -> Answer {
    application
        .send(request(Method::POST, path, &[("content-type", content_type)], body))
        .await
}

#[tokio::test]
async fn a_wrong_method_is_a_405_that_names_the_right_one() {
    let application = Application::default();
    for (path, right) in [
        ("/authorize", "GET,HEAD,POST"),
        ("/consent", "POST"),
        ("/callback", "GET"),
        ("/token", "POST"),
        ("/register", "POST"),
        ("/revoke", "POST"),
        ("/introspect", "POST"),
        ("/jwks", "GET"),
        ("/.well-known/oauth-authorization-server", "GET"),
        ("/.well-known/oauth-protected-resource/notes/mcp", "GET"),
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            if right.split(',').any(|right| method == right) {
                continue;
            }
            let answer = application.send(request(method.clone(), path, &[], "")).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.header("allow").contains(right), "{method} {path}: {answer:?}");
            assert_eq!(answer.error(), "invalid_request");
        }
    }
}

#[tokio::test]
async fn a_body_of_the_wrong_type_is_an_error_of_the_endpoint() {
    let application = Application::default();
    for content_type in [
        "",
        "text/plain",
        "application/json",
        "multipart/form-data; boundary=x",
        FORM,
    ] {
        let at_token = post(&application, "/token", content_type, "grant_type=authorization_code").await;
        assert_eq!(
            (at_token.status.as_u16(), at_token.error().as_str()),
            (400, "invalid_request"),
            "{content_type}"
        );
    }
    for content_type in ["", "text/plain", FORM, "application/json; charset=utf-8"] {
        let at_register = post(&application, "/register", content_type, "[]").await;
        assert_eq!(
            (at_register.status.as_u16(), at_register.error().as_str()),
            (400, "invalid_client_metadata"),
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn two_content_types_are_an_error() {
    let application = Application::default();
    let headers = [("content-type", FORM), ("content-type", "application/json")];
    let answer = application
        .send(request(Method::POST, "/token", &headers, "grant_type=x"))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (400, "invalid_request")
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_is_a_413() {
    let application = Application::default();
    let large = "x".repeat(64 * 1024 + 1);
    assert_eq!(post(&application, "/token", FORM, &large).await.status, 413);
    assert_eq!(
        post(&application, "/register", "application/json", &large).await.status,
        413
    );
    assert_eq!(post(&application, "/consent", FORM, &large).await.status, 413);
}

#[tokio::test]
async fn missing_and_repeated_parameters_are_an_invalid_request() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let id = format!("client_id={}", client.client_id);
    for body in [
        String::new(),
        "grant_type=authorization_code".to_owned(),
        id.clone(),
        format!("{id}&grant_type=authorization_code"),
        format!("{id}&grant_type=authorization_code&code=x"),
        format!("{id}&grant_type=refresh_token"),
        format!("{id}&grant_type=refresh_token&refresh_token=a&refresh_token=b"),
        format!("{id}&{id}&grant_type=refresh_token&refresh_token=a"),
        format!("{id}&grant_type=refresh_token&grant_type=refresh_token&refresh_token=a"),
        format!("{id}&grant_type=refresh_token&refresh_token=%ff"),
        format!("{id}&grant_type=refresh_token&refresh_token=a{}", "&x=y".repeat(200)),
    ] {
        let answer = post(&application, "/token", FORM, &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (400, "invalid_request"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn codes_and_tokens_that_cannot_be_any_are_an_invalid_grant() {
    let application = Application::default();
    let client = Client::public(&application).await;
    for made_up in [
        "x",
        ".",
        "a.b",
        "\u{e4}.\u{e4}",
        &"A".repeat(1000),
        &format!("{}.{}", "A".repeat(22), "A".repeat(71)),
        "*",
        "a\nb",
        "{}",
    ] {
        for answer in [
            client.redeem(&application, made_up, &[]).await,
            client.refresh(&application, made_up, &[]).await,
        ] {
            assert_eq!(
                (answer.status.as_u16(), answer.error().as_str()),
                (400, "invalid_grant"),
                "{made_up:?}"
            );
        }
    }
}

#[tokio::test]
async fn unknown_parameters_are_ignored_and_empty_ones_count_as_absent() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let code = client.code(&application, "ada").await;
    let body = format!(
        "client_id={}&grant_type=authorization_code&code={code}&code_verifier={}&scope=&resource=&client_secret=&audience=x&x=y",
        client.client_id, client.verifier
    );
    assert_eq!(post(&application, "/token", FORM, &body).await.status, 200);
}

#[tokio::test]
async fn an_authorization_header_that_cannot_be_read_is_refused() {
    let application = Application::default();
    for value in ["Basic", "Basic !!!!", "Basic bm9jb2xvbg==", "Bearer x", "Digest x"] {
        let headers = [("content-type", FORM), ("authorization", value)];
        let answer = application
            .send(request(
                Method::POST,
                "/token",
                &headers,
                "grant_type=refresh_token&refresh_token=x",
            ))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (401, "invalid_client"),
            "{value}"
        );
        assert!(answer.header("www-authenticate").starts_with("Basic"), "{value}");
    }
    let twice = [
        ("content-type", FORM),
        ("authorization", "Basic YTpi"),
        ("authorization", "Basic YTpi"),
    ];
    assert_eq!(
        application
            .send(request(Method::POST, "/token", &twice, "grant_type=x"))
            .await
            .error(),
        "invalid_request"
    );
}
