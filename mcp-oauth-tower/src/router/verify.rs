//! `/verify`: a proxy asks about a request. What is asked and answered is described at [`crate::forward_auth`].

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::routing::any;
use http::header::{ACCEPT, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use mcp_oauth_core::error::{ErrorCode, OAuthError};
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::server::vault::VaultError;

use super::{Endpoints, answer};
use crate::bearer;
use crate::caller::Caller;
use crate::forward_auth::forwarded::{Forwarded, Unclear};
use crate::forward_auth::{ForwardAuth, UPSTREAM_TOKEN_HEADER, identity};
use crate::pages::{Press, Problem, Text, Texts, WayOut};
use crate::protection::Protection;
use crate::proxies::TrustedProxies;
use crate::refusal::{Denied, JsonBody, Refusal};
use crate::upstream;

/// What the handlers share.
#[derive(Debug)]
struct Verify {
    forward_auth: ForwardAuth,
    /// The headers of callers who are known.
    written: identity::Written,
    proxies: TrustedProxies,
    press: Press,
    /// What stands before the path of the request that Envoy asks about.
    prefix: String,
}

/// The endpoints that proxies ask.
pub(super) fn routes(endpoints: &Endpoints, forward_auth: ForwardAuth) -> Router<Endpoints> {
    let prefix = endpoints.path("/verify/at");
    Router::new()
        .route(&endpoints.path("/verify"), any(verify))
        .route(&endpoints.path("/verify/refusal"), any(refuse))
        .route(&prefix, any(verify_at))
        .route(&format!("{prefix}/"), any(verify_at))
        .route(&format!("{prefix}/{{*path}}"), any(verify_at))
        .with_state(Arc::new(Verify {
            forward_auth,
            written: identity::Written::default(),
            proxies: endpoints.proxies.clone(),
            press: endpoints.press.clone(),
            prefix,
        }))
}

/// For Traefik, Caddy and nginx.
async fn verify(State(verify): State<Arc<Verify>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let forwarded = Forwarded::by_headers(&parts.headers);
    verify.answer(&parts, forwarded).await
}

/// For Envoy.
async fn verify_at(State(verify): State<Arc<Verify>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let asked = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let target = asked.strip_prefix(verify.prefix.as_str()).unwrap_or_default();
    let forwarded = Forwarded::by_request(&parts.method, &parts.uri, &parts.headers, target);
    verify.answer(&parts, forwarded).await
}

/// For nginx, which has been refused and passes this answer on to the client.
async fn refuse(State(verify): State<Arc<Verify>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let forwarded = Forwarded::by_headers(&parts.headers);
    match verify.decide(&parts, forwarded).await {
        // It was refused a moment ago, and nobody has let the backend see it.
        Ok((protection, _)) => verify.refusal(protection, &Refusal::Unavailable.into(), &parts.headers),
        Err(refused) => verify.refuse(refused, &parts.headers),
    }
}

/// Why a request may not go on.
#[derive(Debug)]
enum Refused<'a> {
    /// Whoever asks is no proxy of this server.
    Stranger(Option<SocketAddr>),
    Unclear(Unclear),
    /// There is no resource where the request went.
    Elsewhere,
    Denied(&'a Protection, Denied),
}

impl Verify {
    async fn answer(&self, parts: &Parts, forwarded: Result<Forwarded<'_>, Unclear>) -> Response {
        match self.decide(parts, forwarded).await {
            Ok((protection, caller)) => match self.admit(caller.as_ref(), &parts.headers).await {
                Ok(response) => {
                    protection.decisions.admitted();
                    response
                }
                Err(refusal) => {
                    protection.decisions.refused(refusal);
                    self.refusal(protection, &refusal.into(), &parts.headers)
                }
            },
            Err(refused) => {
                // Where nginx asks for the same answer again, it is not another decision.
                if let Refused::Denied(protection, denied) = &refused {
                    protection.decisions.refused(denied.refusal());
                }
                self.refuse(refused, &parts.headers)
            }
        }
    }

    async fn decide<'a>(
        &'a self,
        parts: &Parts,
        forwarded: Result<Forwarded<'_>, Unclear>,
    ) -> Result<(&'a Protection, Option<Caller>), Refused<'a>> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(address)| *address);
        if !peer.is_some_and(|peer| self.proxies.trust(peer.ip())) {
            return Err(Refused::Stranger(peer));
        }
        let forwarded = forwarded.map_err(Refused::Unclear)?;
        let found = self.forward_auth.find(forwarded.host, forwarded.port, forwarded.path);
        let protection = found.ok_or(Refused::Elsewhere)?;
        // The path has been looked at; what counts from here on is whether there is a token in the query too.
        let uri = match forwarded.query {
            None => Uri::default(),
            Some(query) => format!("/?{query}")
                .parse()
                .map_err(|_| Refused::Unclear(Unclear::Path))?,
        };
        let answer = protection.authenticate(&parts.headers, &uri).await;
        match protection.permit(answer, &forwarded.method, &parts.headers) {
            Ok(caller) => Ok((protection, caller)),
            Err(denied) => Err(Refused::Denied(protection, denied)),
        }
    }

    /// The request may go on, with these headers.
    async fn admit(&self, caller: Option<&Caller>, headers: &HeaderMap) -> Result<Response, Refusal> {
        let mut response = Response::new(Body::empty());
        let Some(caller) = caller else {
            *response.headers_mut() = identity::nobody();
            if self.forward_auth.vault().is_some() {
                let nothing = HeaderValue::from_static("");
                response.headers_mut().insert(UPSTREAM_TOKEN_HEADER, nothing);
            }
            return Ok(response);
        };
        *response.headers_mut() = self.written.of(caller);
        if let Some(server) = self.forward_auth.signer() {
            let token = identity_token(server, caller)?;
            response.headers_mut().insert(identity::IDENTITY_TOKEN, token);
        }
        if self.forward_auth.passes_access_tokens() {
            let bearer::Bearer::Presented(token) = bearer::read(headers, &Uri::default()) else {
                return Err(Refusal::InvalidRequest);
            };
            let mut value = HeaderValue::from_bytes(token).map_err(|_| Refusal::InvalidRequest)?;
            value.set_sensitive(true);
            response.headers_mut().insert(identity::ACCESS_TOKEN, value);
        }
        if let Some(server) = self.forward_auth.vault() {
            // Boxed: the way to a provider is long, and each request would carry the room for it.
            let token = Box::pin(upstream_token(server, caller)).await?;
            response.headers_mut().insert(UPSTREAM_TOKEN_HEADER, token);
        }
        Ok(response)
    }

    fn refuse(&self, refused: Refused<'_>, headers: &HeaderMap) -> Response {
        let (status, code, description) = match refused {
            Refused::Denied(protection, denied) => return self.refusal(protection, &denied, headers),
            Refused::Stranger(peer) => {
                let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.ip().to_string());
                tracing::warn!(peer, "asked to verify a request by what is not a trusted proxy");
                (
                    StatusCode::FORBIDDEN,
                    ErrorCode::AccessDenied,
                    "only the proxies that this server trusts may ask here: if you operate it, add this one to them"
                        .to_owned(),
                )
            }
            Refused::Unclear(unclear) => {
                tracing::debug!(reason = %unclear, "asked to verify a request that is not clear");
                (StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, unclear.to_string())
            }
            Refused::Elsewhere => (
                StatusCode::MISDIRECTED_REQUEST,
                ErrorCode::InvalidTarget,
                "there is no protected resource at this host and path".to_owned(),
            ),
        };
        answer::error_with_status(status, &OAuthError::new(code, description))
    }

    /// What the layer would answer in front of the same resource, as a page for browsers.
    fn refusal(&self, protection: &Protection, denied: &Denied, headers: &HeaderMap) -> Response {
        let refusal = denied.refusal();
        let mut response: Response = protection.challenges.respond(denied, &JsonBody);
        if wants_page(headers) {
            let problem = Problem {
                title: title(self.press.texts(), refusal).to_string(),
                explanation: self
                    .press
                    .texts()
                    .error_protected
                    .fill(&[("resource", protection.authenticator.resource().as_str())]),
                code: refusal.code().unwrap_or(match refusal {
                    Refusal::Unavailable => "temporarily_unavailable",
                    _ => "unauthorized",
                }),
            };
            let mut page = self.press.error(refusal.status(), &problem, WayOut::None);
            for name in [WWW_AUTHENTICATE, RETRY_AFTER] {
                if let Some(value) = response.headers_mut().remove(&name) {
                    page.headers_mut().insert(name, value);
                }
            }
            response = page;
        }
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
        response
    }
}

