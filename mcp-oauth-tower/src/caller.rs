//! Who calls: what the layer hands to the server behind it.
//!
//! [`OAuthLayer`](crate::OAuthLayer) puts a [`Caller`] into the extensions of every request that it lets through.
//! In an axum handler it is an extractor; in an `rmcp` tool it is an argument (feature `rmcp`), and without that feature it is
//! found in the extensions of the request's parts.
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use mcp_oauth_tower::Caller;
//!
//! async fn whoami(caller: Caller) -> String {
//!     format!("{} by way of {}", caller.subject(), caller.client_id())
//! }
//! # let _: axum::Router = axum::Router::new().route("/whoami", axum::routing::get(whoami));
//! # }
//! ```

use std::sync::Arc;

use mcp_oauth_core::access::AccessToken;
use mcp_oauth_core::clock::UnixTime;
use mcp_oauth_core::grant::GrantId;
use mcp_oauth_core::resource::ResourceUri;
use mcp_oauth_core::scope::ScopeSet;
use mcp_oauth_core::server::identity_token::Identified;

/// The verified caller of a request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller(Arc<AccessToken>);

impl Caller {
    pub(crate) fn new(token: Arc<AccessToken>) -> Self {
        Self(token)
    }

    /// What was verified: the same thing as long as it is remembered.
    #[cfg(feature = "axum")]
    pub(crate) fn token(&self) -> &Arc<AccessToken> {
        &self.0
    }

    /// The person (`sub`): unique within the issuer and never reassigned, such as `github:583231`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The name the person signs in with. It can change and be reassigned: show it, but decide by
    /// [`subject`](Self::subject).
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.0.username.as_deref()
    }

    /// What the person is called.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The client that calls on the person's behalf.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.0.client_id.as_str()
    }

    /// How far the token reaches.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.0.scopes
    }

    /// The grant that the token was issued under, which only this project's own tokens tell.
    #[must_use]
    pub fn grant(&self) -> Option<&str> {
        self.0.grant.as_ref().map(GrantId::as_str)
    }

    /// The protected resource that was called.
    #[must_use]
    pub fn resource(&self) -> &ResourceUri {
        &self.0.resource
    }

    /// Who issued the token.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// What an [identity token](mcp_oauth_core::server::identity_token) for the server behind says: all of this.
    #[must_use]
    pub fn identified(&self) -> Identified<'_> {
        let (subject, client_id, scopes) = (self.subject(), self.client_id(), self.scopes());
        let mut identified = Identified::new(subject, client_id, scopes, self.resource(), self.expires_at());
        identified.grant = self.grant();
        identified.username = self.username();
        identified.name = self.name();
        identified
    }

    /// When the token was issued, if its issuer tells.
    #[must_use]
    pub fn issued_at(&self) -> Option<UnixTime> {
        self.0.issued_at
    }

    /// When the token stops being good. Of an opaque token of which nobody tells, the moment in which it was asked about.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.0.expires_at
    }
}

#[cfg(feature = "axum")]
mod extract {
    use axum::extract::{FromRequestParts, OptionalFromRequestParts};
    use axum::response::{IntoResponse, Response};
    use http::StatusCode;
    use http::request::Parts;

    use super::Caller;

    /// A handler asked for the [`Caller`], but no [`OAuthLayer`](crate::OAuthLayer) is in front of it: an error of
    /// the program, answered with 500.
    #[derive(Clone, Copy, Debug, thiserror::Error)]
    #[error("no OAuthLayer is in front of this handler")]
    #[non_exhaustive]
    pub struct CallerMissing;

    impl IntoResponse for CallerMissing {
        fn into_response(self) -> Response {
            tracing::error!("{self}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }

    impl<S: Sync> FromRequestParts<S> for Caller {
        type Rejection = CallerMissing;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, CallerMissing> {
            parts.extensions.get::<Self>().cloned().ok_or(CallerMissing)
        }
    }

    impl<S: Sync> OptionalFromRequestParts<S> for Caller {
        type Rejection = std::convert::Infallible;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
            Ok(parts.extensions.get::<Self>().cloned())
        }
    }
}

#[cfg(feature = "axum")]
pub use extract::CallerMissing;

#[cfg(feature = "rmcp")]
mod argument {
    use http::request::Parts;
    use rmcp::ErrorData;
    use rmcp::handler::server::common::{AsRequestContext, FromContextPart};

    use super::Caller;

    /// In a tool or a prompt of an `rmcp` server, the caller is an argument.
    impl<C: AsRequestContext> FromContextPart<C> for Caller {
        fn from_context_part(context: &mut C) -> Result<Self, ErrorData> {
            let request = context.as_request_context().extensions.get::<Parts>();
            let caller = request.and_then(|request| request.extensions.get::<Self>());
            caller
                .cloned()
                .ok_or_else(|| ErrorData::internal_error("no OAuthLayer is in front of this server", None))
        }
    }
}
