//! Fetches from servers that these tests play themselves, over real HTTP.
//!
//! Servers are on loopback, so what has to succeed uses the development switch and the host `localhost`; what has to be
//! refused uses neither. Names are found by a [`Script`], which also tells how often it was asked.

#![cfg(feature = "cimd")]
#![allow(clippy::unwrap_used, reason = "in a test, the helpers are tests too")]

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method};
use mcp_oauth_core::client::client_id_url::ClientIdUrl;
use mcp_oauth_core::client::metadata_document::MetadataDocument;
use mcp_oauth_core::client::redirect_uri_policy::RedirectUriPolicy;
use mcp_oauth_core::clock::{ManualClock, UnixTime};
use mcp_oauth_core::fetch::{DEFAULT_MAXIMUM_BODY, FetchError, Fetched, Fetcher, FreshnessBounds, Resolve};
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use url::Url;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Says one thing after the other, and the last one again and again.
#[derive(Clone, Debug)]
struct Script {
    answers: Arc<[Vec<IpAddr>]>,
    asked: Arc<AtomicUsize>,
}

impl Script {
    fn new(answers: &[&[&str]]) -> Self {
        let address = |text: &&str| text.parse().unwrap();
        Self {
            answers: answers
                .iter()
                .map(|answer| answer.iter().map(address).collect())
                .collect(),
            asked: Arc::default(),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolve for Script {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[turn.min(self.answers.len() - 1)].clone())
    }
}

/// Fails the test that looks a name up.
#[derive(Debug)]
struct NoLookups;

#[async_trait]
impl Resolve for NoLookups {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        panic!("{host} was looked up");
    }
}

/// A fetcher for the servers of these tests.
fn fetcher() -> Fetcher {
    Fetcher::default()
        .resolver(Script::new(&[&["127.0.0.1"]]))
        .allow_loopback()
}

fn json_answer(body: impl Into<String>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body.into(), "application/json")
}

async fn serving(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(answer).mount(&server).await;
    server
}

/// A URL at this server, by a name.
fn at(server: &MockServer) -> Url {
    format!("http://localhost:{}/metadata.json?key=hunter2", server.address().port())
        .parse()
        .unwrap()
}

async fn get(answer: ResponseTemplate) -> Result<Fetched, FetchError> {
    let server = serving(answer).await;
    fetcher().get(&at(&server)).await
}

async fn get_with(fetcher: &Fetcher, url: &str) -> Result<Fetched, FetchError> {
    fetcher.get(&url.parse().unwrap()).await
}

/// Answers one request with these bytes, then `more` until nobody reads them, and then waits until the other side
/// hangs up.
fn raw_server(head: &[u8], more: &'static str, times: usize) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
    let head = head.to_vec();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let pieces = std::iter::once(head.as_slice()).chain(std::iter::repeat_n(more.as_bytes(), times));
        if pieces
            .map(|piece| stream.write_all(piece))
            .all(|written| written.is_ok())
        {
            let _ = stream.read(&mut [0]);
        }
    });
    url.parse().unwrap()
}

fn head(headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}\r\n\r\n").into_bytes()
}

#[track_caller]
fn assert_permanent(error: &FetchError) {
    assert!(!error.is_transient(), "{error:?}");
}

#[track_caller]
fn assert_transient(error: &FetchError) {
    assert!(error.is_transient(), "{error:?}");
}

// === What is fetched ===

