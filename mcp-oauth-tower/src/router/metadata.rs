//! The documents that clients find everything else by.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use mcp_oauth_core::error::{ErrorCode, OAuthError};
use mcp_oauth_core::resource::Resource;
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::token::keys::JWKS_MAXIMUM_AGE;

use super::{Endpoints, answer, host};

const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// The well-known documents. The segment goes between host and path (RFC 8414 §3.1, RFC 9728 §3.1); for an issuer
/// with a path, OpenID clients also look behind it.
pub(super) fn well_known(server: &AuthorizationServer) -> Router<Endpoints> {
    let issuer_path = server.issuer().path();
    let mut router = Router::new()
        .route(
            &format!("{AUTHORIZATION_SERVER}{issuer_path}"),
            get(authorization_server),
        )
        .route(
            &format!("{OPENID_CONFIGURATION}{issuer_path}"),
            get(openid_configuration),
        );
    if !issuer_path.is_empty() {
        router = router.route(
            &format!("{issuer_path}{OPENID_CONFIGURATION}"),
            get(openid_configuration),
        );
    }

    // Resources of several hosts can share a path; which one is meant then depends on the host that was asked.
    let mut by_path: BTreeMap<String, Vec<Resource>> = BTreeMap::new();
    for resource in server.resources() {
        by_path
            .entry(resource.metadata_url().path().to_owned())
            .or_default()
            .push(resource.clone());
    }
    // Clients that look at the root alone find the document there, as long as there is no doubt which one it would
    // be.
    if let ([only], false) = (server.resources(), by_path.contains_key(PROTECTED_RESOURCE)) {
        by_path.insert(PROTECTED_RESOURCE.to_owned(), vec![only.clone()]);
    }
    let has_root_document = by_path.contains_key(PROTECTED_RESOURCE);
    for (path, resources) in by_path {
        let handler = move |State(endpoints): State<Endpoints>, uri: Uri, headers: HeaderMap| async move {
            let mut response = match asked_for(&resources, &uri, &headers) {
                Some(resource) => answer::public(&endpoints.server.resource_metadata(resource)),
                None => not_found().await,
            };
            if resources.len() > 1 {
                response
                    .headers_mut()
                    .insert(header::VARY, HeaderValue::from_static("Host"));
            }
            response
        };
        router = router.route(&path, get(handler));
    }

    // A page in place of a 404 makes clients give up instead of trying the next place.
    for document in [AUTHORIZATION_SERVER, OPENID_CONFIGURATION, PROTECTED_RESOURCE] {
        router = router.route(&format!("{document}/{{*rest}}"), any(not_found));
    }
    if !has_root_document {
        router = router.route(PROTECTED_RESOURCE, any(not_found));
    }
    router
}

/// Which of the resources that share a path is meant. Only the host is compared: a proxy may have changed the port.
fn asked_for<'a>(resources: &'a [Resource], uri: &Uri, headers: &HeaderMap) -> Option<&'a Resource> {
    if let [only] = resources {
        return Some(only);
    }
    let host = host::asked(uri, headers)?;
    resources.iter().find(|resource| {
        let known = resource.uri().url().host_str();
        known.is_some_and(|known| known.eq_ignore_ascii_case(&host))
    })
}

async fn authorization_server(State(endpoints): State<Endpoints>) -> Response {
    answer::public(&endpoints.server.metadata())
}

async fn openid_configuration(State(endpoints): State<Endpoints>) -> Response {
    answer::public(&endpoints.server.openid_configuration())
}

/// The key set. Whoever has it already (`If-None-Match`) is told so in a few bytes.
pub(super) async fn jwks(State(endpoints): State<Endpoints>, headers: HeaderMap) -> Response {
    let document = match endpoints.server.jwks().await {
        Ok(document) => document,
        Err(error) => return answer::error(&error.into()),
    };
    let known = is_known(&headers, document.entity_tag());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], document.body().clone()).into_response()
    };
    let maximum_age = format!("public, max-age={}", JWKS_MAXIMUM_AGE.as_secs());
    for (name, value) in [
        (header::CACHE_CONTROL, &*maximum_age),
        (header::ETAG, document.entity_tag()),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Whether the caller has the document with this tag. The comparison is the weak one (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, entity_tag: &str) -> bool {
    let conditions = headers.get_all(header::IF_NONE_MATCH).iter();
    let tags = conditions
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    tags.map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == entity_tag)
}

async fn not_found() -> Response {
    let error = OAuthError::new(ErrorCode::InvalidRequest, "there is no such document on this server");
    answer::error_with_status(StatusCode::NOT_FOUND, &error)
}
