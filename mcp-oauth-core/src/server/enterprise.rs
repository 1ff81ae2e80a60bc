//! Tokens for people whom an enterprise's identity provider vouches for (the MCP extension *enterprise-managed
//! authorization*, draft-ietf-oauth-identity-assertion-authz-grant, RFC 7523 §2.1).
//!
//! A person has signed in to a client with their enterprise's provider, and the client has got an assertion from it (an
//! ID-JAG): that this person may use this resource, by this client, so far. The client brings it here, proves itself, and
//! gets an access token; no page is shown to anybody. There is no refresh token: when the access token is over the
//! provider is to be asked again, so it can say no.
//!
//! What an assertion has to be:
//!
//! | | |
//! |---|---|
//! | `typ` | `oauth-id-jag+jwt` |
//! | `iss` | a [configured](crate::identity::enterprise) provider, whose key has signed it |
//! | `aud` | this server's issuer, and nothing beside it |
//! | `client_id` | the client that brings it, which has a secret or keys |
//! | `sub` | the person, as the provider knows them; beside it `name`, and `email` with `email_verified` |
//! | `resource` | one or more of this server's resources: the token is for these, or for fewer if the request says so |
//! | `scope` | if it is there, at least one scope that the resources have; nothing beyond it is granted |
//! | `exp`, `iat` | at most an hour away ([`MAXIMUM_LIFETIME`]), and not in the future |
//! | `jti` | never used before |
//!
//! The scopes of the token are those that assertion, request and resource have in common. (The extension, §7.2.1, also
//! has a request for fewer scopes than the assertion names be refused. Fewer is never more than anybody allowed, and RFC
//! 6749 §3.3 lets a client ask for it, so here it is granted.)
//!
//! The extension (§7.6.2) has everything that is wrong with these be `invalid_grant`. What is wrong with the request's
//! own `resource` or `scope` is `invalid_target` or `invalid_scope`.
//!
//! A client that has registered itself, or has published a metadata document, may bring an assertion without having
//! registered the grant type: that the provider has named it is the permission. A client of the configuration has to be
//! configured for it.
//!
//! ```
//! use mcp_oauth_core::identity::enterprise::EnterpriseIssuer;
//! use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
//!
//! fn with_acme(builder: AuthorizationServerBuilder, jwks: serde_json::Value) -> AuthorizationServerBuilder {
//!     builder.enterprise(EnterpriseIssuer::with_keys("acme", "https://acme.idp.example", jwks))
//! }
//! ```

use std::time::Duration;

use futures_util::future::join;
use serde::Deserialize;

use super::AuthorizationServer;
use super::client_authentication::Bringer;
use super::token::{TokenError, TokenResponse};
use crate::audit::{Action, Event};
use crate::client::authentication::PresentedClient;
use crate::client::registration::GrantType;
use crate::client::{Client, ClientId};
use crate::error::{ErrorCode, OAuthError};
use crate::grant::Approval;
use crate::identity::Identity;
use crate::identity::enterprise::Enterprise;
use crate::jwt::claims::{JwtId, OneOrMany, SingleUse};
use crate::jwt::time::{NumericDate, Validity};
use crate::jwt::verify::{ExpectedType, UnverifiedJwt};
use crate::parameters::Parameters;
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;
use crate::store::Kind;

/// How the metadata names this profile (draft-ietf-oauth-identity-assertion-authz-grant §7.2).
pub const GRANT_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// How far away the `exp` of an assertion may be.
pub const MAXIMUM_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// At most this many bytes in a `sub`, and in what else is said of a person.
const MAXIMUM_TEXT: usize = 255;

/// Every claim without `Option` is required, and each is of its type.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: OneOrMany,
    client_id: String,
    resource: OneOrMany,
    exp: NumericDate,
    iat: NumericDate,
    nbf: Option<NumericDate>,
    jti: JwtId,
    scope: Option<String>,
    email: Option<String>,
    email_verified: Option<bool>,
    name: Option<String>,
}

fn refused(reason: impl Into<String>) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidGrant, format!("the assertion {}", reason.into()))
}

impl AuthorizationServer {
    /// Whether the word of any enterprise's provider is taken.
    pub(super) fn takes_assertions(&self) -> bool {
        !self.0.clients.enterprises.is_empty()
    }

