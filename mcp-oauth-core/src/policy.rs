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

    /// Reads a list of logins and subjects that are set apart by commas or white space. `*` means everybody; an empty
    /// list means nobody. An entry with a colon is a subject (`github:583231`) and counts letter by letter; any other
    /// is a login, which counts in any case, as it does at GitHub.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let entries: Vec<String> = list
            .split(|character: char| character == ',' || character.is_whitespace())
            .filter(|entry| !entry.is_empty())
            .map(str::to_owned)
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
        let subject = person.subject();
        let login = person.login.as_deref().unwrap_or_default();
        let listed = |entry: &String| {
            if entry.contains(':') {
                *entry == subject
            } else {
                entry.eq_ignore_ascii_case(login)
            }
        };
        self.everybody || self.entries.iter().any(listed)
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

    #[test]
    fn a_login_that_looks_like_a_subject_is_not_one() {
        assert!(!AllowList::parse("corp:admin7").allows(&person("corp:admin7")));
        assert!(!AllowList::parse("GitHub:7").allows(&person("ada")));
    }

    #[test]
    fn letters_that_only_look_alike_are_different() {
        assert!(!AllowList::parse("kelvin").allows(&person("\u{212a}elvin")));
    }
}
