//! Who calls, as headers for a backend.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use http::header::{CACHE_CONTROL, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_oauth_core::access::AccessToken;

use crate::caller::Caller;

/// The headers that every `200` of `/verify` has, in small letters: what a proxy has to copy, each of them. There may be more
/// of them in a later version.
pub const IDENTITY_HEADERS: &[&str] = &[
    "x-user-id",
    "x-user-name",
    "x-user-display-name",
    "x-client-id",
    "x-scopes",
    "x-grant-id",
    "x-resource",
    "x-issuer",
    "x-token-expires",
    IDENTITY_TOKEN_HEADER,
    ACCESS_TOKEN_HEADER,
];

/// The one of [them](IDENTITY_HEADERS) with a signed token that says who calls.
pub const IDENTITY_TOKEN_HEADER: &str = "x-identity-token";

/// The one of [them](IDENTITY_HEADERS) with the client's own access token, for servers that are to have it.
pub const ACCESS_TOKEN_HEADER: &str = "x-auth-token";

/// The person's own token with the identity provider, in small letters: beside the others in every `200` of `/verify`, if
/// [`ForwardAuth::upstream_tokens`](super::ForwardAuth::upstream_tokens) is on.
pub const UPSTREAM_TOKEN_HEADER: &str = "x-upstream-token";

/// Writes who calls into the headers of a request that goes on to a server, for a program that is the proxy itself.
///
/// Whatever came in under one of [these names](IDENTITY_HEADERS) or under [`X-Upstream-Token`](UPSTREAM_TOKEN_HEADER) is taken
/// away first, also where it is spelled with underscores, which many servers take for hyphens. Then all of
/// [`IDENTITY_HEADERS`] are there, empty where there is nothing to tell; the two with tokens always are, and are the caller's
/// to fill.
///
/// ```
/// use http::HeaderMap;
/// use mcp_oauth_tower::forward_auth::identify;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-user-id", "somebody else".parse()?);
/// headers.insert("x_user_id", "somebody else".parse()?);
/// identify(&mut headers, None);
/// assert_eq!(headers["x-user-id"], "");
/// assert!(!headers.contains_key("x_user_id"));
/// # Ok::<_, http::header::InvalidHeaderValue>(())
/// ```
pub fn identify(headers: &mut HeaderMap, caller: Option<&Caller>) {
    let reserved = |name: &HeaderName| {
        let name = name.as_str().replace('_', "-");
        name == UPSTREAM_TOKEN_HEADER || IDENTITY_HEADERS.contains(&name.as_str())
    };
    let sent: Vec<HeaderName> = headers.keys().filter(|name| reserved(name)).cloned().collect();
    for name in sent {
        headers.remove(&name);
    }
    headers.extend(write(caller));
}

/// So many callers are kept. When there are more, all are written anew.
const MAXIMUM_KEPT: usize = 10_000;

/// The headers of callers who have been here before, as long as their tokens are remembered.
#[derive(Debug, Default)]
pub(crate) struct Written(RwLock<HashMap<usize, Kept>>);

/// A token keeps its address as long as something points at it, and be it weakly: no other one can be found in its place.
#[derive(Debug)]
struct Kept {
    token: Weak<AccessToken>,
    headers: HeaderMap,
}

impl Written {
    /// All of them, for an answer that has no body; the last two are empty.
    pub(crate) fn of(&self, caller: &Caller) -> HeaderMap {
        let token = caller.token();
        let address = Arc::as_ptr(token) as usize;
        // Under this lock nothing is left half done.
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = kept.get(&address);
        if let Some(known) = known.filter(|known| known.token.as_ptr() == Arc::as_ptr(token)) {
            return known.headers.clone();
        }
        drop(kept);
        let headers = answer(Some(caller));
        let entry = Kept {
            token: Arc::downgrade(token),
            headers: headers.clone(),
        };
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAXIMUM_KEPT {
            kept.clear();
        }
        kept.insert(address, entry);
        headers
    }
}

/// All of them for nobody: empty.
pub(crate) fn nobody() -> HeaderMap {
    answer(None)
}