    /// Answers a request that brings an assertion about a person.
    pub(super) async fn enterprise(
        &self,
        form: &Parameters,
        presented: &PresentedClient,
        event: &mut Event,
    ) -> Result<TokenResponse, TokenError> {
        event.action = Action::IssueTokens(Some(GrantType::JwtBearer));
        let assertion = form.require("assertion")?;
        let wanted = self.wanted_resources(form)?;
        let asked = form.get("scope")?;
        #[cfg(feature = "cimd")]
        self.read_document_of_named(presented, assertion).await?;
        let known = self.proven(presented, &event.origin).await?;
        let client = &known.record;
        self.may_bring_assertions(client)?;

        let (enterprise, claims) = self.verified_assertion(assertion, &client.client_id).await?;
        let identity = person(enterprise, &claims)?;
        event.subject = Some(identity.subject());
        let resources = self.resources_of_assertion(&claims, wanted)?;
        let scopes = self.scopes_of_assertion(&claims, &resources, asked)?;
        let scopes = self
            .admit(&identity, &client.client_id, &resources, &scopes)
            .await
            .map_err(|denied| match denied.code() {
                ErrorCode::AccessDenied => refused(format!("is of no use here: {}", denied.description())),
                _ => denied,
            })?;
        self.prepare_keys().await.map_err(OAuthError::from)?;
        let validity = validity(&claims);
        let single_use = SingleUse::of("id-jag", &claims.iss, &claims.jti, validity.until());
        if !self.use_once(Kind::Once, &single_use).await? {
            return Err(refused("was used before (jti), get a new one from the identity provider").into());
        }
        let approval = Approval {
            client_id: client.client_id.clone(),
            identity,
            resources,
            scopes,
            upstream: None,
        };
        let renewed = self.renew_client(Some(&known));
        let (tokens, ()) = join(self.issue_without_code(approval, event), renewed).await;
        tokens
    }

    /// A client that is known by its document may come here first. What it says of itself is read once the provider has
    /// named it, so that no stranger has this server fetch anything.
    #[cfg(feature = "cimd")]
    async fn read_document_of_named(&self, presented: &PresentedClient, assertion: &str) -> Result<(), OAuthError> {
        let Some(client_id) = presented.client_id().filter(|client_id| client_id.is_url()) else {
            return Ok(());
        };
        match self.verified_assertion(assertion, client_id).await {
            Ok(_) => self.document_client(client_id.as_str()).await.map(drop),
            Err(error) if error.code() == ErrorCode::TemporarilyUnavailable => Err(error),
            // The client is to prove itself before it is told anything.
            Err(_) => Ok(()),
        }
    }

    fn may_bring_assertions(&self, client: &Client) -> Result<(), OAuthError> {
        let refuse = |reason| Err(OAuthError::new(ErrorCode::UnauthorizedClient, reason));
        if !client.credential.is_confidential() {
            return refuse("only a client with a secret or keys may bring an assertion");
        }
        let configured = self.0.clients.preregistered.contains_key(&client.client_id);
        if configured && !client.metadata.grant_types.contains(&GrantType::JwtBearer) {
            return refuse("the client is not configured for this grant type");
        }
        Ok(())
    }

    /// The claims of an assertion that its provider has signed, for this server and this client, and that is good now.
    async fn verified_assertion(
        &self,
        assertion: &str,
        client_id: &ClientId,
    ) -> Result<(&Enterprise, Claims), OAuthError> {
        #[derive(Deserialize)]
        struct Issuer {
            iss: String,
        }
        let malformed = |reason: crate::jwt::verify::JwtRefused| refused(reason.to_string());
        let jwt = UnverifiedJwt::parse(assertion).map_err(malformed)?;
        let Issuer { iss } = jwt.claimed().map_err(malformed)?;
        let known = |enterprise: &&Enterprise| enterprise.issuer == iss;
        let enterprise = self.0.clients.enterprises.iter().find(known).ok_or_else(|| {
            refused("is from an issuer (iss) whose word is not taken here, which has to be configured to the letter")
        })?;
        let keys = self
            .public_keys(&enterprise.keys, jwt.kid(), Bringer::Operator)
            .await
            .map_err(|error| match error.code() {
                ErrorCode::TemporarilyUnavailable => error,
                _ => refused("cannot be verified: there are no usable keys of its issuer"),
            })?;
        let claims: Claims = jwt
            .verify(&keys, &enterprise.algorithms, ExpectedType::ID_JAG)
            .map_err(malformed)?;
        if claims.iss != enterprise.issuer {
            return Err(refused("is from another issuer (iss) than it seemed to be"));
        }
        if !claims.aud.is_only(self.issuer().as_str()) {
            let issuer = self.issuer();
            return Err(refused(format!(
                "is not for this server: aud must be {issuer} and nothing else"
            )));
        }
        if claims.client_id != client_id.as_str() {
            return Err(refused(
                "was given to another client: client_id must be that of the client that brings it",
            ));
        }
        validity(&claims)
            .check(self.now(), MAXIMUM_LIFETIME)
            .map_err(|untimely| refused(untimely.to_string()))?;
        Ok((enterprise, claims))
    }

