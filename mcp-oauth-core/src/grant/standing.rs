//! What a grant remembers of its person's standing with the identity provider.

use super::{EndReason, Grant};
use crate::clock::UnixTime;
use crate::identity::{Identity, Standing};

impl Grant {
    /// When the identity provider last said who the person is, or that nothing has changed.
    pub(crate) fn identity_learnt_at(&self) -> UnixTime {
        self.identity.learnt_at.unwrap_or(self.approved_at)
    }

    /// When the identity provider was last asked, whether or not it answered.
    pub(crate) fn identity_asked_at(&self) -> UnixTime {
        let learnt_at = self.identity_learnt_at();
        self.identity_asked_at
            .map_or(learnt_at, |asked_at| asked_at.max(learnt_at))
    }

    /// When the identity provider last said what the e-mail address is.
    pub(crate) fn email_learnt_at(&self) -> UnixTime {
        self.email_learnt_at.unwrap_or(self.approved_at)
    }

    /// Takes over what the identity provider said, if it said anything. It was asked `with_tokens` of the person's own, or
    /// without, in which case it cannot say anything of addresses.
    pub(crate) fn take_over(
        &mut self,
        standing: Option<Standing>,
        with_tokens: bool,
        now: UnixTime,
    ) -> Result<(), EndReason> {
        self.identity_asked_at = Some(now);
        if with_tokens && matches!(standing, Some(Standing::Confirmed | Standing::Changed(_))) {
            self.email_learnt_at = Some(now);
        }
        match standing {
            None | Some(Standing::Unchanged) => {}
            Some(Standing::Confirmed) => self.identity.learnt_at = Some(now),
            Some(Standing::Changed(identity)) => {
                self.identity = identity;
                self.identity.learnt_at = Some(now);
            }
            Some(Standing::Gone) => return Err(EndReason::AccountGone),
            Some(Standing::Revoked) => return Err(EndReason::UpstreamRevoked),
        }
        Ok(())
    }

    /// The identity provider has said anew who the person is, when it exchanged their tokens.
    pub(crate) fn meet_again(&mut self, identity: Identity, now: UnixTime) {
        self.identity = identity;
        self.identity.learnt_at = Some(now);
        self.identity_asked_at = Some(now);
        self.email_learnt_at = Some(now);
    }
}
