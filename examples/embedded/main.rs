//! An MCP server that people sign in to, in one file: axum, rmcp, and the authorization server in the same process.
//!
//! ```sh
//! cargo run --example embedded
//! ```
//!
//! Then give `http://127.0.0.1:8080/mcp` to an MCP client. It finds its own way from the first refusal to the sign-in
//! page, where whoever sits at the browser can be Ada or Grace; after that, ask it to call `whoami`.
//!
//! To make it real, replace the two lines that are for a developer's machine: `DevIdentity` by an identity provider,
//! and `everybody` by the people who may come in.

use std::sync::Arc;

use axum::{Router, http::request::Parts};
use mcp_oauth_tower::{
    AllowList, AuthorizationServer, Caller, DevIdentity, MemoryStore, OAuthLayer, Resource, allowed_hosts, cors,
};
use rmcp::handler::server::tool::Extension;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use rmcp::{tool, tool_router};

const MCP: &str = "http://127.0.0.1:8080/mcp";

struct Tools;

#[tool_router(server_handler)]
impl Tools {
    #[tool(description = "Tells who is signed in, and through which client.")]
    fn whoami(Extension(request): Extension<Parts>) -> Result<String, String> {
        let caller = request.extensions.get::<Caller>().ok_or("nobody is signed in")?;
        Ok(format!(
            "{} ({}) by way of {}",
            caller.name().unwrap_or("somebody"),
            caller.subject(),
            caller.client_id()
        ))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let auth = AuthorizationServer::builder("http://127.0.0.1:8080")
        .resource(Resource::new(MCP)?.scope("mcp", "use the tools")?)
        .identity(DevIdentity::default())
        .allow(AllowList::everybody())
        .store(MemoryStore::default())
        .build()?;
    let config = StreamableHttpServerConfig::default().with_allowed_hosts(allowed_hosts(&auth));
    let mcp = StreamableHttpService::new(|| Ok(Tools), Arc::new(LocalSessionManager::default()), config);
    let app = Router::new()
        .nest_service("/mcp", mcp)
        .layer(OAuthLayer::new(&auth, MCP)?)
        .layer(cors::protected_resource())
        .merge(mcp_oauth_tower::router(&auth));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, app).await?)
}
