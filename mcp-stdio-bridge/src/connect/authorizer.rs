//! Gets tokens, keeps them, and renews them: for one server, one at a time, in all processes of this user.
//!
//! Whoever needs a new token waits for whoever is getting one, in this process by a mutex and between processes by a
//! lock, and then looks what there is before asking for more. A refresh token is used once, its successor kept before
//! anything is done with it. What one authorization server gave is never shown to another: everything is kept under its
//! issuer, and what was configured by hand goes to one issuer alone.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, OnceCell};
use url::Url;

use super::address::{Reach, bounded};
use super::authorization::{self, Pending};
use super::callback::{Callback, port_of};
use super::challenge::Challenge;
use super::client::{Authentication, Client, ClientCredentials, SigningKey};
use super::device;
use super::discovery::{AuthorizationServer, Discovered, canonical, discover};
use super::fetch::Fetcher;
use super::person::Person;
use super::registration::{self, RegistrationError, Wanted};
use super::secret::Secret;
use super::storage::{self, Storage};
use super::tokens::{TokenRequest, Tokens, has_all, request, seconds, union};

mod error;
mod grant;
mod kept;
mod management;

pub use self::error::AuthorizationError;
pub use self::grant::{Enterprise, Grant};
use self::grant::{read_secret, vouched};
use self::kept::{Held, client_key};
pub(crate) use self::management::Management;
pub use self::management::Status;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The errors that say that a refresh token is no good, and will not be later either.
const REFUSALS: [&str; 6] = [
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// What an [`Authorizer`] goes by.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) grant: Grant,
    pub(crate) client: Option<ClientCredentials>,
    pub(crate) client_metadata_url: Option<Url>,
    /// The key for a client that a metadata document describes.
    pub(crate) client_key: Option<SigningKey>,
    pub(crate) client_name: String,
    pub(crate) issuer: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) callback_port: Option<u16>,
    pub(crate) sign_in_timeout: Duration,
    pub(crate) access_token: Option<Secret>,
}

/// What is allowed while a token is renewed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// A person may be asked to sign in.
    pub(crate) sign_in: bool,
    /// The refresh token may be used: it has not been for this request.
    pub(crate) refresh: bool,
}

/// Gets and renews tokens for one server.
pub(crate) struct Authorizer {
    server: Url,
    resource: String,
    settings: Settings,
    storage: Arc<dyn Storage>,
    person: Arc<dyn Person>,
    fetcher: OnceCell<Fetcher>,
    current: Mutex<Option<Held>>,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer")
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

impl Authorizer {
    pub(crate) fn new(server: Url, settings: Settings, storage: Arc<dyn Storage>, person: Arc<dyn Person>) -> Self {
        Self {
            resource: canonical(&server),
            server,
            settings,
            storage,
            person,
            fetcher: OnceCell::new(),
            current: Mutex::new(None),
        }
    }

    async fn fetcher(&self) -> Result<&Fetcher, AuthorizationError> {
        let make = async || Fetcher::new(Reach::of(&self.server).await);
        Ok(self.fetcher.get_or_try_init(make).await?)
    }

    /// The token to send, if there is one. One that is about to end is renewed first, if that needs nobody.
    pub(crate) async fn token(&self) -> Result<Option<Secret>, AuthorizationError> {
        if let Some(token) = &self.settings.access_token {
            return Ok(Some(token.clone()));
        }
        let mut current = self.current.lock().await;
        if current.is_none() {
            *current = self.kept()?;
        }
        let Some(held) = &*current else { return Ok(None) };
        if !held.tokens.is_stale(SystemTime::now()) || held.tokens.refresh_token.is_none() {
            return Ok(Some(held.access_token().clone()));
        }
        let stale = held.access_token().clone();
        let allowed = Allowed {
            sign_in: false,
            refresh: true,
        };
        match self
            .renew_locked(&mut current, Some(&stale), &Challenge::default(), allowed)
            .await
        {
            Ok(token) => Ok(Some(token)),
            Err(error) => {
                // The server will say what it wants; it may know better.
                tracing::debug!(%error, "the token could not be renewed before it ends");
                Ok(Some(stale))
            }
        }
    }

