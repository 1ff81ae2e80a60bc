//! Who this program is to an authorization server, and how it proves that (OAuth 2.1 §2.4, RFC 7523).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::secret::Secret;

/// How long an assertion is good for: the time that one request takes.
const ASSERTION: Duration = Duration::from_secs(60);
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that was registered beforehand, by hand.
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    pub(crate) id: String,
    pub(crate) proof: Proof,
}

#[derive(Debug, Clone)]
pub(crate) enum Proof {
    None,
    Secret(Secret),
    Key(SigningKey),
}

impl ClientCredentials {
    /// A public client.
    #[must_use]
    pub fn public(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            proof: Proof::None,
        }
    }

    /// A client with a secret. It is sent in the way that the authorization server lists, in the header if it lists
    /// both.
    #[must_use]
    pub fn with_secret(id: impl Into<String>, secret: Secret) -> Self {
        Self {
            id: id.into(),
            proof: Proof::Secret(secret),
        }
    }

    /// A client with a key of its own (`private_key_jwt`).
    #[must_use]
    pub fn with_key(id: impl Into<String>, key: SigningKey) -> Self {
        Self {
            id: id.into(),
            proof: Proof::Key(key),
        }
    }
}

/// A private key, and the algorithm that goes with it.
#[derive(Clone)]
pub struct SigningKey {
    key: EncodingKey,
    algorithm: Algorithm,
    id: Option<String>,
}

/// A text is no private key that can sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no private key in PEM form (PKCS #8) of the kinds P-256, P-384, Ed25519 or RSA")]
#[non_exhaustive]
pub struct KeyError;

impl SigningKey {
    /// Reads a private key in PEM form. The algorithm follows from its kind: ES256, ES384, EdDSA or RS256.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let ec = || EncodingKey::from_ec_pem(pem).ok();
        let kinds: [(Algorithm, Option<EncodingKey>); 4] = [
            (Algorithm::ES256, ec()),
            (Algorithm::ES384, ec()),
            (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem).ok()),
            (Algorithm::RS256, EncodingKey::from_rsa_pem(pem).ok()),
        ];
        kinds
            .into_iter()
            .filter_map(|(algorithm, key)| Some((algorithm, key?)))
            // What kind a key is shows in what it can sign.
            .find(|(algorithm, key)| jsonwebtoken::encode(&Header::new(*algorithm), &json!({}), key).is_ok())
            .map(|(algorithm, key)| Self {
                key,
                algorithm,
                id: None,
            })
            .ok_or(KeyError)
    }

    /// The name under which the authorization server knows the key.
    #[must_use]
    pub fn key_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// An assertion of who the client is, for one authorization server and one request (RFC 7523 §3).
    fn assertion(&self, client: &str, issuer: &str, now: SystemTime) -> Option<Secret> {
        let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let claims = json!({
            "iss": client,
            "sub": client,
            "aud": issuer,
            "iat": now,
            "exp": now + ASSERTION.as_secs(),
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&self.id);
        jsonwebtoken::encode(&header, &claims, &self.key).ok().map(Secret::new)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// How a client proves who it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub(crate) enum Authentication {
    None,
    ClientSecretBasic {
        secret: Secret,
    },
    ClientSecretPost {
        secret: Secret,
    },
    /// The key is the configuration's, and never kept.
    #[serde(skip)]
    PrivateKeyJwt(SigningKey),
}

/// A client as one authorization server knows it.
#[allow(clippy::struct_field_names, reason = "`client_id` is the standard's own term")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) client_id: String,
    pub(crate) authentication: Authentication,
    /// What its own registration is managed with, if it was registered by this program.
    pub(crate) registration: Option<Registration>,
}

/// A registration that this program has made (RFC 7591, RFC 7592).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) uri: Option<String>,
    pub(crate) access_token: Option<Secret>,
    pub(crate) redirect_uri: String,
    /// When the secret ends, in seconds since 1970.
    pub(crate) secret_expires_at: Option<u64>,
}

impl Client {
    /// A client that was configured, at an authorization server that takes these methods.
    pub(crate) fn configured(credentials: &ClientCredentials, methods: Option<&[String]>) -> Self {
        let authentication = match &credentials.proof {
            Proof::None => Authentication::None,
            Proof::Secret(secret) => Authentication::by_secret(secret.clone(), methods),
            Proof::Key(key) => Authentication::PrivateKeyJwt(key.clone()),
        };
        Self {
            client_id: credentials.id.clone(),
            authentication,
            registration: None,
        }
    }

