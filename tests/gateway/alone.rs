//! The gateway alone: servers by host and by path, and programs that people share or do not.

use axum::response::IntoResponse as _;
use mcp_oauth_tests::gateway::{Gateway, free_port, program};
use serde_json::{Value, json};

use crate::node::Http;
use crate::speak::{Speaker, answer, call, client};
use crate::upstream::Upstream;

async fn get(url: &str) -> (u16, Value) {
    let (status, _, body) = answer(reqwest::Client::new().get(url)).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// A gateway at this port of 127.0.0.1, and a server at `localhost`, which is a host of its own.
async fn with_a_host(upstream: &Upstream) -> (Gateway, String) {
    let port = free_port();
    let toml = format!("[servers.files]\nhost = \"localhost\"\nurl = \"{}\"", upstream.url);
    let gateway = Gateway::start_with(&format!("127.0.0.1:{port}"), &[], &toml).await;
    (gateway, format!("http://localhost:{port}"))
}

#[tokio::test]
async fn at_a_host_of_its_own_whatever_is_asked_is_401_without_a_token_and_never_404() {
    let (_gateway, site) = with_a_host(&Upstream::rmcp().await).await;
    let client = reqwest::Client::new();
    let metadata = format!("resource_metadata=\"{site}/.well-known/oauth-protected-resource/mcp\"");
    for path in [
        "/mcp",
        "/mcp/",
        "/mcp/x",
        "/",
        "/token",
        "/health",
        "/favicon.ico",
        "/.well-known/x",
    ] {
        for request in [
            client.get(format!("{site}{path}")),
            client.post(format!("{site}{path}")),
        ] {
            let (status, headers, _) = answer(request).await;
            assert_eq!(status, 401, "{path}");
            let challenge = headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.contains(&metadata), "{path}: {challenge}");
        }
    }
}

