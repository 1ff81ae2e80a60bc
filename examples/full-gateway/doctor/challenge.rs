//! The challenge of a 401: `WWW-Authenticate` (RFC 9110 §11.6.1) with what RFC 6750 and RFC 9728 put into it.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// What a challenge for a bearer token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) resource_metadata: Option<String>,
    pub(crate) error: Option<String>,
}

impl Challenge {
    /// The first challenge of the scheme `Bearer` in these headers.
    pub(crate) fn find(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        values.find_map(Self::parse)
    }

    fn parse(value: &str) -> Option<Self> {
        let mut found: Option<Self> = None;
        for part in split(value) {
            // A scheme stands before the first parameter, with a space in between.
            let (scheme, parameter) = match part.split_once('=') {
                Some((before, _)) => match part.split_once(' ') {
                    Some(apart) if before.contains(' ') => apart,
                    _ => ("", part),
                },
                None => (part, ""),
            };
            if !scheme.is_empty() {
                match &found {
                    Some(_) => break,
                    None if scheme.eq_ignore_ascii_case("bearer") => found = Some(Self::default()),
                    None => {}
                }
            }
            let (Some(challenge), Some((name, value))) = (&mut found, parameter.split_once('=')) else {
                continue;
            };
            let value = value.trim().trim_matches('"').replace('\\', "");
            match name.trim().to_ascii_lowercase().as_str() {
                "resource_metadata" => challenge.resource_metadata = Some(value),
                "error" => challenge.error = Some(value),
                _ => {}
            }
        }
        found
    }
}

/// Splits at commas outside of quotes.
fn split(value: &str) -> Vec<&str> {
    let mut quoted = false;
    let parts = value.split(move |character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::Challenge;

    #[test]
    fn the_bearer_challenge_is_found_among_others() {
        let challenge = |metadata: Option<&str>, error: Option<&str>| {
            Some(Challenge {
                resource_metadata: metadata.map(str::to_owned),
                error: error.map(str::to_owned),
            })
        };
        for (value, expected) in [
            ("Bearer", challenge(None, None)),
            (r#"bearer realm="a, b""#, challenge(None, None)),
            (
                r#"Bearer resource_metadata="https://a/x", scope="a b", error="invalid_token""#,
                challenge(Some("https://a/x"), Some("invalid_token")),
            ),
            (
                r#"Basic realm="x", Bearer error=invalid_token, resource_metadata=https://a/x"#,
                challenge(Some("https://a/x"), Some("invalid_token")),
            ),
            (r#"Bearer realm="x", DPoP error="invalid_token""#, challenge(None, None)),
            (r#"Basic realm="x""#, None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(value), expected, "{value}");
        }
    }
}
