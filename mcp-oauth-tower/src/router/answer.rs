//! JSON answers, with the headers that each of them needs.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, PRAGMA, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use mcp_oauth_core::error::{ErrorCode, OAuthError};
use serde::Serialize;

/// An answer that nobody may keep: it holds credentials, or depends on them (RFC 6749 §5.1).
pub(super) fn private(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
        .headers_mut()
        .insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// A document that is the same for everybody.
pub(super) fn public(body: &impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

pub(super) fn error(error: &OAuthError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    error_with_status(status, error)
}

pub(super) fn error_with_status(status: StatusCode, error: &OAuthError) -> Response {
    let mut response = private(status, error);
    if error.code() == ErrorCode::TemporarilyUnavailable {
        let wait = error.retry_after().map_or(1, |wait| wait.as_secs().max(1));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}
