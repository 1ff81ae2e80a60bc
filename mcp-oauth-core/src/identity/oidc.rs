//! Sign in with any OpenID Connect provider.
//!
//! What a provider needs is its issuer and a client that is registered with it; everything else it says of itself
//! (OpenID Connect Discovery). A sign-in is the code flow, with PKCE, a nonce, and a `state` that belongs to the browser:
//!
//! | step | who asks | where |
//! |---|---|---|
//! | what the provider is like | this server, now and then | `<issuer>/.well-known/openid-configuration` |
//! | the person signs in | the browser | `authorization_endpoint` |
//! | the code becomes an ID token | this server | `token_endpoint` |
//! | who signed it | this server, now and then | `jwks_uri` |
//! | what the ID token leaves out | this server, if it matters | `userinfo_endpoint` |
//!
//! # Who a person is
//!
//! The subject is the provider's name and `sub`, which the provider gives to nobody else. `preferred_username` is shown,
//! and is what a bare word on an allow-list means; most providers let people choose it, so write subjects or groups there
//! unless yours does not. An address counts if `email_verified` is JSON's `true`.
//!
//! # Groups
//!
//! [`groups_claim`](OpenIdConnect::groups_claim) says where they are, [`read_memberships`](OpenIdConnect::read_memberships)
//! which of them matter. On an allow-list they are written `group=staff`.
//!
//! # While people are away
//!
//! A provider can be asked about somebody who is away with that person's own tokens and in no other way. So without a
//! [vault](crate::server::vault), groups and addresses are believed for
//! [`maximum_identity_age`](crate::server::builder::Lifetimes::maximum_identity_age), a day unless said otherwise, and then
//! the person signs in again. With a vault and [`ask_for_refresh_token`](OpenIdConnect::ask_for_refresh_token), the
//! provider is asked at refreshes: whoever has left the group, or whose tokens were revoked, is out.
//!
//! # What is guarded
//!
//! Every call goes through a guarded [`Fetcher`]: https alone, no redirects, five seconds, 256 KiB, and only public
//! addresses, save for the issuer's own host, which the operator has named. So a provider may be inside the network, and
//! its metadata can still send nobody to another machine there. Endpoints on other private hosts have to be named:
//! [`Fetcher::trust_host`]. The proxy variables of the environment are not read. Clocks may be 30 seconds apart.
//!
//! # Example
//!
//! ```
//! use mcp_oauth_core::identity::oidc::OpenIdConnect;
//! use mcp_oauth_core::policy::AllowList;
//! use mcp_oauth_core::resource::Resource;
//! use mcp_oauth_core::server::AuthorizationServer;
//!
//! # fn example(store: impl mcp_oauth_core::store::Store, secret: String) -> Result<(), Box<dyn std::error::Error>> {
//! let allow = AllowList::parse("group=staff")?;
//! let acme = OpenIdConnect::new("acme", "https://login.acme.example", "mcp-gateway")?
//!     .client_secret(secret)
//!     .groups_claim(["groups"])
//!     .read_memberships(allow.memberships().cloned());
//! let server = AuthorizationServer::builder("https://auth.example.com")
//!     .resource(Resource::new("https://mcp.example.com/mcp")?)
//!     .identity(acme)
//!     .allow(allow)
//!     .store(store)
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! The client that is registered with the provider is a web application whose redirect URI is the issuer of this server
//! followed by `/callback`; where it is one of several providers, see
//! [`callback_url`](crate::server::AuthorizationServer::callback_url).

use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use self::claims::{ClaimPath, Mapping};
use self::discovery::{Discovery, Metadata, SecretMethod};
use self::issuer::IssuerRule;
use self::token_endpoint::{Authentication, NoTokens, TokenAnswer, TokenEndpoint};
use self::upstream::Upstream;
use super::membership::{Kind, Membership};
use super::tokens::{SignedIn, TokensRefreshed, UpstreamTokens};
use super::{Identity, IdentityError, IdentityProvider, SignIn, SignInReturn, Standing};
use crate::clock::{Clock, SystemClock};
use crate::fetch::Fetcher;
use crate::issuer::{Issuer, is_issuer_of_others, is_loopback};
use crate::jwt::SignatureAlgorithm;
use crate::jwt::remote::RemoteKeys;
use crate::parameters::Parameters;
use crate::pkce::{CodeChallenge, CodeVerifier};
use crate::secret::Secret;
use crate::token::keys::SigningKey;

mod claims;
mod discovery;
mod id_token;
mod issuer;
mod person;
mod presets;
mod token_endpoint;
mod upstream;

