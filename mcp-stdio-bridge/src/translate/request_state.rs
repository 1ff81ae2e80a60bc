//! The `requestState` by which a client's answers find the call that waits for them.
//!
//! A call that waits lives in this process; its state needs to say only which one it is. It is sealed all the same,
//! with a key of this process alone (AES-256-GCM), so that it can be neither read nor guessed, and bound: to
//! the caller, the method and the name or URI of the request as associated data, and to a time at which it ends. A
//! state that does not open was made by nobody here, by a process that is gone, or for somebody or something else; the
//! answer is the same for all.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Tells this state from others that a server may have made.
const PREFIX: &str = "bridge1.";
/// A call's number and the second at which the state ends.
const PLAIN: usize = 16;
/// Longer states are not opened.
const LONGEST: usize = 256;

/// What a state is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<'a> {
    pub(crate) caller: Option<&'a str>,
    pub(crate) method: &'a str,
    /// The tool, prompt or resource.
    pub(crate) name: &'a str,
}

/// Seals and opens states.
#[derive(Default)]
pub(crate) struct Seal {
    /// Nothing where the system gives no random bytes. Made for the first state: most bridges never see one, and the library
    /// takes a tenth of a second to gather what its random numbers begin with.
    key: OnceLock<Option<RandomizedNonceKey>>,
}

/// The state is not one that can be gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the requestState is not valid here, or not any more; send the request without it to begin anew")]
pub(crate) struct Unknown;

impl Seal {
    /// A key that nobody else has.
    fn key(&self) -> Option<&RandomizedNonceKey> {
        let key = self.key.get_or_init(|| {
            let mut key = [0; 32];
            aws_lc_rs::rand::fill(&mut key).ok()?;
            RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
        });
        key.as_ref()
    }

    /// A state for the call of this number, good for so long.
    pub(crate) fn seal(&self, number: u64, bound: Bound<'_>, life: Duration) -> Option<String> {
        let ends = seconds() + life.as_secs();
        let mut sealed = Vec::with_capacity(NONCE_LEN + PLAIN + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&number.to_be_bytes());
        sealed.extend_from_slice(&ends.to_be_bytes());
        let aad = Aad::from(bound.bytes());
        let nonce = self.key()?.seal_in_place_append_tag(aad, &mut sealed).ok()?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.extend_from_slice(&sealed);
        Some(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The number of the call that a state is for.
    pub(crate) fn open(&self, state: &str, bound: Bound<'_>) -> Result<u64, Unknown> {
        let text = state.strip_prefix(PREFIX).filter(|text| text.len() <= LONGEST);
        let mut bytes = text
            .and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or(Unknown)?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(Unknown)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unknown)?;
        let plain = self
            .key
            .get()
            .and_then(Option::as_ref)
            // Nothing was sealed here yet, so nothing that comes is from here.
            .ok_or(Unknown)?
            .open_in_place(nonce, Aad::from(bound.bytes()), sealed)
            .map_err(|_| Unknown)?;
        let plain: [u8; PLAIN] = (&*plain).try_into().map_err(|_| Unknown)?;
        let (number, ends) = plain.split_at(8);
        let read = |bytes: &[u8]| bytes.iter().fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
        if read(ends) < seconds() {
            return Err(Unknown);
        }
        Ok(read(number))
    }
}

impl Bound<'_> {
    /// Each part with its length, so that no two bounds are the same bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [self.caller.unwrap_or_default(), self.method, self.name] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.push(u8::from(self.caller.is_some()));
        bytes
    }
}

/// The wall clock's: the state says when it ends, and the call it is for ends by the process's own time too.
fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Bound, Seal, Unknown};

    const MINUTE: Duration = Duration::from_secs(60);

    fn bound<'a>(caller: Option<&'a str>, name: &'a str) -> Bound<'a> {
        Bound {
            caller,
            method: "tools/call",
            name,
        }
    }

    #[test]
    fn a_state_opens_for_what_it_was_made_for_and_nothing_else() {
        let seal = Seal::default();
        let state = seal.seal(7, bound(Some("ada"), "ask"), MINUTE).unwrap();
        assert_eq!(seal.open(&state, bound(Some("ada"), "ask")), Ok(7));
        for other in [
            bound(Some("eve"), "ask"),
            bound(None, "ask"),
            bound(Some("ada"), "other"),
            bound(Some("adaask"), ""),
        ] {
            assert_eq!(seal.open(&state, other), Err(Unknown));
        }
        assert_eq!(Seal::default().open(&state, bound(Some("ada"), "ask")), Err(Unknown));
        assert_eq!(
            seal.open(&format!("{state}-TAMPERED"), bound(Some("ada"), "ask")),
            Err(Unknown)
        );
    }

    #[test]
    fn nobody_in_particular_is_not_somebody_without_a_name() {
        let seal = Seal::default();
        let state = seal.seal(7, bound(None, "ask"), MINUTE).unwrap();
        assert_eq!(seal.open(&state, bound(Some(""), "ask")), Err(Unknown));
    }

    proptest! {
        #[test]
        fn nothing_that_was_not_sealed_opens(text in ".{0,300}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            use base64::Engine as _;
            let seal = Seal::default();
            prop_assert_eq!(seal.open(&text, bound(None, "ask")), Err(Unknown));
            let made = format!("bridge1.{}", base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes));
            prop_assert_eq!(seal.open(&made, bound(None, "ask")), Err(Unknown));
        }
    }
}
