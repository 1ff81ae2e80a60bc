//! Many documents at once, and clients that are in use meanwhile.

use std::time::Duration;

use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::store::Kind;
use mcp_oauth_store::memory::{Bounds, MemoryStore};
use mcp_oauth_tests::application::Application;
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::failing_store::FailingStore;
use mcp_oauth_tower::Fetcher;
use serde_json::json;
use wiremock::matchers::path_regex;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Published, REDIRECT_URI};

#[tokio::test]
async fn a_flood_of_documents_has_a_shelf_of_its_own_and_clients_in_use_stay() {
    let clock = ManualClock::default();
    let mut bounds = Bounds::default();
    bounds.documents = 10;
    let store = FailingStore::new(MemoryStore::with_bounds(bounds).with_clock(clock.clone()));
    let host = MockServer::start().await;
    let fetcher = Fetcher::default().allow_loopback();
    let application = Application::with(store, clock.clone(), |builder| {
        builder.client_id_metadata_documents(fetcher)
    });
    let client = |number: u32| Client {
        client_id: format!("{}/{number}.json", host.uri()),
        client_secret: None,
        verifier: mcp_oauth_core::secret::Secret::random().expose().to_owned(),
    };
    let uri = host.uri();
    Mock::given(path_regex("^/[0-9]+.json$"))
        .respond_with(move |request: &wiremock::Request| {
            let document = json!({"client_id": format!("{uri}{}", request.url.path()),
                "redirect_uris": ["http://localhost/callback"]});
            ResponseTemplate::new(200).set_body_json(document)
        })
        .mount(&host)
        .await;
    let begin = |client: Client| {
        let application = application.clone();
        async move {
            let url = client.authorization_url(&[("redirect_uri", REDIRECT_URI)]);
            application.get(&url).await.status.as_u16()
        }
    };
    let in_use = client(0);
    let url = in_use.authorization_url(&[("redirect_uri", REDIRECT_URI)]);
    let code = Browser::default().authorize(&application, &url, "ada").await.code();
    let redeemed = in_use
        .redeem(&application, &code, &[("redirect_uri", REDIRECT_URI)])
        .await;
    let tokens = Tokens::of(&redeemed);
    for number in 1..10 {
        assert_eq!(begin(client(number)).await, 200);
    }
    assert_eq!(begin(client(10)).await, 503, "the shelf is full, and says so");
    assert_eq!(begin(client(0)).await, 200, "a client that is known is not affected");
    Tokens::issued_to(&application, "ada").await;
    let refreshed = in_use.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refreshed.status, 200);

    clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(
        begin(client(11)).await,
        200,
        "what nobody has signed in with is soon forgotten"
    );
    let refreshed = in_use
        .refresh(&application, &Tokens::of(&refreshed).refresh_token, &[])
        .await;
    assert_eq!(refreshed.status, 200, "what is in use is not");
    assert_eq!(application.store.inner().count_of(Kind::Document), 2);
}

#[tokio::test]
async fn a_client_is_not_forgotten_between_consent_and_code() {
    for max_age in ["max-age=300", "max-age=7200"] {
        let published = Published::new().await;
        let answer = ResponseTemplate::new(200)
            .set_body_json(published.document())
            .insert_header("cache-control", max_age);
        published.answers(answer).await;
        published.application.get(&published.authorization_url()).await;
        // As late as it can be, and still be remembered.
        published.application.clock.advance(Duration::from_secs(23 * 60 + 30));
        let code = published.code().await;
        published.application.clock.advance(Duration::from_secs(59));
        let redeemed = published
            .client
            .redeem(&published.application, &code, &[("redirect_uri", REDIRECT_URI)])
            .await;
        assert_eq!(redeemed.status, 200, "{max_age}");
    }
}

#[tokio::test]
async fn a_client_is_not_forgotten_while_a_person_takes_their_time() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    let application = &published.application;
    let mut browser = Browser::default();
    let consent = browser.open(application, &published.authorization_url()).await;
    application.clock.advance(Duration::from_secs(599));
    let approved = browser.decide(application, &consent, "approve").await;
    application.clock.advance(Duration::from_secs(599));
    let code = arrival(&browser.sign_in(application, &approved, "ada").await).code();
    application.clock.advance(Duration::from_secs(59));
    let redeemed = published
        .client
        .redeem(application, &code, &[("redirect_uri", REDIRECT_URI)])
        .await;
    assert_eq!(redeemed.status, 200);
}

#[tokio::test]
async fn a_client_that_nobody_signs_in_with_is_forgotten_however_often_its_document_is_read() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    for _ in 0..3 {
        published.application.get(&published.authorization_url()).await;
        published.application.clock.advance(Duration::from_secs(300));
    }
    assert_eq!(published.fetches().await, 3);
    published.application.clock.advance(Duration::from_secs(24 * 60));
    assert_eq!(published.application.store.inner().count_of(Kind::Document), 0);
}
