//! When keys are exchanged.

use std::time::Duration;

/// For how long anybody may keep the document at `jwks_uri` (its `Cache-Control: max-age`), in which time they do not
/// learn of keys that come or go.
pub const JWKS_MAXIMUM_AGE: Duration = Duration::from_secs(300);

/// After this time a process reads the keys in the store again before it relies on them: a key that was withdrawn is
/// refused everywhere that long after it at the latest.
pub const KEYS_MAXIMUM_AGE: Duration = Duration::from_secs(10);

/// How much longer than its last token lives a key is published: the clock of the machine that signed that token may
/// have been behind.
pub(crate) const RETIREMENT_MARGIN: Duration = Duration::from_secs(5 * 60);

/// At most so many keys are in the store at a time, which bounds the record and the document.
pub(crate) const MAXIMUM_KEYS: usize = 16;

/// When the keys in the store are exchanged for new ones.
///
/// A key is first announced: it is in the JWKS but does not sign, so that resource servers which keep that document
/// learn of it in time. Then it signs, until the next one does. Then it is retired: it stays in the JWKS until every
/// token that it signed has expired, and five minutes more. All nodes agree on these times without talking to each
/// other, since they stand in the store with the keys.
///
/// ```
/// use std::time::Duration;
/// use mcp_oauth_core::token::keys::KeyRotation;
///
/// let mut rotation = KeyRotation::default();
/// rotation.every = Some(Duration::from_secs(30 * 24 * 60 * 60));
/// // The next key is always there and known to everybody, so that it can take over at any moment.
/// rotation.announce_before = Duration::from_secs(30 * 24 * 60 * 60);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRotation {
    /// For how long a key signs (90 days); `None` means until somebody gives the command. At least
    /// [`announce_before`](Self::announce_before).
    pub every: Option<Duration>,
    /// How long a key is in the JWKS before it signs (1 hour). At least [`JWKS_MAXIMUM_AGE`] and
    /// [`KEYS_MAXIMUM_AGE`] together, 310 seconds.
    pub announce_before: Duration,
}

impl Default for KeyRotation {
    fn default() -> Self {
        Self {
            every: Some(Duration::from_secs(90 * 24 * 60 * 60)),
            announce_before: Duration::from_secs(60 * 60),
        }
    }
}

/// A schedule by which somebody would meet a key that they do not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKeyRotation {
    /// A resource server could meet a token that was signed with a key it has not seen yet.
    #[error(
        "a new key has to be announced at least 310 seconds before it signs, since the JWKS may be kept for 300: raise \
         KeyRotation::announce_before"
    )]
    AnnouncedTooLate,
    /// The next key would have to be announced before its predecessor signs.
    #[error(
        "a key has to sign at least as long as the next one is announced: raise KeyRotation::every, or lower announce_before"
    )]
    TooOften,
}

impl KeyRotation {
    pub(crate) fn check(&self) -> Result<(), InvalidKeyRotation> {
        if self.announce_before < JWKS_MAXIMUM_AGE + KEYS_MAXIMUM_AGE {
            return Err(InvalidKeyRotation::AnnouncedTooLate);
        }
        if self.every.is_some_and(|every| every < self.announce_before) {
            return Err(InvalidKeyRotation::TooOften);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_keep_their_own_rules() {
        assert_eq!(KeyRotation::default().check(), Ok(()));
    }

    #[test]
    fn a_schedule_that_outruns_caches_is_refused() {
        let seconds = Duration::from_secs;
        for (every, announce_before, expected) in [
            (Some(seconds(310)), seconds(310), Ok(())),
            (None, seconds(310), Ok(())),
            (None, seconds(309), Err(InvalidKeyRotation::AnnouncedTooLate)),
            (Some(seconds(310)), seconds(311), Err(InvalidKeyRotation::TooOften)),
            (Some(seconds(0)), seconds(3600), Err(InvalidKeyRotation::TooOften)),
        ] {
            let rotation = KeyRotation { every, announce_before };
            assert_eq!(rotation.check(), expected, "{rotation:?}");
        }
    }
}