/// The longest answer that is read, in bytes. Some providers publish long lists.
const MAXIMUM_BODY: usize = 256 * 1024;

const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// What is asked of everybody: to say who they are, and their profile and address.
const SCOPES: [&str; 3] = ["openid", "profile", "email"];

/// What an authorization request is made of here. Nobody else may set these.
const OWN_PARAMETERS: [&str; 10] = [
    "client_id",
    "response_type",
    "response_mode",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
];

/// Why a provider cannot be configured like that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOpenIdConnect {
    /// The name cannot stand in front of a subject, or in a path.
    #[error("the name of an identity provider is 1 to 64 lower-case letters, digits, dots, hyphens and underscores")]
    Name,
    /// The issuer is none.
    #[error(
        "the issuer of an OpenID Connect provider is an https URL (http on loopback hosts alone) without query, fragment and user \
         name, as its discovery document has it"
    )]
    Issuer,
    /// A tenant is not named by its identifier.
    #[error("a tenant of Entra is named by its identifier, as in 72f988bf-86f1-41af-91ab-2d7cd011db47")]
    Tenant,
}

/// An OpenID Connect provider.
///
/// Cheap to clone; clones share what they know of the provider. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct OpenIdConnect {
    id: String,
    display_name: String,
    issuer: IssuerRule,
    /// What the discovery document is below: the issuer, unless it stands for many.
    base: String,
    client_id: String,
    authentication: Authentication,
    scopes: Vec<String>,
    wants_refresh_token: bool,
    /// How a refresh token is asked for.
    refresh_scope: Option<&'static str>,
    refresh_parameters: Vec<(&'static str, &'static str)>,
    parameters: Vec<(String, String)>,
    trusted_audiences: Vec<String>,
    algorithms: Vec<SignatureAlgorithm>,
    mapping: Mapping,
    upstream: Upstream,
    keys: RemoteKeys,
    discovery: Discovery,
}

impl OpenIdConnect {
    /// The provider with this issuer, where this server is registered as `client_id`. `id` stands in front of every subject
    /// and must never change; people see it too, unless there is a [`display_name`](Self::display_name).
    ///
    /// Nothing is contacted.
    ///
    /// # Errors
    ///
    /// When the name or the issuer is none.
    pub fn new(
        id: impl Into<String>,
        issuer: impl Into<String>,
        client_id: impl Into<String>,
    ) -> Result<Self, InvalidOpenIdConnect> {
        let (id, issuer) = (id.into(), issuer.into());
        if !is_name(&id) {
            return Err(InvalidOpenIdConnect::Name);
        }
        if !is_issuer_of_others(&issuer) {
            return Err(InvalidOpenIdConnect::Issuer);
        }
        Ok(Self::with_rule(&id, IssuerRule::Exactly(issuer), client_id.into()))
    }

    fn with_rule(id: &str, issuer: IssuerRule, client_id: String) -> Self {
        let base = issuer.discovered().to_owned();
        let fetcher = guarded(Fetcher::default(), &base);
        Self {
            display_name: id.to_owned(),
            id: id.to_owned(),
            issuer,
            base,
            client_id,
            authentication: Authentication::None,
            scopes: SCOPES.into_iter().map(str::to_owned).collect(),
            wants_refresh_token: false,
            refresh_scope: Some("offline_access"),
            // Without it, a provider need not give one (OpenID Connect Core §11).
            refresh_parameters: vec![("prompt", "consent")],
            parameters: Vec::new(),
            trusted_audiences: Vec::new(),
            algorithms: SignatureAlgorithm::SUPPORTED.to_vec(),
            mapping: Mapping {
                login: "preferred_username".to_owned(),
                groups: None,
                groups_in_id_token_alone: false,
                wanted: Vec::new(),
                required: Vec::new(),
            },
            keys: RemoteKeys::new(fetcher.clone()),
            upstream: Upstream::new(fetcher, Arc::new(SystemClock)),
            discovery: Discovery::new(),
        }
    }

    /// Another name in front of every subject, where a preset's does not do: for a second provider of the same kind.
    ///
    /// # Errors
    ///
    /// When the name is none.
    pub fn provider_id(mut self, id: impl Into<String>) -> Result<Self, InvalidOpenIdConnect> {
        let id = id.into();
        if !is_name(&id) {
            return Err(InvalidOpenIdConnect::Name);
        }
        self.id = id;
        Ok(self)
    }

    /// The name for people, on the consent page and where they choose.
    #[must_use]
    pub fn display_name(mut self, name: impl Into<String>) -> Self {
        self.display_name = name.into();
        self
    }

