//! The people who may, as a list that an operator writes.

use std::fmt;
use std::str::FromStr;

use super::email::{EmailAddress, EmailDomain};
use crate::identity::Identity;
use crate::identity::membership::{InvalidMembership, Membership};

/// The people who may use the protected resources, or one of them.
///
/// Entries are set apart by commas or white space:
///
/// | entry | lets in | counts |
/// |---|---|---|
/// | `ada` | whoever signs in under this login | in any case, as at GitHub |
/// | `github:583231` | the person with this subject | letter by letter |
/// | `email=ada@example.com` | whoever has this address, if the provider has verified it | in any case |
/// | `domain=example.com` | whoever has a verified address of this domain; sub-domains are others | in any case |
/// | `org=acme` | the members of an organisation | in any case |
/// | `team=acme/ops` | the members of a team, by its name in URLs | in any case |
/// | `group=admins` | the members of a group | letter by letter |
/// | `*` | everybody whom the provider knows | |
/// | `okta/group=staff` | whom the rest of the entry lets in, of the people of this provider alone | letter by letter, before the `/` |
///
/// Where people sign in with several providers, each can call its people what it likes, so all entries but subjects and
/// `*` have to name a provider there: [`github/ada`](Self::of_provider).
///
/// A login can be given up and taken by somebody else, and so can the name of an organisation. Where that matters, write
/// subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList {
    entries: Vec<Entry>,
}

/// One entry: whom it lets in, and of which provider's people, if it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    provider: Option<String>,
    who: Who,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Everybody,
    Login(String),
    Subject(String),
    Email(EmailAddress),
    Domain(EmailDomain),
    Membership(Membership),
}

/// What somebody is let in for; the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ground {
    /// Who they are. That does not change.
    Person,
    /// What they belong to. That changes, and some providers can be asked about it.
    Membership,
    /// An address that they had at the sign-in. That changes, and nobody can be asked about it.
    Email,
}

/// An entry that no allow-list can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAllowList {
    /// Something before a `=` that is no key. Taken for a login, it would let nobody in and nobody know why.
    #[error("{0:?} cannot be on an allow-list: it knows email=, domain=, org=, team= and group=, in lower case")]
    Key(String),
    /// An address without a key: a login cannot be one, so it would let nobody in.
    #[error("{0:?} cannot be on an allow-list as it is: write email={0}")]
    BareAddress(String),
    /// A login as people write it when they speak of somebody. No login begins like that, so it would let nobody in.
    #[error("{0:?} cannot be on an allow-list as it is: write {login}, without the @", login = .0.trim_start_matches('@'))]
    Mention(String),
    /// Not an address with exactly one `@` and a domain after it.
    #[error("{0:?} is not written as email=ada@example.com")]
    Email(String),
    /// Not the name of a domain.
    #[error("{0:?} is not written as domain=example.com")]
    Domain(String),
    /// Not the name of an organisation, a team or a group.
    #[error("{entry:?} cannot be on an allow-list: {reason}")]
    Membership {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        reason: InvalidMembership,
    },
}

impl AllowList {
    /// Everybody whom the identity provider knows.
    #[must_use]
    pub fn everybody() -> Self {
        Self {
            entries: vec![Entry::from(Who::Everybody)],
        }
    }

