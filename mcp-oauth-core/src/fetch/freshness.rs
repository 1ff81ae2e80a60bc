//! For how long an answer may be used again.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName};

use crate::clock::UnixTime;

/// What the headers of an answer say about its life in a cache (RFC 9111 §4.2).
///
/// The cache is the caller's own, used by nobody else's requests, so it is private in the sense of RFC 9111:
/// `max-age` counts and `s-maxage` does not, and what is `private` may be kept. `Age` is taken off. An answer that
/// must not be stored, or not be used without asking again (`no-store`, `no-cache`), has no life left; and so has one
/// whose headers are malformed.
///
/// ```
/// use std::time::Duration;
/// use mcp_oauth_core::fetch::{Freshness, FreshnessBounds};
///
/// let bounds = FreshnessBounds::default();
/// let hour = Duration::from_secs(60 * 60);
/// assert_eq!(Freshness::stated(hour).within(&bounds), hour);
/// assert_eq!(Freshness::stated(Duration::ZERO).within(&bounds), bounds.minimum);
/// assert_eq!(Freshness::stated(hour * 1000).within(&bounds), bounds.maximum);
/// assert_eq!(Freshness::UNSTATED.within(&bounds), bounds.unstated);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness(Option<Duration>);

/// Between what a server may choose how long its answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FreshnessBounds {
    /// At least this long, even if the answer must not be kept at all: a minute, so that a stranger who sends many
    /// requests does not make this server send as many. Zero does exactly as the server says.
    pub minimum: Duration,
    /// At most this long: a day, so that what was changed or withdrawn is seen the day after.
    pub maximum: Duration,
    /// This long if the server says nothing: five minutes.
    pub unstated: Duration,
}

impl Default for FreshnessBounds {
    fn default() -> Self {
        Self {
            minimum: Duration::from_secs(60),
            maximum: Duration::from_secs(24 * 60 * 60),
            unstated: Duration::from_secs(5 * 60),
        }
    }
}

impl Freshness {
    /// Of an answer that says nothing.
    pub const UNSTATED: Self = Self(None);

    /// Of an answer that says how long.
    #[must_use]
    pub const fn stated(lifetime: Duration) -> Self {
        Self(Some(lifetime))
    }

    /// How long the server says the answer may be used from now on, if it says so.
    #[must_use]
    pub const fn lifetime(self) -> Option<Duration> {
        self.0
    }

    /// How long to keep the answer: what the server says, within the bounds. If those contradict each other, the
    /// minimum counts.
    #[must_use]
    pub fn within(self, bounds: &FreshnessBounds) -> Duration {
        self.0
            .unwrap_or(bounds.unstated)
            .min(bounds.maximum)
            .max(bounds.minimum)
    }

    /// Reads it from the headers of an answer that came at `now`: `Cache-Control`, `Expires` with `Date`, and `Age`
    /// (RFC 9111 §4.2.1). What contradicts itself counts as the shortest time, and what cannot be read as none.
    #[must_use]
    pub fn of(headers: &HeaderMap, now: UnixTime) -> Self {
        let lifetime = cache_control(headers).or_else(|| expires(headers, now));
        let age = headers
            .get(AGE)
            .and_then(|age| age.to_str().ok())
            .and_then(seconds)
            .unwrap_or_default();
        Self(lifetime.map(|lifetime| lifetime.saturating_sub(age)))
    }
}

/// The shortest that any `Cache-Control` says (RFC 9111 §5.2.2).
fn cache_control(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .flat_map(|value| {
            value
                .to_str()
                .map_or_else(|_| vec!["no-store"], |text| directives(text).collect())
        })
        .filter_map(|directive| {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => Some(Duration::ZERO),
                "max-age" => Some(seconds(value.trim().trim_matches('"')).unwrap_or_default()),
                _ => None,
            }
        })
        .min()
}

/// A list's members. A comma within quotes belongs to a member.
fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    })
}

/// A number of seconds (RFC 9111 §1.2.2): one too large to count counts as very many.
fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))))
}

