//! One request, as a client sends it and a little more patient: bounded in time and size, through no proxy, and without
//! following redirects, since those are what is looked for.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, DATE, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, redirect};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, DEFAULT_VERSIONS};
use tokio::time::timeout;
use url::Url;

use super::certificate::Recorder;
use super::problem::Problem;

/// No document that a client needs is larger.
pub(crate) const MAXIMUM_BODY: usize = 256 * 1024;

/// Who the servers' logs say it was.
const USER_AGENT: &str = concat!("mcp-oauth-doctor/", env!("CARGO_PKG_VERSION"));

/// Sends requests.
#[derive(Debug)]
pub(crate) struct Probe {
    http: Client,
    pub(crate) certificates: Arc<Recorder>,
    timeout: Duration,
    /// How far each host's clock is from this one's, in seconds, where it is ahead.
    pub(crate) clocks: BTreeMap<String, i64>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Up to [`MAXIMUM_BODY`] and one byte more; of a stream of events, what came in time.
    pub(crate) body: Vec<u8>,
    /// Whether a stream of events gave anything in time. Other bodies are always there.
    pub(crate) began: bool,
}

impl Probe {
    /// One that trusts the platform's roots and these.
    pub(crate) fn new(roots: Vec<CertificateDer<'static>>, timeout: Duration) -> anyhow::Result<Self> {
        let provider = Arc::new(default_provider());
        let certificates = Arc::new(Recorder::new(roots, provider.clone())?);
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(DEFAULT_VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(certificates.clone())
            .with_no_client_auth();
        let http = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self {
            http,
            certificates,
            timeout,
            clocks: BTreeMap::new(),
        })
    }

    /// How long it waits.
    pub(crate) fn seconds(&self) -> u64 {
        self.timeout.as_secs()
    }

    pub(crate) async fn get(&mut self, url: &Url, headers: &[(&str, &str)]) -> Result<Answer, Problem> {
        self.send(Method::GET, url, headers, None).await
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, Problem> {
        let mut request = self.http.request(method, url.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let late = || Problem::Timeout {
            url: url.to_string(),
            seconds: self.timeout.as_secs(),
        };
        let response = match timeout(self.timeout, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(why(url, &error)),
            Err(_) => return Err(late()),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let streams = content_type(&headers).starts_with("text/event-stream");
        let read = timeout(self.timeout, read(response, streams)).await;
        let answer = match read {
            Ok(Ok(body)) => Answer {
                status,
                headers,
                body,
                began: true,
            },
            Ok(Err(error)) => return Err(why(url, &error)),
            Err(_) if streams => Answer {
                status,
                headers,
                body: Vec::new(),
                began: false,
            },
            Err(_) => return Err(late()),
        };
        self.note_clock(url, &answer);
        Ok(answer)
    }

    fn note_clock(&mut self, url: &Url, answer: &Answer) {
        let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        if let (Some(host), Some(date)) = (url.host_str(), date) {
            let now = SystemTime::now();
            let seconds = |difference: Duration| i64::try_from(difference.as_secs()).unwrap_or(i64::MAX);
            let ahead = match date.duration_since(now) {
                Ok(ahead) => seconds(ahead),
                Err(behind) => -seconds(behind.duration()),
            };
            self.clocks.entry(host.to_owned()).or_insert(ahead);
        }
    }
}

/// Of a stream, which need not end, only the beginning.
async fn read(mut response: reqwest::Response, streams: bool) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = (MAXIMUM_BODY + 1).saturating_sub(body.len());
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        let has_event = || body.windows(2).any(|end| end == b"\n\n") || body.windows(4).any(|end| end == b"\r\n\r\n");
        if body.len() > MAXIMUM_BODY || (streams && has_event()) {
            break;
        }
    }
    Ok(body)
}

/// Why there was no answer.
fn why(url: &Url, error: &reqwest::Error) -> Problem {
    let host = authority(url);
    let mut source = error.source();
    let mut last = error.to_string();
    while let Some(inner) = source {
        last = inner.to_string();
        if last.starts_with("dns error") || last.contains("failed to lookup address") {
            return Problem::UnknownHost { host };
        }
        // What TLS has to say comes inside of an error of the system's.
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return Problem::ConnectionRefused { host };
            }
            if let Some(tls) = within(io) {
                return no_tls(host, tls);
            }
        }
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return no_tls(host, tls);
        }
        source = inner.source();
    }
    Problem::Unreachable {
        url: url.to_string(),
        reason: last,
    }
}

/// What TLS has to say in an error of the system's, which may be in another one.
fn within(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| within(inner.downcast_ref()?))
}

fn no_tls(host: String, error: &rustls::Error) -> Problem {
    let reason = match error {
        rustls::Error::InvalidMessage(_) => "what answers there does not speak TLS".to_owned(),
        other => other.to_string(),
    };
    Problem::NoTls { host, reason }
}

/// Host and port, as far as it is written.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_ascii_lowercase()
}

impl Answer {
    /// A header's text, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Where a redirect leads.
    pub(crate) fn location(&self, from: &Url) -> Option<Url> {
        if !self.status.is_redirection() {
            return None;
        }
        from.join(self.header(LOCATION.as_str())).ok()
    }

    /// Whether it is a page for people.
    pub(crate) fn is_html(&self) -> bool {
        let begins = self.body.trim_ascii_start();
        let begins = begins[..begins.len().min(15)].to_ascii_lowercase();
        content_type(&self.headers).contains("html")
            || begins.starts_with(b"<!doctype html")
            || begins.starts_with(b"<html")
    }
}
