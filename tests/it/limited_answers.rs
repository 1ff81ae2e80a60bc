//! Whoever has used up a quota: what each endpoint answers, over HTTP, and that all processes count together.

use http::Method;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_tests::application::{Answer, Application, TRUSTED_PROXY, encode, request};
use mcp_oauth_tests::client::{Client, public_metadata};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// One of everything in an hour for a network, save for registrations.
fn strict(builder: AuthorizationServerBuilder) -> AuthorizationServerBuilder {
    let mut limits = Limits::default();
    limits.authorizations_of_a_network = Quota::per_hour(1);
    limits.failed_authentications_of_a_network = Quota::per_hour(1);
    limits.device_authorizations_of_a_network = Quota::per_hour(1);
    limits.wrong_user_codes_of_a_network = Quota::per_hour(1);
    builder.limits(limits).device_authorization()
}

/// The RFC's JSON, when to come again, and nothing for anybody to keep.
fn assert_limited(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 429, "{what} {answer:?}");
    assert_eq!(answer.header("content-type"), "application/json", "{what}");
    assert_eq!(answer.error(), "temporarily_unavailable", "{what}");
    assert!(
        answer.json()["error_description"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{what}"
    );
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&wait), "{what}");
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    assert_eq!(answer.header("www-authenticate"), "", "{what}");
}

fn wrong_secret(client: &Client, endpoint: &str) -> http::Request<axum::body::Body> {
    let fields = [
        ("client_id", client.client_id.as_str()),
        ("client_secret", "wrong"),
        ("grant_type", "refresh_token"),
        ("refresh_token", "x"),
        ("token", "x"),
    ];
    request(Method::POST, endpoint, &[FORM], &encode(&fields))
}

#[tokio::test]
async fn failed_secrets_are_counted_together_wherever_they_are_shown() {
    for endpoint in ["/token", "/revoke", "/introspect", "/device_authorization"] {
        let application = Application::new(strict);
        let client = Client::confidential(&application).await;
        let first = application
            .send_from("192.0.2.1", wrong_secret(&client, "/token"))
            .await;
        assert_eq!((first.status.as_u16(), &*first.error()), (401, "invalid_client"));
        assert_limited(
            &application
                .send_from("192.0.2.1", wrong_secret(&client, endpoint))
                .await,
            endpoint,
        );
        let elsewhere = application
            .send_from("192.0.2.2", wrong_secret(&client, endpoint))
            .await;
        assert_eq!(elsewhere.status, 401, "{endpoint}");
    }
}

#[tokio::test]
async fn failed_registration_access_tokens_are_counted_too() {
    let application = Application::new(strict);
    let client = Client::confidential(&application).await;
    let ask = |method: Method| {
        let headers = [("authorization", "Bearer wrong"), ("content-type", "application/json")];
        let path = format!("/register/{}", client.client_id);
        application.send_from("192.0.2.1", request(method, &path, &headers, "{}"))
    };
    assert_eq!(ask(Method::GET).await.status, 401);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        assert_limited(&ask(method.clone()).await, method.as_str());
    }
}

#[tokio::test]
async fn pending_sign_ins_are_counted_and_a_program_is_told_in_json() {
    let application = Application::new(strict);
    let client = Client::public(&application).await;
    let ask = || {
        let headers = [("accept", "application/json")];
        let asked = request(Method::GET, &client.authorization_url(&[]), &headers, "");
        application.send_from("192.0.2.1", asked)
    };
    assert_eq!(ask().await.status, 200);
    assert_limited(&ask().await, "/authorize");
}

#[tokio::test]
async fn device_codes_are_counted() {
    let application = Application::new(strict);
    let client = Client::public(&application).await;
    let ask = || {
        let form = encode(&[("client_id", &client.client_id)]);
        application.send_from(
            "192.0.2.1",
            request(Method::POST, "/device_authorization", &[FORM], &form),
        )
    };
    assert_eq!(ask().await.status, 200);
    assert_limited(&ask().await, "/device_authorization");
}

/// V-26.
#[tokio::test]
async fn whoever_has_a_network_of_ipv6_is_one_and_what_a_stranger_forwards_does_not_make_them_another() {
    let application = Application::new(strict);
    let client = Client::confidential(&application).await;
    let ask = async |address: &str, forwarded: &str| {
        let mut asked = wrong_secret(&client, "/token");
        asked
            .headers_mut()
            .insert("x-forwarded-for", forwarded.parse().unwrap());
        application.send_from(address, asked).await.status.as_u16()
    };
    assert_eq!(ask("2001:db8:1:2::1", "198.51.100.1").await, 401);
    assert_eq!(ask("2001:db8:1:2:ffff::2", "198.51.100.2").await, 429);
    assert_eq!(ask("2001:db8:1:3::1", "198.51.100.3").await, 401);
    // The proxy is believed, and one address behind it is not another.
    assert_eq!(ask(TRUSTED_PROXY, "203.0.113.1, 2001:db8:1:2::3").await, 429);
    assert_eq!(ask(TRUSTED_PROXY, "2001:db8:1:2::3, 203.0.113.1").await, 401);
}

#[tokio::test]
async fn all_processes_on_one_store_count_together() {
    let configure = |builder: AuthorizationServerBuilder| {
        let mut limits = Limits::default();
        limits.registrations_of_a_network = Quota::per_hour(1);
        limits.failed_authentications_of_a_network = Quota::per_hour(2);
        builder.limits(limits)
    };
    let first = Application::new(configure);
    let second = Application::with(first.store.clone(), first.clock.clone(), configure);
    let register = async |node: &Application| {
        let headers = [("content-type", "application/json")];
        let asked = request(Method::POST, "/register", &headers, &public_metadata().to_string());
        node.send_from("192.0.2.1", asked).await
    };
    assert_eq!(register(&first).await.status, 201);
    assert_limited(&register(&second).await, "/register");
    let client = Client::confidential(&first).await;
    for (node, status) in [(&first, 401), (&second, 401), (&first, 429), (&second, 429)] {
        let answer = node.send_from("192.0.2.1", wrong_secret(&client, "/token")).await;
        assert_eq!(answer.status, status);
    }
}
