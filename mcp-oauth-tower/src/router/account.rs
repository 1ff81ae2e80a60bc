//! `/account`: a person sees what they have let in, and ends it.
//!
//! They sign in for themselves, with the identity providers that they sign in with for clients; see
//! [`session`](mcp_oauth_core::server::session). Every form that changes something shows that it is of this browser's
//! session: it sends along what only somebody with the session's cookie can know. What another site sends is refused
//! besides, where the browser says that it does.

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ORIGIN, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use mcp_oauth_core::error::OAuthError;
use mcp_oauth_core::grant::GrantId;
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::scope::Scope;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::operator::account::Account;
use mcp_oauth_core::server::operator::{GrantView, OperatorError};
use mcp_oauth_core::server::session::{Session, SessionError, SessionTicket};
use mcp_oauth_core::transaction::{SignInState, TransactionRefused};

use super::origin::RequestOrigin;
use super::{Endpoints, authorize, callback, consent, cookies, device, form};
use crate::pages::{
    Access, AccountActions, AccountNotice, AccountPage, AccountSignInPage, Moment, Page, Problem, WayOut,
};

/// Where the page is.
pub(super) const PATH: &str = "/account";
/// Where the form goes that signs in.
pub(super) const SIGN_IN: &str = "/account/sign-in";
/// Where the form goes that signs out.
pub(super) const SIGN_OUT: &str = "/account/sign-out";
/// Where the form goes that ends access.
pub(super) const END: &str = "/account/end";
/// Where the form goes that ends all access.
pub(super) const END_ALL: &str = "/account/end-all";

/// Somebody who is signed in, and what their forms have to send along.
pub(super) struct SignedIn {
    pub(super) session: Session,
    csrf: Secret,
}

impl SignedIn {
    /// What their forms have to send along.
    pub(super) fn csrf(&self) -> &str {
        self.csrf.expose()
    }
}

/// Whoever is signed in in this browser.
pub(super) async fn signed_in(endpoints: &Endpoints, headers: &HeaderMap) -> Result<Option<SignedIn>, SessionError> {
    let Some(cookie) = cookies::session(&endpoints.server, headers) else {
        return Ok(None);
    };
    let session = endpoints.server.session(cookie.expose()).await?;
    Ok(session.map(|session| SignedIn {
        session,
        csrf: cookie.derive("csrf of the account page"),
    }))
}

pub(super) async fn show(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let notice = notice(&parameters);
    match signed_in(&endpoints, &headers).await {
        Ok(Some(person)) => overview(&endpoints, &person, notice, origin).await,
        Ok(None) => sign_in_page(&endpoints, notice),
        Err(error) => refuse(&endpoints, &error),
    }
}

/// What was done just now: one of few words, since this page is not for other people's messages.
fn notice(parameters: &Parameters) -> Option<AccountNotice> {
    let done = parameters.get("done").ok().flatten()?;
    AccountNotice::ALL.into_iter().find(|notice| notice.as_str() == done)
}

fn sign_in_page(endpoints: &Endpoints, notice: Option<AccountNotice>) -> Response {
    let providers: Vec<_> = endpoints
        .server
        .identity_providers()
        .map(|provider| (provider.id().to_owned(), provider.display_name().to_owned()))
        .collect();
    let page = AccountSignInPage {
        action: &endpoints.path(SIGN_IN),
        providers: &providers,
        notice,
    };
    endpoints.press.page(StatusCode::OK, &Page::AccountSignIn(page))
}

async fn overview(endpoints: &Endpoints, person: &SignedIn, notice: Option<AccountNotice>, origin: Origin) -> Response {
    let account = endpoints.server.account(&person.session.subject, origin);
    let access = match access(endpoints, &account).await {
        Ok(access) => access,
        Err(error) => return unavailable(endpoints, &error),
    };
    let page = AccountPage {
        actions: AccountActions {
            end: &endpoints.path(END),
            end_all: &endpoints.path(END_ALL),
            sign_out: &endpoints.path(SIGN_OUT),
        },
        csrf: person.csrf(),
        name: person.session.display_name(),
        access: &access,
        notice,
    };
    endpoints.press.page(StatusCode::OK, &Page::Account(page))
}

async fn access(endpoints: &Endpoints, account: &Account) -> Result<Vec<Access>, OperatorError> {
    let mut all = Vec::new();
    for grant in account.grants().await? {
        let identity = account.client_identity(&grant.client_id).await?;
        all.push(Access {
            grant: grant.id.to_string(),
            client_name: grant.client_name.clone().unwrap_or_else(|| grant.client_id.to_string()),
            client_identity: identity,
            resources: resources(endpoints, &grant),
            scopes: scopes(endpoints, &grant),
            since: Moment(grant.approved_at),
            last_used: Moment(grant.last_used_at),
        });
    }
    Ok(all)
}

