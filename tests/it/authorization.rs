//! The authorization endpoint: what is put before a person, what goes back to the client, and what goes nowhere.

use mcp_oauth_tests::application::{Application, FILES, ISSUER, request};
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::client::{Client, REDIRECT_URI};
use serde_json::json;

/// The error that the client is told for a request with these changes.
async fn error_at_client(changes: &[(&str, &str)]) -> String {
    let application = Application::default();
    let client = Client::public(&application).await;
    let arrived = arrival(&application.get(&client.authorization_url(changes)).await);
    assert!(arrived.url.as_str().starts_with(REDIRECT_URI), "{}", arrived.url);
    assert_eq!(arrived.parameter("state").as_deref(), Some("state of the client"));
    assert_eq!(arrived.parameter("iss").as_deref(), Some(ISSUER));
    assert_eq!(arrived.parameter("code"), None);
    arrived.parameter("error").unwrap()
}

#[tokio::test]
async fn a_sign_in_arrives_at_the_client_with_code_state_and_issuer() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let arrived = Browser::default()
        .authorize(&application, &client.authorization_url(&[]), "ada")
        .await;
    assert!(arrived.url.as_str().starts_with(REDIRECT_URI));
    assert_eq!(arrived.parameter("state").as_deref(), Some("state of the client"));
    assert_eq!(arrived.parameter("iss").as_deref(), Some(ISSUER));
    assert!(arrived.code().len() > 60);
}

/// Defect S5.
#[tokio::test]
async fn a_request_without_an_s256_challenge_is_an_invalid_request() {
    for changes in [
        &[("code_challenge", ""), ("code_challenge_method", "")][..],
        &[("code_challenge", "")],
        &[("code_challenge_method", "")],
        &[("code_challenge_method", "plain")],
        &[("code_challenge", "too-short")],
    ] {
        assert_eq!(error_at_client(changes).await, "invalid_request", "{changes:?}");
    }
}

/// Defect R10: errors after the redirect URI is known go to the client, encoded, and `state` is not needed for them.
#[tokio::test]
async fn other_response_types_than_code_are_unsupported() {
    for response_type in ["token", "id_token", "code token", "code id_token", "none"] {
        assert_eq!(
            error_at_client(&[("response_type", response_type)]).await,
            "unsupported_response_type"
        );
    }
    assert_eq!(error_at_client(&[("response_type", "")]).await, "invalid_request");
}

/// OAuth 2.1 §7.12.2: whoever registers a client must not be able to have this server send people anywhere.
#[tokio::test]
async fn an_error_for_a_client_on_the_web_is_a_page_with_a_link_and_no_redirect() {
    let application = Application::default();
    let uri = "https://client.example/cb";
    let client = Client::register(
        &application,
        &json!({"redirect_uris": [uri], "token_endpoint_auth_method": "none"}),
    )
    .await;
    for changes in [
        ("response_type", "token"),
        ("code_challenge", ""),
        ("resource", "https://x.example"),
        ("scope", "admin"),
    ] {
        let answer = application
            .get(&client.authorization_url(&[("redirect_uri", uri), changes]))
            .await;
        assert_eq!(answer.status, 400, "{changes:?}");
        assert_eq!(answer.header("location"), "", "{changes:?}");
        let link = answer
            .body
            .split("href=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .replace("&#38;", "&");
        let link: url::Url = link.parse().unwrap();
        assert_eq!(link.host_str(), Some("client.example"));
        let parameter = |name: &str| {
            link.query_pairs()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.into_owned())
        };
        assert_eq!(parameter("state").as_deref(), Some("state of the client"));
        assert_eq!(parameter("iss").as_deref(), Some(ISSUER));
        assert!(parameter("error").is_some());
    }
}

#[tokio::test]
async fn other_response_modes_than_query_are_refused() {
    for mode in ["fragment", "form_post", "jwt"] {
        assert_eq!(error_at_client(&[("response_mode", mode)]).await, "invalid_request");
    }
}

#[tokio::test]
async fn a_state_longer_than_2048_bytes_is_refused_and_not_returned() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let arrived = arrival(
        &application
            .get(&client.authorization_url(&[("state", &"x".repeat(2049))]))
            .await,
    );
    assert_eq!(arrived.parameter("error").as_deref(), Some("invalid_request"));
    assert_eq!(arrived.parameter("state"), None);
}

