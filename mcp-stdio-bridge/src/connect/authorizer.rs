//! Gets tokens, keeps them, and renews them: for one server, one at a time, in all processes of this user.
//!
//! Whoever needs a new token waits for whoever is getting one, in this process by a mutex and between processes by a
//! lock, and then looks what there is before asking for more. A refresh token is used once, its successor kept before
//! anything is done with it. What one authorization server gave is never shown to another: everything is kept under its
//! issuer, and what was configured by hand goes to one issuer alone.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use super::address::{Reach, bounded};
use super::authorization::{self, IssuerError, Pending, RandomError};
use super::callback::{Callback, port_of};
use super::challenge::Challenge;
use super::client::{Authentication, Client, ClientCredentials, SigningKey};
use super::discovery::{AuthorizationServer, Discovered, DiscoveryError, canonical, discover};
use super::fetch::{FetchError, Fetcher};
use super::person::Person;
use super::registration::{self, RegistrationError, Wanted};
use super::secret::Secret;
use super::storage::{self, Key, Storage, StorageError};
use super::tokens::{TokenError, TokenRequest, Tokens, has_all, request, seconds, union};
use super::{device, tokens};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
/// The errors that say that a refresh token is no good, and will not be later either.
const REFUSALS: [&str; 6] = [
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
];
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizationError {
    /// It is not known who gives tokens for the server.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// A request came to nothing.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Credentials could not be read or kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The authorization server gave no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The authorization server did not register this program.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The answer that the browser brought is not the authorization server's.
    #[error("the sign-in is not used: {0}")]
    Issuer(#[from] IssuerError),
    /// The system has no random numbers.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Nothing could listen for the browser.
    #[error("nothing can listen for the browser to come back: {0}")]
    Callback(io::Error),
    /// The HTTP client could not be made.
    #[error("no HTTP client could be made: {0}")]
    Http(#[from] reqwest::Error),
    /// A file with an assertion could not be read.
    #[error("{}: {error}", path.display())]
    Assertion {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The sign-in ended with an error.
    #[error("the sign-in was refused: {0}")]
    Denied(String),
    /// Nobody signed in.
    #[error("nobody signed in in time")]
    TimedOut,
    /// The authorization server does not say that it has PKCE with S256, without which a code can be stolen.
    #[error("the authorization server {0} does not offer PKCE with S256; it is not safe to sign in there")]
    NoPkce(String),
    /// The authorization server lacks an endpoint.
    #[error("the authorization server {1} has no {0}")]
    NoEndpoint(&'static str, String),
    /// There is no way to become a client.
    #[error(
        "the authorization server {0} registers nobody by itself: get a client id from whoever runs it, and name it"
    )]
    NoRegistration(String),
    /// What was configured is for another authorization server.
    #[error("the server names {found} as its authorization server; the client that was configured is for {expected}")]
    OtherIssuer {
        /// Whom the server names.
        found: String,
        /// Whom the client is for.
        expected: String,
    },
    /// The token that was given is not taken, and cannot be renewed.
    #[error("the server refuses the access token that was given")]
    TokenRefused,
    /// The server refuses a token although it was granted all that the server asks for.
    #[error("the server asks for the scope `{0}`, and refuses a token that has it")]
    ScopeNotEnough(String),
    /// Somebody has to sign in, and nobody can be asked now.
    #[error("somebody has to sign in first")]
    SignInNeeded,
}

/// How a token is asked for.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Grant {
    /// A person signs in, in a browser on this machine.
    #[default]
    Browser,
    /// A person signs in on some other device.
    Device,
    /// The program itself is who is let in (extension OAuth client credentials).
    ClientCredentials,
    /// Somebody else vouches for the program: an assertion is exchanged for a token (RFC 7523 §2.1).
    Assertion {
        /// The file that the assertion is in. It is read each time, since those who write it renew it.
        file: PathBuf,
    },
    /// The identity provider of the enterprise vouches for the person (extension enterprise-managed authorization).
    Enterprise(Enterprise),
}

/// The identity provider of an enterprise, and who signed in there.
#[derive(Debug, Clone)]
pub struct Enterprise {
    /// Where it gives tokens.
    pub token_endpoint: Url,
    /// This program, as the identity provider knows it.
    pub client: ClientCredentials,
    /// The file that the person's ID token is in. It is read each time.
    pub id_token_file: PathBuf,
}

impl Grant {
    fn needs_person(&self) -> bool {
        matches!(self, Self::Browser | Self::Device)
    }
}

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

/// A token in use, and who gave it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    issuer: String,
    tokens: Tokens,
}

