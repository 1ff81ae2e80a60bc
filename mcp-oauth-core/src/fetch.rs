//! Fetching what somebody else names: one guarded request.
//!
//! Some requests make the server ask another one: a `client_id` that is a URL, a key set that a client publishes. The
//! URL is a stranger's, and the request goes out from inside the operator's network, before anybody has signed in. So
//! everything of this kind goes through a [`Fetcher`], which by [`get`](Fetcher::get) gets public JSON by https and nothing
//! else. For what is no JSON, or no GET, there is [`send`](Fetcher::send), within the same bounds.
//!
//! # What is guarded
//!
//! | a stranger would like | what stands against it |
//! |---|---|
//! | to reach a service inside the network, or the cloud's metadata service | every address of the host is checked against every special-use range ([`address`]), one that fails is enough to refuse the host, and the connection goes to the very addresses that were checked |
//! | to write such an address so that nobody notices | the host is taken from the parsed URL, where `2130706433`, `0x7f.1`, `0177.0.0.1`, `[::ffff:127.0.0.1]` and `127.0.0.1` are addresses and the same one |
//! | to name a public address first and a private one afterwards | names are looked up once for each fetch, by the guard, whose answer is all that the connector gets; connections are not kept for the next fetch |
//! | to send the request on to somewhere else | redirects are not followed, and proxy variables of the environment are not read |
//! | the operator's credentials | none are sent: no cookies, no `Authorization`, no client certificate, no `Referer`; a URL with a user name is refused. (The one exception is an introspection endpoint of the operator's own choice, see [`access`](crate::access)) |
//! | to keep the server busy | five seconds for everything, half of that to connect; a bounded body; nothing is decompressed; 64 fetches at once |
//! | to pass something else off as an answer | the status has to be 200 and the type JSON |
//!
//! What no address tells is whether a public address is one of the operator's own services. Where that matters, wrap
//! the resolver ([`Resolve`]) and leave those out.
//!
//! An error says nothing about addresses. But *that* a name inside the network exists can be told from
//! [`FetchError::SpecialUse`] as against [`FetchError::Unresolved`]; where that is a secret, show strangers the same
//! words for both.
//!
//! # How much is read
//!
//! [`DEFAULT_MAXIMUM_BODY`], 5 KiB, unless said otherwise. That is what the draft for client ID metadata documents
//! recommends (draft-ietf-oauth-client-id-metadata-document-00 §6.6), several times as much as the documents of the
//! well-known clients have, and little enough that a cache of ten thousand is no burden. An operator whose clients
//! publish their keys inside of the document may want [more](Fetcher::maximum_body); 64 KiB is plenty.
//!
//! # Development
//!
//! [`Fetcher::allow_loopback`] lets `http` and `https` URLs through whose host is `localhost` or a loopback address
//! by itself. Another name that leads to a loopback address stays refused, so the switch opens nothing to
//! strangers' names. It is for development and tests alone: whoever can make a server fetch may then reach what
//! listens on its own machine.
//!
//! # Example
//!
//! ```
//! use mcp_oauth_core::fetch::{FetchError, Fetcher, FreshnessBounds};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let fetcher = Fetcher::default();
//! match fetcher.get(&"https://client.example/metadata.json".parse()?).await {
//!     Ok(fetched) => {
//!         let keep_for = fetched.freshness.within(&FreshnessBounds::default());
//!         println!("{} bytes, good for {keep_for:?}", fetched.body.len());
//!     }
//!     Err(error) if error.is_transient() => println!("an older copy will do: {error}"),
//!     Err(error) => println!("it cannot be used: {error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Fetching needs a Tokio runtime with time and I/O enabled.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use tokio::sync::Semaphore;
use url::{Host, Url};

use crate::clock::{Clock, SystemClock};
use crate::issuer::is_loopback;
use crate::telemetry;

pub mod address;
pub(crate) mod bounded;
mod error;
mod freshness;
#[cfg(any(feature = "oidc", feature = "remote-jwks"))]
pub(crate) mod kept;
mod resolve;

pub use error::FetchError;
pub use freshness::{Freshness, FreshnessBounds};
pub use resolve::{Resolve, SystemResolver};

use resolve::Guard;

/// The longest body that is read unless said otherwise, in bytes.
pub const DEFAULT_MAXIMUM_BODY: usize = 5 * 1024;

/// How long a fetch may take unless said otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many fetches may take place at the same time unless said otherwise.
pub const DEFAULT_MAXIMUM_IN_FLIGHT: usize = 64;

