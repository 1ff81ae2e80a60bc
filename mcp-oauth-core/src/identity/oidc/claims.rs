//! From claims to a person (OpenID Connect Core §5.1).

use serde_json::{Map, Value};

use crate::identity::membership::Membership;
use crate::identity::{Identity, IdentityError};

/// At most this many bytes in anything that is said of a person.
const MAXIMUM_TEXT: usize = 255;

/// At most this many groups of a person are looked at.
const MAXIMUM_GROUPS: usize = 10_000;

/// Where in the claims something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClaimPath(pub(super) Vec<String>);

impl ClaimPath {
    pub(super) fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.get(name))
    }
}

/// How claims are read.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    /// The claim that is shown as the name that somebody signs in with.
    pub(super) login: String,
    /// Where the groups are, if anybody wants to know.
    pub(super) groups: Option<ClaimPath>,
    /// Whether the groups are in ID tokens alone, and the userinfo endpoint says nothing of them.
    pub(super) groups_in_id_token_alone: bool,
    /// The groups that somebody wants to know about.
    pub(super) wanted: Vec<Membership>,
    /// Claims that everybody has to have, and as what.
    pub(super) required: Vec<(String, String)>,
}

impl Mapping {
    /// Whether the groups are of interest and are not among these claims.
    pub(super) fn misses_groups(&self, claims: &Map<String, Value>) -> bool {
        !self.wanted.is_empty() && self.groups.as_ref().is_some_and(|path| path.find(claims).is_none())
    }

    /// Whether anything else is missing that the pages and the lists would like to know.
    pub(super) fn misses_profile(&self, claims: &Map<String, Value>) -> bool {
        let missing = |name: &str| !claims.contains_key(name);
        missing("name") || missing(&self.login) || missing("email")
    }

    /// The person with these claims.
    pub(super) fn person(
        &self,
        provider: &str,
        subject: &str,
        claims: &Map<String, Value>,
    ) -> Result<Identity, IdentityError> {
        for (name, value) in &self.required {
            if claims.get(name).and_then(Value::as_str) != Some(value) {
                return Err(IdentityError::Unusable(format!(
                    "the account is not one of those that may sign in here: its claim {name} must be {value}"
                )));
            }
        }
        let text = |name: &str| {
            let plain = |text: &&str| {
                !text.trim().is_empty() && text.len() <= MAXIMUM_TEXT && !text.chars().any(char::is_control)
            };
            let value = claims.get(name).and_then(Value::as_str);
            value.filter(plain).map(str::to_owned)
        };
        let mut identity = Identity::new(provider, subject).with_memberships(self.memberships(claims));
        identity.login = text(&self.login);
        identity.name = text("name");
        // Verified is what is JSON's true, and nothing that reads like it.
        identity.email = text("email").filter(|_| claims.get("email_verified") == Some(&Value::Bool(true)));
        Ok(identity)
    }