impl Held {
    pub(crate) fn access_token(&self) -> &Secret {
        &self.tokens.access_token
    }
}

/// What is allowed while a token is renewed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// A person may be asked to sign in.
    pub(crate) sign_in: bool,
    /// The refresh token may be used: it has not been for this request.
    pub(crate) refresh: bool,
}

/// What is known of the tokens for a server.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The server.
    pub server: String,
    /// Who gave the token.
    pub issuer: Option<String>,
    /// The client that it was given to.
    pub client_id: Option<String>,
    /// What it allows.
    pub scope: Option<String>,
    /// When it ends, in seconds since 1970.
    pub expires_at: Option<u64>,
    /// In how many seconds that is; 0 if it has ended.
    pub expires_in: Option<u64>,
    /// Whether it can be renewed without anybody signing in.
    pub refreshable: bool,
}

/// The note of who gave the token of a resource.
#[derive(Serialize, Deserialize)]
struct Note {
    given_by: String,
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

    /// Keeps tokens; only then they are used.
    fn keep(&self, issuer: &str, tokens: Tokens) -> Result<Held, AuthorizationError> {
        storage::write(&*self.storage, &self.tokens_key(issuer), &tokens)?;
        let note = Note {
            given_by: issuer.to_owned(),
        };
        storage::write(&*self.storage, &self.note_key(), &note)?;
        Ok(Held {
            issuer: issuer.to_owned(),
            tokens,
        })
    }

    fn note(&self) -> Result<Option<String>, StorageError> {
        let note: Option<Note> = storage::read(&*self.storage, &self.note_key())?;
        Ok(note.map(|note| note.given_by))
    }

    /// What was kept last.
    fn kept(&self) -> Result<Option<Held>, StorageError> {
        let Some(issuer) = self.note()? else { return Ok(None) };
        let tokens = self.tokens_of(&issuer)?;
        // What was given to another client than the one that is configured now is not this one's to use.
        let configured = self
            .settings
            .client
            .as_ref()
            .filter(|_| self.settings.client_metadata_url.is_none());
        let tokens = tokens.filter(|tokens| configured.is_none_or(|client| client.id == tokens.client_id));
        Ok(tokens.map(|tokens| Held { issuer, tokens }))
    }

    fn tokens_of(&self, issuer: &str) -> Result<Option<Tokens>, StorageError> {
        storage::read(&*self.storage, &self.tokens_key(issuer))
    }

    fn forget_tokens(&self, issuer: &str) -> Result<(), StorageError> {
        self.storage.remove(&self.tokens_key(issuer))
    }

    fn note_key(&self) -> Key {
        Key::Issuer {
            resource: self.resource.clone(),
        }
    }

    fn tokens_key(&self, issuer: &str) -> Key {
        Key::Tokens {
            issuer: issuer.to_owned(),
            resource: self.resource.clone(),
        }
    }

    /// What is known of the tokens.
    pub(crate) async fn status(&self) -> Result<Status, AuthorizationError> {
        let mut current = self.current.lock().await;
        if current.is_none() {
            *current = self.kept()?;
        }
        let now = seconds(SystemTime::now());
        let tokens = current.as_ref().map(|held| &held.tokens);
        let expires_at = tokens.and_then(|tokens| tokens.expires_at);
        Ok(Status {
            server: self.resource.clone(),
            issuer: current.as_ref().map(|held| held.issuer.clone()),
            client_id: tokens.map(|tokens| tokens.client_id.clone()),
            scope: tokens.and_then(|tokens| tokens.scope.clone()),
            expires_at,
            expires_in: expires_at.map(|end| end.saturating_sub(now)),
            refreshable: tokens.is_some_and(|tokens| tokens.refresh_token.is_some()),
        })
    }

    /// Gives the tokens back (RFC 7009), and forgets them. The registration stays.
    pub(crate) async fn log_out(&self) -> Result<bool, AuthorizationError> {
        let mut current = self.current.lock().await;
        let _lock = storage::lock(&*self.storage, &self.note_key()).await?;
        let Some(held) = self.kept()? else {
            *current = None;
            return Ok(false);
        };
        if let Err(error) = self.revoke(&held).await {
            tracing::warn!(%error, "the authorization server could not be told; the tokens are forgotten here all the same");
        }
        self.forget_tokens(&held.issuer)?;
        self.storage.remove(&self.note_key())?;
        *current = None;
        Ok(true)
    }

