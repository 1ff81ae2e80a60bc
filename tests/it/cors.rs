//! Clients that run in a browser: what their scripts may ask and read, and where they have no business.

use http::Method;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_tests::application::{Answer, Application, request};
use mcp_oauth_tests::client::{Client, public_metadata};
use mcp_oauth_tests::device;

const ORIGIN: (&str, &str) = ("origin", "https://inspector.example");

async fn preflight(application: &Application, path: &str, method: &str, headers: &str) -> Answer {
    let headers = [
        ORIGIN,
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ];
    application.send(request(Method::OPTIONS, path, &headers, "")).await
}

/// Whether a browser goes on after this preflight (Fetch §4.8), without credentials.
fn lets_in(answer: &Answer, method: &str, headers: &[&str]) -> bool {
    let list = |name: &str| {
        let items = answer
            .header(name)
            .split(',')
            .map(|item| item.trim().to_ascii_lowercase());
        items.collect::<Vec<_>>()
    };
    let (methods, allowed) = (
        list("access-control-allow-methods"),
        list("access-control-allow-headers"),
    );
    let wildcard = |header: &str| header != "authorization" && allowed.iter().any(|item| item == "*");
    answer.status.is_success()
        && answer.header("access-control-allow-origin") == "*"
        && answer.header("access-control-allow-credentials").is_empty()
        && methods.contains(&method.to_ascii_lowercase())
        && headers
            .iter()
            .all(|header| allowed.iter().any(|item| item == header) || wildcard(header))
}

fn exposes(answer: &Answer, header: &str) -> bool {
    answer
        .header("access-control-expose-headers")
        .split(',')
        .any(|item| item.trim().eq_ignore_ascii_case(header))
}

#[tokio::test]
async fn a_script_may_call_an_mcp_server_with_all_that_the_protocol_has_it_send() {
    let application = Application::default();
    let headers = [
        "authorization",
        "content-type",
        "mcp-protocol-version",
        "mcp-session-id",
        "mcp-method",
        "mcp-name",
        "last-event-id",
        "mcp-param-region",
        "mcp-param-tenant-id",
        "traceparent",
    ];
    for method in ["GET", "POST", "DELETE"] {
        let answer = preflight(&application, "/notes/mcp", method, &headers.join(",")).await;
        assert!(lets_in(&answer, method, &headers), "{method} {answer:?}");
    }
    // By name, for what does not know the wildcard.
    let answer = preflight(&application, "/notes/mcp", "POST", "authorization").await;
    for header in &headers[..7] {
        assert!(
            answer.header("access-control-allow-headers").contains(header),
            "{header}"
        );
    }
}

/// 187: a preflight comes without a token.
#[tokio::test]
async fn a_preflight_never_asks_for_a_token_and_never_reaches_the_server() {
    let application = Application::default();
    for headers in [&[ORIGIN][..], &[], &[ORIGIN, ("authorization", "Bearer x")]] {
        let answer = application
            .send(request(Method::OPTIONS, "/notes/mcp", headers, "{}"))
            .await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, ""), "{headers:?}");
    }
}

#[tokio::test]
async fn a_script_reads_why_it_was_refused_and_which_session_it_has() {
    let application = Application::default();
    let answer = application
        .send(request(Method::POST, "/notes/mcp", &[ORIGIN], ""))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("access-control-allow-origin")),
        (401, "*")
    );
    for header in [
        "WWW-Authenticate",
        "Mcp-Session-Id",
        "MCP-Protocol-Version",
        "Retry-After",
    ] {
        assert!(exposes(&answer, header), "{header}");
    }
}

#[tokio::test]
async fn every_endpoint_for_clients_may_be_asked_by_scripts() {
    let application = device::application();
    for (method, path) in [
        ("POST", "/token"),
        ("POST", "/revoke"),
        ("POST", "/introspect"),
        ("POST", "/register"),
        ("GET", "/register/client_1"),
        ("PUT", "/register/client_1"),
        ("DELETE", "/register/client_1"),
        ("POST", "/device_authorization"),
        ("GET", "/jwks"),
        ("GET", "/.well-known/oauth-authorization-server"),
        ("GET", "/.well-known/openid-configuration"),
        ("GET", "/.well-known/oauth-protected-resource/notes/mcp"),
        ("GET", "/.well-known/oauth-protected-resource/nothing"),
    ] {
        let headers = ["authorization", "content-type", "mcp-protocol-version"];
        let answer = preflight(&application, path, method, &headers.join(",")).await;
        assert!(lets_in(&answer, method, &headers), "{method} {path} {answer:?}");
        let asked = request(method.parse().unwrap(), path, &[ORIGIN], "");
        let answer = application.send(asked).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "*",
            "{method} {path} {answer:?}"
        );
        assert!(exposes(&answer, "WWW-Authenticate"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_script_reads_when_to_come_again() {
    let application = Application::new(|builder| {
        let mut limits = Limits::default();
        limits.registrations = Quota::per_hour(1);
        builder.limits(limits)
    });
    Client::public(&application).await;
    let headers = [ORIGIN, ("content-type", "application/json")];
    let again = request(Method::POST, "/register", &headers, &public_metadata().to_string());
    let answer = application.send(again).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("access-control-allow-origin")),
        (429, "*")
    );
    assert!(exposes(&answer, "Retry-After") && !answer.header("retry-after").is_empty());
}

/// OAuth 2.1 §3.1.
#[tokio::test]
async fn no_page_that_a_person_sees_may_be_asked_by_a_script() {
    let application = device::application();
    let client = Client::public(&application).await;
    for path in [
        client.authorization_url(&[]).as_str(),
        "/authorize",
        "/consent",
        "/callback?state=x&code=y",
        "/success?code=x",
        "/device",
        "/device/consent",
        "/development/sign-in",
    ] {
        let answer = preflight(&application, path, "POST", "content-type").await;
        assert!(!lets_in(&answer, "POST", &[]), "{path}");
        for method in [Method::GET, Method::POST] {
            let form = ("content-type", "application/x-www-form-urlencoded");
            let asked = request(method, path, &[ORIGIN, form], "a=b");
            let answer = application.send(asked).await;
            let headers = answer.headers.keys();
            let cross_origin = headers
                .filter(|name| name.as_str().starts_with("access-control-"))
                .count();
            assert_eq!(cross_origin, 0, "{path} {answer:?}");
        }
    }
}
