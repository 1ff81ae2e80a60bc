//! Client ID metadata documents: clients that are known by a URL, and say there what they are
//! (draft-ietf-oauth-client-id-metadata-document).
//!
//! Such a client registers nowhere. Its `client_id` is the https URL of a JSON document, the members of which are
//! those of a registration (RFC 7591 §2); whoever controls the URL controls the client. A
//! [`ClientIdUrl`] is a `client_id` that can be such a URL, and [`MetadataDocument`] is what was found there, checked
//! as a registration is and a little more:
//!
//! * `client_id` has to be the URL, character by character. That is what keeps a host which publishes other people's
//!   files from speaking for one of them.
//! * There are no shared secrets, since everybody can read the document: no method that needs one, no `client_secret`
//!   and nothing beginning like it. For the same reason there are no private keys. A client that wants to prove itself
//!   publishes public ones (`private_key_jwt` with `jwks` or `jwks_uri`), and then has to use them in every request.
//! * Who names no `token_endpoint_auth_method` is a public client. (A registration would get a secret.)
//! * A member that is there twice makes the document unreadable: two readers might take two different ones.
//!
//! Other members count as they do in a [registration](super::registration): unknown ones are ignored, missing
//! `grant_types`, `response_types`, `application_type` and `client_name` are filled in or left out, and every redirect
//! URI has to be one that could be registered.
//!
//! Nothing in the document is fetched because it is there. Keys at a `jwks_uri` are, by the same guard, once the client
//! shows something that was signed with them; the logo never is.
//!
//! # Where the document comes from
//!
//! From a [`Fetcher`](crate::fetch::Fetcher), which knows what may be asked and how much be read. What does not parse
//! here must not be kept, and neither must an error be: the next request fetches again.
//!
//! ```
//! use mcp_oauth_core::client::client_id_url::ClientIdUrl;
//! use mcp_oauth_core::client::metadata_document::MetadataDocument;
//! use mcp_oauth_core::client::redirect_uri_policy::RedirectUriPolicy;
//! use mcp_oauth_core::clock::{Clock, SystemClock};
//! use mcp_oauth_core::fetch::{Fetcher, FreshnessBounds};
//!
//! # async fn example(fetcher: Fetcher) -> Result<(), Box<dyn std::error::Error>> {
//! let client_id: ClientIdUrl = "https://client.example/oauth/metadata.json".parse()?;
//! let fetched = fetcher.get(client_id.url()).await?;
//! let client = MetadataDocument::parse(&client_id, &fetched.body, &RedirectUriPolicy::default())?.into_client(SystemClock.now());
//! let keep_for = fetched.freshness.within(&FreshnessBounds::default());
//! println!("{} at {}, good for {keep_for:?}", client.display_name(), client_id.host());
//! # Ok(())
//! # }
//! ```

use serde::Deserialize;
use serde_json::Value;

use super::client_id_url::ClientIdUrl;
use super::redirect_uri_policy::RedirectUriPolicy;
use super::registration::{ClientMetadata, InvalidRegistration, RegistrationRequest, TokenEndpointAuthMethod};
use super::{Client, ClientCredential, ClientId};
use crate::clock::UnixTime;
use crate::jwt::keys::{InvalidJwkSet, public_keys};
use crate::members::Members;

/// Why a document does not make a client, in words for whoever publishes it. Must never be cached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDocument {
    /// No JSON object, or one in which a member is there twice.
    #[error("the client metadata document must be one JSON object in UTF-8, without a member that is there twice")]
    NotAnObject,
    /// `client_id` is missing or is another URL than the one that was asked for.
    #[error("the client metadata document must have a client_id that is its own URL, character by character")]
    OtherClientId,
    /// `client_secret`, `client_secret_expires_at` or another member that begins like them.
    #[error("the client metadata document has a client_secret member: remove it, everybody can read it")]
    Secret,
    /// A `token_endpoint_auth_method` that needs a shared secret.
    #[error(
        "the client metadata document has a token_endpoint_auth_method that needs a shared secret: use none or \
         private_key_jwt"
    )]
    SharedSecretMethod,
    /// Another `token_endpoint_auth_method`.
    #[error(
        "the client metadata document has a token_endpoint_auth_method that is not supported: use none or \
         private_key_jwt"
    )]
    UnknownMethod,
    /// `jwks` is no set of keys (RFC 7517 §5).
    #[error(
        "the client metadata document has a jwks that is no set of keys: an object whose member keys lists objects"
    )]
    NotAKeySet,
    /// A key in `jwks` is private, or is one that both sides share.
    #[error(
        "the client metadata document publishes a private key in jwks: replace the key, and publish the public part"
    )]
    PrivateKey,
    /// A redirect URI, or another member of a registration, is not good.
    #[error("the client metadata document is not good: {0}")]
    Metadata(#[from] InvalidRegistration),
}

