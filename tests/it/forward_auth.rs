//! A proxy asks about each request: whom it may ask for, what it is told, and what nobody can talk it into.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use mcp_oauth_tests::application::{Answer, Application, NOTES, SCOPE, TRUSTED_PROXY, request};
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tower::forward_auth::IDENTITY_HEADERS;
use mcp_oauth_tower::{DevIdentity, ForwardAuth, Resource, Routes};
use tower::ServiceExt as _;

mod identity;
mod rules;

const WIKI: &str = "https://wiki.example.com/mcp";

const NOTES_METADATA: &str = "http://127.0.0.1:8080/.well-known/oauth-protected-resource/notes/mcp";

/// A server that proxies ask, and the proxy.
struct Proxy {
    application: Application,
    router: Router,
}

impl Proxy {
    fn new() -> Self {
        Self::with(|forward_auth| forward_auth)
    }

    fn with(configure: impl FnOnce(ForwardAuth) -> ForwardAuth) -> Self {
        Self::of(
            Application::new(|builder| {
                let wiki = Resource::new(WIKI).unwrap();
                let wiki = wiki.scope("read", "read").unwrap().scope("write", "write").unwrap();
                builder.resource(wiki)
            }),
            configure,
        )
    }

    fn of(application: Application, configure: impl FnOnce(ForwardAuth) -> ForwardAuth) -> Self {
        let forward_auth = configure(ForwardAuth::of(&application.server));
        let routes = Routes::new(&application.server).behind(TRUSTED_PROXY.parse().unwrap());
        Self {
            router: routes.forward_auth(forward_auth).into_router(),
            application,
        }
    }

    async fn token(&self, person: &str) -> String {
        let client = Client::public(&self.application).await;
        client.sign_in(&self.application, person).await.access_token
    }

    async fn token_for(&self, resource: &str, scope: &str) -> String {
        let client = Client::public(&self.application).await;
        let url = client.authorization_url(&[("resource", resource), ("scope", scope)]);
        let code = Browser::default()
            .authorize(&self.application, &url, "ada")
            .await
            .code();
        Tokens::of(&client.redeem(&self.application, &code, &[]).await).access_token
    }

