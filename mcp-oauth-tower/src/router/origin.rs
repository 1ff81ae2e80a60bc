//! Where a request comes from, as the endpoints are told.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::request::Parts;
use mcp_oauth_core::origin::Origin;

use super::Endpoints;

/// The origin of a request, as far as it can be trusted.
pub(super) struct RequestOrigin(pub(super) Origin);

impl FromRequestParts<Endpoints> for RequestOrigin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, endpoints: &Endpoints) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(address)| address.ip());
        Ok(Self(endpoints.proxies.origin_of(peer, &parts.headers)))
    }
}
