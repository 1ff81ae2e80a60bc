//! `check`: what an operator learns of the configuration before the gateway starts.

use mcp_oauth_tests::gateway::{Gateway, command_in};
use serde_json::Value;

#[tokio::test]
async fn each_setting_is_printed_with_where_it_comes_from_and_no_secret_is() {
    let settings = [
        ("GITHUB_CLIENT_ID", "id"),
        ("GITHUB_CLIENT_SECRET", "hunter2-github"),
        ("ALLOWED_GITHUB_USERS", "ada"),
        ("REDIS_URL", "redis://:hunter2-redis@127.0.0.1:1"),
        ("JWT_SECRET", "hunter2-jwt"),
    ];
    let toml = "client_lifetime = 5\n[servers.time]\ncommand = [\"uvx\", \"--key=hunter2-argument\"]";
    let (printed, ended) = Gateway::run(&["check"], &settings, toml).await;
    assert_eq!(ended.code, Some(0), "{}", ended.message);
    for line in [
        "\"ada\"  (environment ALLOWED_GITHUB_USERS)",
        "\"(hidden)\"  (environment REDIS_URL)",
        "5  (gateway.toml)",
        "\"127.0.0.1:8080\"  (default)",
        "warning: JWT_SECRET",
    ] {
        assert!(printed.contains(line), "{line} in {printed}");
    }
    let (json, ended) = Gateway::run(&["check", "--json"], &settings, toml).await;
    assert_eq!(ended.code, Some(0));
    assert!(!(printed + &json + &ended.message).contains("hunter2"));
    let json: Value = serde_json::from_str(&json).unwrap();
    let listed = json["settings"].as_array().unwrap();
    let lifetime = listed
        .iter()
        .find(|setting| setting["name"] == "client_lifetime")
        .unwrap();
    assert_eq!(
        (&lifetime["value"], &lifetime["source"]),
        (&5.into(), &"gateway.toml".into())
    );
    assert!(json["error"].is_null());
}

#[tokio::test]
async fn what_is_wrong_is_told_and_is_the_exit_code() {
    for (settings, toml, says) in [
        (vec![], "lisen = 1", "lisen"),
        (vec![("GITHUB_CLIENT_ID", "x")], "", "GITHUB_CLIENT_SECRET"),
        (vec![], "[servers.files]\nurl = \"ftp://127.0.0.1/\"", "[servers.files]"),
        (vec![("JWT_ALGORITHM", "HS256")], "", "use ES256"),
    ] {
        let (_, ended) = Gateway::run(&["check"], &settings, toml).await;
        assert_eq!(ended.code, Some(1), "{toml}");
        assert!(ended.message.contains(says), "{}", ended.message);
        let (json, ended) = Gateway::run(&["check", "--json"], &settings, toml).await;
        assert_eq!(ended.code, Some(1), "{toml}");
        let json: Value = serde_json::from_str(&json).unwrap();
        assert!(json["error"].as_str().unwrap().contains(says), "{json}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_of_and_may_be_there_where_the_gateway_runs() {
    let toml = r#"
        [servers.shell]
        command = ["sh"]
        [servers.away]
        command = ["mcp-server-that-nobody-has"]
        [servers.elsewhere]
        command = ["sh"]
        env = { PATH = "/nowhere" }
        [servers.nowhere]
        command = ["/nowhere/server"]
    "#;
    let (json, ended) = Gateway::run(&["check", "--json"], &[], toml).await;
    assert_eq!(ended.code, Some(0), "{}", ended.message);
    let json: Value = serde_json::from_str(&json).unwrap();
    let warnings: Vec<&str> = json["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|told| told.as_str().unwrap())
        .collect();
    let told = |server: &str| {
        warnings
            .iter()
            .any(|told| told.starts_with(&format!("[servers.{server}] the program ")))
    };
    let expected = [
        ("shell", false),
        ("notes", false),
        ("away", true),
        ("elsewhere", true),
        ("nowhere", true),
    ];
    for (server, expected) in expected {
        assert_eq!(told(server), expected, "{server}: {warnings:?}");
    }
}

#[tokio::test]
async fn whoever_stops_reading_changes_no_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        (&["check"][..], 0),
        (&["check", "--schema"], 0),
        (&["health"], 4),
        (&["doctor", "http://127.0.0.1:1/mcp"], 4),
    ] {
        let settings = [("GATEWAY_LISTEN", "127.0.0.1:1")];
        let mut child = command_in(folder.path(), &settings).args(arguments).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(!told.contains("panicked"), "{arguments:?}: {told}");
    }
}
