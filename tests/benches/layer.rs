//! What the layer costs: the processor time and the allocations of a request, side by side with a handler that has no layer.
//!
//! ```sh
//! cargo bench -p mcp-oauth-tests --bench layer              # in this process, on one thread
//! cargo bench -p mcp-oauth-tests --bench layer -- allocations
//! cargo bench -p mcp-oauth-tests --bench layer -- load      # over loopback, with wrk (Debian: apt-get install wrk)
//! ```
//!
//! What is promised stands beside the figure, and a promise that is not kept fails the run. Throughput is counted by the processor
//! time of server and client together, which is what limits a machine that both keep busy: two programs that take turns beside
//! others get unequal shares of the clock. What the clock says is printed as well.
//!
//! Over loopback the scheduler has a word in it. A client that has had less than its share of the processor interrupts the
//! server at each answer, one that has had as much waits its turn; a handler that answers with five letters takes about as
//! long as `wrk` does, so the least that it does besides tips the scale: server and client then change places twice as often,
//! and 0.95 becomes 0.89. So `wrk` is started by `chrt --batch 0`, with which it interrupts nobody, with the layer or without.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the run")]

use std::cell::Cell;
use std::process::Command;
use std::sync::LazyLock;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use axum::Router;
use axum::body::Body;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response};
use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::client::registration::GrantType;
use mcp_oauth_core::clock::SystemClock;
use mcp_oauth_core::limits::Limits;
use mcp_oauth_core::scope::rules::Rule;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::application::{Application, NOTES, files, notes};
use mcp_oauth_tests::measure::{Contestant, childrens_time, in_turns, median, process_time};
use mcp_oauth_tower::{Caller, OAuthLayer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::runtime::Runtime;
use tower::{Layer as _, Service, ServiceExt};

const SECRET: &str = "a secret that somebody made up, 0123456789";
const ROUNDS: usize = 60;
const TIMES: usize = 100;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
});

/// An application without limits, so that it can be asked for as many tokens as are needed.
fn application() -> Application {
    let job = PreregisteredClient::with_secret("job", Secret::from(SECRET))
        .grant_type(GrantType::ClientCredentials)
        .resource(NOTES);
    // With the clock that programs have: to look at it is a part of what a request costs.
    Application::new(|builder| builder.client(job).limits(Limits::unlimited()).clock(SystemClock))
}

async fn token(application: &Application) -> String {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "job"),
        ("client_secret", SECRET),
        ("resource", NOTES),
    ];
    let answer = application.post_form("/token", &form).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn hello() -> &'static str {
    "hello"
}

async fn greet(caller: Caller) -> String {
    caller.subject().to_owned()
}

fn request(bearer: &str) -> Request<Body> {
    Request::post("/notes/mcp")
        .header("authorization", bearer)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(Body::empty())
        .unwrap()
}

/// A router as `axum::serve` has it: made once, and not anew for each request.
fn served(router: &Router) -> Router {
    router.clone().with_state(())
}

/// Sends one request through a router, as a server does.
fn send(router: &mut Router, bearer: &str) -> u16 {
    let answer = async {
        let ready = ServiceExt::<Request<Body>>::ready(router).await.unwrap();
        ready.call(request(bearer)).await.unwrap()
    };
    let response: Response<Body> = RUNTIME.block_on(answer);
    response.status().as_u16()
}

/// Sends requests that are all answered with this status, each with the next one of these.
fn sends<'a>(router: &Router, bearers: &'a [String], status: u16) -> impl FnMut(usize) + 'a {
    let (mut router, next) = (served(router), Cell::new(0));
    move |times| {
        for _ in 0..times {
            let position = next.get();
            next.set(position + 1);
            assert_eq!(send(&mut router, &bearers[position % bearers.len()]), status);
        }
    }
}

