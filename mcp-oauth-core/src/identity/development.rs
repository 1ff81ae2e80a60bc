//! People who do not exist, for a developer's machine.
//!
//! [`DevIdentity`] lets whoever sits at the browser be anybody of a list. It refuses to serve an issuer that is not
//! a loopback address, and every page says that it is in use. To try a policy, people can
//! [belong to something](DevIdentity::with_memberships); no page shows what.
//!
//! ```
//! use mcp_oauth_core::identity::IdentityProvider;
//! use mcp_oauth_core::identity::development::DevIdentity;
//!
//! let people = DevIdentity::default();
//! assert!(people.check(&"http://127.0.0.1:8080".parse()?).is_ok());
//! assert!(people.check(&"https://auth.example.com".parse()?).is_err());
//! # Ok::<_, mcp_oauth_core::issuer::InvalidIssuer>(())
//! ```

use async_trait::async_trait;
use url::Url;

use super::membership::Membership;
use super::{Identity, IdentityError, IdentityProvider, SignIn, SignInReturn, Standing};
use crate::issuer::Issuer;

/// The path of the page on which a developer picks somebody, below the issuer.
pub const SIGN_IN_PATH: &str = "/development/sign-in";

const PROVIDER: &str = "development";

/// An identity provider whose people are made up.
#[derive(Clone, Debug)]
pub struct DevIdentity {
    people: Vec<Identity>,
}

impl Default for DevIdentity {
    /// Ada and Grace.
    fn default() -> Self {
        Self::with_people([("ada", "Ada Lovelace"), ("grace", "Grace Hopper")])
    }
}

impl DevIdentity {
    /// People by login and name. The login is also the identifier.
    #[must_use]
    pub fn with_people<'a>(people: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let person = |(login, name): (&str, &str)| {
            Identity::new(PROVIDER, login)
                .with_login(login)
                .with_name(name)
                .with_verified_email(format!("{login}@development.invalid"))
        };
        Self {
            people: people.into_iter().map(person).collect(),
        }
    }

    /// Has the person with this login belong to something. Nobody else does; a login that is nobody's changes nothing.
    ///
    /// ```
    /// use mcp_oauth_core::identity::IdentityProvider;
    /// use mcp_oauth_core::identity::development::DevIdentity;
    ///
    /// let people = DevIdentity::default().with_memberships("ada", ["team=acme/ops".parse()?]);
    /// assert_eq!(people.development_users().unwrap()[0].memberships.len(), 1);
    /// # Ok::<_, mcp_oauth_core::identity::membership::InvalidMembership>(())
    /// ```
    #[must_use]
    pub fn with_memberships(mut self, login: &str, memberships: impl IntoIterator<Item = Membership>) -> Self {
        if let Some(person) = self.people.iter_mut().find(|person| person.id == login) {
            person.memberships.extend(memberships);
        }
        self
    }
}

#[async_trait]
impl IdentityProvider for DevIdentity {
    fn id(&self) -> &'static str {
        PROVIDER
    }

    fn display_name(&self) -> &'static str {
        "the development sign-in"
    }

    fn check(&self, issuer: &Issuer) -> Result<(), String> {
        if issuer.is_loopback() {
            return Ok(());
        }
        Err(format!(
            "DevIdentity lets anybody be anybody and therefore serves loopback issuers only, not {issuer}: \
             configure a real identity provider, such as GitHub"
        ))
    }

    async fn sign_in_url(&self, sign_in: &SignIn<'_>) -> Result<Url, IdentityError> {
        let mut url = sign_in.callback.clone();
        // Behind `/callback` there is the name of a provider that is one of several.
        let base = url
            .path()
            .rsplit_once("/callback")
            .map_or("", |(base, _)| base)
            .to_owned();
        url.set_path(&format!("{base}{SIGN_IN_PATH}"));
        url.query_pairs_mut().append_pair("state", sign_in.state.expose());
        Ok(url)
    }

    async fn identify(&self, returned: &SignInReturn<'_>) -> Result<Identity, IdentityError> {
        let unusable = |what: &str| IdentityError::Unusable(what.to_owned());
        let chosen = returned
            .parameters
            .require("code")
            .map_err(|_| unusable("nobody was chosen"))?;
        let person = self.people.iter().find(|person| person.id == chosen);
        person
            .cloned()
            .ok_or_else(|| unusable("the person who was chosen is not on the list"))
    }

    /// As the list says now.
    async fn standing(&self, identity: &Identity) -> Result<Standing, IdentityError> {
        let person = self.people.iter().find(|person| person.id == identity.id);
        Ok(person.map_or(Standing::Gone, |person| Standing::Changed(person.clone())))
    }

    fn development_users(&self) -> Option<&[Identity]> {
        Some(&self.people)
    }
}
