//! Resources with rules about what is called, of which the headers tell.

use mcp_oauth_core::scope::rules::Rule;
use mcp_oauth_tests::application::{Answer, Application};
use mcp_oauth_tower::forward_auth::IDENTITY_HEADERS;
use mcp_oauth_tower::{ForwardAuth, Resource};

use super::Proxy;

/// Resources with rules about what is called, of which the headers tell.
fn with_rules() -> Proxy {
    let application = Application::new(|builder| {
        let tools = Resource::new("https://tools.example.com/mcp").unwrap();
        let tools = tools.scope("read", "read").unwrap().scope("write", "write").unwrap();
        let tools = tools.otherwise("read").unwrap();
        let tools = tools.rule(Rule::tool("delete").needs("write").unwrap()).unwrap();
        builder.resource(tools.rule(Rule::method("tools/list").open()).unwrap())
    });
    Proxy::of(application, ForwardAuth::identity_tokens)
}

async fn status_of(proxy: &Proxy, headers: &[(&str, &str)]) -> Answer {
    proxy.ask("POST", "tools.example.com", "/mcp", headers).await
}

/// 193, V-88.
#[tokio::test]
async fn headers_say_what_is_called_only_in_versions_in_which_servers_check_them() {
    let proxy = with_rules();
    let bearer = format!(
        "Bearer {}",
        proxy.token_for("https://tools.example.com/mcp", "read").await
    );
    let call = async |version: &str, method: &str, name: &str| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("mcp-protocol-version", version),
            ("mcp-method", method),
            ("mcp-name", name),
        ];
        status_of(&proxy, &headers).await
    };
    assert_eq!(call("2026-07-28", "tools/call", "search").await.status, 200);
    // base64 of `search` and of `delete`.
    assert_eq!(
        call("2026-07-28", "tools/call", "=?base64?c2VhcmNo?=").await.status,
        200
    );
    for (version, method, name) in [
        ("2026-07-28", "tools/call", "delete"),
        ("2026-07-28", "tools/call", "=?base64?ZGVsZXRl?="),
        ("2025-11-25", "tools/call", "search"),
        ("2025-06-18", "tools/list", ""),
        ("", "tools/call", "search"),
    ] {
        let answer = call(version, method, name).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.error()),
            (403, "insufficient_scope"),
            "{version} {method} {name}"
        );
        assert!(answer.header("www-authenticate").contains("write"), "{answer:?}");
    }
    let twice = [
        ("authorization", bearer.as_str()),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "search"),
        ("mcp-name", "delete"),
    ];
    assert_eq!(status_of(&proxy, &twice).await.status, 403);
    assert_eq!(status_of(&proxy, &[("authorization", &bearer)]).await.status, 403);
}

#[tokio::test]
async fn what_is_open_goes_on_with_nobodys_name() {
    let proxy = with_rules();
    let open = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
        ("x-user-id", "mallory"),
    ];
    let answer = status_of(&proxy, &open).await;
    assert_eq!(answer.status, 200);
    for &name in IDENTITY_HEADERS {
        assert_eq!(answer.headers.get_all(name).iter().collect::<Vec<_>>(), [""], "{name}");
    }
    let wrong = [open[0], open[1], ("authorization", "Bearer wrong.to.ken")];
    assert_eq!(status_of(&proxy, &wrong).await.status, 401);
    for closed in [
        &[][..],
        &[("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/list")],
        &[
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "search"),
        ],
    ] {
        assert_eq!(status_of(&proxy, closed).await.status, 401, "{closed:?}");
    }
    let stream = proxy.ask("GET", "tools.example.com", "/mcp", &open).await;
    assert_eq!(stream.status, 401);
}
