//! What is kept between one token and the next.

use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use mcp_oauth_core::clock::UnixTime;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::commands::private_file::PrivateFile;

/// A file of these is never larger.
const MAXIMUM_FILE: u64 = 256 * 1024;

/// Tokens, and whose they are: what `--json` prints and `--save` writes.
#[derive(Deserialize, Serialize)]
pub(super) struct Kept {
    pub(super) issuer: String,
    pub(super) token_endpoint: Url,
    pub(super) client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    pub(super) access_token: String,
    /// In seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<UnixTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
}

impl Kept {
    pub(super) fn write(&self, mut file: PrivateFile) -> anyhow::Result<()> {
        file.write_all(serde_json::to_string(self)?.as_bytes())?;
        file.finish()
    }
}

/// Reads what was kept.
pub(super) fn read(path: &Path) -> anyhow::Result<Kept> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAXIMUM_FILE).read_to_string(&mut text));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    let kept = serde_json::from_str(&text).ok();
    kept.with_context(|| format!("{} is not what --save writes", path.display()))
}
