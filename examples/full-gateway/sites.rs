//! What is served at which host.
//!
//! The gateway's own host has the authorization server, and the servers that are paths there. A server with a host of its
//! own has that one: its endpoint, its metadata, and the authorization server's metadata for clients that look there first.
//! Whatever else is asked there is `401` without a token, so that nobody learns what there is. A host that nobody named is
//! not served, as when a page has had its own name point here.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, StatusCode, Uri, header};
use tower::ServiceExt as _;

const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// Servers by their paths at one host.
#[derive(Debug, Default)]
struct Site {
    /// Those with the longest paths first.
    servers: Vec<(String, Router)>,
}

impl Site {
    fn find(&self, path: &str) -> Option<&Router> {
        let has = |at: &str| {
            path.strip_prefix(at)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.servers.iter().find(|(at, _)| has(at)).map(|(_, server)| server)
    }

    fn add(&mut self, path: &str, server: Router) {
        self.servers.push((path.to_owned(), server));
        self.servers.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    }
}

/// All hosts.
#[derive(Debug)]
pub(crate) struct Sites {
    /// The authorization server, and what everybody may ask.
    main: Router,
    /// What comes behind the host in its address.
    issuer_path: String,
    /// The names of its host.
    names: Vec<String>,
    own: Site,
    others: BTreeMap<String, Site>,
}

impl Sites {
    /// The authorization server alone, at these names.
    pub(crate) fn new(main: Router, issuer_path: &str, names: Vec<String>) -> Self {
        Self {
            main,
            issuer_path: issuer_path.to_owned(),
            names,
            own: Site::default(),
            others: BTreeMap::new(),
        }
    }

    /// Adds a server at a path of the gateway's own host, or of a host of its own. It has to refuse strangers itself.
    pub(crate) fn add(&mut self, host: Option<&str>, path: &str, server: Router) {
        let site = match host {
            None => &mut self.own,
            Some(host) => self.others.entry(host.to_ascii_lowercase()).or_default(),
        };
        site.add(path, server);
    }

    /// The hosts that servers have for themselves.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.others.keys().map(String::as_str)
    }

    /// Answers.
    pub(crate) async fn serve(&self, mut request: Request) -> Response {
        let path = request.uri().path();
        // Proxies that ask may call the gateway what they like: they are known by their address.
        if matches!(path, "/verify" | "/verify/refusal") {
            return answer(&self.main, request).await;
        }
        let Some(host) = asked(&mut request) else {
            return elsewhere();
        };
        let path = request.uri().path();
        if let Some(site) = self.others.get(&host) {
            if let Some(document) = self.document(site, path) {
                return answer(&self.main, at(request, &document)).await;
            }
            // Nobody learns what there is, without a token: whatever is no server's is the first one's to refuse.
            return match site
                .find(path)
                .or_else(|| site.servers.first().map(|(_, server)| server))
            {
                Some(server) => answer(server, request).await,
                None => elsewhere(),
            };
        }
        let probed = matches!(path, "/health" | "/ready");
        if probed || self.names.iter().any(|name| name.eq_ignore_ascii_case(&host)) {
            return answer(self.own.find(path).unwrap_or(&self.main), request).await;
        }
        elsewhere()
    }

    /// The path under which the authorization server has the public document that is asked for at a host of its own.
    fn document(&self, site: &Site, path: &str) -> Option<String> {
        if let Some(rest) = path.strip_prefix(PROTECTED_RESOURCE) {
            return match (rest.trim_end_matches('/'), site.servers.as_slice()) {
                ("", [(only, _)]) => Some(format!("{PROTECTED_RESOURCE}{only}")),
                (rest, servers) => {
                    let known = servers.iter().any(|(path, _)| path == rest);
                    known.then(|| format!("{PROTECTED_RESOURCE}{rest}"))
                }
            };
        }
        for document in [AUTHORIZATION_SERVER, OPENID_CONFIGURATION] {
            // Some clients ask with the path of the server, as they would for an issuer with a path.
            if let Some(rest) = path.strip_prefix(document) {
                let known = rest.is_empty() || site.servers.iter().any(|(path, _)| path == rest);
                return known.then(|| format!("{document}{}", self.issuer_path));
            }
        }
        None
    }
}

async fn answer(router: &Router, request: Request) -> Response {
    // Its error cannot be made.
    router.clone().oneshot(request).await.into_response()
}

fn elsewhere() -> Response {
    (StatusCode::MISDIRECTED_REQUEST, "this host is not served here\n").into_response()
}

