//! The authorization endpoint (OAuth 2.1 §4.1.1, RFC 7636, RFC 8707): a request is checked and put before a person.
//!
//! Until client and redirect URI are known to belong together, an error goes to the person and never to a redirect;
//! after that it goes to the client. A client on the person's own device is redirected to; one on the web is not
//! without the person's say, or whoever registers a client could have this server send people anywhere (OAuth 2.1
//! §7.12.2). The three are different types, so one cannot be taken for another.
//!
//! ```
//! use mcp_oauth_core::server::authorize::AuthorizeError;
//!
//! fn location(error: &AuthorizeError) -> Option<&str> {
//!     match error {
//!         AuthorizeError::Page(_) => None,
//!         AuthorizeError::Redirect { redirect, .. } => Some(redirect.location()),
//!         _ => None,
//!     }
//! }
//! ```

use std::fmt;
use std::time::Duration;

use tracing::field::Empty;
use url::Url;

use super::AuthorizationServer;
use super::consent::ConsentOutcome;
use super::remembered_consent::wants;
pub use super::requested_access::MAXIMUM_RESOURCES;
use crate::audit::{Action, Event};
use crate::client::redirect_uri::{RedirectUri, shown};
use crate::client::redirect_uri_policy::RedirectUriPolicy;
use crate::client::registration::GrantType;
use crate::client::{Client, ClientId, ClientIdentity};
use crate::device::UserCode;
use crate::error::{ErrorCode, OAuthError};
use crate::limits::Work;
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::pkce::CodeChallenge;
use crate::resource::ResourceUri;
use crate::scope::Scope;
use crate::secret::Secret;
use crate::transaction::{
    AuthorizationRequest, BrowserSecret, ClientState, Destination, Remembering, Transaction, TransactionId,
};

/// At most this many characters in a client's `state`.
pub const MAXIMUM_STATE: usize = 2048;

/// A redirect back to the client. Only made where the redirect URI was checked against the client's registration.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientRedirect {
    location: String,
}

impl fmt::Debug for ClientRedirect {
    /// Shows where it goes and not what it carries.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.location.split('?').next().unwrap_or_default();
        formatter.debug_tuple("ClientRedirect").field(&address).finish()
    }
}

impl ClientRedirect {
    /// Where to go: a `Location` of a `303`.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    pub(super) fn error(server: &AuthorizationServer, to: &ReturnAddress<'_>, error: &OAuthError) -> Self {
        let pairs = [
            ("error", error.code().as_str()),
            ("error_description", error.description()),
        ];
        Self::new(server, to, &pairs)
    }

    pub(super) fn code(server: &AuthorizationServer, to: &ReturnAddress<'_>, code: &Secret) -> Self {
        Self::new(server, to, &[("code", code.expose())])
    }

    /// `state` exactly as it came, and `iss` on success and on error (RFC 9207 §2).
    fn new(server: &AuthorizationServer, to: &ReturnAddress<'_>, outcome: &[(&str, &str)]) -> Self {
        let mut pairs = outcome.to_vec();
        if let Some(state) = to.state {
            pairs.push(("state", state));
        }
        pairs.push(("iss", server.issuer().as_str()));
        if to.redirect_uri.as_str() == crate::client::redirect_uri::OUT_OF_BAND {
            let mut page = server.issuer().endpoint("/success");
            page.query_pairs_mut().extend_pairs(pairs);
            return Self { location: page.into() };
        }
        Self {
            location: to.redirect_uri.with_parameters(&pairs),
        }
    }
}

/// Where the answer to an authorization request goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReturnAddress<'a> {
    redirect_uri: &'a RedirectUri,
    state: Option<&'a str>,
}

impl AuthorizationRequest {
    /// `None` where no client waits for the person to come back.
    pub(super) fn return_address(&self) -> Option<ReturnAddress<'_>> {
        match &self.destination {
            Destination::Client {
                redirect_uri, state, ..
            } => Some(ReturnAddress {
                redirect_uri,
                state: state.as_ref().map(|state| state.0.as_str()),
            }),
            Destination::Device { .. } => None,
        }
    }
}

/// Why a request is not put before a person.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizeError {
    /// The client or the redirect URI is not known: the person is told, and nobody is redirected.
    #[error(transparent)]
    Page(OAuthError),
    /// Anything else, for a client on the person's own device: it is told by redirect.
    #[error("{error}")]
    Redirect {
        /// What is wrong.
        error: OAuthError,
        /// The redirect that tells the client.
        redirect: ClientRedirect,
    },
    /// Anything else, for a client on the web: the person is told, and may follow a link that tells the client.
    #[error("{error}")]
    Offer {
        /// What is wrong.
        error: OAuthError,
        /// The link.
        redirect: ClientRedirect,
        /// The host that it leads to.
        destination: String,
    },
}

