//! Client libraries that nobody wrote for this server and that check everything they are told: discovery, registration,
//! code with PKCE, the issuer in the answer, the access token as any resource would check it, introspection, refresh,
//! revocation, and a device.

use mcp_oauth_tests::gateway::Gateway;
use mcp_oauth_tests::tools;
use tokio::process::Command;

/// How the clients prove themselves, one registration each.
const METHODS: [&str; 3] = ["none", "client_secret_basic", "client_secret_post"];

#[tokio::test]
async fn authlib_is_content_with_every_answer() {
    let Some(python) = tools::python("authlib as a strict client") else {
        return;
    };
    let gateway = Gateway::start("").await;
    for method in METHODS {
        let mut client = Command::new(&python);
        client.arg(tools::clients().join("python").join("strict_client.py"));
        client.arg(format!("{}/echo/mcp", gateway.url));
        tools::run(client.args(["--auth-method", method, "--device"])).await;
    }
}

#[tokio::test]
async fn oauth4webapi_is_content_with_every_answer_and_refuses_a_wrong_issuer() {
    let Some(folder) = tools::node("oauth4webapi as a strict client", "typescript") else {
        return;
    };
    let gateway = Gateway::start("").await;
    for method in METHODS {
        let mut client = Command::new("node");
        client.arg(folder.join("strict_client.mjs"));
        client.arg(format!("{}/echo/mcp", gateway.url));
        tools::run(client.args(["--auth-method", method, "--device"])).await;
    }
}