    /// The fields and the header by which a token request says who sends it.
    pub(crate) fn identify(&self, issuer: &str, now: SystemTime) -> Option<Identification> {
        let mut identification = Identification::default();
        let id = ("client_id", Secret::new(self.client_id.as_str()));
        match &self.authentication {
            Authentication::None => identification.fields.push(id),
            Authentication::ClientSecretPost { secret } => {
                identification.fields.extend([id, ("client_secret", secret.clone())]);
            }
            Authentication::ClientSecretBasic { secret } => {
                let (user, password) = (encoded(&self.client_id), encoded(secret.expose()));
                let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
                identification.header = Some(Secret::new(format!("Basic {credentials}")));
            }
            Authentication::PrivateKeyJwt(key) => {
                let assertion = key.assertion(&self.client_id, issuer, now)?;
                identification.fields.extend([
                    id,
                    ("client_assertion_type", Secret::new(ASSERTION_TYPE)),
                    ("client_assertion", assertion),
                ]);
            }
        }
        Some(identification)
    }
}

impl Authentication {
    /// A secret is sent in the header, unless only the form is listed (RFC 8414: nothing listed means the header).
    pub(crate) fn by_secret(secret: Secret, methods: Option<&[String]>) -> Self {
        let lists = |wanted: &str| methods.is_some_and(|methods| methods.iter().any(|method| method == wanted));
        if lists("client_secret_post") && !lists("client_secret_basic") {
            Self::ClientSecretPost { secret }
        } else {
            Self::ClientSecretBasic { secret }
        }
    }
}

/// What a request carries to say who sends it.
#[derive(Debug, Default)]
pub(crate) struct Identification {
    pub(crate) fields: Vec<(&'static str, Secret)>,
    /// The value of `Authorization`.
    pub(crate) header: Option<Secret>,
}

/// User and password of `Basic` are encoded as a form is (OAuth 2.1 §2.4.1).
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use serde_json::Value;

    use super::{Client, ClientCredentials, KeyError, Secret, SigningKey};

    fn key() -> String {
        use aws_lc_rs::{rand::SystemRandom, signature};
        let kind = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = signature::EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).unwrap();
        let text = BASE64_STANDARD.encode(key);
        format!(
            "-----BEGIN PRIVATE KEY-----
{text}
-----END PRIVATE KEY-----
"
        )
    }

    fn methods(list: &[&str]) -> Vec<String> {
        list.iter().map(|&one| one.to_owned()).collect()
    }

    #[test]
    fn a_secret_goes_into_the_header_unless_only_the_form_is_listed() {
        let credentials = ClientCredentials::with_secret("a b", Secret::new("p:w"));
        let sent = |methods: Option<&[String]>| {
            let client = Client::configured(&credentials, methods);
            client.identify("https://as", UNIX_EPOCH).unwrap()
        };
        let both = methods(&["client_secret_post", "client_secret_basic"]);
        for methods in [None, Some(both.as_slice())] {
            let sent = sent(methods);
            assert!(sent.fields.is_empty(), "one method only");
            // a+b:p%3Aw
            assert_eq!(sent.header.unwrap().expose(), "Basic YStiOnAlM0F3");
        }
        let post = methods(&["client_secret_post"]);
        let sent = sent(Some(&post));
        assert!(sent.header.is_none());
        let fields: Vec<_> = sent
            .fields
            .iter()
            .map(|(name, value)| (*name, value.expose()))
            .collect();
        assert_eq!(fields, [("client_id", "a b"), ("client_secret", "p:w")]);
    }

    #[test]
    fn an_assertion_is_for_one_issuer_and_a_short_time() {
        let key = SigningKey::from_pem(key().as_bytes()).unwrap().key_id("one");
        let client = Client::configured(&ClientCredentials::with_key("me", key), None);
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let sent = client.identify("https://as", now).unwrap();
        let assertion = sent.fields[2].1.expose().to_owned();
        let part = |at: usize| -> Value {
            let part = assertion.split('.').nth(at).unwrap();
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(
            (part(0)["alg"].as_str(), part(0)["kid"].as_str()),
            (Some("ES256"), Some("one"))
        );
        let claims = part(1);
        assert_eq!(claims["iss"], "me");
        assert_eq!(claims["sub"], "me");
        assert_eq!(claims["aud"], "https://as");
        assert_eq!(claims["exp"], 1060);
        assert_ne!(claims["jti"], Value::Null);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(SigningKey::from_pem(b"").err(), Some(KeyError));
        assert_eq!(
            SigningKey::from_pem(key().replace('M', "N").as_bytes()).err(),
            Some(KeyError)
        );
    }
}
