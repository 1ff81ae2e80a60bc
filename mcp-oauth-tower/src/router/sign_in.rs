//! `/sign-in`: people who have approved choose where to sign in. Only there with several identity providers.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::transaction::{TransactionId, TransactionRefused};

use super::{Endpoints, consent, cookies, form};
use crate::pages::{Page, SignInPage};

/// Where the choice is.
pub(super) const PATH: &str = "/sign-in";

/// A page of its own, so that going back to it or loading it again sends no form again.
pub(super) fn location(endpoints: &Endpoints, transaction: &TransactionId) -> String {
    let mut page = endpoints.server.issuer().endpoint(PATH);
    page.query_pairs_mut().append_pair("transaction", transaction.as_str());
    page.into()
}

pub(super) async fn show(State(endpoints): State<Endpoints>, headers: HeaderMap, uri: Uri) -> Response {
    let server = &endpoints.server;
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let Some(transaction) = transaction(&parameters) else {
        return consent::refuse(&endpoints, &TransactionRefused::Unknown.into());
    };
    let browser = cookies::browser(server, &headers, &transaction);
    match server.provider_choice(&transaction, browser.as_ref()).await {
        Ok(choice) => {
            let page = SignInPage {
                action: &endpoints.path(PATH),
                transaction: choice.transaction.as_str(),
                providers: &choice.providers,
            };
            endpoints.press.page(StatusCode::OK, &Page::SignIn(page))
        }
        Err(error) => consent::refuse(&endpoints, &error),
    }
}

pub(super) async fn choose(State(endpoints): State<Endpoints>, request: Request) -> Response {
    let server = &endpoints.server;
    let headers = request.headers().clone();
    let form = match form::parameters(request).await {
        Ok(form) => form,
        Err(unreadable) => return consent::unreadable(&endpoints, &unreadable),
    };
    let (Some(transaction), Ok(provider)) = (transaction(&form), form.require("provider")) else {
        return consent::refuse(&endpoints, &TransactionRefused::Unknown.into());
    };
    let browser = cookies::browser(server, &headers, &transaction);
    match server.choose_provider(&transaction, provider, browser.as_ref()).await {
        Ok(outcome) => consent::go_on(&endpoints, &transaction, browser.as_ref(), outcome),
        Err(error) => consent::refuse(&endpoints, &error),
    }
}

fn transaction(parameters: &Parameters) -> Option<TransactionId> {
    parameters.require("transaction").ok()?.parse().ok()
}