/// A client ID metadata document that is good.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataDocument {
    client_id: ClientId,
    metadata: ClientMetadata,
}

impl MetadataDocument {
    /// Checks what was found at `client_id`; `policy` says which redirect URIs are taken.
    ///
    /// # Errors
    ///
    /// [`InvalidDocument`] names the first thing that is not good. The document has to change: fetching the same one
    /// again is of no use.
    pub fn parse(client_id: &ClientIdUrl, body: &[u8], policy: &RedirectUriPolicy) -> Result<Self, InvalidDocument> {
        let Members(mut members) = serde_json::from_slice(body).map_err(|_| InvalidDocument::NotAnObject)?;
        let claimed = members.get("client_id").and_then(Value::as_str);
        if claimed != Some(client_id.client_id().as_str()) {
            return Err(InvalidDocument::OtherClientId);
        }
        if members.keys().any(|name| name.starts_with("client_secret")) {
            return Err(InvalidDocument::Secret);
        }
        if let Some(keys) = members.get("jwks") {
            check_keys(keys)?;
        }
        // A registration without a method gets a secret; here, the default is none.
        let method = method(members.get("token_endpoint_auth_method"))?;
        members.insert("token_endpoint_auth_method".to_owned(), method.into());
        let metadata = RegistrationRequest::deserialize(Value::Object(members))
            .map_err(|error| {
                // The text repeats what stands there, however long.
                let error: String = error.to_string().chars().take(200).collect();
                InvalidRegistration::Metadata(format!("a member has the wrong type: {error}"))
            })?
            .accept(policy)?;
        Ok(Self {
            client_id: client_id.client_id().clone(),
            metadata,
        })
    }

    /// What the client says of itself.
    #[must_use]
    pub fn metadata(&self) -> &ClientMetadata {
        &self.metadata
    }

    /// The client of this document, which was fetched at `now`: a public one, or one that has keys.
    #[must_use]
    pub fn into_client(self, now: UnixTime) -> Client {
        Client {
            client_id: self.client_id,
            client_id_issued_at: now,
            expires_at: None,
            credential: match self.metadata.token_endpoint_auth_method {
                TokenEndpointAuthMethod::PrivateKeyJwt => ClientCredential::Keys,
                _ => ClientCredential::None,
            },
            registration_access_token: None,
            document_fresh_until: None,
            metadata: self.metadata,
        }
    }
}

fn method(method: Option<&Value>) -> Result<&'static str, InvalidDocument> {
    match method {
        None | Some(Value::Null) => Ok("none"),
        Some(Value::String(method)) => match method.as_str() {
            // As in a registration, an empty text is an absent one.
            "none" | "" => Ok("none"),
            "private_key_jwt" => Ok("private_key_jwt"),
            "client_secret_basic" | "client_secret_post" | "client_secret_jwt" => {
                Err(InvalidDocument::SharedSecretMethod)
            }
            _ => Err(InvalidDocument::UnknownMethod),
        },
        Some(_) => Err(InvalidDocument::UnknownMethod),
    }
}

