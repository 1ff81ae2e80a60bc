//! The authorization server over HTTP: each file translates one endpoint to the core's types and back.
//!
//! | path (below the issuer) | method | |
//! |---|---|---|
//! | `/authorize` | GET, POST | the consent page |
//! | `/consent` | POST | the person's decision |
//! | `/sign-in` | GET, POST | the choice of an identity provider; only where there are several |
//! | `/callback` | GET | the way back from the identity provider |
//! | `/callback/{provider}` | GET | the same for one that was added to another |
//! | `/success` | GET | shows the code to clients without a redirect URI of their own |
//! | `/device` | GET, POST | the code of a device is entered; only where devices are let in |
//! | `/device/consent` | GET | the consent page of a device; likewise |
//! | `/account` | GET | what a person has let in; unless it is [left out](crate::pages::Pages::without_account) |
//! | `/account/sign-in`, `/sign-out`, `/end`, `/end-all` | POST | its forms; likewise |
//! | `/pages/logo` | GET | the operator's logo; only where [one was handed in](crate::pages::Brand::logo) |
//! | `/device_authorization` | POST | a device asks to be let in; likewise |
//! | `/token` | POST | tokens |
//! | `/revoke` | POST | a client gives a token back |
//! | `/introspect` | POST | a client asks about a token of its own |
//! | `/register` | POST | client registration, where it is open |
//! | `/register/{client_id}` | GET, PUT, DELETE | its management |
//! | `/jwks` | GET | public keys |
//! | `/verify`, and below | any | a proxy asks about a request, see [`forward_auth`](crate::forward_auth); only if it may |
//! | `/development/sign-in` | GET, POST | only with `DevIdentity` |
//!
//! and, at the root, the well-known documents: RFC 8414 and its OpenID alias in every place where clients look, and
//! RFC 9728 for each resource. The paths of the resources themselves are not taken: mount the servers there.

use std::sync::{Arc, Once};

use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use http::{Method, StatusCode};
use mcp_oauth_core::error::{ErrorCode, OAuthError};
use mcp_oauth_core::identity::development::SIGN_IN_PATH;
use mcp_oauth_core::server::AuthorizationServer;

use crate::cors;
use crate::drain::answer_when_sent;
use crate::forward_auth::ForwardAuth;
use crate::pages::{LOGO, Pages, Press};
use crate::proxies::TrustedProxies;

mod account;
mod answer;
mod authorize;
mod callback;
mod consent;
mod cookies;
mod development;
mod device;
mod form;
mod host;
mod metadata;
mod origin;
mod register;
mod sign_in;
mod token;
mod verify;

/// What the handlers share.
#[derive(Clone, Debug)]
struct Endpoints {
    server: AuthorizationServer,
    press: Press,
    /// Whether there is an account page.
    account: bool,
    proxies: TrustedProxies,
    /// Of proxies that are not believed the log says so once.
    unbelieved: Arc<Once>,
}

impl Endpoints {
    /// The path of an endpoint, for forms on pages.
    fn path(&self, endpoint: &str) -> String {
        format!("{}{endpoint}", self.server.issuer().path())
    }
}

/// All endpoints of an authorization server, to be merged into an application at its root.
///
/// ```
/// use mcp_oauth_tower::AuthorizationServer;
///
/// fn application(auth: &AuthorizationServer, mcp: axum::Router) -> axum::Router {
///     mcp.merge(mcp_oauth_tower::router(auth))
/// }
/// ```
pub fn router(server: &AuthorizationServer) -> Router {
    Routes::new(server).into_router()
}

/// The endpoints, with what there is to say about how they are served.
///
/// ```
/// use mcp_oauth_tower::proxies::InvalidProxy;
/// use mcp_oauth_tower::{AuthorizationServer, Routes};
///
/// fn behind_a_proxy(auth: &AuthorizationServer) -> Result<axum::Router, InvalidProxy> {
///     Ok(Routes::new(auth).behind("10.0.0.0/8".parse()?).into_router())
/// }
/// ```
#[must_use]
#[derive(Clone, Debug)]
pub struct Routes {
    server: AuthorizationServer,
    proxies: TrustedProxies,
    forward_auth: Option<ForwardAuth>,
    pages: Pages,
}

impl Routes {
    /// The endpoints of `server`, served to everybody directly.
    pub fn new(server: &AuthorizationServer) -> Self {
        Self {
            server: server.clone(),
            proxies: TrustedProxies::default(),
            forward_auth: None,
            pages: Pages::default(),
        }
    }