#[tokio::test]
async fn a_document_is_fetched_with_what_its_headers_say_about_its_life() {
    let answer = json_answer(r#"{"a":1}"#).insert_header("cache-control", "public, max-age=300");
    let fetched = get(answer).await.unwrap();
    assert_eq!(&fetched.body[..], br#"{"a":1}"#);
    assert_eq!(fetched.freshness.lifetime(), Some(Duration::from_secs(300)));
    assert_eq!(get(json_answer("{}")).await.unwrap().freshness.lifetime(), None);
}

#[tokio::test]
async fn a_document_that_expires_does_so_by_the_clock_that_was_handed_in() {
    let url = raw_server(
        &head("expires: Sun, 06 Nov 1994 09:49:37 GMT\r\ncontent-length: 2"),
        "{}",
        1,
    );
    let fetcher = fetcher().clock(ManualClock::at(UnixTime::from_seconds(784_111_777)));
    let answer = fetcher.get(&url).await.unwrap();
    assert_eq!(answer.freshness.lifetime(), Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn a_client_is_made_of_what_was_fetched() {
    let server = MockServer::start().await;
    let url = at(&server);
    let document = json!({"client_id": url, "redirect_uris": ["http://127.0.0.1/callback"], "client_name": "Ada's"});
    let answer = ResponseTemplate::new(200).set_body_json(&document);
    Mock::given(method("GET")).respond_with(answer).mount(&server).await;

    let client_id = ClientIdUrl::for_development(url.as_str()).unwrap();
    let fetched = fetcher().get(client_id.url()).await.unwrap();
    let document = MetadataDocument::parse(&client_id, &fetched.body, &RedirectUriPolicy::default()).unwrap();
    let client = document.into_client(UnixTime::from_seconds(7));
    assert_eq!(client.client_id.as_str(), url.as_str());
    assert_eq!(client.display_name(), "Ada's");
    assert_eq!(
        fetched.freshness.within(&FreshnessBounds::default()),
        Duration::from_secs(300)
    );
}

#[tokio::test]
async fn a_request_says_who_asks_and_for_what_and_nothing_else() {
    let answer = json_answer("{}").insert_header("set-cookie", "session=1; Path=/");
    let server = serving(answer).await;
    let fetcher = fetcher();
    for _ in 0..2 {
        fetcher.get(&at(&server)).await.unwrap();
    }
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let names: BTreeSet<_> = request.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"].into());
        assert_eq!(request.headers["accept"], "application/json");
        assert_eq!(request.headers["accept-encoding"], "identity");
        assert!(
            request.headers["user-agent"]
                .to_str()
                .unwrap()
                .starts_with("mcp-oauth-core/")
        );
        assert!(request.body.is_empty());
    }
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    // The environment is that of a process, so another one makes the fetch. Nobody listens at the proxy.
    let mut child = Command::new(std::env::current_exe().unwrap());
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        child.env(name, "http://127.0.0.1:1");
    }
    for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
        child.env_remove(name);
    }
    let fetches = "a_document_is_fetched_with_what_its_headers_say_about_its_life";
    let output = child.args(["--exact", fetches]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn what_is_sent_for_others_has_their_headers_and_body_but_not_those_of_the_connection() {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(302)
        .insert_header("location", "https://elsewhere.example/")
        .set_body_string("moved");
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    let pairs = [
        ("x-own", "1"),
        ("user-agent", "mine"),
        ("host", "internal.example"),
        ("accept-encoding", "gzip"),
        ("content-length", "1"),
    ];
    let headers = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let answer = fetcher()
        .send(Method::POST, &at(&server), headers.into_iter().collect(), "body".into())
        .await
        .unwrap();
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (302, &b"moved"[..]));

    let request = &server.received_requests().await.unwrap()[0];
    assert_eq!(request.body, b"body");
    let sent = |name: &str| request.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(sent("x-own"), ["1"]);
    assert_eq!(sent("user-agent"), ["mine"]);
    assert_eq!(sent("accept-encoding"), ["identity"]);
    assert_eq!(sent("content-length"), ["4"]);
    assert_eq!(sent("host"), [at(&server).authority()]);
}

#[tokio::test]
async fn what_is_sent_for_others_goes_nowhere_where_a_document_is_not_fetched_from() {
    let fetcher = Fetcher::default().resolver(Script::new(&[&["10.0.0.7"]]));
    for (url, expected) in [
        ("https://169.254.169.254/latest/meta-data", "SpecialUse"),
        ("https://internal.example/", "SpecialUse"),
        ("http://public.example/", "NotHttps"),
        ("https://user@public.example/", "Superfluous"),
    ] {
        let parsed = url.parse().unwrap();
        let sent = fetcher.send(Method::GET, &parsed, HeaderMap::new(), Bytes::new());
        assert_eq!(format!("{:?}", sent.await.unwrap_err()), expected, "{url}");
    }
}

#[tokio::test]
async fn json_is_told_by_its_content_type() {
    for content_type in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/oauth-client+json",
    ] {
        let answer = ResponseTemplate::new(200).set_body_raw("{}", content_type);
        assert!(get(answer).await.is_ok(), "{content_type}");
    }
    for content_type in [
        "text/html",
        "text/json",
        "application/jsonp",
        "application/+json",
        "application/json5",
        "json",
        "",
    ] {
        let answer = ResponseTemplate::new(200).set_body_raw("{}", content_type);
        let error = get(answer).await.unwrap_err();
        assert!(matches!(error, FetchError::ContentType), "{content_type}: {error:?}");
        assert_permanent(&error);
    }
    let none = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let two = head("content-type: text/html\r\ncontent-length: 2");
    for head in [none.as_slice(), &two] {
        let error = fetcher().get(&raw_server(head, "{}", 1)).await.unwrap_err();
        assert!(matches!(error, FetchError::ContentType), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_not_utf_8_is_fetched_and_is_no_document() {
    let answer = ResponseTemplate::new(200).set_body_raw(&b"{\"client_id\":\"\xff\"}"[..], "application/json");
    let fetched = get(answer).await.unwrap();
    let client_id = "https://client.example/x".parse().unwrap();
    assert!(MetadataDocument::parse(&client_id, &fetched.body, &RedirectUriPolicy::default()).is_err());
}

#[tokio::test]
async fn another_status_than_200_is_no_success() {
    for (status, transient) in [
        (201, false),
        (203, false),
        (204, false),
        (206, false),
        (304, false),
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (410, false),
        (408, true),
        (425, true),
        (429, true),
        (500, true),
        (502, true),
        (503, true),
        (504, true),
    ] {
        let error = get(ResponseTemplate::new(status).set_body_raw("{}", "application/json"))
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::Status(said) if said == status), "{error:?}");
        assert_eq!(error.is_transient(), transient, "{status}");
    }
}

#[tokio::test]
async fn an_error_is_not_remembered_by_the_fetcher() {
    let server = MockServer::start().await;
    let once = Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(500))
        .up_to_n_times(1);
    once.mount(&server).await;
    Mock::given(method("GET"))
        .respond_with(json_answer("{}"))
        .mount(&server)
        .await;
    let fetcher = fetcher();
    assert!(fetcher.get(&at(&server)).await.is_err());
    assert!(fetcher.get(&at(&server)).await.is_ok());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = serving(json_answer("{}")).await;
    for status in [301, 302, 303, 307, 308] {
        for location in [
            at(&elsewhere).as_str(),
            "/other",
            "http://169.254.169.254/latest/meta-data/",
        ] {
            let server = serving(ResponseTemplate::new(status).insert_header("location", location)).await;
            let error = fetcher().get(&at(&server)).await.unwrap_err();
            assert!(matches!(error, FetchError::Status(said) if said == status), "{error:?}");
            assert_permanent(&error);
            assert_eq!(server.received_requests().await.unwrap().len(), 1);
        }
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

// === Bounds ===

#[tokio::test]
async fn a_body_is_read_up_to_the_bound_and_no_further() {
    let long = |length: usize| json_answer(format!("{{}}{}", " ".repeat(length - 2)));
    assert_eq!(DEFAULT_MAXIMUM_BODY, 5120);
    assert_eq!(get(long(5120)).await.unwrap().body.len(), 5120);
    let error = get(long(5121)).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong { maximum: 5120 }), "{error:?}");
    assert_permanent(&error);

    let server = serving(long(64 * 1024)).await;
    let wide = fetcher().maximum_body(64 * 1024);
    assert_eq!(wide.get(&at(&server)).await.unwrap().body.len(), 64 * 1024);
    let narrow = wide.maximum_body(64 * 1024 - 1);
    assert!(matches!(
        narrow.get(&at(&server)).await,
        Err(FetchError::TooLong { .. })
    ));
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_not_waited_for() {
    // No byte of it ever comes.
    let url = raw_server(&head("content-length: 5121"), "", 0);
    assert!(matches!(fetcher().get(&url).await, Err(FetchError::TooLong { .. })));
}

#[tokio::test]
async fn a_body_without_an_end_is_cut() {
    const PIECE: &str = "40\r\n                                                                \r\n";
    // Without the bound, this would go on for ever.
    let url = raw_server(&head("transfer-encoding: chunked"), PIECE, usize::MAX);
    assert!(matches!(fetcher().get(&url).await, Err(FetchError::TooLong { .. })));
    let url = raw_server(&head("connection: close"), PIECE, usize::MAX);
    assert!(matches!(fetcher().get(&url).await, Err(FetchError::TooLong { .. })));
}

#[tokio::test]
async fn headers_without_an_end_are_cut() {
    let url = raw_server(b"HTTP/1.1 200 OK\r\n", "x: y\r\n", usize::MAX);
    let error = fetcher().get(&url).await.unwrap_err();
    assert!(matches!(error, FetchError::Transport { .. }), "{error:?}");
}

#[tokio::test]
async fn a_compressed_body_is_neither_asked_for_nor_expanded() {
    // What gzip makes of 100000 times the letter a: little but zeros.
    let bomb = [
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\xac\xeb\x5f\xc2\x1a\x1e\x40\x01"
            .as_slice(),
        &[0; 96],
        b"\xaf\x06\x87\xfa\xe2\x1b\xa0\x86\x01\x00",
    ]
    .concat();
    let gzipped = |encoding: &str| {
        ResponseTemplate::new(200)
            .insert_header("content-encoding", encoding)
            .set_body_raw(bomb.clone(), "application/json")
    };
    for encoding in ["gzip", "x-gzip", "br", "deflate", "zstd", "identity, gzip", ""] {
        let error = get(gzipped(encoding)).await.unwrap_err();
        assert!(matches!(error, FetchError::ContentEncoding), "{encoding}: {error:?}");
        assert_permanent(&error);
    }
    assert_eq!(get(gzipped("identity")).await.unwrap().body, bomb);
}

#[tokio::test]
async fn a_server_that_takes_too_long_is_given_up() {
    let impatient = fetcher().timeout(Duration::from_millis(100));
    let silent = raw_server(b"", "", 0);
    let silent_after_the_headers = raw_server(&head("content-length: 100"), "", 0);
    let silent_in_the_body = raw_server(&head("content-length: 100"), "{", 1);
    for url in [silent, silent_after_the_headers, silent_in_the_body] {
        let error = impatient.get(&url).await.unwrap_err();
        assert!(matches!(error, FetchError::Timeout), "{error:?}");
        assert_transient(&error);
    }
    // A server that takes connections and says nothing to TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    assert!(matches!(get_with(&impatient, &url).await, Err(FetchError::Timeout)));
}

/// Tells when it is asked, and answers when it is allowed to.
#[derive(Debug)]
struct Gate {
    asked: mpsc::UnboundedSender<()>,
    open: Arc<Semaphore>,
}

#[async_trait]
impl Resolve for Gate {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        self.asked.send(()).unwrap();
        let _ = self.open.acquire().await.unwrap();
        Ok(vec![LOOPBACK])
    }
}

#[tokio::test]
async fn a_name_server_that_takes_too_long_is_given_up() {
    let (asked, _keep) = mpsc::unbounded_channel();
    let gate = Gate {
        asked,
        open: Arc::new(Semaphore::new(0)),
    };
    let impatient = Fetcher::default().resolver(gate).timeout(Duration::from_millis(50));
    let error = get_with(&impatient, "https://client.example/x").await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout), "{error:?}");
}

