//! Tokens that the issuer is asked about (RFC 7662).

use std::sync::Arc;
use std::time::Duration;

use mcp_oauth_core::clock::Clock as _;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::signing::change;
use mcp_oauth_tower::{ProtectedResource, TrustedIssuer};
use serde_json::{Value, json};
use wiremock::matchers::{body_string_contains, header, method, path};
use wiremock::{Mock, ResponseTemplate};

use super::{Issuer, Protected, RESOURCE, SECOND, status};

fn asked(issuer: &Issuer) -> TrustedIssuer {
    TrustedIssuer::new(issuer.name()).introspect("notes:server", Secret::from("s p+a%ce"))
}

async fn says(issuer: &Issuer, answer: ResponseTemplate) {
    issuer.publishes(&json!({"keys": []})).await;
    issuer.answers("/introspect", answer).await;
}

fn active(issuer: &Issuer, protected: &Protected, changes: &Value) -> Value {
    let mut said = issuer.claims(&protected.clock);
    said["active"] = json!(true);
    change(&mut said, changes);
    said
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_by_a_client_that_proves_itself() {
    let issuer = Issuer::new().await;
    let protected = Protected::new(vec![asked(&issuer)]);
    issuer.publishes(&json!({"keys": []})).await;
    // RFC 6749 §2.3.1: each part encoded as in a form, then both in base64.
    Mock::given(method("POST"))
        .and(path("/introspect"))
        .and(header("authorization", "Basic bm90ZXMlM0FzZXJ2ZXI6cytwJTJCYSUyNWNl"))
        .and(body_string_contains("token=0paque"))
        .respond_with(ResponseTemplate::new(200).set_body_json(active(&issuer, &protected, &json!({}))))
        .expect(1)
        .mount(&issuer.server)
        .await;
    for _ in 0..3 {
        let seen = protected.call("0paque").await.json();
        assert_eq!(
            (&seen["subject"], &seen["username"]),
            (&json!("248289761001"), &json!("ada"))
        );
    }
}

/// What its issuer calls good, by whatever way it came, is still looked at when it comes in a header.
#[tokio::test]
async fn what_cannot_stand_in_a_header_is_refused_there_however_good_it_was_elsewhere() {
    let issuer = Issuer::new().await;
    let protected = Protected::new(vec![asked(&issuer)]);
    let answer = active(&issuer, &protected, &json!({}));
    says(&issuer, ResponseTemplate::new(200).set_body_json(answer)).await;
    for odd in ["a,b", "a b", "caf\u{e9}"] {
        let caller = protected.resource.authenticator().authenticate(odd).await.unwrap();
        assert_eq!(caller.subject(), "248289761001");
        assert_eq!(protected.call(odd).await.status, 400, "{odd}");
    }
}

/// V-55.
#[tokio::test]
async fn only_a_token_that_is_said_to_be_active_and_for_this_resource_is_good() {
    let issuer = Issuer::new().await;
    let protected = Protected::new(vec![asked(&issuer).remember_answers_for(Duration::ZERO)]);
    let now = protected.clock.now().as_seconds();
    for changes in [
        json!({"active": false}),
        json!({"active": "true"}),
        json!({"active": 1}),
        json!({"active": null}),
        json!({"aud": null}),
        json!({"aud": "https://other.example"}),
        json!({"client_id": null}),
        json!({"sub": null}),
        json!({"scope": null}),
        json!({"iss": "https://evil.example"}),
        json!({"exp": now}),
        json!({"exp": "9999999999"}),
        json!({"nbf": now + 31}),
    ] {
        says(
            &issuer,
            ResponseTemplate::new(200).set_body_json(active(&issuer, &protected, &changes)),
        )
        .await;
        assert_eq!(protected.call("0paque").await.status, 401, "{changes}");
    }
    let twice = r#"{"active":false,"active":true}"#;
    says(
        &issuer,
        ResponseTemplate::new(200).set_body_raw(twice, "application/json"),
    )
    .await;
    assert_eq!(protected.call("0paque").await.status, 401);
    for changes in [
        json!({}),
        json!({"iss": null}),
        json!({"exp": null}),
        json!({"iat": null}),
    ] {
        says(
            &issuer,
            ResponseTemplate::new(200).set_body_json(active(&issuer, &protected, &changes)),
        )
        .await;
        assert_eq!(protected.call("0paque").await.status, 200, "{changes}");
    }
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_a_503() {
    let issuer = Issuer::new().await;
    let protected = Protected::new(vec![asked(&issuer)]);
    let elsewhere = ResponseTemplate::new(302).insert_header("location", "/other");
    for answer in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(401),
        ResponseTemplate::new(404),
        elsewhere,
    ] {
        says(&issuer, answer).await;
        let answer = protected.call("0paque").await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    }
    assert_eq!(issuer.requests("/other").await, 0, "the credentials go nowhere else");
}

/// V-79.
#[tokio::test]
async fn an_answer_counts_for_a_minute_and_never_beyond_the_tokens_own_end() {
    let issuer = Issuer::new().await;
    let protected = Protected::new(vec![asked(&issuer)]);
    says(
        &issuer,
        ResponseTemplate::new(200).set_body_json(active(&issuer, &protected, &json!({}))),
    )
    .await;
    assert_eq!(protected.call("0paque").await.status, 200);
    protected.clock.advance(SECOND * 59);
    assert_eq!(protected.call("0paque").await.status, 200);
    assert_eq!(issuer.requests("/introspect").await, 1);
    says(
        &issuer,
        ResponseTemplate::new(200).set_body_json(json!({"active": false})),
    )
    .await;
    protected.clock.advance(SECOND);
    for _ in 0..2 {
        assert_eq!(protected.call("0paque").await.status, 401, "it was revoked");
    }
    assert_eq!(
        issuer.requests("/introspect").await,
        2,
        "a wrong token is not remembered"
    );

    let short = json!({"exp": protected.clock.now().as_seconds() + 10});
    says(
        &issuer,
        ResponseTemplate::new(200).set_body_json(active(&issuer, &protected, &short)),
    )
    .await;
    assert_eq!(protected.call("short").await.status, 200);
    protected.clock.advance(SECOND * 10);
    assert_eq!(protected.call("short").await.status, 401);
}

#[tokio::test]
async fn where_one_issuer_is_asked_the_others_tokens_are_verified_as_ever() {
    let (signing, opaque) = (Issuer::new().await, Issuer::new().await);
    let protected = Protected::new(vec![signing.name().into(), asked(&opaque)]);
    says(
        &opaque,
        ResponseTemplate::new(200).set_body_json(active(&opaque, &protected, &json!({}))),
    )
    .await;
    assert_eq!(protected.call("0paque").await.status, 200);
    assert_eq!(status(&protected, &signing, &json!({}), &json!({})).await, 200);
    assert_eq!(
        opaque.requests("/introspect").await,
        1,
        "that one was nobody else's business"
    );
    let two = ProtectedResource::builder(RESOURCE)
        .allow_loopback()
        .issuer(asked(&signing))
        .issuer(asked(&opaque));
    assert!(two.build().is_err(), "an opaque token does not say whose it is");
}

#[tokio::test]
async fn nothing_that_is_shown_holds_a_secret() {
    let issuer = TrustedIssuer::new("https://a.example").introspect("client", Secret::from("s3cret"));
    let resource = ProtectedResource::builder(RESOURCE)
        .issuer(issuer.clone())
        .build()
        .unwrap();
    let shown = format!("{issuer:?} {resource:?} {:?}", Arc::new(resource.layer()));
    assert!(!shown.contains("s3cret"), "{shown}");
}
