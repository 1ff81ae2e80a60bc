//! Which era of the protocol a server speaks, and how that is found out.
//!
//! A stdio server settles on an era by the first message it gets, and most then refuse the other. So it is asked with
//! a process of its own, by `server/discover`: a server of the modern era has to answer that, and the process goes on
//! to serve modern requests. Any other answer, silence, or an end means that it has to be spoken to with `initialize`,
//! in another process. A process meant for `initialize` is never asked.
//!
//! What was found out is remembered for the command line. Silence is not an answer: a server may just be slow to come
//! up. So after a while of it a second process is initialized beside the first, and whichever says something first is
//! the one that is used; as long as a process that was initialized so is there, the server is presumed to want that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::caller::Caller;
use crate::child::{Answers, Child, End, First, Wants};
use crate::message::{Message, meta};
use crate::start::{OpenError, Starter};
use crate::stream::Frame;
use crate::versions::MODERN;

/// What is known of a server.
#[derive(Debug, Default)]
pub(crate) struct Eras(Mutex<Known>);

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    modern: Option<bool>,
    legacy: Option<bool>,
    /// It was silent when asked, and could be initialized.
    presumed: bool,
}

impl Eras {
    /// Whether the server speaks the modern era, as far as is known.
    pub(crate) fn modern(&self) -> Option<bool> {
        let known = self.lock();
        known.modern.or(known.presumed.then_some(false))
    }

    /// Presumes that the server has to be initialized, or nothing any more.
    pub(crate) fn presume(&self, presumed: bool) {
        self.lock().presumed = presumed;
    }

    /// Whether it can be initialized.
    pub(crate) fn legacy(&self) -> Option<bool> {
        self.lock().legacy
    }

    pub(crate) fn set_modern(&self, modern: bool) {
        self.lock().modern = Some(modern);
    }

    pub(crate) fn set_legacy(&self, legacy: bool) {
        self.lock().legacy = Some(legacy);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
pub(crate) fn client_info() -> serde_json::Value {
    serde_json::json!({ "name": "mcp-stdio-bridge", "version": env!("CARGO_PKG_VERSION") })
}

/// A message of the bridge's own making.
pub(crate) fn own(text: String) -> Message {
    match Message::parse(text.into_bytes()) {
        Ok(message) => message,
        // Every caller writes a message from parts that have been read as JSON.
        Err(error) => unreachable!("a message of the bridge's own is none: {error}"),
    }
}

/// Hands a process this `initialize`: the server's answer, if it is a good one.
pub(crate) async fn initialize(
    starter: &Arc<Starter>,
    eras: &Eras,
    child: &Arc<Child>,
    request: &Message,
    session: u64,
) -> Result<String, OpenError> {
    let limit = starter.limits().handshake_timeout;
    let handshake = async {
        let wants = Wants {
            session,
            ..Wants::default()
        };
        let mut answers = child.call(request, wants).await.ok()?;
        match answers.first_within(limit).await {
            First::Answer(frame) => Some(frame),
            First::Stream => None,
        }
    };
    let answer = timeout(limit, handshake).await.ok().flatten();
    let (Some(Frame::Answer { line, error }), true) = (answer, child.is_open()) else {
        let end = child.end().unwrap_or(End::HandshakeTimeout("initialize", limit));
        return Err(starter.start_failed(child, end).await);
    };
    starter.succeeded();
    if error.is_some() {
        child.close(&End::HandshakeRefused);
        return Err(OpenError::Refused(line));
    }
    eras.set_legacy(true);
    Ok(line)
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Probed {
    Modern(Discovered),
    /// The server has to be initialized.
    Legacy,
    /// Nothing yet.
    Silent(Silent),
}

/// A process that was asked and has not said anything. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Silent {
    starter: Arc<Starter>,
    eras: Arc<Eras>,
    child: Arc<Child>,
    answers: Option<Answers>,
}

/// Starts a process and asks it.
pub(crate) async fn probe(
    starter: &Arc<Starter>,
    eras: &Arc<Eras>,
    caller: Option<&Caller>,
    alone: bool,
) -> Result<Probed, OpenError> {
    if eras.modern() == Some(false) {
        return Ok(Probed::Legacy);
    }
    let child = starter.start_soon(caller, alone).await?;
    let mut silent = Silent {
        starter: Arc::clone(starter),
        eras: Arc::clone(eras),
        child: Arc::clone(&child),
        answers: None,
    };
    silent.answers = child
        .call(&discover(), Wants::default())
        .await
        .ok()
        .map(Answers::cancels);
    let known = eras.modern() == Some(true);
    let limits = starter.limits();
    // One that is known to answer is given the time that starting takes.
    let patience = if known {
        limits.handshake_timeout
    } else {
        limits.probe_timeout
    };
    match silent.listen(patience).await {
        Probed::Silent(_) | Probed::Legacy if known => {
            let timed_out = End::HandshakeTimeout("server/discover", patience);
            let end = child.end().unwrap_or(timed_out);
            Err(starter.start_failed(&child, end).await)
        }
        probed => Ok(probed),
    }
}

impl Silent {
    /// Listens for so long.
    pub(crate) async fn listen(mut self, patience: Duration) -> Probed {
        let first = match &mut self.answers {
            Some(answers) => answers.first_within(patience).await,
            None => First::Stream,
        };
        let First::Answer(frame) = first else {
            if self.child.is_open() && self.answers.is_some() {
                return Probed::Silent(self);
            }
            return self.refused("it has ended");
        };
        let message = Message::parse(frame.into_line().into_bytes()).ok();
        let result = message
            .as_ref()
            .and_then(|message| message.outcome())
            .unwrap_or_default();
        match &message {
            Some(message) if self.child.is_open() && supports_modern(message, result) => {
                self.eras.set_modern(true);
                self.starter.succeeded();
                self.answers = None;
                Probed::Modern(Discovered {
                    child: Arc::clone(&self.child),
                    result: result.into(),
                })
            }
            _ if self.child.is_open() => self.refused("it does not know `server/discover`"),
            _ => self.refused("it has ended"),
        }
    }

    fn refused(self, why: &str) -> Probed {
        tracing::info!(of = self.starter.name(), why, "the server has to be initialized");
        if self.child.is_open() && self.eras.modern().is_none() {
            self.eras.set_modern(false);
        }
        Probed::Legacy
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // One that has answered has another owner.
        if self.answers.is_some() || self.eras.modern() != Some(true) {
            self.child.close(&End::HandshakeRefused);
        }
    }
}

fn supports_modern(message: &Message, result: &str) -> bool {
    let [versions] = message.members(result, ["supportedVersions"]);
    let versions = versions.and_then(|versions| serde_json::from_str::<Vec<String>>(message.text(&versions)).ok());
    versions.is_some_and(|versions| versions.iter().any(|version| version == MODERN))
}