fn title(texts: &Texts, refusal: Refusal) -> &Text {
    match refusal {
        Refusal::Unauthenticated | Refusal::InvalidToken => &texts.error_protected_title,
        Refusal::InsufficientScope => &texts.error_protected_scope_title,
        Refusal::Unavailable => &texts.error_protected_busy_title,
        _ => &texts.error_request_title,
    }
}

/// Programs name the type that they want; browsers name HTML, and not JSON.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = |name: &str| {
        let mut values = headers.get_all(ACCEPT).iter();
        values.any(|value| value.to_str().is_ok_and(|value| value.contains(name)))
    };
    accepts("text/html") && !accepts("application/json")
}

/// The person's own token with the identity provider; empty where there is none to hand on.
async fn upstream_token(server: &AuthorizationServer, caller: &Caller) -> Result<HeaderValue, Refusal> {
    match upstream::token(server, caller).await {
        Ok(None) => Ok(HeaderValue::from_static("")),
        Ok(Some(token)) => {
            let mut value = HeaderValue::try_from(token.secret().expose()).map_err(|_| Refusal::Unavailable)?;
            value.set_sensitive(true);
            Ok(value)
        }
        Err(VaultError::Revoked | VaultError::Ended) => Err(Refusal::InvalidToken),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "a token of an identity provider cannot be had");
            Err(Refusal::Unavailable)
        }
    }
}

fn identity_token(server: &AuthorizationServer, caller: &Caller) -> Result<HeaderValue, Refusal> {
    let unavailable = |error: &(dyn std::error::Error + 'static)| {
        tracing::error!(error, "a backend cannot be told who calls");
        Refusal::Unavailable
    };
    let token = server
        .identity_token(&caller.identified())
        .map_err(|error| unavailable(&error))?;
    let mut value = HeaderValue::from_str(token.expose()).map_err(|error| unavailable(&error))?;
    value.set_sensitive(true);
    Ok(value)
}