#[tokio::test]
async fn at_the_bound_of_fetches_at_once_the_next_one_fails_and_the_others_go_on() {
    let server = serving(json_answer("{}")).await;
    let (asked, mut lookups) = mpsc::unbounded_channel();
    let open = Arc::new(Semaphore::new(0));
    let fetcher = fetcher()
        .resolver(Gate {
            asked,
            open: open.clone(),
        })
        .maximum_in_flight(1);
    let first = tokio::spawn({
        let (fetcher, url) = (fetcher.clone(), at(&server));
        async move { fetcher.get(&url).await }
    });
    lookups.recv().await.unwrap();
    let error = fetcher.get(&at(&server)).await.unwrap_err();
    assert!(matches!(error, FetchError::Busy), "{error:?}");
    assert_transient(&error);
    open.add_permits(1);
    assert!(first.await.unwrap().is_ok());
    assert!(fetcher.get(&at(&server)).await.is_ok());
}

// === Where nothing is fetched from ===

#[tokio::test]
async fn a_name_with_one_address_that_is_not_public_is_refused() {
    let server = serving(json_answer("{}")).await;
    for addresses in [
        &["10.0.0.1"][..],
        &["8.8.8.8", "10.0.0.1"],
        &["10.0.0.1", "8.8.8.8"],
        &["2606:4700:4700::1111", "8.8.8.8", "fd00::1"],
        &[
            "8.8.8.8",
            "1.1.1.1",
            "8.8.4.4",
            "9.9.9.9",
            "8.8.8.8",
            "1.1.1.1",
            "8.8.4.4",
            "9.9.9.9",
            "127.0.0.1",
        ],
        &["169.254.169.254"],
        &["127.0.0.1"],
        &["::1"],
        &["0.0.0.0"],
        &["::ffff:8.8.8.8"],
        &["64:ff9b::8.8.8.8"],
        &["2002:808:808::1"],
        &["2606:4700::5efe:808:808"],
    ] {
        // The switch is for hosts that are called localhost, so it changes nothing.
        for fetcher in [Fetcher::default(), Fetcher::default().allow_loopback()] {
            let script = Script::new(&[addresses]);
            let fetcher = fetcher.resolver(script.clone());
            let url = format!("https://client.example:{}/x", server.address().port());
            let error = get_with(&fetcher, &url).await.unwrap_err();
            assert!(matches!(error, FetchError::SpecialUse), "{addresses:?}: {error:?}");
            assert_permanent(&error);
            assert_eq!(script.asked(), 1);
        }
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn localhost_is_refused_without_the_development_switch_and_is_loopback_with_it() {
    let server = serving(json_answer("{}")).await;
    let port = server.address().port();
    let script = || Script::new(&[&["127.0.0.1"]]);
    let guarded = Fetcher::default().resolver(script());
    assert!(matches!(guarded.get(&at(&server)).await, Err(FetchError::NotHttps)));
    for host in ["localhost", "localhost.", "LOCALHOST"] {
        let url = format!("https://{host}:{port}/x");
        assert!(
            matches!(get_with(&guarded, &url).await, Err(FetchError::SpecialUse)),
            "{url}"
        );
    }

    let development = guarded.allow_loopback();
    assert!(development.get(&at(&server)).await.is_ok());
    assert!(
        get_with(&development, &format!("http://127.0.0.1:{port}/x"))
            .await
            .is_ok()
    );
    for host in [
        "localhost.",
        "client.example",
        "10.0.0.1",
        "127.0.0.1.evil.example",
        "[::ffff:127.0.0.1]",
    ] {
        let url = format!("http://{host}:{port}/x");
        assert!(
            matches!(get_with(&development, &url).await, Err(FetchError::NotHttps)),
            "{url}"
        );
    }
    for elsewhere in [&["10.0.0.1"][..], &["127.0.0.1", "10.0.0.1"], &["8.8.8.8"]] {
        let development = development.clone().resolver(Script::new(&[elsewhere]));
        assert!(
            matches!(development.get(&at(&server)).await, Err(FetchError::SpecialUse)),
            "{elsewhere:?}"
        );
    }
}

#[tokio::test]
async fn addresses_are_refused_in_every_spelling_and_nobody_is_asked_for_them() {
    let fetcher = Fetcher::default().resolver(NoLookups);
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0.0.1",
        "017700000001",
        "0177.0.0.01",
        "%31%32%37.0.0.1",
        "\u{2460}\u{2461}\u{2466}.0.0.1",
        "\u{ff11}\u{ff12}\u{ff17}\u{3002}0\u{3002}0\u{3002}1",
        "0",
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "172.31.255.255",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "4294967295",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::FFFF:7f00:1]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::1]",
        "[2001::1]",
        "[2002:7f00:1::]",
        "[fc00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[2606:4700::200:5efe:127.0.0.1]",
    ] {
        for url in [format!("https://{host}/x"), format!("https://{host}:8443/x")] {
            let error = get_with(&fetcher, &url).await.unwrap_err();
            assert!(matches!(error, FetchError::SpecialUse), "{url}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_url_that_is_not_plain_https_is_refused_before_anything_is_asked() {
    let fetcher = Fetcher::default().resolver(NoLookups);
    for url in [
        "http://client.example/x",
        "http://127.0.0.1/x",
        "ftp://client.example/x",
        "file:///etc/passwd",
        "data:,x",
    ] {
        let error = get_with(&fetcher, url).await.unwrap_err();
        assert!(matches!(error, FetchError::NotHttps), "{url}: {error:?}");
        assert_permanent(&error);
    }
    for url in [
        "https://ada@client.example/x",
        "https://:hunter2@client.example/x",
        "https://client.example/x#",
    ] {
        let error = get_with(&fetcher, url).await.unwrap_err();
        assert!(matches!(error, FetchError::Superfluous), "{url}: {error:?}");
        assert_permanent(&error);
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_for_each_fetch_and_the_connection_goes_where_the_check_was() {
    let server = serving(json_answer("{}")).await;
    let script = Script::new(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let fetcher = fetcher().resolver(script.clone());
    assert!(fetcher.get(&at(&server)).await.is_ok());
    assert_eq!(script.asked(), 1);
    // The next fetch does not go on with the connection of the last one: it is checked again.
    assert!(matches!(fetcher.get(&at(&server)).await, Err(FetchError::SpecialUse)));
    assert_eq!(script.asked(), 2);
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1);
    // It was asked by its name, as its certificate would have to say.
    assert_eq!(
        requests[0].headers["host"],
        format!("localhost:{}", server.address().port()).as_str()
    );
}

#[tokio::test]
async fn no_more_than_eight_addresses_of_a_name_are_tried() {
    // Nobody listens at any of the first eight, and the server is the ninth.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses = |closed: u8| {
        let closed = (2..2 + closed).map(|last| IpAddr::from([127, 0, 0, last]));
        closed
            .chain([LOOPBACK])
            .map(|address| address.to_string())
            .collect::<Vec<_>>()
    };
    let url = format!("http://localhost:{port}/");
    for (closed, reached) in [(8, false), (7, true)] {
        let addresses = addresses(closed);
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let impatient = fetcher()
            .resolver(Script::new(&[&addresses]))
            .timeout(Duration::from_millis(200));
        let error = get_with(&impatient, &url).await.unwrap_err();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().is_ok(), reached, "{error:?}");
    }
}

// === When nobody answers ===

#[derive(Debug)]
struct Broken;

#[async_trait]
impl Resolve for Broken {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Err(std::io::Error::other("no name server"))
    }
}

#[tokio::test]
async fn a_name_without_an_address_may_have_one_later() {
    let none = Fetcher::default().resolver(Script::new(&[&[]]));
    let broken = Fetcher::default().resolver(Broken);
    for fetcher in [none, broken] {
        let error = get_with(&fetcher, "https://client.example/x").await.unwrap_err();
        assert!(matches!(error, FetchError::Unresolved { .. }), "{error:?}");
        assert_transient(&error);
    }
}

#[tokio::test]
async fn the_operating_system_finds_localhost_and_the_guard_refuses_it() {
    // A real lookup, of the one name that needs no network.
    let server = serving(json_answer("{}")).await;
    let url = format!("https://localhost:{}/x", server.address().port());
    assert!(matches!(
        get_with(&Fetcher::default(), &url).await,
        Err(FetchError::SpecialUse)
    ));
}

#[tokio::test]
async fn a_connection_that_fails_or_breaks_may_work_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed: Url = format!("http://localhost:{}/", listener.local_addr().unwrap().port())
        .parse()
        .unwrap();
    drop(listener);
    // Speaks http where https is asked for, so that TLS cannot begin.
    let server = serving(json_answer("{}")).await;
    let not_tls: Url = format!("https://localhost:{}/", server.address().port())
        .parse()
        .unwrap();
    let not_http = raw_server(b"220 mail.example ESMTP\r\n", "", 0);
    for url in [closed, not_tls, not_http] {
        let error = fetcher().get(&url).await.unwrap_err();
        assert!(matches!(error, FetchError::Transport { .. }), "{url}: {error:?}");
        assert_transient(&error);
    }
}