fn promise(kept: &mut bool, what: &str, value: f64, unit: &str, bound: f64, at_most: bool) {
    let holds = if at_most { value <= bound } else { value >= bound };
    let (word, mark) = (
        if at_most { "at most" } else { "at least" },
        if holds { "ok" } else { "NOT KEPT" },
    );
    println!("  {what:<58} {value:>8.3} {unit:<2} ({word} {bound}) {mark}");
    *kept &= holds;
}

/// The signature of each token with the same key and library, and nothing else.
fn signatures(application: &Application, tokens: &[String]) -> impl FnMut(usize) {
    let keys = RUNTIME.block_on(application.server.jwks()).unwrap();
    let key = serde_json::to_value(&keys.keys().keys[0]).unwrap();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [vec![4], number("x"), number("y")].concat()).unwrap();
    let parts: Vec<(String, Vec<u8>)> = tokens
        .iter()
        .map(|token| {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            (signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
        })
        .collect();
    let mut next = 0;
    move |times| {
        for _ in 0..times {
            let (signed, signature) = &parts[next % parts.len()];
            next += 1;
            key.verify_sig(signed.as_bytes(), signature).unwrap();
        }
    }
}

fn in_process() -> bool {
    let application = application();
    let number = (ROUNDS + 1) * TIMES;
    println!("signing {number} tokens …");
    let tokens: Vec<String> = RUNTIME.block_on(async {
        let mut tokens = Vec::with_capacity(number);
        for _ in 0..number {
            tokens.push(token(&application).await);
        }
        tokens
    });
    let bearer = |token: &String| format!("Bearer {token}");
    let fresh: Vec<String> = tokens.iter().map(bearer).collect();
    // A good token whose signature is another one's.
    let forged: Vec<String> = tokens
        .windows(2)
        .map(|pair| {
            let (signed, other) = (pair[0].rsplit_once('.').unwrap().0, pair[1].rsplit_once('.').unwrap().1);
            format!("Bearer {signed}.{other}")
        })
        .collect();
    let remembered = vec![bearer(&RUNTIME.block_on(token(&application)))];
    let garbage = vec!["Bearer not.a.token".to_owned()];

    let bare = Router::new().route("/notes/mcp", post(hello));
    let layer = OAuthLayer::new(&application.server, NOTES).unwrap();
    // What axum takes for any layer, whatever it does.
    let idle = bare.clone().layer(tower::layer::layer_fn(|service| service));
    let layered = bare.clone().layer(layer.clone());
    let extracting = Router::new().route("/notes/mcp", post(greet)).layer(layer);
    let ruled = ruled();

    let mut contestants = [
        Contestant::new("a handler without a layer", sends(&bare, &remembered, 200)),
        Contestant::new("a layer that does nothing", sends(&idle, &remembered, 200)),
        Contestant::new("the layer, a remembered token", sends(&layered, &remembered, 200)),
        Contestant::new(
            "the same, and the handler asks who calls",
            sends(&extracting, &remembered, 200),
        ),
        Contestant::new("the layer, a fresh token", sends(&layered, &fresh, 200)),
        Contestant::new("the layer, a forged token", sends(&layered, &forged, 401)),
        Contestant::new("the layer, something that is no token", sends(&layered, &garbage, 401)),
        Contestant::new("a signature (ES256) by itself", signatures(&application, &tokens)),
        Contestant::new("the layer with rules, reading the body", ruled),
    ];
    in_turns(&mut contestants, ROUNDS, TIMES);
    println!("\nprocessor time of one request, median of {ROUNDS} rounds of {TIMES}, in turns:");
    for contestant in &contestants {
        println!("  {contestant:?}");
    }
    let [bare_handler, _, hit, _, first, refused, nonsense, signature, _] = &contestants;
    let mut kept = true;
    println!("\npromises:");
    promise(
        &mut kept,
        "a remembered token costs more than no layer",
        hit.more_than(bare_handler),
        "µs",
        3.0,
        true,
    );
    let beyond = first.more_than(bare_handler) - signature.microseconds();
    promise(
        &mut kept,
        "a fresh token costs more than its signature",
        beyond,
        "µs",
        10.0,
        true,
    );
    promise(
        &mut kept,
        "a forged token costs as much as a fresh good one, times",
        refused.ratio_to(first),
        "",
        1.0,
        true,
    );
    promise(
        &mut kept,
        "nonsense costs as much as a fresh good token, times",
        nonsense.ratio_to(first),
        "",
        1.0,
        true,
    );

    kept & allocations()
}

