//! What a layer protects, and what it decides about a request.

use http::{HeaderMap, Request, Uri, header};
use mcp_oauth_core::resource::ResourceUri;
use mcp_oauth_core::scope::ScopeSet;
use mcp_oauth_core::secret::{MarkingKey, Secret};
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::server::access::{UnconfirmedToken, VerifiedToken};
use mcp_oauth_core::token::claims::AccessTokenClaims;

use crate::bearer::{self, Bearer};
use crate::caller::Caller;
use crate::refusal::{Challenges, Refusal};
use crate::session;

/// What the layer and its services share.
#[derive(Debug)]
pub(crate) struct Protection {
    pub(crate) server: AuthorizationServer,
    pub(crate) resource: ResourceUri,
    pub(crate) required: ScopeSet,
    pub(crate) challenges: Challenges,
    pub(crate) session_key: MarkingKey,
}

/// What is to be done with a request.
pub(crate) enum Decision {
    Admit(Caller),
    Refuse(Refusal),
    /// Admit or refuse when the store has said whether the token's grant has ended.
    Confirm(UnconfirmedToken),
}

impl Protection {
    pub(crate) fn with_session_secret(&self, secret: &Secret) -> Self {
        Self {
            server: self.server.clone(),
            resource: self.resource.clone(),
            required: self.required.clone(),
            challenges: self.challenges.clone(),
            session_key: MarkingKey::from_secret(secret),
        }
    }

    pub(crate) fn decide(&self, headers: &HeaderMap, uri: &Uri) -> Decision {
        let token = match bearer::read(headers, uri) {
            Bearer::Absent => return Decision::Refuse(Refusal::Unauthenticated),
            Bearer::Malformed => return Decision::Refuse(Refusal::InvalidRequest),
            Bearer::Token(token) => token,
        };
        match self.server.verify_access_token(token, &self.resource) {
            Err(reason) => {
                tracing::debug!(resource = %self.resource, %reason, "an access token was refused");
                Decision::Refuse(Refusal::InvalidToken)
            }
            Ok(VerifiedToken::Unconfirmed(token)) => Decision::Confirm(token),
            Ok(VerifiedToken::Good(claims)) => match self.authorize(claims) {
                Ok(caller) => Decision::Admit(caller),
                Err(refusal) => Decision::Refuse(refusal),
            },
        }
    }

    /// Whether the claims of a good token suffice for this resource.
    pub(crate) fn authorize(&self, claims: AccessTokenClaims) -> Result<Caller, Refusal> {
        if claims.scope.contains_all(&self.required) {
            Ok(Caller::new(claims, self.resource.clone()))
        } else {
            Err(Refusal::InsufficientScope)
        }
    }

    /// Gives the request the form in which the server behind may see it.
    pub(crate) fn admit<B>(&self, request: &mut Request<B>, caller: &Caller) -> Result<(), Refusal> {
        session::unmark(request.headers_mut(), &self.session_key, caller).map_err(|_| Refusal::UnknownSession)?;
        request.headers_mut().remove(header::AUTHORIZATION);
        request.extensions_mut().insert(caller.clone());
        Ok(())
    }
}
