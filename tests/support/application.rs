//! The application under test: an authorization server and two protected resources, all in one router.

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::store::Store;
use mcp_oauth_tower::{
    AllowList, AuthorizationServer, Caller, DevIdentity, MemoryStore, OAuthLayer, Resource, Routes, cors,
};
use serde_json::Value;
use tower::ServiceExt;

use crate::failing_store::FailingStore;

/// The issuer of the application.
pub const ISSUER: &str = "http://127.0.0.1:8080";

/// The first protected resource.
pub const NOTES: &str = "http://127.0.0.1:8080/notes/mcp";

/// The second protected resource, on the same host.
pub const FILES: &str = "http://127.0.0.1:8080/files/mcp";

/// The proxy that the application believes.
pub const TRUSTED_PROXY: &str = "10.0.0.1";

/// The scope that the first resource asks for.
pub const SCOPE: &str = "notes:use";

/// An application with a clock and a store that the test holds in its hand.
#[derive(Clone, Debug)]
pub struct Application {
    /// The server that it serves.
    pub server: AuthorizationServer,
    /// Its clock.
    pub clock: ManualClock,
    /// Its store.
    pub store: FailingStore<MemoryStore>,
    router: Router,
}

/// An answer with its body read.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// What this router answers to a request.
    pub async fn from(router: &Router, request: Request<Body>) -> Self {
        let response = router.clone().oneshot(request).await.expect("a router never fails");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the body can be read").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("every answer is text");
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// One header as text; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("headers are text"))
    }

    /// The `error` of an OAuth error body.
    #[must_use]
    pub fn error(&self) -> String {
        self.json()["error"].as_str().expect("an OAuth error").to_owned()
    }
}

impl Default for Application {
    /// With made-up people, whom everybody may be.
    fn default() -> Self {
        Self::new(|builder| builder)
    }
}

impl Application {
    /// An application whose builder the test has the last word on.
    pub fn new(configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder) -> Self {
        let clock = ManualClock::default();
        let store = FailingStore::new(MemoryStore::default().with_clock(clock.clone()));
        Self::with(store, clock, configure)
    }

    /// An application on a store of the test's own.
    pub fn with(
        store: FailingStore<MemoryStore>,
        clock: ManualClock,
        configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        Self::with_resources(store, clock, [notes(), files()], configure)
    }

    /// An application whose two resources, which are [`notes`] and [`files`] at first, the test has changed.
    pub fn with_resources(
        store: FailingStore<MemoryStore>,
        clock: ManualClock,
        [notes, files]: [Resource; 2],
        configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        let builder = AuthorizationServer::builder(ISSUER)
            .resource(notes)
            .resource(files)
            .default_resource(NOTES)
            .identity(DevIdentity::default())
            .allow(AllowList::everybody())
            .shared_store(std::sync::Arc::new(store.clone()) as std::sync::Arc<dyn Store>)
            .clock(clock.clone());
        let server = configure(builder).build().expect("the server can be built");
        let proxies = TRUSTED_PROXY.parse().expect("an address");
        let mut router = Routes::new(&server).behind(proxies).into_router();
        for resource in [NOTES, FILES] {
            let path = resource.strip_prefix(ISSUER).unwrap();
            let protected = Router::new()
                .route(path, any(describe))
                .route_layer(OAuthLayer::new(&server, resource).unwrap().with_json_bodies())
                .route_layer(cors::protected_resource());
            router = router.merge(protected);
        }
        Self {
            server,
            clock,
            store,
            router,
        }
    }

    /// Sends one request.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        Answer::from(&self.router, request).await
    }

    /// Sends one request from this address.
    pub async fn send_from(&self, address: &str, mut request: Request<Body>) -> Answer {
        let peer = std::net::SocketAddr::new(address.parse().expect("an IP address"), 4711);
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        self.send(request).await
    }

    /// Sends a GET without anything.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, &[], "")).await
    }

    /// Sends a form.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(request(Method::POST, path, &headers, &encode(fields))).await
    }

    /// Sends JSON.
    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(request(Method::POST, path, &headers, &body.to_string()))
            .await
    }

    /// Calls a protected resource with a token.
    pub async fn call(&self, resource: &str, token: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        let path = resource.strip_prefix(ISSUER).unwrap_or(resource);
        self.send(request(Method::POST, path, &[("authorization", &authorization)], ""))
            .await
    }
}

/// What a protected resource answers: what it knows of its caller, and which headers reached it.
async fn describe(caller: Caller, headers: HeaderMap) -> axum::Json<Value> {
    let names: Vec<_> = headers.keys().map(ToString::to_string).collect();
    axum::Json(serde_json::json!({
        "subject": caller.subject(), "username": caller.username(), "name": caller.name(), "client_id": caller.client_id(),
        "scope": caller.scopes().to_string(), "resource": caller.resource().as_str(), "grant": caller.grant(), "headers": names,
    }))
}

/// The first protected resource as it is unless a test changes it.
#[must_use]
pub fn notes() -> Resource {
    let notes = Resource::new(NOTES).expect("a resource").name("Notes");
    notes.scope(SCOPE, "use your notes").expect("a scope")
}

/// The second protected resource as it is unless a test changes it.
#[must_use]
pub fn files() -> Resource {
    Resource::new(FILES).expect("a resource").name("Files")
}

/// A request with headers and a body.
#[must_use]
pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder
        .body(Body::from(body.to_owned()))
        .expect("a well-formed request")
}

/// Fields as `application/x-www-form-urlencoded`.
#[must_use]
pub fn encode(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}
