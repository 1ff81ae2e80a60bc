//! ForwardAuth: a reverse proxy asks about each request before it passes it on.
//!
//! For MCP servers that are not to be changed: the proxy in front of them sends what it has got to `/verify`, without
//! the body. `200` means that the request may go on, with the headers of the answer in place of the client's own; every
//! other answer is the client's. Files to copy for nginx, Caddy, Traefik and Envoy are in the repository, under
//! `examples/full-gateway/proxies`, and are what the tests run.
//!
//! ```
//! use mcp_oauth_tower::forward_auth::ForwardAuth;
//! use mcp_oauth_tower::proxies::InvalidProxy;
//! use mcp_oauth_tower::{AuthorizationServer, Routes};
//!
//! fn behind_a_proxy(auth: &AuthorizationServer) -> Result<axum::Router, InvalidProxy> {
//!     let forward_auth = ForwardAuth::of(auth).identity_tokens();
//!     Ok(Routes::new(auth).behind("10.0.0.0/8".parse()?).forward_auth(forward_auth).into_router())
//! }
//! ```
//!
//! # What is asked
//!
//! | path | for | where the request went is read from |
//! |---|---|---|
//! | `/verify` | Traefik, Caddy, nginx | `X-Forwarded-Method`, `X-Forwarded-Host`, `X-Forwarded-Uri` |
//! | `/verify/refusal` | nginx, see below | the same |
//! | `/verify/at/…` | Envoy, whose `path_prefix` is `/verify/at` | the method, `Host`, and the path after the prefix |
//!
//! Each takes any method. In place of `X-Forwarded-Method`, `-Host` and `-Uri` there may be `X-Original-Method`, `-Host`
//! and `-URI`, as snippets for nginx have them. Each has to be there exactly once, under one of its two names: what
//! is there twice, one of two parties may have written. Nothing else that is forwarded counts for anything:
//! neither `X-Forwarded-Proto`, `-Port`, `-Prefix` nor `Forwarded`.
//!
//! The connection has to come from a proxy that [`Routes::behind`](crate::Routes::behind) trusts. Everybody else is
//! answered `403`, so a proxy that was forgotten there keeps everybody out, and lets nobody in.
//!
//! # Which resource
//!
//! A request belongs to the resource whose URI has its host, and the longest path that its path is or lies below:
//! `https://mcp.example.com/notes/mcp` has `/notes/mcp` and `/notes/mcp/x`, and not `/notes/mcpx`.
//! [`ForwardAuth::place`] adds places that are not below the URI. A host counts in any case. A port that is named has to
//! be the resource's; a proxy may leave it out. Everything else is answered `421`, without a word on what there is.
//!
//! Proxies and servers read unusual paths differently. So nothing is normalised here: a path in which anything could
//! be normalised is answered `400`. That is one with an empty segment, `.` or `..`, a `;`, a character that no path may
//! have (RFC 3986 §3.3), such as a backslash, or a percent sign that encodes one of these, a slash, a percent sign, a
//! control character, or what needs no encoding.
//!
//! # What the backend is told
//!
//! All of these are in every `200`, empty where there is nothing to tell, so that whatever a client sends under these
//! names is overwritten:
//!
//! | header | |
//! |---|---|
//! | `X-User-Id` | the person: unique within the issuer and never reassigned, such as `github:583231` |
//! | `X-User-Name` | what the person signs in with; it may change hands |
//! | `X-User-Display-Name` | what the person is called |
//! | `X-Client-Id` | the client that calls on their behalf |
//! | `X-Scopes` | how far the access token reaches, set apart by spaces |
//! | `X-Grant-Id` | the grant that it was issued under |
//! | `X-Resource` | the resource that was asked for |
//! | `X-Issuer` | who issued the access token |
//! | `X-Token-Expires` | when it ends, in seconds since 1970 |
//! | `X-Identity-Token` | all of this, signed: empty unless [`ForwardAuth::identity_tokens`] |
//! | `X-Auth-Token` | the access token: empty unless [`ForwardAuth::access_tokens`] |
//!
//! The values are printable ASCII. Every other character, and `%`, is written as the percent-encoded bytes of its
//! UTF-8 (RFC 3986 §2.1), as is a space at either end: `Zoë` is `Zo%C3%AB`. Backends decode with whatever decodes
//! URLs (and leave `+` as it is). The list is also [`IDENTITY_HEADERS`].
//!
//! With [`ForwardAuth::upstream_tokens`] there is one more, [`X-Upstream-Token`](UPSTREAM_TOKEN_HEADER): the person's own token
//! with the identity provider, for the resources whose policy says so, and empty for all others. The proxy has to copy it too.
//!
//! A program that is the proxy itself, with an [`OAuthLayer`](crate::OAuthLayer) in front, writes the same headers with
//! [`identify`].
//!
//! A backend can only believe these headers as long as nobody but the proxy reaches it. With the identity token it need
//! not: see [`identity_token`](mcp_oauth_core::server::identity_token) for how to verify one. The client's
//! `Authorization` is the proxy's to remove; the files do that.
//!
//! # What the client is told
//!
//! The answers of [`refusal`](crate::refusal), with the challenge of that resource. Whoever accepts `text/html`, and not
//! `application/json`, gets a page.
//!
//! * **Scopes.** The body is not there to be read. Where the resource has [rules](mcp_oauth_core::scope::rules) about what
//!   is called, they count by the headers `Mcp-Method` and `Mcp-Name`, for a client that says it speaks a version in which
//!   servers hold these against the body (2026-07-28); for every other, all is required that anything there can need. A
//!   proxy has to pass these headers on, and the backend has to be one that refuses requests whose body says something
//!   else. What a rule opens to everybody goes on without a token, and with identity headers that are all empty.
//! * **Preflights** come without a token and are refused like any other request, since what lets them through would have
//!   the backend answer whoever sends `OPTIONS`. All proxies can answer them themselves, before they ask; so the files
//!   do, along with the CORS headers of all other answers, which is why none are set here.
//! * **nginx** passes on no status but `401` and `403`, and no body. Its file sends refused requests to
//!   `/verify/refusal`, whose answer the client then gets as it is. That never is a `200`: a request that would be let
//!   in by now is answered `503`, to be sent again.
//! * **Envoy** makes its own answer of every `5xx`; its file has that be `503`.
//!
//! # Sessions
//!
//! [`OAuthLayer`](crate::OAuthLayer) binds each MCP session to its caller by what it appends to `Mcp-Session-Id`. Here
//! the backend's answers are not seen, so that cannot be: a backend whose sessions hold something that other callers
//! with the same scopes may not see has to compare `X-User-Id` and `X-Client-Id` on each request with those that opened
//! the session, or has to be protected by the layer.

