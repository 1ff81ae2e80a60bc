//! A gateway as somebody sets it up for the first time: GitHub, Redis and three servers of other people. An official client that
//! knows nothing but a URL signs in and calls tools.

use mcp_oauth_tests::gateway::{Gateway, command_in, free_port};
use mcp_oauth_tests::redis::RedisServer;
use mcp_oauth_tests::tools;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use wiremock::matchers::{body_string_contains, header, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// GitHub, where Ada is signed in and has let the app in before, so that it asks her nothing.
async fn github() -> MockServer {
    let github = MockServer::start().await;
    let back = |request: &Request| {
        let parameter = |name: &str| {
            let found = request.url.query_pairs().find(|(known, _)| known == name);
            found.map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        let mut back: url::Url = parameter("redirect_uri").parse().unwrap();
        back.query_pairs_mut()
            .append_pair("code", "of-github")
            .append_pair("state", &parameter("state"));
        ResponseTemplate::new(302).insert_header("location", back.as_str())
    };
    Mock::given(method("GET"))
        .and(path("/login/oauth/authorize"))
        .respond_with(back)
        .mount(&github)
        .await;
    let token = json!({"access_token": "gho_upstream", "token_type": "bearer", "scope": "read:user,user:email"});
    Mock::given(method("POST"))
        .and(path("/login/oauth/access_token"))
        .and(body_string_contains("code=of-github"))
        .respond_with(ResponseTemplate::new(200).set_body_json(token))
        .mount(&github)
        .await;
    let ada = json!({"id": 583_231, "login": "ada", "name": "Ada Lovelace"});
    Mock::given(method("GET"))
        .and(path("/api/v3/user"))
        .and(header("authorization", "Bearer gho_upstream"))
        .respond_with(ResponseTemplate::new(200).set_body_json(ada))
        .mount(&github)
        .await;
    github
}

#[tokio::test]
async fn somebody_signs_in_with_github_and_calls_tools_of_three_servers_of_other_people() {
    let test = "a fresh machine, GitHub and Redis";
    let (Some(python), Some(folder)) = (tools::python(test), tools::node(test, "typescript")) else {
        return;
    };
    if !tools::redis(test) {
        return;
    }
    let (github, redis, files) = (github().await, RedisServer::durable().await, TempDir::new().unwrap());
    std::fs::write(files.path().join("a.txt"), "written before").unwrap();
    let npm = |program: &str| folder.join("node_modules/@modelcontextprotocol").join(program);
    let toml = format!(
        "built_in_servers = false\n[servers.time]\ncommand = {}\n[servers.everything]\ncommand = {}\n[servers.files]\ncommand = {}\n",
        json!([python, "-m", "mcp_server_time", "--local-timezone", "UTC"]),
        json!(["node", npm("server-everything/dist/index.js")]),
        json!(["node", npm("server-filesystem/dist/index.js"), files.path()]),
    );
    let (machine, address) = (TempDir::new().unwrap(), format!("127.0.0.1:{}", free_port()));
    std::fs::write(machine.path().join("gateway.toml"), toml).unwrap();
    std::fs::write(machine.path().join("secret"), "app-secret").unwrap();
    let mut init = command_in(machine.path(), &[]);
    init.args(["init", "--no-input", "--listen", &address, "--public-url"])
        .arg(format!("http://{address}"))
        .args(["--sign-in", "github", "--github-client-id", "app-id"])
        .args(["--github-client-secret-file", "secret", "--allowed-users", "ada"])
        .args(["--redis-url", &redis.url()]);
    tools::run(&mut init).await;
    // The one thing that nobody else has: a GitHub of this test's own.
    let github_url = github.uri();
    let settings = [("GATEWAY_GITHUB__ENTERPRISE_URL", github_url.as_str())];
    let gateway = Gateway::start_in(machine, &address, &settings).await;
    let path = files.path().join("a.txt");
    for (server, tool, arguments, expect) in [
        ("time", "get_current_time", json!({"timezone": "UTC"}), "UTC"),
        ("everything", "echo", json!({"message": "hello"}), "hello"),
        ("files", "read_text_file", json!({"path": path}), "written before"),
    ] {
        let mut command = Command::new(&python);
        command
            .arg(tools::clients().join("python/sign_in.py"))
            .arg(format!("{}/{server}/mcp", gateway.url))
            .args([
                "--tool",
                tool,
                "--arguments",
                &arguments.to_string(),
                "--expect",
                expect,
            ]);
        tools::run(&mut command).await;
    }
}
