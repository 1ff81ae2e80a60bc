//! `[servers.<name>.access]` and `[backends.<name>.access]`: how far tokens for a server reach, and what its operations need.

use anyhow::Context as _;
use mcp_oauth_core::resource::Resource;
use mcp_oauth_core::scope::rules::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The scope of a server about whose scopes nothing is said.
const SCOPE: &str = "mcp:tools";

/// What is asked of callers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AccessSettings {
    /// The scopes, in the order in which people read them; `mcp:tools` alone if nothing is said.
    scopes: Vec<ScopeSettings>,
    /// The scopes that are needed for what no rule is about, with spaces between; all of them if nothing is said.
    otherwise: Option<String>,
    /// What some operations need.
    rules: Vec<RuleSettings>,
}

/// A scope.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScopeSettings {
    /// As tokens name it, such as `files:read`.
    scope: String,
    /// What it allows, in words that continue "it may …".
    allows: String,
    /// The scopes that whoever has this one need not be granted by themselves.
    #[serde(default)]
    implies: Vec<String>,
}

/// What the operations need that it names. The most specific rule counts: a name before the beginning of one, both before a
/// method, that before the beginning of one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RuleSettings {
    /// Methods, such as `initialize`; a star at the end stands for all that begin so.
    methods: Vec<String>,
    /// Tools by their names, likewise.
    tools: Vec<String>,
    /// Prompts by their names, likewise.
    prompts: Vec<String>,
    /// Resources by their URIs, likewise.
    resources: Vec<String>,
    /// What has no method: answers to the server's requests, its stream, the end of a session.
    session: bool,
    /// The scopes that are needed, with spaces between; none for any good token.
    needs: Option<String>,
    /// Whether everybody may do it, without a token.
    public: bool,
}

impl RuleSettings {
    fn rules(&self) -> anyhow::Result<Vec<Rule>> {
        fn all(names: &[String], one: fn(String) -> Rule, beginning: fn(String) -> Rule) -> impl Iterator<Item = Rule> {
            names.iter().map(move |name| match name.strip_suffix('*') {
                Some(start) => beginning(start.to_owned()),
                None => one(name.clone()),
            })
        }
        let rules = all(&self.methods, Rule::method, Rule::methods)
            .chain(all(&self.tools, Rule::tool, Rule::tools))
            .chain(all(&self.prompts, Rule::prompt, Rule::prompts))
            .chain(all(&self.resources, Rule::resource, Rule::resources))
            .chain(self.session.then(Rule::session));
        let rules: Vec<Rule> = match (&self.needs, self.public) {
            (Some(scopes), false) => rules.map(|rule| rule.needs(scopes)).collect::<Result<_, _>>()?,
            (None, true) => rules.map(Rule::open).collect(),
            _ => anyhow::bail!("a rule says either needs = \"…\" or public = true"),
        };
        anyhow::ensure!(
            !rules.is_empty(),
            "a rule says what it is about: methods, tools, prompts, resources or session"
        );
        Ok(rules)
    }
}

impl AccessSettings {
    /// The resource with these scopes and rules.
    pub(crate) fn apply(&self, mut resource: Resource) -> anyhow::Result<Resource> {
        if self.scopes.is_empty() {
            resource = resource.scope(SCOPE, "see and use its tools in your name")?;
        }
        for scope in &self.scopes {
            resource = resource.scope(&scope.scope, &scope.allows)?;
        }
        for scope in &self.scopes {
            for implied in &scope.implies {
                resource = resource.implies(&scope.scope, implied)?;
            }
        }
        if let Some(scopes) = &self.otherwise {
            resource = resource.otherwise(scopes).context("access.otherwise")?;
        }
        for (index, rule) in self.rules.iter().enumerate() {
            for rule in rule
                .rules()
                .with_context(|| format!("access.rules, number {}", index + 1))?
            {
                resource = resource.rule(rule)?;
            }
        }
        Ok(resource)
    }
}

#[cfg(test)]
mod tests {
    use mcp_oauth_core::scope::operation::Operation;
    use mcp_oauth_core::scope::rules::Requirement;

    use super::*;

    fn resource(toml: &str) -> anyhow::Result<Resource> {
        let settings: AccessSettings = toml::from_str(toml)?;
        settings.apply(Resource::new("https://files.example.com/mcp")?)
    }

    #[test]
    fn without_a_word_there_is_one_scope() {
        assert_eq!(resource("").unwrap().scopes().to_string(), "mcp:tools");
    }

    #[test]
    fn scopes_have_words_and_rules_say_what_needs_them() {
        let resource = resource(
            r#"
            scopes = [
                { scope = "files:write", allows = "change your files", implies = ["files:read"] },
                { scope = "files:read", allows = "read your files" },
            ]
            otherwise = "files:read"
            rules = [
                { tools = ["write_file", "delete_*"], needs = "files:write" },
                { methods = ["initialize", "notifications/*", "tools/list"], public = true },
            ]
            "#,
        )
        .unwrap();
        assert_eq!(
            resource.meaning(&"files:write".parse().unwrap()),
            Some("change your files")
        );
        let rules = resource.access_rules();
        let needs = |method: &str, name| rules.required([&Operation::call(method, name)]);
        let scopes = |text: &str| Requirement::Scopes(text.parse().unwrap());
        assert_eq!(needs("tools/call", Some("delete_all")), scopes("files:write"));
        assert_eq!(needs("tools/call", Some("read_file")), scopes("files:read"));
        assert_eq!(needs("tools/list", None), Requirement::Open);
        assert_eq!(needs("notifications/initialized", None), Requirement::Open);
    }

    #[test]
    fn a_rule_that_says_nothing_or_two_things_is_refused() {
        for rule in [
            "tools = [\"x\"]",
            "tools = [\"x\"], needs = \"mcp:tools\", public = true",
            "public = true",
            "tools = [\"x\"], needs = \"unknown\"",
            "tool = [\"x\"], public = true",
        ] {
            assert!(resource(&format!("rules = [{{ {rule} }}]")).is_err(), "{rule}");
        }
    }
}
