//! The official conformance suite's authorization mode.

use mcp_oauth_tests::gateway::Gateway;
use mcp_oauth_tests::tools;
use tokio::process::Command;

#[tokio::test]
async fn both_scenarios_of_the_authorization_mode_pass() {
    let test = "the conformance suite's authorization mode";
    // The suite's driver shares its browser with the TypeScript client.
    let (Some(_), Some(folder)) = (tools::node(test, "typescript"), tools::node(test, "conformance")) else {
        return;
    };
    let gateway = Gateway::start("").await;
    let mut driver = Command::new("node");
    driver
        .arg(folder.join("authorization.mjs"))
        .args(["--issuer", &gateway.url]);
    driver.args(["--resource", &format!("{}/echo/mcp", gateway.url)]);
    tools::run(&mut driver).await;
}
