//! Scopes for what is called: by methods and names, in headers and in bodies.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::any;
use http::Method;
use http_body_util::BodyExt;
use mcp_oauth_core::scope::rules::Rule;
use mcp_oauth_tests::application::{Answer, Application, files, request};
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tower::bodies::ReadBodies;
use mcp_oauth_tower::refusal::JsonBody;
use mcp_oauth_tower::{Caller, OAuthLayer, Resource, cors};
use serde_json::{Value, json};
use tower::ServiceExt;

const METADATA: &str = r#"resource_metadata="http://127.0.0.1:8080/.well-known/oauth-protected-resource/notes/mcp""#;
const NOTES: &str = "http://127.0.0.1:8080/notes/mcp";
const MODERN: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

/// Anybody may look at what there is; a token with `read` does for most; some tools need more.
fn notes() -> Resource {
    let resource = Resource::new(NOTES).unwrap();
    ["read", "write", "share", "admin"]
        .into_iter()
        .fold(resource, |resource, scope| resource.scope(scope, scope).unwrap())
        .implies("admin", "write")
        .and_then(|resource| resource.implies("write", "read"))
        .and_then(|resource| resource.otherwise("read"))
        .and_then(|resource| resource.rule(Rule::method("initialize").open()))
        .and_then(|resource| resource.rule(Rule::method("tools/list").open()))
        .and_then(|resource| resource.rule(Rule::tool("delete").needs("write share").unwrap()))
        .and_then(|resource| resource.rule(Rule::tools("admin_").needs("admin").unwrap()))
        .and_then(|resource| resource.rule(Rule::prompt("delete").needs("share").unwrap()))
        .unwrap()
}

struct Server {
    application: Application,
    /// Reads bodies.
    reading: Router,
    /// Does not.
    blind: Router,
}

async fn echo(caller: Option<Caller>, request: Request) -> axum::Json<Value> {
    let authorized = request.headers().contains_key("authorization");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let caller = caller.map(|caller| caller.subject().to_owned());
    axum::Json(json!({"caller": caller, "body": body.to_vec(), "authorized": authorized}))
}

impl Server {
    fn new() -> Self {
        let application = Application::with_resources(
            mcp_oauth_tests::failing_store::FailingStore::new(mcp_oauth_tower::MemoryStore::default()),
            mcp_oauth_core::clock::ManualClock::default(),
            [notes(), files()],
            |builder| builder,
        );
        let layer = OAuthLayer::new(&application.server, NOTES).unwrap().with_json_bodies();
        let reading: OAuthLayer<JsonBody, ReadBodies> = layer.clone().read_bodies_up_to(1000);
        let routes = || Router::new().route("/notes/mcp", any(echo));
        Self {
            reading: routes().layer(reading).layer(cors::protected_resource()),
            blind: routes().layer(layer),
            application,
        }
    }

    async fn token(&self, scopes: &str) -> String {
        let client = Client::public(&self.application).await;
        let url = client.authorization_url(&[("scope", scopes)]);
        let code = Browser::default()
            .authorize(&self.application, &url, "ada")
            .await
            .code();
        Tokens::of(&client.redeem(&self.application, &code, &[]).await).access_token
    }

    async fn send(router: &Router, token: &str, headers: &[(&str, &str)], method: Method, body: &[u8]) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut all = headers.to_vec();
        if !token.is_empty() {
            all.push(("authorization", &bearer));
        }
        let mut request = request(method, "/notes/mcp", &all, "");
        *request.body_mut() = Body::from(body.to_vec());
        Answer::from(router, request).await
    }

    async fn post(&self, token: &str, body: &str) -> Answer {
        Self::send(&self.reading, token, &[], Method::POST, body.as_bytes()).await
    }

    /// What a call of this tool is answered with, and the scopes that a refusal names.
    async fn call(&self, token: &str, tool: &str) -> (u16, String) {
        outcome(&self.post(token, &call(tool)).await)
    }
}

