//! `[redis]`: where records are kept, if not in memory.

use std::path::PathBuf;

use anyhow::Context as _;
use mcp_oauth_tower::RedisConfiguration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hidden::Hidden;

/// Where records are kept, if not in memory.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RedisSettings {
    /// `redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://`. It may hold a password.
    pub(super) url: Option<Hidden>,
    /// Who to be at Redis, if the URL does not say.
    pub(super) username: Option<String>,
    /// With which password.
    pub(super) password: Option<Hidden>,
    /// What all keys begin with.
    pub(super) key_prefix: Option<String>,
    /// The certificate authority of Redis, in PEM.
    pub(super) ca_file: Option<PathBuf>,
}

impl RedisSettings {
    /// The Redis, if there is one.
    pub(super) fn configuration(&self) -> anyhow::Result<Option<RedisConfiguration>> {
        let Some(url) = &self.url else {
            let alone = self.username.is_some() || self.password.is_some();
            anyhow::ensure!(!alone, "there is a user name or password for Redis: set REDIS_URL too");
            return Ok(None);
        };
        let mut redis: RedisConfiguration = url.expose().parse().context("REDIS_URL cannot be used")?;
        if let Some(username) = &self.username {
            redis = redis.username(username);
        }
        if let Some(password) = &self.password {
            redis = redis.password(password.expose());
        }
        if let Some(prefix) = &self.key_prefix {
            redis = redis.prefix(prefix).context("REDIS_KEY_PREFIX cannot be used")?;
        }
        if let Some(file) = &self.ca_file {
            let pem =
                std::fs::read(file).with_context(|| format!("REDIS_CA_FILE cannot be read: {}", file.display()))?;
            redis = redis.certificate_authority(pem);
        }
        Ok(Some(redis))
    }
}
