//! Whole requests: whatever is sent, wherever to, with whatever cookies and tokens, nothing panics and nothing is a 500.

#![no_main]

use std::sync::LazyLock;

use http::{HeaderName, HeaderValue, Method, Request};
use libfuzzer_sys::fuzz_target;
use mcp_oauth_tests::application::{Application, TRUSTED_PROXY};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::device;

const METHODS: [Method; 6] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::OPTIONS,
    Method::HEAD,
];
const PATHS: [&str; 17] = [
    "/authorize",
    "/consent",
    "/callback",
    "/token",
    "/register",
    "/register/client_x",
    "/revoke",
    "/introspect",
    "/device_authorization",
    "/device",
    "/device/consent",
    "/development/sign-in",
    "/jwks",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource/notes/mcp",
    "/notes/mcp",
    "/",
];
const HEADERS: [&str; 8] = [
    "authorization",
    "cookie",
    "content-type",
    "origin",
    "x-forwarded-for",
    "forwarded",
    "accept",
    "mcp-protocol-version",
];
const FORM: &str = "application/x-www-form-urlencoded";

static SERVED: LazyLock<(tokio::runtime::Runtime, Application, Client)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let application = device::application();
    let client = runtime.block_on(Client::public(&application));
    (runtime, application, client)
});

fuzz_target!(|input: (u8, u8, &str, Vec<(u8, &[u8])>, &[u8], bool)| {
    let (runtime, application, client) = &*SERVED;
    let (method, path, query, headers, body, is_form) = input;
    let path = PATHS[usize::from(path) % PATHS.len()];
    // So that a client that exists is met too.
    let query = query.replace("$id", &client.client_id);
    let body = String::from_utf8_lossy(body).replace("$id", &client.client_id);
    let Ok(mut request) = Request::builder()
        .method(METHODS[usize::from(method) % METHODS.len()].clone())
        .uri(format!("{path}?{query}"))
        .body(body.into())
    else {
        return;
    };
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().append(
                HeaderName::from_static(HEADERS[usize::from(name) % HEADERS.len()]),
                value,
            );
        }
    }
    if is_form {
        request
            .headers_mut()
            .insert("content-type", HeaderValue::from_static(FORM));
    }
    let answer = runtime.block_on(application.send_from(TRUSTED_PROXY, request));
    let refused_for_load = answer.status == 503 || answer.status == 429;
    assert!(answer.status.as_u16() < 500 || refused_for_load, "{answer:?}");
});