    /// Asks from this address.
    async fn send_from(&self, address: Option<&str>, mut request: Request<Body>) -> Answer {
        if let Some(address) = address {
            let peer = std::net::SocketAddr::new(address.parse().unwrap(), 4711);
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Asks about a request to this host and path, with these headers of the client.
    async fn ask(&self, method: &str, host: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![
            ("x-forwarded-method", method),
            ("x-forwarded-host", host),
            ("x-forwarded-uri", target),
        ];
        all.extend_from_slice(headers);
        let request = request(Method::GET, "/verify", &all, "");
        self.send_from(Some(TRUSTED_PROXY), request).await
    }

    /// Asks about a call of the notes.
    async fn call(&self, headers: &[(&str, &str)]) -> Answer {
        self.ask("POST", "127.0.0.1:8080", "/notes/mcp", headers).await
    }

    async fn call_with(&self, token: &str) -> Answer {
        self.call(&[("authorization", &format!("Bearer {token}"))]).await
    }
}

#[tokio::test]
async fn a_good_token_is_a_200_without_a_body_that_says_who_calls() {
    let proxy = Proxy::new();
    let client = Client::public(&proxy.application).await;
    let token = client.sign_in(&proxy.application, "ada").await.access_token;
    let answer = proxy.call_with(&token).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, ""));
    assert_eq!(answer.header("cache-control"), "no-store");
    for (name, value) in [
        ("x-user-id", "development:ada"),
        ("x-user-name", "ada"),
        ("x-user-display-name", "Ada Lovelace"),
        ("x-client-id", &client.client_id),
        ("x-scopes", SCOPE),
        ("x-resource", NOTES),
        ("x-issuer", "http://127.0.0.1:8080"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert!(!answer.header("x-grant-id").is_empty());
    let expires: u64 = answer.header("x-token-expires").parse().unwrap();
    assert!(expires > 1_700_000_000);
}

/// V-74: what is not there would stay as the client has sent it.
#[tokio::test]
async fn every_identity_header_is_always_there_and_once() {
    let proxy = Proxy::new();
    let answer = proxy.call_with(&proxy.token("ada").await).await;
    for &name in IDENTITY_HEADERS {
        assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name}");
    }
    let size: usize = answer
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    assert!(size < 1024, "{size}");
}

#[tokio::test]
async fn what_a_client_says_of_itself_changes_nothing() {
    let proxy = Proxy::new();
    let authorization = format!("Bearer {}", proxy.token("ada").await);
    let plain = proxy.call(&[("authorization", &authorization)]).await;
    let mut headers = vec![("authorization", authorization.as_str())];
    headers.extend(IDENTITY_HEADERS.iter().map(|&name| (name, "grace")));
    headers.extend([
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/files/mcp"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "host=wiki.example.com"),
        ("x-forwarded-user", "grace"),
        ("x_forwarded_host", "wiki.example.com"),
        ("x_user_id", "grace"),
        ("connection", "x-user-id, x-forwarded-host"),
        ("user-agent", "kube-probe/1.30 GoogleHC/1.0"),
        ("x-auth-request-redirect", "/files/mcp"),
        ("mcp-method", "initialize"),
        ("origin", "https://evil.example"),
    ]);
    let spoofed = proxy.call(&headers).await;
    assert_eq!((spoofed.status, spoofed.headers), (plain.status, plain.headers));
}

#[tokio::test]
async fn names_of_all_scripts_arrive_as_ascii() {
    let people = DevIdentity::with_people([("zo\u{eb}", "Zo\u{eb} \u{738b}\r\nX-User-Id: root 100%")]);
    let proxy = Proxy::of(Application::new(|builder| builder.identity(people)), |forward_auth| {
        forward_auth
    });
    let answer = proxy.call_with(&proxy.token("zo\u{eb}").await).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-user-name"), "zo%C3%AB");
    assert_eq!(
        answer.header("x-user-display-name"),
        "Zo%C3%AB %E7%8E%8B%0D%0AX-User-Id: root 100%25"
    );
}

#[tokio::test]
async fn nobody_but_a_trusted_proxy_may_ask() {
    let proxy = Proxy::new();
    let authorization = format!("Bearer {}", proxy.token("ada").await);
    for peer in [None, Some("10.0.0.2"), Some("203.0.113.1"), Some("::1")] {
        for path in ["/verify", "/verify/refusal", "/verify/at/notes/mcp"] {
            let headers = [
                ("authorization", authorization.as_str()),
                ("host", "127.0.0.1:8080"),
                ("x-forwarded-for", TRUSTED_PROXY),
                ("x-forwarded-method", "GET"),
                ("x-forwarded-host", "127.0.0.1:8080"),
                ("x-forwarded-uri", "/notes/mcp"),
            ];
            let answer = proxy.send_from(peer, request(Method::GET, path, &headers, "")).await;
            assert_eq!(
                (answer.status.as_u16(), &*answer.error()),
                (403, "access_denied"),
                "{peer:?} {path}"
            );
            assert_eq!(answer.header("x-user-id"), "");
        }
    }
}

#[tokio::test]
async fn without_being_switched_on_there_is_nothing_to_ask() {
    let application = Application::default();
    let request = request(Method::GET, "/verify", &[], "");
    assert_eq!(application.send_from(TRUSTED_PROXY, request).await.status, 404);
}

#[tokio::test]
async fn a_proxy_that_does_not_say_all_or_says_it_twice_is_refused() {
    let proxy = Proxy::new();
    let authorization = format!("Bearer {}", proxy.token("ada").await);
    let complete = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-host", "127.0.0.1:8080"),
        ("x-forwarded-uri", "/notes/mcp"),
        ("authorization", &*authorization),
    ];
    let ask = async |headers: &[(&str, &str)]| {
        let request = request(Method::GET, "/verify", headers, "");
        proxy.send_from(Some(TRUSTED_PROXY), request).await
    };
    assert_eq!(ask(&complete).await.status, 200);
    for name in 0..3 {
        let mut lacking = complete.to_vec();
        let (removed, _) = lacking.remove(name);
        assert_eq!(ask(&lacking).await.status, 400, "{removed}");
        let mut twice = complete.to_vec();
        twice.push(complete[name]);
        assert_eq!(ask(&twice).await.status, 400, "{removed}");
    }
    for more in [
        ("x-original-uri", "/notes/mcp"),
        ("x-original-host", "wiki.example.com"),
        ("x-original-method", "GET"),
    ] {
        let mut both = complete.to_vec();
        both.push(more);
        assert_eq!(ask(&both).await.status, 400, "{more:?}");
    }
}

