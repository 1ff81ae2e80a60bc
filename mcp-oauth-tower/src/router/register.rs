//! `POST /register`, and what a client does with its registration afterwards at `/register/{client_id}`.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use mcp_oauth_core::error::ErrorCode;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::manage::ManagementError;

use super::origin::RequestOrigin;
use super::{Endpoints, answer, form};

pub(super) async fn register(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    request: Request,
) -> Response {
    let body = match form::read(request, "application/json", ErrorCode::InvalidClientMetadata).await {
        Ok(body) => body,
        Err(unreadable) => return answer::error_with_status(unreadable.status, &unreadable.error),
    };
    match endpoints.server.register(&body, &origin).await {
        Ok(registered) => answer::private(StatusCode::CREATED, &registered),
        Err(error) => answer::error(&error),
    }
}

pub(super) async fn read(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    Path(client_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match endpoints.server.read_client(&client_id, token(&headers), &origin).await {
        Ok(information) => answer::private(StatusCode::OK, &information),
        Err(error) => refuse(&error),
    }
}

pub(super) async fn replace(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    Path(client_id): Path<String>,
    request: Request,
) -> Response {
    let token = token(request.headers());
    // Who may not is told so before anything is said of what they sent.
    if let Err(error) = endpoints
        .server
        .manages_client(&client_id, token.clone(), &origin)
        .await
    {
        return refuse(&error);
    }
    let body = match form::read(request, "application/json", ErrorCode::InvalidClientMetadata).await {
        Ok(body) => body,
        Err(unreadable) => return answer::error_with_status(unreadable.status, &unreadable.error),
    };
    match endpoints.server.replace_client(&client_id, token, &body, &origin).await {
        Ok(information) => answer::private(StatusCode::OK, &information),
        Err(error) => refuse(&error),
    }
}

pub(super) async fn delete(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    Path(client_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match endpoints
        .server
        .delete_client(&client_id, token(&headers), &origin)
        .await
    {
        Ok(()) => (StatusCode::NO_CONTENT, [(CACHE_CONTROL, "no-store")]).into_response(),
        Err(error) => refuse(&error),
    }
}

/// The bearer token of a request, if there is exactly one.
fn token(headers: &HeaderMap) -> Option<Secret> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Secret::from(token))
}

/// `401` with a challenge for every wrong token (RFC 7592 §2.1, RFC 6750 §3.1).
fn refuse(error: &ManagementError) -> Response {
    let challenge = match error {
        ManagementError::Refused(error) => return answer::error(error),
        ManagementError::Unauthenticated => r#"Bearer realm="registration""#,
        _ => r#"Bearer realm="registration", error="invalid_token""#,
    };
    let mut response = answer::error(&error.oauth());
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}