/// Refuses keys that are more than the public half of a pair: any that has a member which only the owner may know
/// (RFC 7518 §6, RFC 8037 §2).
fn check_keys(keys: &Value) -> Result<(), InvalidDocument> {
    if keys.is_null() {
        return Ok(());
    }
    public_keys(keys).map(|_| ()).map_err(|error| match error {
        InvalidJwkSet::PrivateKey => InvalidDocument::PrivateKey,
        _ => InvalidDocument::NotAKeySet,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::client::keys::ClientKeys;
    use crate::client::redirect_uri::InvalidRedirectUri;
    use crate::client::redirect_uri_policy::Unfit;
    use crate::client::registration::{ApplicationType, GrantType, MAXIMUM_ENTRIES};

    const URL: &str = "https://client.example/metadata.json";

    fn url(text: &str) -> ClientIdUrl {
        text.parse().unwrap()
    }

    fn parse(document: &Value) -> Result<MetadataDocument, InvalidDocument> {
        MetadataDocument::parse(
            &url(URL),
            document.to_string().as_bytes(),
            &RedirectUriPolicy::default(),
        )
    }

    /// A good document with these members changed; `null` takes one away.
    fn with(members: &Value) -> Result<MetadataDocument, InvalidDocument> {
        let mut document = json!({
            "client_id": URL,
            "client_name": "Ada's client",
            "redirect_uris": ["https://client.example/callback"],
            "token_endpoint_auth_method": "none",
        });
        for (name, value) in members.as_object().unwrap() {
            if value.is_null() {
                document.as_object_mut().unwrap().remove(name);
            } else {
                document[name] = value.clone();
            }
        }
        parse(&document)
    }

    fn refused(members: &Value) -> InvalidDocument {
        with(members).unwrap_err()
    }

    // === The documents of real clients, in their shapes ===

    #[test]
    fn claude_code_has_portless_loopback_uris_and_no_application_type() {
        let claude_code = "https://claude.ai/oauth/claude-code-client-metadata";
        let document = json!({
            "client_id": claude_code,
            "client_name": "Claude Code",
            "client_uri": "https://claude.ai",
            "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        });
        let document = MetadataDocument::parse(
            &url(claude_code),
            document.to_string().as_bytes(),
            &RedirectUriPolicy::default(),
        )
        .unwrap();
        assert_eq!(document.metadata().application_type, None);
        let client = document.into_client(UnixTime::from_seconds(7));
        assert_eq!(client.client_id.as_str(), claude_code);
        assert_eq!(client.client_id_issued_at, UnixTime::from_seconds(7));
        assert!(matches!(client.credential, ClientCredential::None));
        assert!(client.accepts(None));
        assert_eq!(client.display_name(), "Claude Code");
        for asked in ["http://localhost:3118/callback", "http://127.0.0.1:49152/callback"] {
            assert!(
                RedirectUriPolicy::default()
                    .select(client.redirect_uris(), asked)
                    .is_some(),
                "{asked}"
            );
        }
        for asked in [
            "http://localhost:3118/other",
            "http://claude.ai/callback",
            "http://[::1]:1/callback",
        ] {
            assert!(
                RedirectUriPolicy::default()
                    .select(client.redirect_uris(), asked)
                    .is_none(),
                "{asked}"
            );
        }
    }

    #[test]
    fn vs_code_asks_for_the_device_grant_too_and_has_redirects_of_two_kinds() {
        let vs_code = "https://vscode.dev/oauth/client-metadata.json";
        let document = json!({
            "client_id": vs_code,
            "client_name": "Visual Studio Code",
            "client_uri": "https://vscode.dev/product",
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "response_types": ["code"],
            "redirect_uris": [
                "https://vscode.dev/redirect",
                "https://insiders.vscode.dev/redirect",
                "http://127.0.0.1/",
                "http://127.0.0.1:33418/",
            ],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
        });
        let document = MetadataDocument::parse(
            &url(vs_code),
            document.to_string().as_bytes(),
            &RedirectUriPolicy::default(),
        )
        .unwrap();
        assert_eq!(document.metadata().application_type, Some(ApplicationType::Native));
        assert_eq!(document.metadata().grant_types, GrantType::SUPPORTED);
        for asked in [
            "http://127.0.0.1:33418",
            "http://127.0.0.1:50000/",
            "https://vscode.dev/redirect",
        ] {
            assert!(
                RedirectUriPolicy::default()
                    .select(&document.metadata().redirect_uris, asked)
                    .is_some(),
                "{asked}"
            );
        }
    }

    #[test]
    fn chatgpt_proves_itself_with_keys_that_are_elsewhere() {
        let chatgpt = "https://chatgpt.com/oauth/connector/client.json";
        let document = json!({
            "client_id": chatgpt,
            "client_name": "ChatGPT",
            "client_uri": "https://chatgpt.com",
            "redirect_uris": ["https://chatgpt.com/connector_platform_oauth_redirect"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "jwks_uri": "https://chatgpt.com/oauth/jwks.json",
        });
        let parse = |document: &Value| {
            MetadataDocument::parse(
                &url(chatgpt),
                document.to_string().as_bytes(),
                &RedirectUriPolicy::default(),
            )
        };
        let client = parse(&document).unwrap().into_client(UnixTime::from_seconds(7));
        assert!(matches!(client.credential, ClientCredential::Keys));
        assert!(!client.accepts(None), "it is held to what it declares");
        let keys = url::Url::parse("https://chatgpt.com/oauth/jwks.json").unwrap();
        assert_eq!(client.metadata.keys, Some(ClientKeys::Remote(keys)));
        let mut public = document.clone();
        public["token_endpoint_auth_method"] = "none".into();
        let client = parse(&public).unwrap().into_client(UnixTime::from_seconds(7));
        assert!(client.accepts(None));
        let mut nowhere = document.clone();
        nowhere.as_object_mut().unwrap().remove("jwks_uri");
        assert!(matches!(parse(&nowhere), Err(InvalidDocument::Metadata(_))));
    }

    // === What every document has to hold to ===

    #[test]
    fn what_is_missing_is_filled_in_or_left_out() {
        let document = parse(&json!({"client_id": URL, "redirect_uris": ["http://localhost/cb"]})).unwrap();
        let metadata = document.metadata();
        assert_eq!(metadata.token_endpoint_auth_method, TokenEndpointAuthMethod::None);
        assert_eq!(metadata.grant_types, GrantType::SUPPORTED);
        assert_eq!(metadata.response_types, ["code"]);
        assert_eq!(
            (metadata.application_type, metadata.client_name.as_deref()),
            (None, None)
        );
        assert_eq!(document.into_client(UnixTime::from_seconds(0)).display_name(), URL);
    }

    #[test]
    fn the_default_method_is_none_and_not_that_of_a_registration() {
        for method in [json!(null), json!(""), json!("none")] {
            let metadata = with(&json!({"token_endpoint_auth_method": method})).unwrap().metadata;
            assert_eq!(
                metadata.token_endpoint_auth_method,
                TokenEndpointAuthMethod::None,
                "{method}"
            );
        }
        let null = json!({"client_id": URL, "redirect_uris": ["http://localhost/cb"], "token_endpoint_auth_method": null,
            "jwks": null});
        assert!(parse(&null).is_ok());
    }

    #[test]
    fn unknown_members_are_ignored_whatever_they_are() {
        let extra = json!({"x": {"y": [1]}, "software_statement": 7, "token_endpoint_auth_methods_supported": ["none"],
            "jwks_uri": 5});
        assert!(with(&extra).is_ok());
    }

    #[test]
    fn the_client_id_has_to_be_the_url_character_by_character() {
        for other in [
            json!(null),
            json!(7),
            json!([URL]),
            json!(""),
            json!("https://client.example/metadata.json/"),
            json!("https://client.example/metadata.json?"),
            json!("https://client.example/metadata.jso%6E"),
            json!("https://CLIENT.example/metadata.json"),
            json!("https://client.example:443/metadata.json"),
            json!("https://other.example/metadata.json"),
            json!(" https://client.example/metadata.json"),
        ] {
            assert_eq!(
                refused(&json!({"client_id": other})),
                InvalidDocument::OtherClientId,
                "{other}"
            );
        }
    }

    #[test]
    fn secrets_that_everybody_can_read_are_refused() {
        for member in ["client_secret", "client_secret_expires_at", "client_secret_hash"] {
            for value in [json!("x"), json!(0)] {
                assert_eq!(refused(&json!({ member: value })), InvalidDocument::Secret, "{member}");
            }
        }
        for method in ["client_secret_basic", "client_secret_post", "client_secret_jwt"] {
            let document = json!({"token_endpoint_auth_method": method});
            assert_eq!(refused(&document), InvalidDocument::SharedSecretMethod, "{method}");
        }
        for method in [json!("tls_client_auth"), json!("NONE"), json!(1), json!(["none"])] {
            let document = json!({"token_endpoint_auth_method": method});
            assert_eq!(refused(&document), InvalidDocument::UnknownMethod, "{method}");
        }
    }

    #[test]
    fn private_keys_are_refused_and_public_ones_are_not() {
        let ec = json!({"kty": "EC", "crv": "P-256", "x": "x", "y": "y"});
        assert!(with(&json!({"jwks": {"keys": [ec]}})).is_ok());
        assert!(with(&json!({"jwks": {"keys": []}})).is_ok());
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            let mut private = ec.clone();
            private[member] = "x".into();
            let document = json!({"jwks": {"keys": [ec, private]}});
            assert_eq!(refused(&document), InvalidDocument::PrivateKey, "{member}");
        }
        for keys in [
            json!("x"),
            json!([ec]),
            json!({}),
            json!({"keys": {}}),
            json!({"keys": ["x"]}),
        ] {
            assert_eq!(refused(&json!({ "jwks": keys })), InvalidDocument::NotAKeySet, "{keys}");
        }
    }

    #[test]
    fn redirect_uris_are_required_and_each_has_to_be_one_that_could_be_registered() {
        for uris in [json!(null), json!([])] {
            let error = refused(&json!({ "redirect_uris": uris }));
            assert!(error.to_string().contains("redirect_uris is required"), "{error}");
        }
        let error = refused(&json!({"redirect_uris": ["https://client.example/cb", "http://client.example/cb"]}));
        let insecure = InvalidRedirectUri::Insecure("http://client.example/cb".to_owned());
        assert_eq!(error, InvalidDocument::Metadata(insecure.into()));
        assert!(error.to_string().contains("http://client.example/cb"), "{error}");
    }

    #[test]
    fn the_operators_policy_for_redirect_uris_counts_for_documents_too() {
        let app = "cursor://anysphere/cb";
        let among = json!({"client_id": URL, "redirect_uris": ["https://client.example/cb", app]}).to_string();
        let taken = |policy: &RedirectUriPolicy| {
            let document = MetadataDocument::parse(&url(URL), among.as_bytes(), policy)?;
            let uris = document.metadata().redirect_uris.iter();
            Ok(uris.map(|uri| uri.as_str().to_owned()).collect::<Vec<_>>())
        };
        let policy = RedirectUriPolicy::default();
        assert_eq!(taken(&policy), Ok(vec!["https://client.example/cb".to_owned()]));
        assert_eq!(taken(&policy.clone().allow(app)).map(|uris| uris.len()), Ok(2));
        let scheme = || InvalidDocument::Metadata(InvalidRedirectUri::Scheme(app.to_owned()).into());
        assert_eq!(taken(&policy.clone().unfit(Unfit::Refused)), Err(scheme()));
        assert_eq!(
            taken(&policy.only_hosts(["claude.ai"]))
                .unwrap_err()
                .to_string()
                .matches("//")
                .count(),
            2
        );
    }

    #[test]
    fn other_members_have_the_bounds_of_a_registration() {
        for members in [
            json!({"redirect_uris": "https://client.example/cb"}),
            json!({"redirect_uris": vec!["https://client.example/cb"; MAXIMUM_ENTRIES + 1]}),
            json!({"client_name": 5}),
            json!({"client_name": "a\u{0}b"}),
            json!({"client_name": "x".repeat(3000)}),
            json!({"client_uri": "http://client.example"}),
            json!({"logo_uri": "javascript:alert(1)"}),
            json!({"grant_types": ["client_credentials"]}),
            json!({"response_types": ["token"]}),
        ] {
            assert!(matches!(refused(&members), InvalidDocument::Metadata(_)), "{members}");
        }
    }

    #[test]
    fn what_is_no_single_object_of_different_members_is_refused() {
        let good = format!(r#"{{"client_id":"{URL}","redirect_uris":["http://localhost/cb"]}}"#);
        let parse = |body: &[u8]| MetadataDocument::parse(&url(URL), body, &RedirectUriPolicy::default());
        assert!(parse(good.as_bytes()).is_ok());
        let twice = good.replacen('{', r#"{"client_id":"https://client.example/other","#, 1);
        let latin = [good.trim_end_matches('}').as_bytes(), b",\"client_name\":\"\xe9\"}"].concat();
        let utf_16: Vec<u8> = good.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let deep = good.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(500), "]".repeat(500)), 1);
        for body in [
            b"".as_slice(),
            b"null",
            b"[]",
            b"\"x\"",
            b"<html>",
            &good.as_bytes()[1..],
            format!("{good}{good}").as_bytes(),
            format!("[{good}]").as_bytes(),
            twice.as_bytes(),
            &latin,
            &utf_16,
            deep.as_bytes(),
        ] {
            assert_eq!(
                parse(body),
                Err(InvalidDocument::NotAnObject),
                "{}",
                String::from_utf8_lossy(body)
            );
        }
    }

    proptest! {
        #[test]
        fn parsing_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(MetadataDocument::parse(&url(URL), &bytes, &RedirectUriPolicy::default()).is_err());
        }

        #[test]
        fn parsing_a_document_with_any_byte_changed_never_panics(position in 0_usize..1000, byte: u8) {
            let document = json!({"client_id": URL, "redirect_uris": ["http://localhost/cb"], "jwks": {"keys": [{}]},
                "token_endpoint_auth_method": "none", "client_name": "Ada's client", "contacts": ["a"]});
            let mut bytes = document.to_string().into_bytes();
            let position = position % bytes.len();
            bytes[position] = byte;
            if let Ok(document) = MetadataDocument::parse(&url(URL), &bytes, &RedirectUriPolicy::default()) {
                let client = document.into_client(UnixTime::from_seconds(0));
                prop_assert_eq!(client.client_id.as_str(), URL);
                prop_assert!(!client.redirect_uris().is_empty());
            }
        }
    }
}
