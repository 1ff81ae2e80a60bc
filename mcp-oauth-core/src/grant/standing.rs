//! What a grant remembers of its person's standing with the identity provider.

use super::{EndReason, Grant};
use crate::clock::UnixTime;
use crate::identity::Standing;

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

    /// Takes over what the identity provider said, if it said anything.
    pub(crate) fn take_over(&mut self, standing: Option<Standing>, now: UnixTime) -> Result<(), EndReason> {
        self.identity_asked_at = Some(now);
        match standing {
            None | Some(Standing::Unchanged) => {}
            Some(Standing::Confirmed) => self.identity.learnt_at = Some(now),
            Some(Standing::Changed(identity)) => {
                self.identity = identity;
                self.identity.learnt_at = Some(now);
            }
            Some(Standing::Gone) => return Err(EndReason::AccountGone),
        }
        Ok(())
    }
}
