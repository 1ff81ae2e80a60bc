//! From text to claims.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::SignatureAlgorithm;
use super::keys::JwkSet;
use crate::members::Members;
use crate::secret::Secret;

/// At most this many bytes in a JWT.
pub const MAXIMUM_LENGTH: usize = 16 * 1024;

/// Why a JWT is refused, before anything that it says is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtRefused {
    /// It is no JWT in compact form, or is larger than [`MAXIMUM_LENGTH`].
    #[error("is not a signed JWT in compact form of at most 16 KiB")]
    Malformed,
    /// It is signed with an algorithm that is not allowed.
    #[error("is not signed with an algorithm that is allowed here")]
    Algorithm,
    /// Its header asks for something critical.
    #[error("has a crit header, and nothing critical is understood here")]
    Critical,
    /// It is a JWT of another kind.
    #[error("has a typ that is not the right one")]
    Type,
    /// No key of the set has its name, or none is for its algorithm.
    #[error("was signed with a key that is not published")]
    UnknownKey,
    /// Several keys could have signed it.
    #[error("could have been signed with several keys: name one of them with kid, and give each a name of its own")]
    AmbiguousKey,
    /// The key has not signed it.
    #[error("has a signature that is wrong")]
    Signature,
    /// A claim is missing, has the wrong JSON type, or is there twice.
    #[error("lacks a claim that is required, or has one of the wrong type or twice")]
    Claims,
}

/// Which `typ` a JWT must have (RFC 8725 §3.11). Media types count in any case, with and without `application/`.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedType {
    name: &'static str,
    /// Whether tokens that do not say what they are, or say no more than `JWT`, are taken too.
    or_plain: bool,
}

impl ExpectedType {
    /// A client's proof of itself (RFC 7523 §2.2). The type is newer than most clients, so they need not name it.
    pub const CLIENT_AUTHENTICATION: Self = Self {
        name: "client-authentication+jwt",
        or_plain: true,
    };

    /// An identity provider's word for a person (draft-ietf-oauth-identity-assertion-authz-grant §3).
    pub const ID_JAG: Self = Self {
        name: "oauth-id-jag+jwt",
        or_plain: false,
    };

    /// An access token (RFC 9068 §2.1).
    pub const ACCESS_TOKEN: Self = Self {
        name: "at+jwt",
        or_plain: false,
    };

    /// An access token of an authorization server that gives its tokens no type of their own.
    pub const ACCESS_TOKEN_OR_PLAIN: Self = Self {
        name: "at+jwt",
        or_plain: true,
    };

    /// A publisher's word for its software (RFC 7591 §2.3), which no specification has given a type of its own.
    pub const SOFTWARE_STATEMENT: Self = Self {
        name: "software-statement+jwt",
        or_plain: true,
    };

    /// A provider's word for a person who has just signed in (OpenID Connect Core §2). Most providers call it `JWT` or
    /// nothing; that it is none of their other tokens is told by its `aud` and `nonce`.
    pub const ID_TOKEN: Self = Self {
        name: "id_token+jwt",
        or_plain: true,
    };

    /// What a browser shows that was sent to sign in for itself, see [`session`](crate::server::session).
    pub(crate) const SESSION_TICKET: Self = Self {
        name: "mcp-session-ticket+jwt",
        or_plain: false,
    };

    /// What a browser shows whose person is signed in for themselves, likewise.
    pub(crate) const SESSION: Self = Self {
        name: "mcp-session+jwt",
        or_plain: false,
    };

    /// What a browser shows that is to remember a consent, see [`remembered_consent`](crate::server::remembered_consent).
    pub(crate) const REMEMBERED_CONSENT: Self = Self {
        name: "mcp-remembered-consent+jwt",
        or_plain: false,
    };

    fn accepts(self, typ: Option<&str>) -> bool {
        let Some(typ) = typ else {
            return self.or_plain;
        };
        let typ = typ.to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        typ == self.name || (self.or_plain && typ == "jwt")
    }
}

/// Text that has the form of a signed JWT. Nothing it says has been checked. Not shown by `Debug`: until it is used, it
/// is as good as a password.
#[derive(Clone, Debug)]
pub struct UnverifiedJwt {
    text: Secret,
    kid: Option<String>,
    algorithm: SignatureAlgorithm,
    typ: Option<String>,
}

