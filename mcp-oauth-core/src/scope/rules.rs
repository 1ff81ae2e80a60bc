//! Which scopes an operation needs.
//!
//! Without rules, everything at a resource needs all of its scopes. A [`Rule`] says something else of one method, one tool,
//! prompt or resource, or of all whose names begin alike. Of several rules for an operation the most specific one counts: the
//! exact name, then the longest beginning of a name, then the method, then the longest beginning of a method; of two that are
//! equally specific, the later one. What no rule is about needs [what everything else
//! needs](crate::resource::Resource::otherwise): all scopes, unless said otherwise. Nothing is open to everybody unless a rule
//! says so of it.
//!
//! ```
//! use mcp_oauth_core::resource::Resource;
//! use mcp_oauth_core::scope::operation::Operation;
//! use mcp_oauth_core::scope::rules::{Requirement, Rule};
//!
//! let notes = Resource::new("https://mcp.example.com/mcp")?
//!     .scope("notes:read", "read your notes")?
//!     .scope("notes:write", "change your notes")?
//!     .implies("notes:write", "notes:read")?
//!     .otherwise("notes:read")?
//!     .rule(Rule::tool("delete").needs("notes:write")?)?
//!     .rule(Rule::method("initialize").open())?;
//! let rules = notes.access_rules();
//! let needs = |method, name| rules.required([&Operation::call(method, name)]);
//! assert_eq!(needs("tools/call", Some("delete")), Requirement::Scopes("notes:write".parse()?));
//! assert_eq!(needs("tools/call", Some("search")), Requirement::Scopes("notes:read".parse()?));
//! assert_eq!(needs("initialize", None), Requirement::Open);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use super::hierarchy::ScopeHierarchy;
use super::operation::{Kind, Operation};
use super::{InvalidScope, ScopeSet};

/// What an operation, or several at once, ask of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a caller is needed or not")]
pub enum Requirement {
    /// Nothing, not even a token.
    Open,
    /// A token with these scopes, or with others that imply them.
    Scopes(ScopeSet),
}

impl Requirement {
    /// What both ask together.
    fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Open, other) => other.clone(),
            (scopes, Self::Open) => scopes,
            (Self::Scopes(mut scopes), Self::Scopes(others)) => {
                others.iter().for_each(|scope| scopes.insert(scope.clone()));
                Self::Scopes(scopes)
            }
        }
    }
}

/// What some operations need. See the [module](self) for which rule counts.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rule {
    target: Target,
    requirement: Requirement,
}

#[derive(Clone, Debug)]
enum Target {
    Method(String),
    Methods(String),
    Named(Kind, String),
    AllNamed(Kind, String),
    Session,
}

/// How specific a rule is for an operation; the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    MethodPrefix(usize),
    Method,
    NamePrefix(usize),
    Name,
}

impl Rule {
    /// About this method, and whatever it is called for. Until [`open`](Self::open) or [`needs`](Self::needs) says what it
    /// asks, that is a token without any scopes; so it is with all of these.
    pub fn method(method: impl Into<String>) -> Self {
        Self::about(Target::Method(method.into()))
    }

    /// About all methods that begin like this, such as `notifications/`.
    pub fn methods(beginning: impl Into<String>) -> Self {
        Self::about(Target::Methods(beginning.into()))
    }

    /// About calls of this tool.
    pub fn tool(name: impl Into<String>) -> Self {
        Self::about(Target::Named(Kind::Tool, name.into()))
    }

    /// About calls of all tools whose names begin like this.
    pub fn tools(beginning: impl Into<String>) -> Self {
        Self::about(Target::AllNamed(Kind::Tool, beginning.into()))
    }

    /// About getting this prompt.
    pub fn prompt(name: impl Into<String>) -> Self {
        Self::about(Target::Named(Kind::Prompt, name.into()))
    }

    /// About getting all prompts whose names begin like this.
    pub fn prompts(beginning: impl Into<String>) -> Self {
        Self::about(Target::AllNamed(Kind::Prompt, beginning.into()))
    }

