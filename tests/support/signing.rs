//! Somebody who signs JWTs: a client with keys, or an identity provider.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_oauth_core::client::assertion::JWT_BEARER;
use mcp_oauth_core::secret::Secret;
use serde_json::{Value, json};

use crate::application::{Answer, Application, ISSUER, encode, request};

/// A pair of keys and its name.
#[derive(Debug)]
pub struct Signer {
    pair: Ed25519KeyPair,
    /// Its name.
    pub kid: String,
}

impl Signer {
    /// A new pair with this name.
    #[must_use]
    pub fn new(kid: &str) -> Self {
        Self {
            pair: Ed25519KeyPair::generate().unwrap(),
            kid: kid.to_owned(),
        }
    }

    /// The public half.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "use": "sig"})
    }

    /// A set with the public half alone.
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({"keys": [self.jwk()]})
    }

    /// A JWT with this header and these claims.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What it signs as a client that proves itself, with some claims changed; `null` leaves one out.
    #[must_use]
    pub fn assertion(&self, application: &Application, client_id: &str, changes: &Value) -> String {
        let now = now(application);
        let mut claims = json!({"iss": client_id, "sub": client_id, "aud": ISSUER, "iat": now, "exp": now + 60,
            "jti": Secret::random().expose()});
        change(&mut claims, changes);
        self.sign(&json!({"alg": "EdDSA", "kid": self.kid}), &claims)
    }
}

/// The application's time, in seconds.
#[must_use]
pub fn now(application: &Application) -> u64 {
    use mcp_oauth_core::clock::Clock as _;
    application.clock.now().as_seconds()
}

/// Changes members of an object; `null` takes one away.
pub fn change(object: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
}

/// Sends a form that a client proves itself in by an assertion.
pub async fn post(application: &Application, path: &str, assertion: &str, fields: &[(&str, &str)]) -> Answer {
    let mut form = vec![("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    form.extend_from_slice(fields);
    application.post_form(path, &form).await
}

/// Sends a form with an `Authorization` header.
pub async fn post_with_basic(
    application: &Application,
    path: &str,
    client_id: &str,
    secret: &str,
    fields: &[(&str, &str)],
) -> Answer {
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{client_id}:{secret}"));
    let authorization = format!("Basic {basic}");
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("authorization", authorization.as_str()),
    ];
    application
        .send(request(http::Method::POST, path, &headers, &encode(fields)))
        .await
}

/// Whether the key of this set that a JWT names has signed it, as somebody finds out who has nothing but the set.
#[must_use]
pub fn verifies(jwks: &Value, token: &str) -> bool {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(signed.split('.').next().unwrap())).unwrap();
    let keys = jwks["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!(key["alg"], header["alg"]);
    let coordinate = |name: &str| decode(key[name].as_str().unwrap());
    let (algorithm, public): (&dyn VerificationAlgorithm, _) = match key["alg"].as_str().unwrap() {
        "ES256" => (
            &ECDSA_P256_SHA256_FIXED,
            [vec![4], coordinate("x"), coordinate("y")].concat(),
        ),
        "EdDSA" => (&ED25519, coordinate("x")),
        other => panic!("no key for {other}"),
    };
    UnparsedPublicKey::new(algorithm, public)
        .verify(signed.as_bytes(), &decode(signature))
        .is_ok()
}
