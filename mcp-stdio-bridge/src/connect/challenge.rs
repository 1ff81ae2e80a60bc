//! `WWW-Authenticate`: what a server says that it wants (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1).

use http::{HeaderMap, header};

/// How many challenges of one answer are read.
const MOST: usize = 16;

/// What the `Bearer` challenge of an answer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Where the metadata of the protected resource is.
    pub(crate) resource_metadata: Option<String>,
    /// The scopes that the request needs.
    pub(crate) scope: Option<String>,
    /// The error code, as RFC 6750 §3.1 has it.
    pub(crate) error: Option<String>,
}

impl Challenge {
    /// Reads the first `Bearer` challenge; one that says nothing where there is none.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter();
        values
            .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
            .flat_map(challenges)
            .find(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, parameters)| {
                let parameter = |wanted: &str| {
                    let mut found = parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
                    found
                        .next()
                        .map(|(_, value)| value.clone())
                        .filter(|value| !value.is_empty())
                };
                Self {
                    resource_metadata: parameter("resource_metadata"),
                    scope: parameter("scope"),
                    error: parameter("error"),
                }
            })
            .unwrap_or_default()
    }

    /// Whether the token is good and not enough.
    pub(crate) fn wants_more_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }
}

type Parameters = Vec<(String, String)>;

/// The challenges of one header. What cannot be read ends the reading; what was read before it counts.
pub(crate) fn challenges(text: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text;
    while found.len() <= MOST {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (name, after) = token(rest);
        if name.is_empty() {
            break;
        }
        let value_follows = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        match (value_follows, found.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let Some((value, after)) = parameter_value(value.trim_start_matches([' ', '\t'])) else {
                    break;
                };
                parameters.push((name.to_owned(), value));
                rest = after;
            }
            (Some(_), None) => break,
            (None, _) => {
                found.push((name.to_owned(), Vec::new()));
                rest = skip_token68(after);
            }
        }
    }
    found
}

/// Credentials in one piece, as `Basic` and `Negotiate` have them, say nothing here.
fn skip_token68(text: &str) -> &str {
    let inner = text.trim_start_matches([' ', '\t']);
    let end = inner
        .find(|one: char| !(one.is_ascii_alphanumeric() || "-._~+/".contains(one)))
        .unwrap_or(inner.len());
    let after = inner[end..].trim_start_matches('=');
    let whole = after.is_empty() || after.trim_start_matches([' ', '\t']).starts_with(',');
    if whole && end > 0 { after } else { text }
}

fn token(text: &str) -> (&str, &str) {
    let end = text
        .find(|one: char| !(one.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(one)))
        .unwrap_or(text.len());
    text.split_at(end)
}

fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Some servers forget the quotes around an address: up to the next comma or space.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};
    use proptest::prelude::{any, proptest};

    use super::{Challenge, challenges};

    fn read(values: &[&str]) -> Challenge {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        Challenge::read(&headers)
    }

    #[test]
    fn a_bearer_challenge_is_found_among_others() {
        let wanted = Challenge {
            resource_metadata: Some("https://a.example/x".into()),
            scope: Some("a b".into()),
            error: Some("invalid_token".into()),
        };
        let plain = r#"Bearer error="invalid_token", scope="a b", resource_metadata="https://a.example/x""#;
        assert_eq!(read(&[plain]), wanted);
        let among = [
            "Negotiate dG9rZW4=, Basic realm=\"x, Bearer scope=\\\"no\\\"\"",
            r#"bEARER error=invalid_token , SCOPE = "a b",resource_metadata=https://a.example/x"#,
        ];
        assert_eq!(read(&among), wanted);
        let one = r#"Negotiate, Basic dXNlcg==, Bearer error="invalid_token",scope="a b",resource_metadata="https://a.example/x", DPoP algs="ES256""#;
        assert_eq!(read(&[one]), wanted);
    }

    #[test]
    fn no_challenge_says_nothing() {
        for value in [
            "",
            "Bearer",
            "Basic realm=\"x\"",
            "=,=,\"",
            "Bearer scope=\"open",
            "Bearer scope=\"\"",
        ] {
            assert_eq!(read(&[value]), Challenge::default(), "{value}");
        }
    }

    #[test]
    fn a_quoted_value_is_unescaped() {
        assert_eq!(read(&[r#"Bearer scope="a\"b\\""#]).scope.as_deref(), Some(r#"a"b\"#));
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in any::<String>()) {
            let found = challenges(&text);
            assert!(found.len() <= 17);
            assert!(found.iter().all(|(scheme, _)| !scheme.is_empty()));
        }

        #[test]
        fn what_was_quoted_is_read_back(value in "[ -~]{1,40}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let found = challenges(&format!("Basic abc=, Bearer a=\"{quoted}\", scope=\"x\""));
            assert_eq!(found[1].1, [("a".to_owned(), value), ("scope".to_owned(), "x".to_owned())]);
        }
    }
}
