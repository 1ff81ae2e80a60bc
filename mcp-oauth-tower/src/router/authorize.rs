//! `GET /authorize`, or `POST` with the same in a form: the request is put before the person.

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ACCEPT, RETRY_AFTER};
use http::{HeaderMap, StatusCode, Uri};
use mcp_oauth_core::error::{ErrorCode, OAuthError};
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::server::authorize::{Authorization, AuthorizeError, Visitor};
use mcp_oauth_core::transaction::TransactionRefused;

use super::origin::RequestOrigin;
use super::{Endpoints, account, answer, consent, cookies, form};
use crate::pages::{Link, Problem, WayOut};

pub(super) async fn show(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    match Parameters::parse(uri.query().unwrap_or_default().as_bytes()) {
        Ok(parameters) => ask(&endpoints, &parameters, &headers, &origin).await,
        Err(error) => refuse(&endpoints, &headers, &error),
    }
}

/// What is too long for a URL comes as a form. Its query is not read.
pub(super) async fn show_form(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    match form::parameters(request).await {
        Ok(parameters) => ask(&endpoints, &parameters, &headers, &origin).await,
        Err(unreadable) => refuse(&endpoints, &headers, &unreadable.error),
    }
}

async fn ask(endpoints: &Endpoints, parameters: &Parameters, headers: &HeaderMap, origin: &Origin) -> Response {
    let server = &endpoints.server;
    let person = if endpoints.account {
        account::signed_in(endpoints, headers).await.ok().flatten()
    } else {
        None
    };
    let mut visitor = Visitor::default();
    visitor.subject = person.as_ref().map(|person| person.session.subject.clone());
    visitor.remembered = cookies::remembered(server, headers);
    match server.authorize_visitor(parameters, &visitor, origin).await {
        Ok(Authorization::Ask(prompt)) => consent::show(endpoints, &prompt, person.as_ref()),
        Ok(Authorization::Remembered {
            transaction,
            browser,
            outcome,
        }) => consent::go_on(endpoints, &transaction, Some(&browser), outcome),
        Ok(_) => consent::refuse(endpoints, &TransactionRefused::Unknown.into()),
        Err(AuthorizeError::Redirect { redirect, .. }) => consent::redirect(redirect.location()),
        Err(AuthorizeError::Page(error)) => refuse(endpoints, headers, &error),
        Err(AuthorizeError::Offer {
            error,
            redirect,
            destination,
        }) => offer(endpoints, &error, redirect.location(), &destination),
        Err(error) => refuse(
            endpoints,
            headers,
            &OAuthError::new(ErrorCode::InvalidRequest, error.to_string()),
        ),
    }
}

/// Tells the person, who may tell the client by following a link.
fn offer(endpoints: &Endpoints, error: &OAuthError, location: &str, destination: &str) -> Response {
    let problem = Problem {
        title: endpoints.press.texts().error_request_title.to_string(),
        explanation: consent::sentence(error.description()),
        code: error.code().as_str(),
    };
    let link = Link { location, destination };
    endpoints.press.error(status(error), &problem, WayOut::Link(link))
}

/// Nobody has tried to authenticate here, so 401 would be wrong.
pub(super) fn status(error: &OAuthError) -> StatusCode {
    match error.code() {
        ErrorCode::TemporarilyUnavailable if error.retry_after().is_some() => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Tells the person, and never anybody at a redirect URI. A program that asks for JSON gets that.
fn refuse(endpoints: &Endpoints, headers: &HeaderMap, error: &OAuthError) -> Response {
    let status = status(error);
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accept.contains("application/json") && !accept.contains("text/html") {
        return answer::error_with_status(status, error);
    }
    let is_temporary = error.code() == ErrorCode::TemporarilyUnavailable;
    let mut explanation = consent::sentence(error.description());
    if !is_temporary {
        explanation.push(' ');
        explanation.push_str(endpoints.press.texts().error_request_advice.as_str());
    }
    let problem = Problem {
        title: endpoints.press.texts().error_request_title.to_string(),
        explanation,
        code: error.code().as_str(),
    };
    let mut response = endpoints.press.error(status, &problem, WayOut::None);
    if is_temporary {
        let wait = error.retry_after().map_or(1, |wait| wait.as_secs().max(1));
        response.headers_mut().insert(RETRY_AFTER, wait.into());
    }
    response
}
