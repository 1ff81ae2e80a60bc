//! What `/verify` costs beside a bare axum handler that answers 200.
//!
//! First without a network, in processor time of one thread. Then under load: both in one server, asked with the same requests
//! by `wrk` (Debian's package) in turns. Throughput is compared as the median of the rounds' ratios; the processor's time is what
//! the server's process has used for the requests of its rounds.
//!
//! ```sh
//! cargo bench -p mcp-oauth-tests --bench verify             # nine rounds of two seconds
//! cargo bench -p mcp-oauth-tests --bench verify -- 21 3     # 21 rounds of three
//! ```

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the run")]

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::any;
use http::Request;
use mcp_oauth_tests::application::{Application, ISSUER, NOTES};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::measure::{Contestant, in_turns, median};
use mcp_oauth_tower::{ForwardAuth, Routes};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// The ratio of throughput that is promised.
const PROMISED: f64 = 0.9;

/// What is asked, by name.
const PATHS: [(&str, &str); 4] = [
    ("bare", "/bare"),
    ("verify", "/verify"),
    ("refused", "/verify"),
    ("signed", "/signed/verify"),
];

/// The headers that a proxy sends.
fn headers(token: &str) -> [(&'static str, String); 8] {
    [
        ("Authorization", format!("Bearer {token}")),
        ("X-Forwarded-Method", "POST".to_owned()),
        ("X-Forwarded-Host", ISSUER.trim_start_matches("http://").to_owned()),
        ("X-Forwarded-Uri", NOTES.trim_start_matches(ISSUER).to_owned()),
        ("X-Forwarded-Proto", "https".to_owned()),
        ("X-Forwarded-For", "203.0.113.9".to_owned()),
        ("Accept", "application/json, text/event-stream".to_owned()),
        ("User-Agent", "a client of some length/1.0".to_owned()),
    ]
}

/// The token with a signature that is none.
fn spoiled(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    format!("{signed}.{}", signature.chars().rev().collect::<String>())
}

/// Everything that is asked, and a token.
async fn application() -> (Router, String) {
    // The clock of the tests stands still, so that what is measured is not the store's reading once a second.
    let application = Application::default();
    let client = Client::public(&application).await;
    let token = client.sign_in(&application, "ada").await.access_token;
    let asked = |forward_auth| {
        let routes = Routes::new(&application.server).behind("127.0.0.1".parse().unwrap());
        routes.forward_auth(forward_auth).into_router()
    };
    let forward_auth = ForwardAuth::of(&application.server);
    let router = asked(forward_auth.clone())
        .route("/bare", any(|| async {}))
        .nest("/signed", asked(forward_auth.identity_tokens()));
    (router, token)
}

/// What each costs without a network.
fn alone() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (router, token) = runtime.block_on(application());
    let wrong = spoiled(&token);
    let mut contestants = PATHS.map(|(name, path)| {
        let refused = name == "refused";
        let peer = ConnectInfo(SocketAddr::from((Ipv4Addr::LOCALHOST, 4711)));
        let mut request = Request::get(path).extension(peer);
        for (header, value) in headers(if refused { &wrong } else { &token }) {
            request = request.header(header, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (router, runtime) = (router.clone(), &runtime);
        Contestant::new(name, move |times| {
            for _ in 0..times {
                let request = Request::from_parts(parts.clone(), Body::empty());
                let response = runtime.block_on(router.clone().oneshot(request)).unwrap();
                assert_eq!(response.status() == 200, !refused);
            }
        })
    });
    in_turns(&mut contestants, 51, 200);
    println!("without a network, 51 rounds of 200");
    for contestant in &contestants {
        println!("{contestant:?}   {:+8.3} µs", contestant.more_than(&contestants[0]));
    }
}

/// Serves until stdin ends; says where, and a token.
fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (router, token) = application().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        println!("{} {token}", listener.local_addr().unwrap());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let stopped = async {
            let ended = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
            ended.await.unwrap();
        };
        tokio::select! {
            served = axum::serve(listener, service) => served.unwrap(),
            () = stopped => {}
        }
    });
}

/// How long the processor has worked for a process, in microseconds, on Linux.
fn processor_time(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // A tick is 10 ms wherever Linux runs.
    ticks * 10_000.0
}

/// One round: requests in a second, and requests in all.
fn load(address: &str, path: &str, token: &str, seconds: u64) -> (f64, f64) {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c32", &format!("-d{seconds}s")]);
    for (name, value) in headers(token) {
        wrk.args(["-H", &format!("{name}: {value}")]);
    }
    let output = wrk
        .arg(format!("http://{address}{path}"))
        .output()
        .expect("wrk is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let number = |line: &str| line.split_whitespace().next().unwrap().parse::<f64>().unwrap();
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    let all = text.lines().find(|line| line.contains(" requests in ")).unwrap();
    (number(rate.expect("wrk says its rate")), number(all))
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        return serve();
    }
    alone();
    let number = |index: usize, default| {
        let text = arguments.get(index);
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (rounds, seconds) = (number(0, 9), number(1, 2));
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let (address, token) = line.trim().split_once(' ').unwrap();
    let wrong = spoiled(token);
    let mut rates = vec![Vec::new(); PATHS.len()];
    let mut costs = vec![(0.0, 0.0); PATHS.len()];
    for round in 0..=rounds {
        for (index, (name, path)) in PATHS.into_iter().enumerate() {
            let token = if name == "refused" { &wrong } else { token };
            let before = processor_time(server.id());
            let (rate, requests) = load(address, path, token, seconds);
            // The first round is to warm up.
            if round > 0 {
                rates[index].push(rate);
                costs[index].0 += processor_time(server.id()) - before;
                costs[index].1 += requests;
            }
        }
    }
    drop(server.stdin.take());
    server.wait().unwrap();
    let mut kept = true;
    println!("under load, {rounds} rounds of {seconds} s, 32 connections");
    for (index, (name, _)) in PATHS.into_iter().enumerate() {
        let pairs = rates[index].iter().zip(&rates[0]);
        let ratio = median(&pairs.map(|(rate, bare)| rate / bare).collect::<Vec<_>>());
        let (rate, cost) = (median(&rates[index]), costs[index].0 / costs[index].1);
        println!("{name:8} {rate:9.0} requests/s   {ratio:5.3} of bare   {cost:6.1} µs of the processor for each");
        kept &= name != "verify" || ratio >= PROMISED;
    }
    assert!(
        kept,
        "/verify keeps up with less than {PROMISED} of what a bare handler does"
    );
}