/// What belongs to one connection (RFC 9110 §7.6.1) or says where a request goes, and what would have the answer encoded.
const NOT_THE_CALLERS: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Fetches public JSON by https, within bounds. See the [module](self) for what that means.
///
/// Cheap to clone; clones count their fetches together.
#[derive(Clone, Debug)]
pub struct Fetcher {
    guard: Guard,
    timeout: Duration,
    maximum_body: usize,
    in_flight: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    /// Made when it is first needed, since making it reads the operating system's certificates and can fail.
    client: OnceLock<Client>,
}

/// What was fetched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// The body, as it came. That it is JSON is what its sender says.
    pub body: Bytes,
    /// For how long the sender lets it be used. Keep it only if it turns out to be good.
    pub freshness: Freshness,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self {
            guard: Guard {
                resolver: Arc::new(SystemResolver::default()),
                loopback: false,
                private_networks: false,
                trusted: Vec::new(),
            },
            timeout: DEFAULT_TIMEOUT,
            maximum_body: DEFAULT_MAXIMUM_BODY,
            in_flight: Arc::new(Semaphore::new(DEFAULT_MAXIMUM_IN_FLIGHT)),
            clock: Arc::new(SystemClock),
            client: OnceLock::new(),
        }
    }
}

impl Fetcher {
    /// How long a fetch may take, from looking up the name to the last byte: [`DEFAULT_TIMEOUT`] unless said
    /// otherwise. Half of it is for connecting.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self.client = OnceLock::new();
        self
    }

    /// The longest body that is read, in bytes: [`DEFAULT_MAXIMUM_BODY`] unless said otherwise.
    #[must_use]
    pub fn maximum_body(mut self, bytes: usize) -> Self {
        self.maximum_body = bytes;
        self
    }

    /// How many fetches may take place at the same time: [`DEFAULT_MAXIMUM_IN_FLIGHT`] unless said otherwise. Others
    /// fail at once, with [`FetchError::Busy`].
    #[must_use]
    pub fn maximum_in_flight(mut self, fetches: usize) -> Self {
        self.in_flight = Arc::new(Semaphore::new(fetches.min(Semaphore::MAX_PERMITS)));
        self
    }

    /// What finds the addresses of names: the operating system unless said otherwise. What it finds is checked.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.guard.resolver = Arc::new(resolver);
        self.client = OnceLock::new();
        self
    }

    /// What tells the time, which counts for answers that say until when they are good; the operating system unless
    /// said otherwise.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Lets URLs through whose host is `localhost` or a loopback address by itself, by http too. For development and
    /// tests, and never where strangers can reach the server.
    #[must_use]
    pub fn allow_loopback(mut self) -> Self {
        self.guard.loopback = true;
        self.client = OnceLock::new();
        self
    }

    /// Lets hosts through that are in a private network (RFC 1918, RFC 6598, RFC 4193), by https alone. For URLs that the
    /// operator has chosen, such as those of an authorization server of their own, and never for strangers' ones.
    #[must_use]
    pub fn allow_private_networks(mut self) -> Self {
        self.guard.private_networks = true;
        self.client = OnceLock::new();
        self
    }

    /// Lets this very host have any address, a private one too. For a host that the operator has named, such as an identity
    /// provider inside the network, and never for one that a stranger chose; other hosts stay guarded.
    #[must_use]
    pub fn trust_host(mut self, host: impl Into<String>) -> Self {
        self.guard.trusted.push(host.into());
        self.client = OnceLock::new();
        self
    }

    /// Whether loopback URLs are let through.
    #[cfg_attr(
        not(feature = "remote-jwks"),
        allow(dead_code, reason = "for tokens of others, which that feature brings")
    )]
    pub(crate) fn allows_loopback(&self) -> bool {
        self.guard.loopback
    }

    /// Begins a request that is not [`get`](Self::get): one with a body, or with a credential that belongs to whom it is
    /// sent to. Everything else is guarded as ever.
    #[cfg(feature = "oidc")]
    pub(crate) fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, FetchError> {
        let request = self.begin(method, url)?;
        Ok(request.header(ACCEPT, HeaderValue::from_static("application/json")))
    }

    /// Asks `url`, whatever it serves, and hands over the answer, whatever its status: a redirect is an answer too, and is
    /// not followed. For what reads documents on behalf of others, such as a tool that fetches pages.
    ///
    /// The URL, the addresses that its host leads to, the time and the length are guarded as with [`get`](Self::get).
    /// `headers` are the caller's own, and go out as they are; those that belong to the connection or say where the request
    /// goes (`Host`, `Connection`, `Content-Length`, …) are left out, and so is `Accept-Encoding`, since nothing is
    /// decompressed.
    ///
    /// # Errors
    ///
    /// See [`FetchError`]; never [`FetchError::Status`] or [`FetchError::ContentType`].
    ///
    /// # Cancel safety
    ///
    /// As with [`get`](Self::get).
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<http::Response<Bytes>, FetchError> {
        for name in NOT_THE_CALLERS {
            headers.remove(name);
        }
        let request = self.begin(method, url)?.headers(headers).body(body);
        self.exchange(request).await
    }

    fn begin(&self, method: Method, url: &Url) -> Result<RequestBuilder, FetchError> {
        self.admit(url)?;
        let request = self.client()?.request(method, url.clone());
        Ok(request
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            .timeout(self.timeout))
    }

    /// Sends a request that was begun by [`begin`](Self::begin), and reads its answer whatever the status. A redirect is an
    /// answer too.
    pub(crate) async fn exchange(&self, request: RequestBuilder) -> Result<http::Response<Bytes>, FetchError> {
        telemetry::outbound_request("fetcher", self.exchanged(request), FetchError::name).await
    }

    async fn exchanged(&self, request: RequestBuilder) -> Result<http::Response<Bytes>, FetchError> {
        let _in_flight = self.in_flight.try_acquire().map_err(|_| FetchError::Busy)?;
        let response = request.send().await.map_err(FetchError::request)?;
        if is_encoded(response.headers()) {
            return Err(FetchError::ContentEncoding);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = bounded::read(response, self.maximum_body)
            .await
            .map_err(|error| FetchError::read(error, self.maximum_body))?;
        let mut answer = http::Response::new(body.into());
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// Gets `url`, if it may be got: one request, and one answer of status 200 and JSON.
    ///
    /// # Errors
    ///
    /// See [`FetchError`]; [`FetchError::is_transient`] tells whether to try again or to have something changed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection. A lookup by the operating system goes on in its thread until it is
    /// over, and nobody hears of it.
    pub async fn get(&self, url: &Url) -> Result<Fetched, FetchError> {
        self.admit(url)?;
        self.answer(self.client()?.get(url.clone())).await
    }

    /// Sends a form to an endpoint that the operator has named, with the credentials that are meant for it. Guarded as
    /// [`get`](Self::get) is.
    #[cfg_attr(
        not(feature = "remote-jwks"),
        allow(dead_code, reason = "for tokens of others, which that feature brings")
    )]
    pub(crate) async fn post_form(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
        form: String,
    ) -> Result<Fetched, FetchError> {
        self.admit(url)?;
        let mut request = self
            .client()?
            .post(url.clone())
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            )
            .body(form);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.answer(request).await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Fetched, FetchError> {
        telemetry::outbound_request("fetcher", self.fetched(request), FetchError::name).await
    }

    async fn fetched(&self, request: RequestBuilder) -> Result<Fetched, FetchError> {
        let _in_flight = self.in_flight.try_acquire().map_err(|_| FetchError::Busy)?;
        let request = request
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            .timeout(self.timeout);
        let response = request.send().await.map_err(FetchError::request)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::status(response.status()));
        }
        if is_encoded(response.headers()) {
            return Err(FetchError::ContentEncoding);
        }
        if !is_json(response.headers()) {
            return Err(FetchError::ContentType);
        }
        let freshness = Freshness::of(response.headers(), self.clock.now());
        let body = bounded::read(response, self.maximum_body)
            .await
            .map_err(|error| FetchError::read(error, self.maximum_body))?;
        Ok(Fetched {
            body: body.into(),
            freshness,
        })
    }

    /// What can be told from the URL alone. The connector does not ask the guard about a host that is an address, so
    /// that is done here.
    fn admit(&self, url: &Url) -> Result<(), FetchError> {
        match url.scheme() {
            "https" => {}
            "http" if self.guard.loopback && is_loopback(url) => {}
            _ => return Err(FetchError::NotHttps),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(FetchError::Superfluous);
        }
        let host = url.host();
        let address = match host {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        host.map_or(Ok(()), |host| self.guard.check(&host, address))
            .map_err(|_| FetchError::SpecialUse)
    }

    fn client(&self) -> Result<&Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // Other crates of a program may switch on features of reqwest. So what must not happen is switched off here,
        // even where this crate alone would not have it.
        let client = Client::builder()
            .user_agent(bounded::USER_AGENT)
            .dns_resolver(self.guard.clone())
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .http1_only()
            .https_only(!self.guard.loopback)
            .pool_max_idle_per_host(0)
            .connect_timeout(self.timeout / 2)
            .build()
            .map_err(|error| FetchError::NoClient {
                source: error.without_url().into(),
            })?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// Whether the body is in any encoding but its own.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Whether there is one `Content-Type`, which is `application/json` or one that is built upon it (RFC 6839 §3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = only.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    match essence.trim().to_ascii_lowercase().strip_prefix("application/") {
        Some("json") => true,
        Some(subtype) => subtype.strip_suffix("+json").is_some_and(|name| !name.is_empty()),
        None => false,
    }
}