    /// A token other than the one that was refused.
    pub(crate) async fn renew(
        &self,
        refused: Option<&Secret>,
        challenge: &Challenge,
        allowed: Allowed,
    ) -> Result<Secret, AuthorizationError> {
        if self.settings.access_token.is_some() {
            return Err(AuthorizationError::TokenRefused);
        }
        let mut current = self.current.lock().await;
        self.renew_locked(&mut current, refused, challenge, allowed).await
    }

    async fn renew_locked(
        &self,
        current: &mut Option<Held>,
        refused: Option<&Secret>,
        challenge: &Challenge,
        allowed: Allowed,
    ) -> Result<Secret, AuthorizationError> {
        // Somebody else may have done it while this one waited.
        let other = |held: &Held| refused.is_none_or(|refused| held.access_token() != refused);
        if let Some(held) = current.as_ref().filter(|held| other(held)) {
            return Ok(held.access_token().clone());
        }
        let _lock = storage::lock(&*self.storage, &self.note_key()).await?;
        let kept = self.kept()?;
        if let Some(held) = kept.filter(|held| other(held) && !held.tokens.is_stale(SystemTime::now())) {
            return Ok(current.insert(held).access_token().clone());
        }
        let fetcher = self.fetcher().await?;
        let discovered = discover(fetcher, &self.server, challenge).await?;
        self.check_configured(&discovered.server)?;
        let before = self.tokens_of(&discovered.server.issuer)?;
        if let Some(tokens) = before.filter(|_| allowed.refresh)
            && let Some(held) = self.refresh(fetcher, &discovered, tokens).await?
        {
            return Ok(current.insert(held).access_token().clone());
        }
        if self.settings.grant.needs_person() && !allowed.sign_in {
            return Err(AuthorizationError::SignInNeeded);
        }
        let scope = authorization::scope(challenge, &discovered, self.settings.scope.as_deref());
        let held = self.obtain(fetcher, &discovered, scope).await?;
        Ok(current.insert(held).access_token().clone())
    }

    /// A token for more than the one that was not enough: all that it was for, and what is asked for now.
    pub(crate) async fn step_up(&self, used: &Secret, challenge: &Challenge) -> Result<Secret, AuthorizationError> {
        if self.settings.access_token.is_some() {
            return Err(AuthorizationError::TokenRefused);
        }
        let mut current = self.current.lock().await;
        let other = |held: &Held| held.access_token() != used;
        if let Some(held) = current.as_ref().filter(|held| other(held)) {
            return Ok(held.access_token().clone());
        }
        let _lock = storage::lock(&*self.storage, &self.note_key()).await?;
        if let Some(held) = self.kept()?.filter(other) {
            return Ok(current.insert(held).access_token().clone());
        }
        let granted = current.as_ref().and_then(|held| held.tokens.scope.clone());
        let wanted = challenge.scope.as_deref();
        if has_all(granted.as_deref(), wanted) {
            return Err(AuthorizationError::ScopeNotEnough(bounded(wanted.unwrap_or_default())));
        }
        let fetcher = self.fetcher().await?;
        let discovered = discover(fetcher, &self.server, challenge).await?;
        self.check_configured(&discovered.server)?;
        let asked = authorization::scope(challenge, &discovered, None);
        let scope = union(granted.as_deref(), asked.as_deref());
        let held = self.obtain(fetcher, &discovered, scope).await?;
        Ok(current.insert(held).access_token().clone())
    }

    /// What was configured by hand is for one authorization server: the one that was named with it, or the first that
    /// this server named.
    fn check_configured(&self, server: &AuthorizationServer) -> Result<(), AuthorizationError> {
        let other = |expected: String| AuthorizationError::OtherIssuer {
            found: bounded(&server.issuer),
            expected,
        };
        if let Some(issuer) = &self.settings.issuer {
            return (*issuer == server.issuer)
                .then_some(())
                .ok_or_else(|| other(issuer.clone()));
        }
        let configured = self.settings.client.is_some()
            || matches!(self.settings.grant, Grant::Assertion { .. } | Grant::Enterprise(_));
        match self.note()?.filter(|note| configured && *note != server.issuer) {
            Some(note) => Err(other(note)),
            None => Ok(()),
        }
    }

