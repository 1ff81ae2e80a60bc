//! Calls to a provider's token and userinfo endpoints, within the bounds of the guarded fetcher.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode};
use url::Url;

use crate::clock::{Clock, UnixTime};
use crate::fetch::{FetchError, Fetcher};
use crate::identity::IdentityError;
use crate::secret::Secret;

/// The longest wait that is passed on: whoever asks for more has made a mistake.
const MAXIMUM_WAIT: Duration = Duration::from_secs(60 * 60);

/// What calls are made with. Clones wait together.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) fetcher: Fetcher,
    pub(super) clock: Arc<dyn Clock>,
    /// Until when the provider does not want to be asked, in seconds since 1970.
    paused_until: Arc<AtomicU64>,
}

impl Upstream {
    pub(super) fn new(fetcher: Fetcher, clock: Arc<dyn Clock>) -> Self {
        Self {
            fetcher,
            clock,
            paused_until: Arc::default(),
        }
    }

    pub(super) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Sends a form, with the value of an `Authorization` header if the client proves itself by one.
    pub(super) async fn post(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        authorization: Option<&Secret>,
    ) -> Result<Response<Bytes>, IdentityError> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut request = self
            .fetcher
            .request(Method::POST, url)
            .map_err(failed)?
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            )
            .body(body);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, sensitive(authorization.expose())?);
        }
        self.send(request).await
    }

    /// Asks with a token.
    pub(super) async fn get(&self, url: &Url, token: &Secret) -> Result<Response<Bytes>, IdentityError> {
        let authorization = Secret::from(format!("Bearer {}", token.expose()));
        let request = self
            .fetcher
            .request(Method::GET, url)
            .map_err(failed)?
            .header(AUTHORIZATION, sensitive(authorization.expose())?);
        self.send(request).await
    }

    /// Whatever the status, unless it means that the provider cannot answer now.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response<Bytes>, IdentityError> {
        let pause = UnixTime::from_seconds(self.paused_until.load(Ordering::Relaxed)).since(self.now());
        if !pause.is_zero() {
            return Err(IdentityError::Unavailable {
                retry_after: Some(pause),
                source: Some("it has asked to wait".into()),
            });
        }
        let answer = self.fetcher.exchange(request).await.map_err(failed)?;
        let status = answer.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let retry_after = self.wait(answer.headers());
            if let Some(wait) = retry_after {
                let until = self.now() + wait;
                self.paused_until.fetch_max(until.as_seconds(), Ordering::Relaxed);
            }
            return Err(IdentityError::Unavailable {
                retry_after,
                source: Some(format!("it answered with status {status}").into()),
            });
        }
        Ok(answer)
    }

    /// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3).
    fn wait(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
        let wait = if let Ok(seconds) = text.parse() {
            Duration::from_secs(seconds)
        } else {
            let moment: SystemTime = httpdate::parse_http_date(text).ok()?;
            let seconds = moment.duration_since(UNIX_EPOCH).ok()?.as_secs();
            UnixTime::from_seconds(seconds).since(self.now())
        };
        Some(wait.min(MAXIMUM_WAIT))
    }
}

fn sensitive(text: &str) -> Result<HeaderValue, IdentityError> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| IdentityError::Unusable("a token or secret cannot stand in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Nobody was reached, or somebody who may not be.
pub(super) fn failed(error: FetchError) -> IdentityError {
    if error.is_transient() {
        return IdentityError::Unavailable {
            retry_after: None,
            source: Some(error.into()),
        };
    }
    tracing::error!(%error, "an endpoint of an identity provider cannot be used");
    IdentityError::Unusable(error.to_string())
}
