//! `/development/sign-in`: somebody picks who they want to be. Only there with `DevIdentity`.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::transaction::{SignInState, TransactionRefused};

use super::{Endpoints, consent, form};
use crate::pages::{DevelopmentSignInPage, Page};

fn state(parameters: &Parameters) -> Option<&str> {
    parameters
        .require("state")
        .ok()
        .filter(|state| state.parse::<SignInState>().is_ok())
}

pub(super) async fn show(State(endpoints): State<Endpoints>, uri: Uri) -> Response {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let people = endpoints.server.development_users();
    match (state(&parameters), people) {
        (Some(state), Some(people)) => {
            let action = endpoints.path(mcp_oauth_core::identity::development::SIGN_IN_PATH);
            let page = DevelopmentSignInPage {
                action: &action,
                state,
                people,
            };
            endpoints.press.page(StatusCode::OK, &Page::DevelopmentSignIn(page))
        }
        _ => consent::refuse(&endpoints, &TransactionRefused::Unknown.into()),
    }
}

pub(super) async fn choose(State(endpoints): State<Endpoints>, request: Request) -> Response {
    let unknown = || consent::refuse(&endpoints, &TransactionRefused::Unknown.into());
    let Ok(form) = form::parameters(request).await else {
        return unknown();
    };
    let (Some(state), Ok(user)) = (state(&form), form.require("user")) else {
        return unknown();
    };
    let server = &endpoints.server;
    let made_up = server
        .identity_providers()
        .find(|provider| provider.development_users().is_some());
    let Some(mut callback) = made_up.and_then(|provider| server.callback_url(provider.id())).cloned() else {
        return unknown();
    };
    callback
        .query_pairs_mut()
        .append_pair("state", state)
        .append_pair("code", user);
    consent::redirect(callback.as_str())
}