impl UnverifiedJwt {
    /// Looks at the form of the text, and at its header.
    ///
    /// # Errors
    ///
    /// [`JwtRefused::Malformed`], [`JwtRefused::Algorithm`] or [`JwtRefused::Critical`].
    pub fn parse(text: &str) -> Result<Self, JwtRefused> {
        if text.len() > MAXIMUM_LENGTH || text.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Err(JwtRefused::Malformed);
        }
        let Members(mut header) = part(text, 0)?;
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .ok_or(JwtRefused::Malformed)
            .and_then(|name| SignatureAlgorithm::from_name(name).ok_or(JwtRefused::Algorithm))?;
        // RFC 7797 changes what is signed, and has to say so in crit.
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(JwtRefused::Critical);
        }
        let mut optional = |name: &str| match header.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(JwtRefused::Malformed),
        };
        Ok(Self {
            kid: optional("kid")?,
            typ: optional("typ")?,
            algorithm,
            text: Secret::from(text),
        })
    }

    /// The name of the key that it says it was signed with.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether it says that it is of this type.
    pub(crate) fn is(&self, expected: ExpectedType) -> bool {
        expected.accepts(self.typ.as_deref())
    }

    /// The algorithm that it says it was signed with. After [`verify`](Self::verify) it was.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// What it says of itself. Good for finding out whose keys to verify it with, and for nothing else.
    ///
    /// # Errors
    ///
    /// [`JwtRefused::Claims`].
    pub fn claimed<C: DeserializeOwned>(&self) -> Result<C, JwtRefused> {
        claims(part(self.text.expose(), 1).map_err(|_| JwtRefused::Claims)?)
    }

    /// The claims, if one of `keys` has signed them, with an algorithm that is allowed, in a token of the expected type.
    ///
    /// # Errors
    ///
    /// See [`JwtRefused`].
    pub fn verify<C: DeserializeOwned>(
        &self,
        keys: &JwkSet,
        allowed: &[SignatureAlgorithm],
        expected: ExpectedType,
    ) -> Result<C, JwtRefused> {
        if !allowed.contains(&self.algorithm) {
            return Err(JwtRefused::Algorithm);
        }
        if !expected.accepts(self.typ.as_deref()) {
            return Err(JwtRefused::Type);
        }
        let mut fitting = keys.fitting(self.kid(), self.algorithm);
        let key = fitting.next().ok_or(JwtRefused::UnknownKey)?;
        if fitting.next().is_some() {
            return Err(JwtRefused::AmbiguousKey);
        }
        let (signed, signature) = self.text.expose().rsplit_once('.').ok_or(JwtRefused::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwtRefused::Signature)?;
        if !key.has_signed(self.algorithm, signed.as_bytes(), &signature) {
            return Err(JwtRefused::Signature);
        }
        claims(part(self.text.expose(), 1).map_err(|_| JwtRefused::Claims)?)
    }

    /// Does the work of a verification for nothing: for tokens of somebody who has no keys here, so that the answer
    /// does not come sooner.
    pub(crate) fn verify_in_vain(&self) {
        /// The base point of P-256 (SEC 2 §2.4.2), which is as good as any other.
        const POINT: [u8; 65] = [
            0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77,
            0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42,
            0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b,
            0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
        ];
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, POINT);
        let _ = key.verify(self.text.expose().as_bytes(), &[1; 64]);
    }
}

fn part(text: &str, number: usize) -> Result<Members, JwtRefused> {
    let encoded = text.split('.').nth(number).unwrap_or_default();
    let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| JwtRefused::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| JwtRefused::Malformed)
}

