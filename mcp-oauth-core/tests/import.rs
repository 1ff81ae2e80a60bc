//! Private keys from outside: what the tools of the trade write is read, and nothing else.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::token::keys::{Algorithm, KeyImportError, PublicKeyParameters, SigningKey};
use proptest::prelude::*;

const RSA: &str = include_str!("keys/rsa2048.pkcs8.pem");
const P256: &str = include_str!("keys/p256.pkcs8.pem");
const ED25519: &str = include_str!("keys/ed25519.pkcs8.pem");

fn pem(text: &str) -> Result<SigningKey, KeyImportError> {
    SigningKey::from_pem(&text.into())
}

fn base64(text: &str) -> Result<SigningKey, KeyImportError> {
    SigningKey::from_base64_pem(&text.into())
}

#[test]
fn the_algorithm_follows_from_the_key() {
    for (text, algorithm) in [
        (RSA, Algorithm::Rs256),
        (include_str!("keys/rsa2048.pkcs1.pem"), Algorithm::Rs256),
        (P256, Algorithm::Es256),
        (include_str!("keys/p256.sec1.pem"), Algorithm::Es256),
        (ED25519, Algorithm::EdDsa),
    ] {
        assert_eq!(pem(text).unwrap().algorithm(), algorithm);
    }
}

#[test]
fn the_public_half_is_the_one_that_openssl_names() {
    // `openssl pkey -pubout -outform DER` ends with the 32 bytes of an Ed25519 key.
    let key = pem(ED25519).unwrap();
    let PublicKeyParameters::OctetKeyPair { x, .. } = &key.public().parameters else {
        panic!("an Ed25519 key");
    };
    assert_eq!(x, "e4yBxzGNc4wMZkdS3ZXXDPHLR25j5Kc8Q5zL93KkWEw");
}

#[test]
fn both_forms_of_an_rsa_key_are_the_same_key() {
    let other = pem(include_str!("keys/rsa2048.pkcs1.pem")).unwrap();
    assert_eq!(pem(RSA).unwrap().public(), other.public());
}

#[test]
fn base64_of_the_pem_is_read_however_a_tool_has_written_it() {
    let kid = pem(RSA).unwrap().kid().to_owned();
    let plain = STANDARD.encode(RSA);
    let wrapped: Vec<_> = plain
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    for text in [
        plain.clone(),
        format!("  {plain}\n"),
        wrapped.join("\n"),
        wrapped.join("\r\n"),
        STANDARD_NO_PAD.encode(RSA),
        STANDARD.encode(RSA.replace('\n', "\r\n")),
        STANDARD.encode(format!("an operator's remark\n{RSA}\nand another")),
    ] {
        assert_eq!(base64(&text).unwrap().kid(), kid, "{text}");
    }
}

#[test]
fn weak_keys_are_refused() {
    let weak = [
        (include_str!("keys/rsa1024.pkcs8.pem"), KeyImportError::WeakRsa),
        (include_str!("keys/rsa1024.pkcs1.pem"), KeyImportError::WeakRsa),
        (
            include_str!("keys/rsa2048-exponent-3.pkcs8.pem"),
            KeyImportError::WeakExponent,
        ),
    ];
    for (text, expected) in weak {
        let refused = pem(text).unwrap_err();
        assert!(refused.to_string().contains("openssl genpkey"), "{refused}");
        assert_eq!(refused, expected);
    }
}

#[test]
fn other_curves_and_kinds_are_refused() {
    for text in [
        include_str!("keys/p384.pkcs8.pem"),
        include_str!("keys/secp256k1.sec1.pem"),
        include_str!("keys/ed448.pkcs8.pem"),
        include_str!("keys/x25519.pkcs8.pem"),
    ] {
        let refused = pem(text).unwrap_err();
        assert_eq!(refused, KeyImportError::Unsupported);
        assert!(refused.to_string().contains("P-256"));
    }
}

#[test]
fn what_is_no_single_plain_private_key_is_refused_with_a_way_out() {
    let damaged = RSA.replace("MII", "MIJ");
    let cut_off = &P256[..P256.len() - 30];
    for (text, expected) in [
        ("", KeyImportError::NotPem),
        ("secret", KeyImportError::NotPem),
        (cut_off, KeyImportError::NotPem),
        (&damaged, KeyImportError::Unsupported),
        (include_str!("keys/public.pem"), KeyImportError::NotPrivate),
        (include_str!("keys/encrypted.pkcs8.pem"), KeyImportError::Encrypted),
        (include_str!("keys/encrypted.pkcs1.pem"), KeyImportError::Encrypted),
        (&format!("{P256}{ED25519}"), KeyImportError::Several),
    ] {
        assert_eq!(pem(text).unwrap_err(), expected, "{text}");
        if !text.is_empty() {
            assert_eq!(base64(&STANDARD.encode(text)).unwrap_err(), expected, "{text}");
        }
    }
    assert_eq!(base64(RSA).unwrap_err(), KeyImportError::PemInsteadOfBase64);
    assert_eq!(base64("not base64!").unwrap_err(), KeyImportError::NotBase64);
    assert_eq!(
        base64(&STANDARD.encode([0xff, 0xfe])).unwrap_err(),
        KeyImportError::NotPem
    );
    assert_eq!(pem(&"A".repeat(1_000_000)).unwrap_err(), KeyImportError::NotPem);
}

#[test]
fn a_private_key_shows_in_no_error_and_no_debug_output() {
    let key = pem(RSA).unwrap();
    assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.kid()));
    let body = RSA.lines().nth(3).unwrap();
    for error in [base64(RSA).unwrap_err(), pem(&RSA.replace("MII", "MIJ")).unwrap_err()] {
        assert!(!format!("{error} {error:?}").contains(body));
    }
}

proptest! {
    #[test]
    fn importing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
        let wrapped = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&bytes));
        prop_assert!(pem(&wrapped).is_err());
        prop_assert!(base64(&STANDARD.encode(&wrapped)).is_err());
        let _ = pem(&text);
        let _ = base64(&text);
        let _ = base64(&STANDARD.encode(&bytes));
    }

    #[test]
    fn a_key_with_a_changed_byte_never_panics(
        which in 0_usize..3,
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = [RSA, P256, ED25519][which].as_bytes().to_vec();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        let _ = SigningKey::from_base64_pem(&Secret::from(STANDARD.encode(&bytes)));
    }
}

#[test]
fn a_text_is_looked_at_up_to_its_longest_length() {
    const LONGEST: usize = 128 * 1024;
    let padded = |length: usize| format!("{P256}{}", "\n".repeat(length - P256.len()));
    assert!(pem(&padded(LONGEST - 1)).is_ok());
    assert!(pem(&padded(LONGEST)).is_ok());
    assert_eq!(pem(&padded(LONGEST + 1)).unwrap_err(), KeyImportError::NotPem);
    assert_eq!(pem(&padded(LONGEST * 2)).unwrap_err(), KeyImportError::NotPem);
}

#[test]
fn base64_is_looked_at_up_to_its_longest_length() {
    const LONGEST: usize = 128 * 1024;
    let padded = |length: usize| {
        let text = STANDARD.encode(P256);
        format!("{text}{}", "\n".repeat(length - text.len()))
    };
    assert!(base64(&padded(LONGEST - 1)).is_ok());
    assert!(base64(&padded(LONGEST)).is_ok());
    assert_eq!(base64(&padded(LONGEST + 1)).unwrap_err(), KeyImportError::NotBase64);
    assert_eq!(base64(&padded(LONGEST * 2)).unwrap_err(), KeyImportError::NotBase64);
}
