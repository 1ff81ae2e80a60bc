//! What a client does with its registration: reads, replaces, deletes (RFC 7592). Defect R7.

use std::time::Duration;

use http::Method;
use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::manage::ManagementError;
use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::application::{Answer, Application, ISSUER, NOTES, request};
use mcp_oauth_tests::client::{Client, REDIRECT_URI, public_metadata};
use mcp_oauth_tests::failing_store::Loss;
use serde_json::{Value, json};

/// A registered client with what it manages itself by.
struct Managed {
    application: Application,
    registered: Value,
    path: String,
    token: String,
}

impl Managed {
    async fn new(metadata: &Value) -> Self {
        Self::of(Application::default(), metadata).await
    }

    async fn of(application: Application, metadata: &Value) -> Self {
        let registered = application.post_json("/register", metadata).await.json();
        let path = registered["registration_client_uri"]
            .as_str()
            .unwrap()
            .strip_prefix(ISSUER)
            .unwrap()
            .to_owned();
        let token = registered["registration_access_token"].as_str().unwrap().to_owned();
        Self {
            application,
            registered,
            path,
            token,
        }
    }

    async fn send(&self, method: Method, token: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.application
            .send(request(method, &self.path, &headers, &body))
            .await
    }

    async fn replace(&self, change: impl FnOnce(&mut Value)) -> Answer {
        let mut body = public_metadata();
        body["client_id"] = self.registered["client_id"].clone();
        change(&mut body);
        self.send(Method::PUT, &self.token, &body).await
    }
}

#[tokio::test]
async fn a_client_reads_what_it_has_registered_with_uri_and_token() {
    let managed = Managed::new(&public_metadata()).await;
    let answer = managed.send(Method::GET, &managed.token, &Value::Null).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json(), managed.registered);
}

#[tokio::test]
async fn a_replacement_replaces_everything() {
    let mut metadata = public_metadata();
    metadata["contacts"] = json!(["ada@client.example"]);
    let managed = Managed::new(&metadata).await;
    let answer = managed
        .replace(|body| body["client_name"] = json!("Another name"))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["client_name"], "Another name");
    assert!(answer.json().get("contacts").is_none(), "what is not said is gone");
    for same in [
        "client_id",
        "client_id_issued_at",
        "registration_access_token",
        "registration_client_uri",
    ] {
        assert_eq!(answer.json()[same], managed.registered[same], "{same}");
    }
    assert_eq!(
        managed.send(Method::GET, &managed.token, &Value::Null).await.json(),
        answer.json()
    );
}

#[tokio::test]
async fn a_replacement_takes_effect_at_the_authorization_endpoint() {
    let managed = Managed::new(&public_metadata()).await;
    let client_id = managed.registered["client_id"].as_str().unwrap().to_owned();
    let client = Client {
        client_id,
        client_secret: None,
        verifier: "v".repeat(43),
    };
    let moved = "https://client.example/cb";
    assert_eq!(
        managed
            .replace(|body| body["redirect_uris"] = json!([moved]))
            .await
            .status,
        200
    );
    assert_eq!(
        managed.application.get(&client.authorization_url(&[])).await.status,
        400
    );
    let at_moved = client.authorization_url(&[("redirect_uri", moved)]);
    assert_eq!(managed.application.get(&at_moved).await.status, 200);
}

#[tokio::test]
async fn a_client_that_comes_to_need_a_secret_gets_one_and_one_that_does_not_loses_it() {
    let managed = Managed::new(&public_metadata()).await;
    let with_secret = managed
        .replace(|body| body["token_endpoint_auth_method"] = json!("client_secret_basic"))
        .await
        .json();
    let secret = with_secret["client_secret"].as_str().unwrap().to_owned();
    assert!(with_secret["client_secret_expires_at"].is_u64());

    let kept = managed.replace(|body| {
        body["token_endpoint_auth_method"] = json!("client_secret_post");
        body["client_secret"] = json!(secret);
    });
    assert!(kept.await.json().get("client_secret").is_none(), "it has one already");
    let wrong = managed.replace(|body| {
        body["token_endpoint_auth_method"] = json!("client_secret_post");
        body["client_secret"] = json!("wrong");
    });
    assert_eq!(wrong.await.error(), "invalid_client_metadata");

    let client_id = managed.registered["client_id"].as_str().unwrap().to_owned();
    let client = Client {
        client_id,
        client_secret: Some(secret),
        verifier: "v".repeat(43),
    };
    assert_eq!(
        client.refresh(&managed.application, "x", &[]).await.error(),
        "invalid_grant"
    );
    managed.replace(|_| ()).await;
    assert_eq!(
        client.refresh(&managed.application, "x", &[]).await.error(),
        "invalid_client"
    );
}