    /// Proves this server by a secret, in the header (`client_secret_basic`), or in the form if that is all that the
    /// provider offers. Without a secret or a key, it is proven by PKCE alone (`none`).
    #[must_use]
    pub fn client_secret(mut self, secret: impl Into<Secret>) -> Self {
        self.authentication = Authentication::Secret {
            secret: secret.into(),
            method: None,
        };
        self
    }

    /// Proves this server by a secret in the form (`client_secret_post`), whatever the provider says that it prefers.
    #[must_use]
    pub fn client_secret_in_form(mut self, secret: impl Into<Secret>) -> Self {
        self.authentication = Authentication::Secret {
            secret: secret.into(),
            method: Some(SecretMethod::Post),
        };
        self
    }

    /// Proves this server by signatures of this key (`private_key_jwt`). Register its [public half](SigningKey::public)
    /// with the provider, and use it for nothing else and nobody else. (Entra knows keys by their certificates, which this
    /// crate does not make: use a secret there.)
    #[must_use]
    pub fn private_key(mut self, key: SigningKey) -> Self {
        self.authentication = Authentication::Key(key);
        self
    }

    /// Asks for these scopes too, beside `openid`, `profile` and `email`.
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        for scope in scopes.into_iter().map(Into::into) {
            if !self.scopes.contains(&scope) {
                self.scopes.push(scope);
            }
        }
        self
    }

    /// Asks for a refresh token, by the scope `offline_access` and with `prompt=consent` (unless
    /// [another prompt](Self::authorization_parameter) is asked for, or the preset knows that it is not needed). Only of use
    /// to a server with a [vault](crate::server::vault).
    #[must_use]
    pub fn ask_for_refresh_token(mut self) -> Self {
        self.wants_refresh_token = true;
        self
    }

    /// Adds a parameter to the authorization request, such as `prompt` or `acr_values`. Those that make the request up
    /// cannot be set; [`check`](IdentityProvider::check) says so.
    #[must_use]
    pub fn authorization_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Takes ID tokens that are for this audience too. Unless told so, one that is for anybody beside this server is refused.
    #[must_use]
    pub fn trust_audience(mut self, audience: impl Into<String>) -> Self {
        self.trusted_audiences.push(audience.into());
        self
    }

    /// The algorithms that ID tokens may be signed with; any that the provider's keys are for unless said otherwise.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = SignatureAlgorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// The claim that is taken for the name that somebody signs in with: `preferred_username` unless said otherwise.
    #[must_use]
    pub fn login_claim(mut self, name: impl Into<String>) -> Self {
        self.mapping.login = name.into();
        self
    }

    /// Where the groups are: the name of a claim, or the names on the way to it, as in `["realm_access", "roles"]`. A name
    /// may hold dots, as those do that are URLs.
    #[must_use]
    pub fn groups_claim<S: Into<String>>(mut self, path: impl IntoIterator<Item = S>) -> Self {
        let path: Vec<String> = path.into_iter().map(Into::into).collect();
        self.mapping.groups = (!path.is_empty()).then_some(ClaimPath(path));
        self
    }

    /// Says that the groups are in ID tokens alone, as with Entra. The userinfo endpoint, which is what is asked while people
    /// are away, otherwise has to list them too: whoever is in no group there is in none.
    #[must_use]
    pub fn groups_in_id_token_alone(mut self) -> Self {
        self.mapping.groups_in_id_token_alone = true;
        self
    }

    /// Reads which of these groups people belong to. Without this, nobody belongs to anything; a second call adds to the
    /// first. Organisations and teams are nothing that OpenID Connect has, and are passed over.
    #[must_use]
    pub fn read_memberships(mut self, memberships: impl IntoIterator<Item = Membership>) -> Self {
        for membership in memberships {
            if matches!(membership.kind(), Kind::Group(_)) && !self.mapping.wanted.contains(&membership) {
                self.mapping.wanted.push(membership);
            }
        }
        self
    }

    /// Lets only those in whose claim of this name is this text.
    #[must_use]
    pub fn require_claim(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.mapping.required.push((name.into(), value.into()));
        self
    }

    /// What the provider is asked with: a fetcher of one's own, for more time, another resolver, or other
    /// [trusted hosts](Fetcher::trust_host). The issuer's own host is trusted by itself.
    #[must_use]
    pub fn fetcher(mut self, fetcher: Fetcher) -> Self {
        let fetcher = guarded(fetcher, &self.base);
        self.keys = RemoteKeys::new(fetcher.clone());
        self.upstream = Upstream::new(fetcher, Arc::clone(&self.upstream.clock));
        self
    }

    /// What tells the time; the operating system unless said otherwise.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.upstream = Upstream::new(self.upstream.fetcher.clone(), Arc::new(clock));
        self
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, IdentityError> {
        let address = format!("{}{DISCOVERY_PATH}", self.base.trim_end_matches('/'));
        let url = Url::parse(&address).map_err(|_| unusable("its issuer is no URL"))?;
        self.discovery.get(&self.upstream, &url, self.issuer.discovered()).await
    }

    fn token_endpoint<'a>(&'a self, metadata: &'a Metadata) -> TokenEndpoint<'a> {
        TokenEndpoint {
            upstream: &self.upstream,
            metadata,
            client_id: &self.client_id,
            authentication: &self.authentication,
        }
    }
}

