//! Chance, as something that is handed in.
//!
//! Every code, token, identifier and secret that a server gives out is drawn from its [`Randomness`]: the operating
//! system's, by way of AWS-LC, unless the builder was given another. A hardware generator fits, and so does a test that
//! wants to see the same sequence twice. What must never repeat, whatever an operator does, is not drawn from here: the
//! signing keys, the randomness inside of signatures, and the nonces under which keys are sealed.
//!
//! ```
//! use mcp_oauth_core::randomness::{Randomness, SystemRandomness};
//!
//! let (mut one, mut other) = ([0; 32], [0; 32]);
//! SystemRandomness.fill(&mut one);
//! SystemRandomness.fill(&mut other);
//! assert_ne!(one, other);
//! ```

use std::fmt::Debug;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Draws random bytes.
pub trait Randomness: Debug + Send + Sync + 'static {
    /// Fills `bytes` so that nobody can predict them, not even somebody who has seen all that was drawn before.
    ///
    /// A source that cannot should stop the process: going on with what can be predicted is worse.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's randomness, by way of AWS-LC.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) {
        // AWS-LC takes its seed from the operating system when the process starts and aborts if it cannot; after that
        // the call has no way to fail.
        rand::fill(bytes).expect("AWS-LC's generator does not fail once it is seeded");
    }
}

/// An array of random bytes.
pub(crate) fn random_bytes<const N: usize>(random: &dyn Randomness) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// A random identifier of 127 bits, in 22 characters of base64url. It names something and protects nothing.
///
/// It begins with a letter: one that began with a hyphen would be an option on the command line of whoever ends a grant.
pub(crate) fn random_id(random: &dyn Randomness) -> String {
    let mut bytes = random_bytes::<16>(random);
    bytes[0] &= 0x7f;
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_begins_with_a_letter() {
        for _ in 0..1_000 {
            let id = random_id(&SystemRandomness);
            assert!(
                id.len() == 22 && id.starts_with(|first: char| first.is_ascii_alphabetic()),
                "{id}"
            );
        }
    }
}