fn outcome(answer: &Answer) -> (u16, String) {
    let challenge = answer.header("www-authenticate");
    let scope = challenge
        .split("scope=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    (answer.status.as_u16(), scope.unwrap_or_default().to_owned())
}

fn call(tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}).to_string()
}

fn plain(method: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string()
}

fn ok() -> (u16, String) {
    (200, String::new())
}

fn lacks(scopes: &str) -> (u16, String) {
    (403, scopes.to_owned())
}

/// Rows 182 and 183.
#[tokio::test]
async fn one_refusal_names_all_scopes_that_the_operation_needs() {
    let server = Server::new();
    let token = server.token("read").await;
    assert_eq!(server.call(&token, "search").await, ok());
    let answer = server.post(&token, &call("delete")).await;
    let challenge = r#"Bearer error="insufficient_scope", error_description="the access token lacks a scope that is needed for this", "#;
    assert_eq!(
        (answer.status.as_u16(), answer.header("www-authenticate")),
        (403, format!(r#"{challenge}{METADATA}, scope="write share""#).as_str())
    );
    assert_eq!(answer.error(), "insufficient_scope");
    assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1);
    assert_eq!(server.call(&token, "admin_stop").await, lacks("admin"));
    let prompt = json!({"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": {"name": "delete"}});
    assert_eq!(outcome(&server.post(&token, &prompt.to_string()).await), lacks("share"));
}

/// Row 184.
#[tokio::test]
async fn a_scope_that_includes_another_does_for_it() {
    let server = Server::new();
    let token = server.token("write share").await;
    for tool in ["search", "delete"] {
        assert_eq!(server.call(&token, tool).await, ok(), "{tool}");
    }
    let token = server.token("admin").await;
    assert_eq!(server.call(&token, "admin_stop").await, ok());
    assert_eq!(
        server.call(&token, "delete").await,
        lacks("write share"),
        "share is not included"
    );
}

#[tokio::test]
async fn what_a_rule_has_opened_needs_no_token_and_nothing_else_is_open() {
    let server = Server::new();
    for method in ["initialize", "tools/list"] {
        let answer = server.post("", &plain(method)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["caller"]),
            (200, &Value::Null),
            "{method}"
        );
    }
    let challenge = format!(r#"Bearer {METADATA}, scope="read""#);
    let batch = format!("[{},{}]", plain("tools/list"), call("search"));
    for body in [
        call("search"),
        plain("resources/list"),
        plain("Initialize"),
        batch,
        r#"{"id":1,"result":{}}"#.to_owned(),
        String::new(),
        "not json".to_owned(),
        "[]".to_owned(),
        r#"{"method":"tools/list","method":"tools/call"}"#.to_owned(),
        r#"{"method":"tools/list","Method":"tools/call"}"#.to_owned(),
        format!(r#"{{"method":"tools/list","x":"{}"}}"#, "x".repeat(1000)),
    ] {
        let answer = server.post("", &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("www-authenticate")),
            (401, challenge.as_str()),
            "{body}"
        );
    }
    for method in [Method::GET, Method::DELETE, Method::HEAD, Method::PUT, Method::PATCH] {
        let answer = Server::send(&server.reading, "", &[], method.clone(), plain("tools/list").as_bytes()).await;
        assert_eq!(answer.status, 401, "{method}");
    }
    let answer = server.post("not.a.token", &plain("tools/list")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (401, "invalid_token"),
        "a token that is shown is good"
    );
    let token = server.token("read").await;
    let answer = server.post(&token, &plain("tools/list")).await.json();
    assert_eq!(
        (&answer["caller"], &answer["authorized"]),
        (&json!("development:ada"), &json!(false))
    );
}

/// V-86, V-87.
#[tokio::test]
async fn a_message_that_could_be_read_in_two_ways_does_not_reach_the_server() {
    let server = Server::new();
    let token = server.token("read").await;
    for body in [
        r#"{"method":"tools/call","params":{"name":"search","name":"delete"}}"#,
        r#"{"method":"tools/call","params":{"name":"search","Name":"delete"}}"#,
        r#"{"method":"tools/call","params":{"name":"search"},"PARAMS":{"name":"delete"}}"#,
        r#"{"method":"tools/list","method":"tools/call","params":{"name":"delete"}}"#,
        r#"{"method":"ping"}{"method":"tools/call","params":{"name":"delete"}}"#,
        r#"{"method":"tools/call","params":{"name":["delete"]}}"#,
        r#"{"method":["tools/call"]}"#,
        "",
        "[]",
        "{}",
    ] {
        let answer = server.post(&token, body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["code"]),
            (400, &json!(-32600)),
            "{body}"
        );
    }
    let batch = format!("[{},{}]", plain("ping"), call("delete"));
    assert_eq!(outcome(&server.post(&token, &batch).await), lacks("read write share"));
    let escaped = r#"{"method":"tools/call","params":{"n\u0061me":"d\u0065lete"}}"#;
    assert_eq!(outcome(&server.post(&token, escaped).await), lacks("write share"));
}

