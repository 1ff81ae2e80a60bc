//! Who somebody is: what the ID token says, and what the userinfo endpoint adds to it (OpenID Connect Core §3.1.3.7, §5.3).

use serde_json::{Map, Value};
use url::Url;

use super::claims::Mapping;
use super::discovery::Metadata;
use super::id_token::{self, Expected, IdToken};
use super::issuer::IssuerRule;
use super::token_endpoint::{NoTokens, TokenAnswer};
use super::{OpenIdConnect, nonce, unusable};
use crate::identity::tokens::UpstreamTokens;
use crate::identity::{Identity, IdentityError, SignInReturn, Standing};
use crate::jwt::remote::RemoteKeysError;
use crate::jwt::verify::UnverifiedJwt;
use crate::secret::Secret;

/// What the userinfo endpoint says.
enum Userinfo {
    Claims(Map<String, Value>),
    TokenRefused,
}

impl OpenIdConnect {
    /// The claims of an ID token that the provider has signed for this client.
    async fn verified(
        &self,
        metadata: &Metadata,
        id_token: &Secret,
        access_token: &Secret,
        nonce: Option<&Secret>,
    ) -> Result<IdToken, IdentityError> {
        let jwt = UnverifiedJwt::parse(id_token.expose())
            .map_err(|reason| IdentityError::Unusable(format!("the ID token {reason}")))?;
        let now = self.upstream.now();
        let keys = self.keys.get(&metadata.jwks_uri, jwt.kid(), now).await;
        let keys = keys.map_err(|error| match error {
            RemoteKeysError::Unavailable { source } => IdentityError::Unavailable {
                retry_after: None,
                source: source.map(Into::into),
            },
            error => {
                tracing::error!(%error, provider = self.id, "the keys of an identity provider cannot be used");
                unusable("its keys cannot be used")
            }
        })?;
        let expected = Expected {
            issuer: &self.issuer,
            client_id: &self.client_id,
            trusted_audiences: &self.trusted_audiences,
            algorithms: &self.algorithms,
            nonce,
            access_token,
            now,
        };
        id_token::verify(&jwt, &keys, &expected)
    }

    /// Redeems the code, and learns who it is.
    pub(super) async fn signed_in(
        &self,
        returned: &SignInReturn<'_>,
    ) -> Result<(Identity, UpstreamTokens), IdentityError> {
        let code = returned
            .parameters
            .require("code")
            .map_err(|_| unusable("the person came back without exactly one code; sign in again"))?;
        let metadata = self.metadata().await?;
        let answer = self
            .token_endpoint(&metadata)
            .redeem(code, returned.callback, returned.code_verifier.expose())
            .await;
        let TokenAnswer { tokens, id_token } = answer.map_err(|error| match error {
            NoTokens::Refused => unusable("the code has expired, was used before or is somebody else's; sign in again"),
            NoTokens::Failed(error) => error,
        })?;
        let id_token =
            id_token.ok_or_else(|| unusable("its token endpoint gave no ID token: is the scope openid allowed?"))?;
        let nonce = nonce(returned.code_verifier);
        let verified = self
            .verified(&metadata, &id_token, &tokens.access_token, Some(&nonce))
            .await?;
        let claims = self.completed(&metadata, &verified, &tokens).await?;
        let identity = self.mapping.person(&self.id, &verified.subject, &claims)?;
        Ok((identity, tokens))
    }

