//! What a layer protects, and what it decides about a request.

use http::{HeaderMap, Request, Uri, header};
use mcp_oauth_core::scope::ScopeSet;
use mcp_oauth_core::secret::{MarkingKey, Secret};

use crate::authenticator::{Authenticator, Decision};
use crate::bearer::{self, Bearer};
use crate::caller::Caller;
use crate::refusal::{Challenges, Refusal};
use crate::session;

/// What the layer and its services share.
#[derive(Debug)]
pub(crate) struct Protection {
    pub(crate) authenticator: Authenticator,
    pub(crate) required: ScopeSet,
    pub(crate) challenges: Challenges,
    pub(crate) session_key: MarkingKey,
}

impl Protection {
    pub(crate) fn with_session_secret(&self, secret: &Secret) -> Self {
        Self {
            authenticator: self.authenticator.clone(),
            required: self.required.clone(),
            challenges: self.challenges.clone(),
            session_key: MarkingKey::from_secret(secret),
        }
    }

    /// Who calls, by the token in the `Authorization` header.
    pub(crate) fn authenticate(&self, headers: &HeaderMap, uri: &Uri) -> Decision {
        match bearer::read(headers, uri) {
            Bearer::Absent => Decision::Ready(Err(Refusal::Unauthenticated)),
            Bearer::Malformed => Decision::Ready(Err(Refusal::InvalidRequest)),
            Bearer::Token(token) => self.authenticator.authenticate(token),
        }
    }

    /// Gives the request the form in which the server behind may see it, if the caller's scopes suffice.
    pub(crate) fn admit<B>(&self, request: &mut Request<B>, caller: &Caller) -> Result<(), Refusal> {
        if !caller.scopes().contains_all(&self.required) {
            return Err(Refusal::InsufficientScope);
        }
        session::unmark(request.headers_mut(), &self.session_key, caller).map_err(|_| Refusal::UnknownSession)?;
        request.headers_mut().remove(header::AUTHORIZATION);
        request.extensions_mut().insert(caller.clone());
        Ok(())
    }
}
