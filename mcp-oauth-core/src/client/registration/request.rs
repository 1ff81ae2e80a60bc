//! The request, as it comes, and what is taken of it.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::localized::LocalizedMembers;
use super::values::{link, name, text};
use super::{
    ApplicationType, ClientLinks, ClientMetadata, GrantType, InvalidRegistration, MAXIMUM_ENTRIES, MAXIMUM_METADATA,
    TokenEndpointAuthMethod, refuse, usable,
};
use crate::client::keys::ClientKeys;
use crate::client::redirect_uri_policy::RedirectUriPolicy;
use crate::jwt::SignatureAlgorithm;
use crate::scope::{Scope, ScopeSet};

/// Takes a member that has the right type, or nothing where it is absent, `null` or an empty string.
fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// A client registration request (RFC 7591 §3.1) whose members have the right JSON types.
///
/// Members that this server does not understand are ignored, as RFC 7591 §2 asks. What becomes of a software statement is
/// for the [policy](super::statement::SoftwareStatements) to say, before anything else is looked at. Keys (`jwks`, `jwks_uri`)
/// are kept for `private_key_jwt` and for nothing else, since no other method of this server uses them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RegistrationRequest {
    redirect_uris: Option<Vec<String>>,
    #[serde(deserialize_with = "filled")]
    token_endpoint_auth_method: Option<String>,
    token_endpoint_auth_signing_alg: Option<Value>,
    jwks: Option<Value>,
    jwks_uri: Option<Value>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    #[serde(deserialize_with = "filled")]
    application_type: Option<String>,
    #[serde(deserialize_with = "filled")]
    client_name: Option<String>,
    #[serde(deserialize_with = "filled")]
    scope: Option<String>,
    #[serde(deserialize_with = "filled")]
    client_uri: Option<String>,
    #[serde(deserialize_with = "filled")]
    logo_uri: Option<String>,
    #[serde(deserialize_with = "filled")]
    tos_uri: Option<String>,
    #[serde(deserialize_with = "filled")]
    policy_uri: Option<String>,
    contacts: Option<Vec<String>>,
    #[serde(deserialize_with = "filled")]
    software_id: Option<String>,
    #[serde(deserialize_with = "filled")]
    software_version: Option<String>,
    /// Only what was believed.
    #[serde(skip)]
    software_statement: Option<String>,
    /// Everything else: what is understood of it are texts in certain languages.
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl RegistrationRequest {
    /// Reads the body of a registration request. A software statement is ignored.
    ///
    /// # Errors
    ///
    /// `invalid_client_metadata` when it is no JSON object, or when a member has the wrong type or is there twice.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidRegistration> {
        // Through a map first: serde_json's own structs would also accept an array in place of the object.
        let _: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|_| InvalidRegistration::Metadata("the request must be a JSON object".to_owned()))?;
        serde_json::from_slice(body).map_err(|error| wrong_type(&error))
    }

    /// Takes the members of a request one by one, with a software statement that was believed and has had its say.
    pub(crate) fn of_members(
        members: Map<String, Value>,
        software_statement: Option<String>,
    ) -> Result<Self, InvalidRegistration> {
        let request = Self::deserialize(Value::Object(members)).map_err(|error| wrong_type(&error))?;
        Ok(Self {
            software_statement,
            ..request
        })
    }

    /// Checks every member and fills in the defaults; `policy` says which redirect URIs are taken.
    ///
    /// # Errors
    ///
    /// `invalid_redirect_uri` names the redirect URIs that are not good; anything else is
    /// `invalid_client_metadata`.
    pub fn accept(self, policy: &RedirectUriPolicy) -> Result<ClientMetadata, InvalidRegistration> {
        let grant_types = grant_types(self.grant_types)?;
        let redirect_uris = self.redirect_uris.unwrap_or_default();
        // RFC 7591 §2: for grant types with a redirect.
        if redirect_uris.is_empty() && grant_types.contains(&GrantType::AuthorizationCode) {
            return refuse("redirect_uris is required: it lists where codes may be sent");
        }
        if redirect_uris.len() > MAXIMUM_ENTRIES {
            return refuse("redirect_uris has more than 20 entries");
        }
        let redirect_uris = policy.take_all(&redirect_uris)?;

        let links = ClientLinks {
            client_uri: link("client_uri", self.client_uri)?,
            logo_uri: link("logo_uri", self.logo_uri)?,
            tos_uri: link("tos_uri", self.tos_uri)?,
            policy_uri: link("policy_uri", self.policy_uri)?,
        };
        let token_endpoint_auth_method = auth_method(self.token_endpoint_auth_method.as_deref())?;
        let (keys, token_endpoint_auth_signing_alg) = match token_endpoint_auth_method {
            TokenEndpointAuthMethod::PrivateKeyJwt => (
                Some(ClientKeys::read(self.jwks.as_ref(), self.jwks_uri.as_ref())?),
                signing_algorithm(self.token_endpoint_auth_signing_alg.as_ref())?,
            ),
            _ => (None, None),
        };
        let metadata = ClientMetadata {
            redirect_uris,
            token_endpoint_auth_method,
            token_endpoint_auth_signing_alg,
            keys,
            grant_types,
            response_types: response_types(self.response_types)?,
            application_type: application_type(self.application_type.as_deref()),
            client_name: name("client_name", self.client_name)?,
            scope: scope(self.scope)?,
            links,
            contacts: contacts(self.contacts.unwrap_or_default())?,
            software_id: text("software_id", self.software_id)?,
            software_version: text("software_version", self.software_version)?,
            software_statement: self.software_statement,
            localized: LocalizedMembers::read(&self.others)?,
        };
        match serde_json::to_vec(&metadata) {
            Ok(written) if written.len() <= MAXIMUM_METADATA => Ok(metadata),
            _ => refuse("the metadata is larger than 8 KiB altogether"),
        }
    }
}