#[tokio::test]
async fn a_replacement_has_to_name_its_client_and_nothing_that_is_the_servers() {
    let managed = Managed::new(&public_metadata()).await;
    for change in [
        json!({"client_id": null}),
        json!({"client_id": "client_other"}),
        json!({"client_id_issued_at": 1}),
        json!({"client_secret_expires_at": 0}),
        json!({"registration_access_token": managed.token}),
        json!({"registration_client_uri": "https://a.example"}),
        json!({"redirect_uris": []}),
        json!({"redirect_uris": 5}),
        json!({"grant_types": "urn:x"}),
    ] {
        let answer = managed.replace(|body| {
            for (name, value) in change.as_object().unwrap() {
                body[name] = value.clone();
            }
        });
        let answer = answer.await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (400, "invalid_client_metadata"),
            "{change}"
        );
    }
    let bad_uri = managed
        .replace(|body| body["redirect_uris"] = json!(["http://evil.example"]))
        .await;
    assert_eq!(bad_uri.error(), "invalid_redirect_uri");
    assert_eq!(managed.send(Method::PUT, &managed.token, &json!([])).await.status, 400);
    assert_eq!(
        managed.send(Method::GET, &managed.token, &Value::Null).await.json(),
        managed.registered
    );
}

#[tokio::test]
async fn every_wrong_token_has_one_and_the_same_answer() {
    let managed = Managed::new(&public_metadata()).await;
    let other = managed
        .application
        .post_json("/register", &public_metadata())
        .await
        .json();
    let others_token = other["registration_access_token"].as_str().unwrap();
    let client = Client::public(&managed.application).await;
    let access_token = client.sign_in(&managed.application, "ada").await.access_token;
    let unknown = Managed {
        path: "/register/client_unknown".to_owned(),
        ..Managed::new(&public_metadata()).await
    };
    let mut answers = Vec::new();
    for (managed, token) in [
        (&managed, "wrong"),
        (&managed, others_token),
        (&managed, access_token.as_str()),
        (&unknown, managed.token.as_str()),
        (&unknown, "wrong"),
    ] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = managed.send(method, token, &Value::Null).await;
            assert_eq!(answer.status, 401);
            answers.push((answer.header("www-authenticate").to_owned(), answer.body));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].0.contains(r#"error="invalid_token""#));
}