/// The time from the answer's `Date`, or its arrival, to its `Expires`; a malformed `Expires` has passed (RFC 9111 §5.3).
fn expires(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    headers.get(EXPIRES)?;
    let expires = date(headers, EXPIRES).unwrap_or(UnixTime::from_seconds(0));
    Some(expires.since(date(headers, DATE).unwrap_or(now)))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<UnixTime> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    Some(UnixTime::from_seconds(date.duration_since(UNIX_EPOCH).ok()?.as_secs()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the moment of RFC 9110's examples.
    const NOW: UnixTime = UnixTime::from_seconds(784_111_777);

    fn lifetime(lines: &[(&'static str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Freshness::of(&headers, NOW)
            .lifetime()
            .map(|lifetime| lifetime.as_secs())
    }

    fn cache_control(value: &str) -> Option<u64> {
        lifetime(&[("cache-control", value)])
    }

    #[test]
    fn max_age_counts_in_every_spelling() {
        assert_eq!(cache_control("max-age=300"), Some(300));
        assert_eq!(cache_control("public, MAX-AGE=300 , must-revalidate"), Some(300));
        assert_eq!(cache_control("max-age=\"300\""), Some(300));
        assert_eq!(cache_control("ext=\"x, max-age=1\", max-age=300"), Some(300));
        assert_eq!(
            cache_control("max-age=99999999999999999999999"),
            Some(u64::from(u32::MAX))
        );
    }

    #[test]
    fn what_must_not_be_kept_has_no_life() {
        for value in [
            "no-store",
            "no-cache",
            "max-age=0",
            "max-age=300, No-Store",
            "no-cache=\"set-cookie, x\"",
        ] {
            assert_eq!(cache_control(value), Some(0), "{value}");
        }
    }

    #[test]
    fn what_is_malformed_has_no_life() {
        for value in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=+1",
            "max-age=1.5",
            "max-age=x",
        ] {
            assert_eq!(cache_control(value), Some(0), "{value}");
        }
        let mut headers = HeaderMap::new();
        headers.append(CACHE_CONTROL, HeaderValue::from_bytes(b"max-age=300, \xff").unwrap());
        assert_eq!(Freshness::of(&headers, NOW), Freshness::stated(Duration::ZERO));
    }

    #[test]
    fn of_several_the_shortest_counts() {
        assert_eq!(cache_control("max-age=300, max-age=200"), Some(200));
        assert_eq!(
            lifetime(&[("cache-control", "max-age=300"), ("cache-control", "no-store")]),
            Some(0)
        );
    }

    #[test]
    fn what_concerns_other_caches_says_nothing() {
        for value in [
            "",
            "public",
            "private",
            "s-maxage=300",
            "immutable",
            "stale-while-revalidate=60",
            ",,=",
        ] {
            assert_eq!(cache_control(value), None, "{value}");
        }
        assert_eq!(lifetime(&[]), None);
        assert_eq!(lifetime(&[("age", "300")]), None);
    }

    #[test]
    fn the_age_of_an_answer_is_taken_off() {
        assert_eq!(lifetime(&[("cache-control", "max-age=300"), ("age", "100")]), Some(200));
        assert_eq!(lifetime(&[("cache-control", "max-age=300"), ("age", "400")]), Some(0));
        assert_eq!(lifetime(&[("cache-control", "max-age=300"), ("age", "x")]), Some(300));
    }

    #[test]
    fn expires_counts_from_the_date_of_the_answer_or_from_now() {
        let expires = ("expires", "Sun, 06 Nov 1994 09:49:37 GMT");
        assert_eq!(lifetime(&[expires]), Some(3600));
        assert_eq!(
            lifetime(&[expires, ("date", "Sun, 06 Nov 1994 09:39:37 GMT")]),
            Some(600)
        );
        assert_eq!(lifetime(&[expires, ("date", "yesterday")]), Some(3600));
        assert_eq!(lifetime(&[("expires", "Sun, 06 Nov 1994 07:49:37 GMT")]), Some(0));
        assert_eq!(lifetime(&[("expires", "Sunday, 06-Nov-94 09:49:37 GMT")]), Some(3600));
        for malformed in ["0", "-1", "", "Thu, 01 Jan 1960 00:00:00 GMT"] {
            assert_eq!(lifetime(&[("expires", malformed)]), Some(0), "{malformed}");
        }
    }

    #[test]
    fn cache_control_counts_more_than_expires() {
        let expires = ("expires", "Sun, 06 Nov 1994 09:49:37 GMT");
        assert_eq!(lifetime(&[expires, ("cache-control", "max-age=7")]), Some(7));
        assert_eq!(lifetime(&[expires, ("cache-control", "public")]), Some(3600));
    }

    #[test]
    fn the_bounds_are_a_minute_and_a_day_and_never_panic() {
        let kept = |seconds| Freshness::stated(Duration::from_secs(seconds)).within(&FreshnessBounds::default());
        assert_eq!(kept(59).as_secs(), 60);
        assert_eq!(kept(61).as_secs(), 61);
        assert_eq!(kept(86_399).as_secs(), 86_399);
        assert_eq!(kept(u64::MAX).as_secs(), 86_400);
        assert_eq!(Freshness::UNSTATED.within(&FreshnessBounds::default()).as_secs(), 300);
        let contradictory = FreshnessBounds {
            minimum: Duration::from_secs(9),
            maximum: Duration::from_secs(5),
            unstated: Duration::ZERO,
        };
        assert_eq!(Freshness::UNSTATED.within(&contradictory).as_secs(), 9);
    }

    proptest! {
        #[test]
        fn reading_any_headers_never_panics(control: Vec<u8>, expires: Vec<u8>, age: Vec<u8>, now: u64) {
            let mut headers = HeaderMap::new();
            for (name, value) in [(CACHE_CONTROL, control), (EXPIRES, expires), (AGE, age)] {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(name, value);
                }
            }
            let _ = Freshness::of(&headers, UnixTime::from_seconds(now)).within(&FreshnessBounds::default());
        }
    }
}