fn claims<C: DeserializeOwned>(Members(members): Members) -> Result<C, JwtRefused> {
    C::deserialize(Value::Object(members)).map_err(|_| JwtRefused::Claims)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256, RsaKeyPair};
    use jsonwebtoken::EncodingKey;
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::token::keys::{Algorithm, KeySet};

    #[derive(Debug, PartialEq, Deserialize)]
    struct Claims {
        sub: String,
    }

    fn set(keys: &[&KeySet]) -> JwkSet {
        let keys: Vec<_> = keys.iter().flat_map(|keys| keys.public().keys).collect();
        JwkSet::read(&json!({ "keys": keys })).unwrap()
    }

    fn header(keys: &KeySet) -> Value {
        json!({"alg": keys.algorithm().as_str(), "kid": keys.public().keys[0].kid})
    }

    fn verify(token: &str, keys: &JwkSet) -> Result<Claims, JwtRefused> {
        UnverifiedJwt::parse(token)?.verify(
            keys,
            &SignatureAlgorithm::SUPPORTED,
            ExpectedType::CLIENT_AUTHENTICATION,
        )
    }

    fn with_header(changes: &Value) -> Result<Claims, JwtRefused> {
        let keys = KeySet::generate(Algorithm::Es256).unwrap();
        let mut header = header(&keys);
        for (name, value) in changes.as_object().unwrap() {
            header[name] = value.clone();
        }
        verify(&keys.sign_anything(&header, &json!({"sub": "ada"})), &set(&[&keys]))
    }

    #[test]
    fn a_token_of_each_algorithm_is_verified() {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
            let keys = KeySet::generate(algorithm).unwrap();
            let token = keys.sign_anything(&header(&keys), &json!({"sub": "ada"}));
            assert_eq!(verify(&token, &set(&[&keys])).unwrap().sub, "ada", "{algorithm:?}");
        }
    }

    #[test]
    fn a_token_that_was_signed_with_pss_is_verified() {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = pair.public_key();
        let keys = json!({"keys": [{"kty": "RSA", "n": encode(public.modulus().big_endian_without_leading_zero()),
            "e": encode(public.exponent().big_endian_without_leading_zero())}]});
        let signed = format!("{}.{}", encode(br#"{"alg":"PS256"}"#), encode(br#"{"sub":"ada"}"#));
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .unwrap();
        let token = format!("{signed}.{}", encode(&signature));
        assert_eq!(verify(&token, &JwkSet::read(&keys).unwrap()).unwrap().sub, "ada");
    }

    #[test]
    fn the_key_is_the_one_that_the_token_names_or_the_only_one() {
        let (first, second) = (
            KeySet::generate(Algorithm::Es256).unwrap(),
            KeySet::generate(Algorithm::Es256).unwrap(),
        );
        let claims = json!({"sub": "ada"});
        let named = first.sign_anything(&header(&first), &claims);
        let anonymous = first.sign_anything(&json!({"alg": "ES256"}), &claims);
        assert!(verify(&named, &set(&[&second, &first])).is_ok());
        assert!(verify(&anonymous, &set(&[&first])).is_ok());
        assert_eq!(verify(&named, &set(&[&second])), Err(JwtRefused::UnknownKey));
        assert_eq!(
            verify(&anonymous, &set(&[&first, &second])),
            Err(JwtRefused::AmbiguousKey)
        );
        let wrong = second.sign_anything(&header(&first), &claims);
        assert_eq!(verify(&wrong, &set(&[&first, &second])), Err(JwtRefused::Signature));
        let other_kind = KeySet::generate(Algorithm::EdDsa).unwrap();
        assert!(
            verify(&anonymous, &set(&[&first, &other_kind])).is_ok(),
            "only one is for the algorithm"
        );
    }

    /// V-49: a public key is no shared secret, and no algorithm is none.
    #[test]
    fn the_header_cannot_choose_another_algorithm() {
        let keys = KeySet::generate(Algorithm::Rs256).unwrap();
        let public = &keys.public().keys[0];
        let jwk = serde_json::to_string(public).unwrap();
        let modulus = serde_json::to_value(public).unwrap()["n"].as_str().unwrap().to_owned();
        for secret in [jwk, modulus] {
            let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
            header.kid = Some(public.kid.clone());
            let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
            let secret = EncodingKey::from_secret(secret.as_bytes());
            let token = jsonwebtoken::encode(&header, &json!({"sub": "ada"}), &secret).unwrap();
            assert_eq!(verify(&token, &set(&[&keys])), Err(JwtRefused::Algorithm));
        }
        for algorithm in ["none", "nOnE", "None", "", "RS384", "rs256", "ES256 ", "HS512"] {
            let mut header = header(&keys);
            header["alg"] = json!(algorithm);
            let token = keys.sign_anything(&header, &json!({"sub": "ada"}));
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            for token in [token, unsigned] {
                assert_eq!(
                    verify(&token, &set(&[&keys])),
                    Err(JwtRefused::Algorithm),
                    "{algorithm}"
                );
            }
        }
        for algorithm in ["ES256", "EdDSA"] {
            let mut header = header(&keys);
            header["alg"] = json!(algorithm);
            let token = keys.sign_anything(&header, &json!({"sub": "ada"}));
            assert_eq!(
                verify(&token, &set(&[&keys])),
                Err(JwtRefused::UnknownKey),
                "{algorithm}"
            );
        }
        let mut pss = header(&keys);
        pss["alg"] = json!("PS256");
        let token = keys.sign_anything(&pss, &json!({"sub": "ada"}));
        assert_eq!(
            verify(&token, &set(&[&keys])),
            Err(JwtRefused::UnknownKey),
            "the key says RS256"
        );
    }

    #[test]
    fn an_algorithm_that_the_server_does_not_allow_is_refused_although_the_key_is_for_it() {
        let keys = KeySet::generate(Algorithm::Es256).unwrap();
        let token = keys.sign_anything(&header(&keys), &json!({"sub": "ada"}));
        let refused = UnverifiedJwt::parse(&token).unwrap().verify::<Claims>(
            &set(&[&keys]),
            &[SignatureAlgorithm::EdDsa],
            ExpectedType::CLIENT_AUTHENTICATION,
        );
        assert_eq!(refused, Err(JwtRefused::Algorithm));
    }

    #[test]
    fn the_type_is_the_one_that_is_due() {
        for typ in [
            "JWT",
            "jwt",
            "application/jwt",
            "client-authentication+jwt",
            "application/Client-Authentication+JWT",
        ] {
            assert!(with_header(&json!({ "typ": typ })).is_ok(), "{typ}");
        }
        for typ in ["", "at+jwt", "oauth-id-jag+jwt", "logout+jwt", "jwt ", "application/"] {
            assert_eq!(with_header(&json!({ "typ": typ })), Err(JwtRefused::Type), "{typ}");
        }
        assert!(ExpectedType::ID_JAG.accepts(Some("oauth-id-jag+jwt")));
        assert!(ExpectedType::ID_JAG.accepts(Some("application/oauth-ID-JAG+jwt")));
        for typ in [None, Some("JWT"), Some("client-authentication+jwt"), Some("at+jwt")] {
            assert!(!ExpectedType::ID_JAG.accepts(typ), "{typ:?}");
        }
    }

    #[test]
    fn nothing_critical_is_understood_and_no_key_in_the_header_is_taken() {
        for critical in [
            json!({"crit": ["exp"]}),
            json!({"crit": []}),
            json!({"crit": null}),
            json!({"b64": false}),
        ] {
            assert_eq!(with_header(&critical), Err(JwtRefused::Critical), "{critical}");
        }
        let (owner, stranger) = (
            KeySet::generate(Algorithm::Es256).unwrap(),
            KeySet::generate(Algorithm::Es256).unwrap(),
        );
        let offered = json!({"alg": "ES256", "jwk": stranger.public().keys[0], "jku": "https://evil.example/jwks",
            "x5u": "https://evil.example/x5u"});
        let token = stranger.sign_anything(&offered, &json!({"sub": "ada"}));
        assert_eq!(verify(&token, &set(&[&owner])), Err(JwtRefused::Signature));
    }

    #[test]
    fn a_changed_token_is_refused() {
        let keys = KeySet::generate(Algorithm::Es256).unwrap();
        let token = keys.sign_anything(&header(&keys), &json!({"sub": "ada"}));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let other = URL_SAFE_NO_PAD.encode(br#"{"sub":"eve"}"#);
        for changed in [
            format!("{signed}."),
            format!("{signed}.{flipped}{}", &signature[1..]),
            format!("{signed}.{}", &signature[4..]),
            format!("{signed}.{signature}AAAA"),
            format!("{header}.{other}.{signature}"),
        ] {
            assert_eq!(
                verify(&changed, &set(&[&keys])),
                Err(JwtRefused::Signature),
                "{changed}"
            );
        }
    }

    #[test]
    fn claims_are_one_object_with_each_member_once_and_of_its_type() {
        let keys = KeySet::generate(Algorithm::Es256).unwrap();
        for claims in [json!({"sub": 1}), json!({}), json!(["ada"]), json!("ada"), json!(null)] {
            let token = keys.sign_anything(&header(&keys), &claims);
            assert_eq!(verify(&token, &set(&[&keys])), Err(JwtRefused::Claims), "{claims}");
        }
        let twice = keys.sign_text(&header(&keys).to_string(), r#"{"sub":"ada","sub":"eve"}"#);
        assert_eq!(verify(&twice, &set(&[&keys])), Err(JwtRefused::Claims));
        let header = header(&keys).to_string().replacen('{', r#"{"alg":"none","#, 1);
        let twice = keys.sign_text(&header, r#"{"sub":"ada"}"#);
        assert_eq!(verify(&twice, &set(&[&keys])), Err(JwtRefused::Malformed));
    }

    #[test]
    fn a_jwt_says_of_which_type_it_is() {
        let typed = |typ: Value| {
            let header = json!({"alg": "ES256", "typ": typ}).to_string();
            UnverifiedJwt::parse(&format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(header))).unwrap()
        };
        assert!(typed(json!("at+jwt")).is(ExpectedType::ACCESS_TOKEN));
        assert!(!typed(json!("JWT")).is(ExpectedType::ACCESS_TOKEN));
        assert!(!typed(json!("at+jwt")).is(ExpectedType::SESSION));
    }

    #[test]
    fn a_jwt_is_looked_at_up_to_its_longest_length() {
        let padded = |length: usize| {
            let rest = format!("{}.e30.", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#));
            format!("{rest}{}", "A".repeat(length - rest.len()))
        };
        assert!(UnverifiedJwt::parse(&padded(MAXIMUM_LENGTH - 1)).is_ok());
        assert!(UnverifiedJwt::parse(&padded(MAXIMUM_LENGTH)).is_ok());
        for longer in [MAXIMUM_LENGTH + 1, MAXIMUM_LENGTH * 2] {
            let refused = UnverifiedJwt::parse(&padded(longer)).unwrap_err();
            assert_eq!(refused, JwtRefused::Malformed, "{longer}");
        }
    }

    /// V-54.
    #[test]
    fn what_is_no_jwt_is_refused_at_once() {
        let long = format!("{}.e30.AAAA", "A".repeat(MAXIMUM_LENGTH));
        for text in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "e30.e30.AAAA",
            "bnVsbA.e30.AAAA",
            &long,
        ] {
            assert_eq!(UnverifiedJwt::parse(text).unwrap_err(), JwtRefused::Malformed);
        }
        let dots = ".".repeat(1_000_000);
        assert_eq!(UnverifiedJwt::parse(&dots).unwrap_err(), JwtRefused::Malformed);
    }

    #[test]
    fn a_token_is_not_shown() {
        let keys = KeySet::generate(Algorithm::Es256).unwrap();
        let token = keys.sign_anything(&header(&keys), &json!({"sub": "ada"}));
        let shown = format!("{:?}", UnverifiedJwt::parse(&token).unwrap());
        assert!(!shown.contains(token.rsplit_once('.').unwrap().1), "{shown}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in r#"[A-Za-z0-9_=.{}"-]{0,200}"#) {
            let _ = UnverifiedJwt::parse(&text);
        }

        #[test]
        fn nothing_that_was_not_signed_verifies(header in "[ -~]{0,60}", claims in "[ -~]{0,60}", signature in prop::collection::vec(any::<u8>(), 0..80)) {
            let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let keys = KeySet::generate(Algorithm::Es256).unwrap();
            let header = format!(r#"{{"alg":"ES256","x":{header:?}}}"#);
            let text = format!("{}.{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()), encode(&signature));
            prop_assert!(verify(&text, &set(&[&keys])).is_err());
        }
    }
}
