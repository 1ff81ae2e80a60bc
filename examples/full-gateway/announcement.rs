//! What a person reads when the gateway has started: what is served, and the line that adds it to a client.

use std::io::{self, Write as _};

use mcp_oauth_core::identity::IdentityProvider;
use url::Url;

use crate::gateway::Gateway;

/// Prints it. If nobody reads it, the gateway serves all the same.
pub(crate) fn print(gateway: &Gateway) {
    let _ = writeln!(io::stdout(), "{}", text(gateway));
}

fn text(gateway: &Gateway) -> String {
    let generation = gateway.current();
    let auth = &generation.auth;
    let issuer = auth.issuer();
    let who = if auth.development_users().is_some() {
        "anybody, as a made-up person (development: set GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET for real ones)"
            .to_owned()
    } else {
        let names: Vec<_> = auth.identity_providers().map(IdentityProvider::display_name).collect();
        format!("with {}", names.join(", "))
    };
    let mut lines = vec![format!("The gateway serves {issuer}\nSign-in: {who}")];
    for resource in auth.resources() {
        let uri = resource.uri();
        let name = name(uri.url(), issuer.host());
        let vscode = serde_json::json!({"name": name, "type": "http", "url": uri.as_str()});
        lines.extend([
            format!("\n{}: {uri}", resource.display_name()),
            format!("  Claude Code:    claude mcp add --transport http {name} {uri}"),
            format!("  VS Code:        code --add-mcp '{vscode}'"),
            format!("  MCP Inspector:  npx @modelcontextprotocol/inspector --transport http --server-url {uri}"),
        ]);
    }
    lines.push("\nStop with Ctrl-C.".to_owned());
    lines.join("\n")
}

/// What a client may call it: by the path, or by the host if it has one of its own.
fn name(url: &Url, issuer_host: &str) -> String {
    let host = url.host_str().unwrap_or_default();
    let name = if host == issuer_host {
        url.path_segments().and_then(|mut segments| segments.next())
    } else {
        host.split('.').next()
    };
    name.unwrap_or_default().to_owned()
}