/// How often an accepted request allocates, with the layer and without.
fn allocations() -> bool {
    let application = application();
    let bearer = format!("Bearer {}", RUNTIME.block_on(token(&application)));
    let bare = Router::new().route("/notes/mcp", post(hello));
    let idle = bare.clone().layer(tower::layer::layer_fn(|service| service));
    let layered = bare.clone().layer(OAuthLayer::new(&application.server, NOTES).unwrap());
    let count = |router: &Router| {
        let mut router = served(router);
        send(&mut router, &bearer);
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                send(&mut router, &bearer);
            }
        });
        f64::from(u32::try_from(counted.count_total).unwrap()) / 100.0
    };
    let [without, with_idle, with] = [&bare, &idle, &layered].map(count);
    println!("  allocations: {without} without a layer, {with_idle} with one that does nothing, {with} with this one");
    let (mut kept, more) = (true, with - without);
    promise(
        &mut kept,
        "an accepted request allocates more often than without",
        more,
        "",
        4.0,
        true,
    );
    kept
}

/// A resource with rules, whose requests have bodies.
fn ruled() -> impl FnMut(usize) {
    let body =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"oauth"}}}"#;
    let job = PreregisteredClient::with_secret("job", Secret::from(SECRET))
        .grant_type(GrantType::ClientCredentials)
        .resource(NOTES);
    let resource = notes().rule(Rule::tool("search").needs("notes:use").unwrap()).unwrap();
    let application = Application::with_resources(
        mcp_oauth_tests::failing_store::FailingStore::new(mcp_oauth_tower::MemoryStore::default()),
        mcp_oauth_core::clock::ManualClock::default(),
        [resource, files()],
        |builder| builder.client(job),
    );
    let bearer = format!("Bearer {}", RUNTIME.block_on(token(&application)));
    let layer = OAuthLayer::new(&application.server, NOTES).unwrap().read_bodies();
    let mut router = served(&Router::new().route("/notes/mcp", post(hello)).layer(layer));
    move |times| {
        for _ in 0..times {
            let mut request = request(&bearer);
            *request.body_mut() = Body::from(body);
            let answer = async {
                let ready = ServiceExt::<Request<Body>>::ready(&mut router).await.unwrap();
                ready.call(request).await.unwrap()
            };
            assert_eq!(RUNTIME.block_on(answer).status(), 200);
        }
    }
}

/// A server as `#[tokio::main]` makes one, with a thread for each processor.
struct Server {
    url: String,
    _runtime: Runtime,
}

