//! The documents that clients find everything else by.

use mcp_oauth_tests::application::{Application, FILES, ISSUER, NOTES};
use mcp_oauth_tower::{AllowList, AuthorizationServer, DevIdentity, MemoryStore, Resource};

/// The server of this issuer, with one resource on the same host.
fn with_one_resource(issuer: &str) -> AuthorizationServer {
    AuthorizationServer::builder(issuer)
        .resource(Resource::new("http://127.0.0.1:8080/mcp").unwrap())
        .identity(DevIdentity::default())
        .allow(AllowList::everybody())
        .store(MemoryStore::default())
        .build()
        .unwrap()
}

/// Defect R3: what is advertised is done.
#[tokio::test]
async fn every_endpoint_that_the_metadata_names_exists() {
    let application = Application::default();
    let metadata = application.get("/.well-known/oauth-authorization-server").await.json();
    let names = [
        "authorization_endpoint",
        "token_endpoint",
        "registration_endpoint",
        "revocation_endpoint",
        "introspection_endpoint",
        "jwks_uri",
    ];
    for (name, value) in metadata.as_object().unwrap() {
        if !name.ends_with("_endpoint") && !name.ends_with("_uri") {
            continue;
        }
        assert!(
            names.contains(&name.as_str()),
            "{name} is advertised and not tested here"
        );
        let path = value.as_str().unwrap().strip_prefix(ISSUER).unwrap();
        let status = application.get(path).await.status;
        assert_ne!(status, 404, "{name}");
    }
}

/// Defect R3.
#[tokio::test]
async fn the_metadata_says_what_clients_insist_on() {
    let application = Application::default();
    let metadata = application.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["issuer"], ISSUER);
    assert_eq!(metadata["response_types_supported"], serde_json::json!(["code"]));
    assert_eq!(
        metadata["code_challenge_methods_supported"],
        serde_json::json!(["S256"])
    );
    assert_eq!(
        metadata["grant_types_supported"],
        serde_json::json!(["authorization_code", "refresh_token"])
    );
    assert_eq!(
        metadata["token_endpoint_auth_methods_supported"],
        serde_json::json!(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"])
    );
    let algorithms = serde_json::json!(["ES256", "EdDSA", "RS256", "PS256"]);
    for endpoint in ["token", "revocation", "introspection"] {
        let name = format!("{endpoint}_endpoint_auth_signing_alg_values_supported");
        assert_eq!(metadata[name], algorithms, "{endpoint}");
    }
    assert!(metadata.get("authorization_grant_profiles_supported").is_none());
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    assert_eq!(
        metadata["scopes_supported"],
        serde_json::json!(["notes:use", "offline_access"])
    );
    assert!(metadata.get("id_token_signing_alg_values_supported").is_none());
    assert!(metadata.as_object().unwrap().values().all(|value| !value.is_null()));
}

#[tokio::test]
async fn the_metadata_is_json_without_empty_lists() {
    let application = Application::default();
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/files/mcp",
    ] {
        let answer = application.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, "application/json")
        );
        for (name, value) in answer.json().as_object().unwrap() {
            assert_ne!(*value, serde_json::json!([]), "{name} of {path}");
        }
    }
}

#[tokio::test]
async fn the_openid_alias_says_the_same_and_what_openid_requires() {
    let application = Application::default();
    let metadata = application.get("/.well-known/oauth-authorization-server").await.json();
    let alias = application.get("/.well-known/openid-configuration").await.json();
    for (name, value) in metadata.as_object().unwrap() {
        assert_eq!(&alias[name], value, "{name}");
    }
    assert_eq!(alias["subject_types_supported"], serde_json::json!(["public"]));
    assert_eq!(
        alias["id_token_signing_alg_values_supported"],
        serde_json::json!(["ES256"])
    );
}

/// Defect R2: the document of one issuer is served at the places of that issuer and nowhere else.
#[tokio::test]
async fn an_issuer_with_a_path_is_found_in_each_place_where_clients_look() {
    let server = with_one_resource("http://127.0.0.1:8080/tenant");
    let get = |path: &'static str| {
        let router = mcp_oauth_tower::router(&server);
        async move {
            let request = http::Request::builder()
                .uri(path)
                .body(axum::body::Body::empty())
                .unwrap();
            tower::ServiceExt::oneshot(router, request).await.unwrap()
        }
    };
    for path in [
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
    ] {
        let response = get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap()
            .to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["issuer"], "http://127.0.0.1:8080/tenant");
        assert_eq!(body["token_endpoint"], "http://127.0.0.1:8080/tenant/token");
    }
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/other",
    ] {
        assert_eq!(get(path).await.status(), 404, "{path}");
    }
    assert_eq!(get("/tenant/jwks").await.status(), 200);
}

/// Defect R1.
#[tokio::test]
async fn each_resource_has_its_own_document_without_a_token() {
    let application = Application::default();
    for (path, resource) in [("/notes/mcp", NOTES), ("/files/mcp", FILES)] {
        let answer = application
            .get(&format!("/.well-known/oauth-protected-resource{path}"))
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.json()["resource"], resource);
        assert_eq!(answer.json()["authorization_servers"], serde_json::json!([ISSUER]));
    }
    let scopes = application
        .get("/.well-known/oauth-protected-resource/notes/mcp")
        .await
        .json();
    assert_eq!(scopes["scopes_supported"], serde_json::json!(["notes:use"]));
}

