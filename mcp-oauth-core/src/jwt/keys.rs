//! Sets of keys that somebody else publishes (RFC 7517 §5).
//!
//! A set is read leniently where it says more than this server knows, and strictly where it says something wrong.
//! Keys of an unknown kind, curve, use or algorithm are left out, and so are keys that are too weak: what is left are
//! the keys that can sign here. A set that holds anything private (RFC 7518 §6, RFC 8037 §2) or a shared secret is
//! refused as a whole, since whoever publishes that has to replace all of it.
//!
//! ```
//! use mcp_oauth_core::jwt::keys::{InvalidJwkSet, JwkSet};
//!
//! let shared = br#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#;
//! assert_eq!(JwkSet::parse(shared).unwrap_err(), InvalidJwkSet::PrivateKey);
//! let unknown = br#"{"keys":[{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}]}"#;
//! assert_eq!(JwkSet::parse(unknown).unwrap_err(), InvalidJwkSet::NoUsableKey);
//! ```

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::SignatureAlgorithm;

/// At most this many keys in one set.
pub const MAXIMUM_KEYS: usize = 64;

/// At most this many bytes in one set.
pub const MAXIMUM_SIZE: usize = 64 * 1024;

/// At most this many bytes in the name of a key.
pub const MAXIMUM_KID: usize = 512;

/// How many bits an RSA key may have. Fewer are too weak (RFC 7518 §3.3), more cost too much.
pub const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Members that only the owner of a key may know (RFC 7518 §6, RFC 8037 §2).
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// Why a set of keys cannot be used, in words for whoever publishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJwkSet {
    /// It is no JSON object with a list of objects.
    #[error("a set of keys is an object whose member keys lists objects")]
    NotASet,
    /// It is larger than [`MAXIMUM_SIZE`], or has more keys than [`MAXIMUM_KEYS`].
    #[error("a set of keys may have 64 keys and 64 KiB")]
    TooLarge,
    /// One of its keys is private, or is one that both sides share.
    #[error("the set holds a private key or a shared secret: replace that key, and publish public ones only")]
    PrivateKey,
    /// There is no key in it that can sign here.
    #[error(
        "the set holds no key that can be used here: an EC key on P-256, an Ed25519 key, or an RSA key of 2048 to 8192 bits, for signatures"
    )]
    NoUsableKey,
}

/// The keys of a set that can sign here: at least one.
#[derive(Clone)]
pub struct JwkSet {
    keys: Vec<VerificationKey>,
}

#[derive(Clone)]
pub(super) struct VerificationKey {
    kid: Option<String>,
    algorithms: &'static [SignatureAlgorithm],
    public: PublicKey,
}

/// A key in the form that verifies fastest.
#[derive(Clone)]
enum PublicKey {
    /// On a curve: looked at once, and not again for each signature.
    Parsed(ParsedPublicKey),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl VerificationKey {
    fn read(members: &Map<String, Value>) -> Option<Self> {
        if members.get("use").is_some_and(|key_use| key_use != "sig") {
            return None;
        }
        if let Some(operations) = members.get("key_ops")
            && !operations.as_array()?.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        let kid = match members.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= MAXIMUM_KID => Some(kid.clone()),
            Some(_) => return None,
        };
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let (fitting, public): (&'static [SignatureAlgorithm], PublicKey) = match text("kty")? {
            "EC" if text("crv") == Some("P-256") => {
                let (x, y) = (bytes::<32>(text("x")?)?, bytes::<32>(text("y")?)?);
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).ok()?;
                (&[SignatureAlgorithm::Es256], PublicKey::Parsed(key))
            }
            "OKP" if text("crv") == Some("Ed25519") => {
                let key = bytes::<32>(text("x")?)?;
                let key = ParsedPublicKey::new(&ED25519, key).ok()?;
                (&[SignatureAlgorithm::EdDsa], PublicKey::Parsed(key))
            }
            "RSA" => (
                &[SignatureAlgorithm::Rs256, SignatureAlgorithm::Ps256],
                rsa(text("n")?, text("e")?)?,
            ),
            _ => return None,
        };
        let algorithms = match members.get("alg") {
            None => fitting,
            Some(named) => {
                let named = named.as_str().and_then(SignatureAlgorithm::from_name)?;
                let position = fitting.iter().position(|algorithm| *algorithm == named)?;
                &fitting[position..=position]
            }
        };
        Some(Self {
            kid,
            algorithms,
            public,
        })
    }

    /// Whether this is the key's signature, by this algorithm, which has to be one that the key is for.
    pub(super) fn has_signed(&self, algorithm: SignatureAlgorithm, signed: &[u8], signature: &[u8]) -> bool {
        let verified = match (&self.public, algorithm) {
            (PublicKey::Parsed(key), SignatureAlgorithm::Es256 | SignatureAlgorithm::EdDsa) => {
                key.verify_sig(signed, signature)
            }
            (PublicKey::Rsa { modulus, exponent }, SignatureAlgorithm::Rs256 | SignatureAlgorithm::Ps256) => {
                let parameters = if algorithm == SignatureAlgorithm::Ps256 {
                    &RSA_PSS_2048_8192_SHA256
                } else {
                    &RSA_PKCS1_2048_8192_SHA256
                };
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(parameters, signed, signature)
            }
            _ => return false,
        };
        self.algorithms.contains(&algorithm) && verified.is_ok()
    }
}