    /// The resources of the assertion, or those of them that the request names.
    fn resources_of_assertion(
        &self,
        claims: &Claims,
        wanted: Option<Vec<ResourceUri>>,
    ) -> Result<Vec<ResourceUri>, OAuthError> {
        let mut resources: Vec<ResourceUri> = Vec::new();
        for named in claims.resource.as_slice() {
            let known = self
                .resource(named)
                .ok_or_else(|| refused("is for a resource that is not one of this server"))?;
            if !resources.contains(known.uri()) {
                resources.push(known.uri().clone());
            }
        }
        if resources.is_empty() {
            return Err(refused("names no resource"));
        }
        match wanted {
            None => Ok(resources),
            Some(wanted) if wanted.iter().all(|resource| resources.contains(resource)) => Ok(wanted),
            Some(_) => Err(OAuthError::new(
                ErrorCode::InvalidTarget,
                "the resource is not one that the assertion is for",
            )),
        }
    }

    /// What the assertion and the request both name, as far as the resources have it.
    fn scopes_of_assertion(
        &self,
        claims: &Claims,
        resources: &[ResourceUri],
        asked: Option<&str>,
    ) -> Result<ScopeSet, OAuthError> {
        let within = |scopes: &ScopeSet, words: &str| -> ScopeSet {
            let named = |scope: &str| words.split(' ').any(|word| word == scope);
            scopes.iter().filter(|scope| named(scope.as_str())).cloned().collect()
        };
        let of_resources = self.scopes_of(resources);
        let allowed = match &claims.scope {
            Some(scope) => within(&of_resources, scope),
            None => of_resources.clone(),
        };
        if allowed.is_empty() && !of_resources.is_empty() {
            return Err(refused(format!(
                "names none of the scopes of the resource, which has: {of_resources}"
            )));
        }
        let granted = match asked {
            Some(asked) => within(&allowed, asked),
            None => allowed.clone(),
        };
        if granted.is_empty() && !allowed.is_empty() {
            return Err(OAuthError::new(
                ErrorCode::InvalidScope,
                format!("the assertion allows none of the scopes, but: {allowed}"),
            ));
        }
        Ok(granted)
    }
}

fn validity(claims: &Claims) -> Validity {
    Validity {
        expires_at: claims.exp.0,
        not_before: claims.nbf.map(|moment| moment.0),
        issued_at: Some(claims.iat.0),
    }
}

/// The person: who they are to the provider decides, and nothing else that it says of them.
fn person(enterprise: &Enterprise, claims: &Claims) -> Result<Identity, OAuthError> {
    let plain = |text: &str| !text.is_empty() && text.len() <= MAXIMUM_TEXT && !text.chars().any(char::is_control);
    if !plain(&claims.sub) {
        return Err(refused("must have a sub of 1 to 255 bytes without control characters"));
    }
    let mut identity = Identity::new(&enterprise.name, &claims.sub);
    identity.name = claims.name.clone().filter(|name| plain(name));
    identity.email = claims
        .email
        .clone()
        .filter(|email| plain(email) && claims.email_verified == Some(true));
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::keys::ClientKeys;

    #[test]
    fn of_a_person_only_what_is_verified_and_plain_is_taken() {
        let enterprise = Enterprise {
            name: "acme".to_owned(),
            issuer: "https://acme.example".to_owned(),
            keys: ClientKeys::Inline(json!({"keys": []})),
            algorithms: Vec::new(),
        };
        let longest = "x".repeat(MAXIMUM_TEXT);
        let longer = "x".repeat(MAXIMUM_TEXT + 1);
        let read = |sub: &str, said: &serde_json::Value| {
            let mut claims = json!({"iss": "https://acme.example", "sub": sub, "aud": "x", "client_id": "x", "resource": "x",
                "exp": 2, "iat": 1, "jti": "x"});
            for (name, value) in said.as_object().unwrap() {
                claims[name] = value.clone();
            }
            person(&enterprise, &serde_json::from_value(claims).unwrap())
        };
        for sub in ["", "a\nb", &longer] {
            assert_eq!(
                read(sub, &json!({})).unwrap_err().code(),
                ErrorCode::InvalidGrant,
                "{sub:?}"
            );
        }
        assert_eq!(read(&longest, &json!({})).unwrap().subject(), format!("acme:{longest}"));
        for (said, name, email) in [
            (
                json!({"email": "a@b.example", "email_verified": true, "name": "Ada"}),
                Some("Ada"),
                Some("a@b.example"),
            ),
            (json!({"email": "a@b.example", "email_verified": false}), None, None),
            (json!({"email": "a@b.example"}), None, None),
            (
                json!({"email": "a\n@b.example", "email_verified": true, "name": "a\u{7}"}),
                None,
                None,
            ),
            (json!({"email": "", "email_verified": true, "name": longer}), None, None),
        ] {
            let person = read("1", &said).unwrap();
            assert_eq!(
                (person.name.as_deref(), person.email.as_deref()),
                (name, email),
                "{said}"
            );
        }
    }
}
