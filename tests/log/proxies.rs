//! Somebody who is no trusted proxy says where requests come from.

use http::Method;
use mcp_oauth_tests::application::{Application, TRUSTED_PROXY, request};

/// What the log says of it, once for each application.
pub(crate) const DISREGARDED: &str = "somebody who is no trusted proxy says where a request comes from";

/// Three strangers, and a proxy that is believed.
pub(crate) async fn disregarded() {
    let application = Application::default();
    for (peer, header) in [
        (TRUSTED_PROXY, "x-forwarded-for"),
        ("192.0.2.1", "x-forwarded-for"),
        ("192.0.2.2", "x-forwarded-for"),
        ("192.0.2.3", "forwarded"),
    ] {
        let request = request(Method::GET, "/authorize", &[(header, "198.51.100.1")], "");
        assert_eq!(application.send_from(peer, request).await.status, 400);
    }
}
