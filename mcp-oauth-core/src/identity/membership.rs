//! What people belong to: organisations, teams and groups, as a provider tells.
//!
//! A [`Membership`] is written the same way wherever it stands: in an allow-list, in a grant, in a log.
//!
//! | written | what it is | counts |
//! |---|---|---|
//! | `org=acme` | an organisation | in any case |
//! | `team=acme/ops` | a team of an organisation | in any case |
//! | `group=Site Admins` | a group, as OpenID Connect providers have them | letter by letter |
//!
//! ```
//! use mcp_oauth_core::identity::membership::Membership;
//!
//! let ops = Membership::team("Acme", "ops")?;
//! assert_eq!(ops.to_string(), "team=acme/ops");
//! assert_eq!("team=ACME/Ops".parse(), Ok(ops));
//! # Ok::<_, mcp_oauth_core::identity::membership::InvalidMembership>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// At most this many bytes in the name of an organisation, a team or a group.
const MAXIMUM_NAME: usize = 256;

/// Something that a person belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Membership(Kind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// In lower case.
    Organization(String),
    /// Both in lower case.
    Team {
        organization: String,
        team: String,
    },
    Group(String),
}

/// Text that names nothing to belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMembership {
    /// None of the three ways to write one.
    #[error("a membership is written as org=acme, team=acme/ops or group=admins")]
    Unwritten,
    /// The name of an organisation or a team becomes part of a URL, so it is plain.
    #[error("the name of an organisation or a team is 1 to 256 ASCII letters, digits, dots, hyphens and underscores")]
    Name,
    /// The name of a group is empty, too long, or holds control characters.
    #[error("the name of a group is 1 to 256 bytes without control characters")]
    Group,
}

impl Membership {
    /// Everybody in an organisation.
    ///
    /// # Errors
    ///
    /// When `name` cannot be the name of one: see [`InvalidMembership::Name`].
    pub fn organization(name: &str) -> Result<Self, InvalidMembership> {
        Ok(Self(Kind::Organization(plain(name)?)))
    }

    /// Everybody in a team of an organisation. `team` is the team's name as it stands in URLs.
    ///
    /// # Errors
    ///
    /// When one of the two cannot be the name of one: see [`InvalidMembership::Name`].
    pub fn team(organization: &str, team: &str) -> Result<Self, InvalidMembership> {
        Ok(Self(Kind::Team {
            organization: plain(organization)?,
            team: plain(team)?,
        }))
    }

    /// Everybody in a group.
    ///
    /// # Errors
    ///
    /// When `name` cannot be the name of one: see [`InvalidMembership::Group`].
    pub fn group(name: &str) -> Result<Self, InvalidMembership> {
        let fits = (1..=MAXIMUM_NAME).contains(&name.len()) && !name.contains(char::is_control);
        fits.then(|| Self(Kind::Group(name.to_owned())))
            .ok_or(InvalidMembership::Group)
    }

    #[cfg(any(feature = "github", feature = "oidc"))]
    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }
}

/// In lower case. A name of dots alone would lead somewhere else when it stands in a URL.
fn plain(name: &str) -> Result<String, InvalidMembership> {
    let fits = (1..=MAXIMUM_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        && name.bytes().any(|byte| byte != b'.');
    fits.then(|| name.to_ascii_lowercase()).ok_or(InvalidMembership::Name)
}

impl FromStr for Membership {
    type Err = InvalidMembership;

    fn from_str(text: &str) -> Result<Self, InvalidMembership> {
        match text.split_once('=') {
            Some(("org", name)) => Self::organization(name),
            Some(("team", name)) => {
                let (organization, team) = name.split_once('/').ok_or(InvalidMembership::Name)?;
                Self::team(organization, team)
            }
            Some(("group", name)) => Self::group(name),
            _ => Err(InvalidMembership::Unwritten),
        }
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Organization(name) => write!(formatter, "org={name}"),
            Kind::Team { organization, team } => write!(formatter, "team={organization}/{team}"),
            Kind::Group(name) => write!(formatter, "group={name}"),
        }
    }
}

impl TryFrom<String> for Membership {
    type Error = InvalidMembership;

    fn try_from(text: String) -> Result<Self, InvalidMembership> {
        text.parse()
    }
}

impl From<Membership> for String {
    fn from(membership: Membership) -> Self {
        membership.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn organisations_and_teams_count_in_any_case_and_groups_letter_by_letter() {
        assert_eq!(Membership::organization("ACME"), Membership::organization("acme"));
        assert_eq!(Membership::team("Acme", "Ops"), Membership::team("acme", "ops"));
        assert_ne!(Membership::group("Admins"), Membership::group("admins"));
    }

    #[test]
    fn the_kinds_are_never_taken_for_one_another() {
        let acme = Membership::organization("acme").unwrap();
        assert_ne!(acme, Membership::group("acme").unwrap());
        assert_ne!(acme, Membership::team("acme", "acme").unwrap());
    }

    #[test]
    fn a_name_that_could_lead_elsewhere_in_a_url_is_none() {
        for name in ["", ".", "..", "a/b", "a b", "a%2fb", "a?b", "a#b", "\u{212a}"] {
            assert_eq!(Membership::organization(name), Err(InvalidMembership::Name), "{name:?}");
            assert_eq!(Membership::team("acme", name), Err(InvalidMembership::Name), "{name:?}");
        }
        assert!("team=acme".parse::<Membership>().is_err());
        assert!("team=acme/ops/eu".parse::<Membership>().is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_what_was_read_is_written_so_that_it_reads_the_same(text in "(org|team|group|)=?.*") {
            if let Ok(membership) = text.parse::<Membership>() {
                prop_assert_eq!(membership.to_string().parse(), Ok(membership));
            }
        }
    }
}
