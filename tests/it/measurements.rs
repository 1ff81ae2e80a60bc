//! What the crates tell of themselves: metrics through the facade, spans through `tracing`, and events as JSON.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::store::observed::ObservedStore;
use mcp_oauth_tests::application::{Application, FILES, NOTES, request};
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tests::events::Events;
use mcp_oauth_tests::failing_store::FailingStore;
use mcp_oauth_tower::MemoryStore;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// A recorder for this thread, on which the whole test runs.
fn recorder() -> (PrometheusHandle, &'static PrometheusRecorder) {
    let recorder: &'static PrometheusRecorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
    (recorder.handle(), recorder)
}

/// The value of a sample whose labels are these, in this order.
fn sample(measured: &PrometheusHandle, name: &str) -> Option<f64> {
    let text = measured.render();
    let line = text
        .lines()
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[track_caller]
fn assert_counted(measured: &PrometheusHandle, name: &str, times: f64) {
    assert_eq!(sample(measured, name), Some(times), "{name} in {}", measured.render());
}

fn observed() -> Application {
    let clock = ManualClock::default();
    let store = FailingStore::new(MemoryStore::default().with_clock(clock.clone()));
    Application::with(store.clone(), clock, |builder| builder.store(ObservedStore::new(store)))
}

async fn sign_in(application: &Application, client: &Client) -> Tokens {
    let code = client.code(application, "ada").await;
    Tokens::of(&client.redeem(application, &code, &[]).await)
}

/// Gives the tokens that were refreshed.
async fn sign_in_and_refresh(application: &Application, client: &Client) -> Tokens {
    let tokens = sign_in(application, client).await;
    let _ = Tokens::of(&client.refresh(application, &tokens.refresh_token, &[]).await);
    tokens
}

#[tokio::test]
async fn each_step_is_counted_by_what_came_of_it() {
    let (measured, recorder) = recorder();
    let _installed = metrics::set_default_local_recorder(recorder);
    let application = Application::default();
    let client = Client::public(&application).await;
    sign_in_and_refresh(&application, &client).await;
    assert_eq!(client.redeem(&application, "made.up", &[]).await.status, 400);

    let events = "mcp_oauth_events_total";
    for (labels, times) in [
        (r#"action="register_client",detail="",outcome="success""#, 1.0),
        (r#"action="authorize",detail="",outcome="success""#, 1.0),
        (r#"action="approve",detail="",outcome="success""#, 1.0),
        (r#"action="sign_in",detail="",outcome="success""#, 1.0),
        (
            r#"action="issue_tokens",detail="authorization_code",outcome="success""#,
            1.0,
        ),
        (
            r#"action="issue_tokens",detail="authorization_code",outcome="invalid_grant""#,
            1.0,
        ),
        (r#"action="issue_tokens",detail="refresh_token",outcome="success""#, 1.0),
    ] {
        assert_counted(&measured, &format!("{events}{{{labels}}}"), times);
    }
    let identified = r#"provider="development",operation="identify",outcome="success""#;
    assert_counted(
        &measured,
        &format!("mcp_oauth_upstream_call_duration_seconds_count{{{identified}}}"),
        1.0,
    );
}

#[tokio::test]
async fn a_refresh_token_that_is_used_after_its_time_is_counted_as_that() {
    let (measured, recorder) = recorder();
    let _installed = metrics::set_default_local_recorder(recorder);
    let application = Application::default();
    let client = Client::public(&application).await;
    let tokens = sign_in_and_refresh(&application, &client).await;
    application.clock.advance(Duration::from_secs(61));
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.status,
        400
    );
    let replay = r#"mcp_oauth_events_total{action="end_grant",detail="refresh_token_reused",outcome="success"}"#;
    assert_counted(&measured, replay, 1.0);
}

#[tokio::test]
async fn calls_to_an_observed_store_are_timed_by_operation_and_outcome() {
    let (measured, recorder) = recorder();
    let _installed = metrics::set_default_local_recorder(recorder);
    let application = observed();
    Client::public(&application).await;
    let count = |labels| format!("mcp_oauth_store_call_duration_seconds_count{{{labels}}}");
    assert_counted(&measured, &count(r#"operation="insert",outcome="success""#), 1.0);
    application.store.set_down(true);
    assert_eq!(application.post_json("/register", &public_metadata()).await.status, 503);
    assert!(application.server.ready().await.is_err());
    assert_counted(&measured, &count(r#"operation="increment",outcome="unavailable""#), 1.0);
    assert_counted(&measured, &count(r#"operation="ping",outcome="unavailable""#), 1.0);
}

#[tokio::test]
async fn requests_to_a_server_are_counted_as_admitted_or_by_what_is_wrong() {
    let (measured, recorder) = recorder();
    let _installed = metrics::set_default_local_recorder(recorder);
    let application = Application::default();
    let client = Client::public(&application).await;
    let tokens = sign_in(&application, &client).await;
    for _ in 0..2 {
        assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    }
    assert_eq!(application.call(FILES, &tokens.access_token).await.status, 401);
    let without = request(Method::POST, "/notes/mcp", &[], "");
    assert_eq!(application.send(without).await.status, 401);
    let decisions =
        |resource, outcome| format!(r#"mcp_oauth_access_decisions_total{{resource="{resource}",outcome="{outcome}"}}"#);
    assert_counted(&measured, &decisions(NOTES, "success"), 2.0);
    assert_counted(&measured, &decisions(NOTES, "unauthenticated"), 1.0);
    assert_counted(&measured, &decisions(FILES, "invalid_token"), 1.0);
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_counted_by_what_it_is_for() {
    let (measured, recorder) = recorder();
    let _installed = metrics::set_default_local_recorder(recorder);
    let mut limits = Limits::unlimited();
    limits.registrations = Quota::per_minute(1);
    let application = Application::new(|builder| builder.limits(limits));
    assert_eq!(application.post_json("/register", &public_metadata()).await.status, 201);
    assert_eq!(application.post_json("/register", &public_metadata()).await.status, 429);
    assert_counted(
        &measured,
        r#"mcp_oauth_quota_refusals_total{work="registrations"}"#,
        1.0,
    );
}

#[tokio::test]
async fn nothing_that_a_request_says_is_in_a_label() {
    let (measured, recorder) = recorder();
    let _installed = metrics::set_default_local_recorder(recorder);
    let application = observed();
    let client = Client::public(&application).await;
    let tokens = sign_in(&application, &client).await;
    application.call(NOTES, &tokens.access_token).await;
    client.token(&application, &[("grant_type", "distinctive-grant")]).await;
    application
        .get("/authorize?client_id=distinctive-client&state=distinctive-state")
        .await;
    application.call(NOTES, "distinctive-token").await;
    let text = measured.render();
    assert!(text.contains("mcp_oauth_events_total"), "{text}");
    for said in [
        "distinctive",
        "ada",
        &client.client_id,
        &client.verifier,
        "127.0.0.1:49152",
    ] {
        assert!(!text.contains(said), "{said} in {text}");
    }
}

/// What spans say, each with the one that it is in.
#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

/// What a span was begun and gone on with.
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl<S: tracing::Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() != "mcp_oauth::trace" {
            return;
        }
        let span = context.span(id).unwrap();
        let within = span.parent().map_or("", |parent| parent.name());
        let mut said = Said(format!("{within}/{}", span.name()));
        attributes.record(&mut said);
        span.extensions_mut().insert(said);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        if let Some(said) = span.extensions_mut().get_mut::<Said>() {
            values.record(said);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if let Some(Said(said)) = span.extensions_mut().remove() {
            self.0.lock().unwrap().push(said);
        }
    }
}

#[tokio::test]
async fn each_step_is_a_span_with_the_calls_that_it_makes_in_it() {
    // While there is but one subscriber, what another test's thread sees first would be nobody's interest for good.
    let _another = tracing::Dispatch::new(Registry::default());
    let spans = Spans::default();
    let _listening = tracing::subscriber::set_default(Registry::default().with(spans.clone()));
    let application = observed();
    let client = Client::public(&application).await;
    let tokens = sign_in(&application, &client).await;
    assert_eq!(client.redeem(&application, "made.up", &[]).await.status, 400);
    application.store.set_down(true);
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.status,
        503
    );

    let spans = spans.0.lock().unwrap().join("\n");
    for said in [
        r#"/register oauth.outcome="success""#,
        r#"/consent oauth.outcome="success""#,
        r#"callback/upstream provider="development" operation="identify""#,
        r#"/token oauth.outcome="success" oauth.detail="authorization_code""#,
        r#"/token oauth.outcome="invalid_grant""#,
        r#"token/store otel.kind="client" db.operation.name="get" db.collection.name="grant""#,
        r#"error.type="unavailable" otel.status_code="ERROR""#,
    ] {
        assert!(spans.contains(said), "{said} in\n{spans}");
    }
    for secret in [
        client.client_id.as_str(),
        &client.verifier,
        &tokens.access_token,
        &tokens.refresh_token,
        "ada",
        "49152",
    ] {
        assert!(!spans.contains(secret), "{secret} in\n{spans}");
    }
}

#[tokio::test]
async fn an_event_as_json_says_who_did_what_from_where_and_what_came_of_it() {
    let events = Events::default();
    let application = Application::new(|builder| builder.audit(events.clone()));
    let client = Client::public(&application).await;
    let code = client.code(&application, "ada").await;
    let redeem = mcp_oauth_tests::application::encode(&[
        ("grant_type", "authorization_code"),
        ("client_id", &client.client_id),
        ("code", &code),
        ("redirect_uri", mcp_oauth_tests::client::REDIRECT_URI),
        ("code_verifier", &client.verifier),
    ]);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for status in [200, 400] {
        let request = request(Method::POST, "/token", &form, &redeem);
        assert_eq!(application.send_from("2001:db8:1:2:3::4", request).await.status, status);
    }
    let mut browser = Browser::default();
    let consent = browser.open(&application, &client.authorization_url(&[])).await;
    let denied = browser.decide(&application, &consent, "deny").await;
    assert_eq!(arrival(&denied).parameter("error").as_deref(), Some("access_denied"));

    let written: Vec<_> = events
        .so_far()
        .iter()
        .map(|event| serde_json::to_value(event).unwrap())
        .collect();
    let of = |action: &str| {
        written
            .iter()
            .filter(|event| event["action"] == action)
            .collect::<Vec<_>>()
    };
    let [issued, refused] = of("issue_tokens")[..] else {
        panic!("{written:#?}")
    };
    let grant = code.split_once('.').unwrap().0;
    assert_eq!(
        *issued,
        serde_json::json!({
            "at": issued["at"], "action": "issue_tokens", "detail": "authorization_code", "outcome": "success",
            "client_id": client.client_id, "subject": "development:ada", "grant": grant, "resources": [NOTES],
            "network": "2001:db8:1:2::/64",
        })
    );
    assert!(issued["at"].is_u64());
    assert_eq!(
        (&refused["outcome"], &refused["error"]),
        (&"refused".into(), &"invalid_grant".into())
    );
    let [ended] = of("end_grant")[..] else {
        panic!("{written:#?}")
    };
    assert_eq!(
        (&ended["detail"], &ended["grant"]),
        (&"code_reused".into(), &grant.into())
    );
    assert_eq!(of("deny").len(), 1);
    for action in ["register_client", "authorize", "approve", "sign_in"] {
        assert!(!of(action).is_empty(), "{action} in {written:#?}");
    }
    assert_eq!(of("sign_in")[0]["resources"], serde_json::json!([NOTES]));
}