#[tokio::test]
async fn without_a_token_there_is_a_challenge_and_no_error_code() {
    let managed = Managed::new(&public_metadata()).await;
    for headers in [
        &[][..],
        &[("authorization", "Basic YTpi")],
        &[("authorization", "Bearer")],
    ] {
        let answer = managed
            .application
            .send(request(Method::GET, &managed.path, headers, ""))
            .await;
        assert_eq!(answer.status, 401, "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="registration""#);
    }
}

#[tokio::test]
async fn a_deleted_client_is_gone_with_everything_that_was_granted_to_it() {
    let application = Application::default();
    let registered = application.post_json("/register", &public_metadata()).await.json();
    let client_id = registered["client_id"].as_str().unwrap().to_owned();
    let client = Client {
        client_id,
        client_secret: None,
        verifier: mcp_oauth_core::secret::Secret::random().expose().to_owned(),
    };
    let tokens = client.sign_in(&application, "ada").await;
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);

    let path = registered["registration_client_uri"]
        .as_str()
        .unwrap()
        .strip_prefix(ISSUER)
        .unwrap();
    let bearer = format!("Bearer {}", registered["registration_access_token"].as_str().unwrap());
    let delete = || application.send(request(Method::DELETE, path, &[("authorization", &bearer)], ""));
    let deleted = delete().await;
    assert_eq!((deleted.status.as_u16(), deleted.body.as_str()), (204, ""));
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.error(),
        "invalid_client"
    );
    let other = Client::public(&application).await;
    assert_eq!(
        other.refresh(&application, &tokens.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
    assert_eq!(delete().await.status, 401);
    assert_eq!(application.get(&client.authorization_url(&[])).await.status, 400);
}

/// Standards row 105: what is read is what is true now.
#[tokio::test]
async fn a_confidential_client_reads_all_but_its_secret() {
    let managed = Managed::new(&json!({"redirect_uris": [REDIRECT_URI], "client_name#de": "Notizen"})).await;
    let read = managed.send(Method::GET, &managed.token, &Value::Null).await.json();
    let mut registered = managed.registered.clone();
    registered.as_object_mut().unwrap().remove("client_secret").unwrap();
    assert_eq!(read, registered);
    assert_eq!(read["client_secret_expires_at"], 0);
    assert!(read["registration_access_token"].is_string());
}

/// A PUT changes how the client proves itself in every direction; what counted before counts no more.
#[tokio::test]
async fn a_replacement_may_change_how_a_client_proves_itself() {
    let managed = Managed::new(&public_metadata()).await;
    let client_id = managed.registered["client_id"].as_str().unwrap().to_owned();
    let keys = mcp_oauth_core::token::keys::KeySet::generate(mcp_oauth_core::token::keys::Algorithm::Es256).unwrap();
    let attempt = async |secret: Option<String>| {
        let client = Client {
            client_id: client_id.clone(),
            client_secret: secret,
            verifier: "v".repeat(43),
        };
        client.refresh(&managed.application, "x", &[]).await.error()
    };
    let mut secret: Option<String> = None;
    for method in [
        "none",
        "client_secret_basic",
        "private_key_jwt",
        "client_secret_post",
        "none",
    ] {
        let change = |body: &mut Value| {
            body["token_endpoint_auth_method"] = json!(method);
            body["jwks"] = serde_json::to_value(keys.public()).unwrap();
        };
        let answer = managed.replace(change).await;
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
        let body = answer.json();
        assert_eq!(body["token_endpoint_auth_method"], method);
        assert_eq!(body["registration_access_token"], managed.token.as_str());
        let needs_secret = method.starts_with("client_secret");
        assert_eq!(body["client_secret"].is_string(), needs_secret, "{method}");
        assert_eq!(body["client_secret_expires_at"].is_u64(), needs_secret, "{method}");
        if let Some(before) = secret.take() {
            assert_eq!(attempt(Some(before)).await, "invalid_client", "{method}");
        }
        secret = body["client_secret"].as_str().map(str::to_owned);
        let proven = if secret.is_some() || method == "none" {
            "invalid_grant"
        } else {
            "invalid_client"
        };
        assert_eq!(attempt(secret.clone()).await, proven, "{method}");
    }
}

#[tokio::test]
async fn the_token_of_a_deleted_or_forgotten_client_is_good_for_nothing() {
    let deleted = Managed::new(&public_metadata()).await;
    assert_eq!(
        deleted.send(Method::DELETE, &deleted.token, &Value::Null).await.status,
        204
    );
    let forgotten = Managed::new(&public_metadata()).await;
    forgotten
        .application
        .clock
        .advance(std::time::Duration::from_secs(24 * 3600));
    for managed in [&deleted, &forgotten] {
        for method in [Method::GET, Method::DELETE] {
            let answer = managed.send(method, &managed.token, &Value::Null).await;
            assert_eq!(
                (answer.status.as_u16(), answer.error().as_str()),
                (401, "invalid_token")
            );
        }
        assert_eq!(managed.replace(|_| ()).await.status, 401);
    }
}

/// However the two meet, the client is gone afterwards, and nobody is told of a success that is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_deleted_while_it_is_replaced_stays_deleted() {
    for _ in 0..20 {
        let managed = std::sync::Arc::new(Managed::new(&public_metadata()).await);
        let start = std::sync::Arc::new(tokio::sync::Barrier::new(9));
        let replacements: Vec<_> = (0..8)
            .map(|number: u32| {
                let (managed, start) = (managed.clone(), start.clone());
                tokio::spawn(async move {
                    start.wait().await;
                    let change = |body: &mut Value| body["software_version"] = json!(number.to_string());
                    managed.replace(change).await.status
                })
            })
            .collect();
        start.wait().await;
        let deleted = managed.send(Method::DELETE, &managed.token, &Value::Null).await;
        assert_eq!(deleted.status, 204);
        for replacement in replacements {
            let status = replacement.await.unwrap();
            assert!(matches!(status.as_u16(), 200 | 401), "{status}");
        }
        let read = managed.send(Method::GET, &managed.token, &Value::Null).await;
        assert_eq!(read.status, 401);
        let kind = mcp_oauth_core::store::Kind::Client;
        assert_eq!(managed.application.store.inner().count_of(kind), 0);
    }
}

