//! What is on offer beside the fixed lists: one tool and one prompt that come and go.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

/// The lists that change while the server runs.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    extra_tool: AtomicBool,
    extra_prompt: AtomicBool,
}

impl Offer {
    pub(crate) fn toggle_tool(&self) {
        self.extra_tool.fetch_xor(true, Ordering::SeqCst);
    }

    pub(crate) fn toggle_prompt(&self) {
        self.extra_prompt.fetch_xor(true, Ordering::SeqCst);
    }

    pub(crate) fn has_extra_tool(&self) -> bool {
        self.extra_tool.load(Ordering::SeqCst)
    }

    pub(crate) fn has_extra_prompt(&self) -> bool {
        self.extra_prompt.load(Ordering::SeqCst)
    }
}

/// Who this server is.
pub(crate) fn server_info() -> Value {
    json!({ "name": "conformance-server", "version": env!("CARGO_PKG_VERSION") })
}

/// What it can do, in either era.
pub(crate) fn capabilities() -> Value {
    json!({
        "completions": {},
        "logging": {},
        "prompts": { "listChanged": true },
        "resources": { "subscribe": true },
        "tools": { "listChanged": true },
    })
}

/// Completes an argument of a prompt or a resource template.
pub(crate) fn complete(params: &Value) -> Value {
    let typed = params["argument"]["value"].as_str().unwrap_or_default();
    let values: Vec<&str> = ["paris", "park", "party"]
        .into_iter()
        .filter(|value| value.starts_with(typed))
        .collect();
    json!({ "completion": { "total": values.len(), "values": values, "hasMore": false } })
}
