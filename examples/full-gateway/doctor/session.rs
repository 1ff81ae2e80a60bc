//! What only shows with a token: a session, the headers that have to get through, and streams.

use http::Method;
use http::header::CONTENT_ENCODING;
use mcp_oauth_core::secret::Secret;

use super::Walk;
use super::challenge::Challenge;
use super::endpoint::{INITIALIZE, MCP_HEADERS};
use super::probe::content_type;
use super::problem::Problem;
use super::report::Step;

const STEP: Step = Step::Session;
const PING: &str = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
const NOBODYS_SESSION: &str = "00000000-0000-4000-8000-00000000d0c7";
const NO_VERSION: &str = "1900-01-01";

pub(crate) async fn check(walk: &mut Walk, token: &Secret) {
    // It goes nowhere where it could be read.
    let safe = !walk.lines.iter().any(|line| {
        matches!(
            line.outcome,
            Err(Problem::Certificate { .. } | Problem::PlainHttp { .. })
        )
    });
    if !safe {
        return;
    }
    let authorization = format!("Bearer {}", token.expose());
    let with_token = [&MCP_HEADERS[..], &[("authorization", authorization.as_str())]].concat();
    let url = walk.url.clone();
    let body = || Some(INITIALIZE.to_owned());
    let answer = match walk.probe.send(Method::POST, &url, &with_token, body()).await {
        Ok(answer) => answer,
        Err(Problem::Timeout { seconds, .. }) => return walk.found(STEP, Problem::StreamBuffered { seconds }),
        Err(problem) => return walk.found(STEP, problem),
    };
    if answer.status == 401 {
        let error = Challenge::find(&answer.headers).and_then(|challenge| challenge.error);
        let problem = match error {
            Some(error) => Problem::TokenRefused { error },
            None => Problem::AuthorizationStripped,
        };
        return walk.found(STEP, problem);
    }
    let status = answer.status.as_u16();
    if status != 200 {
        return walk.found(STEP, Problem::InitializeFails { status });
    }
    walk.good(STEP, "initialize is answered");
    if content_type(&answer.headers).starts_with("text/event-stream") {
        let encoding = answer.header(CONTENT_ENCODING.as_str()).to_owned();
        if !encoding.is_empty() {
            walk.found(STEP, Problem::StreamCompressed { encoding });
        }
        if !answer.began {
            let seconds = walk.probe.seconds();
            walk.found(STEP, Problem::StreamBuffered { seconds });
        }
    }
    let session = answer.header("mcp-session-id").to_owned();
    let mut next = with_token.clone();
    next.push(("mcp-protocol-version", "2025-11-25"));
    if session.is_empty() {
        if let Ok(answer) = walk.probe.send(Method::POST, &url, &next, Some(PING.to_owned())).await {
            let speaks_of_it = String::from_utf8_lossy(&answer.body)
                .to_ascii_lowercase()
                .contains("session");
            if answer.status.is_client_error() && speaks_of_it {
                walk.found(STEP, Problem::SessionIdStripped);
            } else {
                walk.good(STEP, "the server has no sessions");
            }
        }
        return;
    }
    next.push(("mcp-session-id", session.as_str()));
    headers(walk, &with_token, &next).await;
    stream(walk, &next).await;
    // The session is not needed any longer; a server may say that it ends them itself.
    let _ = walk.probe.send(Method::DELETE, &url, &next, None).await;
}

/// Whether what the client says of its session and its version gets there.
async fn headers(walk: &mut Walk, with_token: &[(&str, &str)], next: &[(&str, &str)]) {
    let url = walk.url.clone();
    let others = [
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-session-id", NOBODYS_SESSION),
    ];
    let others = [with_token, &others].concat();
    if let Ok(answer) = walk
        .probe
        .send(Method::POST, &url, &others, Some(PING.to_owned()))
        .await
    {
        let status = answer.status.as_u16();
        if answer.status.is_client_error() {
            walk.good(STEP, "Mcp-Session-Id gets through");
        } else {
            walk.found(STEP, Problem::SessionIdNotSeen { status });
        }
    }
    let mut wrong = next.to_vec();
    wrong.retain(|(name, _)| *name != "mcp-protocol-version");
    wrong.push(("mcp-protocol-version", NO_VERSION));
    if let Ok(answer) = walk.probe.send(Method::POST, &url, &wrong, Some(PING.to_owned())).await {
        let status = answer.status.as_u16();
        if answer.status.is_client_error() {
            walk.good(STEP, "MCP-Protocol-Version gets through");
        } else {
            walk.found(STEP, Problem::ProtocolVersionNotSeen { status });
        }
    }
}

/// The stream that a client opens to hear from the server. Its head has to come at once, whenever there is something to say.
async fn stream(walk: &mut Walk, next: &[(&str, &str)]) {
    let url = walk.url.clone();
    let mut headers = next.to_vec();
    headers.retain(|(name, _)| !matches!(*name, "accept" | "content-type"));
    headers.push(("accept", "text/event-stream"));
    match walk.probe.get(&url, &headers).await {
        Ok(answer) if answer.status == 200 => {
            let encoding = answer.header(CONTENT_ENCODING.as_str()).to_owned();
            if encoding.is_empty() {
                walk.good(STEP, "a stream of events begins at once");
            } else {
                walk.found(STEP, Problem::StreamCompressed { encoding });
            }
        }
        Ok(_) => {}
        Err(Problem::Timeout { seconds, .. }) => walk.found(STEP, Problem::StreamBuffered { seconds }),
        Err(problem) => walk.found(STEP, problem),
    }
}
