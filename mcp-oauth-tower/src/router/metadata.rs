//! The documents that clients find everything else by.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{any, get};
use http::{HeaderMap, StatusCode, header};
use mcp_oauth_core::error::{ErrorCode, OAuthError};
use mcp_oauth_core::resource::Resource;
use mcp_oauth_core::server::AuthorizationServer;

use super::{Endpoints, answer};

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
    for (path, resources) in by_path {
        let handler = move |State(endpoints): State<Endpoints>, headers: HeaderMap| async move {
            match asked_for(&resources, &headers) {
                Some(resource) => answer::public(&endpoints.server.resource_metadata(resource)),
                None => not_found().await,
            }
        };
        router = router.route(&path, get(handler));
    }

    // A page in place of a 404 makes clients give up instead of trying the next place.
    for document in [AUTHORIZATION_SERVER, OPENID_CONFIGURATION, PROTECTED_RESOURCE] {
        router = router.route(&format!("{document}/{{*rest}}"), any(not_found));
    }
    router
}

fn asked_for<'a>(resources: &'a [Resource], headers: &HeaderMap) -> Option<&'a Resource> {
    if let [only] = resources {
        return Some(only);
    }
    let host = headers.get(header::HOST)?.to_str().ok()?;
    resources
        .iter()
        .find(|resource| resource.uri().url().authority().eq_ignore_ascii_case(host))
}

async fn authorization_server(State(endpoints): State<Endpoints>) -> Response {
    answer::public(&endpoints.server.metadata())
}

async fn openid_configuration(State(endpoints): State<Endpoints>) -> Response {
    answer::public(&endpoints.server.openid_configuration())
}

pub(super) async fn jwks(State(endpoints): State<Endpoints>) -> Response {
    answer::public(&endpoints.server.jwks())
}

async fn not_found() -> Response {
    let error = OAuthError::new(ErrorCode::InvalidRequest, "there is no such document on this server");
    answer::error_with_status(StatusCode::NOT_FOUND, &error)
}