    /// Uses the refresh token. `None` where there is none, or it is used up.
    async fn refresh(
        &self,
        fetcher: &Fetcher,
        discovered: &Discovered,
        tokens: Tokens,
    ) -> Result<Option<Held>, AuthorizationError> {
        let server = &discovered.server;
        let Some(refresh_token) = tokens.refresh_token.clone() else {
            return Ok(None);
        };
        let Some(client) = self
            .known_client(server)?
            .filter(|client| client.client_id == tokens.client_id)
        else {
            return Ok(None);
        };
        let fields = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
            ("resource", tokens.resource.as_str()),
        ];
        let asked = TokenRequest {
            fields,
            scope: tokens.scope.as_deref(),
            resource: &tokens.resource,
        };
        match request(fetcher, server, &client, asked, SystemTime::now()).await {
            Ok(mut renewed) => {
                renewed.refresh_token = renewed.refresh_token.or(Some(refresh_token));
                self.keep(&server.issuer, renewed).map(Some)
            }
            Err(error) if error.is("invalid_client") => {
                tracing::info!("the authorization server does not know this client any more");
                self.forget_tokens(&server.issuer)?;
                self.storage.remove(&client_key(&server.issuer))?;
                Ok(None)
            }
            Err(error) if REFUSALS.iter().any(|code| error.is(code)) => {
                tracing::info!(%error, "the refresh token is not taken any more");
                self.forget_tokens(&server.issuer)?;
                Ok(None)
            }
            // No answer, or one that asks for patience, is no refusal: what is kept may still be good.
            Err(error) => Err(error.into()),
        }
    }

    /// Asks for a token anew.
    async fn obtain(
        &self,
        fetcher: &Fetcher,
        discovered: &Discovered,
        scope: Option<String>,
    ) -> Result<Held, AuthorizationError> {
        let issuer = &discovered.server.issuer;
        let tokens = match &self.settings.grant {
            Grant::Browser => {
                let signing_in = self.by_browser(fetcher, discovered, scope.as_deref());
                let in_time = tokio::time::timeout(self.settings.sign_in_timeout, signing_in).await;
                in_time.map_err(|_| AuthorizationError::TimedOut)??
            }
            Grant::Device => {
                let client = self
                    .client(fetcher, &discovered.server, "http://127.0.0.1/callback")
                    .await?;
                device::authorize(fetcher, discovered, &client, scope.as_deref(), &*self.person).await?
            }
            Grant::ClientCredentials => {
                let fields = vec![("grant_type", "client_credentials")];
                self.by_form(fetcher, discovered, fields, scope.as_deref()).await?
            }
            Grant::Assertion { file } => {
                let assertion = read_secret(file)?;
                let fields = vec![("grant_type", JWT_BEARER), ("assertion", assertion.expose())];
                self.by_form(fetcher, discovered, fields, scope.as_deref()).await?
            }
            Grant::Enterprise(enterprise) => {
                let assertion = vouched(fetcher, enterprise, discovered, scope.as_deref()).await?;
                let fields = vec![("grant_type", JWT_BEARER), ("assertion", assertion.expose())];
                self.by_form(fetcher, discovered, fields, scope.as_deref()).await?
            }
        };
        self.keep(issuer, tokens)
    }

    async fn by_form(
        &self,
        fetcher: &Fetcher,
        discovered: &Discovered,
        mut fields: Vec<(&str, &str)>,
        scope: Option<&str>,
    ) -> Result<Tokens, AuthorizationError> {
        let server = &discovered.server;
        let client = self.configured_client(server);
        let client = client.ok_or_else(|| AuthorizationError::NoRegistration(server.issuer.clone()))?;
        fields.push(("resource", &discovered.resource));
        fields.extend(scope.map(|scope| ("scope", scope)));
        let asked = TokenRequest {
            fields,
            scope,
            resource: &discovered.resource,
        };
        Ok(request(fetcher, server, &client, asked, SystemTime::now()).await?)
    }