/// The host that is asked for, in small letters and without a port; nothing if two are named. HTTP/2 names it in the request
/// line; what comes later finds it in the header in any case.
fn asked(request: &mut Request) -> Option<String> {
    let line = request.uri().authority().cloned();
    let mut named = request.headers().get_all(header::HOST).iter();
    let (first, another) = (named.next().cloned(), named.next());
    if another.is_some() {
        return None;
    }
    let header: Option<Authority> = match &first {
        Some(value) => Some(value.to_str().ok()?.parse().ok()?),
        None => None,
    };
    let authority = match (line, header) {
        (Some(line), Some(header)) if line != header => return None,
        (Some(line), None) => {
            let value = HeaderValue::try_from(line.as_str()).ok()?;
            request.headers_mut().insert(header::HOST, value);
            line
        }
        (_, Some(header)) => header,
        (None, None) => return None,
    };
    Some(authority.host().to_ascii_lowercase())
}

/// The same request for another path.
fn at(mut request: Request, path: &str) -> Request<Body> {
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    if let Ok(target) = target.parse::<PathAndQuery>() {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use axum::routing::any;

    use super::*;

    fn named(name: &'static str) -> Router {
        Router::new().fallback(any(move |request: Request| async move {
            format!("{name} {}", request.uri().path())
        }))
    }

    fn sites() -> Sites {
        let names = ["mcp.example.com", "localhost"].map(str::to_owned).to_vec();
        let mut sites = Sites::new(named("main"), "", names);
        sites.add(None, "/notes/mcp", named("notes"));
        sites.add(Some("files.example.com"), "/mcp", named("files"));
        sites.add(Some("two.example.com"), "/a", named("a"));
        sites.add(Some("two.example.com"), "/a/b", named("b"));
        sites
    }

    async fn get(uri: &str, host: &[&str]) -> String {
        let mut request = Request::get(uri).body(Body::empty()).unwrap();
        for host in host {
            request.headers_mut().append("host", host.parse().unwrap());
        }
        let response = sites().serve(request).await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        if status == StatusCode::OK {
            String::from_utf8_lossy(&body).into_owned()
        } else {
            status.as_u16().to_string()
        }
    }

    #[tokio::test]
    async fn a_host_and_a_path_belong_to_one_server() {
        for (path, host, answer) in [
            ("/token", "mcp.example.com", "main /token"),
            ("/token", "MCP.example.com:8443", "main /token"),
            ("/notes/mcp", "localhost:8080", "notes /notes/mcp"),
            ("/notes/mcp/", "localhost", "notes /notes/mcp/"),
            ("/notes/mcpx", "localhost", "main /notes/mcpx"),
            ("/mcp", "files.example.com", "files /mcp"),
            ("/mcp/", "Files.Example.com:443", "files /mcp/"),
            ("/a/c", "two.example.com", "a /a/c"),
            ("/a/b", "two.example.com", "b /a/b"),
            ("/mcp", "mcp.example.com", "main /mcp"),
        ] {
            assert_eq!(get(path, &[host]).await, answer, "{path} at {host}");
        }
    }

    #[tokio::test]
    async fn at_a_host_of_its_own_a_server_refuses_whatever_is_nobodys_and_nothing_is_the_gateways() {
        for path in [
            "/",
            "/token",
            "/authorize",
            "/health",
            "/.well-known/x",
            "/.well-known/oauth-protected-resource/x",
        ] {
            assert_eq!(get(path, &["files.example.com"]).await, format!("files {path}"));
        }
    }

    #[tokio::test]
    async fn the_documents_by_which_clients_find_everything_are_at_each_host() {
        for (path, document) in [
            (
                "/.well-known/oauth-protected-resource",
                "/.well-known/oauth-protected-resource/mcp",
            ),
            (
                "/.well-known/oauth-protected-resource/mcp",
                "/.well-known/oauth-protected-resource/mcp",
            ),
            (
                "/.well-known/oauth-authorization-server",
                "/.well-known/oauth-authorization-server",
            ),
            (
                "/.well-known/oauth-authorization-server/mcp",
                "/.well-known/oauth-authorization-server",
            ),
            ("/.well-known/openid-configuration", "/.well-known/openid-configuration"),
        ] {
            assert_eq!(get(path, &["files.example.com"]).await, format!("main {document}"));
        }
        let doubtful = get("/.well-known/oauth-protected-resource", &["two.example.com"]).await;
        assert!(!doubtful.starts_with("main"), "{doubtful}");
    }

    #[tokio::test]
    async fn a_host_that_nobody_named_or_that_is_in_doubt_is_not_served() {
        assert_eq!(get("/token", &["evil.example"]).await, "421");
        assert_eq!(get("/mcp", &["evil.example"]).await, "421");
        assert_eq!(get("/token", &[]).await, "421");
        assert_eq!(get("/token", &["mcp.example.com", "mcp.example.com"]).await, "421");
        assert_eq!(
            get("https://mcp.example.com/token", &["files.example.com"]).await,
            "421"
        );
        assert_eq!(get("https://mcp.example.com/token", &[]).await, "main /token");
    }

    #[tokio::test]
    async fn proxies_that_ask_and_probes_may_call_it_what_they_like() {
        assert_eq!(get("/verify", &["gateway:8080"]).await, "main /verify");
        assert_eq!(get("/ready", &["10.0.0.7:8080"]).await, "main /ready");
    }
}
