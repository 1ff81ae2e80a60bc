//! Where codes may be sent, as the operator has it.

use mcp_oauth_core::client::redirect_uri_policy::{Localhost, RedirectUriPolicy, WELL_KNOWN_APPS};
use mcp_oauth_core::client::registration_policy::RegistrationPolicy;
use mcp_oauth_core::server::builder::ConfigurationError;
use mcp_oauth_tests::application::Application;
use mcp_oauth_tests::client::Client;
use mcp_oauth_tower::{AllowList, AuthorizationServer, DevIdentity, MemoryStore, Resource};
use serde_json::json;

fn with(redirect_uris: RedirectUriPolicy) -> Application {
    let mut policy = RegistrationPolicy::default();
    policy.redirect_uris = redirect_uris;
    Application::new(|builder| builder.registration(policy))
}

async fn status(application: &Application, uri: &str) -> (u16, String) {
    let metadata = json!({"redirect_uris": [uri], "token_endpoint_auth_method": "none"});
    let answer = application.post_json("/register", &metadata).await;
    let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), error)
}

async fn registered(application: &Application, uri: &str) -> Client {
    let metadata = json!({"redirect_uris": [uri], "token_endpoint_auth_method": "none"});
    Client::register(application, &metadata).await
}

async fn may_come_back(application: &Application, client: &Client, uri: &str) -> bool {
    let asked = application
        .get(&client.authorization_url(&[("redirect_uri", uri)]))
        .await;
    assert!(asked.header("location").is_empty(), "{asked:?}");
    asked.status == 200
}

fn refused() -> (u16, String) {
    (400, "invalid_redirect_uri".to_owned())
}

/// V-5. Each of them alone, so that nothing else can be at fault.
#[tokio::test]
async fn schemes_that_run_or_read_something_cannot_be_registered_in_any_spelling() {
    let application = with(RedirectUriPolicy::default().allow_well_known_apps());
    for uri in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "java\nscript:alert(1)",
        "\u{1}javascript:alert(1)",
        "javascript://a.example/%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://a.example/x",
        "about:blank",
        "filesystem:https://a.example/x",
        "view-source:https://a.example/",
        "intent://a#Intent;end",
        "ms-msdt:x",
    ] {
        assert_eq!(status(&application, uri).await, refused(), "{uri}");
    }
}

/// V-9 and V-14.
#[tokio::test]
async fn hosts_that_only_look_right_cannot_be_registered_as_loopback_or_confuse_who_is_meant() {
    let application = Application::default();
    for uri in [
        "http://localhost.evil.example/cb",
        "http://localhost@evil.example/cb",
        "http://127.0.0.1@evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost:80@evil.example/cb",
        "http://localhost\\@evil.example/cb",
        "http://localhost%2F@evil.example/cb",
        "https://good.example@evil.example/cb",
        "https://good.example\\@evil.example/cb",
        "https://good.example%2F@evil.example/cb",
        "http://loc\u{430}lhost/cb",
        "http://0.0.0.0/cb",
        "http://[::ffff:127.0.0.1]/cb",
    ] {
        assert_eq!(status(&application, uri).await, refused(), "{uri}");
    }
}

/// V-9, V-11 and V-13.
#[tokio::test]
async fn a_request_has_to_name_what_was_registered_character_by_character() {
    let application = Application::default();
    let client = registered(&application, "https://a.example/cb").await;
    assert!(may_come_back(&application, &client, "https://a.example/cb").await);
    for uri in [
        "https://a.example/c",
        "https://a.example/cb/",
        "https://a.example/cb/../x",
        "https://a.example/cb?x=1",
        "https://a.example/cb#x",
        "https://a.example/CB",
        "https://a.example/%63b",
        "https://A.example/cb",
        "https://a.example./cb",
        "https://a.example:443/cb",
        "https://a.example@evil.example/cb",
        "https://evil.example\\@a.example/cb",
        "https://a.example%2F@evil.example/cb",
        "https://xn--a-0hb.example/cb",
        "http://a.example/cb",
        "HTTPS://a.example/cb",
        " https://a.example/cb",
        "https://a.example/cb ",
    ] {
        assert!(!may_come_back(&application, &client, uri).await, "{uri}");
    }
}