fn resources(endpoints: &Endpoints, grant: &GrantView) -> Vec<String> {
    let name = |uri: &mcp_oauth_core::resource::ResourceUri| match endpoints.server.resource(uri.as_str()) {
        Some(resource) => resource.display_name().to_owned(),
        None => uri.to_string(),
    };
    grant.resources.iter().map(name).collect()
}

fn scopes(endpoints: &Endpoints, grant: &GrantView) -> Vec<String> {
    let words = |scope: &Scope| {
        if scope.as_str() == Scope::OFFLINE_ACCESS {
            return endpoints.press.texts().consent_scope_offline.to_string();
        }
        let meaning = endpoints.server.scope_meaning(&grant.resources, scope);
        meaning.unwrap_or_else(|| scope.to_string())
    };
    grant.scopes.iter().map(words).collect()
}

/// Off to the identity provider.
pub(super) async fn sign_in(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    request: Request,
) -> Response {
    let server = &endpoints.server;
    let elsewhere = comes_from_elsewhere(&endpoints, request.headers());
    let form = match form::parameters(request).await {
        Ok(form) => form,
        Err(unreadable) => return consent::unreadable(&endpoints, &unreadable),
    };
    if elsewhere {
        return forged(&endpoints);
    }
    let provider = form.get("provider").ok().flatten().unwrap_or_default();
    match server.begin_session(provider, &origin).await {
        Ok(begun) => {
            let mut response = consent::redirect(begun.location.as_str());
            if let Some(cookie) = cookies::set_ticket(server, &begun.id, &begun.ticket) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            response
        }
        Err(error) => refuse(&endpoints, &error),
    }
}