impl AuthorizeError {
    fn at_client(server: &AuthorizationServer, to: &ReturnAddress<'_>, error: OAuthError) -> Self {
        let redirect = ClientRedirect::error(server, to, &error);
        if to.redirect_uri.is_on_the_web() {
            let destination = to.redirect_uri.destination();
            Self::Offer {
                error,
                redirect,
                destination,
            }
        } else {
            Self::Redirect { error, redirect }
        }
    }

    /// What is wrong with the request.
    #[must_use]
    pub fn error(&self) -> &OAuthError {
        match self {
            Self::Page(error) | Self::Redirect { error, .. } | Self::Offer { error, .. } => error,
        }
    }
}

impl From<&AuthorizeError> for OAuthError {
    fn from(error: &AuthorizeError) -> Self {
        error.error().clone()
    }
}

/// Where the answer goes, as the consent page says it.
#[derive(Debug)]
#[non_exhaustive]
pub enum PromptDestination {
    /// Back to the client, with the person.
    Client {
        /// Where the code goes: a host, or the scheme of an app. Empty if the person has to carry it.
        host: String,
        /// Whether the code goes to the person's own machine.
        is_loopback: bool,
    },
    /// To a device.
    Device {
        /// The code that the device shows, for the person to compare.
        user_code: UserCode,
    },
}

/// What the consent page shows, and what it has to send back.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConsentPrompt {
    /// Names the transaction in the form.
    pub transaction: TransactionId,
    /// For a cookie of the browser.
    pub browser: BrowserSecret,
    /// What the client calls itself. Nobody has checked it.
    pub client_name: String,
    /// Who is behind the client.
    pub client_identity: ClientIdentity,
    /// Where the answer goes.
    pub destination: PromptDestination,
    /// What the client wants to reach: name and URI of each resource.
    pub resources: Vec<(String, ResourceUri)>,
    /// How far: each scope, and what it allows in words if that is known.
    pub scopes: Vec<(Scope, Option<String>)>,
    /// Where the person will sign in, as a text: one provider, or several to choose from.
    pub identity_provider: String,
    /// For how long at most the consent may be remembered, if the person wants that; `None` if it may not be.
    pub may_be_remembered: Option<Duration>,
}

/// What is known of a browser that comes with an authorization request.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Visitor {
    /// The `sub` of whoever is signed in to their own pages there; the page says so, and if somebody else signs in then,
    /// they are asked again.
    pub subject: Option<String>,
    /// The values of its cookies for [remembered consent](super::remembered_consent).
    pub remembered: Vec<Secret>,
}

/// What becomes of an authorization request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Authorization {
    /// The person is asked.
    Ask(ConsentPrompt),
    /// They have been asked before, and go on to sign in.
    Remembered {
        /// Names the transaction.
        transaction: TransactionId,
        /// For a cookie of the browser.
        browser: BrowserSecret,
        /// Where they go.
        outcome: ConsentOutcome,
    },
}

impl AuthorizationServer {
    /// Checks an authorization request and begins a transaction for it.
    ///
    /// May be called any number of times for the same request: nothing is used up before the person decides.
    ///
    /// # Errors
    ///
    /// See [`AuthorizeError`].
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn authorize(&self, parameters: &Parameters, origin: &Origin) -> Result<ConsentPrompt, AuthorizeError> {
        match self.authorize_visitor(parameters, &Visitor::default(), origin).await? {
            Authorization::Ask(prompt) => Ok(prompt),
            Authorization::Remembered { .. } => Err(AuthorizeError::Page(OAuthError::new(
                ErrorCode::ServerError,
                "a consent was remembered that nobody has shown",
            ))),
        }
    }

    /// The same for a browser of which something is known: whoever is signed in there, and which consent it remembers.
    ///
    /// # Errors
    ///
    /// See [`AuthorizeError`].
    pub async fn authorize_visitor(
        &self,
        parameters: &Parameters,
        visitor: &Visitor,
        origin: &Origin,
    ) -> Result<Authorization, AuthorizeError> {
        let result = self.begin_transaction(parameters, visitor, origin).await;
        let mut event = Event::new(Action::Authorize, origin).ended(result.as_ref().err().map(AuthorizeError::error));
        event.client_id = parameters
            .get("client_id")
            .ok()
            .flatten()
            .and_then(|id| id.parse().ok());
        if let Ok(Authorization::Ask(prompt)) = &result {
            event.resources = prompt.resources.iter().map(|(_, uri)| uri.clone()).collect();
        }
        self.audit(event);
        result
    }

