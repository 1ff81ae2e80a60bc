//! Who may sign in.
//!
//! An [`AllowList`] fails closed: an empty one lets nobody in. To let everybody in, the list has to say `*`.
//!
//! ```
//! use mcp_oauth_core::identity::Identity;
//! use mcp_oauth_core::policy::AllowList;
//!
//! let ada = Identity::new("github", "583231").with_login("Ada");
//! assert!(AllowList::parse("grace, ada").allows(&ada));
//! assert!(AllowList::parse("*").allows(&ada));
//! assert!(!AllowList::parse("").allows(&ada));
//! ```

use crate::identity::Identity;

/// The people who may use the protected resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList {
    everybody: bool,
    entries: Vec<String>,
}

impl AllowList {
    /// Everybody whom the identity provider knows.
    #[must_use]
    pub fn everybody() -> Self {
        Self::parse("*")
    }

    /// Reads a list of logins and subjects (`github:583231`) that are set apart by commas or white space. `*` means
    /// everybody; an empty list means nobody. Logins count in any case, as they do at GitHub.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let entries: Vec<String> = list
            .split(|character: char| character == ',' || character.is_whitespace())
            .filter(|entry| !entry.is_empty())
            .map(str::to_lowercase)
            .collect();
        Self {
            everybody: entries.iter().any(|entry| entry == "*"),
            entries,
        }
    }

    /// Whether nobody is on it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether this person may sign in.
    #[must_use]
    pub fn allows(&self, person: &Identity) -> bool {
        let login = person.login.as_deref().map(str::to_lowercase);
        let subject = person.subject().to_lowercase();
        self.everybody
            || self
                .entries
                .iter()
                .any(|entry| Some(entry) == login.as_ref() || *entry == subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(login: &str) -> Identity {
        Identity::new("github", "7").with_login(login)
    }

    #[test]
    fn an_empty_list_lets_nobody_in() {
        for list in ["", " ", ",", " , \n"] {
            assert!(!AllowList::parse(list).allows(&person("ada")), "{list:?}");
            assert!(AllowList::parse(list).is_empty());
        }
        assert!(!AllowList::parse("").allows(&person("")));
    }

    #[test]
    fn white_space_and_case_do_not_lock_anybody_out() {
        let list = AllowList::parse("alice, Bob\n carol");
        assert!(
            ["alice", "bob", "BOB", "Carol"]
                .into_iter()
                .all(|login| list.allows(&person(login)))
        );
        assert!(!list.allows(&person("mallory")));
    }

    #[test]
    fn a_person_can_be_listed_by_subject() {
        assert!(AllowList::parse("github:7").allows(&person("renamed")));
        assert!(!AllowList::parse("github:71").allows(&person("renamed")));
        assert!(!AllowList::parse("7").allows(&person("renamed")));
    }
}
