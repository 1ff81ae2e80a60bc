//! An MCP server whose people sign in somewhere else: at Keycloak, Auth0, or whatever else publishes its metadata and its
//! keys. This process issues no tokens; it sends clients there, and verifies what they come back with.
//!
//! ```sh
//! cargo run --example resource-server -- https://login.example.com/realms/acme
//! ```
//!
//! `MCP_URL` is the URL that clients know the server by, `http://127.0.0.1:8081/mcp` unless said otherwise; the authorization
//! server has to put it into its tokens as audience (in Keycloak: an audience mapper). `LISTEN` is where to listen. What
//! tokens need that are not as RFC 9068 has them is described at `TrustedIssuer`; for this example, `TOKENS=plain` takes
//! tokens as Keycloak makes them by default, and `CLIENT_ID` with `CLIENT_SECRET` has the authorization server asked about each
//! token instead (RFC 7662).

use std::env::var;

use mcp_oauth_tower::{Caller, ProtectedResource, TrustedIssuer, cors};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use rmcp::{tool, tool_router};

struct Tools;

#[tool_router(server_handler)]
impl Tools {
    #[allow(clippy::needless_pass_by_value, reason = "rmcp hands arguments over")]
    #[tool(description = "Tells who is signed in, through which client, and who says so.")]
    fn whoami(caller: Caller) -> String {
        let (subject, client, issuer) = (caller.subject(), caller.client_id(), caller.issuer());
        format!("{subject} by way of {client}, says {issuer}")
    }
}

/// The authorization server, and in what its tokens differ from the standard's.
fn issuer(name: String) -> TrustedIssuer {
    let mut issuer = TrustedIssuer::new(name);
    if var("TOKENS").is_ok_and(|tokens| tokens == "plain") {
        issuer = issuer.plain_type().client_claim("azp");
    }
    match (var("CLIENT_ID"), var("CLIENT_SECRET")) {
        (Ok(client_id), Ok(client_secret)) => issuer.introspect(client_id, client_secret.into()),
        _ => issuer,
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let name = std::env::args().nth(1);
    let name = name.ok_or_else(|| anyhow::anyhow!("name the authorization server: https://login.example.com"))?;
    let url = var("MCP_URL").unwrap_or_else(|_| "http://127.0.0.1:8081/mcp".to_owned());
    let loopback = name.starts_with("http://");

    let mut builder = ProtectedResource::builder(&url).issuer(issuer(name));
    if let Ok(scope) = var("SCOPE") {
        builder = builder.require(&scope);
    }
    if loopback {
        builder = builder.allow_loopback();
    }
    let resource = builder.build()?;
    let config = StreamableHttpServerConfig::default().with_allowed_hosts(resource.allowed_hosts());
    let mcp = StreamableHttpService::new(|| Ok(Tools), LocalSessionManager::default().into(), config);
    let path = url::Url::parse(&url)?.path().to_owned();
    let app = axum::Router::new()
        .nest_service(&path, mcp)
        .layer(resource.layer())
        .layer(cors::protected_resource())
        .merge(resource.router());

    let listen = var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8081".to_owned());
    let listener = tokio::net::TcpListener::bind(&listen).await?;
    println!("Serving {url} on {}. Stop with Ctrl-C.", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
