//! Identity tokens: the server's word to a backend for who is calling.
//!
//! A reverse proxy that asks this server about each request hands the caller's name on in plain headers, which a
//! backend can only believe as long as nobody else reaches it. An identity token says the same under the server's
//! signature: for one backend (`aud`), for a minute, and only for reading. It opens nothing here, since its `typ` is
//! not that of an access token (RFC 8725 §3.11).
//!
//! | claim | |
//! |---|---|
//! | `iss` | the issuer of this server, whose keys are at its `jwks_uri` |
//! | `aud` | the protected resource that was called |
//! | `sub` | the person: unique within the issuer and never reassigned |
//! | `client_id` | the client that calls on their behalf |
//! | `scope` | how far the access token reaches |
//! | `grant_id` | the grant that it was issued under, if that is known |
//! | `username`, `name` | what the person signs in with, and what they are called, if that is known |
//! | `iat`, `exp` | when it was made, and when it ends |
//!
//! A backend verifies the signature with a key of the JWKS that is for the algorithm named there, and compares `typ`,
//! `iss` and `aud` to the byte, and `exp` with its clock.
//!
//! ```
//! use mcp_oauth_core::resource::ResourceUri;
//! use mcp_oauth_core::secret::Secret;
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::token::claims::AccessTokenClaims;
//! use mcp_oauth_core::server::identity_token::{Identified, IdentityTokenError};
//!
//! fn introduce(
//!     server: &AuthorizationServer,
//!     claims: &AccessTokenClaims,
//!     resource: &ResourceUri,
//! ) -> Result<Secret, IdentityTokenError> {
//!     let client_id = claims.client_id.as_str();
//!     let mut identified = Identified::new(&claims.subject, client_id, &claims.scope, resource, claims.expires_at);
//!     identified.grant = Some(claims.jti.grant().as_str());
//!     identified.username = claims.username.as_deref();
//!     identified.name = claims.name.as_deref();
//!     server.identity_token(&identified)
//! }
//! ```

use std::time::Duration;

use serde::Serialize;

use super::AuthorizationServer;
use crate::clock::UnixTime;
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;
use crate::secret::Secret;
use crate::token::keys::KeyError;

/// The `typ` of an identity token.
pub const IDENTITY_TOKEN_TYPE: &str = "mcp-identity+jwt";

/// How long an identity token is good, if the access token lasts that long: the time of one request on its way to the
/// backend, and of clocks that differ.
pub const IDENTITY_TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// Whom an identity token names, and to whom.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Identified<'a> {
    /// The person.
    pub subject: &'a str,
    /// The client that calls on their behalf.
    pub client_id: &'a str,
    /// How far the access token reaches.
    pub scope: &'a ScopeSet,
    /// The grant that it was issued under, if its issuer tells.
    pub grant: Option<&'a str>,
    /// The name the person signs in with.
    pub username: Option<&'a str>,
    /// What the person is called.
    pub name: Option<&'a str>,
    /// The resource that was called, whose backend is told.
    pub resource: &'a ResourceUri,
    /// When the access token ends.
    pub until: UnixTime,
}

impl<'a> Identified<'a> {
    /// Somebody of whom no more is known than their subject, in the hands of a client whose access token reaches as far as
    /// `scope` and ends at `until`, named to the backend of `resource`.
    #[must_use]
    pub fn new(
        subject: &'a str,
        client_id: &'a str,
        scope: &'a ScopeSet,
        resource: &'a ResourceUri,
        until: UnixTime,
    ) -> Self {
        Self {
            subject,
            client_id,
            scope,
            grant: None,
            username: None,
            name: None,
            resource,
            until,
        }
    }
}

/// An identity token cannot be signed at the moment.
#[derive(Debug, thiserror::Error)]
#[error("no identity token can be signed at the moment")]
#[non_exhaustive]
pub struct IdentityTokenError(#[from] KeyError);

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    client_id: &'a str,
    scope: &'a ScopeSet,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    iat: UnixTime,
    exp: UnixTime,
}

impl AuthorizationServer {
    /// Signs an identity token with the key that access tokens are signed with.
    ///
    /// The keys have to be known, as they are after an access token was verified.
    ///
    /// # Errors
    ///
    /// When they are not, or when the cryptographic library fails.
    pub fn identity_token(&self, identified: &Identified<'_>) -> Result<Secret, IdentityTokenError> {
        let now = self.now();
        let claims = Claims {
            iss: self.0.issuer.as_str(),
            aud: identified.resource.as_str(),
            sub: identified.subject,
            client_id: identified.client_id,
            scope: identified.scope,
            grant_id: identified.grant,
            username: identified.username,
            name: identified.name,
            iat: now,
            exp: identified.until.min(now + IDENTITY_TOKEN_LIFETIME),
        };
        Ok(self.0.keys.sign_jwt(IDENTITY_TOKEN_TYPE, &claims, now)?)
    }
}