#[tokio::test]
async fn with_a_single_resource_its_document_is_at_the_root_too() {
    let server = with_one_resource("http://127.0.0.1:8080");
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let request = http::Request::builder()
            .uri(path)
            .body(axum::body::Body::empty())
            .unwrap();
        let response = tower::ServiceExt::oneshot(mcp_oauth_tower::router(&server), request)
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap()
            .to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["resource"], "http://127.0.0.1:8080/mcp");
    }
}

#[tokio::test]
async fn resources_that_share_a_path_are_told_apart_by_host() {
    let application = Application::new(|builder| {
        builder
            .resource(Resource::new("https://a.example/mcp").unwrap().name("A"))
            .resource(Resource::new("https://b.example/mcp").unwrap().name("B"))
    });
    let get = |host: &'static str| {
        let headers = [("host", host)];
        let path = "/.well-known/oauth-protected-resource/mcp";
        application.send(mcp_oauth_tests::application::request(
            http::Method::GET,
            path,
            &headers,
            "",
        ))
    };
    assert_eq!(get("a.example").await.json()["resource"], "https://a.example/mcp");
    assert_eq!(get("b.example").await.json()["resource"], "https://b.example/mcp");
    assert_eq!(get("B.example:443").await.json()["resource"], "https://b.example/mcp");
    assert_eq!(get("b.example").await.header("vary"), "Host");
    assert_eq!(get("evil.example").await.status, 404);
    // HTTP/2 has the host in the request line.
    let url = "https://b.example/.well-known/oauth-protected-resource/mcp";
    assert_eq!(application.get(url).await.json()["resource"], "https://b.example/mcp");
}

#[tokio::test]
async fn what_is_not_there_is_a_404_in_json() {
    let application = Application::default();
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/oauth-authorization-server/notes/mcp",
        "/.well-known/openid-configuration/notes/mcp",
    ] {
        let answer = application.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(answer.json()["error"].is_string());
    }
}

/// A redirect to what looks like a path would lead to another host.
#[tokio::test]
async fn a_path_that_begins_with_two_slashes_is_redirected_nowhere() {
    let application = Application::default();
    for path in [
        "//evil.example/.well-known/oauth-authorization-server",
        "//evil.example/.well-known/oauth-protected-resource/notes/mcp/",
        "/.well-known/oauth-authorization-server/",
        "/token/",
    ] {
        let answer = application.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (404, ""), "{path}");
    }
}

#[tokio::test]
async fn no_header_changes_what_the_documents_say() {
    let application = Application::default();
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/notes/mcp",
        "/jwks",
    ] {
        let plain = application.get(path).await;
        let headers = [
            ("host", "evil.example"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "host=evil.example;proto=https"),
        ];
        let spoofed = application
            .send(mcp_oauth_tests::application::request(
                http::Method::GET,
                path,
                &headers,
                "",
            ))
            .await;
        assert_eq!(plain.body, spoofed.body, "{path}");
    }
}

#[tokio::test]
async fn the_keys_are_public_and_named_by_the_tokens() {
    use base64::Engine as _;
    for (algorithm, name) in [
        (mcp_oauth_core::token::keys::Algorithm::Es256, "ES256"),
        (mcp_oauth_core::token::keys::Algorithm::EdDsa, "EdDSA"),
        (mcp_oauth_core::token::keys::Algorithm::Rs256, "RS256"),
    ] {
        let application = Application::new(|builder| builder.signing_algorithm(algorithm));
        let keys = application.get("/jwks").await.json();
        let key = &keys["keys"][0];
        assert_eq!(
            (&key["alg"], &key["use"]),
            (&serde_json::json!(name), &serde_json::json!("sig"))
        );
        for private in ["d", "p", "q", "k"] {
            assert!(key.get(private).is_none(), "{private}");
        }
        let client = mcp_oauth_tests::client::Client::public(&application).await;
        let token = client.sign_in(&application, "ada").await.access_token;
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(token.split('.').next().unwrap())
            .unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["kid"], key["kid"]);
        assert_eq!(
            (header["alg"].as_str(), header["typ"].as_str()),
            (Some(name), Some("at+jwt"))
        );
        assert_eq!(application.call(NOTES, &token).await.status, 200);
    }
}

#[tokio::test]
async fn a_script_of_any_origin_may_read_the_documents_and_not_the_authorization_endpoint() {
    let application = Application::default();
    let preflight = |path: &'static str| {
        let headers = [
            ("origin", "https://inspector.example"),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,content-type,mcp-protocol-version",
            ),
        ];
        application.send(mcp_oauth_tests::application::request(
            http::Method::OPTIONS,
            path,
            &headers,
            "",
        ))
    };
    for path in [
        "/token",
        "/revoke",
        "/introspect",
        "/register",
        "/.well-known/oauth-authorization-server",
        "/jwks",
        "/notes/mcp",
    ] {
        let answer = preflight(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), "", "{path}");
    }
    for path in ["/authorize", "/consent"] {
        assert_eq!(
            preflight(path).await.header("access-control-allow-origin"),
            "",
            "{path}"
        );
    }
}
