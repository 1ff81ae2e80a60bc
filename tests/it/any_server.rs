//! The layer in front of whatever is a `tower` service: bodies of any type, and readiness as its contract has it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper::body::Body;
use mcp_oauth_core::scope::rules::Rule;
use mcp_oauth_tests::application::{Application, NOTES, files, notes};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tower::{Caller, OAuthLayer};
use tower::{Layer, Service, ServiceExt};

/// Answers with an empty body of the type that it is asked for, and insists on being polled ready before each call.
#[derive(Debug, Default)]
struct Strict {
    ready: bool,
}

impl Clone for Strict {
    /// A clone is a service of its own, which nobody has polled.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<B: Default> Service<Request<B>> for Strict {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "a service that is not ready was called"
        );
        let mut response = Response::new(B::default());
        response
            .extensions_mut()
            .insert(request.extensions().get::<Caller>().cloned());
        ready(Ok(response))
    }
}

async fn token(application: &Application) -> String {
    let client = Client::public(application).await;
    client.sign_in(application, "ada").await.access_token
}

fn request<B: Default>(token: &str) -> Request<B> {
    Request::post("/notes/mcp")
        .header("authorization", format!("Bearer {token}"))
        .body(B::default())
        .unwrap()
}

/// Waits until the service is ready, and calls it then.
async fn through<S, B>(service: &mut S, request: Request<B>) -> S::Response
where
    S: Service<Request<B>, Error = Infallible>,
{
    let ready = ServiceExt::<Request<B>>::ready(service).await.unwrap();
    ready.call(request).await.unwrap()
}

/// What a server with bodies of this type answers.
async fn answer<B: Body + Default + 'static>(application: &Application, token: &str) -> (StatusCode, Option<String>) {
    let mut service = OAuthLayer::new(&application.server, NOTES)
        .unwrap()
        .layer(Strict::default());
    let request: Request<B> = request(token);
    let response = through(&mut service, request).await;
    let caller = response.extensions().get::<Option<Caller>>().cloned().flatten();
    (response.status(), caller.map(|caller| caller.subject().to_owned()))
}

#[tokio::test]
async fn bodies_of_any_type_pass() {
    let application = Application::default();
    let good = token(&application).await;
    let passed = (StatusCode::OK, Some("development:ada".to_owned()));
    assert_eq!(answer::<tonic::body::Body>(&application, &good).await, passed);
    assert_eq!(answer::<axum::body::Body>(&application, &good).await, passed);
    assert_eq!(answer::<Full<Bytes>>(&application, &good).await, passed);
    assert_eq!(answer::<String>(&application, &good).await, passed);
    assert_eq!(answer::<Empty<Bytes>>(&application, &good).await, passed);
    let refused = answer::<tonic::body::Body>(&application, "not.a.token").await;
    assert_eq!(refused, (StatusCode::UNAUTHORIZED, None));
}

/// Whatever hyper reads from a connection can be the request of a service behind the layer. This compiles or it does not.
#[test]
fn a_hyper_server_can_be_behind_the_layer() {
    fn is_service<S: Service<Request<hyper::body::Incoming>> + Clone + Send + Sync + 'static>(_: &S)
    where
        S::Future: Send,
    {
    }
    let application = Application::default();
    let layer = OAuthLayer::new(&application.server, NOTES).unwrap();
    let inner = tower::service_fn(|_: Request<hyper::body::Incoming>| {
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    is_service(&layer.layer(inner));
}

#[test]
fn a_layer_is_one_pointer_wide() {
    assert_eq!(size_of::<OAuthLayer>(), size_of::<usize>());
}

/// When the answer is known at once, when the store has to be asked, and when the body has to be read.
#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    let ruled = notes().rule(Rule::tool("search").needs("notes:use").unwrap()).unwrap();
    let application = Application::with_resources(
        mcp_oauth_tests::failing_store::FailingStore::new(mcp_oauth_tower::MemoryStore::default()),
        mcp_oauth_core::clock::ManualClock::default(),
        [ruled, files()],
        |builder| builder,
    );
    let plain = Application::default();
    for application in [&plain, &application] {
        let token = token(application).await;
        let layer = OAuthLayer::new(&application.server, NOTES).unwrap();
        let mut blind = layer.clone().layer(Strict::default());
        let mut reading = layer.read_bodies().layer(Strict::default());
        for seconds in [0, 0, 1, 0, 5] {
            application.clock.advance(Duration::from_secs(seconds));
            let answer = through(&mut blind, request::<Full<Bytes>>(&token)).await;
            assert_eq!(answer.status(), 200);
            let mut asked: Request<Full<Bytes>> = request(&token);
            *asked.body_mut() = Full::from(r#"{"method":"tools/call","params":{"name":"search"}}"#);
            let answer = through(&mut reading, asked).await;
            assert_eq!(answer.status(), 200);
        }
    }
}
