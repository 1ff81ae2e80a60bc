//! What a modern request says of itself: the members of `params._meta` that the protocol reserves.
//!
//! MCP 2026-07-28 has no handshake. Version, client and capabilities come with every request, under keys with the
//! prefix `io.modelcontextprotocol/`, and the same keys carry what belongs to one answer or notification.

use serde_json::value::RawValue;

use super::{Malformed, Message, members, string};

/// The keys.
pub(crate) mod meta {
    pub(crate) const PREFIX: &str = "io.modelcontextprotocol/";
    pub(crate) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    pub(crate) const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    pub(crate) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    pub(crate) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    pub(crate) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    pub(crate) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
}

/// The raw values of a request's `_meta`, as far as they are there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestMeta<'a> {
    pub(crate) version: Option<&'a str>,
    pub(crate) capabilities: Option<&'a str>,
    pub(crate) client_info: Option<&'a str>,
    pub(crate) log_level: Option<&'a str>,
}

impl Message {
    /// The reserved members of `params._meta`.
    ///
    /// # Errors
    ///
    /// One of them is there twice.
    pub(crate) fn request_meta(&self) -> Result<RequestMeta<'_>, Malformed> {
        let Some(params) = self.params() else {
            return Ok(RequestMeta::default());
        };
        let [found] = members(params, ["_meta"])?;
        let Some(found) = found.map(RawValue::get).filter(|found| found.starts_with('{')) else {
            return Ok(RequestMeta::default());
        };
        let names = [
            meta::PROTOCOL_VERSION,
            meta::CLIENT_CAPABILITIES,
            meta::CLIENT_INFO,
            meta::LOG_LEVEL,
        ];
        let [version, capabilities, client_info, log_level] = members(found, names)?;
        Ok(RequestMeta {
            version: version.map(RawValue::get),
            capabilities: capabilities.map(RawValue::get),
            client_info: client_info.map(RawValue::get),
            log_level: log_level.map(RawValue::get),
        })
    }

    /// The text of a member of `params` that is a string.
    pub(crate) fn param_text(&self, name: &'static str) -> Option<String> {
        let [value] = members(self.params()?, [name]).ok()?;
        string(value?).map(std::borrow::Cow::into_owned)
    }
}
