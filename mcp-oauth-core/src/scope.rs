//! Scopes: what an access token is good for.
//!
//! A [`Scope`] is one word, a [`ScopeSet`] an ordered set of them, written with single spaces between (RFC 6749
//! §3.3).
//!
//! ```
//! use mcp_oauth_core::scope::ScopeSet;
//!
//! let asked: ScopeSet = "notes:read notes:write".parse()?;
//! let offered: ScopeSet = "notes:write notes:admin".parse()?;
//! assert_eq!(asked.intersection(&offered).to_string(), "notes:write");
//! # Ok::<_, mcp_oauth_core::scope::InvalidScope>(())
//! ```
//!
//! A resource can say that one scope includes another ([`hierarchy`]), and which scopes are needed for what ([`rules`]), by
//! what a request is for ([`operation`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub mod hierarchy;
pub mod operation;
pub mod rules;

/// One scope: printable ASCII without space, quote and backslash (`scope-token`, RFC 6749 §3.3), 1 to 128 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

/// Text that is not a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is 1 to 128 printable ASCII characters without space, quote and backslash")]
#[non_exhaustive]
pub struct InvalidScope;

impl Scope {
    /// The wish for a refresh token, as OpenID Connect Core §11 names it. It belongs to no resource.
    pub const OFFLINE_ACCESS: &'static str = "offline_access";

    /// The scope as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        let fits = (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E));
        fits.then_some(Self(text)).ok_or(InvalidScope)
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::try_from(text.to_owned())
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A set of scopes that remembers the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopeSet(Vec<Scope>);

impl ScopeSet {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the scope with this text is in it.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|member| member.as_str() == scope)
    }

    /// Whether every scope of `other` is in this set too.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other.iter().all(|scope| self.contains(scope.as_str()))
    }

    /// Adds a scope at the end, if it is not there yet.
    pub fn insert(&mut self, scope: Scope) {
        if !self.contains(scope.as_str()) {
            self.0.push(scope);
        }
    }

    /// The scopes of this set that are also in `other`, in this set's order.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(
            self.iter()
                .filter(|scope| other.contains(scope.as_str()))
                .cloned()
                .collect(),
        )
    }

    /// The scopes in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut set = Self::default();
        set.extend(scopes);
        set
    }
}

impl Extend<Scope> for ScopeSet {
    fn extend<I: IntoIterator<Item = Scope>>(&mut self, scopes: I) {
        scopes.into_iter().for_each(|scope| self.insert(scope));
    }
}

impl FromStr for ScopeSet {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        text.split(' ')
            .filter(|word| !word.is_empty())
            .map(str::parse)
            .collect()
    }
}

impl TryFrom<String> for ScopeSet {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

impl From<ScopeSet> for String {
    fn from(scopes: ScopeSet) -> Self {
        scopes.to_string()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str(" ")?;
            }
            formatter.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_list_is_split_at_spaces_and_counts_each_scope_once() {
        let scopes: ScopeSet = " b a  b ".parse().unwrap();
        assert_eq!(scopes.to_string(), "b a");
    }

    #[test]
    fn characters_that_could_break_a_challenge_are_refused() {
        for text in ["a\"b", "a\\b", "a\tb", "a\u{e9}", "a\r\nb", ""] {
            assert_eq!(text.parse::<Scope>(), Err(InvalidScope), "{text:?}");
        }
    }
}
