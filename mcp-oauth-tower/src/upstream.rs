//! The person's own token with the identity provider, for a server that acts for them there.
//!
//! Off unless three things are said: the authorization server has a [vault](mcp_oauth_core::server::vault), the resource's
//! policy names the provider ([`Resource::hand_on_tokens_of`](crate::Resource::hand_on_tokens_of)), and this layer is put
//! between the [`OAuthLayer`](crate::OAuthLayer) and the server. Then each request carries an [`UpstreamToken`] as an
//! extension, good for a minute at least unless the provider is out of reach; never in a header, unless
//! [`in_header`](UpstreamTokenLayer::in_header) says so.
//!
//! A caller whose grant has no such token gets through without one. Where a token cannot be had at this moment, the answer
//! is 503 with `Retry-After`; where the provider takes it no longer, the grant has ended and the answer is 401.
//!
//! ```
//! use mcp_oauth_tower::upstream::{UpstreamToken, UpstreamTokenLayer};
//! use mcp_oauth_tower::{AuthorizationServer, OAuthLayer, UnknownResource};
//!
//! async fn issues(axum::Extension(github): axum::Extension<UpstreamToken>) -> String {
//!     format!("a token of {} with {:?}", github.provider(), github.scope())
//! }
//!
//! # #[cfg(feature = "axum")]
//! fn protect(auth: &AuthorizationServer) -> Result<axum::Router, UnknownResource> {
//!     Ok(axum::Router::new()
//!         .route("/mcp", axum::routing::post(issues))
//!         .layer(UpstreamTokenLayer::new(auth))
//!         .layer(OAuthLayer::new(auth, "https://mcp.example.com/mcp")?))
//! }
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use mcp_oauth_core::clock::UnixTime;
use mcp_oauth_core::grant::GrantId;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::server::vault::{HandedOut, VaultError};
use tower_layer::Layer;
use tower_service::Service;

use crate::caller::Caller;

/// The person's access token with the identity provider. `Debug` does not show it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UpstreamToken(Arc<HandedOut>);

impl UpstreamToken {
    /// The token, a bearer token of the provider's.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0.access_token
    }

    /// The identity provider that issued it, by the name in front of its subjects.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.0.provider
    }

    /// What it is good for, as the provider wrote it, if it did.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    /// Until when it is good; `None` if the provider set no end to it.
    #[must_use]
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.0.expires_at
    }
}

/// Hands the person's own token on to the server behind, as the policy of the resource allows.
#[derive(Clone, Debug)]
pub struct UpstreamTokenLayer {
    server: AuthorizationServer,
    header: Option<HeaderName>,
}

impl UpstreamTokenLayer {
    /// Takes tokens from the vault of this server.
    #[must_use]
    pub fn new(server: &AuthorizationServer) -> Self {
        Self {
            server: server.clone(),
            header: None,
        }
    }

    /// Also writes the token into this header, for a server that is no part of this program. Whatever came in under that
    /// name is taken away, whether or not there is a token.
    #[must_use]
    pub fn in_header(mut self, name: HeaderName) -> Self {
        self.header = Some(name);
        self
    }
}

impl<S> Layer<S> for UpstreamTokenLayer {
    type Service = UpstreamTokenService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        UpstreamTokenService {
            inner,
            layer: self.clone(),
        }
    }
}

/// What the layer makes of a service.
#[derive(Clone, Debug)]
pub struct UpstreamTokenService<S> {
    inner: S,
    layer: UpstreamTokenLayer,
}

impl<S, B, R> Service<Request<B>> for UpstreamTokenService<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = Infallible;
    /// Boxed: the vault is asked at each request, beside which this is nothing.
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that was polled is the one that is ready.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            request.extensions_mut().remove::<UpstreamToken>();
            if let Some(name) = &layer.header {
                request.headers_mut().remove(name);
            }
            if let Some(caller) = request.extensions().get::<Caller>().cloned() {
                match token(&layer.server, &caller).await {
                    Ok(Some(token)) => layer.hand_on(&mut request, token),
                    Ok(None) => {}
                    Err(error) => return Ok(refuse(&error)),
                }
            }
            inner.call(request).await
        })
    }
}

impl UpstreamTokenLayer {
    fn hand_on<B>(&self, request: &mut Request<B>, token: UpstreamToken) {
        if let Some(name) = &self.header
            && let Ok(mut value) = HeaderValue::try_from(token.secret().expose())
        {
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        request.extensions_mut().insert(token);
    }
}

/// Nothing where there is none to hand on.
pub(crate) async fn token(server: &AuthorizationServer, caller: &Caller) -> Result<Option<UpstreamToken>, VaultError> {
    // The tokens of another authorization server are of no grant of this one.
    let grant = caller.grant().filter(|_| caller.issuer() == server.issuer().as_str());
    let Some(grant) = grant.and_then(|grant| grant.parse::<GrantId>().ok()) else {
        return Ok(None);
    };
    match server.upstream_token(&grant, caller.resource()).await {
        Ok(token) => Ok(Some(UpstreamToken(Arc::new(token)))),
        Err(VaultError::Off | VaultError::NotAllowed | VaultError::NoTokens | VaultError::UnknownKey) => Ok(None),
        Err(error) => Err(error),
    }
}

fn refuse<R: Default>(error: &VaultError) -> Response<R> {
    let mut response = Response::new(R::default());
    if let VaultError::Revoked | VaultError::Ended = error {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
        return response;
    }
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "a token of an identity provider cannot be had"
    );
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let wait = error.retry_after().map_or(1, |wait| wait.as_secs().max(1));
    response.headers_mut().insert(RETRY_AFTER, wait.into());
    response
}
