//! What holds behind every proxy.

use serde_json::{Value, json};

use crate::backends::Seen;
use crate::journey::sign_in;
use crate::site::Site;
use crate::wire::{self, Reply};

/// The headers by which a backend is told who calls.
use mcp_oauth_tower::forward_auth::IDENTITY_HEADERS;

const ORIGIN: (&str, &str) = ("Origin", "https://inspector.example");

/// Whether a page of `ORIGIN` may read this.
fn is_readable(reply: &Reply) -> bool {
    let allowed = reply.header("access-control-allow-origin");
    (allowed == "*" || allowed == ORIGIN.1) && reply.count("access-control-allow-origin") == 1
}

const ACCEPT: (&str, &str) = ("Accept", "application/json, text/event-stream");
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn tool(name: &str) -> String {
    let meta = json!({"progressToken": "t"});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {}, "_meta": meta}})
        .to_string()
}

/// Sends one call of `whoami`, with the lines of the request as they are.
async fn call(site: &Site, line: &str, headers: &[(&str, &str)]) -> Reply {
    let host = site.proxy.to_string();
    let mut all = vec![("Host", host.as_str()), ACCEPT, JSON];
    all.extend_from_slice(headers);
    wire::send(site.proxy, line, &all, &tool("whoami")).await
}

const CALL: &str = "POST /echo/mcp HTTP/1.1";

/// All of them, with one sign-in.
pub(crate) async fn all(site: &Site) {
    challenges(site).await;
    let echo = sign_in(&format!("{}/echo/mcp", site.url()), "ada").await;
    let bearer = format!("Bearer {echo}");
    calls(site, &bearer).await;
    identity(site, &bearer, &echo).await;
    smuggling(site, &bearer).await;
    forwarding(site, &bearer).await;
    paths(site, &bearer).await;
    hosts(site, &bearer).await;
    preflights(site).await;
    outsiders(site, &bearer).await;
    streams_of_rmcp(site, &bearer).await;
    let notes = sign_in(&format!("{}/notes/mcp", site.url()), "grace").await;
    bridge(site, &format!("Bearer {notes}"), &bearer).await;
}