fn bytes<const N: usize>(encoded: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(encoded).ok()?.try_into().ok()
}

/// An RSA key that is neither too weak nor too expensive.
fn rsa(modulus: &str, exponent: &str) -> Option<PublicKey> {
    let number = |encoded: &str, longest: usize| {
        if encoded.len() > longest {
            return None;
        }
        let decoded = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let zeros = decoded.iter().take_while(|byte| **byte == 0).count();
        Some(decoded[zeros..].to_vec())
    };
    let modulus = number(modulus, RSA_BITS.end() / 6 + 8)?;
    let exponent = number(exponent, 16)?;
    let leading = modulus.first()?.leading_zeros() as usize;
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    let strong = RSA_BITS.contains(&(modulus.len() * 8 - leading))
        && odd(&modulus)
        && odd(&exponent)
        && exponent.len() <= 5
        && exponent != [1];
    strong.then_some(PublicKey::Rsa { modulus, exponent })
}

impl JwkSet {
    /// Reads a set from the bytes of a JSON document.
    ///
    /// # Errors
    ///
    /// See [`InvalidJwkSet`].
    pub fn parse(document: &[u8]) -> Result<Self, InvalidJwkSet> {
        if document.len() > MAXIMUM_SIZE {
            return Err(InvalidJwkSet::TooLarge);
        }
        let set = serde_json::from_slice(document).map_err(|_| InvalidJwkSet::NotASet)?;
        Self::read(&set)
    }

    /// Reads a set that is part of a larger document.
    ///
    /// # Errors
    ///
    /// See [`InvalidJwkSet`].
    pub fn read(set: &Value) -> Result<Self, InvalidJwkSet> {
        let keys = public_keys(set)?
            .iter()
            .filter_map(|key| VerificationKey::read(key))
            .collect::<Vec<_>>();
        if keys.is_empty() {
            return Err(InvalidJwkSet::NoUsableKey);
        }
        Ok(Self { keys })
    }

    /// The keys of a set that was put together here, of which there may be none that can verify.
    pub(crate) fn of(keys: &[Map<String, Value>]) -> Self {
        Self {
            keys: keys.iter().filter_map(VerificationKey::read).collect(),
        }
    }

    /// The names of the keys that have one.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.kid.as_deref())
    }

    /// Whether a key of this set has that name.
    #[must_use]
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// The keys that a token with this `kid` and `alg` can have been signed with.
    pub(super) fn fitting(
        &self,
        kid: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> impl Iterator<Item = &VerificationKey> {
        self.keys
            .iter()
            .filter(move |key| key.algorithms.contains(&algorithm) && (kid.is_none() || key.kid.as_deref() == kid))
    }
}

/// The members of each key, if all of them are public.
///
/// # Errors
///
/// See [`InvalidJwkSet`].
pub(crate) fn public_keys(set: &Value) -> Result<Vec<&Map<String, Value>>, InvalidJwkSet> {
    let keys = set
        .get("keys")
        .and_then(Value::as_array)
        .ok_or(InvalidJwkSet::NotASet)?;
    if keys.len() > MAXIMUM_KEYS {
        return Err(InvalidJwkSet::TooLarge);
    }
    let keys = keys
        .iter()
        .map(|key| key.as_object().ok_or(InvalidJwkSet::NotASet))
        .collect::<Result<Vec<_>, _>>()?;
    let is_private = |key: &&Map<String, Value>| PRIVATE_MEMBERS.iter().any(|member| key.contains_key(*member));
    if keys.iter().any(is_private) {
        return Err(InvalidJwkSet::PrivateKey);
    }
    Ok(keys)
}

