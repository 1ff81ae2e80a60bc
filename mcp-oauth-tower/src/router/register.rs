//! `POST /register`.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use mcp_oauth_core::error::ErrorCode;

use super::{Endpoints, answer, form};

pub(super) async fn register(State(endpoints): State<Endpoints>, request: Request) -> Response {
    let body = match form::read(request, "application/json", ErrorCode::InvalidClientMetadata).await {
        Ok(body) => body,
        Err(unreadable) => return answer::error_with_status(unreadable.status, &unreadable.error),
    };
    match endpoints.server.register(&body).await {
        Ok(registered) => answer::private(StatusCode::CREATED, &registered),
        Err(error) => answer::error(&error),
    }
}
