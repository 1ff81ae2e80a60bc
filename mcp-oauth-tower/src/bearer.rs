//! The bearer token of a request (RFC 6750 §2.1): in the `Authorization` header, and nowhere else.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};

/// A longer token is refused before anything looks into it.
const MAXIMUM_TOKEN: usize = 16 * 1024;

/// What a request shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bearer<'a> {
    /// No bearer token. Another scheme counts as none: this server does not know it.
    Absent,
    /// Something in the header, once, in place of a token. Whether it could be one [`token`] says.
    Presented(&'a [u8]),
    /// More than one, nothing at all after the scheme, more than a token can be, or another in the query.
    Malformed,
}

/// What was presented, if it could be a token: `b64token` (RFC 6750 §2.1).
pub(crate) fn token(presented: &[u8]) -> Option<&str> {
    std::str::from_utf8(presented).ok().filter(|_| is_token(presented))
}

/// Written without branches, so that it is done for many bytes at once: tokens have hundreds.
#[allow(clippy::needless_bitwise_bool, reason = "a lazy operator would be a branch")]
fn is_token(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &text[..text.len() - padding];
    let all = body.iter().fold(true, |all, byte| {
        // `-`, `.`, `/` and the digits follow each other.
        let in_between = byte.wrapping_sub(b'-') <= b'9' - b'-';
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let single = (*byte == b'_') | (*byte == b'~') | (*byte == b'+');
        all & (in_between | letter | single)
    });
    !body.is_empty() && all
}

pub(crate) fn read<'a>(headers: &'a HeaderMap, uri: &Uri) -> Bearer<'a> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), rest) = (values.next(), values.next()) else {
        return Bearer::Absent;
    };
    if rest.is_some() {
        return Bearer::Malformed;
    }
    let bytes = value.as_bytes();
    let scheme = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
    let (scheme, token) = bytes.split_at(scheme);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return value.to_str().map_or(Bearer::Malformed, |_| Bearer::Absent);
    }
    // RFC 6750 §3.1: more than one way at once is an invalid request.
    let also_in_query = uri.query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| pair.split('=').next() == Some("access_token"))
    });
    let presented = without_spaces(token);
    if presented.is_empty() || presented.len() > MAXIMUM_TOKEN || also_in_query {
        return Bearer::Malformed;
    }
    Bearer::Presented(presented)
}

fn without_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    /// What a request shows, when what it presents has been looked at.
    fn looked_at<'a>(headers: &'a HeaderMap, uri: &Uri) -> Bearer<'a> {
        match read(headers, uri) {
            Bearer::Presented(presented) if token(presented).is_none() => Bearer::Malformed,
            shown => shown,
        }
    }

    fn uri(text: &'static str) -> Uri {
        Uri::from_static(text)
    }

    #[test]
    fn the_scheme_counts_in_any_case() {
        for value in ["Bearer a.b-c", "bearer a.b-c", "BEARER  a.b-c"] {
            let headers = headers(&[value]);
            assert_eq!(looked_at(&headers, &uri("/")), Bearer::Presented(b"a.b-c"), "{value}");
        }
    }

    #[test]
    fn another_scheme_is_no_token() {
        assert_eq!(read(&headers(&["Basic YTpi"]), &uri("/")), Bearer::Absent);
        assert_eq!(read(&HeaderMap::new(), &uri("/?access_token=x")), Bearer::Absent);
    }

    #[test]
    fn what_is_no_single_token_is_malformed() {
        for values in [
            &["Bearer"][..],
            &["Bearer "],
            &["Bearer a b"],
            &["Bearer a,b"],
            &["Bearer =="],
            &["Bearer a", "Bearer a"],
        ] {
            assert_eq!(looked_at(&headers(values), &uri("/")), Bearer::Malformed, "{values:?}");
        }
        assert_eq!(
            read(&headers(&["Bearer a"]), &uri("/?x=1&access_token=a")),
            Bearer::Malformed
        );
        let long = format!("Bearer {}", "a".repeat(MAXIMUM_TOKEN + 1));
        assert_eq!(read(&headers(&[&long]), &uri("/")), Bearer::Malformed);
    }

    #[test]
    fn a_token_has_the_letters_of_the_standard_and_no_others() {
        for byte in 0..=u8::MAX {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_token(&[b'a', byte, b'a']), allowed, "{byte:#04x}");
        }
    }

    proptest! {
        /// What is read as a token is written in the header after its scheme, and is nothing but a token.
        #[test]
        fn a_token_is_all_that_follows_the_scheme(scheme in "[Bb]e[aA]r[eE]r", spaces in " {0,3}", text in "[ -~]{0,40}") {
            let value = format!("{scheme}{spaces}{text}");
            if let Bearer::Presented(presented) = looked_at(&headers(&[&value]), &uri("/")) {
                let token = token(presented).unwrap();
                prop_assert!(!spaces.is_empty() || text.starts_with(' '));
                prop_assert_eq!(token, text.trim_matches(' '));
                let body = token.trim_end_matches('=');
                prop_assert!(!body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)));
            }
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = looked_at(&[(AUTHORIZATION, value)].into_iter().collect(), &uri("/"));
            }
        }
    }
}
