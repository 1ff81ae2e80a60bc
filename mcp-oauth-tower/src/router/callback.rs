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
use super::{Endpoints, account, consent, cookies, device};
use crate::pages::{CodePage, DeviceEnd, Page, Problem, Retry, Texts, WayOut};

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
    if let Some(ticket) = cookies::ticket(server, headers, state.transaction()) {
        return account::finish(endpoints, provider, &state, &ticket, &parameters, origin).await;
    }
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
        Ok(CallbackOutcome::ClientRemembered { redirect, remembered }) => {
            let mut response = consent::redirect(redirect.location());
            clear_cookies(endpoints, state.transaction(), &mut response);
            for cookie in cookies::remember(server, headers, &remembered) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            response
        }
        Ok(CallbackOutcome::AskAgain { location }) => {
            let mut response = consent::redirect(&location);
            clear_cookies(endpoints, state.transaction(), &mut response);
            // Whoever sits here now is not who is signed in to their own pages, if anybody is.
            if let Some(cookie) = cookies::clear_session(server) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            response
        }
        Ok(CallbackOutcome::DeviceLetIn) => {
            let mut response = endpoints.press.page(StatusCode::OK, &Page::DeviceEnd(DeviceEnd::LetIn));
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
    let texts = endpoints.press.texts();
    let (status, explanation, code) = failure(texts, provider, error);
    let wait = match error {
        IdentityError::Unavailable { retry_after, .. } => *retry_after,
        _ => None,
    };
    let problem = Problem {
        title: texts.error_provider_title.to_string(),
        explanation,
        code,
    };
    let action = endpoints.path("/consent");
    let retry = Retry {
        action: &action,
        transaction: transaction.as_str(),
    };
    let mut response = endpoints.press.error(status, &problem, WayOut::Retry(retry));
    if let Some(wait) = wait {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

/// How an identity provider failed: the status, what happened and what to do, and the code.
pub(super) fn failure(texts: &Texts, provider: &str, error: &IdentityError) -> (StatusCode, String, &'static str) {
    match error {
        IdentityError::Unavailable { retry_after, .. } => {
            let text = match retry_after {
                Some(wait) => {
                    let seconds = wait.as_secs().max(1).to_string();
                    texts
                        .error_provider_wait
                        .fill(&[("provider", provider), ("seconds", &seconds)])
                }
                None => texts.error_provider_silent.fill(&[("provider", provider)]),
            };
            (StatusCode::SERVICE_UNAVAILABLE, text, "temporarily_unavailable")
        }
        error => {
            let values = [("provider", provider), ("reason", &error.to_string())];
            let text = texts.error_provider_unusable.fill(&values);
            (StatusCode::BAD_GATEWAY, text, "server_error")
        }
    }
}

pub(super) async fn show_code(State(endpoints): State<Endpoints>, uri: Uri) -> Response {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    // Only what can be a code is shown as one: this page is not for other people's messages.
    match parameters.get("code") {
        Ok(Some(code)) if code.len() < 100 && code.parse::<AuthorizationCode>().is_ok() => {
            endpoints.press.page(StatusCode::OK, &Page::Code(CodePage { code }))
        }
        _ => {
            let texts = endpoints.press.texts();
            let problem = Problem {
                title: texts.error_no_code_title.to_string(),
                explanation: texts.error_no_code.to_string(),
                code: "access_denied",
            };
            endpoints.press.error(StatusCode::BAD_REQUEST, &problem, WayOut::None)
        }
    }
}
