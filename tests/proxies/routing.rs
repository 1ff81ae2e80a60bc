//! The composition's labels, as Traefik reads them, in front of the real gateway: which router takes a request, and what the
//! client gets.

use std::collections::BTreeMap;

use http::Method;
use mcp_oauth_tests::application::Answer;
use mcp_oauth_tests::tools;
use mcp_oauth_tower::forward_auth::IDENTITY_HEADERS;
use serde_json::{Value, json};

use crate::compose::{DOMAIN, Folder};
use crate::services::Server;
use crate::stack::Stack;

const ORIGIN: (&str, &str) = ("origin", "https://inspector.example");

/// The gateway with two servers, of which one runs.
async fn start(test: &str) -> Option<(Stack, Server)> {
    let folder = Folder::copy(test)?;
    if !tools::redis(test) {
        return None;
    }
    let composition = folder.with(&["echo-stateful", "time"]);
    let server = Server::start("echo-stateful", &composition).await;
    let places = BTreeMap::from([("echo-stateful".to_owned(), server.address)]);
    Some((Stack::start(&composition, &places).await, server))
}

fn at(server: &str, path: &str) -> String {
    format!("https://{server}.{DOMAIN}{path}")
}

fn auth(path: &str) -> String {
    at("auth", path)
}

/// Everything that the labels decide, with one set of processes.
#[tokio::test(flavor = "multi_thread")]
async fn the_labels_of_the_composition_route_as_the_predecessors_did() {
    let Some((stack, _server)) = start("the labels of the composition").await else {
        return;
    };
    without_a_token(&stack).await;
    documents(&stack).await;
    the_gateways_own_host(&stack).await;
    pages_of_other_origins(&stack).await;
    identity(&stack).await;
}

/// Behaviours 1 and 38: whatever the path, the method and the slash at its end, 401 and never 404.
async fn without_a_token(stack: &Stack) {
    for server in ["time", "echo-stateful"] {
        for path in ["/mcp", "/mcp/", "/mcp/below", "/mcpx", "/", "/anything/else?x=y"] {
            for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
                let answer = stack.ask(method.clone(), &at(server, path), &[], "").await;
                assert_eq!(answer.status, 401, "{method} {server} {path}: {answer:?}");
                let challenge = answer.header("www-authenticate");
                let metadata = at(server, "/.well-known/oauth-protected-resource/mcp");
                assert!(
                    challenge.contains(&format!("resource_metadata=\"{metadata}\"")),
                    "{challenge}"
                );
                assert_hardened(&answer);
            }
        }
    }
    // A server that is not switched on is nobody's.
    assert_eq!(stack.get(&at("memory", "/mcp")).await.status, 404);
}

/// Headers that everything has that leaves by https.
fn assert_hardened(answer: &Answer) {
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
}

/// Behaviours 2 and 27: what clients find everything else by is public, on each server's host.
async fn documents(stack: &Stack) {
    for server in ["time", "echo-stateful"] {
        let document = stack
            .get(&at(server, "/.well-known/oauth-protected-resource/mcp"))
            .await;
        assert_eq!(document.status, 200, "{document:?}");
        assert_eq!(document.json()["resource"], at(server, "/mcp"));
        assert_eq!(document.json()["authorization_servers"], json!([auth("")]));
        assert_eq!(document.header("access-control-allow-origin"), "*");
        for name in ["oauth-authorization-server", "openid-configuration"] {
            for suffix in ["", "/mcp"] {
                let url = at(server, &format!("/.well-known/{name}{suffix}"));
                let moved = stack.ask(Method::GET, &url, &[ORIGIN], "").await;
                assert_eq!(moved.status, 302, "{url}: {moved:?}");
                assert_eq!(moved.header("location"), auth(&format!("/.well-known/{name}")));
                assert_eq!(moved.header("access-control-allow-origin"), "*");
            }
        }
    }
    let document = stack.get(&auth("/.well-known/oauth-authorization-server")).await.json();
    assert_eq!(document["issuer"], auth(""));
    for (name, value) in document.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let answer = stack.get(value.as_str().unwrap()).await;
            assert_ne!(answer.status, 404, "{name} is not routed");
        }
    }
    let keys = stack.get(document["jwks_uri"].as_str().unwrap()).await.json();
    let key = &keys["keys"][0];
    assert!(
        key["use"] == "sig" && key["alg"].is_string() && key["kid"].is_string(),
        "{keys}"
    );
}

/// Sign-in over what proxies ask over everything else; defect R13: no page of the gateway's is out of reach.
async fn the_gateways_own_host(stack: &Stack) {
    for path in ["/verify", "/verify/refusal", "/verify/at/mcp", "/metrics"] {
        let answer = stack.get(&auth(path)).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
        assert_hardened(&answer);
    }
    for path in ["/authorize", "/callback", "/device"] {
        let answer = stack
            .ask(Method::GET, &auth(path), &[("accept", "text/html")], "")
            .await;
        assert!(
            answer.header("content-type").starts_with("text/html"),
            "{path}: {answer:?}"
        );
    }
    assert_eq!(stack.get(&auth("/health")).await.status, 200);
    assert_eq!(stack.get(&auth("/nothing")).await.status, 404);
}

