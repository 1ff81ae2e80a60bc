//! The keys that sign access tokens, and what seals them.

use std::time::Duration;

use anyhow::Context as _;
use mcp_oauth_core::token::keys::{Algorithm, KeyRotation, KeySealing, SigningKey};
use serde::{Deserialize, Deserializer, Serializer};

use super::Configuration;
use super::hidden::Hidden;

/// Where the keys that sign access tokens come from.
#[derive(Debug)]
pub(crate) enum Keys {
    /// One is made when the gateway starts.
    Made(Algorithm),
    /// The operator's own.
    Own(SigningKey),
    /// They are in the store.
    Stored(Algorithm, KeySealing, KeyRotation),
}

impl Configuration {
    /// Where the keys that sign access tokens come from.
    pub(crate) fn keys(&self) -> anyhow::Result<Keys> {
        let asked = self.signing_algorithm;
        match (&self.signing_key, &self.key_sealing_secret) {
            (Some(_), Some(_)) => anyhow::bail!(
                "JWT_PRIVATE_KEY_B64 and GATEWAY_KEY_SEALING_SECRET are both set: a key of one's own signs for ever, \
                 keys in the store are made and exchanged by the gateway, so set one of the two"
            ),
            (Some(key), None) => {
                let key = SigningKey::from_base64_pem(key.secret()).context("JWT_PRIVATE_KEY_B64 cannot be used")?;
                if let Some(asked) = asked.filter(|asked| *asked != key.algorithm()) {
                    anyhow::bail!(
                        "JWT_ALGORITHM is {}, and the key in JWT_PRIVATE_KEY_B64 is one for {}: leave JWT_ALGORITHM out",
                        asked.as_str(),
                        key.algorithm().as_str()
                    );
                }
                Ok(Keys::Own(key))
            }
            (None, Some(secret)) => {
                let sealing = self.sealing(secret)?;
                let mut rotation = KeyRotation::default();
                rotation.every = Some(self.key_lifetime)
                    .filter(|seconds| *seconds > 0)
                    .map(Duration::from_secs);
                Ok(Keys::Stored(asked.unwrap_or_default(), sealing, rotation))
            }
            (None, None) if self.previous_key_sealing_secrets.is_empty() => Ok(Keys::Made(asked.unwrap_or_default())),
            (None, None) => anyhow::bail!(
                "GATEWAY_PREVIOUS_KEY_SEALING_SECRETS is set: set GATEWAY_KEY_SEALING_SECRET too, or leave it out"
            ),
        }
    }

    fn sealing(&self, secret: &Hidden) -> anyhow::Result<KeySealing> {
        let mut sealing = KeySealing::new(secret.secret()).context("GATEWAY_KEY_SEALING_SECRET cannot be used")?;
        for previous in &self.previous_key_sealing_secrets {
            sealing = sealing
                .also_open_with(previous.secret())
                .context("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS cannot be used")?;
        }
        Ok(sealing)
    }

    /// What the token vault is sealed with, if there is one.
    pub(crate) fn vault_sealing(&self) -> anyhow::Result<Option<KeySealing>> {
        match (self.token_vault, &self.key_sealing_secret) {
            (false, _) => Ok(None),
            (true, Some(secret)) => self.sealing(secret).map(Some),
            (true, None) => {
                anyhow::bail!("token_vault is set: set GATEWAY_KEY_SEALING_SECRET too, which seals what it keeps")
            }
        }
    }
}

pub(super) fn some_algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Algorithm>, D::Error> {
    let known = [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa];
    let named = |name: String| {
        let found = known.into_iter().find(|algorithm| algorithm.as_str() == name);
        found.ok_or_else(|| {
            serde::de::Error::custom(format!(
                "tokens are not signed with {name} here: use ES256, RS256 or EdDSA"
            ))
        })
    };
    Option::<String>::deserialize(deserializer)?.map(named).transpose()
}

#[allow(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for it so"
)]
pub(super) fn algorithm_name<S: Serializer>(algorithm: &Option<Algorithm>, serializer: S) -> Result<S::Ok, S::Error> {
    match algorithm {
        Some(algorithm) => serializer.serialize_some(algorithm.as_str()),
        None => serializer.serialize_none(),
    }
}
