//! What a protected resource knows of a caller: an access token that was found good for it.
//!
//! Whoever has verified a token gives the same answer, an [`AccessToken`]:
//!
//! * an [`AuthorizationServer`](crate::server::AuthorizationServer) of one's own, with its own keys and with what it knows
//!   of ended grants ([`server::access`](crate::server::access));
//! * with the feature `remote-jwks`, `foreign::ForeignTokens`, for tokens that somebody else's authorization server
//!   has issued: signed ones by the keys that it publishes, opaque ones by asking it.
//!
//! Both remember what was found good, so that a token is verified once and looked up afterwards. What is remembered is found
//! by a hash of the whole token and of the resource, which only this process can make; it lies in a bounded cache, and counts
//! only until the token expires, its grant ends, or the key that signed it is withdrawn. A token that was refused is never
//! remembered: there are as many of those as anybody likes to make up.
//!
//! ```
//! use mcp_oauth_core::access::AccessToken;
//!
//! fn may_write(token: &AccessToken) -> bool {
//!     token.scopes.contains("notes:write")
//! }
//! ```

use std::sync::Arc;

use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::grant::GrantId;
#[cfg(feature = "remote-jwks")]
use crate::jwt::keys::JwkSet;
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;
use crate::token::claims::AccessTokenClaims;

#[cfg(feature = "remote-jwks")]
pub mod foreign;
pub(crate) mod remembered;

/// An access token that was found good for one protected resource: who calls, by which client, and how far that reaches.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessToken {
    /// Who issued it.
    pub issuer: Arc<str>,
    /// On whose behalf (`sub`): unique within the issuer.
    pub subject: String,
    /// Who uses it.
    pub client_id: ClientId,
    /// How far it reaches.
    pub scopes: ScopeSet,
    /// The protected resource that it was found good for.
    pub resource: ResourceUri,
    /// The grant that it was issued under, where this server issued it.
    pub grant: Option<GrantId>,
    /// The name the person signs in with. It can change and be reassigned.
    pub username: Option<String>,
    /// What the person is called.
    pub name: Option<String>,
    /// When it was issued, where that is known.
    pub issued_at: Option<UnixTime>,
    /// When it stops being good; the moment of the answer if nobody has said.
    pub expires_at: UnixTime,
    /// What has to go on being true for the token to be good.
    pub(crate) proof: Proof,
}

/// Why a token was found good.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// A key of this server's own has signed it.
    OwnKey(String),
    /// A key of this set of somebody else's has signed it.
    #[cfg(feature = "remote-jwks")]
    Keys(Arc<JwkSet>),
    /// Somebody else has said so, and that counts until then.
    #[cfg(feature = "remote-jwks")]
    Word(UnixTime),
}

impl AccessToken {
    /// A token of this server's own.
    pub(crate) fn own(claims: AccessTokenClaims, resource: &ResourceUri, kid: String) -> Self {
        Self {
            issuer: claims.issuer.into(),
            subject: claims.subject,
            client_id: claims.client_id,
            scopes: claims.scope,
            resource: resource.clone(),
            grant: Some(claims.jti.grant().clone()),
            username: claims.username,
            name: claims.name,
            issued_at: Some(claims.issued_at),
            expires_at: claims.expires_at,
            proof: Proof::OwnKey(kid),
        }
    }
}
