//! Which `iss` an ID token may have, and how the people of one issuer are told apart from those of another.

use serde_json::{Map, Value};

/// What stands in the issuer of a provider that serves many tenants from one address, in place of the tenant.
const TENANT: &str = "{tenantid}";

/// The issuers of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IssuerRule {
    /// One, to the letter.
    Exactly(String),
    /// One for each tenant: the template has [`TENANT`] where the tenant goes, as the discovery document of Entra has it.
    Tenants {
        template: String,
        /// The identifiers of those that are let in, in lower case.
        tenants: Vec<String>,
    },
}

impl IssuerRule {
    /// What the discovery document has to name.
    pub(super) fn discovered(&self) -> &str {
        match self {
            Self::Exactly(issuer) => issuer,
            Self::Tenants { template, .. } => template,
        }
    }

    /// Whether `iss` in the answer to an authorization request may be this provider's.
    pub(super) fn may_be(&self, iss: &str) -> bool {
        match self {
            Self::Exactly(issuer) => issuer == iss,
            Self::Tenants { template, tenants } => {
                template == iss || tenants.iter().any(|tenant| template.replace(TENANT, tenant) == iss)
            }
        }
    }

    /// Who it is: `sub`, and before it the tenant where there are several, since each of them has a `sub` of its own.
    /// `None` if the token is not from an issuer that is let in.
    pub(super) fn subject(&self, iss: &str, sub: &str, claims: &Map<String, Value>) -> Option<String> {
        match self {
            Self::Exactly(issuer) => (issuer == iss).then(|| sub.to_owned()),
            Self::Tenants { template, tenants } => {
                let tenant = claims.get("tid")?.as_str()?;
                let known = tenants.iter().find(|known| known.as_str() == tenant)?;
                (template.replace(TENANT, known) == iss).then(|| format!("{known}/{sub}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tenant_speaks_for_its_own_people_alone() {
        let rule = IssuerRule::Tenants {
            template: "https://login.example/{tenantid}/v2.0".to_owned(),
            tenants: vec!["aaaa".to_owned(), "bbbb".to_owned()],
        };
        let subject = |iss: &str, tid: Value| {
            let claims = json!({ "tid": tid });
            rule.subject(iss, "U1", claims.as_object().unwrap())
        };
        assert_eq!(
            subject("https://login.example/aaaa/v2.0", json!("aaaa")).as_deref(),
            Some("aaaa/U1")
        );
        for (iss, tid) in [
            ("https://login.example/bbbb/v2.0", json!("aaaa")),
            ("https://login.example/cccc/v2.0", json!("cccc")),
            ("https://login.example/{tenantid}/v2.0", json!("{tenantid}")),
            ("https://login.example/aaaa/v2.0", Value::Null),
            ("https://evil.example/aaaa/v2.0", json!("aaaa")),
        ] {
            assert_eq!(subject(iss, tid.clone()), None, "{iss} {tid}");
        }
    }
}
