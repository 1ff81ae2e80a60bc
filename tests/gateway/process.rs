//! The gateway as a process: what it prints, when it refuses to start, and how it stops.

use mcp_oauth_tests::gateway::{Gateway, free_port};
use std::net::TcpListener;

use crate::node::Http;

#[tokio::test]
async fn with_no_configuration_it_says_what_it_serves_and_how_to_add_it_to_a_client() {
    let gateway = Gateway::start("").await;
    let url = &gateway.url;
    for text in [
        format!("claude mcp add --transport http echo {url}/echo/mcp"),
        format!("claude mcp add --transport http notes {url}/notes/mcp"),
        format!("--server-url {url}/echo/mcp"),
        "code --add-mcp".to_owned(),
        "development".to_owned(),
    ] {
        assert!(
            gateway.announcement.contains(&text),
            "{text} in {}",
            gateway.announcement
        );
    }
}

#[tokio::test]
async fn every_server_is_protected_and_every_document_is_public() {
    let gateway = Gateway::start("").await;
    let client = reqwest::Client::new();
    for path in ["/echo/mcp", "/echo/mcp/", "/notes/mcp", "/notes/mcp/"] {
        let response = client.post(format!("{}{path}", gateway.url)).send().await.unwrap();
        assert_eq!(response.status(), 401, "{path}");
        assert!(
            response.headers()["www-authenticate"]
                .to_str()
                .unwrap()
                .contains("resource_metadata="),
            "{path}"
        );
    }
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/echo/mcp",
        "/.well-known/oauth-protected-resource/notes/mcp",
        "/jwks",
    ] {
        let response = client.get(format!("{}{path}", gateway.url)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let _: serde_json::Value = response.json().await.unwrap();
    }
    assert_eq!(
        client
            .get(format!("{}/health", gateway.url))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn both_spellings_of_a_server_are_one_server() {
    let gateway = Gateway::start("").await;
    let http = Http::at(&gateway.url, &gateway.url);
    let token = http.sign_in(&http.register().await).await.access_token;
    let initialize = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
    }});
    let list = serde_json::json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    let ask = |path: &str| {
        let request = reqwest::Client::new().post(format!("{}{path}", gateway.url));
        let request = request.header("accept", "application/json, text/event-stream");
        request.bearer_auth(&token)
    };
    // A session that was opened at one of them is there at the other.
    for (one, other) in [("/echo/mcp", "/echo/mcp/"), ("/echo/mcp/", "/echo/mcp")] {
        let opened = ask(one).json(&initialize).send().await.unwrap();
        assert_eq!(opened.status(), 200, "{one}");
        let session = opened.headers()["mcp-session-id"].to_str().unwrap();
        let listed = ask(other)
            .header("mcp-session-id", session)
            .json(&list)
            .send()
            .await
            .unwrap();
        assert_eq!(listed.status(), 200, "{other}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_its_own_is_not_served() {
    let gateway = Gateway::start("").await;
    for path in [
        "/authorize",
        "/token",
        "/echo/mcp",
        "/.well-known/oauth-authorization-server",
    ] {
        let request = reqwest::Client::new()
            .get(format!("{}{path}", gateway.url))
            .header("host", "evil.example");
        assert_eq!(request.send().await.unwrap().status(), 421, "{path}");
    }
}

#[tokio::test]
async fn it_refuses_to_start_and_says_what_to_change() {
    let port = format!("127.0.0.1:{}", free_port());
    let app = [("GITHUB_CLIENT_ID", "id"), ("GITHUB_CLIENT_SECRET", "secret")];
    for (settings, toml, expected) in [
        (vec![("GATEWAY_LISTEN", "0.0.0.0:8080")], "", "GITHUB_CLIENT_ID"),
        (
            vec![("GATEWAY_PUBLIC_URL", "https://mcp.example.com")],
            "",
            "real identity provider",
        ),
        (vec![("GATEWAY_PUBLIC_URL", "http://mcp.example.com")], "", "https"),
        (
            vec![
                ("GATEWAY_PUBLIC_URL", "https://mcp.example.com/"),
                app[0],
                app[1],
                ("ALLOWED_GITHUB_USERS", "*"),
            ],
            "",
            "trailing slash",
        ),
        (vec![app[0]], "", "GITHUB_CLIENT_SECRET"),
        (vec![app[0], app[1]], "", "ALLOWED_GITHUB_USERS"),
        (vec![("GATEWAY_LISTNE", "x")], "", "listne"),
        (vec![], "lisen = 1", "lisen"),
        (vec![], "listen = ", "gateway.toml"),
        (vec![("GATEWAY_LOG", "=x=")], "", "log"),
        (
            vec![("GATEWAY_LISTEN", &port)],
            "[servers.time]\ncommand = []",
            "command",
        ),
        (
            vec![("GATEWAY_LISTEN", &port)],
            "[servers.echo]\ncommand = [\"x\"]",
            "built-in",
        ),
        (
            vec![("GATEWAY_LISTEN", &port)],
            "built_in_servers = false",
            "nothing to protect",
        ),
    ] {
        let refused = Gateway::refuse(&settings, toml).await;
        assert_eq!(refused.code, Some(1), "{settings:?} {toml}: {}", refused.message);
        assert!(refused.message.contains(expected), "{expected} in {}", refused.message);
        assert!(
            !refused.message.contains("panicked") && refused.message.lines().count() < 8,
            "{}",
            refused.message
        );
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = Gateway::refuse(&[("GATEWAY_LISTEN", &address)], "").await;
    assert!(
        refused.message.contains(&address) && refused.message.contains("GATEWAY_LISTEN"),
        "{}",
        refused.message
    );
}

#[cfg(unix)]
#[tokio::test]
async fn it_stops_when_it_is_told_to() {
    let gateway = Gateway::start("").await;
    assert_eq!(gateway.stop().await, Some(0));
}