fn wrong_type(error: &serde_json::Error) -> InvalidRegistration {
    // The text repeats what stands there, however long.
    let error: String = error.to_string().chars().take(200).collect();
    InvalidRegistration::Metadata(format!("the request has a member of the wrong type: {error}"))
}

/// RFC 7591 §2: who names no method gets `client_secret_basic`.
fn auth_method(value: Option<&str>) -> Result<TokenEndpointAuthMethod, InvalidRegistration> {
    match value {
        None | Some("client_secret_basic") => Ok(TokenEndpointAuthMethod::ClientSecretBasic),
        Some("client_secret_post") => Ok(TokenEndpointAuthMethod::ClientSecretPost),
        Some("none") => Ok(TokenEndpointAuthMethod::None),
        Some("private_key_jwt") => Ok(TokenEndpointAuthMethod::PrivateKeyJwt),
        Some(_) => refuse(
            "token_endpoint_auth_method must be none, client_secret_basic, client_secret_post or private_key_jwt",
        ),
    }
}

fn signing_algorithm(value: Option<&Value>) -> Result<Option<SignatureAlgorithm>, InvalidRegistration> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if name.is_empty() => Ok(None),
        Some(value) => match value.as_str().and_then(SignatureAlgorithm::from_name) {
            Some(algorithm) => Ok(Some(algorithm)),
            None => refuse("token_endpoint_auth_signing_alg must be ES256, EdDSA, RS256 or PS256"),
        },
    }
}

/// Unknown grant types are left out, as RFC 7591 §3.2.1 allows; who names none gets all, so that a client which
/// forgot `refresh_token` does not send its people to sign in every hour.
fn grant_types(value: Option<Vec<String>>) -> Result<Vec<GrantType>, InvalidRegistration> {
    let Some(asked) = value.filter(|asked| !asked.is_empty()) else {
        return Ok(GrantType::SUPPORTED.to_vec());
    };
    let known = GrantType::REGISTRABLE
        .into_iter()
        .filter(|known| asked.iter().any(|asked| GrantType::from_text(asked) == Some(*known)))
        .collect();
    usable(known)
}

fn response_types(value: Option<Vec<String>>) -> Result<Vec<String>, InvalidRegistration> {
    let asked = value.unwrap_or_default();
    if asked.is_empty() || asked.iter().any(|asked| asked == "code") {
        Ok(vec!["code".to_owned()])
    } else {
        refuse("response_types must include code, the only response type here")
    }
}

