//! Bodies: bounded, of the right type, read once.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use mcp_oauth_core::error::{ErrorCode, OAuthError};
use mcp_oauth_core::parameters::Parameters;

/// No request of any client comes near this.
const MAXIMUM_BODY: usize = 64 * 1024;

/// A body that cannot be read, with the status that says so.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) status: StatusCode,
    pub(super) error: OAuthError,
}

impl From<OAuthError> for Unreadable {
    fn from(error: OAuthError) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
        }
    }
}

/// The body, if its media type is `expected`; otherwise `code`.
pub(super) async fn read(request: Request, expected: &str, code: ErrorCode) -> Result<Bytes, Unreadable> {
    let (parts, body): (_, Body) = request.into_parts();
    let mut types = parts.headers.get_all(CONTENT_TYPE).iter();
    let media_type = types.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(expected) || types.next().is_some() {
        return Err(OAuthError::new(
            code,
            format!("the body must be {expected}, and Content-Type must say so"),
        )
        .into());
    }
    to_bytes(body, MAXIMUM_BODY).await.map_err(|_| Unreadable {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        error: OAuthError::new(code, "the body is larger than 64 KiB or was cut off"),
    })
}

/// The parameters of a form.
pub(super) async fn parameters(request: Request) -> Result<Parameters, Unreadable> {
    let body = read(request, "application/x-www-form-urlencoded", ErrorCode::InvalidRequest).await?;
    Ok(Parameters::parse(&body)?)
}
