//! The server's event streams: taken up again where they broke off, and the one with what the server says by itself.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use http::Method;

use super::Relay;
use crate::connect::authorizer::AuthorizationError;
use crate::connect::events::Events;
use crate::connect::transport::{RequestError, is_event_stream};
use crate::message::Message;

/// Before a stream is taken up again, where the server has no wish.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Relay {
    /// Asks for a stream, from the beginning or from an event on.
    pub(super) async fn open_stream(&self, last_id: Option<&str>) -> Result<reqwest::Response, RequestError> {
        let headers = self.stream_headers(last_id);
        self.transport.send(Method::GET, &headers, None, false).await
    }

    /// Reads what the server says by itself, for as long as the session lasts.
    pub(super) fn listen(self: &Arc<Self>) {
        let relay = Arc::clone(self);
        let task = tokio::spawn(async move { relay.listen_until_refused().await });
        let before = self.stream.lock().unwrap_or_else(PoisonError::into_inner).replace(task);
        if let Some(before) = before {
            before.abort();
        }
    }

    pub(super) fn stop_listening(&self) {
        if let Some(task) = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }

    async fn listen_until_refused(&self) {
        let mut last_id: Option<String> = None;
        let mut without_news: u32 = 0;
        loop {
            let mut events = Events::new(self.transport.most);
            match self.open_stream(last_id.as_deref()).await {
                Ok(response) if response.status().is_success() && is_event_stream(&response) => {
                    let mut chunks = response.bytes_stream();
                    while let Some(Ok(chunk)) = chunks.next().await {
                        let Ok(texts) = events.feed(&chunk) else {
                            tracing::warn!("an event of the server is too large; its stream is not read any more");
                            return;
                        };
                        for text in texts {
                            without_news = 0;
                            if let Ok(message) = Message::parse(text.into_bytes()) {
                                self.say(message.line(&[])).await;
                            } else {
                                tracing::warn!("an event of the server is no message; it is left out");
                            }
                        }
                    }
                }
                // There is none, or the session is over; the next request will tell.
                Ok(response) if response.status().is_client_error() => return,
                Ok(response) => tracing::debug!(status = response.status().as_u16(), "no stream now"),
                Err(RequestError::Authorization(AuthorizationError::SignInNeeded)) => return,
                Err(error) => tracing::debug!(%error, "no stream now"),
            }
            last_id = events.last_id().map(str::to_owned).or(last_id);
            without_news = without_news.saturating_add(1);
            tokio::time::sleep(pause(&events, without_news)).await;
        }
    }
}

/// How long a stream is left alone before it is taken up again.
pub(super) fn pause(events: &Events, without_news: u32) -> Duration {
    let longer = PAUSE * 2_u32.saturating_pow(without_news.min(6).saturating_sub(1));
    events.retry().unwrap_or(longer).min(LONGEST_PAUSE)
}