    async fn by_browser(
        &self,
        fetcher: &Fetcher,
        discovered: &Discovered,
        scope: Option<&str>,
    ) -> Result<Tokens, AuthorizationError> {
        let server = &discovered.server;
        let endpoint = server
            .authorization_endpoint
            .as_ref()
            .ok_or_else(|| AuthorizationError::NoEndpoint("authorization_endpoint", server.issuer.clone()))?;
        if !server.has_pkce {
            return Err(AuthorizationError::NoPkce(server.issuer.clone()));
        }
        let before = self.known_client(server)?;
        let before = before.and_then(|client| port_of(&client.registration?.redirect_uri));
        let callback = Callback::bind(self.settings.callback_port, before)
            .await
            .map_err(AuthorizationError::Callback)?;
        let redirect_uri = callback.redirect_uri();
        let client = self.client(fetcher, server, &redirect_uri).await?;
        let pending = Arc::new(Pending::new()?);
        let url = pending.url(endpoint, &client.client_id, &redirect_uri, scope, &discovered.resource);
        let arriving = callback.receive(Arc::clone(&pending));
        let visiting = self.person.visit(&url);
        tokio::pin!(arriving, visiting);
        let returned = tokio::select! {
            // Some browsers are not done before they are closed, which nobody waits for.
            returned = &mut arriving => returned,
            () = &mut visiting => arriving.await,
        };
        let returned = returned.map_err(AuthorizationError::Callback)?;
        authorization::check_issuer(server, returned.iss.as_deref())?;
        if let Some(error) = returned.error {
            let description = returned.error_description.unwrap_or_default();
            return Err(AuthorizationError::Denied(bounded(
                format!("{error} {description}").trim(),
            )));
        }
        let Some(code) = returned.code else {
            return Err(AuthorizationError::Denied(
                "neither a code nor an error came back".to_owned(),
            ));
        };
        let fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", &redirect_uri),
            ("code_verifier", pending.verifier.expose()),
            ("resource", &discovered.resource),
        ];
        let asked = TokenRequest {
            fields,
            scope,
            resource: &discovered.resource,
        };
        let tokens = request(fetcher, server, &client, asked, SystemTime::now()).await;
        if tokens.as_ref().is_err_and(|error| error.is("invalid_client")) {
            // The next sign-in begins with a registration.
            self.storage.remove(&client_key(&server.issuer))?;
        }
        Ok(tokens?)
    }

    /// Who this program is there, without asking: by a document of its own, by hand, or as it registered before.
    fn known_client(&self, server: &AuthorizationServer) -> Result<Option<Client>, AuthorizationError> {
        if let Some(client) = self.configured_client(server) {
            return Ok(Some(client));
        }
        let client: Option<Client> = storage::read(&*self.storage, &client_key(&server.issuer))?;
        let now = seconds(SystemTime::now());
        Ok(client.filter(|client| {
            let end = client.registration.as_ref().and_then(|known| known.secret_expires_at);
            end.is_none_or(|end| end > now)
        }))
    }

    fn configured_client(&self, server: &AuthorizationServer) -> Option<Client> {
        if let Some(url) = &self.settings.client_metadata_url
            && server.takes_metadata_documents
        {
            let key = self.settings.client_key.clone();
            return Some(Client {
                client_id: url.to_string(),
                authentication: key.map_or(Authentication::None, Authentication::PrivateKeyJwt),
                registration: None,
            });
        }
        let credentials = self.settings.client.as_ref()?;
        Some(Client::configured(credentials, server.auth_methods.as_deref()))
    }

    /// Who this program is there; if nobody yet, it registers.
    async fn client(
        &self,
        fetcher: &Fetcher,
        server: &AuthorizationServer,
        redirect_uri: &str,
    ) -> Result<Client, AuthorizationError> {
        let key = client_key(&server.issuer);
        // Two servers may have one authorization server.
        let _lock = storage::lock(&*self.storage, &key).await?;
        if let Some(mut known) = self.known_client(server)? {
            // One that the authorization server has forgotten would end on an error page, and nobody would come back.
            if let Err(RegistrationError::Gone) = registration::show(fetcher, &server.issuer, &mut known).await {
                tracing::info!("the authorization server does not know this client any more; it registers again");
            } else {
                if known.registration.is_some() {
                    storage::write(&*self.storage, &key, &known)?;
                }
                return Ok(known);
            }
        }
        let Some(endpoint) = &server.registration_endpoint else {
            return Err(AuthorizationError::NoRegistration(server.issuer.clone()));
        };
        let wanted = Wanted {
            client_name: &self.settings.client_name,
            redirect_uri,
            device: server.device_authorization_endpoint.is_some(),
        };
        let client = registration::register(fetcher, server, endpoint, &wanted).await?;
        storage::write(&*self.storage, &key, &client)?;
        Ok(client)
    }
}
