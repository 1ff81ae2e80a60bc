//! The MCP endpoint without a token: the 401 with which all discovery begins.

use http::{Method, StatusCode, header};
use url::Url;

use super::Walk;
use super::challenge::Challenge;
use super::probe::Answer;
use super::problem::Problem;
use super::report::Step;

/// What an MCP client says first.
pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"doctor","version":"1"}}}"#;

/// With these headers.
pub(crate) const MCP_HEADERS: [(&str, &str); 2] = [
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
];

/// Has the form of a token, and is none.
const MADE_UP_TOKEN: &str = "Bearer made-up.by-the-doctor.to-be-refused";

/// What servers behind a proxy take for the word of that proxy.
const IDENTITY_HEADERS: [(&str, &str); 4] = [
    ("x-user-id", "doctor"),
    ("x-user-name", "doctor"),
    ("x-forwarded-user", "doctor"),
    ("x-auth-request-user", "doctor"),
];

const STEP: Step = Step::UnauthenticatedRequest;

/// Whether there is something to go on with: not where it is known that this is the wrong place.
pub(crate) async fn check(walk: &mut Walk) -> bool {
    match first(walk).await {
        Ok((url, answer)) if answer.status == StatusCode::UNAUTHORIZED => {
            walk.good(STEP, format!("POST {url} answers 401"));
            challenge(walk, &url, &answer);
            methods(walk, &url).await;
            bad_token(walk, &url).await;
            identity_headers(walk, &url).await;
            twin(walk, &url).await;
            true
        }
        Ok((url, answer)) => {
            let problem = instead_of_401(walk, &url, &answer).await;
            let elsewhere = matches!(problem, Problem::NotFound { instead: Some(_), .. });
            walk.found(STEP, problem);
            !elsewhere
        }
        Err(problem) => {
            let elsewhere = matches!(problem, Problem::Redirected { .. });
            walk.found(STEP, problem);
            !elsewhere
        }
    }
}

/// The first answer, and where it came from: a redirect to another spelling of the same is told and followed.
async fn first(walk: &mut Walk) -> Result<(Url, Answer), Problem> {
    let url = walk.url.clone();
    let answer = post(walk, &url, &[]).await?;
    let Some(to) = answer.location(&url) else {
        return Ok((url, answer));
    };
    let problem = Problem::Redirected {
        url: url.to_string(),
        status: answer.status.as_u16(),
        to: to.to_string(),
    };
    if to.host_str() != url.host_str() {
        return Err(problem);
    }
    walk.found(STEP, problem);
    walk.url = to.clone();
    let answer = post(walk, &to, &[]).await?;
    Ok((to, answer))
}

async fn post(walk: &mut Walk, url: &Url, more: &[(&str, &str)]) -> Result<Answer, Problem> {
    let headers = [&MCP_HEADERS[..], more].concat();
    let body = INITIALIZE.to_owned();
    walk.probe.send(Method::POST, url, &headers, Some(body)).await
}

async fn instead_of_401(walk: &mut Walk, url: &Url, answer: &Answer) -> Problem {
    let (text, status) = (url.to_string(), answer.status.as_u16());
    match status {
        _ if answer.is_html() && (status < 400 || status == 404) => {
            let instead = elsewhere(walk, url).await;
            match instead {
                Some(_) => Problem::NotFound {
                    url: text,
                    status,
                    instead,
                },
                None => Problem::WebPage { url: text, status },
            }
        }
        200..=299 => Problem::Unprotected {
            method: "POST".to_owned(),
            url: text,
            status,
        },
        403 => Problem::Forbidden { url: text },
        404 | 405 | 410 => {
            let instead = elsewhere(walk, url).await;
            Problem::NotFound {
                url: text,
                status,
                instead,
            }
        }
        421 => Problem::HostRefused { url: text },
        502..=504 => Problem::Unavailable { url: text, status },
        500.. => Problem::ServerError { url: text, status },
        _ => Problem::CheckedFirst { url: text, status },
    }
}

/// Looks for the place that was meant.
async fn elsewhere(walk: &mut Walk, url: &Url) -> Option<String> {
    let path = url.path().trim_end_matches('/');
    let paths = [
        twin_of(url.path()),
        format!("{path}/mcp"),
        "/mcp".to_owned(),
        "/".to_owned(),
    ];
    for path in paths {
        if path == url.path() {
            continue;
        }
        let mut other = url.clone();
        other.set_path(&path);
        if let Ok(answer) = post(walk, &other, &[]).await
            && answer.status == StatusCode::UNAUTHORIZED
        {
            return Some(other.to_string());
        }
    }
    None
}

