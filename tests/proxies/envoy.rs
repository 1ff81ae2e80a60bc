//! Envoy by `ext_authz` over HTTP, as its documentation has it. Paths are not normalised, which makes it harder.

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use crate::doubles::{self, Passing, remove_hop_by_hop};
use crate::promises;
use crate::site::Site;

struct Envoy {
    manager: Value,
    clusters: Vec<Value>,
}

/// Whether a list of matchers has this name.
fn matches(patterns: &Value, name: &str) -> bool {
    let patterns = patterns["patterns"].as_array().unwrap();
    patterns
        .iter()
        .any(|pattern| pattern["exact"].as_str().unwrap().eq_ignore_ascii_case(name))
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &Value) {
    headers.insert(name, HeaderValue::from_str(value.as_str().unwrap()).unwrap());
}

impl Envoy {
    fn read(text: &str) -> Self {
        let mut file: Value = serde_json::from_str(text).unwrap();
        let manager = file["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"].take();
        let clusters = file["static_resources"]["clusters"].as_array().unwrap().clone();
        Self { manager, clusters }
    }

    fn cluster(&self, name: &Value) -> String {
        let cluster = self.clusters.iter().find(|cluster| cluster["name"] == *name).unwrap();
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        let address = &endpoint["address"]["socket_address"];
        format!(
            "http://{}:{}",
            address["address"].as_str().unwrap(),
            address["port_value"]
        )
    }

    fn filter(&self, name: &str) -> &Value {
        let filters = self.manager["http_filters"].as_array().unwrap();
        &filters.iter().find(|filter| filter["name"] == name).unwrap()["typed_config"]
    }

    /// The first route that fits.
    fn route(&self, passing: &Passing) -> Option<&Value> {
        let hosts = self.manager["route_config"]["virtual_hosts"].as_array().unwrap();
        let fits = |domain: &Value| domain.as_str().unwrap().eq_ignore_ascii_case(&passing.host);
        let host = hosts
            .iter()
            .find(|host| host["domains"].as_array().unwrap().iter().any(fits))?;
        let path = passing.target.split('?').next().unwrap();
        host["routes"].as_array().unwrap().iter().find(|route| {
            let separated = route["match"]["path_separated_prefix"].as_str();
            let separated = separated.and_then(|prefix| path.strip_prefix(prefix));
            let prefix = route["match"]["prefix"].as_str();
            separated.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || prefix.is_some_and(|prefix| path.starts_with(prefix))
        })
    }

    /// Asks; an answer means that it is the client's.
    async fn ask(&self, passing: &mut Passing) -> Option<Response> {
        let filter = self.filter("envoy.filters.http.ext_authz");
        assert_eq!(filter["failure_mode_allow"], false);
        let service = &filter["http_service"];
        let allowed = &service["authorization_request"]["allowed_headers"];
        let mut headers = HeaderMap::new();
        for (name, value) in &passing.headers {
            if *name == header::AUTHORIZATION || matches(allowed, name.as_str()) {
                headers.append(name, value.clone());
            }
        }
        let prefix = service["path_prefix"].as_str().unwrap();
        let target = format!("{prefix}{}", passing.target);
        let to = self.cluster(&service["server_uri"]["cluster"]);
        let (method, host) = (passing.method.clone(), passing.host.clone());
        let response = doubles::send(&to, method, &target, &host, headers, Bytes::new()).await;
        if response.status().is_server_error() {
            assert_eq!(filter["status_on_error"]["code"], "ServiceUnavailable");
            return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        if response.status() != StatusCode::OK {
            return Some(response);
        }
        let upstream = &service["authorization_response"]["allowed_upstream_headers"];
        for (name, value) in response.headers() {
            if matches(upstream, name.as_str()) {
                passing.headers.insert(name, value.clone());
            }
        }
        None
    }

    async fn pass(&self, mut passing: Passing) -> Response {
        let options = &self.manager["common_http_protocol_options"];
        assert_eq!(options["headers_with_underscores_action"], "REJECT_REQUEST");
        if passing.headers.keys().any(|name| name.as_str().contains('_')) {
            return StatusCode::BAD_REQUEST.into_response();
        }
        assert_eq!(self.manager["path_with_escaped_slashes_action"], "REJECT_REQUEST");
        let path = passing.target.split('?').next().unwrap().to_ascii_lowercase();
        if path.contains("%2f") || path.contains("%5c") {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let Some(route) = self.route(&passing) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let per_filter = &route["typed_per_filter_config"];
        let policy = &per_filter["envoy.filters.http.cors"];
        let origin = passing.headers.get(header::ORIGIN).cloned();
        let is_preflight =
            passing.method == Method::OPTIONS && passing.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if let (true, true, Some(origin)) = (policy.is_object(), is_preflight, &origin) {
            let mut response = StatusCode::OK.into_response();
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            set(headers, "access-control-allow-methods", &policy["allow_methods"]);
            set(headers, "access-control-allow-headers", &policy["allow_headers"]);
            set(headers, "access-control-max-age", &policy["max_age"]);
            return response;
        }
        let is_asked = per_filter["envoy.filters.http.ext_authz"]["disabled"] != true;
        let answer = if is_asked { self.ask(&mut passing).await } else { None };
        let mut response = match (answer, route["direct_response"]["status"].as_u64()) {
            (Some(answer), _) => answer,
            (None, Some(status)) => StatusCode::from_u16(status.try_into().unwrap())
                .unwrap()
                .into_response(),
            (None, None) => self.forward(route, passing).await,
        };
        if let (true, Some(origin)) = (policy.is_object(), origin) {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            set(headers, "access-control-expose-headers", &policy["expose_headers"]);
        }
        response
    }

    async fn forward(&self, route: &Value, mut passing: Passing) -> Response {
        for name in route["request_headers_to_remove"].as_array().into_iter().flatten() {
            let name: HeaderName = name.as_str().unwrap().parse().unwrap();
            passing.headers.remove(name);
        }
        remove_hop_by_hop(&mut passing.headers);
        let mut target = passing.target;
        if let Some(rewrite) = route["route"]["prefix_rewrite"].as_str() {
            let prefix = route["match"]["path_separated_prefix"].as_str().unwrap();
            target = format!("{rewrite}{}", target.strip_prefix(prefix).unwrap());
        }
        let to = self.cluster(&route["route"]["cluster"]);
        doubles::send(
            &to,
            passing.method,
            &target,
            &passing.host,
            passing.headers,
            passing.body,
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_envoy_as_it_is_documented_all_promises_hold() {
    let site = Site::start().await;
    let envoy = std::sync::Arc::new(Envoy::read(&site.file("envoy.json")));
    let pass = move |passing| {
        let envoy = std::sync::Arc::clone(&envoy);
        async move { envoy.pass(passing).await }
    };
    doubles::listen(site.proxy, pass).await;
    promises::all(&site).await;
}
