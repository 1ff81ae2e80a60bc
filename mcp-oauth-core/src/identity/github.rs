//! Sign in with GitHub, or with a GitHub Enterprise Server.
//!
//! GitHub is OAuth 2.0 with habits of its own: it is no OpenID Connect provider, so there is no ID token to verify,
//! and who somebody is has to be asked of its REST API. A sign-in is four steps, of which the last two take place
//! at the same time:
//!
//! | step | who asks | where |
//! |---|---|---|
//! | the person signs in | the browser | `/login/oauth/authorize` |
//! | the code becomes a token | this server | `/login/oauth/access_token` |
//! | whose token it is | this server | the API's `/user` |
//! | which address is verified | this server | the API's `/user/emails` |
//!
//! Where [organisations and teams count](GitHub::read_memberships), the last step also asks the API's
//! `/user/memberships/orgs` and `/user/teams`. The token is then dropped, unless the server has a
//! [vault](crate::server::vault) for it; it is never logged.
//!
//! # While people are away
//!
//! With a [token of the operator's own](GitHub::membership_token), GitHub is asked from time to time how people stand who
//! have signed in before: whether the account is still there, under which login, and in which organisations and teams. Where
//! a vault keeps people's own tokens, GitHub is asked with those: then it also shows when somebody has revoked the app.
//!
//! # Without a browser
//!
//! GitHub's [device flow](device) signs in somebody at a terminal.
//!
//! # What to set up at GitHub
//!
//! An OAuth app (<https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/creating-an-oauth-app>) whose
//! *authorization callback URL* is the issuer followed by `/callback`. A GitHub App does as well, if it may read
//! e-mail addresses; without that permission, people have none.
//!
//! # Who a person is
//!
//! The subject is the account's number, which GitHub never gives to anybody else. A login can be given up and taken
//! by somebody else, and so can an e-mail address; neither ever identifies a person here. The address is the one
//! that GitHub calls primary, if GitHub says that it has verified it, with the JSON value `true` and nothing like
//! it; an account without one is a good account.
//!
//! Numbers are per installation. So the people of an Enterprise Server get its host in front of their number rather
//! than `github`: see [`GitHub::provider_id`].
//!
//! # What is bounded
//!
//! Every call to GitHub has ten seconds from connecting to the last byte ([`GitHub::timeout`]), and one mebibyte
//! for its answer. No redirect is followed, so neither the code nor the token goes to anybody but the configured
//! hosts. Of somebody's teams, the first thousand are looked at. The proxy variables of the environment (`HTTPS_PROXY`, `NO_PROXY`) are honoured, and certificates are
//! held against those that the operating system trusts: the private authority of an Enterprise Server belongs
//! there. Calls need a Tokio runtime with time and I/O enabled.
//!
//! # Example
//!
//! ```
//! use mcp_oauth_core::identity::IdentityProvider;
//! use mcp_oauth_core::identity::github::GitHub;
//! use mcp_oauth_core::policy::AllowList;
//! use mcp_oauth_core::resource::Resource;
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::server::builder::ConfigurationError;
//!
//! # fn example(store: impl mcp_oauth_core::store::Store, client_secret: String) -> Result<(), ConfigurationError> {
//! let server = AuthorizationServer::builder("https://auth.example.com")
//!     .resource(Resource::new("https://mcp.example.com/mcp")?)
//!     .identity(GitHub::new("Ov23liExample", client_secret))
//!     .allow(AllowList::parse("ada, github:583231")?)
//!     .store(store)
//!     .build()?;
//! # Ok(())
//! # }
//! let corporate = GitHub::new("Ov23liExample", "a secret").enterprise("https://github.corp.example")?;
//! assert_eq!(corporate.id(), "github.corp.example");
//! # Ok::<_, mcp_oauth_core::identity::github::InvalidBaseUrl>(())
//! ```

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use oauth2::{CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope};
use url::Url;

use self::base_url::BaseUrl;
pub use self::base_url::InvalidBaseUrl;
use self::standing::MembershipToken;
use self::upstream::Upstream;
use super::membership::Membership;
use super::tokens::{SignedIn, TokensRefreshed, UpstreamTokens};
use super::{Identity, IdentityError, IdentityProvider, SignIn, SignInReturn, Standing};
use crate::clock::Clock;
use crate::issuer::Issuer;
use crate::secret::Secret;

