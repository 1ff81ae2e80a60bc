//! What a client in a browser needs: the Inspector, and web applications that are clients.

use http::Method;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
};
use url::Url;

use super::Walk;
use super::document::Document;
use super::endpoint::{INITIALIZE, MCP_HEADERS};
use super::probe::Answer;
use super::problem::Problem;
use super::report::Step;

/// Where the Inspector runs.
pub(crate) const ORIGIN: &str = "http://localhost:6274";

const STEP: Step = Step::CrossOrigin;

/// The MCP endpoint: it gets headers of MCP, and its answers have some that scripts must be able to read.
pub(crate) async fn check_resource(walk: &mut Walk) {
    let url = walk.url.clone();
    let wanted = [
        "authorization",
        "content-type",
        "mcp-protocol-version",
        "mcp-session-id",
    ];
    preflight(walk, &url, &wanted).await;
    let headers = [&MCP_HEADERS[..], &[("origin", ORIGIN)]].concat();
    let body = INITIALIZE.to_owned();
    match walk.probe.send(Method::POST, &url, &headers, Some(body)).await {
        Ok(answer) => check_answer(walk, &url, &answer, &["www-authenticate", "mcp-session-id"]),
        Err(problem) => walk.found(STEP, problem),
    }
    if !walk.lines.iter().any(|line| line.step == STEP && line.outcome.is_err()) {
        walk.good(STEP, "scripts of other origins may ask, and read what they need");
    }
}

/// The endpoints to which a script sends what needs a preflight.
pub(crate) async fn check_endpoints(walk: &mut Walk, metadata: &Document) {
    for (member, wanted) in [
        ("token_endpoint", &["authorization"][..]),
        ("registration_endpoint", &["content-type"]),
    ] {
        if let Some(url) = metadata.url(member) {
            preflight(walk, &url, wanted).await;
        }
    }
}

async fn preflight(walk: &mut Walk, url: &Url, wanted: &[&str]) {
    let requested = wanted.join(",");
    let headers = [
        ("origin", ORIGIN),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", requested.as_str()),
    ];
    let answer = match walk.probe.send(Method::OPTIONS, url, &headers, None).await {
        Ok(answer) => answer,
        Err(problem) => return walk.found(STEP, problem),
    };
    let (status, text) = (answer.status.as_u16(), url.to_string());
    if !answer.status.is_success() {
        return walk.found(STEP, Problem::PreflightRefused { url: text, status });
    }
    if !allows_origin(&answer) {
        return walk.found(
            STEP,
            Problem::NoAllowOrigin {
                url: text,
                preflight: true,
            },
        );
    }
    let methods = list(&answer, ACCESS_CONTROL_ALLOW_METHODS.as_str());
    // POST needs no permission of its own (Fetch §4.8), but clients also delete their session.
    if !methods.is_empty() && !methods.iter().any(|method| method == "post" || method == "*") {
        let (url, method) = (text.clone(), "POST".to_owned());
        walk.found(STEP, Problem::MethodNotAllowed { url, method });
    }
    let allowed = list(&answer, ACCESS_CONTROL_ALLOW_HEADERS.as_str());
    let lacks = wanted.iter().filter(|wanted| {
        let by_all = **wanted != "authorization" && allowed.iter().any(|allowed| allowed == "*");
        !by_all && !allowed.iter().any(|allowed| allowed == *wanted)
    });
    let lacks: Vec<_> = lacks.copied().collect();
    if !lacks.is_empty() {
        let headers = lacks.join(", ");
        walk.found(STEP, Problem::HeadersNotAllowed { url: text, headers });
    }
}

/// Looks at an answer to a request with an `Origin`, of which a script has to be able to read these headers.
pub(crate) fn check_answer(walk: &mut Walk, url: &Url, answer: &Answer, exposed: &[&str]) {
    let text = url.to_string();
    if !allows_origin(answer) {
        return walk.found(
            STEP,
            Problem::NoAllowOrigin {
                url: text,
                preflight: false,
            },
        );
    }
    let credentials = answer.header(ACCESS_CONTROL_ALLOW_CREDENTIALS.as_str());
    if credentials.eq_ignore_ascii_case("true") {
        walk.found(STEP, Problem::Credentials { url: text.clone() });
    }
    let readable = list(answer, ACCESS_CONTROL_EXPOSE_HEADERS.as_str());
    let lacks = exposed
        .iter()
        .filter(|header| !readable.iter().any(|readable| readable == "*" || readable == *header));
    let lacks: Vec<_> = lacks.copied().collect();
    if !lacks.is_empty() {
        let headers = lacks.join(", ");
        walk.found(STEP, Problem::HeadersNotExposed { url: text, headers });
    }
}

fn allows_origin(answer: &Answer) -> bool {
    matches!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN.as_str()), "*" | ORIGIN)
}

/// The members of a header that is a list, in lower case.
fn list(answer: &Answer, name: &str) -> Vec<String> {
    let values = answer.headers.get_all(name).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|member| member.trim().to_ascii_lowercase())
        .filter(|member| !member.is_empty())
        .collect()
}