    /// Nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self { entries: Vec::new() }
    }

    /// Reads a list; see [above](Self) for what can be on one. An empty list means nobody.
    ///
    /// # Errors
    ///
    /// When an entry is none: a list is taken as a whole or not at all. The error names the entry.
    pub fn parse(list: &str) -> Result<Self, InvalidAllowList> {
        let entries: Result<_, _> = list
            .split(|character: char| character == ',' || character.is_whitespace())
            .filter(|entry| !entry.is_empty())
            .map(Entry::parse)
            .collect();
        Ok(Self { entries: entries? })
    }

    /// Adds whoever belongs to `membership`. That is also how a group gets onto a list whose name has a comma or white
    /// space in it.
    #[must_use]
    pub fn and_members_of(mut self, membership: Membership) -> Self {
        self.entries.push(Who::Membership(membership).into());
        self
    }

    /// Has all entries count for the people of this provider alone that do not say whose people they mean. Subjects do.
    ///
    /// ```
    /// use mcp_oauth_core::policy::AllowList;
    ///
    /// let list = AllowList::parse("ada, github:7, okta/group=staff")?.of_provider("github");
    /// assert_eq!(list, AllowList::parse("github/ada, github:7, okta/group=staff")?);
    /// # Ok::<_, mcp_oauth_core::policy::InvalidAllowList>(())
    /// ```
    #[must_use]
    pub fn of_provider(mut self, provider: &str) -> Self {
        for entry in &mut self.entries {
            if entry.provider.is_none() && !matches!(entry.who, Who::Subject(_)) {
                entry.provider = Some(provider.to_owned());
            }
        }
        self
    }

    /// Everybody who is on this list or on the other.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self
    }

    /// What somebody can be on it for belonging to: what the identity provider has to tell.
    pub fn memberships(&self) -> impl Iterator<Item = &Membership> {
        self.qualified_memberships().map(|(_, membership)| membership)
    }

    /// What somebody can be on it for belonging to at this provider: what that one has to tell.
    pub fn memberships_at<'a>(&'a self, provider: &'a str) -> impl Iterator<Item = &'a Membership> {
        let is_there = move |(named, _): &(Option<&str>, &Membership)| named.is_none_or(|named| named == provider);
        self.qualified_memberships()
            .filter(is_there)
            .map(|(_, membership)| membership)
    }

    /// The same, each with the provider whose people are meant.
    pub(crate) fn qualified_memberships(&self) -> impl Iterator<Item = (Option<&str>, &Membership)> {
        self.entries.iter().filter_map(|entry| match &entry.who {
            Who::Membership(membership) => Some((entry.provider.as_deref(), membership)),
            _ => None,
        })
    }

    /// The providers that are named.
    pub(crate) fn providers(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| entry.provider.as_deref())
    }

    /// The first entry that means somebody else at each provider.
    pub(crate) fn ambiguous(&self) -> Option<String> {
        let is_ambiguous =
            |entry: &&Entry| entry.provider.is_none() && !matches!(entry.who, Who::Everybody | Who::Subject(_));
        self.entries
            .iter()
            .find(is_ambiguous)
            .map(|entry| entry.who.to_string())
    }

    /// Whether nobody is on it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether this person may.
    #[must_use]
    pub fn allows(&self, person: &Identity) -> bool {
        self.ground(person).is_some()
    }

    /// What this person is let in for: the surest ground that there is, or none.
    pub(crate) fn ground(&self, person: &Identity) -> Option<Ground> {
        let subject = person.subject();
        let email = person.email.as_deref().and_then(EmailAddress::read);
        let grounds = self.entries.iter().filter_map(|entry| {
            if entry
                .provider
                .as_ref()
                .is_some_and(|provider| *provider != person.provider)
            {
                return None;
            }
            let (lets_in, ground) = match &entry.who {
                Who::Everybody => (true, Ground::Person),
                Who::Login(login) => {
                    let is_theirs = |theirs: &String| theirs.eq_ignore_ascii_case(login);
                    (person.login.as_ref().is_some_and(is_theirs), Ground::Person)
                }
                Who::Subject(listed) => (*listed == subject, Ground::Person),
                Who::Membership(membership) => (person.belongs_to(membership), Ground::Membership),
                Who::Email(address) => (email.as_ref() == Some(address), Ground::Email),
                Who::Domain(domain) => (
                    email.as_ref().is_some_and(|email| email.domain() == domain),
                    Ground::Email,
                ),
            };
            lets_in.then_some(ground)
        });
        grounds.min()
    }
}

impl FromStr for AllowList {
    type Err = InvalidAllowList;

    fn from_str(list: &str) -> Result<Self, InvalidAllowList> {
        Self::parse(list)
    }
}

impl Entry {
    /// A `/` before anything else that means something sets the name of a provider apart.
    fn parse(entry: &str) -> Result<Self, InvalidAllowList> {
        let qualified = entry.find([':', '=', '/']).filter(|at| entry[*at..].starts_with('/'));
        let Some(at) = qualified else {
            return Who::parse(entry).map(Self::from);
        };
        let (provider, who) = (&entry[..at], &entry[at + 1..]);
        let who = match Who::parse(who)? {
            Who::Login(login) if login.is_empty() || login.contains('/') => {
                return Err(InvalidAllowList::Key(entry.to_owned()));
            }
            // A subject names its provider by itself.
            Who::Subject(_) => return Err(InvalidAllowList::Key(entry.to_owned())),
            who => who,
        };
        if provider.is_empty() {
            return Err(InvalidAllowList::Key(entry.to_owned()));
        }
        Ok(Self {
            provider: Some(provider.to_owned()),
            who,
        })
    }
}

impl From<Who> for Entry {
    fn from(who: Who) -> Self {
        Self { provider: None, who }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => formatter.write_str("*"),
            Self::Login(text) | Self::Subject(text) => formatter.write_str(text),
            Self::Email(_) => formatter.write_str("email=…"),
            Self::Domain(_) => formatter.write_str("domain=…"),
            Self::Membership(membership) => membership.fmt(formatter),
        }
    }
}