mod account;
mod api;
mod base_url;
pub mod device;
mod memberships;
mod own_token;
mod standing;
mod token_endpoint;
mod upstream;

/// What is asked of the person: to read the profile, and to read the e-mail addresses
/// (<https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps>). Neither lets anybody
/// change anything.
const SCOPES: [&str; 2] = ["read:user", "user:email"];

/// What is asked for too where organisations or teams count: to read which ones the person belongs to, in the open or
/// not.
const MEMBERSHIP_SCOPE: &str = "read:org";

/// The identity provider GitHub.
///
/// Cheap to clone; clones share their connections once the first call, or [`check`](IdentityProvider::check), has
/// taken place. `Debug` shows neither the client secret nor the membership token.
#[derive(Clone, Debug)]
pub struct GitHub {
    client_id: String,
    client_secret: Secret,
    web: BaseUrl,
    api: BaseUrl,
    provider_id: Option<String>,
    /// `github`, or the host of an Enterprise Server.
    default_id: String,
    display_name: String,
    /// What else is asked of the person.
    more_scopes: Vec<String>,
    /// The organisations and teams that somebody wants to know about.
    wanted: Vec<Membership>,
    membership_token: Option<MembershipToken>,
    upstream: Upstream,
}

impl GitHub {
    /// github.com, for the OAuth app with this client ID and client secret.
    ///
    /// Nothing is contacted, and whether GitHub knows the app shows at the first sign-in; what can be told
    /// beforehand is told by [`check`](IdentityProvider::check).
    #[must_use]
    pub fn new(client_id: impl Into<String>, client_secret: impl Into<Secret>) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            web: BaseUrl::constant("https://github.com"),
            api: BaseUrl::constant("https://api.github.com"),
            provider_id: None,
            default_id: "github".to_owned(),
            display_name: "GitHub".to_owned(),
            more_scopes: Vec::new(),
            wanted: Vec::new(),
            membership_token: None,
            upstream: Upstream::default(),
        }
    }

    /// A GitHub Enterprise Server in place of github.com: `https://github.corp.example`.
    ///
    /// People sign in below `/login/oauth` of it, and its API is at `/api/v3`
    /// (<https://docs.github.com/en/enterprise-server@latest/rest/enterprise-admin>). The provider is then called
    /// by its host; see [`provider_id`](Self::provider_id).
    ///
    /// # Errors
    ///
    /// When `url` is not an absolute https URL (http is for loopback hosts alone), or has a user name, a query or a
    /// fragment.
    pub fn enterprise(self, url: &str) -> Result<Self, InvalidBaseUrl> {
        let web: BaseUrl = url.parse()?;
        let api = web.join("/api/v3");
        Ok(self.at(web, api))
    }

    /// Any other place: `web` is what `/login/oauth/authorize` and `/login/oauth/access_token` come after, and
    /// `api` is what `/user` comes after.
    ///
    /// That is for GitHub Enterprise Cloud with data residency (`https://acme.ghe.com` and
    /// `https://api.acme.ghe.com`), and for tests. As with [`enterprise`](Self::enterprise), the provider is called
    /// by the host, and the port if it has one of its own, of `web`.
    ///
    /// # Errors
    ///
    /// Those of [`enterprise`](Self::enterprise), for either URL.
    pub fn base_urls(self, web: &str, api: &str) -> Result<Self, InvalidBaseUrl> {
        Ok(self.at(web.parse()?, api.parse()?))
    }

    fn at(self, web: BaseUrl, api: BaseUrl) -> Self {
        let default_id = web.authority().to_owned();
        let display_name = format!("GitHub at {default_id}");
        Self {
            web,
            api,
            default_id,
            display_name,
            ..self
        }
    }

    /// What stands in front of every subject: `github` for github.com and the host for anything else, unless said
    /// otherwise.
    ///
    /// It must never change, and it must not be shared by installations, because each of them has an account with
    /// the number 1. Say it before the first person signs in if the host of an Enterprise Server may ever change.
    #[must_use]
    pub fn provider_id(mut self, id: impl Into<String>) -> Self {
        self.provider_id = Some(id.into());
        self
    }

    /// Reads which of these organisations and teams people belong to, whether or not they show it, and asks them for the
    /// scope `read:org` to do so. Without this, nobody belongs to anything; a second call adds to the first.
    ///
    /// To a team belongs whoever belongs to a team below it. Invitations do not count before they are accepted, and
    /// groups are nothing that GitHub has. An organisation that
    /// [restricts OAuth apps](https://docs.github.com/en/organizations/managing-oauth-access-to-your-organizations-data/about-oauth-app-access-restrictions)
    /// or enforces SAML keeps its members to itself until its owners let the app in; until then it has none.
    ///
    /// ```
    /// use mcp_oauth_core::identity::github::GitHub;
    /// use mcp_oauth_core::policy::AllowList;
    ///
    /// let allow = AllowList::parse("org=acme, team=partner/visitors")?;
    /// let github = GitHub::new("Ov23liExample", "a secret").read_memberships(allow.memberships().cloned());
    /// # Ok::<_, mcp_oauth_core::policy::InvalidAllowList>(())
    /// ```
    #[must_use]
    pub fn read_memberships(mut self, memberships: impl IntoIterator<Item = Membership>) -> Self {
        for membership in memberships {
            if !self.wanted.contains(&membership) {
                self.wanted.push(membership);
            }
        }
        self
    }

    /// Asks people for these scopes too. Only of use where a [vault](crate::server::vault) keeps their tokens, for a protected
    /// resource that acts for them at GitHub.
    #[must_use]
    pub fn scopes_for_resources<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.more_scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// A token of the operator's own, by which [`standing`](IdentityProvider::standing) is found out while people are
    /// away. Without one it stays unchanged, and people sign in again when what was learnt is too old.
    ///
    /// That is a classic personal access token with the scope `read:org` alone, or a fine-grained one that may read the
    /// *Members* of the organisation, of somebody who is a member of each organisation that counts and sees each team.
    /// To whom GitHub does not show an organisation, it says that people are not in it. Such a token serves 5,000 calls
    /// an hour; a person costs one call, and one for each organisation and team, each time they are asked about.
    #[must_use]
    pub fn membership_token(mut self, token: impl Into<Secret>) -> Self {
        self.membership_token = Some(MembershipToken::new(token.into()));
        self
    }

    /// How long one call to GitHub may take, from connecting to the last byte of the answer: 10 seconds unless said
    /// otherwise.
    ///
    /// A sign-in takes at most twice that: one call for the token, then all others at the same time. With
    /// [memberships](Self::read_memberships) it takes longer where somebody is in more than a hundred teams, or more than
    /// eight organisations are read.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.upstream.timeout = timeout;
        self
    }

    /// What tells the time, which counts when GitHub names the moment at which it may be asked again; the operating
    /// system unless said otherwise.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.upstream.clock = Arc::new(clock);
        self
    }

    fn scopes(&self) -> impl Iterator<Item = &str> {
        let for_memberships = (!self.wanted.is_empty()).then_some(MEMBERSHIP_SCOPE);
        let for_resources = self.more_scopes.iter().map(String::as_str);
        SCOPES.into_iter().chain(for_memberships).chain(for_resources)
    }
}

