//! An MCP server that reads web pages for a model, and cannot be talked into reading anything else.
//!
//! What is fetched is named by a model, which may have been told to by the page before. So every request goes through
//! [`Fetcher`], which reaches public addresses by https alone, looks a name up once and connects to what it has checked,
//! and follows no redirect: where a page has moved to is told to the model, whose next call is checked anew. What a
//! site's `robots.txt` keeps programs from is not fetched (`robots`).

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use mcp_oauth_tower::Fetcher;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::CallToolResult;
use rmcp::schemars::JsonSchema;
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use serde::Deserialize;
use url::Url;

use content::Page;
use robots::Robots;

mod content;
mod robots;

/// Who asks, unless the caller says otherwise. The part before the slash is what `robots.txt` files call it.
const AGENT: &str = concat!("mcp-oauth-fetch/", env!("CARGO_PKG_VERSION"));

/// The longest document that is read, in bytes.
const LONGEST_DOCUMENT: usize = 4 * 1024 * 1024;

/// How long a document may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many characters of a text are handed on unless the caller says otherwise.
const LENGTH: usize = 100_000;

/// The server. Clones count their fetches together.
#[derive(Clone, Debug)]
pub(crate) struct FetchServer {
    fetcher: Fetcher,
}

impl FetchServer {
    /// Fetches with this, within the bounds of this server.
    pub(crate) fn new(fetcher: Fetcher) -> Self {
        Self {
            fetcher: fetcher.maximum_body(LONGEST_DOCUMENT).timeout(PATIENCE),
        }
    }

    /// Whether the site lets this agent read `url`.
    async fn permitted(&self, url: &Url, agent: &str) -> Result<bool, String> {
        let mut place = url.clone();
        place.set_path("/robots.txt");
        place.set_query(None);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, header(agent)?);
        let answer = self
            .fetcher
            .send(Method::GET, &place, headers, bytes::Bytes::new())
            .await
            .map_err(|error| format!("robots.txt of that site cannot be read: {error}"))?;
        // RFC 9309 §2.3.1: what is not there forbids nothing; a site in trouble is left alone.
        Ok(match answer.status() {
            StatusCode::OK => Robots::parse(&String::from_utf8_lossy(answer.body())).permit(agent, url),
            status => !status.is_server_error(),
        })
    }
}

/// The arguments of `fetch`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Fetch {
    /// What to fetch: https, and on the public internet.
    url: String,
    #[serde(default)]
    method: Verb,
    /// Headers to send.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// What to send with POST.
    #[serde(default)]
    body: Option<String>,
    /// How many characters of a text to hand on: 100000 unless said otherwise.
    #[serde(default)]
    max_length: Option<usize>,
    /// What to call oneself; `robots.txt` is read under this name.
    #[serde(default)]
    user_agent: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(crate = "rmcp::schemars")]
enum Verb {
    #[default]
    Get,
    Post,
}

fn header(value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value).map_err(|_| "a header may hold visible characters alone".to_owned())
}

impl Fetch {
    fn headers(&self, agent: &str) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, header(agent)?);
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is no name of a header"))?;
            headers.insert(name, header(value)?);
        }
        Ok(headers)
    }
}

#[tool_router]
impl FetchServer {
    #[tool(
        description = "Fetches a page of the public internet: text and HTML as text, pictures as pictures. Redirects are told \
                       and not followed; robots.txt is heeded.",
        annotations(title = "Fetch", open_world_hint = true)
    )]
    async fn fetch(&self, Parameters(arguments): Parameters<Fetch>) -> Result<CallToolResult, String> {
        let url: Url = arguments
            .url
            .parse()
            .map_err(|error| format!("that is no URL ({error}): write one such as https://example.com/page"))?;
        let agent = arguments.user_agent.as_deref().unwrap_or(AGENT);
        if !self.permitted(&url, agent).await? {
            return Err("robots.txt of that site keeps programs from this page".to_owned());
        }
        let (method, body) = match (arguments.method, &arguments.body) {
            (Verb::Get, Some(_)) => return Err("GET has no body: use POST".to_owned()),
            (Verb::Get, None) => (Method::GET, String::new()),
            (Verb::Post, body) => (Method::POST, body.clone().unwrap_or_default()),
        };
        let answer = self
            .fetcher
            .send(method, &url, arguments.headers(agent)?, body.into())
            .await
            .map_err(|error| error.to_string())?;
        let text = |name: HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let status = answer.status();
        if status.is_redirection() {
            let location = text(LOCATION).and_then(|location| url.join(location).ok());
            let location = location.map_or("elsewhere".to_owned(), |url| url.to_string());
            return Err(format!(
                "the page has moved to {location}: fetch that if it is what you want"
            ));
        }
        if !status.is_success() {
            return Err(format!("the server answered with status {}", status.as_u16()));
        }
        let page = Page::read(text(CONTENT_TYPE).unwrap_or_default(), answer.body())?;
        let content = page.into_content(&url, arguments.max_length.unwrap_or(LENGTH));
        Ok(CallToolResult::success(content))
    }
}

#[tool_handler(name = "fetchs", instructions = "Fetches pages of the public internet.")]
impl ServerHandler for FetchServer {}