    /// About the resource with this URI: reading it, and subscribing to it.
    pub fn resource(uri: impl Into<String>) -> Self {
        Self::about(Target::Named(Kind::Resource, uri.into()))
    }

    /// About the resources whose URIs begin like this. It does not count for a URI that a server could read as one that
    /// begins otherwise: one with a dot segment, a backslash, or a percent-encoded dot, slash or backslash.
    pub fn resources(beginning: impl Into<String>) -> Self {
        Self::about(Target::AllNamed(Kind::Resource, beginning.into()))
    }

    /// About what has no method of its own: answers to the server's requests, the server's stream, the end of a session.
    pub fn session() -> Self {
        Self::about(Target::Session)
    }

    fn about(target: Target) -> Self {
        Self {
            target,
            requirement: Requirement::Scopes(ScopeSet::default()),
        }
    }

    /// Lets everybody do this, without a token. A token that is shown all the same has to be good.
    pub fn open(mut self) -> Self {
        self.requirement = Requirement::Open;
        self
    }

    /// Asks for these scopes, written with spaces between; for none, any good token does.
    ///
    /// # Errors
    ///
    /// When one of them is no scope.
    pub fn needs(mut self, scopes: &str) -> Result<Self, InvalidScope> {
        self.requirement = Requirement::Scopes(scopes.parse()?);
        Ok(self)
    }

    /// The scopes that it asks for.
    pub(crate) fn scopes(&self) -> Option<&ScopeSet> {
        match &self.requirement {
            Requirement::Open => None,
            Requirement::Scopes(scopes) => Some(scopes),
        }
    }

    fn fit(&self, operation: &Operation) -> Option<Fit> {
        let (method, name) = match (operation, &self.target) {
            (Operation::Session, Target::Session) => return Some(Fit::Name),
            (Operation::Session, _) | (_, Target::Session) => return None,
            (Operation::Call { method, name }, _) => (method, name.as_deref()),
        };
        match &self.target {
            Target::Method(known) => (known == method).then_some(Fit::Method),
            Target::Methods(beginning) => method
                .starts_with(beginning.as_str())
                .then_some(Fit::MethodPrefix(beginning.len())),
            Target::Named(kind, known) => (Kind::of(method) == Some(*kind) && name == Some(known)).then_some(Fit::Name),
            Target::AllNamed(kind, beginning) => {
                let begins =
                    |name: &str| name.starts_with(beginning.as_str()) && (*kind != Kind::Resource || is_plain(name));
                (Kind::of(method) == Some(*kind) && name.is_some_and(begins))
                    .then_some(Fit::NamePrefix(beginning.len()))
            }
            Target::Session => None,
        }
    }
}

/// Whether a URI begins as it is written, whoever reads it.
fn is_plain(uri: &str) -> bool {
    let lower = uri.to_ascii_lowercase();
    let encoded = ["%2e", "%2f", "%5c"].iter().any(|octet| lower.contains(octet));
    let path = lower.split(['?', '#']).next().unwrap_or_default();
    let dots = path.split('/').any(|segment| segment == "." || segment == "..");
    !encoded && !dots && !lower.contains('\\')
}

/// All that a resource asks of its callers. What is in here is looked at for each request.
#[derive(Clone, Debug)]
pub struct AccessRules {
    hierarchy: ScopeHierarchy,
    rules: Vec<Rule>,
    otherwise: Requirement,
    everything: ScopeSet,
}

impl AccessRules {
    pub(crate) fn new(hierarchy: ScopeHierarchy, rules: Vec<Rule>, otherwise: ScopeSet, everything: ScopeSet) -> Self {
        Self {
            hierarchy,
            rules,
            otherwise: Requirement::Scopes(otherwise),
            everything,
        }
    }

