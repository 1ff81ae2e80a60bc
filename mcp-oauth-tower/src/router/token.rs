//! `POST /token`.

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use mcp_oauth_core::error::{ErrorCode, OAuthError};

use super::{Endpoints, answer, form};

pub(super) async fn issue(State(endpoints): State<Endpoints>, request: Request) -> Response {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let header = values.next().map(|value| value.to_str().map(str::to_owned));
    let (Ok(authorization), None) = (header.transpose(), values.next()) else {
        let error = OAuthError::new(
            ErrorCode::InvalidRequest,
            "there must be one readable Authorization header at most",
        );
        return answer::error(&error);
    };
    let form = match form::parameters(request).await {
        Ok(form) => form,
        Err(unreadable) => return answer::error_with_status(unreadable.status, &unreadable.error),
    };
    match endpoints.server.token(&form, authorization.as_deref()).await {
        Ok(tokens) => answer::private(StatusCode::OK, &tokens),
        Err(refusal) => {
            let mut response = answer::error(refusal.error());
            if refusal.needs_basic_challenge() && refusal.error().code() == ErrorCode::InvalidClient {
                response
                    .headers_mut()
                    .insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="token""#));
            }
            response
        }
    }
}
