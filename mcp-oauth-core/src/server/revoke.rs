//! Token revocation (RFC 7009): a client gives back a token of its own.
//!
//! The grant is the unit: whichever of its tokens is given back, the grant ends, and with it all the others. A
//! token that is unknown, or somebody else's, is answered like one that was revoked, and nothing happens.
//!
//! ```
//! use mcp_oauth_core::origin::Origin;
//! use mcp_oauth_core::parameters::Parameters;
//! use mcp_oauth_core::server::AuthorizationServer;
//!
//! async fn sign_out(server: &AuthorizationServer, refresh_token: &str, client_id: &str) -> bool {
//!     let pairs = [("token", refresh_token), ("client_id", client_id)];
//!     let form = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect::<Parameters>();
//!     server.revoke(&form, None, &Origin::unknown()).await.is_ok()
//! }
//! ```

use tracing::field::Empty;

use super::AuthorizationServer;
use super::known_token::KnownToken;
use super::token_error::TokenError;
use crate::audit::{Action, Event};
use crate::grant::EndReason;
use crate::origin::Origin;
use crate::parameters::Parameters;

impl AuthorizationServer {
    /// Answers a revocation request. `authorization` is the value of the header of that name.
    ///
    /// # Errors
    ///
    /// `invalid_request` without a token; `invalid_client` when the client does not prove itself;
    /// `temporarily_unavailable` when the store does not answer, in which case the token may still be good.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn revoke(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        origin: &Origin,
    ) -> Result<(), TokenError> {
        let mut event = Event::new(Action::Revoke, origin);
        let result = self.end_own(form, authorization, &mut event).await;
        self.audited(event, result)
    }

    async fn end_own(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<(), TokenError> {
        let (client, found) = self.proven_client_and_token(form, authorization, event).await?;
        let grant = match found.filter(|found| found.is_of(&client)) {
            Some(KnownToken::Refresh { grant, .. }) => Some(grant),
            Some(KnownToken::Access { grant, .. }) => grant,
            None => None,
        };
        if let Some(grant) = grant {
            event.grant = Some(grant.record.id.clone());
            event.subject = Some(grant.record.identity.subject());
            self.end_grant(grant, EndReason::Revoked, &event.origin).await?;
        }
        Ok(())
    }
}