/// It changes nothing here, loopback redirect URIs least of all, so what is unknown is left out.
fn application_type(value: Option<&str>) -> Option<ApplicationType> {
    match value {
        Some("web") => Some(ApplicationType::Web),
        Some("native") => Some(ApplicationType::Native),
        _ => None,
    }
}

/// Words that are no scopes are left out; the registered scope limits nothing, so nothing is lost.
fn scope(value: Option<String>) -> Result<Option<ScopeSet>, InvalidRegistration> {
    let Some(value) = text("scope", value)? else {
        return Ok(None);
    };
    let scopes: ScopeSet = value.split(' ').filter_map(|word| word.parse::<Scope>().ok()).collect();
    Ok(Some(scopes).filter(|scopes| !scopes.is_empty()))
}

fn contacts(value: Vec<String>) -> Result<Vec<String>, InvalidRegistration> {
    if value.len() > MAXIMUM_ENTRIES {
        return refuse("contacts has more than 20 entries");
    }
    value
        .into_iter()
        .map(|contact| text("contacts", Some(contact)).map(Option::unwrap_or_default))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{MAXIMUM_NAME, MAXIMUM_TEXT};
    use super::*;
    use crate::error::{ErrorCode, OAuthError};

    fn accept(request: &Value) -> Result<ClientMetadata, InvalidRegistration> {
        RegistrationRequest::parse(request.to_string().as_bytes())?.accept(&RedirectUriPolicy::default())
    }

    fn code(request: &Value) -> ErrorCode {
        OAuthError::from(accept(request).unwrap_err()).code()
    }

    #[test]
    fn every_member_that_was_registered_is_echoed() {
        let request = json!({
            "redirect_uris": ["http://127.0.0.1/cb", "https://a.example/cb"],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "application_type": "native",
            "client_name": "Ünïcödé \u{202e}client",
            "client_uri": "https://a.example",
            "logo_uri": "https://a.example/logo.png",
            "tos_uri": "https://a.example/tos",
            "policy_uri": "https://a.example/policy",
            "scope": "a b",
            "contacts": ["ada@a.example"],
            "software_id": "4NRB1-0XZABZI9E6-5SM3R",
            "software_version": "2.1",
        });
        assert_eq!(serde_json::to_value(accept(&request).unwrap()).unwrap(), request);
    }

    #[test]
    fn absent_null_and_empty_members_are_the_same_and_none_is_echoed() {
        let request = json!({"redirect_uris": ["http://127.0.0.1/cb"], "client_name": null, "scope": "", "contacts": null,
            "client_uri": "", "grant_types": null, "response_types": [], "software_id": null});
        let echoed = serde_json::to_value(accept(&request).unwrap()).unwrap();
        assert_eq!(
            echoed,
            json!({"redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "client_secret_basic",
                "grant_types": GrantType::SUPPORTED, "response_types": ["code"]})
        );
    }

    #[test]
    fn unknown_members_and_unknown_grant_types_are_ignored() {
        let request = json!({"redirect_uris": ["http://127.0.0.1/cb"], "x": {"y": [1]}, "software_statement": "x.y.z",
            "grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:saml2-bearer"]});
        assert_eq!(accept(&request).unwrap().grant_types, [GrantType::AuthorizationCode]);
    }

    #[test]
    fn a_client_of_devices_alone_needs_no_redirect_uri() {
        let request = json!({"token_endpoint_auth_method": "none", "response_types": ["code"],
            "grant_types": ["refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]});
        let echoed = serde_json::to_value(accept(&request).unwrap()).unwrap();
        assert_eq!(
            echoed,
            json!({"token_endpoint_auth_method": "none", "response_types": ["code"],
                "grant_types": ["refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]})
        );
        let both = json!({"grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"]});
        assert_eq!(code(&both), ErrorCode::InvalidClientMetadata);
    }

    #[test]
    fn grant_types_that_are_not_offered_count_as_unknown() {
        let offered = || [GrantType::AuthorizationCode, GrantType::RefreshToken].into_iter();
        let everything = accept(&json!({"redirect_uris": ["http://127.0.0.1/cb"]})).unwrap();
        assert_eq!(everything.grant_types, GrantType::SUPPORTED);
        assert_eq!(
            everything.limited_to(offered()).unwrap().grant_types,
            [GrantType::AuthorizationCode, GrantType::RefreshToken]
        );
        let device = json!({"grant_types": ["refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]});
        assert!(accept(&device).unwrap().limited_to(offered()).is_err());
    }

    #[test]
    fn wrong_types_and_wrong_values_are_invalid_client_metadata() {
        let uri = "http://127.0.0.1/cb";
        for request in [
            json!([]),
            json!("x"),
            json!({}),
            json!({"redirect_uris": []}),
            json!({"redirect_uris": uri}),
            json!({"redirect_uris": [1]}),
            json!({"redirect_uris": [uri], "client_name": 5}),
            json!({"redirect_uris": [uri], "client_name": "a\u{0}b"}),
            json!({"redirect_uris": [uri], "client_name": "x".repeat(MAXIMUM_NAME + 1)}),
            json!({"redirect_uris": [uri], "software_id": "x".repeat(MAXIMUM_TEXT + 1)}),
            json!({"redirect_uris": [uri], "contacts": vec!["x".repeat(MAXIMUM_TEXT); 5]}),
            json!({"redirect_uris": [uri], "token_endpoint_auth_method": "private_key_jwt"}),
            json!({"redirect_uris": [uri], "grant_types": ["password"]}),
            json!({"redirect_uris": [uri], "response_types": ["token"]}),
            json!({"redirect_uris": [uri], "logo_uri": "javascript:alert(1)"}),
            json!({"redirect_uris": [uri], "policy_uri": "http://a.example"}),
            json!({"redirect_uris": vec![uri; MAXIMUM_ENTRIES + 1]}),
        ] {
            assert_eq!(code(&request), ErrorCode::InvalidClientMetadata, "{request}");
        }
    }

    #[test]
    fn a_client_with_keys_registers_them_in_one_of_two_ways_and_gets_them_echoed() {
        let keys = crate::token::keys::KeySet::generate(crate::token::keys::Algorithm::EdDsa).unwrap();
        let mut request = json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "EdDSA", "jwks": keys.public(),
            "grant_types": ["authorization_code"], "response_types": ["code"]});
        assert_eq!(serde_json::to_value(accept(&request).unwrap()).unwrap(), request);
        request["jwks_uri"] = json!("https://a.example/jwks");
        assert_eq!(code(&request), ErrorCode::InvalidClientMetadata, "both");
        request.as_object_mut().unwrap().remove("jwks");
        assert_eq!(serde_json::to_value(accept(&request).unwrap()).unwrap(), request);
        for (member, value) in [
            ("jwks_uri", json!(null)),
            ("jwks_uri", json!("http://a.example/jwks")),
            ("token_endpoint_auth_signing_alg", json!("none")),
            ("token_endpoint_auth_signing_alg", json!("HS256")),
            ("token_endpoint_auth_signing_alg", json!(1)),
        ] {
            let mut request = request.clone();
            request[member] = value;
            assert_eq!(code(&request), ErrorCode::InvalidClientMetadata, "{request}");
        }
        request["token_endpoint_auth_method"] = json!("none");
        let metadata = accept(&request).unwrap();
        assert_eq!((metadata.keys, metadata.token_endpoint_auth_signing_alg), (None, None));
    }

    #[test]
    fn a_private_key_is_refused_and_not_repeated() {
        let request = json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "hunter2"}]}});
        let error = OAuthError::from(accept(&request).unwrap_err());
        assert_eq!(error.code(), ErrorCode::InvalidClientMetadata);
        assert!(
            error.description().contains("private key") && !error.description().contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn one_bad_redirect_uri_is_named_in_the_error() {
        let request = json!({"redirect_uris": ["https://a.example/cb", "http://evil.example/cb"]});
        let error = OAuthError::from(accept(&request).unwrap_err());
        assert_eq!(error.code(), ErrorCode::InvalidRedirectUri);
        assert!(error.description().contains("http://evil.example/cb"), "{error}");
        assert!(error.description().contains("localhost"), "{error}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(request) = RegistrationRequest::parse(&bytes) {
                let _ = request.accept(&RedirectUriPolicy::default());
            }
        }
    }
}