fn challenge(walk: &mut Walk, url: &Url, answer: &Answer) {
    let sent = answer.header(header::WWW_AUTHENTICATE.as_str());
    let Some(challenge) = Challenge::find(&answer.headers) else {
        let header = sent.chars().take(200).collect();
        let problem = if sent.is_empty() {
            Problem::NoChallenge
        } else {
            Problem::NoBearerChallenge { header }
        };
        return walk.found(STEP, problem);
    };
    match challenge.resource_metadata.clone() {
        None => walk.found(STEP, Problem::ChallengeWithoutMetadata),
        Some(value) => match Url::parse(&value) {
            Err(_) => walk.found(STEP, Problem::MetadataLinkNotAbsolute { value }),
            Ok(link) if link.origin() != url.origin() => walk.found(STEP, Problem::MetadataLinkElsewhere { value }),
            Ok(link) => walk.good(STEP, format!("its challenge leads to {link}")),
        },
    }
    walk.challenge = Some(challenge);
}

/// Some clients ask with GET or HEAD first.
async fn methods(walk: &mut Walk, url: &Url) {
    for method in [Method::GET, Method::HEAD] {
        let headers = [("accept", "text/event-stream")];
        let answer = match walk.probe.send(method.clone(), url, &headers, None).await {
            Ok(answer) => answer,
            Err(problem) => {
                walk.found(STEP, problem);
                continue;
            }
        };
        let (status, method, url) = (answer.status.as_u16(), method.to_string(), url.to_string());
        match status {
            401 => walk.good(STEP, format!("{method} answers 401")),
            200..=299 => walk.found(STEP, Problem::Unprotected { method, url, status }),
            _ => walk.found(STEP, Problem::MethodNotChallenged { method, url, status }),
        }
    }
}

async fn bad_token(walk: &mut Walk, url: &Url) {
    let answer = match post(walk, url, &[("authorization", MADE_UP_TOKEN)]).await {
        Ok(answer) => answer,
        Err(problem) => return walk.found(STEP, problem),
    };
    let (status, url) = (answer.status.as_u16(), url.to_string());
    match status {
        401 => {
            let error = Challenge::find(&answer.headers).and_then(|challenge| challenge.error);
            if error.as_deref() == Some("invalid_token") {
                walk.good(STEP, "a made-up token is an invalid_token");
            } else if walk.challenge.is_some() {
                walk.found(STEP, Problem::TokenNotSeen);
            }
        }
        200..=299 => walk.found(STEP, Problem::AnyTokenAccepted { url, status }),
        _ => walk.found(STEP, Problem::BadTokenNotRefused { url, status }),
    }
}

async fn identity_headers(walk: &mut Walk, url: &Url) {
    match post(walk, url, &IDENTITY_HEADERS).await {
        Ok(answer) if answer.status.is_success() => {
            let (url, status) = (url.to_string(), answer.status.as_u16());
            walk.found(STEP, Problem::IdentityHeadersAccepted { url, status });
        }
        Ok(_) => walk.good(STEP, "who says in X-User-Id who they are stays outside"),
        Err(problem) => walk.found(STEP, problem),
    }
}

/// The path with the slash at its end, or without.
fn twin_of(path: &str) -> String {
    match path.strip_suffix('/') {
        Some(without) => without.to_owned(),
        None => format!("{path}/"),
    }
}

async fn twin(walk: &mut Walk, url: &Url) {
    if url.path() == "/" {
        return;
    }
    let mut twin = url.clone();
    twin.set_path(&twin_of(url.path()));
    let answer = match post(walk, &twin, &[]).await {
        Ok(answer) => answer,
        Err(problem) => return walk.found(STEP, problem),
    };
    let to = answer.location(&twin);
    let (status, url) = (answer.status.as_u16(), twin.to_string());
    match (status, to) {
        (401, _) => walk.good(STEP, format!("{url}, the other spelling, answers 401 too")),
        (_, Some(to)) => walk.found(
            STEP,
            Problem::TwinRedirects {
                url,
                to: to.to_string(),
            },
        ),
        (200..=299, _) if !answer.is_html() => {
            let method = "POST".to_owned();
            walk.found(STEP, Problem::Unprotected { method, url, status });
        }
        _ => walk.found(STEP, Problem::TwinMissing { url, status }),
    }
}
