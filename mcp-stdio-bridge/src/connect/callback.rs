//! Where the browser comes back to: an address of this machine, for one answer (RFC 8252 §7.3).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::authorization::{Pending, Returned};

const PATH: &str = "/callback";
/// For the last page to be sent.
const GOODBYE: Duration = Duration::from_millis(500);

/// Waits for the answer of one authorization.
#[derive(Debug)]
pub(crate) struct Callback {
    listener: TcpListener,
    port: u16,
}

#[derive(Clone)]
struct Waiting {
    pending: Arc<Pending>,
    answer: Arc<Mutex<Option<oneshot::Sender<Returned>>>>,
}

impl Callback {
    /// Listens on the first of these ports that is free; on any where none is or none is named.
    pub(crate) async fn bind(wanted: Option<u16>, before: Option<u16>) -> io::Result<Self> {
        if let Some(port) = wanted {
            return Self::on(port).await;
        }
        if let Some(port) = before
            && let Ok(callback) = Self::on(port).await
        {
            return Ok(callback);
        }
        Self::on(0).await
    }

    async fn on(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    pub(crate) fn redirect_uri(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.port)
    }

    /// Waits for the answer to this request. What else comes is turned away, and ends nothing.
    pub(crate) async fn receive(self, pending: Arc<Pending>) -> io::Result<Returned> {
        let (sender, mut receiver) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let waiting = Waiting {
            pending,
            answer: Arc::new(Mutex::new(Some(sender))),
        };
        let router = Router::new().route(PATH, get(arrive)).with_state(waiting);
        let server = axum::serve(self.listener, router).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        let mut server = tokio::spawn(server.into_future());
        let gone = || io::Error::other("nothing listens for the browser any more");
        let returned = tokio::select! {
            returned = &mut receiver => returned.map_err(|_| gone()),
            _ = &mut server => Err(gone()),
        };
        drop(stop);
        let _ = tokio::time::timeout(GOODBYE, &mut server).await;
        server.abort();
        returned
    }
}

/// The redirect URI's port.
pub(crate) fn port_of(redirect_uri: &str) -> Option<u16> {
    url::Url::parse(redirect_uri).ok()?.port()
}

async fn arrive(State(waiting): State<Waiting>, RawQuery(query): RawQuery) -> Response {
    let returned = query.as_deref().and_then(Returned::read);
    let ours = returned.filter(|returned| {
        let state = returned.state.as_deref();
        state.is_some_and(|state| waiting.pending.is_ours(state))
    });
    let sender = match &ours {
        Some(_) => waiting.answer.lock().unwrap_or_else(PoisonError::into_inner).take(),
        None => None,
    };
    match (ours, sender) {
        (Some(returned), Some(sender)) => {
            // What was answered is for the program to judge. The page says neither.
            let _ = sender.send(returned);
            page(StatusCode::OK, "The sign-in is done here. You can close this window.")
        }
        _ => page(StatusCode::BAD_REQUEST, "Nobody here waits for this answer."),
    }
}

fn page(status: StatusCode, text: &str) -> Response {
    let page = format!("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Sign-in</title><p>{text}</p>");
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONNECTION, "close"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::authorization::Pending;
    use super::{Callback, port_of};

    #[tokio::test]
    async fn only_the_answer_with_the_state_ends_the_waiting() {
        let callback = Callback::bind(None, None).await.unwrap();
        let address = callback.redirect_uri();
        let pending = Arc::new(Pending::new().unwrap());
        let state = pending.state.expose().to_owned();
        let waiting = tokio::spawn(callback.receive(pending));
        let client = reqwest::Client::new();
        let status = async |query: String| client.get(format!("{address}?{query}")).send().await.unwrap().status();
        assert_eq!(status("code=stolen&state=guess".to_owned()).await, 400);
        assert_eq!(status(format!("code=a&code=b&state={state}")).await, 400);
        assert_eq!(status("error=access_denied".to_owned()).await, 400);
        assert_eq!(status(format!("code=right&state={state}&iss=x")).await, 200);
        let returned = waiting.await.unwrap().unwrap();
        assert_eq!(returned.code.unwrap().expose(), "right");
    }

    #[tokio::test]
    async fn the_port_of_the_registration_is_taken_again_if_it_is_free() {
        let first = Callback::bind(None, None).await.unwrap();
        let port = port_of(&first.redirect_uri());
        let second = Callback::bind(None, port).await.unwrap();
        assert_ne!(second.redirect_uri(), first.redirect_uri());
        let address = first.redirect_uri();
        drop(first);
        let third = Callback::bind(None, port).await.unwrap();
        assert_eq!(third.redirect_uri(), address);
        assert!(Callback::bind(port, None).await.is_err());
    }
}
