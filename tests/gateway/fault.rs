//! A proxy in front of the gateway that does one thing wrong, as somebody's configuration does.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use mcp_oauth_tests::gateway::{Gateway, free_port};
use reqwest::redirect;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An answer on its way out, to be changed.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Puts something else in its place.
    pub(crate) fn replace(&mut self, status: u16, content_type: &str, body: &str) {
        self.status = StatusCode::from_u16(status).unwrap();
        self.headers.clear();
        self.headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        self.body = body.as_bytes().to_vec();
    }

    /// Changes a header, or takes it out.
    pub(crate) fn header(&mut self, name: &'static str, value: &str) {
        self.headers.remove(name);
        if !value.is_empty() {
            self.headers.insert(name, value.parse().unwrap());
        }
    }

    /// Changes the JSON.
    pub(crate) fn json(&mut self, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&self.body).unwrap();
        change(&mut value);
        self.body = serde_json::to_vec(&value).unwrap();
    }
}

type Incoming = Arc<dyn Fn(&mut Parts) + Send + Sync>;
type Outgoing = Arc<dyn Fn(&Parts, &mut Reply) + Send + Sync>;

/// What the proxy does.
#[derive(Clone)]
pub(crate) struct Fault {
    incoming: Incoming,
    outgoing: Outgoing,
    holds_streams: bool,
}

impl fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fault").finish_non_exhaustive()
    }
}

impl Fault {
    /// It does all well.
    pub(crate) fn none() -> Self {
        Self {
            incoming: Arc::new(|_| {}),
            outgoing: Arc::new(|_, _| {}),
            holds_streams: false,
        }
    }

    /// It changes answers.
    pub(crate) fn in_answers(change: impl Fn(&Parts, &mut Reply) + Send + Sync + 'static) -> Self {
        Self {
            outgoing: Arc::new(change),
            ..Self::none()
        }
    }

    /// It changes answers from this path.
    pub(crate) fn at(path: &'static str, change: impl Fn(&mut Reply) + Send + Sync + 'static) -> Self {
        Self::in_answers(move |request, reply| {
            if request.uri.path() == path {
                change(reply);
            }
        })
    }

    /// It changes requests.
    pub(crate) fn in_requests(change: impl Fn(&mut Parts) + Send + Sync + 'static) -> Self {
        Self {
            incoming: Arc::new(change),
            ..Self::none()
        }
    }

    /// It keeps a stream until it has ended.
    pub(crate) fn holds_streams() -> Self {
        Self {
            holds_streams: true,
            ..Self::none()
        }
    }
}

/// A gateway behind a proxy.
#[derive(Debug)]
pub(crate) struct Site {
    /// How clients reach it.
    pub(crate) url: String,
    _gateway: Gateway,
    proxy: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

impl Site {
    /// With this proxy.
    pub(crate) async fn with(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let address = format!("127.0.0.1:{}", free_port());
        let gateway = Gateway::start_with(&address, &[("GATEWAY_PUBLIC_URL", &url)], "").await;
        let way = Way {
            gateway: gateway.url.clone(),
            client: reqwest::Client::builder()
                .redirect(redirect::Policy::none())
                .no_proxy()
                .build()
                .unwrap(),
            fault,
        };
        let router = Router::new().fallback(pass_on).with_state(way);
        let proxy = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            _gateway: gateway,
            proxy,
        }
    }

    /// The MCP server's URL.
    pub(crate) fn mcp(&self) -> String {
        format!("{}/echo/mcp", self.url)
    }
}

#[derive(Clone)]
struct Way {
    gateway: String,
    client: reqwest::Client,
    fault: Fault,
}

async fn pass_on(State(way): State<Way>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    (way.fault.incoming)(&mut parts);
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let to = parts.uri.path_and_query().unwrap().as_str();
    let mut headers = parts.headers.clone();
    headers.remove(TRANSFER_ENCODING);
    let request = way
        .client
        .request(parts.method.clone(), format!("{}{to}", way.gateway))
        .headers(headers)
        .body(body);
    let answer = request.send().await.expect("the gateway answers");
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    let streams = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value == "text/event-stream");
    if streams && way.fault.holds_streams {
        tokio::time::sleep(Duration::from_secs(60 * 60)).await;
    }
    let mut reply = Reply {
        status,
        headers,
        body: Vec::new(),
    };
    let body = if streams {
        (way.fault.outgoing)(&parts, &mut reply);
        Body::from_stream(stream::unfold(answer, |mut answer| async move {
            let chunk = answer.chunk().await.ok().flatten()?;
            Some((Ok::<_, Infallible>(chunk), answer))
        }))
    } else {
        reply.body = answer.bytes().await.unwrap().to_vec();
        (way.fault.outgoing)(&parts, &mut reply);
        Body::from(reply.body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}