/// The headers of an answer without a body. Its length is among them, so that nothing has to be added to the copies that go
/// out, which would move all of it.
fn answer(caller: Option<&Caller>) -> HeaderMap {
    let mut headers = write(caller);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers
}

fn write(caller: Option<&Caller>) -> HeaderMap {
    let values = match caller {
        None => [const { empty() }; 9],
        Some(caller) => [
            encoded(caller.subject()),
            caller.username().map_or_else(empty, encoded),
            caller.name().map_or_else(empty, encoded),
            encoded(caller.client_id()),
            scopes(caller),
            caller.grant().map_or_else(empty, encoded),
            encoded(caller.resource().as_str()),
            encoded(caller.issuer()),
            HeaderValue::from(caller.expires_at().as_seconds()),
        ],
    };
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in IDENTITY_HEADERS
        .iter()
        .zip(values.into_iter().chain([empty(), empty()]))
    {
        headers.insert(HeaderName::from_static(name), value);
    }
    headers
}

/// `X-Identity-Token`, which is signed anew each time.
pub(crate) const IDENTITY_TOKEN: HeaderName = HeaderName::from_static(IDENTITY_TOKEN_HEADER);

/// `X-Auth-Token`.
pub(crate) const ACCESS_TOKEN: HeaderName = HeaderName::from_static(ACCESS_TOKEN_HEADER);

fn scopes(caller: &Caller) -> HeaderValue {
    let mut scopes = String::new();
    for scope in caller.scopes().iter() {
        if !scopes.is_empty() {
            scopes.push(' ');
        }
        scopes.push_str(scope.as_str());
    }
    encoded(&scopes)
}

const fn empty() -> HeaderValue {
    HeaderValue::from_static("")
}

/// Text as the value of a header: printable ASCII as it is, all else percent-encoded.
fn encoded(text: &str) -> HeaderValue {
    let bytes = text.as_bytes();
    let last = bytes.len().saturating_sub(1);
    let plain = |(position, byte): (usize, &u8)| match byte {
        b'%' => false,
        b' ' => position != 0 && position != last,
        byte => byte.is_ascii_graphic(),
    };
    if bytes.iter().enumerate().all(plain) {
        // Printable ASCII is what a header may hold, so this cannot fail; the other way would write the same.
        return HeaderValue::from_str(text).unwrap_or_else(|_| empty());
    }
    let mut written = String::with_capacity(text.len() * 3);
    for (position, byte) in bytes.iter().enumerate() {
        if plain((position, byte)) {
            written.push(char::from(*byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(written, "%{byte:02X}");
        }
    }
    HeaderValue::from_str(&written).unwrap_or_else(|_| empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::percent_decoded;
    use super::*;

    fn text(value: &HeaderValue) -> &str {
        value.to_str().unwrap()
    }

    #[test]
    fn a_request_that_is_passed_on_keeps_all_that_is_not_about_who_calls() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("17"));
        headers.insert("x_user_id", HeaderValue::from_static("somebody else"));
        identify(&mut headers, None);
        assert_eq!(headers.remove(CONTENT_LENGTH).unwrap(), "17");
        assert!(
            headers.keys().all(|name| IDENTITY_HEADERS.contains(&name.as_str())),
            "{headers:?}"
        );
        assert!(headers.values().all(HeaderValue::is_empty), "{headers:?}");
    }

    #[test]
    fn what_is_printable_stays_and_the_rest_is_percent_encoded() {
        for (plain, written) in [
            ("", ""),
            ("ada", "ada"),
            ("Ada Lovelace, \"AL\"", "Ada Lovelace, \"AL\""),
            ("Zo\u{eb}", "Zo%C3%AB"),
            ("100%", "100%25"),
            (" x ", "%20x%20"),
            (" ", "%20"),
            ("a\r\nX-User-Id: b", "a%0D%0AX-User-Id: b"),
            ("\u{202e}", "%E2%80%AE"),
        ] {
            assert_eq!(text(&encoded(plain)), written, "{plain:?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back_from_its_header(plain in ".*") {
            let value = encoded(&plain);
            prop_assert_eq!(String::from_utf8(percent_decoded(text(&value))).unwrap(), plain.clone());
            prop_assert_eq!(text(&value).trim(), text(&value));
        }
    }
}
