//! An MCP server that people sign in to, in one file: axum, rmcp, and the authorization server in the same process.
//!
//! ```sh
//! cargo run --example embedded
//! ```
//!
//! Then give `http://127.0.0.1:8080/mcp` to an MCP client; the line that is printed does so for Claude Code. It finds its own way from the first refusal to the sign-in
//! page, where whoever sits at the browser can be Ada or Grace; after that, ask it to call `whoami`.
//!
//! To make it real, replace the two lines that are for a developer's machine: `DevIdentity` by an identity provider,
//! and `everybody` by the people who may come in.

use std::net::SocketAddr;

use axum::Router;
use mcp_oauth_tower::{
    AllowList, AuthorizationServer, AuthorizationServerExt, Caller, DevIdentity, MemoryStore, Resource, cors,
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use rmcp::{tool, tool_router};

struct Tools;

#[tool_router(server_handler)]
impl Tools {
    #[allow(clippy::needless_pass_by_value, reason = "rmcp hands arguments over")]
    #[tool(description = "Tells who is signed in, and through which client.")]
    fn whoami(caller: Caller) -> String {
        let name = caller.name().unwrap_or("somebody");
        format!("{name} ({}) by way of {}", caller.subject(), caller.client_id())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let auth = AuthorizationServer::builder("http://127.0.0.1:8080")
        .resource(Resource::new("http://127.0.0.1:8080/mcp")?.scope("mcp", "use the tools")?)
        .identity(DevIdentity::default())
        .allow(AllowList::everybody())
        .store(MemoryStore::default())
        .build()?;
    let config = StreamableHttpServerConfig::default().with_allowed_hosts(auth.allowed_hosts());
    let mcp = StreamableHttpService::new(|| Ok(Tools), LocalSessionManager::default().into(), config);
    let app = Router::new()
        .nest_service("/mcp", mcp)
        .layer(auth.protect("/mcp")?)
        .layer(cors::protected_resource())
        .merge(auth.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("claude mcp add --transport http tools http://127.0.0.1:8080/mcp");
    // Quotas are counted by the network that a request comes from, which nobody knows otherwise.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