#[async_trait]
impl IdentityProvider for OpenIdConnect {
    fn id(&self) -> &str {
        &self.id
    }

    fn display_name(&self) -> &str {
        &self.display_name
    }

    fn check(&self, _issuer: &Issuer) -> Result<(), String> {
        let name = &self.id;
        let bare = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
        if !bare(&self.client_id) {
            return Err(format!(
                "the identity provider {name} needs a client ID, without white space"
            ));
        }
        if let Authentication::Secret { secret, .. } = &self.authentication
            && !bare(secret.expose())
        {
            return Err(format!(
                "the client secret for {name} must be a word without white space or a line end"
            ));
        }
        if self.algorithms.is_empty() {
            return Err(format!(
                "the identity provider {name} must be allowed at least one algorithm"
            ));
        }
        if let Some((own, _)) = self
            .parameters
            .iter()
            .find(|(parameter, _)| OWN_PARAMETERS.contains(&parameter.as_str()))
        {
            return Err(format!("the parameter {own} of sign-ins with {name} cannot be set"));
        }
        Ok(())
    }

    /// The authorization endpoint with everything that belongs to the request.
    ///
    /// # Errors
    ///
    /// When the provider has to be asked where that is, and does not answer.
    async fn sign_in_url(&self, sign_in: &SignIn<'_>) -> Result<Url, IdentityError> {
        let metadata = self.metadata().await?;
        let mut scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        let mut url = metadata.authorization_endpoint.clone();
        let is_set = |name: &str| self.parameters.iter().any(|(set, _)| set == name);
        let refresh = self
            .refresh_parameters
            .iter()
            .filter(|(name, _)| self.wants_refresh_token && !is_set(name));
        if self.wants_refresh_token {
            scopes.extend(self.refresh_scope);
        }
        let nonce = nonce(sign_in.code_verifier);
        url.query_pairs_mut()
            .append_pair("client_id", &self.client_id)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", sign_in.callback.as_str())
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", sign_in.state.expose())
            .append_pair("nonce", nonce.expose())
            .append_pair("code_challenge", &CodeChallenge::of(sign_in.code_verifier).to_string())
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(refresh)
            .extend_pairs(&self.parameters);
        // What the operator has set stands: a provider takes one prompt.
        let has_prompt = url.query_pairs().any(|(name, _)| name == "prompt");
        if sign_in.choose_account && !has_prompt {
            url.query_pairs_mut().append_pair("prompt", "select_account");
        }
        Ok(url)
    }

    /// Whether `iss` is there where the provider says that it sends it, and is the right one wherever it is.
    async fn is_own_answer(&self, parameters: &Parameters) -> Result<bool, IdentityError> {
        match parameters.get("iss") {
            Ok(Some(issuer)) => Ok(self.issuer.may_be(issuer)),
            Ok(None) => Ok(!self.metadata().await?.answers_with_issuer),
            Err(_) => Ok(false),
        }
    }

    /// Asks the provider who came back.
    ///
    /// # Errors
    ///
    /// * [`Unavailable`](IdentityError::Unavailable) when the provider cannot be reached, takes too long, answers with a
    ///   status of 500 or above, or limits the rate of requests.
    /// * [`Unusable`](IdentityError::Unusable) when it refuses the code or the client, and when an answer is not what the
    ///   standards have: the sentence says what.
    ///
    /// No error holds the code, a token, a secret or any text of the provider's.
    async fn identify(&self, returned: &SignInReturn<'_>) -> Result<Identity, IdentityError> {
        Ok(self.signed_in(returned).await?.0)
    }