    fn memberships(&self, claims: &Map<String, Value>) -> Vec<Membership> {
        let Some(path) = &self.groups else { return Vec::new() };
        // Entra leaves the groups of somebody out who has more than 200, and says where they could be asked for.
        let names = ClaimPath(vec!["_claim_names".to_owned()]);
        if let (Some(Value::Object(elsewhere)), [only]) = (names.find(claims), path.0.as_slice())
            && elsewhere.contains_key(only)
        {
            tracing::warn!("the provider does not list the groups of somebody who has too many, so they are in none");
        }
        let groups: Vec<&str> = match path.find(claims) {
            Some(Value::Array(groups)) => groups.iter().take(MAXIMUM_GROUPS).filter_map(Value::as_str).collect(),
            Some(Value::String(only)) => vec![only],
            _ => Vec::new(),
        };
        let is_in = |wanted: &&Membership| {
            let is = |group: &&str| Membership::group(group).as_ref() == Ok(*wanted);
            groups.iter().any(is)
        };
        self.wanted.iter().filter(is_in).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn mapping(groups: &[&str], wanted: &[&str]) -> Mapping {
        Mapping {
            login: "preferred_username".to_owned(),
            groups: Some(ClaimPath(groups.iter().map(|name| (*name).to_owned()).collect())),
            groups_in_id_token_alone: false,
            wanted: wanted.iter().map(|group| Membership::group(group).unwrap()).collect(),
            required: Vec::new(),
        }
    }

    fn person(mapping: &Mapping, claims: &Value) -> Result<Identity, IdentityError> {
        mapping.person("acme", "U1", claims.as_object().unwrap())
    }

    #[test]
    fn a_person_is_what_the_claims_say() {
        let claims =
            json!({"preferred_username": "ada", "name": "Ada", "email": "ada@acme.example", "email_verified": true});
        let expected = Identity::new("acme", "U1")
            .with_login("ada")
            .with_name("Ada")
            .with_verified_email("ada@acme.example");
        assert_eq!(person(&mapping(&["groups"], &[]), &claims).unwrap(), expected);
        for odd in [
            json!({}),
            json!({"name": " ", "preferred_username": 7}),
            json!({"name": "a\u{0}b", "email": "x".repeat(256)}),
        ] {
            assert_eq!(
                person(&mapping(&["groups"], &[]), &odd).unwrap(),
                Identity::new("acme", "U1"),
                "{odd}"
            );
        }
    }

    /// V-42.
    #[test]
    fn an_address_that_is_not_verified_in_so_many_words_is_dropped() {
        for verified in [
            json!("true"),
            json!(1),
            json!(false),
            json!(null),
            json!([true]),
            json!("1"),
        ] {
            let claims = json!({"email": "ada@acme.example", "email_verified": verified});
            assert_eq!(
                person(&mapping(&["groups"], &[]), &claims).unwrap().email,
                None,
                "{verified}"
            );
        }
        let claims = json!({"email": "ada@acme.example"});
        assert_eq!(person(&mapping(&["groups"], &[]), &claims).unwrap().email, None);
    }

    #[test]
    fn groups_are_found_where_they_are_and_only_those_kept_that_matter() {
        let staff = [Membership::group("/staff").unwrap()];
        for (path, claims) in [
            (&["groups"][..], json!({"groups": ["/staff", "/other", 7]})),
            (&["groups"], json!({"groups": "/staff"})),
            (
                &["realm_access", "roles"],
                json!({"realm_access": {"roles": ["/staff"]}}),
            ),
            (
                &["https://acme.example/groups"],
                json!({"https://acme.example/groups": ["/staff"]}),
            ),
        ] {
            let found = person(&mapping(path, &["/staff", "/admins"]), &claims)
                .unwrap()
                .memberships;
            assert_eq!(found, staff, "{claims}");
        }
        for claims in [
            json!({"groups": {"/staff": true}}),
            json!({"groups": ["/STAFF", " /staff"]}),
            json!({"groups": [["/staff"]]}),
            json!({"_claim_names": {"groups": "src1"}}),
        ] {
            let found = person(&mapping(&["groups"], &["/staff"]), &claims).unwrap().memberships;
            assert_eq!(found, [], "{claims}");
        }
    }

    #[test]
    fn a_claim_that_everybody_must_have_keeps_the_others_out() {
        let mut mapping = mapping(&["groups"], &[]);
        mapping.required.push(("hd".to_owned(), "acme.example".to_owned()));
        assert!(person(&mapping, &json!({"hd": "acme.example"})).is_ok());
        for wrong in [
            json!({}),
            json!({"hd": "evil.example"}),
            json!({"hd": ["acme.example"]}),
        ] {
            assert!(person(&mapping, &wrong).is_err(), "{wrong}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z_]{0,12}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_the_claims_are_nobody_panics(claims in prop::collection::hash_map(
            prop::sample::select(vec!["name", "email", "email_verified", "groups", "realm_access", "_claim_names"]), value(), 0..6,
        )) {
            let claims: Map<String, Value> = claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let _ = mapping(&["realm_access", "roles"], &["a"]).person("acme", "U1", &claims);
        }
    }
}