#[tokio::test]
async fn a_deletion_that_the_store_lost_can_be_done_again() {
    for loss in [Loss::Request, Loss::Answer] {
        for number in 0..3 {
            let managed = Managed::new(&public_metadata()).await;
            managed.application.store.fail_once(number, loss);
            let lost = managed.send(Method::DELETE, &managed.token, &Value::Null).await;
            assert_eq!((lost.status.as_u16(), lost.header("retry-after")), (503, "1"));
            let again = managed.send(Method::DELETE, &managed.token, &Value::Null).await;
            let gone_already = number == 2 && loss == Loss::Answer;
            assert_eq!(again.status, if gone_already { 401 } else { 204 }, "{number} {loss:?}");
        }
    }
}

/// The record is removed while its end is announced, and comes back if that fails.
#[tokio::test]
async fn a_client_whose_end_cannot_be_announced_is_there_as_before_and_can_be_deleted_later() {
    let managed = Managed::new(&public_metadata()).await;
    let (application, token) = (&managed.application, &managed.token);
    let read = async || managed.send(Method::GET, token, &Value::Null).await;
    let delete = async || managed.send(Method::DELETE, token, &Value::Null).await;
    let before = read().await.json();
    application.store.set_feed_down(true);
    for _ in 0..2 {
        application.clock.advance(Duration::from_secs(6 * 60 * 60));
        let failed = delete().await;
        assert_eq!((failed.status.as_u16(), failed.header("retry-after")), (503, "1"));
        assert_eq!(read().await.json(), before);
    }
    application.store.set_feed_down(false);
    let other = Managed::of(application.clone(), &public_metadata()).await;
    assert_eq!(other.send(Method::DELETE, &other.token, &Value::Null).await.status, 204);
    // Its life is what it was: nobody has signed in with it for a day.
    application.clock.advance(Duration::from_secs(12 * 60 * 60));
    assert_eq!(application.store.inner().count_of(Kind::Client), 0);
    assert_eq!(delete().await.status, 401);
}

#[tokio::test]
async fn the_tokens_of_a_client_end_with_the_deletion_that_succeeds() {
    let managed = Managed::new(&public_metadata()).await;
    let application = &managed.application;
    let client = Client {
        client_id: managed.registered["client_id"].as_str().unwrap().to_owned(),
        client_secret: None,
        verifier: mcp_oauth_core::secret::Secret::random().expose().to_owned(),
    };
    let tokens = client.sign_in(application, "ada").await;
    application.store.set_feed_down(true);
    let failed = managed.send(Method::DELETE, &managed.token, &Value::Null).await;
    assert_eq!(failed.status, 503);
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    application.store.set_feed_down(false);
    let deleted = managed.send(Method::DELETE, &managed.token, &Value::Null).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
}

/// Neither the announcement nor the way back: a deletion that was not done whole is never told as done.
#[tokio::test]
async fn a_deletion_that_fails_twice_is_an_error() {
    let managed = Managed::new(&public_metadata()).await;
    managed.application.store.set_feed_down(true);
    managed.application.store.fail_once(3, Loss::Request);
    let failed = managed.send(Method::DELETE, &managed.token, &Value::Null).await;
    assert_eq!(failed.status, 503);
    managed.application.store.set_feed_down(false);
    let again = managed.send(Method::DELETE, &managed.token, &Value::Null).await;
    assert_eq!(again.status, 401, "it is gone");
}

/// V-20 and standards row 108: nothing that stands in place of a token or a client makes anything else of it than a 401.
#[tokio::test]
async fn garbage_in_place_of_a_token_or_a_client_is_a_401() {
    let managed = Managed::new(&public_metadata()).await;
    for path in [
        managed.path.as_str(),
        "/register/%ff",
        "/register/%00",
        "/register/a%0d%0ab",
        "/register/https%3A%2F%2Fclient.example%2Fx",
        "/register/*",
        "/register/%7B%7D",
        "/register/..%2F..",
    ] {
        for value in [
            &b"Bearer \xff\xfe"[..],
            b"Bearer",
            b"Bearer  ",
            b"Bearer a b",
            b"Bearer {}",
            b"bearer x",
            b"Basic Og==",
            b"x",
            b"",
        ] {
            for method in [Method::GET, Method::PUT, Method::DELETE] {
                let mut request = request(method.clone(), path, &[("content-type", "application/json")], "{");
                let value = http::HeaderValue::from_bytes(value).unwrap();
                request.headers_mut().insert("authorization", value);
                let answer = managed.application.send(request).await;
                assert_eq!(answer.status, 401, "{method} {path}");
                assert_eq!(answer.error(), "invalid_token", "{method} {path}");
                assert!(answer.header("www-authenticate").starts_with("Bearer realm="));
            }
        }
    }
}

