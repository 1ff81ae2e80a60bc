//! The ports: connections, with TLS or without, until the process is told to stop.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Control, Handle, Server};
use futures_util::future::join_all;
use http::{StatusCode, Uri, header};
use hyper_util::rt::TokioTimer;
use mcp_stdio_bridge::Bridge;
use tokio::task::JoinSet;
use tower_http::timeout::RequestBodyTimeoutLayer;
use url::Url;

use crate::configuration::Loaded;
use crate::gateway::Gateway;
use crate::signals::{Signals, Told};
use crate::systemd;

/// For a client to send what it asks, or the head of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The ports that the gateway listens on.
#[derive(Debug)]
pub(crate) struct Ports {
    main: TcpListener,
    redirect: Option<TcpListener>,
}

impl Ports {
    /// Opens them.
    pub(crate) async fn open(gateway: &Gateway) -> anyhow::Result<Self> {
        let configuration = &gateway.configuration;
        Ok(Self {
            main: listen(configuration.listen, "GATEWAY_LISTEN").await?,
            redirect: match configuration.tls.redirect_listen {
                Some(address) => Some(listen(address, "tls.redirect_listen").await?),
                None => None,
            },
        })
    }
}

async fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.with_context(|| {
        format!("cannot listen on {address}: stop what uses that port, or set {setting} to another one")
    })?;
    Ok(listener.into_std()?)
}

/// Serves until the process is told to stop, and reads the configuration anew when it is told that. What is in flight may
/// finish then, within the time that is set for it, and every child is ended; on a second signal nobody waits.
pub(crate) async fn serve(mut gateway: Gateway, ports: Ports, mut signals: Signals) -> anyhow::Result<()> {
    let control = Control::new();
    let mut servers = JoinSet::new();
    let tls = start(&gateway, ports, &control, &mut servers)?;
    systemd::ready();
    if let Some(interval) = systemd::watchdog() {
        tokio::spawn(async move {
            let mut times = tokio::time::interval(interval);
            loop {
                times.tick().await;
                systemd::alive();
            }
        });
    }
    let mut ending = JoinSet::new();
    loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::Stop => break,
                Told::Reload => reload(&mut gateway, tls.as_ref(), &mut ending).await,
            },
            Some(ended) = servers.join_next() => {
                ended.context("a port has been given up")??;
                anyhow::bail!("a port is no longer listened on");
            }
        }
    }
    systemd::stopping();
    tracing::info!("stopping");
    let patience = gateway.configuration.shutdown_timeout();
    gateway.ended.cancel();
    control.graceful_shutdown(Some(patience));
    let bridges = gateway.bridges();
    let all = async {
        join_all(bridges.iter().map(Bridge::shutdown)).await;
        while ending.join_next().await.is_some() {}
        while servers.join_next().await.is_some() {}
    };
    tokio::select! {
        () = all => Ok(()),
        () = signals.stop() => {
            control.shutdown();
            bridges.iter().for_each(Bridge::stop);
            anyhow::bail!("stopped at once, as a second signal asked: what was in flight is cut off")
        }
    }
}

type Served = JoinSet<std::io::Result<()>>;

fn start(
    gateway: &Gateway,
    ports: Ports,
    control: &Control,
    servers: &mut Served,
) -> anyhow::Result<Option<RustlsConfig>> {
    // Whoever stops in the middle of a body is not waited for: what comes after the head is bounded as the head is.
    let application = gateway.router().layer(RequestBodyTimeoutLayer::new(PATIENCE));
    let server = bounded(ports.main, control)?;
    let application = application.into_make_service_with_connect_info::<SocketAddr>();
    let current = gateway.current();
    let tls = current.certificate.as_ref().map(|certificate| {
        for warning in &certificate.warnings {
            tracing::warn!("{warning}");
        }
        RustlsConfig::from_config(Arc::clone(&certificate.tls))
    });
    match &tls {
        Some(tls) => {
            let server = server.acceptor(RustlsAcceptor::new(tls.clone()));
            servers.spawn(server.serve(application));
        }
        None => {
            servers.spawn(server.serve(application));
        }
    }
    if let Some(listener) = ports.redirect {
        let server = bounded(listener, control)?;
        let issuer = Url::parse(current.auth.issuer().as_str())?;
        servers.spawn(server.serve(to_https(issuer.port()).into_make_service()));
    }
    Ok(tls)
}

/// A server that waits no longer than that for the first request of a connection, and for the head of each.
fn bounded(listener: TcpListener, control: &Control) -> std::io::Result<Server<SocketAddr>> {
    let mut server = axum_server::from_tcp(listener)?
        .handle(Handle::with_control(control.clone()))
        .first_request_timeout(PATIENCE);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE);
    Ok(server)
}

async fn reload(gateway: &mut Gateway, tls: Option<&RustlsConfig>, ending: &mut JoinSet<()>) {
    systemd::reloading();
    let reloaded = match Loaded::load_without_check() {
        Ok(loaded) => gateway.reload(loaded.configuration).await,
        Err(error) => Err(error),
    };
    match reloaded {
        Ok(reloaded) => {
            let current = gateway.current();
            if let (Some(tls), Some(certificate)) = (tls, &current.certificate) {
                for warning in &certificate.warnings {
                    tracing::warn!("{warning}");
                }
                tls.reload_from_config(Arc::clone(&certificate.tls));
            }
            for bridge in reloaded.removed {
                ending.spawn(async move { bridge.shutdown().await });
            }
            if !reloaded.kept.is_empty() {
                let settings = reloaded.kept.join(", ");
                tracing::warn!(
                    settings,
                    "these settings have changed, and count when the gateway is started again"
                );
            }
            tracing::info!("the configuration was read anew");
        }
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(
                error,
                "the configuration cannot be used: the gateway goes on with the one that it has"
            );
        }
    }
    systemd::ready();
}

/// Sends whoever comes by plain HTTP to the same address by https.
fn to_https(port: Option<u16>) -> Router {
    Router::new().fallback(move |request: Request| async move { redirect(&request, port) })
}

fn redirect(request: &Request, port: Option<u16>) -> Response {
    let authority = request.uri().authority().cloned().or_else(|| {
        let host = request.headers().get(header::HOST)?.to_str().ok()?;
        host.parse().ok()
    });
    let Some(authority) = authority else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let host = authority.host();
    let authority = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let target = Uri::builder()
        .scheme("https")
        .authority(authority)
        .path_and_query(target);
    match target.build() {
        // The method and the body stay the same, and it stays so.
        Ok(target) => Redirect::permanent(&target.to_string()).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn plain_http_is_answered_with_the_same_address_by_https() {
        for (host, port, target) in [
            ("files.example.com", None, "https://files.example.com/mcp?x=1"),
            (
                "files.example.com:8080",
                Some(8443),
                "https://files.example.com:8443/mcp?x=1",
            ),
            ("[::1]:80", None, "https://[::1]/mcp?x=1"),
        ] {
            let request = Request::post("/mcp?x=1")
                .header("host", host)
                .body(Body::empty())
                .unwrap();
            let response = redirect(&request, port);
            assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
            assert_eq!(response.headers()["location"], target);
        }
        let nowhere = Request::get("/").body(Body::empty()).unwrap();
        assert_eq!(redirect(&nowhere, None).status(), StatusCode::BAD_REQUEST);
    }
}
