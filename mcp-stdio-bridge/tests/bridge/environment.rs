//! What a server sees of the world.

use mcp_stdio_bridge::Bridge;
use serde_json::json;

use crate::support::{Client, scripted};

/// Set by cargo for every test; stands for what a server has no business with.
const FOREIGN: &str = "CARGO_MANIFEST_DIR";

#[tokio::test]
async fn a_server_inherits_the_ordinary_variables_and_no_others() {
    assert!(std::env::var_os(FOREIGN).is_some());
    let bridge = Bridge::builder(scripted(&[])).build().unwrap();
    let environment = Client::open(&bridge).await.result("environment", &json!({})).await["environment"].take();
    assert!(environment.get("PATH").is_some());
    assert!(environment.get(FOREIGN).is_none());
    assert!(
        environment
            .as_object()
            .unwrap()
            .keys()
            .all(|name| !name.starts_with("CARGO"))
    );
}

#[tokio::test]
async fn a_server_gets_what_is_named_for_it() {
    let command = scripted(&[])
        .env("TOKEN", "t=1")
        .pass_env(FOREIGN)
        .pass_env("NOT_SET_ANYWHERE");
    assert!(!format!("{command:?}").contains("t=1"));
    let bridge = Bridge::builder(command).build().unwrap();
    let environment = Client::open(&bridge).await.result("environment", &json!({})).await["environment"].take();
    assert_eq!(environment["TOKEN"], "t=1");
    assert_eq!(environment[FOREIGN], env!("CARGO_MANIFEST_DIR"));
    assert!(environment.get("NOT_SET_ANYWHERE").is_none());
}

#[tokio::test]
async fn arguments_and_directory_are_passed_as_they_are() {
    let arguments = ["serve", "--port", "1", "--", "-x", "a b", "$HOME", ""];
    let directory = std::env::temp_dir().canonicalize().unwrap();
    let bridge = Bridge::builder(scripted(&arguments).current_dir(&directory))
        .build()
        .unwrap();
    let client = Client::open(&bridge).await;
    assert_eq!(
        client.result("arguments", &json!({})).await["arguments"],
        json!(arguments)
    );
    assert_eq!(
        client.result("directory", &json!({})).await["directory"],
        json!(directory)
    );
}