    /// Whether what is needed depends on what is called. If not, it is [`baseline`](Self::baseline) for everything.
    #[must_use]
    pub fn depend_on_the_operation(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether anything can be done without a token.
    #[must_use]
    pub fn open_anything(&self) -> bool {
        self.rules.iter().any(|rule| rule.requirement == Requirement::Open)
    }

    /// What is needed for whatever no rule is about: what a client had best ask for at first.
    #[must_use]
    pub fn baseline(&self) -> &ScopeSet {
        match &self.otherwise {
            Requirement::Scopes(scopes) => scopes,
            Requirement::Open => &self.everything,
        }
    }

    /// Every scope of the resource: what is needed where nobody can say what is called.
    #[must_use]
    pub fn everything(&self) -> &ScopeSet {
        &self.everything
    }

    /// What all of these operations need together; for none, [`everything`](Self::everything).
    pub fn required<'a>(&self, operations: impl IntoIterator<Item = &'a Operation>) -> Requirement {
        operations
            .into_iter()
            .map(|operation| self.of(operation))
            .fold(None, |all: Option<Requirement>, one| {
                Some(all.map_or_else(|| one.clone(), |all| all.and(one)))
            })
            .unwrap_or_else(|| Requirement::Scopes(self.everything.clone()))
    }

    fn of(&self, operation: &Operation) -> &Requirement {
        let fitting = self.rules.iter().filter_map(|rule| Some((rule.fit(operation)?, rule)));
        fitting
            .max_by_key(|(fit, _)| *fit)
            .map_or(&self.otherwise, |(_, rule)| &rule.requirement)
    }