    async fn begin_transaction(
        &self,
        parameters: &Parameters,
        visitor: &Visitor,
        origin: &Origin,
    ) -> Result<Authorization, AuthorizeError> {
        let client = self
            .paid_for(
                Work::Authorization,
                origin,
                parameters,
                self.requesting_client(parameters),
            )
            .await
            .map_err(AuthorizeError::Page)?;
        let redirect_uri =
            redirect_uri(&self.0.registration.redirect_uris, &client, parameters).map_err(AuthorizeError::Page)?;

        // From here on the client gets to know. A state that cannot be returned exactly is not returned at all.
        let state = state(parameters);
        let returned = state.as_ref().ok().and_then(Option::clone);
        let to = ReturnAddress {
            redirect_uri: &redirect_uri,
            state: returned.as_deref(),
        };
        let request = state
            .and_then(|state| self.checked_request(parameters, &client, redirect_uri.clone(), state))
            .map_err(|error| AuthorizeError::at_client(self, &to, error))?;

        let destination = PromptDestination::Client {
            host: redirect_uri.destination(),
            is_loopback: redirect_uri.is_loopback(),
        };
        let browser = BrowserSecret::drawn_from(self.randomness());
        let may_be_remembered = self.may_remember(&client, &redirect_uri);
        let recalled = match may_be_remembered {
            Some(_) => self.recall(&request, parameters, &visitor.remembered).await,
            None => None,
        };
        let mut transaction = self.new_transaction(request, &browser);
        let Some(recalled) = recalled else {
            transaction.expected.clone_from(&visitor.subject);
            transaction.choose_account = wants(parameters, "select_account");
            if may_be_remembered.is_some() {
                transaction.remembering = Remembering::Possible;
            }
            self.insert_transaction(&transaction)
                .await
                .map_err(|error| AuthorizeError::at_client(self, &to, error.into()))?;
            let mut prompt = self.prompt(&client, transaction, browser, destination);
            prompt.may_be_remembered = may_be_remembered;
            return Ok(Authorization::Ask(prompt));
        };
        transaction.expected = Some(recalled.subject.clone());
        transaction.remembering = Remembering::Recalled(recalled.until);
        let (approved, sign_in) = transaction
            .approve(&browser, self.end_of_step())
            .map_err(|refused| AuthorizeError::Page(OAuthError::new(ErrorCode::InvalidRequest, refused.to_string())))?;
        let transaction = approved.unwrap_or(transaction);
        self.insert_transaction(&transaction)
            .await
            .map_err(|error| AuthorizeError::at_client(self, &to, error.into()))?;
        let mut event = Event::new(Action::RecallConsent, origin).with_client(&client.client_id);
        event.subject = Some(recalled.subject);
        event.resources.clone_from(&transaction.request.resources);
        self.audit(event);
        let provider = self.0.identities.find(&recalled.provider);
        let provider = provider.unwrap_or_else(|| self.0.identities.first());
        Ok(Authorization::Remembered {
            outcome: self.sign_in(&transaction, sign_in, provider).await,
            transaction: transaction.id,
            browser,
        })
    }

    async fn requesting_client(&self, parameters: &Parameters) -> Result<Client, OAuthError> {
        let client_id = parameters.require("client_id")?;
        #[cfg(feature = "cimd")]
        if let Some(client) = self.document_client(client_id).await? {
            return Ok(client);
        }
        let unknown = || {
            OAuthError::new(
                ErrorCode::InvalidClient,
                "this server does not know the client: it was never registered here, or its registration has expired",
            )
        };
        let client_id: ClientId = client_id.parse().map_err(|_| unknown())?;
        Ok(self.known_client(&client_id).await?.ok_or_else(unknown)?.record)
    }

