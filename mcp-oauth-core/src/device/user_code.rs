//! The code that a device shows and a person enters (RFC 8628 §6.1).

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::randomness::{Randomness, random_bytes};
use crate::secret::{Secret, SecretDigest};

/// Letters that are hard to take for each other and, without vowels, make no words.
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

const LENGTH: usize = 8;

/// At most this many bytes are read of what somebody enters as a code.
const MAXIMUM_ENTERED: usize = 128;

/// A code of eight letters out of twenty, `WDJB-MJHT`: 34.5 random bits. That is enough because guesses are
/// [counted](crate::limits::Limits::wrong_user_codes_of_a_network) and a code is not good for long (RFC 8628 §5.1).
///
/// Reads what people enter: in any case, with any separators and spaces or none.
///
/// ```
/// use mcp_oauth_core::device::UserCode;
///
/// let code: UserCode = " wdjb/mj-ht ".parse()?;
/// assert_eq!(code.expose(), "WDJB-MJHT");
/// assert!("WDJB-MJH0".parse::<UserCode>().is_err(), "no zero is ever in a code");
/// assert_eq!(format!("{code:?}"), "UserCode(…)");
/// # Ok::<_, mcp_oauth_core::device::InvalidUserCode>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode([u8; LENGTH]);

/// Text that cannot be the code of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code has eight letters, none of them a vowel or Y")]
#[non_exhaustive]
pub struct InvalidUserCode;

impl UserCode {
    /// A new code, each as likely as any other.
    pub(crate) fn drawn_from(random: &dyn Randomness) -> Self {
        let mut code = [0; LENGTH];
        let mut filled = 0;
        while filled < LENGTH {
            for byte in random_bytes::<16>(random) {
                // 240 is a multiple of 20; what lies above would make some letters likelier than others.
                if filled < LENGTH && byte < 240 {
                    code[filled] = ALPHABET[usize::from(byte % 20)];
                    filled += 1;
                }
            }
        }
        Self(code)
    }

    /// The code as people see it. Whoever has it can offer the device to somebody else to let in, so it stands in no
    /// log.
    #[must_use]
    pub fn expose(&self) -> String {
        let letter = |byte: &u8| char::from(*byte);
        let (first, second) = self.0.split_at(LENGTH / 2);
        first
            .iter()
            .map(letter)
            .chain(std::iter::once('-'))
            .chain(second.iter().map(letter))
            .collect()
    }

    /// What the record that leads to the device is named by. Names of records reach logs, and the code does not.
    pub(crate) fn digest(&self) -> SecretDigest {
        SecretDigest::of(&self.expose())
    }

    /// Whether `digest` was made of this code.
    pub(crate) fn has(&self, digest: &SecretDigest) -> bool {
        digest.matches(&Secret::from(self.expose()))
    }
}

impl FromStr for UserCode {
    type Err = InvalidUserCode;

    fn from_str(text: &str) -> Result<Self, InvalidUserCode> {
        if text.len() > MAXIMUM_ENTERED {
            return Err(InvalidUserCode);
        }
        let mut code = [0; LENGTH];
        let mut filled = 0;
        // Whatever is neither letter nor digit separates: hyphens of all kinds, spaces, and what keyboards add to them.
        for character in text.chars().filter(|character| character.is_alphanumeric()) {
            let letter = u8::try_from(character)
                .map_err(|_| InvalidUserCode)?
                .to_ascii_uppercase();
            let place = code.get_mut(filled).ok_or(InvalidUserCode)?;
            *place = *ALPHABET.iter().find(|known| **known == letter).ok_or(InvalidUserCode)?;
            filled += 1;
        }
        if filled == LENGTH {
            Ok(Self(code))
        } else {
            Err(InvalidUserCode)
        }
    }
}

