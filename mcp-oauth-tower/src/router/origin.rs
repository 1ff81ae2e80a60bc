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
        if endpoints.proxies.disregard(peer, &parts.headers) {
            endpoints.unbelieved.call_once(|| {
                tracing::warn!(
                    peer = peer.map(tracing::field::display),
                    "somebody who is no trusted proxy says where a request comes from, which is not believed: if it is a \
                     proxy of yours, put it on the list, or everybody behind it counts as one"
                );
            });
        }
        Ok(Self(endpoints.proxies.origin_of(peer, &parts.headers)))
    }
}
