//! What the server wants to know before it answers a call: its questions become requests to the client.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::LegacyToModern;
use crate::message::{self, Id, Kind, Message, reply};
use crate::stream::{Frame, Stream};
use crate::translate::{capability_of, declares, error, missing};

/// How long a client may take to answer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// A server that only wants to be called again gets this much time.
const PAUSE: Duration = Duration::from_millis(500);

/// What a call is made again with.
#[derive(Debug)]
pub(super) struct Input {
    /// Raw, by name.
    responses: Vec<(String, String)>,
    /// Raw.
    state: Option<String>,
}

impl Input {
    /// As members of `params`.
    pub(super) fn members(&self) -> String {
        let responses: Vec<_> = self
            .responses
            .iter()
            .map(|(name, response)| format!("{}:{response}", serde_json::Value::from(name.as_str())))
            .collect();
        let mut members = format!(r#""inputResponses":{{{}}}"#, responses.join(","));
        if let Some(state) = &self.state {
            let _ = write!(members, r#","requestState":{state}"#);
        }
        members
    }
}

impl LegacyToModern {
    /// Asks the client what the server wants to know. The error is the answer to the call.
    pub(super) async fn ask(&self, required: &Message, id: &Id, stream: &Arc<Stream>) -> Result<Input, Frame> {
        let result = required.outcome().unwrap_or_default();
        let [requests, state] = required.members(result, ["inputRequests", "requestState"]);
        let state = state.map(|state| required.text(&state).to_owned());
        let requests = requests
            .map(|requests| message::entries(required.text(&requests)))
            .unwrap_or_default();
        if requests.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        let mut waiting = Vec::new();
        for (name, request) in requests {
            let found = message::members(request.get(), ["method", "params"]).unwrap_or([None; 2]);
            let [method, params] = found.map(|found| found.map(serde_json::value::RawValue::get));
            let method = method.and_then(message::text_of).unwrap_or_default();
            match capability_of(&method) {
                Some(capability) if declares(&self.capabilities, capability) => {}
                Some(capability) => return Err(missing(id.raw(), capability)),
                None => {
                    let text = format!("the server asked for `{method}`, which clients cannot be asked for");
                    return Err(error(id.raw(), reply::INTERNAL_ERROR, &text));
                }
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (sender, receiver) = oneshot::channel();
            self.lock().asked.insert(number, sender);
            let asked = Asked {
                shim: self.me.clone(),
                number,
            };
            stream.put(Frame::Message(format!(
                r#"{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{}}}"#,
                params.unwrap_or("{}").replace(['\n', '\r'], " "),
            )));
            waiting.push((name, method.into_owned(), receiver, asked));
        }
        let mut responses = Vec::new();
        for (name, method, receiver, _asked) in waiting {
            let text = match timeout(PATIENCE, receiver).await {
                Ok(Ok(response)) => {
                    let outcome = response.outcome().unwrap_or("{}").to_owned();
                    if matches!(response.kind(), Kind::Response { failed: false, .. }) {
                        responses.push((name, outcome));
                        continue;
                    }
                    format!("the client answered `{method}` with the error {outcome}")
                }
                _ => format!("the client did not answer `{method}` in time"),
            };
            return Err(error(id.raw(), reply::INTERNAL_ERROR, &text));
        }
        Ok(Input { responses, state })
    }
}

/// A question that is forgotten when nobody waits for its answer.
#[derive(Debug)]
struct Asked {
    shim: Weak<LegacyToModern>,
    number: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(shim) = self.shim.upgrade() {
            shim.lock().asked.remove(&self.number);
        }
    }
}