impl Serialize for UserCode {
    /// As people see it: for the device, which has to show it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.expose())
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("UserCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::randomness::SystemRandomness;

    #[test]
    fn a_code_has_eight_letters_of_twenty_in_two_groups() {
        for _ in 0..100 {
            let code = UserCode::drawn_from(&SystemRandomness).expose();
            let (first, second) = code.split_once('-').unwrap();
            assert_eq!((first.len(), second.len()), (4, 4));
            assert!(
                code.bytes().all(|byte| byte == b'-' || ALPHABET.contains(&byte)),
                "{code}"
            );
        }
    }

    /// Draws the same bytes again and again.
    #[derive(Debug)]
    struct Repeated([u8; 16]);

    impl Randomness for Repeated {
        fn fill(&self, bytes: &mut [u8]) {
            for (to, from) in bytes.iter_mut().zip(self.0.iter().cycle()) {
                *to = *from;
            }
        }
    }

    #[test]
    fn as_much_as_128_bytes_is_read_and_no_code_shows_in_a_log() {
        let padded = |separators: usize| format!("WDJBMJHT{}", "-".repeat(separators)).parse::<UserCode>();
        let code = padded(MAXIMUM_ENTERED - LENGTH).unwrap();
        assert_eq!(format!("{code:?}"), "UserCode(…)");
        assert!(padded(MAXIMUM_ENTERED - LENGTH + 1).is_err());
    }

    #[test]
    fn a_digest_is_that_of_one_code() {
        let [one, other] = ["WDJBMJHT", "WDJBMJHW"].map(|code| code.parse::<UserCode>().unwrap());
        assert!(one.has(&one.digest()) && !one.has(&other.digest()));
    }

    #[test]
    fn what_would_make_some_letters_likelier_is_drawn_again() {
        let mut bytes = [240; 16];
        bytes[3..11].copy_from_slice(&[239, 0, 1, 19, 20, 21, 220, 238]);
        let letters = [19, 0, 1, 19, 0, 1, 0, 18].map(|number| ALPHABET[number]);
        assert_eq!(UserCode::drawn_from(&Repeated(bytes)).0, letters);
    }

    /// Over 80,000 letters each of the twenty is expected 4,000 times with a standard deviation of 62. Letters that came
    /// of a remainder without rejection would be off by 250 and more.
    #[test]
    fn every_letter_is_as_likely_as_any_other_in_every_place() {
        let codes: Vec<UserCode> = (0..10_000).map(|_| UserCode::drawn_from(&SystemRandomness)).collect();
        let mut counts: HashMap<u8, u32> = HashMap::new();
        for letter in codes.iter().flat_map(|code| code.0) {
            *counts.entry(letter).or_default() += 1;
        }
        assert_eq!(counts.len(), ALPHABET.len());
        for (letter, count) in counts {
            assert!((3_600..=4_400).contains(&count), "{}: {count}", char::from(letter));
        }
        let different: HashSet<_> = codes.iter().map(|code| code.0).collect();
        assert!(different.len() > 9_990);
    }

    #[test]
    fn what_cannot_be_a_code_is_refused() {
        for text in [
            "",
            "-",
            "WDJB-MJH",
            "WDJB-MJHTT",
            "WDJB-MJHA",
            "WDJB-MJH1",
            "WDJBMJH\u{442}",
            "\u{ff37}DJBMJHT",
            "wdjbmjh\u{212a}",
            &format!("WDJBMJHT{}", "-".repeat(MAXIMUM_ENTERED)),
        ] {
            assert_eq!(text.parse::<UserCode>(), Err(InvalidUserCode), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_case_and_any_separators_are_the_same_code(
            lower in proptest::collection::vec(any::<bool>(), LENGTH),
            separators in proptest::collection::vec("[-–— ._/+\\t\u{a0}\u{200b}'\"<>&]{0,3}", LENGTH + 1),
        ) {
            let code = UserCode::drawn_from(&SystemRandomness);
            let mut entered = separators[0].clone();
            for (position, letter) in code.0.iter().enumerate() {
                let letter = if lower[position] { letter.to_ascii_lowercase() } else { *letter };
                entered.push(char::from(letter));
                entered.push_str(&separators[position + 1]);
            }
            prop_assert_eq!(entered.parse::<UserCode>(), Ok(code));
        }

        #[test]
        fn reading_a_code_never_panics_and_gives_back_what_was_read(text in ".*") {
            if let Ok(code) = text.parse::<UserCode>() {
                prop_assert_eq!(code.expose().parse::<UserCode>(), Ok(code));
            }
        }
    }
}
