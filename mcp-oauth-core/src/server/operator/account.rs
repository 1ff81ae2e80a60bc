//! What a person sees of what they have granted, and ends.
//!
//! An [`Account`] is a server seen by one person, whoever has made sure that it is they. It shows and ends nothing that is
//! not theirs: the identifier of somebody else's grant is as good as made up.
//!
//! ```
//! use mcp_oauth_core::grant::GrantId;
//! use mcp_oauth_core::origin::Origin;
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::server::operator::OperatorError;
//!
//! async fn forget_what_is_unused(server: &AuthorizationServer, subject: &str) -> Result<(), OperatorError> {
//!     let account = server.account(subject, Origin::unknown());
//!     for grant in account.grants().await? {
//!         if grant.last_used_at == grant.approved_at {
//!             account.end_grant(&grant.id).await?;
//!         }
//!     }
//!     Ok(())
//! }
//! ```

use super::{GrantView, MAXIMUM_PAGE, Operator, OperatorError, Whose};
use crate::audit::{Action, Event};
use crate::client::{ClientId, ClientIdentity};
use crate::grant::{EndReason, GrantId};
use crate::origin::Origin;
use crate::revocation::Holder;
use crate::server::AuthorizationServer;
use crate::server::authorize::published;

/// A server, seen by one person.
#[derive(Clone, Debug)]
pub struct Account {
    operator: Operator,
    subject: String,
}

impl AuthorizationServer {
    /// This server for one person, the `sub` of whose tokens is `subject`, and who comes from `origin`. The caller has made
    /// sure that it is they.
    #[must_use]
    pub fn account(&self, subject: impl Into<String>, origin: Origin) -> Account {
        Account {
            operator: self.operator().coming_from(origin),
            subject: subject.into(),
        }
    }
}

impl Account {
    /// What they have granted and what is still good, what was used last in front.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn grants(&self) -> Result<Vec<GrantView>, OperatorError> {
        let (mut grants, mut cursor) = (Vec::<GrantView>::new(), None);
        loop {
            let whose = Whose::User(&self.subject);
            let page = self
                .operator
                .page_of_grants(whose, cursor.as_ref(), MAXIMUM_PAGE)
                .await?;
            grants.extend(page.items.into_iter().filter(GrantView::is_live));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        grants.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        grants.dedup_by(|one, other| one.id == other.id);
        grants.sort_by_key(|grant| std::cmp::Reverse((grant.last_used_at, grant.approved_at)));
        Ok(grants)
    }

    /// Who is behind a client of theirs, as far as that is still known.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn client_identity(&self, id: &ClientId) -> Result<ClientIdentity, OperatorError> {
        let server = &self.operator.server;
        Ok(match server.known_client(id).await? {
            Some(known) => server.client_identity(&known.record),
            None if id.is_url() => published(id),
            None => ClientIdentity::SelfAsserted { home: None },
        })
    }

    /// Ends a grant of theirs with everything that came of it, everywhere within a second. Says whether there was one that
    /// had not ended before.
    ///
    /// # Errors
    ///
    /// When the store does not answer; then it may or may not have ended, and this can be called again.
    pub async fn end_grant(&self, id: &GrantId) -> Result<bool, OperatorError> {
        let theirs = |grant: &crate::grant::Grant| grant.identity.subject() == self.subject;
        self.operator.ending(id, EndReason::ByPerson, theirs).await
    }

    /// Ends all that they have granted, by one write however much it is, everywhere within a second.
    ///
    /// # Errors
    ///
    /// When the store does not answer; then it may or may not have been done, and this can be called again.
    pub async fn end_all(&self) -> Result<(), OperatorError> {
        let holder = Holder::User(self.subject.clone());
        let ended = self.operator.server.end_all(holder).await;
        let event = Event::new(Action::EndAllGrants, &self.operator.origin).with_subject(self.subject.clone());
        self.operator
            .audited(event, ended.map(drop).map_err(OperatorError::from))
    }
}