#[tokio::test]
async fn unknown_resources_and_scopes_are_told_to_the_client() {
    assert_eq!(
        error_at_client(&[("resource", "https://elsewhere.example/mcp")]).await,
        "invalid_target"
    );
    assert_eq!(error_at_client(&[("resource", "not a URL")]).await, "invalid_target");
    assert_eq!(error_at_client(&[("scope", "admin")]).await, "invalid_scope");
}

/// Defect R10.
#[tokio::test]
async fn a_request_needs_no_state_and_gets_none_back() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let url = client.authorization_url(&[("state", "")]);
    let arrived = Browser::default().authorize(&application, &url, "ada").await;
    assert_eq!(arrived.parameter("state"), None);
    assert!(!arrived.code().is_empty());
}

/// Defect R10.
#[tokio::test]
async fn a_state_of_any_characters_comes_back_exactly() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let state = "a&b=c#d%2Fe \u{fc}\"'<svg onload=alert(1)>\r\nx";
    let arrived = Browser::default()
        .authorize(&application, &client.authorization_url(&[("state", state)]), "ada")
        .await;
    assert_eq!(arrived.parameter("state").as_deref(), Some(state));
    let refused = arrival(
        &application
            .get(&client.authorization_url(&[("state", state), ("scope", "admin")]))
            .await,
    );
    assert_eq!(refused.parameter("state").as_deref(), Some(state));
}

/// Defect R10: a query that was registered stays, and is followed by `&` and not by a second `?`.
#[tokio::test]
async fn a_registered_query_stays_in_the_redirect() {
    let application = Application::default();
    let uri = "https://client.example/cb?tenant=a%20b";
    let client = Client::register(
        &application,
        &json!({"redirect_uris": [uri], "token_endpoint_auth_method": "none"}),
    )
    .await;
    let url = client.authorization_url(&[("redirect_uri", uri)]);
    let arrived = Browser::default().authorize(&application, &url, "ada").await;
    assert!(
        arrived
            .url
            .as_str()
            .starts_with("https://client.example/cb?tenant=a%20b&code="),
        "{}",
        arrived.url
    );
}

#[tokio::test]
async fn an_unknown_client_or_redirect_uri_ends_on_a_page_and_redirects_nowhere() {
    let application = Application::default();
    let client = Client::public(&application).await;
    for changes in [
        &[("client_id", "client_unknown")][..],
        &[("client_id", "")],
        &[("client_id", "<svg onload=alert(1)>")],
        &[("redirect_uri", "https://evil.example/")],
        &[("redirect_uri", "http://127.0.0.1:49152/callback/")],
        &[("redirect_uri", "http://127.0.0.1:49152/callback?x=1")],
        &[("redirect_uri", "http://127.0.0.1:49152/callbac")],
        &[("redirect_uri", "http://127.0.0.1:49152@evil.example/callback")],
        &[("redirect_uri", "javascript:alert(1)")],
    ] {
        let answer = application.get(&client.authorization_url(changes)).await;
        assert_eq!(answer.status, 400, "{changes:?}");
        assert_eq!(answer.header("location"), "", "{changes:?}");
        assert!(
            answer.body.contains("<!doctype html>") && !answer.body.contains("<svg"),
            "{changes:?}"
        );
    }
}

#[tokio::test]
async fn a_repeated_client_or_redirect_uri_ends_on_a_page() {
    let application = Application::default();
    let client = Client::public(&application).await;
    for (name, value) in [
        ("client_id", client.client_id.as_str()),
        ("redirect_uri", "https%3A%2F%2Fevil.example"),
    ] {
        let url = format!("{}&{name}={value}", client.authorization_url(&[]));
        assert_eq!(application.get(&url).await.status, 400, "{name}");
    }
}

#[tokio::test]
async fn a_repeated_other_parameter_is_told_to_the_client() {
    let application = Application::default();
    let client = Client::public(&application).await;
    for name in ["scope", "code_challenge", "response_type", "state"] {
        let url = format!("{}&{name}=x&{name}=x", client.authorization_url(&[]));
        let arrived = arrival(&application.get(&url).await);
        assert_eq!(arrived.parameter("error").as_deref(), Some("invalid_request"), "{name}");
    }
}