/// V-76, V-77.
#[tokio::test]
async fn a_path_that_two_programs_could_read_differently_is_refused() {
    let proxy = Proxy::new();
    let authorization = format!("Bearer {}", proxy.token("ada").await);
    for target in [
        "//notes/mcp",
        "/notes//mcp",
        "/notes/mcp/../../files/mcp",
        "/notes/mcp/..;/admin",
        "/notes/mcp%2f..%2f..%2ffiles%2fmcp",
        "/files/../notes/mcp",
        "/notes/%2e%2e/notes/mcp",
        "/notes/mcp/%2E%2E/admin",
        "/notes/mcp;jsessionid=1",
        "/notes/mcp\\..\\admin",
        "/notes/mcp%5c",
        "/notes/mcp#/../files",
        "/notes/mcp%23",
        "/notes/mcp%00",
        "/notes/%6dcp",
        "/notes/mcp%252e",
        "/./notes/mcp",
        "notes/mcp",
        "http://127.0.0.1:8080/notes/mcp",
        "*",
    ] {
        for headers in [&[("authorization", authorization.as_str())][..], &[]] {
            let answer = proxy.ask("POST", "127.0.0.1:8080", target, headers).await;
            assert_eq!(
                (answer.status.as_u16(), &*answer.error()),
                (400, "invalid_request"),
                "{target}"
            );
            assert_eq!(answer.header("www-authenticate"), "", "{target}");
        }
    }
    for target in ["/notes/mcp", "/notes/mcp/", "/notes/mcp/x", "/notes/mcp?a=/../b;c%2f"] {
        let answer = proxy
            .ask("POST", "127.0.0.1:8080", target, &[("authorization", &authorization)])
            .await;
        assert_eq!(answer.status, 200, "{target}");
    }
}

/// V-78.
#[tokio::test]
async fn what_is_not_configured_is_refused_without_a_word_on_what_is() {
    let proxy = Proxy::new();
    let authorization = format!("Bearer {}", proxy.token("ada").await);
    for (host, target) in [
        ("evil.example", "/notes/mcp"),
        ("wiki.example.com", "/notes/mcp"),
        ("127.0.0.1:8081", "/notes/mcp"),
        ("localhost:8080", "/notes/mcp"),
        ("127.0.0.1:8080", "/"),
        ("127.0.0.1:8080", "/notes"),
        ("127.0.0.1:8080", "/notes/mcpx"),
        ("127.0.0.1:8080", "/NOTES/MCP"),
        ("127.0.0.1:8080", "/verify"),
        ("127.0.0.1:8080", "/health"),
    ] {
        let answer = proxy
            .ask("POST", host, target, &[("authorization", &authorization)])
            .await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.error()),
            (421, "invalid_target"),
            "{host}{target}"
        );
        assert_eq!(answer.header("www-authenticate"), "", "{host}{target}");
        assert!(
            !answer.body.contains("notes") && !answer.body.contains("127.0.0.1"),
            "{}",
            answer.body
        );
    }
    for host in [
        "127.0.0.1.:8080",
        "ada@127.0.0.1:8080",
        "127.0.0.1:8080,evil.example",
        "127.0.0.1:",
        "",
    ] {
        let answer = proxy
            .ask("POST", host, "/notes/mcp", &[("authorization", &authorization)])
            .await;
        assert_eq!(answer.status, 400, "{host}");
    }
    for host in ["127.0.0.1:8080", "127.0.0.1"] {
        let answer = proxy
            .ask("POST", host, "/notes/mcp", &[("authorization", &authorization)])
            .await;
        assert_eq!(answer.status, 200, "{host}");
    }
}

