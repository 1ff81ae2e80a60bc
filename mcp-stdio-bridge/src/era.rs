//! Which era of the protocol a server speaks, and how that is found out.
//!
//! A stdio server settles on an era by the first message it gets, and most then refuse the other. So it is asked with
//! a process of its own, by `server/discover`: a server of the modern era has to answer that, and the process goes on
//! to serve modern requests. Any other answer, silence, or an end means that it has to be spoken to with `initialize`,
//! in another process. A process meant for `initialize` is never asked.
//!
//! What was found out is remembered for the command line; silence only until the next process is started, since a
//! server may just have been slow to come up.

use std::sync::{Mutex, PoisonError};

use tokio::time::{Instant, timeout_at};

use crate::caller::Caller;
use crate::child::{Child, First, Wants};
use crate::message::{Message, meta, reply};
use crate::start::{OpenError, Starter};
use crate::versions::MODERN;
use std::sync::Arc;

/// What is known of a server.
#[derive(Debug, Default)]
pub(crate) struct Eras(Mutex<Known>);

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    modern: Option<bool>,
    legacy: Option<bool>,
}

impl Eras {
    /// Whether the server speaks the modern era, as far as is known.
    pub(crate) fn modern(&self) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).modern
    }

    /// Whether it can be initialized.
    pub(crate) fn legacy(&self) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).legacy
    }

    pub(crate) fn set_modern(&self, modern: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).modern = Some(modern);
    }

    pub(crate) fn set_legacy(&self, legacy: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).legacy = Some(legacy);
    }
}

/// A process of the modern era, and what it has said of itself.
#[derive(Debug, Clone)]
pub(crate) struct Discovered {
    pub(crate) child: Arc<Child>,
    /// The raw result of `server/discover`.
    pub(crate) result: Arc<str>,
}

/// The `server/discover` of the bridge's own.
pub(crate) fn discover() -> Message {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{{"_meta":{{"{}":"{MODERN}","{}":{},"{}":{{}}}}}}}}"#,
        meta::PROTOCOL_VERSION,
        meta::CLIENT_INFO,
        client_info(),
        meta::CLIENT_CAPABILITIES,
    );
    own(text)
}

/// What the bridge says of itself where no client has said anything.
pub(crate) fn client_info() -> String {
    serde_json::json!({ "name": "mcp-stdio-bridge", "version": env!("CARGO_PKG_VERSION") }).to_string()
}

/// A message of the bridge's own making.
pub(crate) fn own(text: String) -> Message {
    match Message::parse(text.into_bytes()) {
        Ok(message) => message,
        // Every caller writes a message from parts that have been read as JSON.
        Err(error) => unreachable!("a message of the bridge's own is none: {error}"),
    }
}

/// Starts a process and asks it; `None` if the server has to be initialized.
pub(crate) async fn probe(
    starter: &Arc<Starter>,
    eras: &Eras,
    caller: Option<&Caller>,
    alone: bool,
) -> Result<Option<Discovered>, OpenError> {
    if eras.modern() == Some(false) {
        return Ok(None);
    }
    let child = starter.start_soon(caller, alone).await?;
    let patience = match eras.modern() {
        // It is known to answer.
        Some(true) => starter.limits().handshake_timeout,
        _ => starter.limits().probe_timeout,
    };
    let asked = ask(&child, patience).await;
    let known = eras.modern() == Some(true);
    match asked {
        Asked::Modern(result) => {
            eras.set_modern(true);
            starter.succeeded();
            Ok(Some(Discovered { child, result }))
        }
        Asked::Ended if known => {
            let end = child.end().unwrap_or(crate::child::End::PipeClosed);
            Err(starter.start_failed(&child, end).await)
        }
        Asked::Silent if known => {
            let end = crate::child::End::HandshakeTimeout("server/discover", patience);
            Err(starter.start_failed(&child, end).await)
        }
        outcome => {
            tracing::info!(
                of = starter.name(),
                ?outcome,
                "the server speaks the protocol with sessions"
            );
            child.close(crate::child::End::HandshakeRefused);
            if matches!(outcome, Asked::Other) {
                eras.set_modern(false);
            }
            Ok(None)
        }
    }
}

#[derive(Debug)]
enum Asked {
    Modern(Arc<str>),
    Other,
    Silent,
    Ended,
}

async fn ask(child: &Arc<Child>, patience: std::time::Duration) -> Asked {
    let until = Instant::now() + patience;
    let asked = async {
        let mut answers = child.call(&discover(), Wants::default()).await.ok()?.cancels();
        match answers.first(patience).await {
            First::Answer(frame) => Some(frame),
            First::Stream => None,
        }
    };
    match timeout_at(until, asked).await {
        Ok(Some(frame)) => {
            if !child.is_open() {
                return Asked::Ended;
            }
            let Ok(message) = Message::parse(frame.line().as_bytes().to_vec()) else {
                return Asked::Other;
            };
            let result = message.outcome().unwrap_or_default();
            if supports_modern(&message, result) {
                Asked::Modern(result.into())
            } else {
                tracing::debug!(code = ?reply::code_of(result), "`server/discover` was refused");
                Asked::Other
            }
        }
        Ok(None) if !child.is_open() => Asked::Ended,
        Ok(None) | Err(_) => Asked::Silent,
    }
}

fn supports_modern(message: &Message, result: &str) -> bool {
    let [versions] = message.members(result, ["supportedVersions"]);
    let versions = versions.and_then(|versions| serde_json::from_str::<Vec<String>>(message.text(&versions)).ok());
    versions.is_some_and(|versions| versions.iter().any(|version| version == MODERN))
}