    /// Whether a token with the scopes `granted` has those that are `needed`.
    #[must_use]
    pub fn suffice(&self, granted: &ScopeSet, needed: &ScopeSet) -> bool {
        self.hierarchy.suffice(granted, needed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resource::{InvalidResource, Resource};

    fn resource() -> Resource {
        let resource = Resource::new("https://a.example/mcp").unwrap();
        ["read", "write", "admin"]
            .into_iter()
            .fold(resource, |resource, scope| resource.scope(scope, scope).unwrap())
    }

    fn with(rules: Vec<Rule>) -> AccessRules {
        let resource = rules
            .into_iter()
            .fold(resource(), |resource, rule| resource.rule(rule).unwrap());
        resource.access_rules()
    }

    fn needs(rules: &AccessRules, method: &str, name: Option<&str>) -> String {
        match rules.required([&Operation::call(method, name)]) {
            Requirement::Open => "open".to_owned(),
            Requirement::Scopes(scopes) => scopes.to_string(),
        }
    }

    fn rule(rule: Rule, scopes: &str) -> Rule {
        rule.needs(scopes).unwrap()
    }

    /// "Never by accident": what no rule is about needs everything.
    #[test]
    fn without_a_rule_everything_is_needed() {
        let rules = with(vec![Rule::method("initialize").open()]);
        assert_eq!(needs(&rules, "initialize", None), "open");
        for (method, name) in [
            ("Initialize", None),
            ("initialize ", None),
            ("initialized", None),
            ("tools/call", Some("initialize")),
            ("", None),
        ] {
            assert_eq!(needs(&rules, method, name), "read write admin", "{method}");
        }
        assert_eq!(
            rules.required([&Operation::Session]),
            Requirement::Scopes("read write admin".parse().unwrap())
        );
        assert_eq!(
            rules.required([]),
            Requirement::Scopes("read write admin".parse().unwrap())
        );
        assert!(!with(Vec::new()).open_anything() && !with(Vec::new()).depend_on_the_operation());
    }

    #[test]
    fn the_most_specific_rule_counts_in_whatever_order_they_stand() {
        let mut rules = vec![
            rule(Rule::methods(""), "read"),
            rule(Rule::methods("tools/"), "write"),
            rule(Rule::method("tools/call"), "admin"),
            rule(Rule::tools("get_"), "read write"),
            rule(Rule::tools("get_secret_"), "read admin"),
            rule(Rule::tool("get_secret_name"), "write admin"),
        ];
        for _ in 0..2 {
            let compiled = with(rules.clone());
            assert_eq!(needs(&compiled, "ping", None), "read");
            assert_eq!(needs(&compiled, "tools/list", None), "write");
            assert_eq!(needs(&compiled, "tools/call", Some("x")), "admin");
            assert_eq!(needs(&compiled, "tools/call", Some("get_x")), "read write");
            assert_eq!(needs(&compiled, "tools/call", Some("get_secret_x")), "read admin");
            assert_eq!(needs(&compiled, "tools/call", Some("get_secret_name")), "write admin");
            assert_eq!(needs(&compiled, "prompts/get", Some("get_secret_name")), "read");
            rules.reverse();
        }
        let twice = with(vec![rule(Rule::tool("a"), "read"), rule(Rule::tool("a"), "write")]);
        assert_eq!(needs(&twice, "tools/call", Some("a")), "write", "the later one");
    }

    #[test]
    fn a_rule_is_about_its_own_kind() {
        let rules = with(vec![
            rule(Rule::prompt("a"), "read"),
            rule(Rule::resource("a"), "write"),
            rule(Rule::session(), "admin"),
        ]);
        assert_eq!(needs(&rules, "prompts/get", Some("a")), "read");
        for method in ["resources/read", "resources/subscribe", "resources/unsubscribe"] {
            assert_eq!(needs(&rules, method, Some("a")), "write", "{method}");
        }
        assert_eq!(needs(&rules, "tools/call", Some("a")), "read write admin");
        assert_eq!(
            rules.required([&Operation::Session]),
            Requirement::Scopes("admin".parse().unwrap())
        );
    }

    #[test]
    fn the_beginning_of_a_uri_counts_only_where_nobody_reads_another_one() {
        let rules = with(vec![rule(Rule::resources("file:///public/"), "read")]);
        assert_eq!(needs(&rules, "resources/read", Some("file:///public/a.txt")), "read");
        for uri in [
            "file:///public/../etc/passwd",
            "file:///public/%2e%2E/etc",
            "file:///public/..%2fetc",
            "file:///public/..\\etc",
            "file:///public/./a",
            "file:///public/..",
            "file:///Public/a",
            "file:///private/a",
        ] {
            assert_eq!(needs(&rules, "resources/read", Some(uri)), "read write admin", "{uri}");
        }
    }

    /// Row 183, V-87.
    #[test]
    fn several_operations_need_what_each_of_them_needs() {
        let rules = with(vec![
            Rule::method("ping").open(),
            rule(Rule::tool("a"), "read"),
            rule(Rule::tool("b"), "write read"),
        ]);
        let [ping, a, b] = [
            Operation::call("ping", None),
            Operation::call("tools/call", Some("a")),
            Operation::call("tools/call", Some("b")),
        ];
        assert_eq!(rules.required([&ping, &ping]), Requirement::Open);
        assert_eq!(
            rules.required([&ping, &a, &b, &ping]),
            Requirement::Scopes("read write".parse().unwrap())
        );
    }

    #[test]
    fn a_rule_names_scopes_that_the_resource_has() {
        let unknown = resource().rule(rule(Rule::tool("a"), "reed")).unwrap_err();
        assert_eq!(unknown, InvalidResource::UnknownScope("reed".to_owned()));
        assert!(resource().otherwise("read writ").is_err());
        assert!(resource().implies("admin", "sudo").is_err());
        assert!(Rule::tool("a").needs("a\"b").is_err());
    }

    proptest! {
        /// However many rules there are, one more operation never takes anything away.
        #[test]
        fn more_operations_never_need_less(picks in prop::collection::vec(0..4_usize, 1..6)) {
            let rules = with(vec![
                Rule::method("ping").open(),
                rule(Rule::tool("a"), "read"),
                rule(Rule::tools("b"), "write"),
            ]);
            let all = [
                Operation::call("ping", None),
                Operation::call("tools/call", Some("a")),
                Operation::call("tools/call", Some("bx")),
                Operation::Session,
            ];
            let together = rules.required(picks.iter().map(|pick| &all[*pick]));
            for pick in &picks {
                if let Requirement::Scopes(one) = rules.required([&all[*pick]]) {
                    let Requirement::Scopes(together) = &together else { return Err(TestCaseError::fail("open")) };
                    prop_assert!(together.contains_all(&one));
                }
            }
        }
    }
}
