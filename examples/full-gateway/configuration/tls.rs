//! `[tls]`: connections with TLS, for those without a proxy that has them.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS by files. Both are read again when the gateway is told to reload.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsSettings {
    /// The certificate with those that lead to its authority, in PEM.
    pub(crate) certificate_file: Option<PathBuf>,
    /// Its private key, in PEM.
    pub(crate) key_file: Option<PathBuf>,
    /// Where plain HTTP is answered with the same address by https.
    #[schemars(with = "Option<String>")]
    pub(crate) redirect_listen: Option<SocketAddr>,
}

/// Both files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsFiles<'a> {
    pub(crate) certificate: &'a PathBuf,
    pub(crate) key: &'a PathBuf,
}

impl TlsSettings {
    /// The files, if there is to be TLS.
    pub(crate) fn files(&self) -> anyhow::Result<Option<TlsFiles<'_>>> {
        match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
            (None, None) if self.redirect_listen.is_none() => Ok(None),
            _ => anyhow::bail!(
                "TLS needs both files: set tls.certificate_file and tls.key_file (GATEWAY_TLS__CERTIFICATE_FILE and \
                 GATEWAY_TLS__KEY_FILE)"
            ),
        }
    }
}