impl fmt::Debug for JwkSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.keys.iter().map(|key| &key.kid))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::token::keys::{Algorithm, KeySet};

    fn published(algorithm: Algorithm) -> Value {
        let set = serde_json::to_value(KeySet::generate(algorithm).unwrap().public()).unwrap();
        set["keys"][0].clone()
    }

    fn read(keys: &[Value]) -> Result<JwkSet, InvalidJwkSet> {
        JwkSet::read(&json!({ "keys": keys }))
    }

    /// A good key with these members changed; `null` takes one away.
    fn changed(algorithm: Algorithm, members: &Value) -> Value {
        let mut key = published(algorithm);
        for (name, value) in members.as_object().unwrap() {
            if value.is_null() {
                key.as_object_mut().unwrap().remove(name);
            } else {
                key[name] = value.clone();
            }
        }
        key
    }

    #[test]
    fn a_name_and_a_set_are_read_up_to_their_bounds() {
        let longest = "x".repeat(MAXIMUM_KID);
        let set = read(&[changed(Algorithm::Es256, &json!({"kid": longest}))]).unwrap();
        assert!(set.has(&longest));
        let as_many = json!({"keys": vec![published(Algorithm::Es256); MAXIMUM_KEYS]});
        assert_eq!(public_keys(&as_many).unwrap().len(), MAXIMUM_KEYS);
    }

    #[test]
    fn keys_of_every_supported_kind_are_read() {
        let keys: Vec<_> = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256]
            .into_iter()
            .map(published)
            .collect();
        let set = read(&keys).unwrap();
        assert_eq!(set.keys.len(), 3);
        assert!(set.has(keys[1]["kid"].as_str().unwrap()));
        let plain = changed(Algorithm::Rs256, &json!({"use": null, "alg": null, "kid": null}));
        let set = read(&[plain]).unwrap();
        for algorithm in [SignatureAlgorithm::Rs256, SignatureAlgorithm::Ps256] {
            assert_eq!(set.fitting(None, algorithm).count(), 1, "without alg it is for both");
        }
        assert_eq!(set.fitting(Some("x"), SignatureAlgorithm::Rs256).count(), 0);
    }

    #[test]
    fn an_rsa_key_has_from_2048_to_8192_bits_however_its_numbers_are_written() {
        // `zeros` in front, then a number of so many bits.
        let number = |zeros: usize, bits: usize| {
            let mut bytes = vec![0; zeros];
            bytes.push(u8::try_from((1_u16 << ((bits - 1) % 8 + 1)) - 1).unwrap());
            bytes.extend(vec![0xFF; (bits - 1) / 8]);
            URL_SAFE_NO_PAD.encode(bytes)
        };
        for (zeros, bits, taken) in [
            (0, 2047, false),
            (0, 2048, true),
            (0, 2049, true),
            (0, 8191, true),
            (0, 8192, true),
            (4, 8192, true),
            (0, 8193, false),
            (500, 8192, false),
        ] {
            assert_eq!(rsa(&number(zeros, bits), "AQAB").is_some(), taken, "{zeros} {bits}");
        }
        let modulus = number(0, 2048);
        for (exponent, taken) in [
            ("AQAB", true),
            ("AAAAAAAAAAAAAQAB", true),
            ("AAAAAAAAAAAAAAABAAE", false),
            ("Aw", true),
            ("AQ", false),
            ("AQAA", false),
            ("AQAAAAE", true),
            ("AQAAAAAB", false),
        ] {
            assert_eq!(rsa(&modulus, exponent).is_some(), taken, "{exponent}");
        }
    }

    #[test]
    fn a_set_of_64_kib_is_read_and_a_larger_one_is_not() {
        let mut document = json!({"keys": [published(Algorithm::Es256)]}).to_string();
        document.push_str(&" ".repeat(MAXIMUM_SIZE - document.len()));
        assert!(JwkSet::parse(document.as_bytes()).is_ok());
        document.push(' ');
        assert_eq!(JwkSet::parse(document.as_bytes()).unwrap_err(), InvalidJwkSet::TooLarge);
    }

    /// V-53.
    #[test]
    fn what_is_unknown_or_weak_is_skipped_and_the_others_stay() {
        let zeros = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0_u8; bytes]);
        let large = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xFF_u8; bytes]);
        for odd_one in [
            json!({}),
            json!({"kty": "EC"}),
            json!({"kty": 5}),
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
            json!({"kty": "oct"}),
            changed(Algorithm::Es256, &json!({"crv": "P-384"})),
            changed(Algorithm::Es256, &json!({"crv": "P-521", "alg": "ES512"})),
            changed(Algorithm::Es256, &json!({"alg": "ES384"})),
            changed(Algorithm::Es256, &json!({"alg": "EdDSA"})),
            changed(Algorithm::Es256, &json!({"alg": "HS256"})),
            changed(Algorithm::Es256, &json!({"alg": "none"})),
            changed(Algorithm::Es256, &json!({"alg": 1})),
            changed(Algorithm::Es256, &json!({"use": "enc"})),
            changed(Algorithm::Es256, &json!({"use": 1})),
            changed(Algorithm::Es256, &json!({"key_ops": ["sign"]})),
            changed(Algorithm::Es256, &json!({"key_ops": "verify"})),
            changed(Algorithm::Es256, &json!({"kid": 1})),
            changed(Algorithm::Es256, &json!({"kid": "x".repeat(MAXIMUM_KID + 1)})),
            changed(Algorithm::Es256, &json!({"x": zeros(32)})),
            changed(Algorithm::Es256, &json!({"x": "AA"})),
            changed(Algorithm::Es256, &json!({"x": "not base64url!"})),
            changed(Algorithm::EdDsa, &json!({"crv": "Ed448"})),
            changed(Algorithm::EdDsa, &json!({"x": zeros(31)})),
            changed(Algorithm::Rs256, &json!({"n": large(128)})),
            changed(Algorithm::Rs256, &json!({"n": large(255)})),
            changed(Algorithm::Rs256, &json!({"n": large(1025)})),
            changed(Algorithm::Rs256, &json!({"n": large(64 * 1024)})),
            changed(Algorithm::Rs256, &json!({"n": zeros(512)})),
            changed(Algorithm::Rs256, &json!({"n": ""})),
            changed(Algorithm::Rs256, &json!({"n": null})),
            changed(Algorithm::Rs256, &json!({"e": "AQ"})),
            changed(Algorithm::Rs256, &json!({"e": "Ag"})),
            changed(Algorithm::Rs256, &json!({"e": ""})),
            changed(Algorithm::Rs256, &json!({"e": large(200)})),
        ] {
            assert_eq!(
                read(std::slice::from_ref(&odd_one)).unwrap_err(),
                InvalidJwkSet::NoUsableKey,
                "{odd_one}"
            );
            let beside = [odd_one, published(Algorithm::EdDsa)];
            assert_eq!(read(&beside).unwrap().keys.len(), 1);
        }
    }

    #[test]
    fn a_key_whose_modulus_has_leading_zeros_is_as_long_as_its_number() {
        let key = published(Algorithm::Rs256);
        let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
        let padded = URL_SAFE_NO_PAD.encode([vec![0], modulus].concat());
        assert!(read(&[changed(Algorithm::Rs256, &json!({"n": padded}))]).is_ok());
        let short = URL_SAFE_NO_PAD.encode([vec![0; 200], vec![0xFF; 128]].concat());
        assert!(read(&[changed(Algorithm::Rs256, &json!({"n": short}))]).is_err());
    }

    #[test]
    fn whatever_is_private_spoils_the_set() {
        for member in PRIVATE_MEMBERS {
            let spoiled = changed(Algorithm::Es256, &json!({ member: "AA" }));
            let keys = [published(Algorithm::EdDsa), spoiled];
            assert_eq!(read(&keys).unwrap_err(), InvalidJwkSet::PrivateKey, "{member}");
        }
    }

    #[test]
    fn a_set_has_the_form_of_one_and_its_bounds() {
        for document in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"keys":{}}"#,
            r#"{"keys":[1]}"#,
            r#"{"keys":[[]]}"#,
        ] {
            assert_eq!(
                JwkSet::parse(document.as_bytes()).unwrap_err(),
                InvalidJwkSet::NotASet,
                "{document}"
            );
        }
        assert_eq!(
            JwkSet::parse(br#"{"keys":[]}"#).unwrap_err(),
            InvalidJwkSet::NoUsableKey
        );
        let many = vec![json!({"kty": "EC"}); MAXIMUM_KEYS + 1];
        assert_eq!(read(&many).unwrap_err(), InvalidJwkSet::TooLarge);
        assert_eq!(
            JwkSet::parse(&vec![b' '; MAXIMUM_SIZE + 1]).unwrap_err(),
            InvalidJwkSet::TooLarge
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[A-Za-z0-9_=-]{0,90}".prop_map(Value::from),
            prop::sample::select(vec![
                "EC", "OKP", "RSA", "oct", "P-256", "Ed25519", "sig", "RS256", "AQAB"
            ])
            .prop_map(Value::from),
            prop::collection::vec("[a-z]{0,6}", 0..3).prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn parsing_bytes_never_panics(document in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = JwkSet::parse(&document);
        }

        #[test]
        fn reading_keys_never_panics(members in prop::collection::hash_map(
            prop::sample::select(vec!["kty", "crv", "x", "y", "n", "e", "alg", "use", "kid", "key_ops"]), value(), 0..10,
        )) {
            let key: Map<String, Value> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let _ = read(&[Value::Object(key)]);
        }
    }
}
