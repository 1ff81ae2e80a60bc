//! Who calls, as the layer in front has found out.
//!
//! The bridge does not authenticate. A layer in front does, and puts a [`Caller`] into the request's extensions; or a
//! proxy does, and names the caller in a header that the operator has told the bridge to trust. From then on a session
//! belongs to the caller who opened it, and is not there for anybody else.
//!
//! ```
//! use mcp_stdio_bridge::Caller;
//!
//! // In a middleware, after the token has been verified:
//! # fn verified(request: &mut http::Request<()>) {
//! request.extensions_mut().insert(Caller::new("user-17").with("email", "ada@example.com"));
//! # }
//! ```
//!
//! A server learns nothing of this unless its operator says so: with `${caller.subject}` in a variable of its
//! environment, or with a member of `_meta` in every request.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

/// Nobody is named by anything longer.
const LONGEST: usize = 256;

/// Somebody whom the layer in front has authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Caller {
    subject: Arc<str>,
    attributes: Arc<BTreeMap<String, String>>,
}

/// By what callers are told apart; nobody in particular has none.
pub(crate) type CallerKey = Option<Arc<str>>;

impl Caller {
    /// A caller by the name that is theirs alone: where there are several issuers, the issuer is part of it.
    pub fn new(subject: impl Into<Arc<str>>) -> Self {
        Self {
            subject: subject.into(),
            attributes: Arc::default(),
        }
    }

    /// Something else that is known of the caller, such as `email`: for `${caller.email}`.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.attributes).insert(name.into(), value.into());
        self
    }

    /// The name.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// By what the caller is told apart.
    pub(crate) fn key(&self) -> Arc<str> {
        Arc::clone(&self.subject)
    }

    /// What a placeholder stands for; nothing where it is not known.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "subject" => Some(&self.subject),
            name => self.attributes.get(name).map(String::as_str),
        }
    }

    /// Everything, as JSON.
    pub(crate) fn json(&self) -> String {
        let mut all = serde_json::Map::new();
        for (name, value) in &*self.attributes {
            all.insert(name.clone(), value.clone().into());
        }
        all.insert("subject".to_owned(), self.subject().into());
        serde_json::Value::Object(all).to_string()
    }

    /// The caller whom a trusted header names. What could not be a name is nobody's.
    pub(crate) fn in_header(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut values = headers.get_all(name).iter();
        let (value, None) = (values.next()?, values.next()) else {
            return None;
        };
        let value = value.to_str().ok()?.trim();
        (!value.is_empty() && value.len() <= LONGEST).then(|| Self::new(value))
    }
}
