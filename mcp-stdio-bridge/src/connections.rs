//! The program's connections, without a router between them and the bridge: what that costs is a tenth of a small call.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Answers what comes in, until it is told to stop or the other side of `stopped` is gone. Then nobody is let in any more,
/// and it ends when those who are in have their answers.
pub(crate) async fn serve<A>(
    mut listener: TcpListener,
    mut stopped: oneshot::Receiver<()>,
    answer: impl Fn(Request) -> A + Clone + Send + 'static,
) where
    A: Future<Output = Response> + Send + 'static,
{
    let open = GracefulShutdown::new();
    let http = http1::Builder::new();
    loop {
        // Not the standard's own: this one waits where there are no descriptors left.
        let (stream, _) = tokio::select! {
            connection = axum::serve::Listener::accept(&mut listener) => connection,
            _ = &mut stopped => break,
        };
        // Answers are small and complete; waiting for more to send only makes them late.
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            // Not in an `async` block, which would hold it twice.
            answer(request.map(Body::new)).map(Ok::<_, Infallible>)
        });
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that goes away in the middle is no error of this side.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    open.shutdown().await;
}
