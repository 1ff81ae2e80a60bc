//! The state that a client carries for this server from one round to the next, and cannot change.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::Value;

/// A key of this process: a state that another process sealed does not open, as with the servers of the SDKs.
#[derive(Debug)]
pub(crate) struct Seal {
    key: Key,
}

impl Seal {
    pub(crate) fn new() -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        Self {
            key: Key::generate(HMAC_SHA256, &random).unwrap(),
        }
    }

    pub(crate) fn close(&self, state: &Value) -> String {
        let state = BASE64.encode(state.to_string());
        let tag = BASE64.encode(sign(&self.key, state.as_bytes()));
        format!("{state}.{tag}")
    }

    pub(crate) fn open(&self, sealed: &str) -> Option<Value> {
        let (state, tag) = sealed.split_once('.')?;
        verify(&self.key, state.as_bytes(), &BASE64.decode(tag).ok()?).ok()?;
        serde_json::from_slice(&BASE64.decode(state).ok()?).ok()
    }
}
