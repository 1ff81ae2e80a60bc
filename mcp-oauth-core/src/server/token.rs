//! The token endpoint (OAuth 2.1 §3.2): a code or a refresh token becomes an access token. Devices, which poll here,
//! have a [file of their own](super::device).
//!
//! The client is proven first; a client that fails uses nothing up. Then the grant decides, purely, and its new
//! state is stored with one compare-and-set: if somebody else was faster, the grant decides again on what it finds
//! now.
//!
//! ```
//! use mcp_oauth_core::server::token::TokenResponse;
//!
//! fn lifetime(response: &TokenResponse) -> u64 {
//!     response.expires_in
//! }
//! ```

use std::time::Duration;

use futures_util::TryFutureExt as _;
use futures_util::future::{join, try_join4};
use serde::Serialize;
use tracing::field::Empty;

use super::client_authentication::presented_client;
use super::not_before::{NotBefore, Stored};
pub use super::token_error::TokenError;
use super::{AuthorizationServer, MAXIMUM_ROUNDS, contended, grant_key};
use crate::audit::{Action, Event};
use crate::client::registration::GrantType;
use crate::client::{Client, ClientId};
use crate::clock::UnixTime;
use crate::error::{ErrorCode, OAuthError};
use crate::grant::{Approval, AuthorizationCode, Grant, GrantId, Redemption, RefreshToken, Transition};
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::pkce::CodeVerifier;
use crate::resource::ResourceUri;
use crate::revocation::Holder;
use crate::scope::ScopeSet;
use crate::secret::{Secret, exposed, exposed_if_any};
use crate::store::{self, Loaded, StoreError};
use crate::token::claims::{AccessTokenClaims, TokenId};

/// A successful answer (RFC 6749 §5.1). Serialises as its JSON body, which holds the tokens.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct TokenResponse {
    /// The access token.
    #[serde(serialize_with = "exposed")]
    pub access_token: Secret,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// For how many seconds the access token is good.
    pub expires_in: u64,
    /// The refresh token to use next; the one before it is no longer good.
    #[serde(serialize_with = "exposed_if_any", skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Secret>,
    /// How far the access token reaches; left out where the resource knows no scopes.
    #[serde(skip_serializing_if = "ScopeSet::is_empty")]
    pub scope: ScopeSet,
}

/// What is asked of the token endpoint.
struct TokenRequest {
    proof: Proof,
    /// The resources that the token is for, if fewer than were approved.
    resources: Option<Vec<ResourceUri>>,
    scope: Option<String>,
}

/// What the client shows for a token.
enum Proof {
    Code {
        code: Option<AuthorizationCode>,
        redirect_uri: Option<String>,
        verifier: CodeVerifier,
    },
    Refresh {
        token: Option<RefreshToken>,
    },
}

impl Proof {
    fn read(form: &Parameters) -> Result<Self, OAuthError> {
        match form.require("grant_type")? {
            "authorization_code" => {
                let code = form.require("code")?;
                let verifier = form.require("code_verifier")?;
                let verifier = verifier.parse().map_err(|error: crate::pkce::InvalidPkce| {
                    OAuthError::new(ErrorCode::InvalidRequest, error.to_string())
                })?;
                let redirect_uri = form.get("redirect_uri")?.map(str::to_owned);
                Ok(Self::Code {
                    code: code.parse().ok(),
                    redirect_uri,
                    verifier,
                })
            }
            "refresh_token" => Ok(Self::Refresh {
                token: form.require("refresh_token")?.parse().ok(),
            }),
            _ => Err(OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                "the grant_type is not one of those that the metadata of this server lists",
            )),
        }
    }

    fn grant_type(&self) -> GrantType {
        match self {
            Self::Code { .. } => GrantType::AuthorizationCode,
            Self::Refresh { .. } => GrantType::RefreshToken,
        }
    }

    fn grant(&self) -> Option<&GrantId> {
        match self {
            Self::Code { code, .. } => code.as_ref().map(AuthorizationCode::grant),
            Self::Refresh { token } => token.as_ref().map(RefreshToken::grant),
        }
    }
}