    /// Served by these proxies, whose word on where requests come from is taken.
    pub fn behind(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Lets the proxies ask about each request to a server that they serve. See [`ForwardAuth`].
    pub fn forward_auth(mut self, forward_auth: ForwardAuth) -> Self {
        self.forward_auth = Some(forward_auth);
        self
    }

    /// How the pages look that people see, and which there are. See [`pages`](crate::pages).
    pub fn pages(mut self, pages: Pages) -> Self {
        self.pages = pages;
        self
    }

    /// The router, to be merged into an application at its root.
    pub fn into_router(self) -> Router {
        let account = self.pages.has_account();
        let endpoints = Endpoints {
            press: Press::new(
                self.pages,
                self.server.issuer(),
                self.server.development_users().is_some(),
            ),
            account,
            server: self.server,
            proxies: self.proxies,
            unbelieved: Arc::new(Once::new()),
        };
        routes(endpoints, self.forward_auth)
    }
}

fn routes(endpoints: Endpoints, forward_auth: Option<ForwardAuth>) -> Router {
    let server = endpoints.server.clone();
    let path = |endpoint: &str| endpoints.path(endpoint);

    let mut pages = Router::new()
        .route(&path("/authorize"), get(authorize::show).post(authorize::show_form))
        .route(&path("/consent"), post(consent::decide))
        .route(&path("/callback"), get(callback::finish))
        .route(&path("/success"), get(callback::show_code));
    if server.identity_providers().nth(1).is_some() {
        pages = pages
            .route(&path("/callback/{provider}"), get(callback::finish_from))
            .route(&path(sign_in::PATH), get(sign_in::show).post(sign_in::choose));
    }
    if server.lets_devices_in() {
        pages = pages
            .route(&path("/device"), get(device::show).post(device::enter))
            .route(&path(device::CONSENT), get(device::show_consent));
    }
    if endpoints.account {
        pages = pages
            .route(&path(account::PATH), get(account::show))
            .route(&path(account::SIGN_IN), post(account::sign_in))
            .route(&path(account::SIGN_OUT), post(account::sign_out))
            .route(&path(account::END), post(account::end))
            .route(&path(account::END_ALL), post(account::end_all));
    }
    if endpoints.press.logo().is_some() {
        pages = pages.route(&path(LOGO), get(logo));
    }
    // Whatever a provider says of itself: made-up people are for one's own machine.
    if endpoints.press.development() && server.issuer().is_loopback() {
        pages = pages
            .route(&path(SIGN_IN_PATH), get(development::show).post(development::choose))
            .route_layer(middleware::from_fn_with_state(endpoints.clone(), host::only_loopback));
    }
    let registration = if server.registers_clients() {
        post(register::register)
    } else {
        any(register::closed)
    };
    let mut for_clients = Router::new();
    if server.lets_devices_in() {
        for_clients = for_clients.route(&path("/device_authorization"), post(device::authorize));
    }
    let for_clients = for_clients
        .route(&path("/token"), post(token::issue))
        .route(&path("/revoke"), post(token::revoke))
        .route(&path("/introspect"), post(token::introspect))
        .route(&path("/register"), registration)
        .route(
            &path("/register/{client_id}"),
            get(register::read).put(register::replace).delete(register::delete),
        )
        .route(&path("/jwks"), get(metadata::jwks))
        .merge(metadata::well_known(&server))
        // Before the layer, which has to see preflights first: they come with a method that no endpoint has.
        .method_not_allowed_fallback(wrong_method)
        // On the routes alone: a layered fallback would put these headers on every 404 of the whole application.
        .route_layer(cors::endpoint());

    let mut all = pages
        .method_not_allowed_fallback(wrong_method)
        .merge(for_clients)
        .route_layer(middleware::from_fn(answer_when_sent));
    if let Some(forward_auth) = forward_auth {
        all = all.merge(verify::routes(&endpoints, forward_auth));
    }
    all.with_state(endpoints)
}

/// The operator's logo, where it was handed in.
async fn logo(State(endpoints): State<Endpoints>) -> Response {
    endpoints
        .press
        .logo()
        .unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

async fn wrong_method(method: Method) -> Response {
    let error = OAuthError::new(
        ErrorCode::InvalidRequest,
        format!("this endpoint does not answer {method}, use a method that Allow names"),
    );
    answer::error_with_status(StatusCode::METHOD_NOT_ALLOWED, &error)
}
