//! Each request to the gateway: how many there are, how long they take, how they end, and a span that the others are in.
//!
//! An endpoint is the route that took the request, as the gateway has it (`/token`, `/register/{client_id}`, `/time/mcp`), and
//! never the path of the request. The time is that until the headers of the answer: an event stream may go on for hours.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use metrics::{Unit, describe_gauge, describe_histogram};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{FutureExt as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;

const DURATION: &str = "mcp_gateway_http_request_duration_seconds";
const IN_FLIGHT: &str = "mcp_gateway_http_requests_in_flight";

/// What no route took.
const UNMATCHED: &str = "unmatched";

pub(super) fn describe() {
    describe_histogram!(DURATION, Unit::Seconds, "Time until the headers of the answer");
    describe_gauge!(IN_FLIGHT, Unit::Count, "Requests whose answer has not begun");
}

/// One request more for as long as this is kept, whatever becomes of it.
struct InFlight;

impl InFlight {
    fn begin() -> Self {
        metrics::gauge!(IN_FLIGHT).increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!(IN_FLIGHT).decrement(1.0);
    }
}

/// How the requests to a router are observed.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) tracer: Option<SdkTracer>,
    /// What all of them are for, unless each has a route that says so.
    pub(super) endpoint: Option<Arc<str>>,
}

/// Measures the request, and traces it if there is somebody to tell.
pub(super) async fn observe(State(observed): State<Observed>, request: Request, next: Next) -> Response {
    let _in_flight = InFlight::begin();
    let began = Instant::now();
    let endpoint = observed
        .endpoint
        .map_or_else(|| endpoint(&request), |name| name.to_string());
    let method = method(request.method());
    let response = match observed.tracer {
        None => next.run(request).await,
        Some(tracer) => traced(&tracer, &endpoint, method, request, next).await,
    };
    metrics::histogram!(
        DURATION,
        "endpoint" => endpoint,
        "method" => method,
        "status" => response.status().as_u16().to_string(),
    )
    .record(began.elapsed());
    response
}

/// The span is OpenTelemetry's own: it ends with the answer, whatever tasks the request may have begun.
///
/// The request is handed on with this span as its caller's, so that whatever passes it on to a server behind takes the trace
/// along.
async fn traced(
    tracer: &SdkTracer,
    endpoint: &str,
    method: &'static str,
    mut request: Request,
    next: Next,
) -> Response {
    let propagator = TraceContextPropagator::new();
    let caller = propagator.extract(&Place(request.headers()));
    let span = tracer
        .span_builder(format!("{method} {endpoint}"))
        .with_kind(SpanKind::Server)
        .with_attributes([
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", endpoint.to_owned()),
        ])
        .start_with_context(tracer, &caller);
    let context = Context::current_with_span(span);
    propagator.inject_context(&context, &mut NewPlace(request.headers_mut()));
    let response = next.run(request).with_context(context.clone()).await;
    let status = response.status();
    let span = context.span();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_status(Status::error(status.as_str().to_owned()));
    }
    span.end();
    response
}

/// The route that took the request.
fn endpoint(request: &Request) -> String {
    let Some(path) = request.extensions().get::<MatchedPath>() else {
        return UNMATCHED.to_owned();
    };
    // What is nested is served below its path too.
    let path = path.as_str();
    path.split_once("/{*").map_or(path, |(path, _)| path).to_owned()
}

/// Methods that anybody can make up are all the same here.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

/// Where the caller's place in a trace stands (W3C Trace Context).
struct Place<'a>(&'a HeaderMap);

impl Extractor for Place<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Where the gateway's own place stands from here on.
struct NewPlace<'a>(&'a mut HeaderMap);

impl Injector for NewPlace<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
