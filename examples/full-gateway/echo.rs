//! An MCP server that shows what arrives: the way to see with one's own eyes what a tool behind
//! [`OAuthLayer`](mcp_oauth_tower::OAuthLayer) gets to know about its caller, and what it does not.
//!
//! A request reaches a tool with the caller's verified claims and without the token that proved them. So nothing here
//! decodes or checks anything: the tools read the [`Caller`] that the layer left in the request's extensions, and
//! everything else in a request (headers, cookies, the name that a client gives itself) they show as what it is,
//! something the sender wrote.
//!
//! | subject | tools | file |
//! |---|---|---|
//! | what was said in this session | `echo`, `replayLastEcho`, `sessionInfo` | `conversation` |
//! | who calls | `bearerDecode`, `authContext`, `whoIStheGOAT` | `identity` |
//! | the request | `printHeader`, `requestTiming`, `corsAnalysis` | `diagnosis` |
//! | the process | `environmentDump`, `healthProbe` | `diagnosis` |
//!
//! However many clients come and go, there is a bounded number of sessions (`sessions`).
//!
//! Two rules hold for all of them. What a tool tells stays within the session: one [`EchoServer`] is made for each,
//! and there is no place in which several could meet. And what looks like a secret is never shown (`masking`), not
//! even to those who ask for it: results of tools end up in the context of a model, in logs and in bug reports.
//!
//! ```ignore
//! let config = StreamableHttpServerConfig::default().with_allowed_hosts(allowed_hosts(&auth));
//! let echo = StreamableHttpService::new(|| Ok(EchoServer::new()), Arc::new(Sessions::default()), config);
//! ```

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::request::Parts;
use mcp_oauth_tower::Caller;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::model::{CallToolRequestParams, CallToolResponse};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, tool_handler};

use conversation::Conversation;
use identity::Claims;
pub(crate) use sessions::Sessions;

mod conversation;
mod diagnosis;
mod identity;
mod masking;
mod report;
mod sessions;

/// The server of one session. Clones share the session, so make a [`new`](Self::new) one for each.
#[derive(Clone, Debug)]
pub(crate) struct EchoServer {
    conversation: Arc<Mutex<Conversation>>,
    kind: Kind,
}

/// Where the server is, which decides what it can offer and whom it believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// In a process with the layer.
    Embedded,
    /// Behind a proxy that has asked the gateway, and writes the identity headers.
    BehindAProxy,
    /// The same, for clients without sessions: with the tools that need none.
    WithoutSessions,
}

impl EchoServer {
    /// A server that has heard nothing yet.
    pub(crate) fn new() -> Self {
        Self::of(Kind::Embedded)
    }

    /// The same, for behind a proxy that nobody can come past: what its identity headers say is believed.
    pub(crate) fn behind_a_proxy() -> Self {
        Self::of(Kind::BehindAProxy)
    }

    /// The same once more, without what sessions are needed for.
    pub(crate) fn without_sessions() -> Self {
        Self::of(Kind::WithoutSessions)
    }

    fn of(kind: Kind) -> Self {
        Self {
            conversation: Arc::new(Mutex::new(Conversation::begin())),
            kind,
        }
    }

    fn conversation(&self) -> MutexGuard<'_, Conversation> {
        // Counters and the last message stay true, whatever a tool was doing when it panicked.
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All tools. The service makes a server for every request that it looks a tool up for, so they are collected
    /// only once.
    fn tools(&self) -> &'static ToolRouter<Self> {
        static TOOLS: LazyLock<ToolRouter<EchoServer>> = LazyLock::new(|| {
            EchoServer::conversation_tools() + EchoServer::identity_tools() + EchoServer::diagnosis_tools()
        });
        static WITHOUT_SESSIONS: LazyLock<ToolRouter<EchoServer>> = LazyLock::new(|| {
            let mut tools = TOOLS.clone();
            for name in ["replayLastEcho", "sessionInfo"] {
                tools.remove_route(name);
            }
            tools
        });
        match self.kind {
            Kind::Embedded | Kind::BehindAProxy => &TOOLS,
            Kind::WithoutSessions => &WITHOUT_SESSIONS,
        }
    }
}

#[tool_handler(
    router = self.tools(),
    name = "echo",
    instructions = "Echoes messages, and shows what this server knows about a request and its caller."
)]
impl ServerHandler for EchoServer {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        mut context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let since_last = self.conversation().called();
        let call = Call::read(
            &context,
            Arrival {
                at: Instant::now(),
                since_last,
            },
            self.kind != Kind::Embedded,
        );
        context.extensions.insert(call);
        self.tools().call(ToolCallContext::new(self, request, context)).await
    }
}

/// When a call reached the server.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Instant,
    since_last: Option<Duration>,
}

/// What the tools read of the request that called them: an extension of its own, so that a tool takes it as
/// `Extension<Call>`.
#[derive(Clone, Debug, Default)]
struct Call {
    /// The headers of the HTTP request, as the layer left them.
    headers: HeaderMap,
    /// Who calls. Missing only where no layer is in front.
    claims: Option<Claims>,
    /// Whether the claims are what the proxy's headers say.
    behind_a_proxy: bool,
    /// The client by its own account: name and version.
    client: Option<(String, String)>,
    /// The revision of MCP that is spoken.
    protocol: Option<String>,
    arrival: Option<Arrival>,
}

impl Call {
    fn read(context: &RequestContext<RoleServer>, arrival: Arrival, behind_a_proxy: bool) -> Self {
        let parts = context.extensions.get::<Parts>();
        let caller = parts.and_then(|parts| parts.extensions.get::<Caller>());
        let told = || parts.and_then(|parts| Claims::by_headers(&parts.headers));
        Self {
            headers: parts.map(|parts| parts.headers.clone()).unwrap_or_default(),
            claims: if behind_a_proxy {
                told()
            } else {
                caller.map(Claims::from)
            },
            behind_a_proxy,
            client: context.client_info().map(|client| (client.name, client.version)),
            protocol: context.protocol_version().map(|version| version.to_string()),
            arrival: Some(arrival),
        }
    }

    /// The session of the request. Clients of MCP 2026-07-28 and later have none.
    fn session(&self) -> Option<&str> {
        self.headers.get("mcp-session-id")?.to_str().ok()
    }

    /// The verified claims, or the text of a tool error.
    fn claims(&self) -> Result<&Claims, String> {
        self.claims.as_ref().ok_or_else(|| {
            "Nobody was verified: this server expects an OAuthLayer in front of it, and the request came past it."
                .to_owned()
        })
    }
}
