//! A request until its answer is there: in one piece or in a stream, over as many connections and sessions as it takes.

use std::sync::Arc;

use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use serde_json::Value;

use super::headers::SESSION_ID;
use super::session::{Session, version_of};
use super::stream::pause;
use super::{BATCH, OWN_ID, Relay};
use crate::connect::events::Events;
use crate::connect::transport::{RequestError, is_event_stream};
use crate::message::{Body, Id, Kind, Message, reply};

/// How often a stream is taken up again that brings nothing new.
const RESUMPTIONS: u32 = 5;
/// How many pages of tools are read for a header that is missing.
const PAGES: usize = 20;

/// A request whose answer is waited for.
pub(super) struct Asked<'a> {
    pub(super) message: &'a Message,
    pub(super) id: &'a Id,
    pub(super) modern: bool,
    /// Nobody but the relay waits for the answer.
    pub(super) own: bool,
}

/// Whether a message has been the one that was waited for.
enum Delivered {
    Answer(Message),
    Other,
}

impl Relay {
    /// Asks until there is an answer, and hands that on.
    pub(super) async fn ask(self: &Arc<Self>, asked: &Asked<'_>) -> Result<Message, RequestError> {
        let method = asked.message.method().unwrap_or_default();
        let begins = method == "initialize" && !asked.modern;
        if begins && !asked.own {
            let mut session = self.session();
            *session = Session::begun_by(asked.message, &session);
            drop(session);
            self.stop_listening();
        }
        let (mut lost, mut mismatched) = (false, false);
        loop {
            if !begins && !asked.own && !asked.modern {
                // Not between two sessions.
                drop(self.beginning.lock().await);
            }
            let session = self.session().clone();
            let headers = self.headers(asked.message, asked.modern);
            let body = asked.message.line(&[]);
            let response = self
                .transport
                .send(Method::POST, &headers, Some(&body), self.sign_in)
                .await?;
            let status = response.status();
            if status == StatusCode::NOT_FOUND
                && session.id.is_some()
                && !asked.modern
                && !begins
                && !asked.own
                && !lost
            {
                lost = true;
                self.begin_again(session.generation).await?;
                continue;
            }
            if begins && status.is_success() {
                self.session().id = response.headers().get(SESSION_ID).cloned();
            }
            if is_event_stream(&response) && status.is_success() {
                return self.follow(response, asked).await;
            }
            let text = self.transport.body(response).await?;
            let answer = match Message::parse_body(text, BATCH) {
                Ok(Body::One(message)) => message,
                Ok(Body::Batch(messages)) => return self.deliver_all(messages, asked).await,
                Err(_) if !status.is_success() => return Err(RequestError::Status(status)),
                Err(error) => return Err(RequestError::Malformed(error.to_string())),
            };
            let mismatch = |answer: &Message| {
                let code = answer.outcome().and_then(reply::code_of);
                code == Some(i64::from(reply::HEADER_MISMATCH))
            };
            if status == StatusCode::BAD_REQUEST
                && asked.modern
                && method == "tools/call"
                && !mismatched
                && mismatch(&answer)
            {
                // A tool that was not listed since it changed: its marks are learned, and it is called once more.
                mismatched = true;
                if self.learn(asked).await {
                    continue;
                }
            }
            return match self.deliver(answer, asked).await {
                Delivered::Answer(message) => Ok(message),
                Delivered::Other if status.is_success() => Err(RequestError::Interrupted),
                Delivered::Other => Err(RequestError::Status(status)),
            };
        }
    }

    async fn deliver_all(&self, messages: Vec<Message>, asked: &Asked<'_>) -> Result<Message, RequestError> {
        let mut answer = None;
        for message in messages {
            if let Delivered::Answer(message) = self.deliver(message, asked).await {
                answer = Some(message);
            }
        }
        answer.ok_or(RequestError::Interrupted)
    }

