//! `POST /register`, and what a client does with its registration afterwards at `/register/{client_id}`.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use mcp_oauth_core::error::{ErrorCode, OAuthError};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::manage::ManagementError;
use mcp_oauth_core::server::register::RegistrationError;

use super::origin::RequestOrigin;
use super::{Endpoints, answer, form};

pub(super) async fn register(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    request: Request,
) -> Response {
    // Who may not is told so before anything is read of what they sent.
    let admitted = match endpoints
        .server
        .admit_registration(token(request.headers()), &origin)
        .await
    {
        Ok(admitted) => admitted,
        Err(error) => return not_registered(&error),
    };
    let body = match form::read(request, "application/json", ErrorCode::InvalidClientMetadata).await {
        Ok(body) => body,
        Err(unreadable) => return answer::error_with_status(unreadable.status, &unreadable.error),
    };
    match endpoints.server.register(&body, admitted, &origin).await {
        Ok(registered) => answer::private(StatusCode::CREATED, &registered),
        Err(error) => not_registered(&error),
    }
}

/// In place of registration, where it is closed: the endpoint is not there.
pub(super) async fn closed() -> Response {
    not_registered(&RegistrationError::Closed)
}

fn not_registered(error: &RegistrationError) -> Response {
    match error {
        RegistrationError::Closed => answer::error_with_status(StatusCode::NOT_FOUND, &error.into()),
        RegistrationError::Unauthenticated => challenge(&error.into(), NO_TOKEN),
        RegistrationError::InvalidToken => challenge(&error.into(), WRONG_TOKEN),
        error => answer::error(&error.into()),
    }
}

pub(super) async fn read(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    ClientPath(client_id): ClientPath,
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
    ClientPath(client_id): ClientPath,
    request: Request,
) -> Response {
    // Who may not is told so before anything is read of what they sent.
    let admitted = match endpoints
        .server
        .admit_replacement(&client_id, token(request.headers()), &origin)
        .await
    {
        Ok(admitted) => admitted,
        Err(error) => return refuse(&error),
    };
    let body = match form::read(request, "application/json", ErrorCode::InvalidClientMetadata).await {
        Ok(body) => body,
        Err(unreadable) => return answer::error_with_status(unreadable.status, &unreadable.error),
    };
    match endpoints.server.replace_client(&body, admitted, &origin).await {
        Ok(information) => answer::private(StatusCode::OK, &information),
        Err(error) => refuse(&error),
    }
}

pub(super) async fn delete(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    ClientPath(client_id): ClientPath,
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

/// The client that a path names. What cannot be decoded names nobody, like an identifier that nobody has.
pub(super) struct ClientPath(String);

impl<S: Send + Sync> FromRequestParts<S> for ClientPath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(path.map(|Path(client_id)| client_id).unwrap_or_default()))
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
    match error {
        ManagementError::Refused(error) => answer::error(error),
        ManagementError::Unauthenticated => challenge(&error.into(), NO_TOKEN),
        _ => challenge(&error.into(), WRONG_TOKEN),
    }
}

const NO_TOKEN: &str = r#"Bearer realm="registration""#;

const WRONG_TOKEN: &str = r#"Bearer realm="registration", error="invalid_token""#;

fn challenge(error: &OAuthError, challenge: &'static str) -> Response {
    let mut response = answer::error(error);
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}