// === What is shown ===

#[tokio::test]
async fn no_error_shows_the_url_or_the_address() {
    let server = MockServer::start().await;
    let at = |scheme: &str| format!("{scheme}://localhost:{}/metadata?key=hunter2", server.address().port());
    let script = |address: &str| fetcher().resolver(Script::new(&[&[address]]));
    let errors = [
        get_with(&script("127.0.0.1"), &at("http")).await.unwrap_err(),
        get_with(&script("127.0.0.1"), &at("https")).await.unwrap_err(),
        get_with(&script("10.11.12.13"), &at("http")).await.unwrap_err(),
        get_with(&fetcher().resolver(Script::new(&[&[]])), &at("http"))
            .await
            .unwrap_err(),
        get_with(&fetcher().resolver(Broken), &at("http")).await.unwrap_err(),
        get_with(&fetcher(), "http://client.example/?key=hunter2")
            .await
            .unwrap_err(),
        get_with(&fetcher(), "https://ada:hunter2@client.example/")
            .await
            .unwrap_err(),
    ];
    for error in errors {
        let mut shown = format!("{error} {error:?}");
        let mut source = error.source();
        while let Some(error) = source {
            shown = format!("{shown} {error} {error:?}");
            source = error.source();
        }
        for hidden in ["hunter2", "metadata?", "10.11.12.13"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}

#[test]
fn a_fetcher_can_be_shared_by_threads() {
    fn assert_shareable<T: Clone + Send + Sync + 'static>(_: &T) {}
    assert_shareable(&Fetcher::default());
}

/// Keeps what it was asked for, and knows nobody.
#[derive(Clone, Debug, Default)]
struct Nobody(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Resolve for Nobody {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        self.0.lock().unwrap().push(host.to_owned());
        Ok(Vec::new())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_url_panics_and_no_address_is_ever_looked_up(text in ".*", host in "[0-9a-fxA-FX.:%\\[\\]]{1,20}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for text in [text, format!("https://{host}/x")] {
            let Ok(url) = text.parse::<Url>() else {
                continue;
            };
            // Addresses that are public would be connected to.
            let public = match url.host() {
                Some(url::Host::Ipv4(address)) => mcp_oauth_core::fetch::address::special_use(address.into()).is_none(),
                Some(url::Host::Ipv6(address)) => mcp_oauth_core::fetch::address::special_use(address.into()).is_none(),
                Some(url::Host::Domain(_)) | None => false,
            };
            prop_assume!(!public);
            let nobody = Nobody::default();
            prop_assert!(runtime.block_on(Fetcher::default().resolver(nobody.clone()).get(&url)).is_err());
            for asked in nobody.0.lock().unwrap().iter() {
                prop_assert!(asked.parse::<IpAddr>().is_err(), "{}", asked);
            }
        }
    }
}