    fn checked_request(
        &self,
        parameters: &Parameters,
        client: &Client,
        redirect_uri: RedirectUri,
        state: Option<String>,
    ) -> Result<AuthorizationRequest, OAuthError> {
        // RFC 6749 §4.1.2.1: a client of devices alone has no use for a code.
        if !client.metadata.grant_types.contains(&GrantType::AuthorizationCode) {
            return Err(OAuthError::new(
                ErrorCode::UnauthorizedClient,
                "the client has not registered the grant type authorization_code",
            ));
        }
        if parameters.require("response_type")? != "code" {
            return Err(OAuthError::new(
                ErrorCode::UnsupportedResponseType,
                "response_type must be code",
            ));
        }
        if parameters.get("response_mode")?.is_some_and(|mode| mode != "query") {
            return Err(OAuthError::new(
                ErrorCode::InvalidRequest,
                "response_mode must be query",
            ));
        }
        let code_challenge = code_challenge(parameters)?;
        let (resources, scopes) = self.wanted_access(parameters)?;
        Ok(AuthorizationRequest {
            client_id: client.client_id.clone(),
            destination: Destination::Client {
                redirect_uri,
                state: state.map(ClientState),
                code_challenge,
            },
            resources,
            scopes,
        })
    }

    /// Who is behind a client.
    pub(super) fn client_identity(&self, client: &Client) -> ClientIdentity {
        if self.0.clients.preregistered.contains_key(&client.client_id) {
            return ClientIdentity::Configured;
        }
        if client.document_fresh_until.is_some() {
            return published(&client.client_id);
        }
        let home = client.metadata.links.client_uri.as_deref().and_then(host_of);
        ClientIdentity::SelfAsserted { home }
    }

    pub(super) fn prompt(
        &self,
        client: &Client,
        transaction: Transaction,
        browser: BrowserSecret,
        destination: PromptDestination,
    ) -> ConsentPrompt {
        let request = &transaction.request;
        let resources: Vec<_> = request
            .resources
            .iter()
            .filter_map(|uri| self.resource(uri.as_str()))
            .collect();
        ConsentPrompt {
            client_name: client.display_name().to_owned(),
            client_identity: self.client_identity(client),
            destination,
            resources: resources
                .iter()
                .map(|resource| (resource.display_name().to_owned(), resource.uri().clone()))
                .collect(),
            scopes: request
                .scopes
                .iter()
                .map(|scope| (scope.clone(), self.scope_meaning(&request.resources, scope)))
                .collect(),
            identity_provider: self.sign_in_places(),
            may_be_remembered: None,
            transaction: transaction.id,
            browser,
        }
    }
}

/// Who answers for a client whose identifier is the URL of a document.
pub(super) fn published(client_id: &ClientId) -> ClientIdentity {
    match host_of(client_id.as_str()) {
        Some(host) => ClientIdentity::Published { host },
        None => ClientIdentity::SelfAsserted { home: None },
    }
}

fn host_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.host_str().map(str::to_owned)
}

fn redirect_uri(
    policy: &RedirectUriPolicy,
    client: &Client,
    parameters: &Parameters,
) -> Result<RedirectUri, OAuthError> {
    match (parameters.get("redirect_uri")?, client.redirect_uris()) {
        (Some(requested), registered) => policy.select(registered, requested).ok_or_else(|| {
            OAuthError::new(
                ErrorCode::InvalidRedirectUri,
                format!(
                    "the redirect_uri {} is not one that the client has registered",
                    shown(requested)
                ),
            )
        }),
        // OAuth 2.1 §2.3.2: with a single registered URI the parameter may be left out.
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(OAuthError::new(
            ErrorCode::InvalidRequest,
            "redirect_uri is missing, and the client has registered several",
        )),
    }
}

fn state(parameters: &Parameters) -> Result<Option<String>, OAuthError> {
    match parameters.get("state")? {
        Some(state) if state.len() > MAXIMUM_STATE => Err(OAuthError::new(
            ErrorCode::InvalidRequest,
            "state is longer than 2048 bytes",
        )),
        state => Ok(state.map(str::to_owned)),
    }
}

fn code_challenge(parameters: &Parameters) -> Result<CodeChallenge, OAuthError> {
    let invalid = |description: String| OAuthError::new(ErrorCode::InvalidRequest, description);
    let challenge = parameters.get("code_challenge")?.ok_or_else(|| {
        invalid("code_challenge is missing: this server requires PKCE with the method S256".to_owned())
    })?;
    // RFC 7636 §4.3: a request without a method means plain, which is refused here.
    if parameters.get("code_challenge_method")? != Some("S256") {
        return Err(invalid("code_challenge_method must be S256".to_owned()));
    }
    challenge
        .parse()
        .map_err(|error: crate::pkce::InvalidPkce| invalid(error.to_string()))
}