#[async_trait]
impl IdentityProvider for GitHub {
    fn id(&self) -> &str {
        self.provider_id.as_deref().unwrap_or(&self.default_id)
    }

    fn display_name(&self) -> &str {
        &self.display_name
    }

    fn check(&self, _issuer: &Issuer) -> Result<(), String> {
        let bare = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
        if !bare(&self.client_id) {
            return Err("GitHub needs the client ID of an OAuth app, without white space".to_owned());
        }
        if !bare(self.client_secret.expose()) {
            return Err("GitHub needs a client secret of the OAuth app, without white space or a line end".to_owned());
        }
        if self
            .membership_token
            .as_ref()
            .is_some_and(|token| !bare(token.expose()))
        {
            return Err("the membership token for GitHub must be a word without white space or a line end".to_owned());
        }
        // A comma or white space would set apart what is one entry of an allow-list.
        if !bare(self.id()) || self.id().contains(',') {
            return Err("the provider ID of GitHub must be a word without white space and commas".to_owned());
        }
        self.upstream.client().map(drop).map_err(|error| {
            let causes = std::iter::successors(Some(&error as &dyn Error), |cause| (*cause).source());
            let cause = causes.last().map(ToString::to_string).unwrap_or_default();
            format!(
                "no HTTPS connection to GitHub can be made ({cause}): \
                 install the certificates that the operating system trusts (often a package called ca-certificates)"
            )
        })
    }

