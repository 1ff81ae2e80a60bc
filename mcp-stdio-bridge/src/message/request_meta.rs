//! What a modern request says of itself: the members of `params._meta` that the protocol reserves.
//!
//! MCP 2026-07-28 has no handshake. Version, client and capabilities come with every request, under keys with the
//! prefix `io.modelcontextprotocol/`, and the same keys carry what belongs to one answer or notification.

use super::{Malformed, Message, text_of};

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
        let Some(found) = self.found() else {
            return Ok(RequestMeta::default());
        };
        let reserved = found.reserved()?;
        let [version, capabilities, client_info, log_level] = reserved.map(|at| Some(&self.text[at?]));
        Ok(RequestMeta {
            version,
            capabilities,
            client_info,
            log_level,
        })
    }

    /// The text of a member of `params` that is a string.
    pub(crate) fn param_text(&self, name: &'static str) -> Option<String> {
        text_of(&self.text[self.param_at(name)?]).map(std::borrow::Cow::into_owned)
    }
}