use std::sync::Arc;

use mcp_oauth_core::server::AuthorizationServer;

use crate::authenticator::Authenticator;
use crate::protection::Protection;

pub(crate) mod forwarded;
pub(crate) mod identity;
mod paths;
mod places;

pub use identity::{ACCESS_TOKEN_HEADER, IDENTITY_HEADERS, IDENTITY_TOKEN_HEADER, UPSTREAM_TOKEN_HEADER, identify};
pub use places::InvalidPlace;
use places::{Place, Places};

/// What proxies may ask about, and what backends are told: see the [module](self).
#[must_use]
#[derive(Clone, Debug)]
pub struct ForwardAuth {
    server: AuthorizationServer,
    resources: Vec<Arc<Protection>>,
    places: Places,
    identity_tokens: bool,
    access_tokens: bool,
    upstream_tokens: bool,
}

impl ForwardAuth {
    /// Answers for every resource of a server, each at its own URI.
    pub fn of(server: &AuthorizationServer) -> Self {
        let mut resources = Vec::new();
        let mut places = Places::default();
        for resource in server.resources() {
            let authenticator = Authenticator::own(server, resource.uri());
            // A URI is printable ASCII and so are scopes, so the challenge always can be written.
            let Ok(protection) = Protection::new(resource, authenticator) else {
                continue;
            };
            if let Ok(place) = Place::parse(resource.uri().as_str(), resources.len()) {
                places.add(place);
            }
            resources.push(Arc::new(protection));
        }
        Self {
            server: server.clone(),
            resources,
            places,
            identity_tokens: false,
            access_tokens: false,
            upstream_tokens: false,
        }
    }

    /// Adds a place that belongs to a resource and is not below its URI, such as the second path of a server, or its
    /// name inside the network: `https://host/path`.
    ///
    /// # Errors
    ///
    /// When the server does not know the resource, or when the place is not an address in normal form.
    pub fn place(mut self, address: &str, resource: &str) -> Result<Self, InvalidPlace> {
        let known = self
            .resources
            .iter()
            .position(|protection| protection.authenticator.resource().is(resource))
            .ok_or_else(|| InvalidPlace::UnknownResource(resource.to_owned()))?;
        self.places.add(Place::parse(address, known)?);
        Ok(self)
    }

    /// Tells backends who calls in a token that they can verify (`X-Identity-Token`). A signature for each request: with
    /// ES256 about 20 µs, with RS256 thirty times that.
    pub fn identity_tokens(mut self) -> Self {
        self.identity_tokens = true;
        self
    }

    /// Hands backends the client's access token (`X-Auth-Token`), as the Python gateway did. Whoever has it is the
    /// client for as long as it lasts: MCP calls this token passthrough and forbids it. For backends that cannot do
    /// without.
    pub fn access_tokens(mut self) -> Self {
        self.access_tokens = true;
        self
    }

    /// Hands backends the person's own token with the identity provider
    /// ([`X-Upstream-Token`](UPSTREAM_TOKEN_HEADER)), as the policies of their resources allow
    /// ([`Resource::hand_on_tokens_of`](crate::Resource::hand_on_tokens_of)). The server needs a
    /// [vault](mcp_oauth_core::server::vault), which is asked at each request. Where a token cannot be had at this moment, the
    /// answer is `503`; where the provider takes it no longer, the grant has ended and the answer is `401`.
    pub fn upstream_tokens(mut self) -> Self {
        self.upstream_tokens = true;
        self
    }

    /// The resource at this place.
    pub(crate) fn find(&self, host: &str, port: Option<u16>, path: &str) -> Option<&Protection> {
        let index = self.places.find(host, port, path)?;
        self.resources.get(index).map(Arc::as_ref)
    }

    /// Who signs identity tokens, if they are wanted.
    pub(crate) fn signer(&self) -> Option<&AuthorizationServer> {
        self.identity_tokens.then_some(&self.server)
    }

    /// Who keeps the tokens of identity providers, if they are wanted.
    pub(crate) fn vault(&self) -> Option<&AuthorizationServer> {
        self.upstream_tokens.then_some(&self.server)
    }

    pub(crate) fn passes_access_tokens(&self) -> bool {
        self.access_tokens
    }
}

/// What percent-encoded text stands for (RFC 3986 §2.1), for the tests of those who write such text and who read it.
#[cfg(test)]
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            decoded.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            decoded.push(byte);
        }
    }
    decoded
}
