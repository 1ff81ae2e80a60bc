//! Devices without a browser (RFC 8628): `POST /device_authorization` for the device, `/device` for the person.

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, StatusCode, Uri};
use mcp_oauth_core::device::UserCode;
use mcp_oauth_core::error::OAuthError;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::server::device::verification::{UserCodeEntry, UserCodeError};
use mcp_oauth_core::transaction::{TransactionId, TransactionRefused};

use super::origin::RequestOrigin;
use super::token::ClientRequest;
use super::{Endpoints, answer, authorize, consent, cookies, form, token};
use crate::pages::{DeviceCodePage, Page, Problem, WayOut};

/// Where the consent page of a device is.
pub(super) const CONSENT: &str = "/device/consent";

pub(super) async fn authorize(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    ClientRequest { form, authorization }: ClientRequest,
) -> Response {
    match endpoints
        .server
        .authorize_device(&form, authorization.as_deref(), &origin)
        .await
    {
        Ok(device) => answer::private(StatusCode::OK, &device),
        Err(refusal) => token::refuse(&refusal),
    }
}

/// The form. A code in the link is filled in and nothing more: the person has to compare it (RFC 8628 §3.3.1).
pub(super) async fn show(State(endpoints): State<Endpoints>, uri: Uri) -> Response {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    ask(&endpoints, &parameters)
}

fn ask(endpoints: &Endpoints, parameters: &Parameters) -> Response {
    let code = parameters.get("user_code").ok().flatten();
    let user_code = code.and_then(|code| code.parse().ok());
    form_page(endpoints, StatusCode::OK, user_code.as_ref(), false)
}

/// What stands in the field is a code or nothing: this page is not for other people's messages.
fn form_page(endpoints: &Endpoints, status: StatusCode, user_code: Option<&UserCode>, unusable: bool) -> Response {
    let page = DeviceCodePage {
        action: &endpoints.path("/device"),
        user_code: &user_code.map(UserCode::expose).unwrap_or_default(),
        unusable,
    };
    endpoints.press.page(status, &Page::DeviceCode(page))
}

pub(super) async fn enter(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    request: Request,
) -> Response {
    let elsewhere = comes_from_elsewhere(request.headers());
    let form = match form::parameters(request).await {
        Ok(form) => form,
        Err(unreadable) => return consent::unreadable(&endpoints, &unreadable),
    };
    if elsewhere {
        return ask(&endpoints, &form);
    }
    let entered = form.get("user_code").ok().flatten().unwrap_or_default();
    match endpoints.server.enter_user_code(entered, &origin).await {
        Ok(entry) => to_consent(&endpoints, &entry),
        Err(UserCodeError::Failed(error)) => busy(&endpoints, &error),
        Err(_) => {
            let code = entered.parse().ok();
            form_page(&endpoints, StatusCode::BAD_REQUEST, code.as_ref(), true)
        }
    }
}

/// On to the consent page, which is a page of its own so that going back to it or loading it again sends no form again.
fn to_consent(endpoints: &Endpoints, entry: &UserCodeEntry) -> Response {
    let server = &endpoints.server;
    let mut page = server.issuer().endpoint(CONSENT);
    page.query_pairs_mut()
        .append_pair("transaction", entry.transaction.as_str())
        .append_pair("user_code", &entry.user_code.expose());
    let mut response = consent::redirect(page.as_str());
    if let Some(cookie) = cookies::set_browser(server, &entry.transaction, &entry.browser) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// The consent page of a device.
pub(super) async fn show_consent(State(endpoints): State<Endpoints>, headers: HeaderMap, uri: Uri) -> Response {
    let server = &endpoints.server;
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let Some((transaction, user_code)) = read(&parameters) else {
        return consent::refuse(&endpoints, &TransactionRefused::Unknown.into());
    };
    let browser = cookies::browser(server, &headers, &transaction);
    match server.device_prompt(&transaction, &user_code, browser.as_ref()).await {
        Ok(prompt) => consent::show(&endpoints, &prompt, None),
        Err(error) => consent::refuse(&endpoints, &error),
    }
}

fn read(parameters: &Parameters) -> Option<(TransactionId, UserCode)> {
    let transaction = parameters.require("transaction").ok()?.parse().ok()?;
    let user_code = parameters.require("user_code").ok()?.parse().ok()?;
    Some((transaction, user_code))
}

/// Whether another site has sent the form. Browsers say so (Fetch Metadata); from there it is as good as a link.
pub(super) fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none")
}

fn busy(endpoints: &Endpoints, error: &OAuthError) -> Response {
    let texts = endpoints.press.texts();
    let (title, explanation, wait) = match error.retry_after() {
        Some(wait) => {
            let minutes = wait.as_secs().div_ceil(60).max(1).to_string();
            let explanation = texts.error_tries.plainly_with("minutes", &minutes);
            (&texts.error_tries_title, explanation, wait.as_secs().max(1))
        }
        None => (&texts.error_busy_title, texts.error_busy_code.to_string(), 1),
    };
    let problem = Problem {
        title: title.to_string(),
        explanation,
        code: error.code().as_str(),
    };
    let mut response = endpoints.press.error(authorize::status(error), &problem, WayOut::None);
    response.headers_mut().insert(RETRY_AFTER, wait.into());
    response
}

/// The device was turned away because of who the person is.
pub(super) fn turned_away(endpoints: &Endpoints, reason: &OAuthError) -> Response {
    let texts = endpoints.press.texts();
    let problem = Problem {
        title: texts.error_device_refused_title.to_string(),
        explanation: format!(
            "{} {}",
            consent::sentence(reason.description()),
            texts.error_device_refused
        ),
        code: reason.code().as_str(),
    };
    endpoints.press.error(StatusCode::FORBIDDEN, &problem, WayOut::None)
}