impl Who {
    fn parse(entry: &str) -> Result<Self, InvalidAllowList> {
        let owned = || entry.to_owned();
        if entry == "*" {
            return Ok(Self::Everybody);
        }
        // What comes first decides: the identifier in a subject may hold a `=`, and the name of a group a colon.
        match entry
            .find([':', '='])
            .map(|at| (&entry[..at], &entry[at..=at], &entry[at + 1..]))
        {
            // Most likely meant with a `=`; as the subject of a provider of that name it would let nobody in.
            Some(("email" | "domain" | "org" | "team" | "group", ":", _)) => Err(InvalidAllowList::Key(owned())),
            Some((_, ":", _)) => Ok(Self::Subject(owned())),
            Some(("email", _, address)) => EmailAddress::read(address)
                .map(Self::Email)
                .ok_or_else(|| InvalidAllowList::Email(owned())),
            Some(("domain", _, domain)) => EmailDomain::read(domain)
                .map(Self::Domain)
                .ok_or_else(|| InvalidAllowList::Domain(owned())),
            Some(("org" | "team" | "group", ..)) => entry
                .parse()
                .map(Self::Membership)
                .map_err(|reason| InvalidAllowList::Membership { entry: owned(), reason }),
            Some(_) => Err(InvalidAllowList::Key(owned())),
            None if entry.rfind('@') == Some(0) => Err(InvalidAllowList::Mention(owned())),
            None if entry.contains('@') => Err(InvalidAllowList::BareAddress(owned())),
            None => Ok(Self::Login(owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> AllowList {
        text.parse().unwrap()
    }

    fn person(login: &str) -> Identity {
        Identity::new("github", "7").with_login(login)
    }

    fn with_email(email: &str) -> Identity {
        person("ada").with_verified_email(email)
    }

    fn member(memberships: &[&str]) -> Identity {
        person("ada").with_memberships(memberships.iter().map(|membership| membership.parse().unwrap()))
    }

    #[test]
    fn an_empty_list_lets_nobody_in() {
        let somebody = member(&["org=acme"]).with_verified_email("ada@example.com");
        for text in ["", " ", ",", " , \n"] {
            assert!(!list(text).allows(&somebody), "{text:?}");
            assert!(list(text).is_empty());
        }
        assert!(!list("").allows(&person("")));
        assert_eq!(AllowList::nobody(), list(""));
    }

    #[test]
    fn white_space_and_case_do_not_lock_anybody_out() {
        let list = list("alice, Bob\n carol");
        assert!(
            ["alice", "bob", "BOB", "Carol"]
                .into_iter()
                .all(|login| list.allows(&person(login)))
        );
        assert!(!list.allows(&person("mallory")));
    }

    #[test]
    fn a_list_knows_whether_nobody_is_on_it_and_which_memberships_it_needs_to_be_told() {
        let list = list("ada, org=acme, team=acme/ops");
        assert!(!list.is_empty());
        assert_eq!(list.memberships().count(), 2);
        assert_eq!(AllowList::everybody().memberships().count(), 0);
    }

    #[test]
    fn a_person_can_be_listed_by_subject() {
        assert!(list("github:7").allows(&person("renamed")));
        assert!(!list("github:71").allows(&person("renamed")));
        assert!(!list("7").allows(&person("renamed")));
        let padded = Identity::new("okta", "MDA=");
        assert!(list("okta:MDA=").allows(&padded));
    }

    #[test]
    fn a_login_that_looks_like_something_else_is_not_it() {
        assert!(!list("corp:admin7").allows(&person("corp:admin7")));
        assert!(!list("GitHub:7").allows(&person("ada")));
        assert!(!list("org=acme").allows(&person("org=acme")));
        assert!(!list("email=ada@example.com").allows(&person("ada@example.com")));
        assert!(!list("ada").allows(&person("*")));
    }

    #[test]
    fn letters_that_only_look_alike_are_different() {
        assert!(!list("kelvin").allows(&person("\u{212a}elvin")));
    }

    #[test]
    fn a_verified_address_lets_its_owner_in() {
        assert!(list("email=Ada@Example.com").allows(&with_email("ada@example.com")));
        assert!(!list("email=ada@example.com").allows(&with_email("ada@example.org")));
        assert!(!list("email=ada@example.com").allows(&with_email("adb@example.com")));
        assert!(!list("email=ada@example.com").allows(&person("ada")));
    }

    /// Attack V-43, and V-42: an identity has no other addresses than verified ones.
    #[test]
    fn a_verified_address_of_a_domain_lets_its_owner_in() {
        let list = list("domain=Example.com");
        assert!(list.allows(&with_email("ada@EXAMPLE.com")));
        for other in [
            "ada@evil@example.com",
            "ada@sub.example.com",
            "ada@example.com.evil.example",
            "example.com",
        ] {
            assert!(!list.allows(&with_email(other)), "{other}");
        }
        assert!(!list.allows(&person("ada")));
    }

    #[test]
    fn members_are_let_in_and_nobody_else() {
        let ada = member(&["org=Acme", "team=acme/ops", "group=Admins"]);
        for listed in ["org=ACME", "team=Acme/OPS", "group=Admins", "nobody org=acme"] {
            assert!(list(listed).allows(&ada), "{listed}");
        }
        for listed in [
            "org=acme2",
            "team=acme/dev",
            "team=other/ops",
            "group=admins",
            "org=ops",
        ] {
            assert!(!list(listed).allows(&ada), "{listed}");
        }
        let site_admins = Membership::group("Site Admins, all").unwrap();
        assert!(
            AllowList::nobody()
                .and_members_of(site_admins.clone())
                .allows(&person("ada").with_memberships([site_admins]))
        );
    }

    #[test]
    fn an_entry_that_is_none_is_refused_by_its_name() {
        let refused = [
            ("orgs=acme", InvalidAllowList::Key("orgs=acme".to_owned())),
            ("Org=acme", InvalidAllowList::Key("Org=acme".to_owned())),
            ("=", InvalidAllowList::Key("=".to_owned())),
            ("login=ada", InvalidAllowList::Key("login=ada".to_owned())),
            ("org:acme", InvalidAllowList::Key("org:acme".to_owned())),
            ("*=x", InvalidAllowList::Key("*=x".to_owned())),
            (
                "ada@example.com",
                InvalidAllowList::BareAddress("ada@example.com".to_owned()),
            ),
            ("@ada", InvalidAllowList::Mention("@ada".to_owned())),
            (
                "@ada@example.com",
                InvalidAllowList::BareAddress("@ada@example.com".to_owned()),
            ),
            ("email=ada", InvalidAllowList::Email("email=ada".to_owned())),
            (
                "email=a@b@example.com",
                InvalidAllowList::Email("email=a@b@example.com".to_owned()),
            ),
            ("domain=", InvalidAllowList::Domain("domain=".to_owned())),
            ("domain=*", InvalidAllowList::Domain("domain=*".to_owned())),
            (
                "domain=*.example.com",
                InvalidAllowList::Domain("domain=*.example.com".to_owned()),
            ),
            (
                "domain=@example.com",
                InvalidAllowList::Domain("domain=@example.com".to_owned()),
            ),
        ];
        for (entry, expected) in refused {
            assert!(expected.to_string().contains(entry), "{expected}");
            assert_eq!(AllowList::parse(&format!("grace, {entry} *")), Err(expected));
        }
        for entry in [
            "org=",
            "org=*",
            "org=a/b",
            "team=acme",
            "team=acme/",
            "team=*/*",
            "group=",
        ] {
            let error = AllowList::parse(entry).unwrap_err();
            assert!(matches!(error, InvalidAllowList::Membership { .. }), "{error}");
            assert!(error.to_string().contains(entry), "{error}");
        }
    }

    #[test]
    fn the_surest_ground_is_the_one_that_counts() {
        let ada = member(&["org=acme"]).with_verified_email("ada@example.com");
        for (listed, ground) in [
            ("domain=example.com", Some(Ground::Email)),
            ("email=ada@example.com, org=acme", Some(Ground::Membership)),
            ("org=acme ada", Some(Ground::Person)),
            ("org=acme github:7", Some(Ground::Person)),
            ("domain=example.com *", Some(Ground::Person)),
            ("grace", None),
        ] {
            assert_eq!(list(listed).ground(&ada), ground, "{listed}");
        }
    }

    /// Somebody whom no list knows that was not written for them.
    fn stranger() -> Identity {
        Identity::new("\u{1}", "\u{1}")
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".*") {
            let _ = AllowList::parse(&text);
        }

        #[test]
        fn nothing_but_a_star_lets_everybody_in(text in "[a-z*=@:/. ,]{0,40}") {
            let star = text.split([' ', ',']).any(|entry| entry == "*");
            if let Ok(list) = AllowList::parse(&text) {
                prop_assert_eq!(list.allows(&stranger()), star);
            }
        }

        /// Attack V-43.
        #[test]
        fn an_address_with_two_at_signs_is_never_let_in(one in ".*", two in ".*", domain in "[a-z]{1,8}\\.example") {
            let address = format!("{one}@{two}@{domain}");
            let person = Identity::new("\u{1}", "\u{1}").with_verified_email(address.as_str());
            let list = AllowList::parse(&format!("domain={domain}, email=ada@{domain}")).unwrap();
            prop_assert!(!list.allows(&person));
        }

        #[test]
        fn a_login_lets_only_its_owner_in(listed in "[a-z0-9-]{1,12}", login in "[a-zA-Z0-9-]{1,12}") {
            let allowed = list(&listed).allows(&person(&login));
            prop_assert_eq!(allowed, listed == login.to_ascii_lowercase());
        }
    }
}