/// Back from the identity provider.
pub(super) async fn finish(
    endpoints: &Endpoints,
    provider: Option<&str>,
    state: &SignInState,
    ticket: &SessionTicket,
    parameters: &Parameters,
    origin: &Origin,
) -> Response {
    let server = &endpoints.server;
    let finished = server.finish_session(provider, state, ticket, parameters, origin).await;
    let mut response = match &finished {
        Ok(_) => to_page(endpoints, None),
        Err(error) => refuse(endpoints, error),
    };
    let session = finished
        .ok()
        .and_then(|(_, cookie)| cookies::set_session(server, &cookie));
    // Whatever came of it, the ticket was used: the provider's answer is good once.
    for cookie in [session, cookies::clear_ticket(server, state.transaction())]
        .into_iter()
        .flatten()
    {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

pub(super) async fn sign_out(State(endpoints): State<Endpoints>, request: Request) -> Response {
    let headers = request.headers().clone();
    let form = match asked(&endpoints, request).await {
        Ok((_, form)) => form,
        Err(response) => return response,
    };
    let mut response = match form.get("transaction") {
        Ok(Some(transaction)) => begin_anew(&endpoints, &headers, transaction).await,
        _ => to_page(&endpoints, Some(AccountNotice::SignedOut)),
    };
    if let Some(cookie) = cookies::clear_session(&endpoints.server) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// Somebody who was on the consent page is not who was signed in: back to it, for whoever they are.
async fn begin_anew(endpoints: &Endpoints, headers: &HeaderMap, transaction: &str) -> Response {
    let Ok(transaction) = transaction.parse() else {
        return consent::refuse(endpoints, &TransactionRefused::Unknown.into());
    };
    let browser = cookies::browser(&endpoints.server, headers, &transaction);
    match endpoints.server.begin_anew(&transaction, browser.as_ref()).await {
        Ok(Some(location)) => consent::redirect(&location),
        Ok(None) => to_page(endpoints, Some(AccountNotice::SignedOut)),
        Err(error) => consent::refuse(endpoints, &error),
    }
}

pub(super) async fn end(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    request: Request,
) -> Response {
    let (person, form) = match asked(&endpoints, request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let Some(grant) = form
        .require("grant")
        .ok()
        .and_then(|grant| grant.parse::<GrantId>().ok())
    else {
        return to_page(&endpoints, Some(AccountNotice::NothingEnded));
    };
    let account = endpoints.server.account(&person.session.subject, origin);
    match account.end_grant(&grant).await {
        Ok(true) => to_page(&endpoints, Some(AccountNotice::Ended)),
        Ok(false) => to_page(&endpoints, Some(AccountNotice::NothingEnded)),
        Err(error) => unavailable(&endpoints, &error),
    }
}

pub(super) async fn end_all(
    State(endpoints): State<Endpoints>,
    RequestOrigin(origin): RequestOrigin,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let (person, _) = match asked(&endpoints, request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let account = endpoints.server.account(&person.session.subject, origin);
    match account.end_all().await {
        Ok(()) => {
            // They are of no use any more; this only keeps the browser tidy.
            let mut response = to_page(&endpoints, Some(AccountNotice::EndedAll));
            for cookie in cookies::forget_all(&endpoints.server, &headers) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            response
        }
        Err(error) => unavailable(&endpoints, &error),
    }
}

/// A form of somebody who is signed in, and that they have sent themselves; or what they get instead.
async fn asked(endpoints: &Endpoints, request: Request) -> Result<(SignedIn, Parameters), Response> {
    let headers = request.headers().clone();
    let form = form::parameters(request).await;
    let form = form.map_err(|unreadable| consent::unreadable(endpoints, &unreadable))?;
    if comes_from_elsewhere(endpoints, &headers) {
        return Err(forged(endpoints));
    }
    let person = signed_in(endpoints, &headers).await;
    let Some(person) = person.map_err(|error| refuse(endpoints, &error))? else {
        return Err(to_page(endpoints, Some(AccountNotice::Expired)));
    };
    let shown = form.get("csrf").ok().flatten().unwrap_or_default();
    if !person.csrf.digest().matches(&Secret::from(shown)) {
        return Err(forged(endpoints));
    }
    Ok((person, form))
}

/// Whether another site has sent the form. Browsers say so by Fetch Metadata, older ones by `Origin`; `null` says nothing,
/// since that is what browsers send for forms of pages that tell no referrer, as these are.
fn comes_from_elsewhere(endpoints: &Endpoints, headers: &HeaderMap) -> bool {
    let own = endpoints.server.issuer().origin();
    let is_other = |origin: &HeaderValue| origin.as_bytes() != b"null" && origin.as_bytes() != own.as_bytes();
    device::comes_from_elsewhere(headers) || headers.get_all(ORIGIN).iter().any(is_other)
}

/// A page of its own, so that loading it again sends no form again.
fn to_page(endpoints: &Endpoints, notice: Option<AccountNotice>) -> Response {
    let mut page = endpoints.server.issuer().endpoint(PATH);
    if let Some(notice) = notice {
        page.query_pairs_mut().append_pair("done", notice.as_str());
    }
    consent::redirect(page.as_str())
}

fn forged(endpoints: &Endpoints) -> Response {
    let texts = endpoints.press.texts();
    let problem = Problem {
        title: texts.error_forged_title.to_string(),
        explanation: texts.error_forged.to_string(),
        code: "access_denied",
    };
    problem_page(endpoints, StatusCode::FORBIDDEN, &problem)
}

/// A page about a problem, with the way back to the account.
fn problem_page(endpoints: &Endpoints, status: StatusCode, problem: &Problem) -> Response {
    let path = endpoints.path(PATH);
    endpoints.press.error(status, problem, WayOut::Account(&path))
}

fn unavailable(endpoints: &Endpoints, error: &OperatorError) -> Response {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "the account page cannot be served"
    );
    busy(endpoints)
}

/// The signing keys cannot be read, or there were too many tries.
fn not_now(endpoints: &Endpoints, error: &OAuthError) -> Response {
    let Some(wait) = error.retry_after() else {
        return busy(endpoints);
    };
    let texts = endpoints.press.texts();
    let minutes = wait.as_secs().div_ceil(60).max(1).to_string();
    let problem = Problem {
        title: texts.error_tries_title.to_string(),
        explanation: texts.error_tries.plainly_with("minutes", &minutes),
        code: error.code().as_str(),
    };
    let mut response = problem_page(endpoints, authorize::status(error), &problem);
    let wait = wait.as_secs().max(1);
    response.headers_mut().insert(RETRY_AFTER, wait.into());
    response
}

fn busy(endpoints: &Endpoints) -> Response {
    let texts = endpoints.press.texts();
    let problem = Problem {
        title: texts.error_busy_title.to_string(),
        explanation: texts.error_busy_account.to_string(),
        code: "temporarily_unavailable",
    };
    let mut response = problem_page(endpoints, StatusCode::SERVICE_UNAVAILABLE, &problem);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn refuse(endpoints: &Endpoints, error: &SessionError) -> Response {
    use mcp_oauth_core::identity::IdentityError;

    let texts = endpoints.press.texts();
    let (status, explanation, code) = match error {
        SessionError::Refused(_) => (
            StatusCode::BAD_REQUEST,
            texts.error_account_sign_in.to_string(),
            "invalid_request",
        ),
        SessionError::Provider {
            error: IdentityError::Denied,
            ..
        } => (
            StatusCode::FORBIDDEN,
            texts.error_account_declined.to_string(),
            "access_denied",
        ),
        SessionError::Provider { provider, error } => callback::failure(texts, provider, error),
        SessionError::Failed(error) => return not_now(endpoints, error),
        _ => return busy(endpoints),
    };
    let problem = Problem {
        title: texts.error_provider_title.to_string(),
        explanation,
        code,
    };
    problem_page(endpoints, status, &problem)
}