    async fn sign_in_url(&self, sign_in: &SignIn<'_>) -> Result<Url, IdentityError> {
        // `from_code_verifier_sha256` panics unless the verifier has 43 to 128 characters, which those of a sign-in
        // have.
        let verifier = PkceCodeVerifier::new(sign_in.code_verifier.expose().to_owned());
        let client = self.oauth_client();
        let mut request = client
            .authorize_url(|| CsrfToken::new(sign_in.state.expose().to_owned()))
            .set_redirect_uri(Cow::Owned(RedirectUrl::from_url(sign_in.callback.clone())))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_scopes(self.scopes().map(|scope| Scope::new(scope.to_owned())));
        if sign_in.choose_account {
            request = request.add_extra_param("prompt", "select_account");
        }
        Ok(request.url().0)
    }

    /// Asks GitHub who came back.
    ///
    /// # Errors
    ///
    /// * [`Unavailable`](IdentityError::Unavailable) when GitHub cannot be reached, takes too long, answers with a
    ///   status of 500 or above, or limits the rate of requests
    ///   (<https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>); `retry_after` is what
    ///   GitHub says, but no more than an hour.
    /// * [`Unusable`](IdentityError::Unusable) when GitHub refuses the code or the app
    ///   (<https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors>),
    ///   and when an answer is too long, a redirect, or not what GitHub documents.
    ///
    /// No error holds the code, a token, the client secret or any text of GitHub's.
    async fn identify(&self, returned: &SignInReturn<'_>) -> Result<Identity, IdentityError> {
        Ok(self.identify_with_tokens(returned).await?.identity)
    }

    async fn identify_with_tokens(&self, returned: &SignInReturn<'_>) -> Result<SignedIn, IdentityError> {
        self.whose(self.tokens(returned).await?).await
    }

    /// Exchanges the token of a GitHub App that has user tokens expire
    /// (<https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens>).
    /// Those of OAuth apps do not.
    ///
    /// # Errors
    ///
    /// Those of [`identify`](Self::identify), as far as they concern the token endpoint.
    async fn refresh_tokens(&self, tokens: &UpstreamTokens) -> Result<TokensRefreshed, IdentityError> {
        let Some(refresh_token) = &tokens.refresh_token else {
            return Ok(TokensRefreshed::Impossible);
        };
        self.exchange(refresh_token).await
    }

    /// Asks GitHub with the person's own token.
    ///
    /// # Errors
    ///
    /// Those of [`standing`](Self::standing).
    async fn standing_with_tokens(
        &self,
        identity: &Identity,
        tokens: &UpstreamTokens,
    ) -> Result<Standing, IdentityError> {
        let api = self.api(tokens.access_token.expose());
        own_token::standing(&api, identity, &self.wanted, self.email(&api)).await
    }

    fn tells(&self, membership: &Membership) -> bool {
        self.wanted.contains(membership)
    }

    /// Asks GitHub, with the [membership token](Self::membership_token), whether the account is still there, what its
    /// login is now, and to which of the organisations and teams it belongs. The e-mail address stays what it was.
    ///
    /// # Errors
    ///
    /// * [`Unavailable`](IdentityError::Unavailable) as for [`identify`](Self::identify). When GitHub says for how long it
    ///   does not want to be asked, it is not asked for that long, about anybody.
    /// * [`Unusable`](IdentityError::Unusable) when GitHub refuses the token, or its answer is not what GitHub documents.
    async fn standing(&self, identity: &Identity) -> Result<Standing, IdentityError> {
        match &self.membership_token {
            Some(token) => token.standing(&self.api(token.expose()), identity, &self.wanted).await,
            None => Ok(Standing::Unchanged),
        }
    }
}

fn unusable(what: impl Into<String>) -> IdentityError {
    IdentityError::Unusable(what.into())
}