    async fn revoke(&self, held: &Held) -> Result<(), AuthorizationError> {
        let fetcher = self.fetcher().await?;
        let server = super::discovery::authorization_server(fetcher, &held.issuer).await?;
        let (Some(endpoint), Some(client)) = (&server.revocation_endpoint, self.known_client(&server)?) else {
            return Ok(());
        };
        let refresh = held.tokens.refresh_token.as_ref().map(|token| (token, "refresh_token"));
        for (token, kind) in refresh.into_iter().chain([(held.access_token(), "access_token")]) {
            let who = client
                .identify(&server.issuer, SystemTime::now())
                .ok_or(TokenError::Signing)?;
            let mut fields = vec![("token", token.expose()), ("token_type_hint", kind)];
            fields.extend(who.fields.iter().map(|(name, value)| (*name, value.expose())));
            let mut request = fetcher.form(endpoint, &fields);
            if let Some(value) = &who.header {
                request = request.header(http::header::AUTHORIZATION, tokens::sensitive(value.expose()));
            }
            let answer = fetcher.send(request).await?;
            if !answer.status.is_success() {
                let code = format!("status {}", answer.status.as_u16());
                return Err(TokenError::Refused {
                    code,
                    description: None,
                }
                .into());
            }
        }
        Ok(())
    }

    /// Reads, changes or ends this program's own registration with the authorization server of this server.
    pub(crate) async fn manage(&self, what: Management) -> Result<Map<String, Value>, AuthorizationError> {
        let issuer = match self.settings.issuer.clone() {
            Some(issuer) => issuer,
            None => self.note()?.ok_or(RegistrationError::NotManaged)?,
        };
        let key = client_key(&issuer);
        let mut current = self.current.lock().await;
        let _lock = storage::lock(&*self.storage, &key).await?;
        let client: Option<Client> = storage::read(&*self.storage, &key)?;
        let mut client = client.ok_or(RegistrationError::NotManaged)?;
        let fetcher = self.fetcher().await?;
        let metadata = match what {
            Management::Show => registration::show(fetcher, &issuer, &mut client).await?,
            Management::Update(changes) => registration::update(fetcher, &issuer, &mut client, changes).await?,
            Management::Delete => {
                registration::delete(fetcher, &issuer, &client).await?;
                self.storage.remove(&key)?;
                self.forget_tokens(&issuer)?;
                self.storage.remove(&self.note_key())?;
                *current = None;
                return Ok(Map::new());
            }
        };
        storage::write(&*self.storage, &key, &client)?;
        Ok(metadata)
    }
}

/// What is done with a registration.
#[derive(Debug)]
pub(crate) enum Management {
    Show,
    Update(Map<String, Value>),
    Delete,
}

fn client_key(issuer: &str) -> Key {
    Key::Client {
        issuer: issuer.to_owned(),
    }
}

fn read_secret(file: &PathBuf) -> Result<Secret, AuthorizationError> {
    let text = std::fs::read_to_string(file).map_err(|error| AuthorizationError::Assertion {
        path: file.clone(),
        error,
    })?;
    Ok(Secret::new(text.trim()))
}

/// Asks the identity provider of the enterprise to vouch for the person (RFC 8693): an ID-JAG for this authorization
/// server and this resource.
async fn vouched(
    fetcher: &Fetcher,
    enterprise: &Enterprise,
    discovered: &Discovered,
    scope: Option<&str>,
) -> Result<Secret, AuthorizationError> {
    let id_token = read_secret(&enterprise.id_token_file)?;
    let client = Client::configured(&enterprise.client, None);
    let endpoint = &enterprise.token_endpoint;
    fetcher.reach.check(endpoint).map_err(FetchError::from)?;
    let provider = AuthorizationServer {
        issuer: endpoint.to_string(),
        token_endpoint: endpoint.clone(),
        ..discovered.server.clone()
    };
    let mut fields = vec![
        ("grant_type", TOKEN_EXCHANGE),
        ("requested_token_type", ID_JAG),
        ("audience", discovered.server.issuer.as_str()),
        ("resource", discovered.resource.as_str()),
        ("subject_token", id_token.expose()),
        ("subject_token_type", ID_TOKEN),
    ];
    fields.extend(scope.map(|scope| ("scope", scope)));
    let asked = TokenRequest {
        fields,
        scope,
        resource: &discovered.resource,
    };
    // The type of what is issued is `N_A`: it is no access token (RFC 8693 §2.2.1).
    let issued = tokens::exchange(fetcher, &provider, &client, asked, SystemTime::now()).await?;
    Ok(issued)
}
