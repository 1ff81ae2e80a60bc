//! `GET /callback`: the way back from the identity provider; `GET /success`: the code, for people to copy.

use axum::extract::{Path, State};
use axum::response::Response;
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use mcp_oauth_core::grant::AuthorizationCode;
use mcp_oauth_core::identity::IdentityError;
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::server::callback::CallbackOutcome;
use mcp_oauth_core::transaction::{SignInState, TransactionId, TransactionRefused};

use super::origin::RequestOrigin;
use super::{Endpoints, consent, cookies, device};
use crate::pages::{DeviceEnd, Problem, Retry, WayOut};

pub(super) async fn finish(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    back_from(&endpoints, None, &headers, &uri, &origin).await
}

/// The same for an identity provider that was added to another.
pub(super) async fn finish_from(
    State(endpoints): State<Endpoints>,
    Path(provider): Path<String>,
    RequestOrigin(origin): RequestOrigin,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    back_from(&endpoints, Some(&provider), &headers, &uri, &origin).await
}

async fn back_from(
    endpoints: &Endpoints,
    provider: Option<&str>,
    headers: &HeaderMap,
    uri: &Uri,
    origin: &Origin,
) -> Response {
    let server = &endpoints.server;
    let Ok(parameters) = Parameters::parse(uri.query().unwrap_or_default().as_bytes()) else {
        return consent::refuse(endpoints, &TransactionRefused::Unknown.into());
    };
    let Some(state) = parameters
        .require("state")
        .ok()
        .and_then(|state| state.parse::<SignInState>().ok())
    else {
        return consent::refuse(endpoints, &TransactionRefused::Unknown.into());
    };
    let sign_in = cookies::sign_in(server, headers, state.transaction());
    let sign_in = sign_in.as_ref();
    let outcome = match provider {
        None => server.callback(&state, &parameters, sign_in, origin).await,
        Some(provider) => {
            server
                .callback_from(provider, &state, &parameters, sign_in, origin)
                .await
        }
    };
    match outcome {
        Ok(CallbackOutcome::Client(redirect)) => {
            let mut response = consent::redirect(redirect.location());
            clear_cookies(endpoints, state.transaction(), &mut response);
            response
        }
        Ok(CallbackOutcome::DeviceLetIn) => {
            let mut response = endpoints.frame.device_end(DeviceEnd::LetIn);
            clear_cookies(endpoints, state.transaction(), &mut response);
            response
        }
        Ok(CallbackOutcome::DeviceTurnedAway(reason)) => {
            let mut response = device::turned_away(endpoints, &reason);
            clear_cookies(endpoints, state.transaction(), &mut response);
            response
        }
        Ok(CallbackOutcome::Retry {
            transaction,
            provider,
            error,
        }) => retry(endpoints, &transaction, &provider, &error),
        Ok(_) => consent::refuse(endpoints, &TransactionRefused::Unknown.into()),
        Err(error) => consent::refuse(endpoints, &error),
    }
}

/// The sign-in is over.
fn clear_cookies(endpoints: &Endpoints, transaction: &TransactionId, response: &mut Response) {
    for cookie in cookies::clear(&endpoints.server, transaction) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// The identity provider failed, and may do better next time.
pub(super) fn retry(
    endpoints: &Endpoints,
    transaction: &TransactionId,
    provider: &str,
    error: &IdentityError,
) -> Response {
    let (status, explanation, code, wait) = match error {
        IdentityError::Unavailable { retry_after, .. } => {
            let explanation = match retry_after {
                Some(wait) => format!(
                    "{provider} asks to wait {} seconds before trying again.",
                    wait.as_secs().max(1)
                ),
                None => format!("{provider} does not answer at the moment. Wait a little and try again."),
            };
            (
                StatusCode::SERVICE_UNAVAILABLE,
                explanation,
                "temporarily_unavailable",
                *retry_after,
            )
        }
        error => (
            StatusCode::BAD_GATEWAY,
            format!(
                "{provider} could not say who you are: {error}. Try again; if that does not help, tell the operator of this server."
            ),
            "server_error",
            None,
        ),
    };
    let problem = Problem {
        title: "Signing in did not work",
        explanation,
        code,
    };
    let action = endpoints.path("/consent");
    let retry = Retry {
        action: &action,
        transaction: transaction.as_str(),
    };
    let mut response = endpoints.frame.error(status, &problem, WayOut::Retry(retry));
    if let Some(wait) = wait {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

pub(super) async fn show_code(State(endpoints): State<Endpoints>, uri: Uri) -> Response {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    // Only what can be a code is shown as one: this page is not for other people's messages.
    match parameters.get("code") {
        Ok(Some(code)) if code.len() < 100 && code.parse::<AuthorizationCode>().is_ok() => {
            endpoints.frame.success(code)
        }
        _ => {
            let problem = Problem {
                title: "There is no code",
                explanation: "The sign-in was not finished. Go back to your app and start again.".to_owned(),
                code: "access_denied",
            };
            endpoints.frame.error(StatusCode::BAD_REQUEST, &problem, WayOut::None)
        }
    }
}
