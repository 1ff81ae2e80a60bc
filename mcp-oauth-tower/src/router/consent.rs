//! `POST /consent`: the person's decision.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::server::authorize::ConsentPrompt;
use mcp_oauth_core::server::consent::{ConsentOutcome, TransactionError};
use mcp_oauth_core::transaction::{BrowserSecret, Decision, TransactionId, TransactionRefused};

use super::account::SignedIn;
use super::form::Unreadable;
use super::origin::RequestOrigin;
use super::{Endpoints, account, callback, cookies, form, sign_in};
use crate::pages::{ConsentPage, DeviceEnd, Page, Problem, SignedInPerson, Texts, WayOut};

pub(super) async fn decide(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    request: Request,
) -> Response {
    let server = &endpoints.server;
    let headers = request.headers().clone();
    let form = match form::parameters(request).await {
        Ok(form) => form,
        Err(unreadable) => return self::unreadable(&endpoints, &unreadable),
    };
    let Some((transaction, decision)) = read(&form) else {
        return refuse(&endpoints, &TransactionRefused::Unknown.into());
    };
    let browser = cookies::browser(server, &headers, &transaction);
    match server.consent(&transaction, decision, browser.as_ref(), &origin).await {
        Ok(outcome) => go_on(&endpoints, &transaction, browser.as_ref(), outcome),
        Err(error) => refuse(&endpoints, &error),
    }
}

/// Where the person goes who has decided, with the cookies that go along.
pub(super) fn go_on(
    endpoints: &Endpoints,
    transaction: &TransactionId,
    browser: Option<&BrowserSecret>,
    outcome: ConsentOutcome,
) -> Response {
    let server = &endpoints.server;
    // The transaction has its whole time again, and so has the browser.
    let renewed = browser.and_then(|browser| cookies::set_browser(server, transaction, browser));
    let (mut response, sign_in) = match outcome {
        ConsentOutcome::SignIn { location, sign_in } => (redirect(location.as_str()), Some(sign_in)),
        ConsentOutcome::ChooseProvider(transaction) => (redirect(&sign_in::location(endpoints, &transaction)), None),
        ConsentOutcome::Retry {
            transaction,
            provider,
            error,
        } => (callback::retry(endpoints, &transaction, &provider, &error), None),
        ConsentOutcome::Denied(denied) => return redirect(denied.location()),
        ConsentOutcome::DeviceTurnedAway => {
            return endpoints
                .press
                .page(StatusCode::OK, &Page::DeviceEnd(DeviceEnd::TurnedAway));
        }
        _ => return refuse(endpoints, &TransactionRefused::Unknown.into()),
    };
    let sign_in = sign_in.and_then(|sign_in| cookies::set_sign_in(server, transaction, &sign_in));
    for cookie in [sign_in, renewed].into_iter().flatten() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

fn read(form: &Parameters) -> Option<(TransactionId, Decision)> {
    let transaction = form.require("transaction").ok()?.parse().ok()?;
    match form.require("decision").ok()? {
        "approve" if form.get("remember").ok().flatten() == Some("yes") => {
            Some((transaction, Decision::ApproveAndRemember))
        }
        "approve" => Some((transaction, Decision::Approve)),
        "deny" => Some((transaction, Decision::Deny)),
        _ => None,
    }
}

/// The consent page, with the cookie that binds it to this browser.
pub(super) fn show(endpoints: &Endpoints, prompt: &ConsentPrompt, person: Option<&SignedIn>) -> Response {
    let sign_out = endpoints.path(account::SIGN_OUT);
    let page = ConsentPage {
        action: &endpoints.path("/consent"),
        prompt,
        person: person.map(|person| SignedInPerson {
            name: person.session.display_name(),
            action: &sign_out,
            csrf: person.csrf(),
        }),
    };
    let mut response = endpoints.press.page(StatusCode::OK, &Page::Consent(page));
    if let Some(cookie) = cookies::set_browser(&endpoints.server, &prompt.transaction, &prompt.browser) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// The page for a form that is none.
pub(super) fn unreadable(endpoints: &Endpoints, unreadable: &Unreadable) -> Response {
    let problem = Problem {
        title: endpoints.press.texts().error_form_title.to_string(),
        explanation: format!("{}.", unreadable.error.description()),
        code: unreadable.error.code().as_str(),
    };
    endpoints.press.error(unreadable.status, &problem, WayOut::None)
}

/// `303`, so that a form is never sent on (OAuth 2.1 §7.5.3). The answer may carry a code, so nobody may keep it.
pub(super) fn redirect(location: &str) -> Response {
    let Ok(location) = HeaderValue::try_from(location) else {
        // Redirect URIs are ASCII and everything added to them is percent-encoded.
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(LOCATION, location);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
        .headers_mut()
        .insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The page for a sign-in that does not go on.
pub(super) fn refuse(endpoints: &Endpoints, error: &TransactionError) -> Response {
    let texts = endpoints.press.texts();
    if let TransactionError::DeviceClosed(_) = error {
        let problem = Problem {
            title: texts.error_device_closed_title.to_string(),
            explanation: texts.error_device_closed.to_string(),
            code: "invalid_request",
        };
        return endpoints.press.error(StatusCode::BAD_REQUEST, &problem, WayOut::None);
    }
    if let TransactionError::Refused(reason) = error {
        let problem = Problem {
            title: texts.error_sign_in_title.to_string(),
            explanation: explanation(texts, *reason),
            code: "invalid_request",
        };
        return endpoints.press.error(StatusCode::BAD_REQUEST, &problem, WayOut::None);
    }
    let problem = Problem {
        title: texts.error_busy_title.to_string(),
        explanation: texts.error_busy.to_string(),
        code: "temporarily_unavailable",
    };
    let mut response = endpoints
        .press
        .error(StatusCode::SERVICE_UNAVAILABLE, &problem, WayOut::None);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn explanation(texts: &Texts, reason: TransactionRefused) -> String {
    match reason {
        TransactionRefused::Unknown => texts.error_sign_in_unknown.to_string(),
        TransactionRefused::OtherBrowser => texts.error_sign_in_other_browser.to_string(),
        TransactionRefused::Finished => texts.error_sign_in_finished.to_string(),
        TransactionRefused::UnknownProvider => texts.error_sign_in_provider.to_string(),
        TransactionRefused::NotApproved => texts.error_sign_in_not_approved.to_string(),
        other => sentence(&other.to_string()),
    }
}

/// Begins with a capital letter and ends with a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters
        .next()
        .map(|first| first.to_uppercase().to_string())
        .unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}
