//! The times in a JWT, judged by this server's clock.
//!
//! ```
//! use std::time::Duration;
//! use mcp_oauth_core::clock::UnixTime;
//! use mcp_oauth_core::jwt::time::{Untimely, Validity};
//!
//! let now = UnixTime::from_seconds(1_790_000_000);
//! let minute = Duration::from_secs(60);
//! let token = Validity { expires_at: now + minute, not_before: None, issued_at: Some(now) };
//! assert_eq!(token.check(now, minute * 5), Ok(()));
//! assert_eq!(token.check(now + minute * 2, minute * 5), Err(Untimely::Expired));
//! ```

use std::fmt;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use crate::clock::UnixTime;

/// How far the clocks of two machines may be apart.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// A moment as it stands in a claim (*NumericDate*, RFC 7519 §2): a JSON number, the fraction of which is dropped. Text
/// is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumericDate(pub UnixTime);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;

        impl Visitor<'_> for Seconds {
            type Value = NumericDate;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number of seconds since 1970")
            }

            fn visit_u64<E>(self, seconds: u64) -> Result<NumericDate, E> {
                Ok(NumericDate(UnixTime::from_seconds(seconds)))
            }

            fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                /// Beyond this a double no longer tells one second from the next.
                const MAXIMUM: f64 = 9_007_199_254_740_992.0;
                if !(0.0..=MAXIMUM).contains(&seconds) {
                    return Err(E::custom("the time is out of range"));
                }
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it is in range, and the fraction is to be dropped"
                )]
                let whole = seconds as u64;
                Ok(NumericDate(UnixTime::from_seconds(whole)))
            }
        }

        deserializer.deserialize_any(Seconds)
    }
}

/// From when and until when a JWT is good, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "there are three such claims")]
pub struct Validity {
    /// `exp`.
    pub expires_at: UnixTime,
    /// `nbf`.
    pub not_before: Option<UnixTime>,
    /// `iat`.
    pub issued_at: Option<UnixTime>,
}

/// Why a JWT is not good now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untimely {
    /// `exp` is over.
    #[error("has expired (exp), sign a new one for each request")]
    Expired,
    /// `exp` is farther away than it may be.
    #[error("is good for too long: exp may be {} seconds away at most", .0.as_secs())]
    TooLong(Duration),
    /// `nbf` or `iat` lies in the future.
    #[error("is not good yet (nbf) or was issued in the future (iat), look at the clock")]
    NotYet,
}

impl Validity {
    /// Whether the token is good at `now`, give or take [`CLOCK_SKEW`], and will not be for longer than `maximum`.
    ///
    /// # Errors
    ///
    /// The first reason why it is not.
    pub fn check(&self, now: UnixTime, maximum: Duration) -> Result<(), Untimely> {
        if self.until() <= now {
            return Err(Untimely::Expired);
        }
        let future = |moment: UnixTime| moment > now + CLOCK_SKEW;
        if self.not_before.is_some_and(future) || self.issued_at.is_some_and(future) {
            return Err(Untimely::NotYet);
        }
        if self.expires_at > now + maximum + CLOCK_SKEW {
            return Err(Untimely::TooLong(maximum));
        }
        Ok(())
    }

    /// Whether an access token is good at `now`: until its `exp`, to the second, and from its `nbf` on, give or take
    /// [`CLOCK_SKEW`].
    ///
    /// Unlike an assertion, an access token gets no time beyond its `exp`: whoever holds one has a way to a new one, and
    /// what was said of its life holds everywhere. How far away `exp` may be is for its issuer to say.
    #[must_use]
    pub fn covers(&self, now: UnixTime) -> bool {
        let begun = self.not_before.is_none_or(|not_before| not_before <= now + CLOCK_SKEW);
        begun && now < self.expires_at
    }

    /// From when on nobody takes the token any more: for as long it has to be remembered that it was used.
    #[must_use]
    pub fn until(&self) -> UnixTime {
        self.expires_at + CLOCK_SKEW
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn good_until(expires_at: UnixTime) -> Validity {
        Validity {
            expires_at,
            not_before: None,
            issued_at: None,
        }
    }

    fn read(value: Value) -> Option<u64> {
        serde_json::from_value::<NumericDate>(value)
            .ok()
            .map(|NumericDate(moment)| moment.as_seconds())
    }

    #[test]
    fn a_time_is_a_number_and_its_fraction_is_dropped() {
        assert_eq!(read(json!(1_790_000_000)), Some(1_790_000_000));
        assert_eq!(read(json!(1_790_000_000.9)), Some(1_790_000_000));
        for wrong in [
            json!("1790000000"),
            json!(-1),
            json!(-0.5),
            json!(1e300),
            json!(null),
            json!(true),
            json!([1]),
            json!({}),
        ] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn clocks_may_be_a_little_apart_and_no_more() {
        assert_eq!(good_until(NOW - Duration::from_secs(29)).check(NOW, HOUR), Ok(()));
        assert_eq!(good_until(NOW - CLOCK_SKEW).check(NOW, HOUR), Err(Untimely::Expired));
        for (skew, verdict) in [(30, Ok(())), (31, Err(Untimely::NotYet))] {
            let moment = Some(NOW + Duration::from_secs(skew));
            let begins = Validity {
                not_before: moment,
                ..good_until(NOW + HOUR)
            };
            let issued = Validity {
                issued_at: moment,
                ..good_until(NOW + HOUR)
            };
            assert_eq!((begins.check(NOW, HOUR), issued.check(NOW, HOUR)), (verdict, verdict));
        }
    }

    #[test]
    fn a_token_that_is_good_for_too_long_is_not_good() {
        assert_eq!(good_until(NOW + HOUR + CLOCK_SKEW).check(NOW, HOUR), Ok(()));
        let longer = good_until(NOW + HOUR + CLOCK_SKEW + Duration::from_secs(1));
        assert_eq!(longer.check(NOW, HOUR), Err(Untimely::TooLong(HOUR)));
        let for_ever = good_until(UnixTime::from_seconds(u64::MAX));
        assert_eq!(for_ever.check(NOW, HOUR), Err(Untimely::TooLong(HOUR)));
    }
}