/// Behaviour 29.
async fn pages_of_other_origins(stack: &Stack) {
    for path in ["/mcp", "/mcp/", "/anything"] {
        let url = at("time", path);
        let wanted = [
            ORIGIN,
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,mcp-session-id"),
        ];
        let preflight = stack.ask(Method::OPTIONS, &url, &wanted, "").await;
        assert_eq!(preflight.status, 200, "{preflight:?}");
        assert_eq!(preflight.header("access-control-allow-origin"), "*");
        let allowed = preflight.header("access-control-allow-headers").to_lowercase();
        assert!(
            allowed.contains("authorization") && allowed.contains("mcp-session-id"),
            "{allowed}"
        );
        assert!(preflight.header("access-control-allow-methods").contains("DELETE"));
        let refused = stack.ask(Method::POST, &url, &[ORIGIN], "").await;
        assert_eq!(refused.status, 401);
        let exposed = refused.header("access-control-expose-headers");
        assert!(
            exposed.contains("Mcp-Session-Id") && exposed.contains("WWW-Authenticate"),
            "{exposed}"
        );
    }
    let preflight = [ORIGIN, ("access-control-request-method", "POST")];
    let answer = stack.ask(Method::OPTIONS, &auth("/register"), &preflight, "").await;
    assert!(answer.status.is_success(), "{answer:?}");
}

/// Behaviours 40 and 41: the server is told who calls by the gateway alone, is not handed the token, and streams.
async fn identity(stack: &Stack) {
    let mut session = stack.connect("echo-stateful").await;
    // A token for one server opens no other.
    let authorization = format!("Bearer {}", session.token);
    let elsewhere = [("authorization", authorization.as_str())];
    let answer = stack.ask(Method::POST, &at("time", "/mcp"), &elsewhere, "").await;
    assert_eq!(answer.status, 401);

    let message = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": {"name": "printHeader", "arguments": {}}});
    let mut forged: Vec<(&str, &str)> = IDENTITY_HEADERS.iter().map(|&name| (name, "forged")).collect();
    forged.extend([
        ("x_user_id", "forged"),
        ("x-user_name", "forged"),
        ("connection", "x-user-id"),
    ]);
    let answer = session.post(&message, &forged).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        !answer.body.contains("forged") && !answer.body.contains(&session.token),
        "{answer:?}"
    );
    assert!(answer.body.contains("x-user-name: ada"), "{answer:?}");
    assert!(!answer.body.contains("authorization:"), "{answer:?}");
    assert!(
        answer.header("content-type").starts_with("text/event-stream"),
        "{answer:?}"
    );
    assert!(answer.header("cache-control").contains("no-cache"), "{answer:?}");
    assert_eq!(answer.header("x-accel-buffering"), "no", "{answer:?}");

    let (text, _) = session.call("authContext", &json!({})).await;
    assert!(
        text.contains("verified: yes") && text.contains("subject (sub): "),
        "{text}"
    );
    assert!(text.contains("583231"), "{text}");
    // With the slash at its end the endpoint is the same one.
    session.url.push('/');
    let tools = session.tools().await;
    assert_eq!(tools.len(), 11, "{tools:?}");
}

/// Behaviour 30: whoever comes by http is sent to https, and keeps the host.
#[test]
fn http_leads_to_https_with_a_certificate_for_each_host() {
    let Some(folder) = Folder::copy("http to https") else {
        return;
    };
    let composition = folder.with(&crate::compose::SERVERS);
    // The redirect is the entry point's own, before any router: no host can be left out of it.
    assert_eq!(
        composition.argument("entrypoints.web.http.redirections.entrypoint.to"),
        Some(":443")
    );
    for (name, service) in composition.services() {
        let Some(labels) = service["labels"].as_object() else {
            continue;
        };
        let rules = labels
            .iter()
            .filter_map(|(label, value)| Some((label.strip_suffix(".rule")?, value)));
        for (router, value) in rules {
            let of = |setting: &str| labels.get(&format!("{router}.{setting}")).and_then(Value::as_str);
            assert_eq!(of("entrypoints"), Some("websecure"), "{router}");
            assert_eq!(of("tls.certresolver"), Some("letsencrypt"), "{router}");
            assert!(of("priority").is_some() && of("service").is_some(), "{router}");
            let host = if name == "gateway" { "auth" } else { name };
            assert!(
                value.as_str().unwrap().contains(&format!("Host(`{host}.{DOMAIN}`)")),
                "{router}: {value}"
            );
        }
    }
}
