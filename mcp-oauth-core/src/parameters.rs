//! The parameters of an OAuth request, from a query or a form.
//!
//! The rules are the same for every endpoint (OAuth 2.1 §3.1, §3.2): an empty parameter counts as omitted, an
//! unknown one is ignored, a repeated one makes the request invalid (`resource` may repeat, RFC 8707 §2).
//!
//! ```
//! use mcp_oauth_core::parameters::Parameters;
//!
//! let form = Parameters::parse(b"grant_type=refresh_token&scope=&resource=a&resource=b")?;
//! assert_eq!(form.get("grant_type")?, Some("refresh_token"));
//! assert_eq!(form.get("scope")?, None);
//! assert!(form.get("resource").is_err());
//! assert_eq!(form.all("resource").collect::<Vec<_>>(), ["a", "b"]);
//! # Ok::<_, mcp_oauth_core::error::OAuthError>(())
//! ```

use std::fmt;

use crate::error::{ErrorCode, OAuthError};

/// At most this many parameters are read from one request.
pub const MAXIMUM_PARAMETERS: usize = 100;

/// Names and values in the order in which they came. Values may be secrets, so `Debug` shows the names alone.
#[derive(Clone, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads `application/x-www-form-urlencoded` bytes, as they stand in a query or in a body.
    ///
    /// # Errors
    ///
    /// `invalid_request` when there are more than [`MAXIMUM_PARAMETERS`], or when a name or value is not UTF-8 or
    /// holds a NUL character.
    pub fn parse(encoded: &[u8]) -> Result<Self, OAuthError> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(encoded)
            .take(MAXIMUM_PARAMETERS + 1)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        if pairs.len() > MAXIMUM_PARAMETERS {
            return Err(OAuthError::new(
                ErrorCode::InvalidRequest,
                "the request has too many parameters",
            ));
        }
        // The decoder writes U+FFFD for what is not UTF-8; no parameter of any specification can hold it.
        let readable = |text: &str| !text.contains(['\u{FFFD}', '\0']);
        if !pairs.iter().all(|(name, value)| readable(name) && readable(value)) {
            return Err(OAuthError::new(
                ErrorCode::InvalidRequest,
                "the request is not encoded as UTF-8",
            ));
        }
        Ok(Self(pairs))
    }

    /// Every value of `name` that is not empty.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// The value of `name`; none if it is absent or empty.
    ///
    /// # Errors
    ///
    /// `invalid_request` when the parameter is there more than once.
    pub fn get(&self, name: &str) -> Result<Option<&str>, OAuthError> {
        let mut values = self
            .0
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() {
            return Err(OAuthError::new(
                ErrorCode::InvalidRequest,
                format!("{name} is there more than once"),
            ));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// The value of `name`.
    ///
    /// # Errors
    ///
    /// `invalid_request` when the parameter is missing, empty or there more than once.
    pub fn require(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name)?
            .ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, format!("{name} is missing")))
    }
}

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_set()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn debug_output_shows_names_and_no_values() {
        let form = Parameters::parse(b"client_secret=hunter2").unwrap();
        assert_eq!(format!("{form:?}"), r#"{"client_secret"}"#);
    }

    #[test]
    fn a_repeat_is_an_error_even_when_one_of_the_two_is_empty() {
        let form = Parameters::parse(b"code=&code=a").unwrap();
        assert_eq!(form.get("code").unwrap_err().code(), ErrorCode::InvalidRequest);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused() {
        assert!(Parameters::parse(b"state=%ff").is_err());
        assert!(Parameters::parse(b"state=a%00").is_err());
    }

    #[test]
    fn a_flood_of_parameters_is_refused() {
        assert!(Parameters::parse("a=b&".repeat(MAXIMUM_PARAMETERS).as_bytes()).is_ok());
        assert!(Parameters::parse("a=b&".repeat(MAXIMUM_PARAMETERS + 1).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Parameters::parse(&bytes);
        }
    }
}
