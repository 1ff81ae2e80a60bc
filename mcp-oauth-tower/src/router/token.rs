//! `POST /token`, `POST /revoke` and `POST /introspect`: what clients prove themselves for.

use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use mcp_oauth_core::error::{ErrorCode, OAuthError};
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::server::token::TokenError;

use super::origin::RequestOrigin;
use super::{Endpoints, answer, form};

pub(super) async fn issue(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    ClientRequest { form, authorization }: ClientRequest,
) -> Response {
    match endpoints.server.token(&form, authorization.as_deref(), &origin).await {
        Ok(tokens) => answer::private(StatusCode::OK, &tokens),
        Err(refusal) => refuse(&refusal),
    }
}

pub(super) async fn revoke(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    ClientRequest { form, authorization }: ClientRequest,
) -> Response {
    match endpoints.server.revoke(&form, authorization.as_deref(), &origin).await {
        Ok(()) => (StatusCode::OK, [(CACHE_CONTROL, "no-store")]).into_response(),
        Err(refusal) => refuse(&refusal),
    }
}

pub(super) async fn introspect(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    ClientRequest { form, authorization }: ClientRequest,
) -> Response {
    match endpoints
        .server
        .introspect(&form, authorization.as_deref(), &origin)
        .await
    {
        Ok(introspection) => answer::private(StatusCode::OK, &introspection),
        Err(refusal) => refuse(&refusal),
    }
}

/// A request in which a client proves itself.
pub(super) struct ClientRequest {
    pub(super) form: Parameters,
    /// The `Authorization` header, if there is one.
    pub(super) authorization: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for ClientRequest {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let mut values = request.headers().get_all(AUTHORIZATION).iter();
        let header = values.next().map(|value| value.to_str().map(str::to_owned));
        let (Ok(authorization), None) = (header.transpose(), values.next()) else {
            let error = OAuthError::new(
                ErrorCode::InvalidRequest,
                "there must be one readable Authorization header at most",
            );
            return Err(answer::error(&error));
        };
        match form::parameters(request).await {
            Ok(form) => Ok(Self { form, authorization }),
            Err(unreadable) => Err(answer::error_with_status(unreadable.status, &unreadable.error)),
        }
    }
}

pub(super) fn refuse(refusal: &TokenError) -> Response {
    let mut response = answer::error(refusal.error());
    if refusal.needs_basic_challenge() && refusal.error().code() == ErrorCode::InvalidClient {
        let challenge = HeaderValue::from_static(r#"Basic realm="token""#);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
