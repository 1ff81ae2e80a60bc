//! A place where people sign in, on a site of its own: it asks who they are once, and from then on lets them pass, as those do
//! that people are signed in to all day.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, StatusCode, Uri};
use mcp_oauth_core::identity::{Identity, IdentityError, IdentityProvider, SignIn, SignInReturn, Standing};
use url::Url;

use crate::web::{Place, Visits};

/// What its page says.
pub(crate) const WHO: &str = "Who are you?";

/// The provider. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    id: String,
    name: String,
    pub(crate) url: String,
    pub(crate) visits: Visits,
    away: Arc<AtomicBool>,
}

impl Provider {
    /// One with this name, whose site is `<id>.example`.
    pub(crate) async fn start(id: &str, name: &str) -> Self {
        let place = Place::on_the_web(&format!("{id}.example")).await;
        let provider = Self {
            id: id.to_owned(),
            name: name.to_owned(),
            url: place.url.clone(),
            visits: Visits::default(),
            away: Arc::default(),
        };
        let routes = Router::new().route("/authorize", get(ask).post(answer));
        place.serve(provider.visits.of(routes));
        provider
    }

    /// Whether it does not say who people are, because it is away.
    pub(crate) fn is_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }
}

fn parameter(form: &[u8], name: &str) -> String {
    let mut parameters = url::form_urlencoded::parse(form);
    let found = parameters.find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Back to where somebody came from.
fn back(redirect_uri: &str, state: &str, person: &str) -> Response {
    let mut location: Url = redirect_uri.parse().unwrap();
    let outcome = match person {
        "" => ("error", "access_denied"),
        person => ("code", person),
    };
    location
        .query_pairs_mut()
        .append_pair("state", state)
        .append_pair(outcome.0, outcome.1);
    (StatusCode::SEE_OTHER, [(LOCATION, location.to_string())]).into_response()
}

async fn ask(uri: Uri, headers: HeaderMap) -> Response {
    let query = uri.query().unwrap_or_default().as_bytes();
    let (state, redirect_uri) = (parameter(query, "state"), parameter(query, "redirect_uri"));
    let session = headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok());
    if let Some(person) = session.and_then(|cookie| cookie.strip_prefix("session=")) {
        return back(&redirect_uri, &state, person);
    }
    let page = format!(
        "<!doctype html><html lang=en><title>{WHO}</title><h1>{WHO}</h1><form method=post>\
         <input type=hidden name=state value={state}><input type=hidden name=redirect_uri value={redirect_uri}>\
         <button name=person value=ada>Ada</button><button name=person value=grace>Grace</button>\
         <button name=person value=''>Nobody</button></form>"
    );
    Html(page).into_response()
}

async fn answer(form: Bytes) -> Response {
    let person = parameter(&form, "person");
    let mut response = back(&parameter(&form, "redirect_uri"), &parameter(&form, "state"), &person);
    if !person.is_empty() {
        let session = format!("session={person}; Secure; HttpOnly; SameSite=Lax; Path=/");
        response.headers_mut().insert(SET_COOKIE, session.parse().unwrap());
    }
    response
}

#[async_trait]
impl IdentityProvider for Provider {
    fn id(&self) -> &str {
        &self.id
    }

    fn display_name(&self) -> &str {
        &self.name
    }

    async fn sign_in_url(&self, sign_in: &SignIn<'_>) -> Result<Url, IdentityError> {
        let mut url: Url = format!("{}/authorize", self.url).parse().unwrap();
        url.query_pairs_mut()
            .append_pair("state", sign_in.state.expose())
            .append_pair("redirect_uri", sign_in.callback.as_str());
        Ok(url)
    }

    async fn identify(&self, returned: &SignInReturn<'_>) -> Result<Identity, IdentityError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(IdentityError::Unavailable {
                retry_after: None,
                source: None,
            });
        }
        match returned.parameters.get("code").ok().flatten() {
            Some(person) => Ok(Identity::new(self.id.as_str(), person).with_login(person)),
            None => Err(IdentityError::Denied),
        }
    }

    async fn standing(&self, _: &Identity) -> Result<Standing, IdentityError> {
        Ok(Standing::Unchanged)
    }
}