#[tokio::test]
async fn the_documents_are_public_at_each_host_and_name_one_issuer() {
    let (gateway, site) = with_a_host(&Upstream::rmcp().await).await;
    for path in ["", "/mcp"] {
        let (status, document) = get(&format!("{site}/.well-known/oauth-protected-resource{path}")).await;
        assert_eq!(
            (status, &document["resource"]),
            (200, &json!(format!("{site}/mcp"))),
            "{path}"
        );
        assert_eq!(document["authorization_servers"], json!([gateway.url]));
        for host in [&site, &gateway.url] {
            let document = get(&format!("{host}/.well-known/oauth-authorization-server")).await;
            assert_eq!(
                (document.0, &document.1["issuer"]),
                (200, &json!(gateway.url)),
                "{host}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_for_a_server_at_a_host_of_its_own_opens_it_with_and_without_a_slash_and_nothing_else() {
    let (gateway, site) = with_a_host(&Upstream::rmcp().await).await;
    let http = Http::to(&gateway.url, client(&[], 0));
    let token = http.sign_in_to(&format!("{site}/mcp"), "ada").await.access_token;
    for path in ["/mcp", "/mcp/"] {
        let speaker = Speaker {
            client: client(&[], 0),
            url: format!("{site}{path}"),
            token: token.clone(),
        };
        let session = speaker.session().await;
        assert_eq!(
            session.call("add", &json!({})).await,
            (200, "four".to_owned()),
            "{path}"
        );
    }
    let ask = |url: String| answer(reqwest::Client::new().post(url).bearer_auth(&token));
    assert_eq!(ask(format!("{site}/elsewhere")).await.0, 404);
    assert_eq!(ask(format!("{}/echo/mcp", gateway.url)).await.0, 401);
}

#[tokio::test]
async fn sessions_of_a_person_share_a_process_where_the_server_says_so_and_nobody_elses_do() {
    let program = program();
    let program = program.display();
    let toml =
        format!("[servers.pad]\ncommand = ['{program}', \"notes\"]\nshare = \"per-user\"\nprocess = {{ spares = 1 }}");
    let gateway = Gateway::start(&toml).await;
    let http = Http::to(&gateway.url, client(&[], 0));
    let url = format!("{}/pad/mcp", gateway.url);
    let mut sessions = Vec::new();
    for person in ["ada", "ada", "grace"] {
        let token = http.sign_in_to(&url, person).await.access_token;
        let speaker = Speaker {
            client: client(&[], 0),
            url: url.clone(),
            token,
        };
        sessions.push(speaker.session().await);
    }
    let (status, told) = sessions[0].call("add_note", &json!({"text": "build an engine"})).await;
    assert_eq!(status, 200, "{told}");
    let mut read = Vec::new();
    for session in &sessions {
        read.push(session.call("list_notes", &json!({})).await.1);
    }
    assert!(read[0].contains("engine") && read[1].contains("engine"), "{read:?}");
    assert!(!read[2].contains("engine"), "{read:?}");
}

#[tokio::test]
async fn scopes_and_rules_of_a_server_say_what_each_tool_needs_and_what_is_public() {
    let upstream =
        Upstream::answering(|| axum::Json(json!({"jsonrpc": "2.0", "id": 1, "result": {}})).into_response()).await;
    let toml = format!(
        r#"
        [servers.files]
        url = "{}"
        access.scopes = [
            {{ scope = "files:read", allows = "read your files" }},
            {{ scope = "files:write", allows = "change your files", implies = ["files:read"] }},
        ]
        access.otherwise = "files:read"
        access.rules = [
            {{ tools = ["write_*"], needs = "files:write" }},
            {{ methods = ["ping"], public = true }},
        ]
        "#,
        upstream.url
    );
    let gateway = Gateway::start(&toml).await;
    let url = format!("{}/files/mcp", gateway.url);
    let http = Http::to(&gateway.url, client(&[], 0)).asking_for("files:read");
    let speaker = Speaker {
        client: client(&[], 0),
        token: http.sign_in_to(&url, "ada").await.access_token,
        url: url.clone(),
    };
    assert_eq!(answer(speaker.post(&call("read_file", &json!({})))).await.0, 200);
    let (status, headers, _) = answer(speaker.post(&call("write_file", &json!({})))).await;
    assert_eq!(status, 403);
    let challenge = headers["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.contains("insufficient_scope") && challenge.contains("files:write"),
        "{challenge}"
    );
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(answer(reqwest::Client::new().post(&url).json(&ping)).await.0, 200);
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_eq!(answer(reqwest::Client::new().post(&url).json(&list)).await.0, 401);
}

#[tokio::test]
async fn it_does_not_carry_tokens_over_the_network_in_clear() {
    let github = [
        ("GITHUB_CLIENT_ID", "id"),
        ("GITHUB_CLIENT_SECRET", "secret"),
        ("ALLOWED_GITHUB_USERS", "ada"),
        ("GATEWAY_PUBLIC_URL", "https://mcp.example.com"),
        ("GATEWAY_LISTEN", "0.0.0.0:8080"),
    ];
    let refused = Gateway::refuse(&github, "").await;
    assert!(
        refused.message.contains("tls.certificate_file") && refused.message.contains("trusted_proxies"),
        "{}",
        refused.message
    );
}

#[tokio::test]
async fn a_page_of_an_origin_that_is_not_on_the_list_of_the_operator_is_not_told_that_it_may_ask() {
    let address = format!("127.0.0.1:{}", free_port());
    let settings = [("MCP_CORS_ORIGINS", "https://app.example.com")];
    let gateway = Gateway::start_with(&address, &settings, "").await;
    for (origin, allowed) in [("https://app.example.com", true), ("https://evil.example", false)] {
        let url = format!("{}/echo/mcp", gateway.url);
        let preflight = reqwest::Client::new()
            .request(http::Method::OPTIONS, &url)
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        for request in [preflight, reqwest::Client::new().post(&url).header("origin", origin)] {
            let (_, headers, _) = answer(request).await;
            let told = headers
                .get("access-control-allow-origin")
                .map(|value| value.to_str().unwrap());
            assert_eq!(told, allowed.then_some(origin));
        }
    }
}
