//! What the server says has changed, for a session: one `subscriptions/listen`, made anew when what is wanted changes.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::LegacyToModern;
use crate::child::Wants;
use crate::era::own;
use crate::message::{self, Message, meta};
use crate::stream::{Frame, Numbered};
use crate::translate::Changes;

impl LegacyToModern {
    /// Hears what the server says has changed, as far as it can and the client has asked.
    pub(super) fn listen(self: &Arc<Self>) {
        let said: serde_json::Value = serde_json::from_str(&self.server.result).unwrap_or_default();
        let can = |what: &str, how: &str| said["capabilities"][what][how] == true;
        let (resources, previous, stop) = {
            let mut state = self.lock();
            if !state.ready {
                return;
            }
            let stop = CancellationToken::new();
            let previous = state.listening.replace(stop.clone());
            (state.resources.clone(), previous, stop)
        };
        let mut wanted = serde_json::Map::new();
        for (what, name) in [
            ("tools", "toolsListChanged"),
            ("prompts", "promptsListChanged"),
            ("resources", "resourcesListChanged"),
        ] {
            if can(what, "listChanged") {
                wanted.insert(name.to_owned(), true.into());
            }
        }
        if !resources.is_empty() {
            wanted.insert("resourceSubscriptions".to_owned(), resources.into_iter().collect());
        }
        if wanted.is_empty() {
            if let Some(previous) = previous {
                previous.cancel();
            }
            return;
        }
        let wanted = serde_json::Value::Object(wanted);
        let request = own(format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"subscriptions/listen","params":{{"notifications":{wanted}}}}}"#
        ));
        let request = self.wrapped(&request, None);
        let shim = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(answers) = shim.child().call(&request, Wants::default()).await else {
                return;
            };
            let mut answers = answers.cancels();
            let mut previous = previous;
            loop {
                let next = tokio::select! {
                    next = answers.next() => next,
                    () = stop.cancelled() => None,
                };
                let Some(Numbered {
                    frame: Frame::Message(line),
                    ..
                }) = next
                else {
                    return;
                };
                let Ok(message) = Message::parse(line.into_bytes()) else {
                    continue;
                };
                if message.method() == Some("notifications/subscriptions/acknowledged") {
                    // Not before the new one hears is the old one given up.
                    if let Some(previous) = previous.take() {
                        previous.cancel();
                    }
                    continue;
                }
                if let Some(session) = shim.session() {
                    session.send(untagged(&message), None);
                }
            }
        });
    }
}

/// A notification without the subscription that it came by.
fn untagged(message: &Message) -> String {
    let about = message.params().and_then(|params| {
        let [about] = message.members(params, ["_meta"]);
        about
    });
    let Some(about) = about else { return message.line(&[]) };
    let kept: Vec<_> = message::entries(message.text(&about))
        .into_iter()
        .filter(|(name, _)| name != meta::SUBSCRIPTION_ID)
        .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name), value.get()))
        .collect();
    let mut changes = Changes::default();
    changes.replace(about, format!("{{{}}}", kept.join(",")));
    changes.line(message)
}
