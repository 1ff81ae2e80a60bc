//! Client identifiers that are URLs, and the documents behind them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::client::client_id_url::ClientIdUrl;
use mcp_oauth_core::client::metadata_document::MetadataDocument;
use mcp_oauth_core::client::redirect_uri_policy::RedirectUriPolicy;
use mcp_oauth_core::client::registration::TokenEndpointAuthMethod;

fuzz_target!(|input: (&str, &[u8])| {
    let (text, body) = input;
    if let Ok(client_id) = text.parse::<ClientIdUrl>() {
        let url = client_id.url();
        assert_eq!((url.as_str(), client_id.client_id().as_str()), (text, text));
        assert!(ClientIdUrl::is_meant_by(text));
        assert!(url.scheme() == "https" && url.fragment().is_none());
        assert!(url.username().is_empty() && url.password().is_none());
        assert!(!client_id.host().is_empty());
    }
    let own: ClientIdUrl = "https://c.example/m".parse().expect("a good identifier");
    if let Ok(document) = MetadataDocument::parse(&own, body, &RedirectUriPolicy::default()) {
        let members: serde_json::Value = serde_json::from_slice(body).expect("an object");
        assert_eq!(members["client_id"], own.client_id().as_str());
        assert!(members.get("client_secret").is_none());
        assert_eq!(
            document.metadata().token_endpoint_auth_method,
            TokenEndpointAuthMethod::None
        );
        assert!(!document.metadata().redirect_uris.is_empty());
    }
});
