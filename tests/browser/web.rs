//! Sites as browsers reach them: on http at an address of this machine, or on https by a name.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{Html, Response};
use axum::serve::Listener;
use http::HeaderMap;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A place for a site, before there is one: a port that listens, and what it is called.
pub(crate) struct Place {
    /// The origin.
    pub(crate) url: String,
    listener: TcpListener,
    secure: bool,
}

impl Place {
    async fn new(origin: impl FnOnce(u16) -> String, secure: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = origin(listener.local_addr().unwrap().port());
        Self { url, listener, secure }
    }

    /// On this machine.
    pub(crate) async fn here() -> Self {
        Self::new(|port| format!("http://127.0.0.1:{port}"), false).await
    }

    /// On the web. Names end with `.example`, all of which the browser looks for on this machine.
    pub(crate) async fn on_the_web(name: &str) -> Self {
        Self::new(|port| format!("https://{name}:{port}"), true).await
    }

    /// Whether it is on https.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Serves until the test is over.
    pub(crate) fn serve(self, router: Router) {
        if self.secure {
            let listener = Secure::begin(self.listener);
            tokio::spawn(async move { axum::serve(listener, router).await });
        } else {
            tokio::spawn(async move { axum::serve(self.listener, router).await });
        }
    }
}

/// Connections whose TLS stands. Browsers open some that they never use, and those keep nobody waiting.
struct Secure {
    address: SocketAddr,
    established: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Secure {
    fn begin(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, established) = mpsc::channel(16);
        let acceptor = TlsAcceptor::from(certified());
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = sender.send((stream, peer)).await;
                    }
                });
            }
        });
        Self { address, established }
    }
}

impl Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.established.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A certificate that only a browser believes that has been told to believe all of them.
fn certified() -> Arc<ServerConfig> {
    let certified = rcgen::generate_simple_self_signed(["auth.acme.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.into()], key)
        .unwrap();
    Arc::new(config)
}

/// A request that reached a site.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// The path and the query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
}

/// What reached a site, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visits(Arc<Mutex<Vec<Visit>>>);

impl Visits {
    pub(crate) fn all(&self) -> Vec<Visit> {
        self.0.lock().unwrap().clone()
    }

    /// The same routes, with all requests written down.
    pub(crate) fn of(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), write_down))
    }
}

async fn write_down(State(visits): State<Visits>, request: Request, next: Next) -> Response {
    let target = request.uri().to_string();
    // Browsers ask for it on their own account.
    if target != "/favicon.ico" {
        let headers = request.headers().clone();
        visits.0.lock().unwrap().push(Visit { target, headers });
    }
    next.run(request).await
}

/// A site of somebody's: of a client, to which people return, or of an attacker.
#[derive(Clone, Debug)]
pub(crate) struct OtherSite {
    pub(crate) url: String,
    pub(crate) visits: Visits,
}

/// What stands on every page of a client.
pub(crate) const AT_THE_CLIENT: &str = "You are back at the client";

impl OtherSite {
    /// A client that listens on the person's own machine, as editors do.
    pub(crate) async fn client_here() -> Self {
        Self::serve(Place::here().await, AT_THE_CLIENT, "", HeaderMap::new())
    }

    /// A client with a name on the web.
    pub(crate) async fn client(name: &str) -> Self {
        Self::serve(Place::on_the_web(name).await, AT_THE_CLIENT, "", HeaderMap::new())
    }

    /// An attacker with a name on the web, all of whose pages hold this, after these cookies are set.
    pub(crate) async fn attacker(name: &str, markup: &str, cookies: &[&str]) -> Self {
        Self::serve(
            Place::on_the_web(name).await,
            "Something harmless",
            markup,
            set(cookies),
        )
    }

    fn serve(place: Place, heading: &str, markup: &str, headers: HeaderMap) -> Self {
        let visits = Visits::default();
        let url = place.url.clone();
        let page = format!("<!doctype html><html lang=en><title>{heading}</title><h1>{heading}</h1>{markup}");
        let router = Router::new().fallback(move || async move { (headers, Html(page)) });
        place.serve(visits.of(router));
        Self { url, visits }
    }
}

fn set(cookies: &[&str]) -> HeaderMap {
    let cookie = |cookie: &&str| (http::header::SET_COOKIE, cookie.parse().unwrap());
    let mut headers = HeaderMap::new();
    for (name, value) in cookies.iter().map(cookie) {
        headers.append(name, value);
    }
    headers
}