    async fn identify_with_tokens(&self, returned: &SignInReturn<'_>) -> Result<SignedIn, IdentityError> {
        let (identity, tokens) = self.signed_in(returned).await?;
        Ok(SignedIn::new(identity).with_tokens(tokens))
    }

    fn tells(&self, membership: &Membership) -> bool {
        self.mapping.groups.is_some() && self.mapping.wanted.contains(membership)
    }

    async fn refresh_tokens(&self, tokens: &UpstreamTokens) -> Result<TokensRefreshed, IdentityError> {
        let Some(refresh_token) = &tokens.refresh_token else {
            return Ok(TokensRefreshed::Impossible);
        };
        let metadata = self.metadata().await?;
        match self.token_endpoint(&metadata).refresh(refresh_token).await {
            Ok(TokenAnswer {
                tokens: mut new,
                id_token,
            }) => {
                // One that is not exchanged goes on to be good (RFC 6749 §6).
                new.refresh_token = new.refresh_token.or_else(|| Some(refresh_token.clone()));
                new.scope = new.scope.or_else(|| tokens.scope.clone());
                let identity = match id_token {
                    Some(id_token) => self.seen_again(&metadata, &id_token, &new).await,
                    None => None,
                };
                Ok(TokensRefreshed::Tokens(Box::new(new), identity))
            }
            Err(NoTokens::Refused) => Ok(TokensRefreshed::Refused),
            Err(NoTokens::Failed(error)) => Err(error),
        }
    }

    /// Asks the userinfo endpoint. What it does not say is no longer so.
    ///
    /// # Errors
    ///
    /// When it cannot be asked now, or answers what nobody can read.
    async fn standing_with_tokens(
        &self,
        identity: &Identity,
        tokens: &UpstreamTokens,
    ) -> Result<Standing, IdentityError> {
        self.asked_again(identity, tokens).await
    }
}

/// The nonce of a sign-in follows from its other secret, so that nothing more has to be kept. It does not lead back.
fn nonce(verifier: &CodeVerifier) -> Secret {
    Secret::from(verifier.expose()).derive("nonce")
}

/// Also part of a path, where a dot alone would lead somewhere else.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(plain) && text.bytes().any(|byte| byte != b'.')
}

/// The host that the operator has named may be inside the network, and on their own machine if it is called so.
fn guarded(fetcher: Fetcher, base: &str) -> Fetcher {
    let fetcher = fetcher.maximum_body(MAXIMUM_BODY);
    match Url::parse(base) {
        Ok(url) if is_loopback(&url) => fetcher.allow_loopback(),
        Ok(url) => match url.host_str() {
            Some(host) => fetcher.trust_host(host),
            None => fetcher,
        },
        Err(_) => fetcher,
    }
}

fn unusable(what: &str) -> IdentityError {
    IdentityError::Unusable(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_stand_in_front_of_a_subject_and_in_a_path() {
        for wrong in ["", "Acme", "a:b", "a/b", "a b", "..", ".", "\u{e9}", &"a".repeat(65)] {
            let refused = OpenIdConnect::new(wrong, "https://idp.example", "c").unwrap_err();
            assert_eq!(refused, InvalidOpenIdConnect::Name, "{wrong}");
        }
        assert!(OpenIdConnect::new("acme-2.example", "https://idp.example/", "c").is_ok());
    }

    #[test]
    fn an_issuer_is_a_secure_url() {
        for wrong in [
            "",
            "idp.example",
            "http://idp.example",
            "https://idp.example?x",
            "https://a@idp.example",
            "https://idp.example#x",
        ] {
            let refused = OpenIdConnect::new("acme", wrong, "c").unwrap_err();
            assert_eq!(refused, InvalidOpenIdConnect::Issuer, "{wrong}");
        }
        assert!(OpenIdConnect::new("acme", "http://127.0.0.1:8081", "c").is_ok());
    }

    #[test]
    fn what_makes_a_request_up_cannot_be_set_and_a_secret_is_a_word() {
        let issuer: Issuer = "https://auth.example.com".parse().unwrap();
        let acme = || OpenIdConnect::new("acme", "https://idp.example", "c").unwrap();
        assert!(acme().authorization_parameter("prompt", "login").check(&issuer).is_ok());
        for own in OWN_PARAMETERS {
            assert!(
                acme().authorization_parameter(own, "x").check(&issuer).is_err(),
                "{own}"
            );
        }
        assert!(acme().client_secret("secret\n").check(&issuer).is_err());
        assert!(acme().algorithms([]).check(&issuer).is_err());
        assert!(!format!("{:?}", acme().client_secret("hunter2")).contains("hunter2"));
    }
}