    /// The claims of the ID token, and those that it leaves out.
    async fn completed(
        &self,
        metadata: &Metadata,
        verified: &IdToken,
        tokens: &UpstreamTokens,
    ) -> Result<Map<String, Value>, IdentityError> {
        let mut claims = verified.claims.clone();
        let (misses_groups, misses_profile) = (
            self.mapping.misses_groups(&claims),
            self.mapping.misses_profile(&claims),
        );
        let Some(endpoint) = metadata
            .userinfo_endpoint
            .as_ref()
            .filter(|_| misses_groups || misses_profile)
        else {
            return Ok(claims);
        };
        match self.userinfo(endpoint, &tokens.access_token).await {
            // What was signed stands (§5.3.2: the subject has to be the same).
            Ok(Userinfo::Claims(more)) if more.get("sub").and_then(Value::as_str) == Some(&verified.sub) => {
                for (name, value) in more {
                    claims.entry(name).or_insert(value);
                }
                Ok(claims)
            }
            Ok(Userinfo::Claims(_)) => Err(unusable("its userinfo endpoint speaks of somebody else (sub)")),
            // Nobody is turned away for a group that could not be asked for, or for having no address to show.
            Err(error) if misses_groups => Err(error),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    provider = self.id,
                    "the userinfo endpoint did not answer; the sign-in goes on without"
                );
                Ok(claims)
            }
            Ok(Userinfo::TokenRefused) if misses_groups => Err(unusable(
                "its userinfo endpoint does not take the token that was just issued",
            )),
            Ok(Userinfo::TokenRefused) => Ok(claims),
        }
    }

    /// Who an ID token is about that came with refreshed tokens (§12.2). The tokens are good whatever is wrong with it, so
    /// then nothing is learnt.
    pub(super) async fn seen_again(
        &self,
        metadata: &Metadata,
        id_token: &Secret,
        tokens: &UpstreamTokens,
    ) -> Option<Identity> {
        let verified = self.verified(metadata, id_token, &tokens.access_token, None).await;
        let person = verified.and_then(|verified| {
            if self.mapping.misses_groups(&verified.claims) || self.mapping.misses_profile(&verified.claims) {
                return Ok(None);
            }
            self.mapping
                .person(&self.id, &verified.subject, &verified.claims)
                .map(Some)
        });
        person.unwrap_or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                provider = self.id,
                "nothing was learnt from an ID token that came with refreshed tokens"
            );
            None
        })
    }

    async fn userinfo(&self, endpoint: &Url, token: &Secret) -> Result<Userinfo, IdentityError> {
        let answer = self.upstream.get(endpoint, token).await?;
        match answer.status().as_u16() {
            200 => serde_json::from_slice(answer.body())
                .map(Userinfo::Claims)
                .map_err(|_| unusable("its userinfo endpoint did not answer with a JSON object")),
            401 => Ok(Userinfo::TokenRefused),
            status => Err(IdentityError::Unusable(format!(
                "its userinfo endpoint answered with status {status}"
            ))),
        }
    }

    /// How somebody stands whom the provider is asked about while they are away, with their own tokens.
    pub(super) async fn asked_again(
        &self,
        identity: &Identity,
        tokens: &UpstreamTokens,
    ) -> Result<Standing, IdentityError> {
        let metadata = self.metadata().await?;
        let Some(endpoint) = &metadata.userinfo_endpoint else {
            return Ok(Standing::Unchanged);
        };
        let claims = match self.userinfo(endpoint, &tokens.access_token).await? {
            Userinfo::Claims(claims) => claims,
            Userinfo::TokenRefused => return Ok(Standing::Revoked),
        };
        let sub = claims.get("sub").and_then(Value::as_str);
        let (_, known) = identity
            .id
            .rsplit_once('/')
            .filter(|_| self.has_tenants())
            .unwrap_or(("", &identity.id));
        if sub != Some(known) {
            return Err(unusable("its userinfo endpoint speaks of somebody else (sub)"));
        }
        if self.mapping.groups_in_id_token_alone && self.mapping.misses_groups(&claims) {
            return Ok(Standing::Unchanged);
        }
        // Claims that everybody has to have are those of the ID token.
        let mapping = Mapping {
            required: Vec::new(),
            ..self.mapping.clone()
        };
        let mut now = mapping.person(&self.id, &identity.id, &claims)?;
        now.login = now.login.or_else(|| identity.login.clone());
        now.name = now.name.or_else(|| identity.name.clone());
        now.learnt_at = identity.learnt_at;
        Ok(if now == *identity {
            Standing::Confirmed
        } else {
            Standing::Changed(now)
        })
    }

    fn has_tenants(&self) -> bool {
        matches!(self.issuer, IssuerRule::Tenants { .. })
    }
}
