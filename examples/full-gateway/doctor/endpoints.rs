//! The authorization server's endpoints, asked in a way that changes nothing: each has to refuse, in its own words.

use http::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::document::{Document, Fetched, fetch};
use super::probe::Answer;
use super::problem::{DocumentFault, Problem};
use super::report::Step;
use super::{Walk, cross_origin};

const STEP: Step = Step::Endpoints;

/// A host that cannot be (RFC 2606): whoever is sent there was sent by a mistake.
const NOBODYS_REDIRECT_URI: &str = "https://doctor.invalid/callback";

pub(crate) async fn check(walk: &mut Walk, metadata: &Document) {
    if let Some(url) = metadata.url("jwks_uri") {
        keys(walk, &url).await;
    }
    if let Some(url) = metadata.url("authorization_endpoint") {
        authorization(walk, &url).await;
    }
    if let Some(url) = metadata.url("token_endpoint") {
        token(walk, &url).await;
    }
    if let Some(url) = metadata.url("registration_endpoint") {
        registration(walk, &url).await;
    }
}

async fn keys(walk: &mut Walk, url: &Url) {
    let document = match fetch(walk, STEP, url).await {
        Fetched::Document(document) => document,
        Fetched::Nothing(status) => {
            let (url, fault, needed) = (url.to_string(), DocumentFault::Missing { status }, false);
            return walk.found(STEP, Problem::Document { url, fault, needed });
        }
        Fetched::Fault(fault) => {
            let (url, needed) = (url.to_string(), false);
            return walk.found(STEP, Problem::Document { url, fault, needed });
        }
        Fetched::Failed(problem) => return walk.found(STEP, problem),
    };
    let keys = document.members.get("keys").and_then(Value::as_array);
    let keys = keys.map(Vec::as_slice).unwrap_or_default();
    // The private exponent, a prime, or a shared secret (RFC 7518 §6).
    let private = keys
        .iter()
        .any(|key| ["d", "p", "k"].iter().any(|member| key.get(member).is_some()));
    let url = url.to_string();
    if private {
        walk.found(STEP, Problem::PrivateKeyPublished { url });
    } else if keys.is_empty() {
        walk.found(STEP, Problem::NoKeys { url });
    } else {
        walk.good(STEP, format!("{url} has keys: {}", keys.len()));
    }
}

/// A client that nobody knows, with a redirect URI that nobody has.
async fn authorization(walk: &mut Walk, url: &Url) {
    let mut request = url.clone();
    request
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", "unknown-client-of-the-doctor")
        .append_pair("redirect_uri", NOBODYS_REDIRECT_URI)
        .append_pair("state", "doctor")
        .append_pair("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
        .append_pair("code_challenge_method", "S256");
    let answer = match walk.probe.get(&request, &[("accept", "text/html")]).await {
        Ok(answer) => answer,
        Err(problem) => return walk.found(STEP, problem),
    };
    let to = answer.location(url);
    let status = answer.status.as_u16();
    let url = url.to_string();
    if to.is_some_and(|to| to.as_str().starts_with(NOBODYS_REDIRECT_URI)) {
        walk.found(STEP, Problem::OpenRedirect { url });
    } else if matches!(status, 404 | 405 | 500..) {
        answers(
            walk,
            "the authorization endpoint",
            url,
            status,
            "GET with an unknown client",
        );
    } else {
        walk.good(STEP, format!("{url} sends nobody to an address that it does not know"));
    }
}

async fn token(walk: &mut Walk, url: &Url) {
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
        ("origin", cross_origin::ORIGIN),
    ];
    let body = "grant_type=authorization_code".to_owned();
    let answer = match walk.probe.send(Method::POST, url, &headers, Some(body)).await {
        Ok(answer) => answer,
        Err(problem) => return walk.found(STEP, problem),
    };
    if is_oauth_error(&answer) {
        walk.good(STEP, format!("{url} refuses a request without a code"));
        cross_origin::check_answer(walk, url, &answer, &[]);
    } else {
        let status = answer.status.as_u16();
        answers(
            walk,
            "the token endpoint",
            url.to_string(),
            status,
            "POST without a code",
        );
    }
}

/// A list is never the metadata of a client, so nothing is registered by it anywhere.
async fn registration(walk: &mut Walk, url: &Url) {
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("origin", cross_origin::ORIGIN),
    ];
    let body = "[]".to_owned();
    let answer = match walk.probe.send(Method::POST, url, &headers, Some(body)).await {
        Ok(answer) => answer,
        Err(problem) => return walk.found(STEP, problem),
    };
    let status = answer.status.as_u16();
    if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let url = url.to_string();
        return walk.found(STEP, Problem::RegistrationClosed { url, status });
    }
    if is_oauth_error(&answer) {
        walk.good(STEP, format!("{url} refuses what is no client"));
        cross_origin::check_answer(walk, url, &answer, &[]);
    } else {
        answers(
            walk,
            "the registration endpoint",
            url.to_string(),
            status,
            "POST of what is no client",
        );
    }
}

/// An endpoint answers a request as it should not.
fn answers(walk: &mut Walk, what: &str, url: String, status: u16, request: &str) {
    let (what, request) = (what.to_owned(), request.to_owned());
    walk.found(
        STEP,
        Problem::EndpointAnswers {
            what,
            url,
            status,
            request,
        },
    );
}

/// An error as RFC 6749 §5.2 and RFC 7591 §3.2.2 have it.
fn is_oauth_error(answer: &Answer) -> bool {
    let error = serde_json::from_slice::<Value>(&answer.body).ok();
    matches!(answer.status.as_u16(), 400 | 401 | 429) && error.is_some_and(|error| error["error"].is_string())
}
