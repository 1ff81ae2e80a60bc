//! Caddy by `forward_auth`.

use mcp_oauth_tests::tools;
use tokio::process::Command;

use crate::promises;
use crate::site::Site;

async fn start(test: &str) -> Option<Site> {
    let caddy = tools::proxy(test, "caddy", "version")?;
    let mut site = Site::start().await;
    let file = site.write("Caddyfile");
    let home = site.directory().to_owned();
    let mut command = Command::new(caddy);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    // Caddy keeps state in the home directory.
    command
        .env("HOME", &home)
        .env("XDG_DATA_HOME", &home)
        .env("XDG_CONFIG_HOME", &home);
    site.run(&mut command).await;
    Some(site)
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_caddy_all_promises_hold() {
    if let Some(site) = start("Caddy in front of the servers").await {
        promises::all(&site).await;
    }
}