/// Whoever has no good token is told where to begin, and no server hears of it.
async fn challenges(site: &Site) {
    for server in ["notes", "echo"] {
        let metadata = format!("{}/.well-known/oauth-protected-resource/{server}/mcp", site.url());
        for method in ["GET", "POST", "DELETE", "PUT", "HEAD"] {
            for path in [
                format!("/{server}/mcp"),
                format!("/{server}/mcp/"),
                format!("/{server}/mcp/x?y=z"),
            ] {
                let reply = call(site, &format!("{method} {path} HTTP/1.1"), &[]).await;
                assert_eq!(reply.status, 401, "{method} {path} {reply:?}");
                let expected = format!(r#"Bearer resource_metadata="{metadata}", scope="mcp:tools""#);
                assert_eq!(reply.header("www-authenticate"), expected, "{method} {path}");
            }
        }
        let path = format!("POST /{server}/mcp HTTP/1.1");
        let reply = call(site, &path, &[("Authorization", "Bearer not.a.token"), ORIGIN]).await;
        assert_eq!((reply.status, reply.count("www-authenticate")), (401, 1), "{reply:?}");
        assert!(
            reply
                .header("www-authenticate")
                .starts_with(r#"Bearer error="invalid_token""#),
            "{reply:?}"
        );
        assert_eq!(
            (&*reply.header("content-type"), &reply.json()["error"]),
            ("application/json", &json!("invalid_token"))
        );
        assert_eq!(reply.header("cache-control"), "no-store");
        // A script has to be able to read the challenge.
        assert!(is_readable(&reply), "{reply:?}");
        assert!(
            reply
                .header("access-control-expose-headers")
                .contains("WWW-Authenticate")
        );
        let reply = call(site, &path, &[("Authorization", "Bearer a b")]).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(
            reply.header("www-authenticate").contains(r#"error="invalid_request""#),
            "{reply:?}"
        );
    }
    let host = site.proxy.to_string();
    let browser = [("Host", host.as_str()), ("Accept", "text/html,*/*;q=0.8")];
    let page = wire::send(site.proxy, "GET /echo/mcp HTTP/1.1", &browser, "").await;
    assert_eq!(page.status, 401);
    assert!(
        page.header("content-type").starts_with("text/html") && page.body.contains("/echo/mcp"),
        "{page:?}"
    );
    assert!(page.header("www-authenticate").contains("resource_metadata="));
    assert!(site.backends.record.take().is_empty());
}

/// Whoever has a token reaches the server.
async fn calls(site: &Site, bearer: &str) {
    for (name, value) in [
        ("Authorization", bearer.to_owned()),
        ("aUTHORIZATION", bearer.replace("Bearer", "bearer")),
    ] {
        let reply = call(site, CALL, &[(name, &value), ORIGIN]).await;
        assert!(
            reply.status == 200 && reply.body.contains(r#""text":"ada""#),
            "{reply:?}"
        );
        assert!(is_readable(&reply), "{reply:?}");
        assert!(
            reply
                .names()
                .all(|name| !IDENTITY_HEADERS.contains(&name.to_ascii_lowercase().as_str()))
        );
    }
    let twice = call(site, CALL, &[("Authorization", bearer), ("Authorization", bearer)]).await;
    assert_eq!(twice.status, 400, "{twice:?}");
    site.backends.record.take();
    let reply = call(site, "POST /notes/mcp HTTP/1.1", &[("Authorization", bearer)]).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (401, &json!("invalid_token")),
        "{reply:?}"
    );
    assert!(site.backends.record.take().is_empty());
}

/// The server is told who calls, and does not see the token.
async fn identity(site: &Site, bearer: &str, token: &str) {
    assert_eq!(call(site, CALL, &[("Authorization", bearer)]).await.status, 200);
    let seen = site.backends.record.only();
    for (name, value) in [
        ("x-user-id", "development:ada"),
        ("x-user-name", "ada"),
        ("x-user-display-name", "Ada Lovelace"),
        ("x-scopes", "mcp:tools"),
        ("x-resource", &*format!("{}/echo/mcp", site.url())),
        ("x-issuer", &*site.url()),
    ] {
        assert_eq!(seen.alike(name), [value], "{name}");
    }
    let told = seen.alike("x-identity-token");
    let keys: Value = reqwest::get(format!("{}/jwks", site.url()))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(mcp_oauth_tests::signing::verifies(&keys, told[0]));
    assert!(
        !seen.mentions(token) && seen.alike("authorization").concat().is_empty(),
        "{seen:?}"
    );
    assert!(seen.alike("x-auth-token").concat().is_empty(), "{seen:?}");
}

/// Of everything that a client can write, nothing reaches the server under a name that says who calls.
async fn smuggling(site: &Site, bearer: &str) {
    assert_eq!(call(site, CALL, &[("Authorization", bearer)]).await.status, 200);
    let plain = site.backends.record.only();
    // The identity token is signed anew each time.
    let told = |seen: &Seen| {
        let names = IDENTITY_HEADERS.iter().filter(|&&name| name != "x-identity-token");
        names.map(|&name| (name, seen.alike(name).concat())).collect::<Vec<_>>()
    };
    let mut attempts: Vec<Vec<(String, String)>> = Vec::new();
    for &name in IDENTITY_HEADERS {
        let underscored = name.replace('-', "_");
        let spellings = [
            name.to_owned(),
            name.to_ascii_uppercase(),
            name.replace("x-", "X-").replace("user", "uSeR"),
            underscored.clone(),
            underscored.to_ascii_uppercase(),
            name.replacen("x-", "x_", 1),
            name.replacen("x-", "X_", 1),
        ];
        for spelling in &spellings {
            attempts.push(vec![(spelling.clone(), "mallory".to_owned())]);
        }
        attempts.push(vec![
            (name.to_owned(), "mallory".to_owned()),
            (name.to_owned(), "root".to_owned()),
        ]);
        attempts.push(
            spellings
                .iter()
                .map(|spelling| (spelling.clone(), "mallory".to_owned()))
                .collect(),
        );
        for option in [
            name.to_owned(),
            format!("close, {name}"),
            format!("keep-alive, {}", name.to_ascii_uppercase()),
        ] {
            attempts.push(vec![
                ("Connection".to_owned(), option.clone()),
                (name.to_owned(), "mallory".to_owned()),
            ]);
            attempts.push(vec![("Connection".to_owned(), option)]);
        }
    }
    let all = IDENTITY_HEADERS.join(", ");
    attempts.push(vec![
        ("Connection".to_owned(), all.clone()),
        ("Connection".to_owned(), "close".to_owned()),
    ]);
    attempts.push(vec![("TE".to_owned(), all.clone()), ("Keep-Alive".to_owned(), all)]);
    for attempt in &attempts {
        let mut headers = vec![("Authorization", bearer)];
        headers.extend(attempt.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let reply = call(site, CALL, &headers).await;
        let seen = site.backends.record.take();
        if let [seen] = seen.as_slice() {
            assert_eq!(told(seen), told(&plain), "{attempt:?}");
            assert!(
                !seen.alike("x-identity-token").concat().contains("mallory"),
                "{attempt:?}"
            );
            assert_eq!(seen.alike("x-identity-token").len(), 1, "{attempt:?}");
        } else {
            assert!(
                seen.is_empty() && (400..500).contains(&reply.status),
                "{attempt:?} {reply:?} {seen:?}"
            );
        }
        // Without a token there is nothing to gain at all.
        let reply = call(site, CALL, &headers[1..]).await;
        assert!((400..500).contains(&reply.status), "{attempt:?} {reply:?}");
        assert!(site.backends.record.take().is_empty(), "{attempt:?}");
    }
}

/// What a client says of where its request went, or of itself, does not make a token good for another server.
async fn forwarding(site: &Site, bearer: &str) {
    let echo = format!("{}/echo/mcp", site.url());
    for (name, value) in [
        ("X-Forwarded-Host", "localhost"),
        ("X-Forwarded-Uri", "/echo/mcp"),
        ("X-Forwarded-Method", "OPTIONS"),
        ("X-Forwarded-Prefix", "/echo"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "host=localhost"),
        ("X-Original-URI", "/echo/mcp"),
        ("X-Original-Host", "localhost"),
        ("X-Original-URL", &*echo),
        ("X-Rewrite-URL", "/echo/mcp"),
        ("X-HTTP-Method-Override", "OPTIONS"),
        ("User-Agent", "kube-probe/1.30"),
    ] {
        // The token is for the other server.
        let reply = call(
            site,
            "POST /notes/mcp HTTP/1.1",
            &[("Authorization", bearer), (name, value)],
        )
        .await;
        assert!(matches!(reply.status, 400 | 401), "{name} {reply:?}");
        assert!(site.backends.record.take().is_empty(), "{name}");
    }
}

/// A path that could be read in two ways reaches no server.
async fn paths(site: &Site, bearer: &str) {
    for path in [
        "/notes/../echo/mcp",
        "/echo/mcp/../../notes/mcp",
        "/notes/mcp/..;/..;/echo/mcp",
        "/echo/mcp/..;/",
        "/echo/mcp;x=1",
        "/notes/mcp/%2e%2e/%2e%2e/echo/mcp",
        "/echo/%2e%2e/notes/mcp",
        "/notes/mcp%2f..%2f..%2fecho%2fmcp",
        "/echo/mcp%2f..%2f..%2fnotes%2fmcp",
        "/echo/mcp/%252e%252e/x",
        "//echo/mcp",
        "/echo//mcp",
        "/echo/mcp//x",
        "/./echo/mcp",
        "/echo/mcp/.",
        "/echo/%6dcp",
        "/echo/mcp%5c..",
        "/echo/mcp\\..\\x",
        "/echo/mcp%00",
        "/echo/mcp#/../notes/mcp",
        "/notes/mcp?x=/echo/mcp",
        "/notes/mcp#/echo/mcp",
        "/echo/mcpx",
        "/ECHO/mcp",
    ] {
        let reply = call(site, &format!("POST {path} HTTP/1.1"), &[("Authorization", bearer)]).await;
        let seen = site.backends.record.take();
        // Some proxies cut a fragment off before anybody sees it.
        if !(path.starts_with("/echo/mcp#") && seen.iter().all(|seen| seen.target == "/mcp")) {
            assert!(
                (400..500).contains(&reply.status) && seen.is_empty(),
                "{path} {reply:?} {seen:?}"
            );
        }
    }
    for (path, target) in [
        ("/echo/mcp", "/mcp"),
        ("/echo/mcp/", "/mcp/"),
        ("/echo/mcp?a=/..%2f", "/mcp?a=/..%2f"),
    ] {
        let reply = call(site, &format!("POST {path} HTTP/1.1"), &[("Authorization", bearer)]).await;
        assert_eq!(site.backends.record.only().target, target, "{path} {reply:?}");
    }
    let query = format!(
        "POST /echo/mcp?access_token={} HTTP/1.1",
        bearer.trim_start_matches("Bearer ")
    );
    assert_eq!(call(site, &query, &[]).await.status, 401);
    assert_eq!(call(site, &query, &[("Authorization", bearer)]).await.status, 400);
    assert!(site.backends.record.take().is_empty());
}

/// A name that is not the server's leads nowhere, however it is written.
async fn hosts(site: &Site, bearer: &str) {
    let url = site.url();
    for (line, host) in [
        (CALL.to_owned(), "evil.example"),
        (CALL.to_owned(), "127.0.0.1."),
        (CALL.to_owned(), "evil.example@127.0.0.1"),
        (
            format!(
                "POST {} HTTP/1.1",
                url.replace("127.0.0.1", "evil.example") + "/echo/mcp"
            ),
            "127.0.0.1",
        ),
    ] {
        let headers = [("Host", host), ACCEPT, JSON, ("Authorization", bearer)];
        let reply = wire::send(site.proxy, &line, &headers, &tool("whoami")).await;
        // A proxy may take a name for what it means; then the server hears of that alone.
        let seen = site.backends.record.take();
        assert!(
            seen.iter().all(|seen| seen.alike("host") == ["127.0.0.1"]),
            "{line} {host} {reply:?} {seen:?}"
        );
    }
    let twice = [
        ("Host", "127.0.0.1"),
        ("Host", "evil.example"),
        ACCEPT,
        JSON,
        ("Authorization", bearer),
    ];
    let reply = wire::send(site.proxy, CALL, &twice, &tool("whoami")).await;
    assert!(
        reply.status >= 400 && site.backends.record.take().is_empty(),
        "{reply:?}"
    );
}

/// Preflights are answered by the proxy, and reach no server.
async fn preflights(site: &Site) {
    for server in ["notes", "echo"] {
        let headers = [
            ORIGIN,
            ("Access-Control-Request-Method", "POST"),
            (
                "Access-Control-Request-Headers",
                "authorization,content-type,mcp-param-region",
            ),
        ];
        let reply = call(site, &format!("OPTIONS /{server}/mcp HTTP/1.1"), &headers).await;
        assert!(matches!(reply.status, 200 | 204) && is_readable(&reply), "{reply:?}");
        assert!(reply.header("access-control-allow-methods").contains("DELETE"));
        let allowed = reply.header("access-control-allow-headers");
        for name in [
            "Authorization",
            "Mcp-Method",
            "Mcp-Name",
            "Mcp-Session-Id",
            "MCP-Protocol-Version",
            "*",
        ] {
            assert!(
                allowed.split(',').any(|allowed| allowed.trim() == name),
                "{name} in {allowed}"
            );
        }
    }
    assert!(site.backends.record.take().is_empty());
    // The gateway's own headers are there once, and not at all where a person signs in.
    let host = site.proxy.to_string();
    let script = [("Host", host.as_str()), ORIGIN];
    let document = "GET /.well-known/oauth-authorization-server HTTP/1.1";
    let reply = wire::send(site.proxy, document, &script, "").await;
    assert_eq!(
        (reply.status, reply.count("access-control-allow-origin")),
        (200, 1),
        "{reply:?}"
    );
    let reply = wire::send(site.proxy, "GET /authorize HTTP/1.1", &script, "").await;
    assert_eq!(reply.count("access-control-allow-origin"), 0, "{reply:?}");
}

/// Nobody outside can ask what the proxy may ask.
async fn outsiders(site: &Site, bearer: &str) {
    let headers = [
        ("Authorization", bearer),
        ("X-Forwarded-Method", "POST"),
        ("X-Forwarded-Host", "127.0.0.1"),
        ("X-Forwarded-Uri", "/echo/mcp"),
    ];
    for path in [
        "/verify",
        "/verify/",
        "/verify/refusal",
        "/verify/at/echo/mcp",
        "/_verify",
        "//verify",
        "/x/../verify",
    ] {
        let reply = call(site, &format!("GET {path} HTTP/1.1"), &headers).await;
        assert!(reply.status >= 400, "{path} {reply:?}");
        assert!(
            reply
                .names()
                .all(|name| !IDENTITY_HEADERS.contains(&name.to_ascii_lowercase().as_str()))
        );
    }
}

/// An event reaches the client while the server has more to say.
async fn streams_of_rmcp(site: &Site, bearer: &str) {
    let host = site.proxy.to_string();
    let headers = [("Host", host.as_str()), ACCEPT, JSON, ("Authorization", bearer)];
    let mut stream = wire::open(site.proxy, CALL, &headers, &tool("wait")).await;
    assert_eq!(stream.head.status, 200);
    assert!(
        stream.head.header("content-type").starts_with("text/event-stream"),
        "{:?}",
        stream.head
    );
    stream.until("it has begun").await;
    site.backends.release.notify_one();
    stream.until("it has ended").await;
    site.backends.record.take();
}

/// The stdio server behind the bridge: a session of its own, and its events as they come.
async fn bridge(site: &Site, bearer: &str, elsewhere: &str) {
    let host = site.proxy.to_string();
    let send = async |headers: &[(&str, &str)], body: &str| {
        let mut all = vec![("Host", host.as_str()), ACCEPT, JSON];
        all.extend_from_slice(headers);
        wire::open(site.proxy, "POST /notes/mcp HTTP/1.1", &all, body).await
    };
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let opened = send(&[("Authorization", bearer)], &initialize.to_string()).await;
    let session = opened.head.header("mcp-session-id");
    assert_eq!(
        (opened.head.status, session.is_empty()),
        (200, false),
        "{:?}",
        opened.head
    );
    let seen = site.backends.record.only();
    assert_eq!(
        (
            seen.alike("x-user-name"),
            seen.mentions(bearer.trim_start_matches("Bearer "))
        ),
        (vec!["grace"], false)
    );

    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"message":"it has begun","progressToken":$TOKEN}}"#;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "write", "arguments": {"lines": [progress]}, "_meta": {"progressToken": "t"}}});
    let headers = [("Authorization", bearer), ("Mcp-Session-Id", session.as_str())];
    let mut stream = send(&headers, &call.to_string()).await;
    assert!(
        stream.head.header("content-type").starts_with("text/event-stream"),
        "{:?}",
        stream.head
    );
    stream.until("it has begun").await;
    site.backends.record.take();
    let refused = send(&[("Authorization", elsewhere), headers[1]], &call.to_string()).await;
    assert_eq!(refused.head.status, 401);
    assert!(site.backends.record.take().is_empty());
}
