//! What a person has decided about a device: a record of its own, written once, under the identifier of the device.
//!
//! Whoever writes it first has decided, so nothing has to be read before, and a device that polls all the time is in
//! nobody's way.

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::grant::upstream::SealedTokens;
use crate::identity::Identity;
use crate::scope::ScopeSet;

/// What a person has approved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeviceApproval {
    /// The person.
    pub(crate) identity: Identity,
    /// How far.
    pub(crate) scopes: ScopeSet,
    /// When.
    pub(crate) at: UnixTime,
    /// The person's own tokens with the identity provider, if there is a vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<SealedTokens>,
}

/// What a person has decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum DeviceDecision {
    /// The device is let in.
    Approved(Box<DeviceApproval>),
    /// It is turned away: by the person, or because the person may not let it in.
    Denied,
}

impl DeviceDecision {
    /// Whether this is what was decided before: by the same person, who has come again, or to the same end.
    pub(crate) fn repeats(&self, known: &Self) -> bool {
        match (self, known) {
            (Self::Approved(again), Self::Approved(known)) => again.identity.subject() == known.identity.subject(),
            (Self::Denied, Self::Denied) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approved_by(person: &str, at: u64) -> DeviceDecision {
        DeviceDecision::Approved(Box::new(DeviceApproval {
            identity: Identity::new("test", person),
            scopes: ScopeSet::default(),
            at: UnixTime::from_seconds(at),
            upstream: None,
        }))
    }

    #[test]
    fn deciding_the_same_again_is_one_decision_and_anything_else_comes_too_late() {
        let (ada, grace, denied) = (approved_by("ada", 1), approved_by("grace", 1), DeviceDecision::Denied);
        assert!(approved_by("ada", 2).repeats(&ada) && denied.repeats(&denied));
        assert!(!grace.repeats(&ada) && !denied.repeats(&ada) && !ada.repeats(&denied));
    }
}