    /// Reads the stream of an answer to its end, over as many connections as it takes.
    async fn follow(self: &Arc<Self>, response: reqwest::Response, asked: &Asked<'_>) -> Result<Message, RequestError> {
        let mut response = response;
        let mut last_id: Option<String> = None;
        let mut without_news = 0;
        loop {
            let mut events = Events::new(self.transport.most);
            let mut chunks = response.bytes_stream();
            let mut news = false;
            while let Some(Ok(chunk)) = chunks.next().await {
                let texts = events.feed(&chunk);
                for text in texts.map_err(|_| RequestError::TooLarge(self.transport.most))? {
                    news = true;
                    let Ok(body) = Message::parse_body(text.into_bytes(), BATCH) else {
                        tracing::warn!("an event of the server is no message; it is left out");
                        continue;
                    };
                    let messages = match body {
                        Body::One(message) => vec![message],
                        Body::Batch(messages) => messages,
                    };
                    if let Ok(answer) = self.deliver_all(messages, asked).await {
                        return Ok(answer);
                    }
                }
            }
            drop(chunks);
            last_id = events.last_id().map(str::to_owned).or(last_id);
            without_news = if news { 0 } else { without_news + 1 };
            let id = last_id
                .as_deref()
                .filter(|_| !asked.modern && without_news <= RESUMPTIONS);
            let Some(id) = id else {
                return Err(RequestError::Interrupted);
            };
            tokio::time::sleep(pause(&events, without_news)).await;
            let resumed = self.open_stream(Some(id)).await?;
            if !(resumed.status().is_success() && is_event_stream(&resumed)) {
                return Err(RequestError::Interrupted);
            }
            response = resumed;
        }
    }

    /// Hands a message on, and says whether it was the answer.
    async fn deliver(&self, message: Message, asked: &Asked<'_>) -> Delivered {
        let answers = match message.kind() {
            Kind::Response { id: Some(id), .. } => id.key() == asked.id.key(),
            // Who could not tell which request it was had only one to answer.
            Kind::Response { id: None, failed } => *failed,
            _ => false,
        };
        if !answers {
            self.say(message.line(&[])).await;
            return Delivered::Other;
        }
        let method = asked.message.method().unwrap_or_default();
        let failed = matches!(message.kind(), Kind::Response { failed: true, .. });
        let result = message.outcome().filter(|_| !failed);
        if method == "initialize"
            && !asked.modern
            && let Some(version) = result.and_then(version_of)
        {
            self.session().version = Some(version);
        }
        if asked.own {
            return Delivered::Answer(message);
        }
        let kept = match result.filter(|_| method == "tools/list" && asked.modern) {
            Some(result) => self.parameters.learn(result),
            None => None,
        };
        let line = match kept {
            Some(result) => reply::result(asked.id.raw(), &result),
            None => match message.id_member().filter(|member| member.id.is_none()) {
                Some(id) => message.line(&[(&id, asked.id.raw())]),
                None => message.line(&[]),
            },
        };
        self.say(line).await;
        Delivered::Answer(message)
    }

    /// Learns the marks of all tools, on behalf of a call.
    async fn learn(self: &Arc<Self>, asked: &Asked<'_>) -> bool {
        let meta = asked.message.param("_meta");
        let meta = meta.map_or("{}", |meta| asked.message.text(&meta));
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":{OWN_ID},"method":"tools/list","params":{{{cursor}"_meta":{meta}}}}}"#
            );
            let Ok(message) = Message::parse(text.into_bytes()) else {
                return false;
            };
            let Kind::Request { id, .. } = message.kind() else {
                return false;
            };
            let own = Asked {
                message: &message,
                id,
                modern: true,
                own: true,
            };
            let Ok(answer) = Box::pin(self.ask(&own)).await else {
                return false;
            };
            let Some(result) = answer.outcome() else { return false };
            self.parameters.learn(result);
            let next = serde_json::from_str::<Value>(result).unwrap_or_default();
            match next["nextCursor"].as_str() {
                Some(next) => cursor = format!(r#""cursor":{},"#, Value::from(next)),
                None => return true,
            }
        }
        true
    }
}
