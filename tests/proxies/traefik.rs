//! Traefik by `forwardAuth`, as its documentation has it: which router takes a request, what a middleware does with it, and
//! what is asked. Where versions differ, the double does what makes it harder: paths are not sanitised, routers match the
//! decoded path, and headers that `Connection` names are taken away last.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use regex::Regex;
use serde::Deserialize;

use crate::doubles::{self, Passing, remove_hop_by_hop, remove_named_by_connection};
use crate::promises;
use crate::site::Site;

use rule::Rule;

mod rule;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dynamic {
    pub(crate) http: Http,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    routers: BTreeMap<String, Route>,
    services: BTreeMap<String, Service>,
    middlewares: BTreeMap<String, Middleware>,
    /// Where requests come in, which no file of the provider says.
    #[serde(skip)]
    pub(crate) entry_point: EntryPoint,
}

/// Where requests come in.
#[derive(Debug)]
pub(crate) struct EntryPoint {
    /// As routers call it.
    pub(crate) name: &'static str,
    pub(crate) scheme: &'static str,
    /// What every router here begins with.
    pub(crate) middlewares: Vec<String>,
}

impl Default for EntryPoint {
    fn default() -> Self {
        Self {
            name: "mcp",
            scheme: "http",
            middlewares: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Route {
    rule: Rule,
    service: String,
    #[serde(default)]
    middlewares: Vec<String>,
    priority: Option<usize>,
    /// All of them, if none is named.
    #[serde(default)]
    entry_points: Vec<String>,
    tls: Option<Tls>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Tls {
    #[serde(rename = "certResolver")]
    _certificate_resolver: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Service {
    load_balancer: LoadBalancer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadBalancer {
    servers: Vec<Server>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Middleware {
    ForwardAuth(ForwardAuth),
    Headers(Headers),
    StripPrefix(StripPrefix),
    IpAllowList(IpAllowList),
    RedirectRegex(RedirectRegex),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedirectRegex {
    regex: String,
    replacement: String,
    permanent: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ForwardAuth {
    address: String,
    trust_forward_header: bool,
    auth_response_headers_regex: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "they are Traefik's names")]
struct Headers {
    access_control_allow_origin_list: Vec<String>,
    access_control_allow_methods: Vec<String>,
    access_control_allow_headers: Vec<String>,
    access_control_expose_headers: Vec<String>,
    access_control_max_age: u64,
    add_vary_header: bool,
    custom_request_headers: BTreeMap<String, String>,
    custom_response_headers: BTreeMap<String, String>,
    sts_seconds: u64,
    content_type_nosniff: bool,
    referrer_policy: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StripPrefix {
    prefixes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct IpAllowList {
    source_range: Vec<String>,
}

impl Route {
    fn takes(&self, passing: &Passing, entry_point: &EntryPoint) -> bool {
        let here = self.entry_points.is_empty() || self.entry_points.iter().any(|name| name == entry_point.name);
        // A router with a certificate takes what comes by https alone, and the other way round.
        here && self.tls.is_some() == (entry_point.scheme == "https") && self.rule.matches(passing)
    }

    /// Longer rules come first, unless something is said.
    fn priority(&self) -> usize {
        self.priority.unwrap_or(self.rule.length)
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.insert(name, HeaderValue::from_str(value).unwrap());
}

impl Headers {
    fn is_for_pages(&self) -> bool {
        !self.access_control_allow_origin_list.is_empty()
    }

    /// The answer to a preflight.
    fn preflight(&self, passing: &Passing) -> Option<Response> {
        let is_preflight = passing.method == Method::OPTIONS
            && passing.headers.contains_key(header::ORIGIN)
            && passing.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight || !self.is_for_pages() {
            return None;
        }
        let mut response = StatusCode::OK.into_response();
        let headers = response.headers_mut();
        set(
            headers,
            "access-control-allow-headers",
            &self.access_control_allow_headers.join(","),
        );
        set(
            headers,
            "access-control-allow-methods",
            &self.access_control_allow_methods.join(","),
        );
        set(
            headers,
            "access-control-max-age",
            &self.access_control_max_age.to_string(),
        );
        self.finish(headers);
        Some(response)
    }

    /// What every answer gets.
    fn finish(&self, headers: &mut HeaderMap) {
        if self.is_for_pages() {
            set(
                headers,
                "access-control-allow-origin",
                &self.access_control_allow_origin_list.join(","),
            );
            set(
                headers,
                "access-control-expose-headers",
                &self.access_control_expose_headers.join(","),
            );
        }
        if self.add_vary_header {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if self.sts_seconds > 0 {
            let value = format!("max-age={}", self.sts_seconds);
            set(headers, "strict-transport-security", &value);
        }
        if self.content_type_nosniff {
            set(headers, "x-content-type-options", "nosniff");
        }
        if !self.referrer_policy.is_empty() {
            set(headers, "referrer-policy", &self.referrer_policy);
        }
        change(&self.custom_response_headers, headers);
    }
}

/// An empty value takes a header away.
fn change(changes: &BTreeMap<String, String>, headers: &mut HeaderMap) {
    for (name, value) in changes {
        let name: HeaderName = name.parse().unwrap();
        if value.is_empty() {
            headers.remove(name);
        } else {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
}

impl RedirectRegex {
    fn answer(&self, passing: &Passing, scheme: &str) -> Option<Response> {
        let url = format!("{scheme}://{}{}", passing.host, passing.target);
        let pattern = Regex::new(&self.regex).unwrap();
        let location = pattern.replace(&url, self.replacement.as_str());
        if location == url {
            return None;
        }
        // GET keeps its method either way.
        let status = if self.permanent {
            StatusCode::MOVED_PERMANENTLY
        } else {
            StatusCode::FOUND
        };
        Some((status, [(header::LOCATION, location.into_owned())]).into_response())
    }
}

impl ForwardAuth {
    /// Asks; an answer means that it is the client's.
    async fn ask(&self, passing: &mut Passing, scheme: &str) -> Option<Response> {
        assert!(!self.trust_forward_header);
        let mut headers = passing.headers.clone();
        remove_named_by_connection(&mut headers);
        remove_hop_by_hop(&mut headers);
        for (name, value) in [
            ("x-forwarded-for", passing.peer.ip().to_string()),
            ("x-forwarded-method", passing.method.to_string()),
            ("x-forwarded-proto", scheme.to_owned()),
            (
                "x-forwarded-port",
                if scheme == "https" { "443" } else { "80" }.to_owned(),
            ),
            ("x-forwarded-host", passing.host.clone()),
            ("x-forwarded-uri", passing.target.clone()),
        ] {
            set(&mut headers, name, &value);
        }
        let (origin, path) = self.address.split_at(self.address.rfind('/').unwrap());
        let host = origin.trim_start_matches("http://");
        let response = doubles::send(origin, Method::GET, path, host, headers, Bytes::new()).await;
        if !response.status().is_success() {
            return Some(response);
        }
        let pattern = Regex::new(&self.auth_response_headers_regex.replacen("^(?i)", "(?i)^", 1)).unwrap();
        let names: Vec<_> = passing
            .headers
            .keys()
            .filter(|name| pattern.is_match(name.as_str()))
            .cloned()
            .collect();
        for name in names {
            passing.headers.remove(name);
        }
        for (name, value) in response.headers() {
            if pattern.is_match(name.as_str()) {
                passing.headers.append(name, value.clone());
            }
        }
        None
    }
}

impl Http {
    pub(crate) async fn pass(&self, mut passing: Passing) -> Response {
        let entry_point = &self.entry_point;
        let taken = self.routers.values().filter(|route| route.takes(&passing, entry_point));
        let Some(route) = taken.max_by_key(|route| route.priority()) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let mut cross_origin = Vec::new();
        let mut answer = None;
        for name in entry_point.middlewares.iter().chain(&route.middlewares) {
            answer = match &self.middlewares[name] {
                Middleware::Headers(headers) => {
                    cross_origin.push(headers);
                    change(&headers.custom_request_headers, &mut passing.headers);
                    headers.preflight(&passing)
                }
                Middleware::ForwardAuth(forward_auth) => forward_auth.ask(&mut passing, entry_point.scheme).await,
                Middleware::RedirectRegex(redirect) => redirect.answer(&passing, entry_point.scheme),
                Middleware::StripPrefix(strip) => {
                    for prefix in &strip.prefixes {
                        if let Some(rest) = passing.target.strip_prefix(prefix.as_str()) {
                            passing.target = rest.to_owned();
                            set(&mut passing.headers, "x-forwarded-prefix", prefix);
                            break;
                        }
                    }
                    None
                }
                Middleware::IpAllowList(list) => {
                    let address = passing.peer.ip().to_string();
                    let listed = list.source_range.iter().any(|range| range.starts_with(&address));
                    (!listed).then(|| StatusCode::FORBIDDEN.into_response())
                }
            };
            if answer.is_some() {
                break;
            }
        }
        let mut response = if let Some(answer) = answer {
            answer
        } else {
            let mut headers = passing.headers;
            remove_named_by_connection(&mut headers);
            remove_hop_by_hop(&mut headers);
            set(&mut headers, "x-forwarded-for", &passing.peer.ip().to_string());
            let to = &self.services[&route.service].load_balancer.servers[0].url;
            doubles::send(
                to,
                passing.method,
                &passing.target,
                &passing.host,
                headers,
                passing.body,
            )
            .await
        };
        for headers in cross_origin {
            headers.finish(response.headers_mut());
        }
        response
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_traefik_as_it_is_documented_all_promises_hold() {
    let site = Site::start().await;
    let dynamic: Dynamic = toml::from_str(&site.file("traefik.toml")).unwrap();
    let http = std::sync::Arc::new(dynamic.http);
    let pass = move |passing| {
        let http = std::sync::Arc::clone(&http);
        async move { http.pass(passing).await }
    };
    doubles::listen(site.proxy, pass).await;
    promises::all(&site).await;
}