#[tokio::test]
async fn loopback_addresses_may_use_any_port_whatever_counts_for_the_name() {
    for localhost in [Localhost::AnyPort, Localhost::SamePort, Localhost::Refused] {
        let application = with(RedirectUriPolicy::default().localhost(localhost));
        for host in ["127.0.0.1", "[::1]", "127.0.0.2"] {
            let client = registered(&application, &format!("http://{host}:33418/cb")).await;
            for port in ["", ":1", ":65535"] {
                let uri = format!("http://{host}{port}/cb");
                assert!(may_come_back(&application, &client, &uri).await, "{localhost:?} {uri}");
            }
            for uri in [
                format!("http://{host}:1/other"),
                "http://localhost:1/cb".to_owned(),
                format!("https://{host}:33418/cb"),
            ] {
                assert!(!may_come_back(&application, &client, &uri).await, "{localhost:?} {uri}");
            }
        }
    }
}

#[tokio::test]
async fn the_name_localhost_may_use_any_port_or_its_own_or_cannot_be_registered() {
    let (registered_uri, other_port) = ("http://localhost:3118/callback", "http://localhost:49152/callback");
    for (localhost, may) in [(Localhost::AnyPort, true), (Localhost::SamePort, false)] {
        let application = with(RedirectUriPolicy::default().localhost(localhost));
        let client = registered(&application, registered_uri).await;
        assert!(may_come_back(&application, &client, registered_uri).await);
        assert_eq!(
            may_come_back(&application, &client, other_port).await,
            may,
            "{localhost:?}"
        );
    }
    let application = with(RedirectUriPolicy::default().localhost(Localhost::Refused));
    assert_eq!(status(&application, registered_uri).await, refused());
}

#[tokio::test]
async fn a_reverse_domain_scheme_is_taken_and_another_needs_the_operators_word() {
    let plain = Application::default();
    assert_eq!(status(&plain, "com.example.app:/callback").await.0, 201);
    let apps = with(RedirectUriPolicy::default().allow_well_known_apps());
    for app in WELL_KNOWN_APPS {
        assert_eq!(status(&plain, app).await, refused(), "{app}");
        let client = registered(&apps, app).await;
        assert!(may_come_back(&apps, &client, app).await);
        assert!(!may_come_back(&apps, &client, &format!("{app}/x")).await);
        assert_eq!(status(&apps, &format!("{app}/x")).await, refused());
    }
}

#[tokio::test]
async fn the_code_can_be_shown_to_people_unless_the_operator_does_not_want_it() {
    const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";
    assert_eq!(status(&Application::default(), OUT_OF_BAND).await.0, 201);
    let without = with(RedirectUriPolicy::default().out_of_band(false));
    assert_eq!(status(&without, OUT_OF_BAND).await, refused());
}

#[tokio::test]
async fn https_can_be_kept_to_certain_hosts() {
    let application = with(RedirectUriPolicy::default().only_hosts(["claude.ai"]));
    assert_eq!(
        status(&application, "https://claude.ai/api/mcp/auth_callback").await.0,
        201
    );
    assert_eq!(status(&application, "http://127.0.0.1/cb").await.0, 201);
    for uri in [
        "https://evil.example/cb",
        "https://claude.ai.evil.example/cb",
        "https://a.claude.ai/cb",
    ] {
        assert_eq!(status(&application, uri).await, refused(), "{uri}");
    }
}

#[test]
fn an_operator_cannot_allow_what_is_wrong_in_itself() {
    for uri in ["javascript:alert(1)", "https://a.example/#x", "cursor"] {
        let built = AuthorizationServer::builder("http://127.0.0.1:8080")
            .resource(Resource::new("http://127.0.0.1:8080/mcp").unwrap())
            .identity(DevIdentity::default())
            .allow(AllowList::everybody())
            .store(MemoryStore::default())
            .allow_redirect_uri(uri)
            .build();
        assert!(matches!(built, Err(ConfigurationError::RedirectUri(_))), "{uri}");
    }
}