impl Server {
    fn start(router: Router) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/notes/mcp", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, _runtime: runtime }
    }

    /// Has `wrk` send for a second.
    fn load(&self, bearer: &str) -> Load {
        // Nothing else of this process does anything meanwhile.
        let (server, client) = (process_time(), childrens_time());
        let output = Command::new("chrt")
            .args(["--batch", "0", "wrk", "-t2", "-c64", "-d1s", "-s"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/post.lua"))
            .args(["-H", &format!("Authorization: {bearer}"), &self.url])
            .output()
            .expect("chrt is there, and wrk is installed: apt-get install util-linux wrk");
        let (server, client) = (
            process_time().saturating_sub(server),
            childrens_time().saturating_sub(client),
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !text.contains("Non-2xx"), "{text}");
        let figure = |line: Option<&str>| -> f64 { line.unwrap().trim().parse().unwrap() };
        let requests = figure(
            text.lines()
                .find_map(|line| line.split_once(" requests in ").map(|parts| parts.0)),
        );
        Load {
            clock: figure(text.lines().find_map(|line| line.strip_prefix("Requests/sec:"))),
            processor: requests / (server + client).as_secs_f64(),
            server: requests / server.as_secs_f64(),
        }
    }
}

/// Requests answered with 200, in a second.
struct Load {
    /// Of the clock.
    clock: f64,
    /// Of a processor that server and client share: what the clock would tell if both had a machine to themselves.
    processor: f64,
    /// Of a processor that the server has to itself.
    server: f64,
}

/// An MCP server that can do next to nothing.
struct Nothing;

#[rmcp::tool_router(server_handler)]
impl Nothing {
    #[rmcp::tool(description = "Does nothing")]
    fn nothing() -> String {
        String::new()
    }
}

/// The least that an MCP server does: `rmcp`, without sessions, answering `ping` as JSON.
fn mcp() -> StreamableHttpService<Nothing, LocalSessionManager> {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true);
    StreamableHttpService::new(|| Ok(Nothing), LocalSessionManager::default().into(), config)
}

/// Servers with the layer and without, over loopback, in turns.
fn over_loopback() -> bool {
    let application = application();
    let bearer = format!("Bearer {}", RUNTIME.block_on(token(&application)));
    let layer = OAuthLayer::new(&application.server, NOTES).unwrap();
    let mut kept = true;
    let mut compare = |what: &str, bare: Router, layered: Router| {
        println!("{what}:");
        let (ratio, promised) = (
            throughput(&bearer, bare, layered),
            "throughput with the layer, times that without",
        );
        promise(&mut kept, promised, ratio, "", 0.95, false);
    };
    let bare = Router::new().nest_service("/notes/mcp", mcp());
    let around = Router::new().nest_service("/notes/mcp", layer.layer(mcp()));
    compare(
        "an MCP server that answers a ping, and the layer around it",
        bare.clone(),
        around,
    );
    compare(
        "the same, and the layer around axum's router, which boxes once more what goes through it",
        bare.clone(),
        bare.layer(layer.clone()),
    );
    let bare = Router::new().route("/notes/mcp", post(hello));
    compare(
        "a handler that answers with five letters, less than any server does",
        bare.clone(),
        bare.layer(layer),
    );
    kept
}

/// How many times as much gets through with the layer, by processor time.
fn throughput(bearer: &str, bare: Router, layered: Router) -> f64 {
    let (without, with) = (Server::start(bare), Server::start(layered));
    let mut figures = Vec::new();
    for round in 0..31 {
        // Whoever comes first has no advantage from it.
        let pair = if round % 2 == 0 {
            let bare = without.load(bearer);
            (bare, with.load(bearer))
        } else {
            let layered = with.load(bearer);
            (without.load(bearer), layered)
        };
        figures.push(pair);
    }
    let show = |what: &str, pick: fn(&Load) -> f64| {
        let all = |of: fn(f64, f64) -> f64| {
            let pairs = figures.iter().map(|(without, with)| of(pick(without), pick(with)));
            median(&pairs.collect::<Vec<_>>())
        };
        let (without, with) = (all(|without, _| without), all(|_, with| with));
        let ratio = all(|without, with| with / without);
        println!("  in a second {what}: {without:.0} without the layer, {with:.0} with it, times {ratio:.3}");
        ratio
    };
    show("of the clock, on this machine as busy as it is", |load| load.clock);
    show("of a processor of the server's own", |load| load.server);
    show("of a processor that server and client share", |load| load.processor)
}

fn main() {
    // `cargo test --all-targets` runs benches too, as if they were tests.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run with `cargo bench -p mcp-oauth-tests --bench layer`");
        return;
    }
    let asked = |mode: &str| std::env::args().any(|argument| argument == mode);
    let kept = if asked("load") {
        over_loopback()
    } else if asked("allocations") {
        allocations()
    } else {
        in_process()
    };
    assert!(kept, "a promise is not kept");
}
