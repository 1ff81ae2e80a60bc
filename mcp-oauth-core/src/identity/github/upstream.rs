//! Calls to GitHub, within bounds: of time, of size, and of where they go.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;
use reqwest::{Client, Request};

use crate::clock::{Clock, SystemClock, UnixTime};
use crate::fetch::bounded::{self, ReadError};
use crate::identity::IdentityError;
use crate::telemetry;

/// The longest answer that is read, in bytes.
const MAXIMUM_BODY: usize = 1024 * 1024;

/// The longest wait that is passed on. GitHub counts requests by the hour, so more would be a mistake of somebody's.
const MAXIMUM_WAIT: Duration = Duration::from_secs(60 * 60);

/// How long to wait where GitHub sets a limit and does not say for how long: "at least one minute".
const SECONDARY_WAIT: Duration = Duration::from_secs(60);

const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// An HTTP client that keeps to its bounds.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
    /// Made when it is first needed, since making it reads the operating system's certificates and can fail.
    client: OnceLock<Client>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
            client: OnceLock::new(),
        }
    }
}

impl Upstream {
    /// The client, for building requests. To be sent by [`send`](Self::send), which is what bounds them.
    pub(super) fn client(&self) -> Result<&Client, IdentityError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            // Without one, GitHub refuses:
            // https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api#user-agent
            .user_agent(bounded::USER_AGENT)
            .redirect(Policy::none())
            .build()
            .map_err(transport)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Sends a request and reads its answer, whatever the status unless it is a redirect or means that GitHub cannot
    /// answer now.
    pub(super) async fn send(&self, request: Request) -> Result<HttpResponse, IdentityError> {
        let answer = self.exchange(request).await?;
        if answer.status().is_redirection() {
            return Err(unusable(
                "it redirects to another place, which is not followed; check the base URLs",
            ));
        }
        Ok(answer)
    }

    /// Sends a request and reads its answer, whatever the status unless it means that GitHub cannot answer now.
    pub(super) async fn exchange(&self, request: Request) -> Result<HttpResponse, IdentityError> {
        telemetry::outbound_request("github", Box::pin(self.exchanged(request)), IdentityError::name).await
    }

    async fn exchanged(&self, mut request: Request) -> Result<HttpResponse, IdentityError> {
        *request.timeout_mut() = Some(self.timeout);
        let response = self.client()?.execute(request).await.map_err(transport)?;
        let status = response.status();
        if let Some(error) = not_now(status, response.headers(), self.clock.as_ref()) {
            return Err(error);
        }
        let headers = response.headers().clone();
        let body = bounded::read(response, MAXIMUM_BODY).await.map_err(unread)?;
        if status == StatusCode::FORBIDDEN && is_secondary_limit(&body) {
            return Err(IdentityError::Unavailable {
                retry_after: Some(SECONDARY_WAIT),
                source: Some("it asks to slow down".into()),
            });
        }
        let mut answer = HttpResponse::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

/// What the `oauth2` crate sends its requests by. A closure would do, but its future would not be known to be `Send`.
impl<'c> AsyncHttpClient<'c> for Upstream {
    type Error = IdentityError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, IdentityError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async {
            let request = request
                .try_into()
                .map_err(|_| unusable("its URL cannot be asked; check the base URLs"))?;
            self.send(request).await
        })
    }
}

fn unread(error: ReadError) -> IdentityError {
    match error {
        ReadError::TooLong => unusable("it is longer than anything that GitHub sends; check the base URLs"),
        ReadError::Broken(error) => transport(error),
    }
}

/// Whether an answer means that another one may be had later, and when: the server is in trouble, or there were too
/// many requests. Too many in an hour is 403 or 429 with nothing remaining; too many at once is 403 or 429 with a
/// time to wait.
fn not_now(status: StatusCode, headers: &HeaderMap, clock: &dyn Clock) -> Option<IdentityError> {
    let exhausted = headers
        .get(RATE_LIMIT_REMAINING)
        .is_some_and(|remaining| remaining == "0");
    let limited = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => exhausted || headers.contains_key(RETRY_AFTER),
        _ => false,
    };
    if !limited && !status.is_server_error() {
        return None;
    }
    let reset = || {
        let reset = headers.get(RATE_LIMIT_RESET).filter(|_| exhausted).and_then(number)?;
        Some(UnixTime::from_seconds(reset).since(clock.now()))
    };
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(number)
        .map(Duration::from_secs)
        .or_else(reset);
    Some(IdentityError::Unavailable {
        retry_after: retry_after.map(|wait| wait.min(MAXIMUM_WAIT)),
        source: Some(format!("it answered with status {status}").into()),
    })
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

/// A secondary limit whose answer says so in words alone
/// (<https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit>).
fn is_secondary_limit(body: &[u8]) -> bool {
    let says_so = |message: &str| message.to_ascii_lowercase().contains("secondary rate limit");
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    body.is_some_and(|body| body["message"].as_str().is_some_and(says_so))
}

/// Nobody was reached, or the connection broke. URLs are of no use to whoever reads the error, so they are left out.
fn transport(error: reqwest::Error) -> IdentityError {
    let source: Box<dyn Error + Send + Sync> = Box::new(error.without_url());
    IdentityError::Unavailable {
        retry_after: None,
        source: Some(source),
    }
}

fn unusable(what: &str) -> IdentityError {
    IdentityError::Unusable(what.to_owned())
}