#[tokio::test]
async fn the_redirect_uri_may_be_left_out_only_when_one_is_registered() {
    let application = Application::default();
    let client = Client::public(&application).await;
    assert_eq!(
        application
            .get(&client.authorization_url(&[("redirect_uri", "")]))
            .await
            .status,
        200
    );
    let uris =
        json!({"redirect_uris": [REDIRECT_URI, "https://client.example/cb"], "token_endpoint_auth_method": "none"});
    let client = Client::register(&application, &uris).await;
    assert_eq!(
        application
            .get(&client.authorization_url(&[("redirect_uri", "")]))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn a_loopback_client_may_come_back_on_another_port() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let url = client.authorization_url(&[("redirect_uri", "http://127.0.0.1:50001/callback")]);
    let arrived = Browser::default().authorize(&application, &url, "ada").await;
    assert_eq!(arrived.url.port(), Some(50001));
}

#[tokio::test]
async fn without_a_resource_the_default_is_meant_or_else_there_is_no_target() {
    let application = Application::default();
    let client = Client::public(&application).await;
    assert_eq!(
        application
            .get(&client.authorization_url(&[("resource", "")]))
            .await
            .status,
        200
    );

    let application = Application::new(|builder| {
        let other = mcp_oauth_tower::Resource::new("http://127.0.0.1:8080/third").unwrap();
        builder.resource(other).default_resource("http://127.0.0.1:8080/third")
    });
    let client = Client::public(&application).await;
    let consent = application.get(&client.authorization_url(&[("resource", "")])).await;
    assert!(consent.body.contains("http://127.0.0.1:8080/third"));
}

#[tokio::test]
async fn the_consent_page_names_the_client_where_it_goes_and_what_it_may() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let page = application.get(&client.authorization_url(&[])).await;
    for text in [
        "Test client",
        "127.0.0.1",
        "Notes",
        "use your notes",
        "notes:use",
        "the development sign-in",
    ] {
        assert!(page.body.contains(text), "{text} in {}", page.body);
    }
    let files = application.get(&client.authorization_url(&[("resource", FILES)])).await;
    assert!(files.body.contains(FILES) && !files.body.contains("notes:use"));
}

#[tokio::test]
async fn scopes_are_narrowed_to_what_exists_and_never_widened() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let url = client.authorization_url(&[("scope", "notes:use admin offline_access")]);
    let page = application.get(&url).await;
    assert!(page.body.contains("notes:use") && page.body.contains("offline_access") && !page.body.contains("admin"));
}

#[tokio::test]
async fn who_asks_for_no_scope_is_offered_all_that_the_resource_has() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let page = application.get(&client.authorization_url(&[("scope", "")])).await;
    assert!(page.body.contains("notes:use") && !page.body.contains("offline_access"));
    let code = client.code(&application, "ada").await;
    assert_eq!(
        client.redeem(&application, &code, &[]).await.json()["scope"],
        "notes:use"
    );
}

#[tokio::test]
async fn a_request_may_come_as_a_form_and_its_query_is_not_read() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let url = client.authorization_url(&[]);
    let (path, query) = url.split_once('?').unwrap();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let asked = |path: &str, body: &str| application.send(request(http::Method::POST, path, &headers, body));
    let page = asked(path, query).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains(r#"name="decision" value="approve""#));
    assert_eq!(asked(&url, "").await.status, 400);
}

/// OAuth 2.1 §4.1.2: whoever could read them could redeem a code that is not theirs.
#[tokio::test]
async fn neither_challenge_nor_verifier_is_in_any_answer() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let mut browser = Browser::default();
    let consent = browser.open(&application, &client.authorization_url(&[])).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    let returned = browser.sign_in(&application, &approved, "ada").await;
    let tokens = client.redeem(&application, &arrival(&returned).code(), &[]).await;
    for answer in [consent, approved, returned, tokens] {
        let everything = format!("{:?} {}", answer.headers, answer.body);
        assert!(!everything.contains(&client.challenge()) && !everything.contains(&client.verifier));
    }
}

#[tokio::test]
async fn an_out_of_band_client_gets_its_code_shown() {
    let application = Application::default();
    let uri = "urn:ietf:wg:oauth:2.0:oob";
    let client = Client::register(
        &application,
        &json!({"redirect_uris": [uri], "token_endpoint_auth_method": "none"}),
    )
    .await;
    let mut browser = Browser::default();
    let arrived = browser
        .authorize(&application, &client.authorization_url(&[("redirect_uri", uri)]), "ada")
        .await;
    let page = browser.open(&application, arrived.url.as_str()).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains(&arrived.code()));
    assert_eq!(
        client
            .redeem(&application, &arrived.code(), &[("redirect_uri", uri)])
            .await
            .status,
        200
    );
}
