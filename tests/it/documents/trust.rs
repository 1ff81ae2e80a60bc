//! Whose documents are read.

use mcp_oauth_core::client::host_policy::HostPolicy;
use mcp_oauth_tests::application::Application;
use mcp_oauth_tower::Fetcher;

use super::Published;

#[tokio::test]
async fn a_host_that_is_not_trusted_is_told_to_the_person_and_asked_nothing() {
    for hosts in [
        HostPolicy::only(["claude.ai", "*.example.com"]).unwrap(),
        HostPolicy::all_but(["127.0.0.1"]).unwrap(),
    ] {
        let published = Published::trusting(hosts).await;
        published.publishes(&published.document()).await;
        let page = published.application.get(&published.authorization_url()).await;
        assert_eq!((page.status.as_u16(), page.header("location")), (400, ""));
        assert!(
            page.body
                .contains("does not let clients in that are published by 127.0.0.1"),
            "{}",
            page.body
        );
        assert_eq!(published.fetches().await, 0);
    }
    let published = Published::trusting(HostPolicy::only(["127.0.0.1"]).unwrap()).await;
    published.publishes(&published.document()).await;
    assert_eq!(
        published.application.get(&published.authorization_url()).await.status,
        200
    );
}

#[tokio::test]
async fn a_host_that_is_not_trusted_any_more_refreshes_nothing() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    let tokens = published.sign_in().await;
    let stricter = Application::with(
        published.application.store.clone(),
        published.application.clock.clone(),
        |builder| {
            builder
                .client_id_metadata_documents(Fetcher::default())
                .trust_client_hosts(HostPolicy::only(["claude.ai"]).unwrap())
        },
    );
    let refreshed = published.client.refresh(&stricter, &tokens.refresh_token, &[]).await;
    assert_eq!(
        (refreshed.status.as_u16(), refreshed.error().as_str()),
        (401, "invalid_client")
    );
}
