//! What is particular about well-known providers.

use super::issuer::IssuerRule;
use super::{InvalidOpenIdConnect, OpenIdConnect};

impl OpenIdConnect {
    /// Google: `google`, at `https://accounts.google.com`.
    ///
    /// Everybody who has a Google account can sign in, so say who may. With a `domain`, an account has to belong to that
    /// Google Workspace (claim `hd`), whose administrators then decide who has one; an address alone (`domain=` on an
    /// allow-list) says less, since anybody can make a Google account with an address from elsewhere. Google lists no
    /// groups. It gives out a refresh token once, so [`ask_for_refresh_token`](Self::ask_for_refresh_token) has people asked
    /// again at each sign-in (`access_type=offline`, `prompt=consent`).
    #[must_use]
    pub fn google(client_id: impl Into<String>, domain: Option<&str>) -> Self {
        let mut google = Self::with_rule(
            "google",
            IssuerRule::Exactly("https://accounts.google.com".to_owned()),
            client_id.into(),
        );
        "Google".clone_into(&mut google.display_name);
        google.refresh_scope = None;
        google.refresh_parameters = vec![("access_type", "offline"), ("prompt", "consent")];
        match domain {
            Some(domain) => google.require_claim("hd", domain).authorization_parameter("hd", domain),
            None => google,
        }
    }

    /// Microsoft Entra ID, for the people of one tenant: `entra`. `tenant` is its identifier, as the portal shows it, and not
    /// a domain of it.
    ///
    /// Entra does not say whether it has verified an address, so its people have none here; groups are identifiers of
    /// objects, and are there if the app registration adds the groups claim. Whoever is in more than 200 groups is in none,
    /// unless the app registration restricts the claim to those assigned to it.
    ///
    /// # Errors
    ///
    /// When `tenant` is not written as a GUID: names such as `common` stand for many tenants, see
    /// [`entra_tenants`](Self::entra_tenants).
    pub fn entra(tenant: &str, client_id: impl Into<String>) -> Result<Self, InvalidOpenIdConnect> {
        let issuer = format!("https://login.microsoftonline.com/{}/v2.0", guid(tenant)?);
        let mut entra = Self::with_rule("entra", IssuerRule::Exactly(issuer), client_id.into());
        "Microsoft".clone_into(&mut entra.display_name);
        entra.refresh_parameters.clear();
        Ok(entra.groups_in_id_token_alone())
    }

    /// Microsoft Entra ID, for the people of several tenants: `entra`.
    ///
    /// Entra's metadata for many tenants names no issuer but a template, `https://login.microsoftonline.com/{tenantid}/v2.0`.
    /// Whoever replaces what is in braces by whatever tenant a token names lets in the people of every tenant that anybody
    /// has made. So here the tenants are listed, and a token's `iss` has to be that of its own `tid`. Subjects have the
    /// tenant before the person: `entra:<tenant>/<sub>`.
    ///
    /// # Errors
    ///
    /// When there is no tenant, or one is not written as a GUID.
    pub fn entra_tenants<'a>(
        tenants: impl IntoIterator<Item = &'a str>,
        client_id: impl Into<String>,
    ) -> Result<Self, InvalidOpenIdConnect> {
        let tenants = tenants.into_iter().map(guid).collect::<Result<Vec<_>, _>>()?;
        if tenants.is_empty() {
            return Err(InvalidOpenIdConnect::Tenant);
        }
        let rule = IssuerRule::Tenants {
            template: "https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(),
            tenants,
        };
        let mut entra = Self::with_rule("entra", rule, client_id.into());
        "https://login.microsoftonline.com/organizations/v2.0".clone_into(&mut entra.base);
        "Microsoft".clone_into(&mut entra.display_name);
        entra.refresh_parameters.clear();
        Ok(entra.groups_in_id_token_alone())
    }

    /// Okta's own authorization server, `okta`: `domain` is that of the organisation, such as `acme.okta.com`. For a custom
    /// one, use [`new`](Self::new) with the issuer that Okta shows (`https://acme.okta.com/oauth2/default`).
    ///
    /// The groups are in the claim `groups` if the application has a groups claim filter, and are asked for with the scope
    /// `groups` ([`scopes`](Self::scopes)).
    ///
    /// # Errors
    ///
    /// When `domain` is none.
    pub fn okta(domain: &str, client_id: impl Into<String>) -> Result<Self, InvalidOpenIdConnect> {
        let mut okta = Self::new("okta", format!("https://{domain}"), client_id)?;
        "Okta".clone_into(&mut okta.display_name);
        okta.refresh_parameters.clear();
        Ok(okta)
    }

    /// A realm of a Keycloak, `keycloak`: `base` is where the Keycloak is, such as `https://sso.example.com`.
    ///
    /// A mapper of the kind *Group Membership* puts the groups into a claim; by default with their whole path (`/staff`).
    /// Roles are at `["realm_access", "roles"]`, if the mapper is told to add them to the ID token.
    ///
    /// # Errors
    ///
    /// When the two do not make an issuer.
    pub fn keycloak(base: &str, realm: &str, client_id: impl Into<String>) -> Result<Self, InvalidOpenIdConnect> {
        let issuer = format!("{}/realms/{realm}", base.trim_end_matches('/'));
        let mut keycloak = Self::new("keycloak", issuer, client_id)?;
        "Keycloak".clone_into(&mut keycloak.display_name);
        keycloak.refresh_parameters.clear();
        Ok(keycloak)
    }
}

/// In lower case, as tokens have it.
fn guid(text: &str) -> Result<String, InvalidOpenIdConnect> {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (lengths == [8, 4, 4, 4, 12] && digits)
        .then(|| text.to_ascii_lowercase())
        .ok_or(InvalidOpenIdConnect::Tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "72F988BF-86f1-41af-91ab-2d7cd011db47";

    #[test]
    fn a_tenant_is_named_by_its_identifier_and_never_by_a_name_for_many() {
        for name in ["common", "organizations", "consumers", "acme.example", "", "{tenantid}"] {
            assert!(OpenIdConnect::entra(name, "c").is_err(), "{name}");
            assert!(OpenIdConnect::entra_tenants([name], "c").is_err(), "{name}");
        }
        assert!(OpenIdConnect::entra_tenants([], "c").is_err());
        let entra = OpenIdConnect::entra(TENANT, "c").unwrap();
        let issuer = format!("https://login.microsoftonline.com/{}/v2.0", TENANT.to_ascii_lowercase());
        assert_eq!(entra.base, issuer);
    }

    #[test]
    fn each_preset_is_where_its_provider_publishes() {
        let okta = OpenIdConnect::okta("acme.okta.com", "c").unwrap();
        let keycloak = OpenIdConnect::keycloak("https://sso.example.com/", "acme", "c").unwrap();
        assert_eq!(okta.base, "https://acme.okta.com");
        assert_eq!(keycloak.base, "https://sso.example.com/realms/acme");
        assert!(OpenIdConnect::keycloak("http://sso.example.com", "acme", "c").is_err());
    }
}
