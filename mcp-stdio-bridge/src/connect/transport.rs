//! Requests to the server: with a token, and with what a refusal asks for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use super::address::shown;
use super::authorizer::{Allowed, AuthorizationError, Authorizer};
use super::challenge::Challenge;
use super::fetch::{HttpClientError, USER_AGENT, why};
use super::tokens::sensitive;

/// How often one request may be refused for its token before it has failed.
const REFUSALS: usize = 2;
/// How often one request may ask for more scope.
const STEP_UPS: usize = 2;
const REDIRECTS: usize = 3;
const CONNECT: Duration = Duration::from_secs(20);

/// Why a request to the server came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no token.
    #[error(transparent)]
    Authorization(#[from] AuthorizationError),
    /// The server refuses each token.
    #[error("the server refuses the access token, also a new one")]
    Unauthorized,
    /// No answer came.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The server.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The server sends elsewhere, where a token for this server is not sent.
    #[error("the server sends to {0}; connect to that address if it is the right one")]
    Redirected(String),
    /// The answer is none of the protocol.
    #[error("the server answered with {0}")]
    Status(StatusCode),
    /// The answer is too large.
    #[error("the server's message has more than {0} bytes")]
    TooLarge(usize),
    /// The answer is not a message.
    #[error("the server's answer is no message of the protocol: {0}")]
    Malformed(String),
    /// The connection ended before the answer was there.
    #[error("the connection ended before the answer came")]
    Interrupted,
    /// The session has ended, and a new one did not begin.
    #[error("the server has ended the session, and none like it could be begun: {0}")]
    SessionLost(String),
}

/// Sends requests to one server.
#[derive(Debug)]
pub(crate) struct Transport {
    /// Where the server is; a redirect within its origin moves it.
    endpoint: Mutex<Url>,
    client: reqwest::Client,
    pub(crate) authorizer: Arc<Authorizer>,
    /// The largest message, in bytes.
    pub(crate) most: usize,
}

impl Transport {
    pub(crate) fn new(endpoint: Url, authorizer: Arc<Authorizer>, most: usize) -> Result<Self, HttpClientError> {
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .build()
            .map_err(HttpClientError)?;
        Ok(Self {
            endpoint: Mutex::new(endpoint),
            client,
            authorizer,
            most,
        })
    }

    fn endpoint(&self) -> Url {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request until it is not the token that it is refused for. Somebody may be asked to sign in, if that is
    /// allowed.
    pub(crate) async fn send(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: Option<&str>,
        sign_in: bool,
    ) -> Result<reqwest::Response, RequestError> {
        let mut token = self.authorizer.token().await?;
        let (mut refusals, mut step_ups, mut redirects) = (0, 0, 0);
        loop {
            let endpoint = self.endpoint();
            let mut request = self
                .client
                .request(method.clone(), endpoint.clone())
                .headers(headers.clone());
            if let Some(token) = &token {
                let value = format!("Bearer {}", token.expose());
                request = request.header(header::AUTHORIZATION, sensitive(&value));
            }
            if let Some(body) = body {
                request = request.body(body.to_owned());
            }
            let response = request.send().await.map_err(|error| RequestError::Unreachable {
                url: shown(&endpoint),
                reason: why(&error),
            })?;
            match response.status() {
                StatusCode::UNAUTHORIZED if refusals < REFUSALS => {
                    let challenge = Challenge::read(response.headers());
                    let allowed = Allowed {
                        sign_in,
                        // Once: a token that was just renewed and is refused all the same is not helped by that.
                        refresh: refusals == 0,
                    };
                    refusals += 1;
                    token = Some(self.authorizer.renew(token.as_ref(), &challenge, allowed).await?);
                }
                StatusCode::UNAUTHORIZED => return Err(RequestError::Unauthorized),
                StatusCode::FORBIDDEN if sign_in && step_ups < STEP_UPS => {
                    let challenge = Challenge::read(response.headers());
                    if !challenge.wants_more_scope() {
                        return Ok(response);
                    }
                    step_ups += 1;
                    token = Some(if let Some(used) = &token {
                        self.authorizer.step_up(used, &challenge).await?
                    } else {
                        let allowed = Allowed {
                            sign_in,
                            refresh: false,
                        };
                        self.authorizer.renew(None, &challenge, allowed).await?
                    });
                }
                status if status.is_redirection() => {
                    redirects += 1;
                    self.follow(&endpoint, &response, redirects)?;
                }
                _ => return Ok(response),
            }
        }
    }

    /// Goes where a redirect sends that keeps the request as it is, within the origin.
    fn follow(&self, from: &Url, response: &reqwest::Response, redirects: usize) -> Result<(), RequestError> {
        let location = response.headers().get(header::LOCATION);
        let target = location
            .and_then(|location| location.to_str().ok())
            .and_then(|location| from.join(location).ok())
            .ok_or(RequestError::Status(response.status()))?;
        let keeps = matches!(
            response.status(),
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        );
        if !keeps || target.origin() != from.origin() || redirects > REDIRECTS {
            return Err(RequestError::Redirected(shown(&target)));
        }
        *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = target;
        Ok(())
    }

    /// The whole body of an answer.
    pub(crate) async fn body(&self, response: reqwest::Response) -> Result<Vec<u8>, RequestError> {
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| RequestError::Interrupted)?;
            if body.len() + chunk.len() > self.most {
                return Err(RequestError::TooLarge(self.most));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Whether an answer is an event stream.
pub(crate) fn is_event_stream(response: &reqwest::Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/event-stream")
}
