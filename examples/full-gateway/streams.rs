//! Event streams on their way through the gateway.

use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, header};
use tokio_util::sync::CancellationToken;

/// Tells proxies not to hold events back, and ends a stream on which a client only listens (GET) when what serves it ends, in
/// place of cutting it off. What a client has asked for goes on until it is answered.
pub(crate) fn unbuffered(mut response: Response, method: &Method, ended: &CancellationToken) -> Response {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let is_stream = media_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    if !is_stream {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache"));
    if method != Method::GET {
        return response;
    }
    let ended = ended.clone().cancelled_owned();
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(ended)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endless(media_type: &'static str) -> Response {
        let body = Body::from_stream(futures_util::stream::pending::<Result<&str, std::convert::Infallible>>());
        Response::builder()
            .header("content-type", media_type)
            .body(body)
            .unwrap()
    }

    #[tokio::test]
    async fn a_stream_on_which_a_client_listens_ends_with_what_serves_it() {
        let ended = CancellationToken::new();
        let response = unbuffered(endless("text/event-stream"), &Method::GET, &ended);
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        ended.cancel();
        let body = axum::body::to_bytes(response.into_body(), 10).await.unwrap();
        assert!(body.is_empty());
    }

    #[tokio::test]
    async fn everything_else_goes_on() {
        let ended = CancellationToken::new();
        ended.cancel();
        for (method, media_type) in [(Method::POST, "text/event-stream"), (Method::GET, "application/json")] {
            let response = unbuffered(endless(media_type), &method, &ended);
            let mut body = response.into_body().into_data_stream();
            let next = futures_util::FutureExt::now_or_never(body.next());
            assert!(next.is_none(), "{method} {media_type}");
        }
    }
}