/// Standards row 109.
#[tokio::test]
async fn a_network_that_guesses_tokens_has_to_wait_and_others_need_not() {
    let mut limits = mcp_oauth_core::limits::Limits::unlimited();
    limits.failed_authentications_of_a_network = mcp_oauth_core::limits::Quota::per_minute(3);
    let application = Application::new(|builder| builder.limits(limits));
    let registered = application.post_json("/register", &public_metadata()).await.json();
    let path = registered["registration_client_uri"]
        .as_str()
        .unwrap()
        .strip_prefix(ISSUER)
        .unwrap();
    let good = registered["registration_access_token"].as_str().unwrap();
    let attempt = async |address: &str, path: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let read = request(Method::GET, path, &[("authorization", &bearer)], "");
        application.send_from(address, read).await
    };
    for path in [path, path, "/register/client_unknown"] {
        assert_eq!(attempt("192.0.2.1", path, "wrong").await.status, 401);
    }
    for token in ["wrong", good] {
        let refused = attempt("192.0.2.1", path, token).await;
        assert_eq!(
            (refused.status.as_u16(), refused.error().as_str()),
            (429, "temporarily_unavailable")
        );
    }
    assert_eq!(attempt("192.0.2.2", path, good).await.status, 200);
    application.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(
        attempt("192.0.2.1", path, good).await.status,
        200,
        "the token stays good"
    );
}

/// Clients that are known by a document, or from the configuration, have no token, so nobody manages them here.
#[tokio::test]
async fn only_clients_that_registered_here_can_be_managed_here() {
    let application = Application::new(|builder| {
        let client = PreregisteredClient::public("desk").redirect_uri(REDIRECT_URI);
        builder.client(client)
    });
    for path in [
        "/register/desk",
        "/register/https%3A%2F%2Fclient.example%2Fmetadata.json",
    ] {
        for token in ["nobody", "", "x"] {
            let bearer = format!("Bearer {token}");
            for method in [Method::GET, Method::PUT, Method::DELETE] {
                let headers = [("authorization", bearer.as_str())];
                let answer = application.send(request(method.clone(), path, &headers, "")).await;
                assert_eq!(answer.status, 401, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn managing_a_registration_does_not_lengthen_its_life() {
    let managed = Managed::new(&public_metadata()).await;
    managed
        .application
        .clock
        .advance(std::time::Duration::from_secs(20 * 3600));
    assert_eq!(managed.replace(|_| ()).await.status, 200);
    managed
        .application
        .clock
        .advance(std::time::Duration::from_secs(4 * 3600));
    assert_eq!(
        managed.send(Method::GET, &managed.token, &Value::Null).await.status,
        401
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_replacements_leave_one_of_them() {
    let managed = std::sync::Arc::new(Managed::new(&public_metadata()).await);
    let tasks: Vec<_> = (0..32)
        .map(|number: u32| {
            let managed = managed.clone();
            tokio::spawn(async move {
                let change = |body: &mut Value| {
                    body["client_name"] = json!(format!("name {number}"));
                    body["software_version"] = json!(number.to_string());
                };
                managed.replace(change).await.status
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
    let left = managed.send(Method::GET, &managed.token, &Value::Null).await.json();
    let version = left["software_version"].as_str().unwrap();
    assert_eq!(left["client_name"], format!("name {version}"));
    assert_eq!(left["redirect_uris"], json!([REDIRECT_URI]));
}

#[tokio::test]
async fn a_replacement_counts_for_what_the_registration_has_become_while_it_was_on_its_way() {
    let managed = Managed::new(&public_metadata()).await;
    let server = &managed.application.server;
    let client_id = managed.registered["client_id"].as_str().unwrap();
    let origin = Origin::unknown();
    let admit = || async {
        let token = Some(Secret::from(managed.token.as_str()));
        server.admit_replacement(client_id, token, &origin).await.unwrap()
    };
    let (first, second, third) = (admit().await, admit().await, admit().await);
    for (admitted, name) in [(first, "First"), (second, "Second")] {
        let mut body = public_metadata();
        body["client_id"] = client_id.into();
        body["client_name"] = name.into();
        let replaced = server
            .replace_client(body.to_string().as_bytes(), admitted, &origin)
            .await;
        assert_eq!(replaced.unwrap().metadata.client_name.as_deref(), Some(name));
    }
    managed.send(Method::DELETE, &managed.token, &Value::Null).await;
    let body = json!({"client_id": client_id, "redirect_uris": [REDIRECT_URI]});
    let gone = server.replace_client(body.to_string().as_bytes(), third, &origin).await;
    assert!(matches!(gone, Err(ManagementError::InvalidToken)), "{gone:?}");
}
