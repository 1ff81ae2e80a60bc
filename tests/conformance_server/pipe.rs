//! stdout, one message a line, and the requests of this server that wait for their answers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};

use crate::client::Failure;

#[derive(Debug, Default)]
pub(crate) struct Pipe {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    answers: BTreeMap<u64, Asked>,
}

#[derive(Debug)]
struct Asked {
    /// The request of the client that made this server ask.
    call: String,
    answer: Sender<Value>,
}

impl Pipe {
    /// Writes messages with nothing between them.
    pub(crate) fn write(messages: &[Value]) {
        let lines: Vec<String> = messages.iter().map(Value::to_string).collect();
        let lines = lines.join("\n") + "\n";
        let mut stdout = std::io::stdout().lock();
        // Nobody reads any more: stdin is at its end too, and ends the server.
        let _ = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
    }

    pub(crate) fn notify(method: &str, params: &Value) {
        Self::write(&[json!({ "jsonrpc": "2.0", "method": method, "params": params })]);
    }

    /// Sends these requests for a call of the client, and waits for the answers: the messages, as they came.
    pub(crate) fn ask(&self, call: &str, requests: &[(&str, &Value)]) -> Result<Vec<Value>, Failure> {
        let mut messages = Vec::new();
        let mut answers: Vec<Receiver<Value>> = Vec::new();
        {
            let mut waiting = self.waiting.lock().unwrap();
            for (method, params) in requests {
                let id = waiting.next;
                waiting.next += 1;
                let (answer, receiver) = channel();
                let call = call.to_owned();
                waiting.answers.insert(id, Asked { call, answer });
                answers.push(receiver);
                messages.push(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
            }
        }
        Self::write(&messages);
        answers
            .into_iter()
            .map(|answer| answer.recv().map_err(|_| Failure::Cancelled))
            .collect()
    }

    /// Takes an answer of the client.
    pub(crate) fn answered(&self, message: Value) {
        let Some(id) = message["id"].as_u64() else { return };
        let asked = self.waiting.lock().unwrap().answers.remove(&id);
        if let Some(asked) = asked {
            // The call that asked may have been cancelled.
            let _ = asked.answer.send(message);
        }
    }

    /// Nobody will answer what this call asked, or whatever was asked.
    pub(crate) fn give_up(&self, call: Option<&str>) {
        let mut waiting = self.waiting.lock().unwrap();
        waiting
            .answers
            .retain(|_, asked| call.is_some_and(|call| asked.call != call));
    }
}