/// Defect R1, V-45, V-56.
#[tokio::test]
async fn each_resource_has_its_own_challenge_and_its_own_tokens() {
    let proxy = Proxy::new();
    let token = proxy.token("ada").await;
    for (host, path, metadata, scope) in [
        ("127.0.0.1:8080", "/notes/mcp", NOTES_METADATA, Some("notes:use")),
        (
            "wiki.example.com",
            "/mcp",
            "https://wiki.example.com/.well-known/oauth-protected-resource/mcp",
            Some("read write"),
        ),
    ] {
        for method in ["GET", "POST", "HEAD", "DELETE", "PUT", "OPTIONS"] {
            let answer = proxy.ask(method, host, path, &[]).await;
            let scope = scope.map_or_else(String::new, |scope| format!(r#", scope="{scope}""#));
            let expected = format!(r#"Bearer resource_metadata="{metadata}"{scope}"#);
            assert_eq!(
                (answer.status.as_u16(), answer.header("www-authenticate")),
                (401, &*expected),
                "{method}"
            );
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }
    let elsewhere = [("authorization", &*format!("Bearer {token}"))];
    let answer = proxy.ask("POST", "wiki.example.com", "/mcp", &elsewhere).await;
    assert_eq!((answer.status.as_u16(), &*answer.error()), (401, "invalid_token"));
    assert!(
        answer
            .header("www-authenticate")
            .contains("wiki.example.com/.well-known")
    );
    assert_eq!(answer.header("x-user-id"), "");
}

#[tokio::test]
async fn a_browser_gets_a_page_and_a_client_json() {
    let proxy = Proxy::new();
    for accept in [
        "application/json, text/event-stream",
        "*/*",
        "text/html, application/json",
        "",
    ] {
        let answer = proxy.call(&[("accept", accept)]).await;
        assert_eq!(answer.header("content-type"), "application/json", "{accept}");
        assert_eq!(answer.error(), "unauthorized");
        assert_eq!(answer.header("vary"), "Accept");
    }
    let page = proxy
        .call(&[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")])
        .await;
    assert_eq!(page.status, 401);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("www-authenticate").contains(NOTES_METADATA));
    assert!(page.body.contains(NOTES) && page.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(
        (page.header("vary"), page.header("cache-control")),
        ("Accept", "no-store")
    );
}

/// Defect R5.
#[tokio::test]
async fn the_scheme_counts_in_any_case_and_a_malformed_header_is_a_400() {
    let proxy = Proxy::new();
    let token = proxy.token("ada").await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = proxy.call(&[("authorization", &format!("{scheme} {token}"))]).await;
        assert_eq!(answer.status, 200, "{scheme}");
    }
    let twice = format!("Bearer {token}");
    for headers in [
        &[("authorization", "Bearer")][..],
        &[("authorization", "Bearer a b")],
        &[("authorization", &twice), ("authorization", &twice)],
    ] {
        let answer = proxy.call(headers).await;
        assert_eq!(answer.status, 400, "{headers:?}");
        assert!(answer.header("www-authenticate").contains(r#"error="invalid_request""#));
    }
}

/// V-58.
#[tokio::test]
async fn a_token_in_the_query_of_the_forwarded_request_is_not_one() {
    let proxy = Proxy::new();
    let token = proxy.token("ada").await;
    let target = format!("/notes/mcp?access_token={token}");
    assert_eq!(proxy.ask("GET", "127.0.0.1", &target, &[]).await.status, 401);
    let both = [("authorization", &*format!("Bearer {token}"))];
    assert_eq!(proxy.ask("GET", "127.0.0.1", &target, &both).await.status, 400);
}

#[tokio::test]
async fn every_scope_of_the_resource_is_needed_and_all_are_named() {
    let proxy = Proxy::new();
    let narrow = format!("Bearer {}", proxy.token_for(WIKI, "read").await);
    let headers = [
        ("authorization", narrow.as_str()),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-method", "tools/list"),
    ];
    let answer = proxy.ask("POST", "wiki.example.com", "/mcp", &headers).await;
    assert_eq!((answer.status.as_u16(), &*answer.error()), (403, "insufficient_scope"));
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains(r#"error="insufficient_scope""#) && challenge.contains(r#"scope="read write""#));
    let wide = format!("Bearer {}", proxy.token_for(WIKI, "read write").await);
    let answer = proxy
        .ask("POST", "wiki.example.com", "/mcp", &[("authorization", &wide)])
        .await;
    assert_eq!((answer.status.as_u16(), answer.header("x-scopes")), (200, "read write"));
}

/// Defect S15.
#[tokio::test]
async fn without_the_store_nobody_is_told_that_a_good_token_is_wrong() {
    let proxy = Proxy::new();
    let token = proxy.token("ada").await;
    assert_eq!(proxy.call_with(&token).await.status, 200);
    proxy.application.store.set_down(true);
    proxy.application.clock.advance(Duration::from_secs(1));
    let answer = proxy.call_with(&token).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    assert_eq!(
        (answer.header("www-authenticate"), answer.header("x-user-id")),
        ("", "")
    );
    let page = proxy
        .call(&[("authorization", &format!("Bearer {token}")), ("accept", "text/html")])
        .await;
    assert_eq!((page.status.as_u16(), page.header("retry-after")), (503, "1"));
    assert_eq!(proxy.call_with("wrong.to.ken").await.status, 401);
    proxy.application.store.set_down(false);
    assert_eq!(proxy.call_with(&token).await.status, 200);
}

#[tokio::test]
async fn what_is_revoked_or_expired_opens_nothing() {
    let proxy = Proxy::new();
    let client = Client::public(&proxy.application).await;
    let token = client.sign_in(&proxy.application, "ada").await.access_token;
    assert_eq!(proxy.call_with(&token).await.status, 200);
    let revoked = client.post(&proxy.application, "/revoke", &[("token", &token)]).await;
    assert_eq!(revoked.status, 200);
    assert_eq!(proxy.call_with(&token).await.status, 401);

    let token = client.sign_in(&proxy.application, "ada").await.access_token;
    proxy.application.clock.advance(Duration::from_secs(3600));
    assert_eq!(proxy.call_with(&token).await.status, 401);
}

/// V-79, V-80.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_callers_at_the_same_time_each_is_told_apart() {
    let proxy = std::sync::Arc::new(Proxy::new());
    let mut tokens = Vec::new();
    for person in ["ada", "grace"] {
        tokens.push((person, proxy.token(person).await));
    }
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(32));
    let mut tasks = Vec::new();
    for number in 0..32 {
        let (proxy, barrier) = (proxy.clone(), barrier.clone());
        let (person, token) = tokens[number % 2].clone();
        tasks.push(tokio::spawn(async move {
            barrier.wait().await;
            for round in 0..20 {
                let answer = proxy.call_with(&token).await;
                assert_eq!(answer.header("x-user-name"), person);
                let elsewhere = [("authorization", &*format!("Bearer {token}"))];
                let refused = proxy.ask("POST", "127.0.0.1:8080", "/files/mcp", &elsewhere).await;
                assert_eq!(refused.status, 401, "{round}");
                assert_eq!(proxy.call_with(&format!("{token}x")).await.status, 401);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_preflight_is_the_proxys_to_answer() {
    let proxy = Proxy::new();
    let headers = [
        ("origin", "https://inspector.example"),
        ("access-control-request-method", "POST"),
    ];
    let answer = proxy.ask("OPTIONS", "127.0.0.1:8080", "/notes/mcp", &headers).await;
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .headers
            .keys()
            .all(|name| !name.as_str().starts_with("access-control-"))
    );
    // A script that asks the endpoint itself finds no CORS either.
    let own = request(Method::OPTIONS, "/verify", &headers, "");
    let answer = proxy.send_from(Some("203.0.113.1"), own).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("access-control-allow-origin")),
        (403, "")
    );
}

#[tokio::test]
async fn any_method_may_ask_and_a_body_does_not_count() {
    let proxy = Proxy::new();
    let authorization = format!("Bearer {}", proxy.token("ada").await);
    let headers = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-host", "127.0.0.1:8080"),
        ("x-forwarded-uri", "/notes/mcp"),
        ("authorization", &*authorization),
    ];
    for method in [Method::GET, Method::POST, Method::HEAD, Method::PUT, Method::OPTIONS] {
        let request = request(method.clone(), "/verify", &headers, r#"{"method":"tools/call"}"#);
        assert_eq!(
            proxy.send_from(Some(TRUSTED_PROXY), request).await.status,
            200,
            "{method}"
        );
    }
}

#[tokio::test]
async fn envoy_asks_by_host_and_path_of_the_request_itself() {
    let proxy = Proxy::new();
    let authorization = format!("Bearer {}", proxy.token("ada").await);
    let ask = async |method: Method, host: &str, path: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("host", host)];
        headers.extend_from_slice(more);
        let request = request(method, &format!("/verify/at{path}"), &headers, "");
        proxy.send_from(Some(TRUSTED_PROXY), request).await
    };
    let bearer = [("authorization", authorization.as_str())];
    for path in ["/notes/mcp", "/notes/mcp/", "/notes/mcp?x=/.."] {
        let answer = ask(Method::POST, "127.0.0.1:8080", path, &bearer).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-user-name")),
            (200, "ada"),
            "{path}"
        );
    }
    let answer = ask(Method::DELETE, "127.0.0.1:8080", "/notes/mcp", &[]).await;
    assert!(answer.status == 401 && answer.header("www-authenticate").contains(NOTES_METADATA));
    // What a client has forwarded is not what Envoy says.
    let spoofed = [
        bearer[0],
        ("x-forwarded-host", "127.0.0.1:8080"),
        ("x-forwarded-uri", "/notes/mcp"),
        ("x-forwarded-method", "POST"),
    ];
    for (host, path, status) in [
        ("evil.example", "/notes/mcp", 421),
        ("127.0.0.1:8080", "/", 421),
        ("127.0.0.1:8080", "", 400),
        ("127.0.0.1:8080", "/files/mcp", 401),
        ("127.0.0.1:8080", "/notes/../notes/mcp", 400),
        ("127.0.0.1:8080", "//notes/mcp", 400),
        ("127.0.0.1:8080", "/notes/mcp%2f..", 400),
        ("ada@127.0.0.1:8080", "/notes/mcp", 400),
    ] {
        assert_eq!(
            ask(Method::POST, host, path, &spoofed).await.status,
            status,
            "{host}{path}"
        );
    }
}

#[tokio::test]
async fn what_nginx_passes_on_is_the_refusal_and_never_a_200() {
    let proxy = Proxy::new();
    let authorization = format!("Bearer {}", proxy.token("ada").await);
    let ask = async |host: &str, more: &[(&str, &str)]| {
        let mut headers = vec![
            ("x-original-method", "POST"),
            ("x-original-host", host),
            ("x-original-uri", "/notes/mcp"),
        ];
        headers.extend_from_slice(more);
        let request = request(Method::GET, "/verify/refusal", &headers, "");
        proxy.send_from(Some(TRUSTED_PROXY), request).await
    };
    let answer = ask("127.0.0.1:8080", &[]).await;
    assert_eq!((answer.status.as_u16(), &*answer.error()), (401, "unauthorized"));
    assert!(answer.header("www-authenticate").contains(NOTES_METADATA));
    assert_eq!(ask("evil.example", &[]).await.status, 421);
    let answer = ask("127.0.0.1:8080", &[("authorization", &authorization)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    assert_eq!(
        (answer.header("x-user-id"), &*answer.error()),
        ("", "temporarily_unavailable")
    );
}

#[tokio::test]
async fn a_resource_can_be_at_more_than_one_place() {
    let proxy = Proxy::with(|forward_auth| {
        let forward_auth = forward_auth.place("http://127.0.0.1:8080/notes/sse", NOTES).unwrap();
        assert!(
            forward_auth
                .clone()
                .place("http://127.0.0.1:8080/x", "https://nobody.example")
                .is_err()
        );
        assert!(
            forward_auth
                .clone()
                .place("http://127.0.0.1:8080/x/../y", NOTES)
                .is_err()
        );
        forward_auth
    });
    let bearer = format!("Bearer {}", proxy.token("ada").await);
    let answer = proxy
        .ask("GET", "127.0.0.1:8080", "/notes/sse", &[("authorization", &bearer)])
        .await;
    assert_eq!((answer.status.as_u16(), answer.header("x-resource")), (200, NOTES));
}