#[tokio::test]
async fn the_server_gets_the_body_byte_for_byte() {
    let server = Server::new();
    let token = server.token("read").await;
    let body = "\r\n\t{ \"method\" : \"tools\\/call\", \"params\":{\"arguments\":{\"a\":1.0e0,\"a\":2},\"name\":\"search\"} ,\"x\":\"\u{e9}\"}\n";
    let answer = server.post(&token, body).await;
    assert_eq!(answer.json()["body"], json!(body.as_bytes()));
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_a_413() {
    let server = Server::new();
    let token = server.token("read").await;
    let sized = |length: usize| format!("{}{}", plain("ping"), " ".repeat(length - plain("ping").len()));
    assert_eq!(server.post(&token, &sized(1000)).await.status, 200);
    assert_eq!(server.post(&token, &sized(1001)).await.status, 413);
    let pieces = vec![sized(900), " ".repeat(101)]
        .into_iter()
        .map(Ok::<_, std::io::Error>);
    let bearer = format!("Bearer {token}");
    let mut request = request(Method::POST, "/notes/mcp", &[("authorization", &bearer)], "");
    *request.body_mut() = Body::from_stream(futures_util::stream::iter(pieces));
    assert_eq!(server.reading.clone().oneshot(request).await.unwrap().status(), 413);
}

/// Without a token that is good, nobody's body is kept or looked into: it is only let in, so that the answer arrives.
#[tokio::test]
async fn the_body_of_somebody_with_a_bad_token_is_thrown_away_and_not_listened_to_without_end() {
    let server = Server::new();
    let bearer = "Bearer not.a.token";
    let mut request = request(Method::POST, "/notes/mcp", &[("authorization", bearer)], "");
    let mut chunks = 0;
    let endless = futures_util::stream::poll_fn(move |_| {
        chunks += 1;
        assert!(chunks <= 33, "more than 2 MiB were read");
        std::task::Poll::Ready(Some(Ok::<_, std::io::Error>(vec![b'{'; 64 * 1024])))
    });
    *request.body_mut() = Body::from_stream(endless);
    assert_eq!(server.reading.clone().oneshot(request).await.unwrap().status(), 401);
}

/// Rows 192 and 193, V-88.
#[tokio::test]
async fn headers_count_where_servers_check_them_and_then_they_are_checked_here_too() {
    let server = Server::new();
    let token = server.token("read").await;
    let send = async |router: &Router, headers: &[(&str, &str)], body: &str| {
        Server::send(router, &token, headers, Method::POST, body.as_bytes()).await
    };
    let of = |tool: &'static str| [MODERN, ("mcp-method", "tools/call"), ("mcp-name", tool)];
    let everything = "read write share admin";
    let blind = &server.blind;
    assert_eq!(outcome(&send(blind, &of("search"), "").await), ok());
    assert_eq!(outcome(&send(blind, &of("delete"), "").await), lacks("write share"));
    assert_eq!(
        outcome(&send(blind, &of("=?base64?ZGVsZXRl?="), "").await),
        lacks("write share")
    );
    for headers in [
        &[][..],
        &[
            ("mcp-protocol-version", "2025-11-25"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "search"),
        ],
        &[("mcp-method", "tools/call"), ("mcp-name", "search")],
        &[MODERN, MODERN, ("mcp-method", "tools/call"), ("mcp-name", "search")],
        &[MODERN],
        &[MODERN, ("mcp-method", "tools/call")],
        &[MODERN, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?!?=")],
        &[
            MODERN,
            ("mcp-method", "tools/list"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "search"),
        ],
        &[
            MODERN,
            ("mcp-method", "tools/call"),
            ("mcp-name", "search"),
            ("mcp-name", "delete"),
        ],
        &[
            ("mcp-protocol-version", "z"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "search"),
        ],
    ] {
        let answer = send(blind, headers, &call("search")).await;
        assert_eq!(
            outcome(&answer),
            lacks(everything),
            "what is not known needs everything: {headers:?}"
        );
    }
    assert_eq!(
        Server::send(blind, "", &[MODERN, ("mcp-method", "tools/list")], Method::POST, b"")
            .await
            .status,
        200
    );
    assert_eq!(
        Server::send(blind, "", &[("mcp-method", "tools/list")], Method::POST, b"")
            .await
            .status,
        401
    );

    let reading = &server.reading;
    assert_eq!(outcome(&send(reading, &of("search"), &call("search")).await), ok());
    assert_eq!(
        outcome(&send(reading, &of("delete"), &call("delete")).await),
        lacks("write share")
    );
    for (headers, body) in [
        (of("search"), call("delete")),
        (of("search"), plain("ping")),
        (of("search"), r#"{"id":1,"result":{}}"#.to_owned()),
        (
            [MODERN, ("mcp-method", "tools/list"), ("mcp-name", "search")],
            call("search"),
        ),
    ] {
        let answer = send(reading, &headers, &body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["code"]),
            (400, &json!(-32020)),
            "{headers:?} {body}"
        );
    }
    let old = [
        ("mcp-protocol-version", "2025-06-18"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "search"),
    ];
    assert_eq!(
        outcome(&send(reading, &old, &call("delete")).await),
        lacks("write share"),
        "old headers say nothing"
    );
}

#[tokio::test]
async fn a_session_that_was_opened_without_a_token_is_used_without_one() {
    let server = Server::new();
    let open = || async { [("mcp-session-id", "abc")] };
    let layer = OAuthLayer::new(&server.application.server, NOTES)
        .unwrap()
        .read_bodies();
    let router = Router::new().route("/notes/mcp", any(open)).layer(layer);
    let token = server.token("read").await;
    let post = async |token: &str, headers: &[(&str, &str)]| {
        Server::send(&router, token, headers, Method::POST, plain("initialize").as_bytes()).await
    };
    let nobodys = post("", &[]).await.header("mcp-session-id").to_owned();
    let adas = post(&token, &[]).await.header("mcp-session-id").to_owned();
    assert_ne!(nobodys, adas);
    for (token, session, status) in [
        ("", &nobodys, 200),
        (token.as_str(), &adas, 200),
        ("", &adas, 404),
        (token.as_str(), &nobodys, 404),
    ] {
        assert_eq!(post(token, &[("mcp-session-id", session)]).await.status, status);
    }
}

/// Row 80, and what a client asks for at first.
#[tokio::test]
async fn the_metadata_names_every_scope_and_the_challenge_only_what_most_things_need() {
    let server = Server::new();
    let metadata = server
        .application
        .get("/.well-known/oauth-protected-resource/notes/mcp")
        .await
        .json();
    assert_eq!(metadata["scopes_supported"], json!(["read", "write", "share", "admin"]));
    let answer = server.post("", &call("search")).await;
    assert_eq!(outcome(&answer), (401, "read".to_owned()));
}