impl AuthorizationServer {
    /// Answers a token request. `authorization` is the value of the header of that name.
    ///
    /// # Errors
    ///
    /// The error codes of RFC 6749 §5.2 and RFC 8707 §2; `temporarily_unavailable` when the store does not answer.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn token(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        origin: &Origin,
    ) -> Result<TokenResponse, TokenError> {
        let mut event = Event::new(Action::IssueTokens(None), origin);
        // So many ways lead to tokens that whoever waits for this would have to hold 16 KiB.
        let result = Box::pin(self.tokens(form, authorization, &mut event)).await;
        self.audited(event, result)
    }

    async fn tokens(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<TokenResponse, TokenError> {
        // What leads to no grant yet has its own way.
        if self.lets_devices_in() && form.get("grant_type")? == Some(GrantType::DeviceCode.as_str()) {
            return self.device_tokens(form, authorization, event).await;
        }
        let presented = presented_client(form, authorization, event)?;
        match form.get("grant_type")? {
            Some(name) if name == GrantType::ClientCredentials.as_str() && self.offers_client_credentials() => {
                return self.client_credentials(form, &presented, event).await;
            }
            Some(name) if name == GrantType::JwtBearer.as_str() && self.takes_assertions() => {
                return self.enterprise(form, &presented, event).await;
            }
            _ => {}
        }
        let request = TokenRequest {
            proof: Proof::read(form)?,
            resources: self.wanted_resources(form)?,
            scope: form.get("scope")?.map(str::to_owned),
        };
        event.action = Action::IssueTokens(Some(request.proof.grant_type()));
        event.grant = request.proof.grant().cloned();
        let (found, mut loaded, (), mark) = try_join4(
            self.find_client(&presented, &event.origin),
            self.find_grant(&request.proof).err_into(),
            self.prepare_keys().err_into(),
            self.mark_of(presented.client_id()).err_into(),
        )
        .await?;
        let known = self
            .authenticate(&presented, found, &event.origin)
            .await
            .map_err(|error| TokenError::challenging(error, presented.used_header()))?;
        let client = &known.record;
        if !client.metadata.grant_types.contains(&request.proof.grant_type()) {
            return Err(OAuthError::new(
                ErrorCode::UnauthorizedClient,
                "the client has not registered this grant type",
            )
            .into());
        }
        for _ in 0..MAXIMUM_ROUNDS {
            let grant = loaded.ok_or_else(gone)?;
            event.resources.clone_from(&grant.record.resources);
            event.subject = Some(grant.record.identity.subject());
            let of_client = grant.record.client_id == client.client_id;
            if of_client && mark.is_some_and(|mark| mark.ends(&grant.record)) {
                self.end_marked(&grant.record, &event.origin).await?;
                return Err(gone().into());
            }
            // Before it is known whether all of its person's grants are over: what is issued then has to be over too.
            let issued_at = self.now();
            let decided = self.decide(&request, client, &grant.record)?;
            match self
                .reconsider(decided, &grant, client, request.proof.grant_type(), &event.origin)
                .await?
            {
                Transition::Store(next, refresh_token) => {
                    let renewed = join(
                        self.renew_client(Some(&known)),
                        self.hint_again(&next, grant.record.last_used_at),
                    );
                    let stored = self.store_unless_over(&next, self.replace_grant(&grant, &next));
                    let (stored, _) = join(stored, renewed).await;
                    match stored? {
                        Stored::Yes => return self.issue_for(&request, &next, refresh_token.as_ref(), issued_at),
                        Stored::No => {}
                        Stored::Over => {
                            self.end_marked(&next, &event.origin).await?;
                            return Err(gone().into());
                        }
                    }
                }
                Transition::Answer(refresh_token) => {
                    if self.person_ended(&grant.record).await? {
                        self.end_marked(&grant.record, &event.origin).await?;
                        return Err(gone().into());
                    }
                    return self.issue_for(&request, &grant.record, refresh_token.as_ref(), issued_at);
                }
                Transition::End(reason) => {
                    self.end_grant(grant, reason, &event.origin).await?;
                    return Err(gone().into());
                }
                Transition::Refuse(error) => return Err(error.into()),
                Transition::Again => {}
            }
            loaded = self.find_grant(&request.proof).await?;
        }
        Err(contended().into())
    }

    async fn mark_of(&self, client_id: Option<&ClientId>) -> Result<Option<NotBefore>, StoreError> {
        match client_id {
            Some(client_id) => self.not_before(&Holder::Client(client_id.clone())).await,
            None => Ok(None),
        }
    }

    async fn find_grant(&self, proof: &Proof) -> Result<Option<Loaded<Grant>>, StoreError> {
        match proof.grant() {
            Some(grant) => self.load_grant(grant).await,
            None => Ok(None),
        }
    }

    /// What the grant says to the request. Nothing is stored yet.
    fn decide(
        &self,
        request: &TokenRequest,
        client: &Client,
        grant: &Grant,
    ) -> Result<Transition<Option<RefreshToken>, OAuthError>, OAuthError> {
        let refused = |reason: String| OAuthError::new(ErrorCode::InvalidGrant, reason);
        let transition = match &request.proof {
            Proof::Code {
                code,
                redirect_uri,
                verifier,
            } => {
                let redemption = Redemption {
                    code: code.as_ref().ok_or_else(gone)?,
                    client_id: &client.client_id,
                    redirect_uri: redirect_uri.as_deref(),
                    code_verifier: verifier,
                    with_refresh_token: client.metadata.grant_types.contains(&GrantType::RefreshToken),
                };
                let decided = grant.redeem(&redemption, self.now(), self.randomness());
                decided.map(|token| token, |reason| refused(reason.to_string()))
            }
            Proof::Refresh { token } => {
                let token = token.as_ref().ok_or_else(gone)?;
                let window = self.0.lifetimes.grant.refresh_window;
                let decided = grant.refresh(token, &client.client_id, self.now(), window, self.randomness());
                decided.map(Some, |reason| refused(reason.to_string()))
            }
        };
        if !matches!(transition, Transition::Store(..) | Transition::Answer(_)) {
            return Ok(transition);
        }
        // RFC 8707 §2.2: fewer resources than were approved, never others.
        let approved = |wanted: &ResourceUri| grant.resources.contains(wanted);
        if !request.resources.iter().flatten().all(approved) {
            let error = OAuthError::new(ErrorCode::InvalidTarget, "the resource is not one that was approved");
            return Ok(Transition::Refuse(error));
        }
        Ok(transition)
    }

    fn issue_for(
        &self,
        request: &TokenRequest,
        grant: &Grant,
        refresh_token: Option<&RefreshToken>,
        issued_at: UnixTime,
    ) -> Result<TokenResponse, TokenError> {
        let (resources, scope) = (request.resources.as_deref(), request.scope.as_deref());
        self.issue(resources, scope, grant, refresh_token, issued_at)
    }

    /// Makes a grant that no code leads to and no refresh token comes of, and issues its access token.
    pub(super) async fn issue_without_code(
        &self,
        approval: Approval,
        event: &mut Event,
    ) -> Result<TokenResponse, TokenError> {
        let (grant, _) = Grant::without_code(approval, false, self.now(), self.randomness());
        event.subject = Some(grant.identity.subject());
        event.grant = Some(grant.id.clone());
        event.resources.clone_from(&grant.resources);
        // Before anything is stored, so that nothing is left behind if it fails.
        let tokens = self.issue(None, None, &grant, None, self.now())?;
        let (key, time_to_live) = (grant_key(&grant.id), self.grant_time_to_live(&grant));
        let inserted = store::insert(self.store(), &key, &grant, Some(time_to_live));
        let (inserted, ()) = join(inserted, self.hint(&grant)).await;
        inserted?;
        Ok(tokens)
    }

    /// Makes the answer. `resources` and `scope` are what the request asks for, if that is less than was approved;
    /// `issued_at` is a moment before it was known that the grant is not over.
    pub(super) fn issue(
        &self,
        resources: Option<&[ResourceUri]>,
        scope: Option<&str>,
        grant: &Grant,
        refresh_token: Option<&RefreshToken>,
        issued_at: UnixTime,
    ) -> Result<TokenResponse, TokenError> {
        let scope = narrowed(&grant.scopes, scope);
        let now = issued_at;
        let lifetime: Duration = self.0.lifetimes.access_token;
        let audience = resources.unwrap_or(&grant.resources);
        let claims = AccessTokenClaims {
            issuer: self.issuer().as_str().to_owned(),
            audience: audience.iter().map(|uri| uri.as_str().to_owned()).collect(),
            subject: grant.identity.subject(),
            client_id: grant.client_id.clone(),
            scope: scope.clone(),
            issued_at: now,
            expires_at: now + lifetime,
            not_before: None,
            jti: TokenId::drawn_from(self.randomness(), &grant.id),
            username: grant.identity.login.clone(),
            name: grant.identity.name.clone(),
        };
        let access_token = self.0.keys.sign(&claims, now).map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an access token could not be signed"
            );
            OAuthError::new(
                ErrorCode::TemporarilyUnavailable,
                "the server could not sign a token, try again",
            )
        })?;
        Ok(TokenResponse {
            access_token,
            token_type: "Bearer",
            expires_in: lifetime.as_secs(),
            refresh_token: refresh_token.map(RefreshToken::expose),
            scope,
        })
    }
}

/// The scopes of an access token: what the request names, as far as it was approved. Clients also send what they
/// had asked for at first, so what was not approved is left out; if nothing is left, all that was approved is
/// meant.
fn narrowed(approved: &ScopeSet, asked: Option<&str>) -> ScopeSet {
    let asked: ScopeSet = asked
        .unwrap_or_default()
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let both = approved.intersection(&asked);
    if both.is_empty() { approved.clone() } else { both }
}

fn gone() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidGrant,
        "the code or refresh token is unknown, expired or was used before",
    )
}
