//! Cross-origin requests, for MCP clients that run in a browser.
//!
//! Tokens travel in a header and never in a cookie, so any origin may ask, without credentials. The authorization
//! endpoint and the pages are not to be asked by scripts at all (OAuth 2.1 §3.1) and have no CORS: neither `/authorize`,
//! `/consent`, `/callback` nor `/device`, and nothing that a proxy asks (`/verify`).
//!
//! Tools can have parameters of theirs sent in headers that begin with `Mcp-Param-` (MCP 2026-07-28, *Custom Headers from
//! Tool Parameters*), whose names nobody knows beforehand, and a list of allowed headers knows no prefix. So beside the
//! headers that have names it allows `*`, which stands for all but `Authorization` where no credentials are sent (Fetch
//! §3.3.3). That lets scripts in on nothing: what a request may do depends on its token alone.
//!
//! ```
//! use mcp_oauth_tower::{AuthorizationServer, OAuthLayer, UnknownResource, cors};
//!
//! fn protect(mcp: axum::Router, auth: &AuthorizationServer) -> Result<axum::Router, UnknownResource> {
//!     // The outer layer comes last: it answers preflights, which cannot carry a token.
//!     Ok(mcp.layer(OAuthLayer::new(auth, "https://mcp.example.com/mcp")?).layer(cors::protected_resource()))
//! }
//! ```

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, Method};
use tower_http::cors::{Any, CorsLayer};

const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Every other header.
const ANY_OTHER: HeaderName = HeaderName::from_static("*");

/// How long a browser may remember the answer to a preflight.
const MAXIMUM_AGE: Duration = Duration::from_secs(60 * 60);

/// For an MCP endpoint: put it outside the [`OAuthLayer`](crate::OAuthLayer).
pub fn protected_resource() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            MCP_PROTOCOL_VERSION,
            MCP_SESSION_ID,
            MCP_METHOD,
            MCP_NAME,
            LAST_EVENT_ID,
            ANY_OTHER,
        ])
        .expose_headers([WWW_AUTHENTICATE, MCP_SESSION_ID, MCP_PROTOCOL_VERSION, RETRY_AFTER])
        .max_age(MAXIMUM_AGE)
}

/// For the endpoints and documents that clients fetch.
pub(crate) fn endpoint() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, MCP_PROTOCOL_VERSION])
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER])
        .max_age(MAXIMUM_AGE)
}
