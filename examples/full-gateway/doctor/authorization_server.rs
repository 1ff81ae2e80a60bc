//! The authorization server's metadata (RFC 8414), in each of the places in which clients look for it.

use url::Url;

use super::difference::Difference;
use super::document::{Document, Fetched, fetch};
use super::problem::{DocumentFault, Problem};
use super::report::Step;
use super::{Walk, is_internal};

const STEP: Step = Step::AuthorizationServerMetadata;

/// The places for this issuer, in the order of MCP's specification.
fn places(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut paths = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/openid-configuration"));
    }
    let at = |path: &String| {
        let mut url = issuer.clone();
        url.set_path(path);
        url.set_query(None);
        url
    };
    paths.iter().map(at).collect()
}

/// Looks at all of them, and gives the first document.
pub(crate) async fn check(walk: &mut Walk, issuer: &str) -> Option<Document> {
    let url: Url = issuer.parse().ok()?;
    let mut first: Option<Document> = None;
    let mut faults = Vec::new();
    for place in places(&url) {
        let text = place.to_string();
        match fetch(walk, STEP, &place).await {
            Fetched::Document(document) => {
                check_issuer(walk, issuer, &document);
                if first.is_none() {
                    members(walk, issuer, &document);
                    first = Some(document);
                }
            }
            Fetched::Nothing(_) => {}
            Fetched::Fault(fault) => faults.push((text, fault, first.is_none())),
            Fetched::Failed(problem) => {
                let unreachable = problem.is_unreachable();
                walk.found(STEP, problem);
                if unreachable {
                    break;
                }
            }
        }
    }
    // A place where there should be nothing stops nobody who has found the document before it.
    let nothing = first.is_none() && faults.is_empty();
    for (url, fault, before) in faults {
        let stops = before && (first.is_none() || matches!(fault, DocumentFault::ServerError { .. }));
        walk.found(
            STEP,
            Problem::Document {
                url,
                fault,
                needed: stops,
            },
        );
    }
    if nothing && !walk.lines.iter().any(|line| line.step == STEP && line.outcome.is_err()) {
        let issuer = issuer.to_owned();
        walk.found(STEP, Problem::NoServerMetadata { issuer });
    }
    first
}

fn check_issuer(walk: &mut Walk, issuer: &str, document: &Document) {
    let url = document.url.to_string();
    let Some(found) = document.text("issuer").map(str::to_owned) else {
        let member = "issuer".to_owned();
        return walk.found(STEP, Problem::Lacks { url, member });
    };
    match Difference::between(issuer, &found) {
        None => walk.good(STEP, format!("{url} says issuer {found}")),
        Some(difference) => {
            let expected = issuer.to_owned();
            walk.found(
                STEP,
                Problem::IssuerMismatch {
                    url,
                    expected,
                    found,
                    difference,
                },
            );
        }
    }
}

fn members(walk: &mut Walk, issuer: &str, document: &Document) {
    let before = walk.lines.len();
    let url = document.url.to_string();
    let issuer: Option<Url> = issuer.parse().ok();
    for member in ["authorization_endpoint", "token_endpoint", "response_types_supported"] {
        if !document.members.contains_key(member) {
            let (url, member) = (url.clone(), member.to_owned());
            walk.found(STEP, Problem::Lacks { url, member });
        }
    }
    let endpoints = document
        .members
        .iter()
        .filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri");
    for (member, value) in endpoints.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))) {
        let Ok(parsed) = Url::parse(&value) else {
            walk.found(STEP, Problem::MemberIsNoUrl { member, found: value });
            continue;
        };
        if is_internal(&parsed) && issuer.as_ref().is_some_and(|issuer| !is_internal(issuer)) {
            walk.found(STEP, Problem::InternalAddress { member, found: value });
        } else if parsed.scheme() == "http" && issuer.as_ref().is_some_and(|issuer| issuer.scheme() == "https") {
            walk.found(STEP, Problem::MemberIsHttp { member, found: value });
        }
    }
    let methods = document.list("code_challenge_methods_supported").unwrap_or_default();
    if !methods.contains(&"S256") {
        walk.found(STEP, Problem::NoS256);
    }
    if methods.contains(&"plain") {
        walk.found(STEP, Problem::PlainPkce);
    }
    let is_true = |name: &str| document.members.get(name).and_then(serde_json::Value::as_bool) == Some(true);
    let by_document = is_true("client_id_metadata_document_supported");
    match (document.members.contains_key("registration_endpoint"), by_document) {
        (false, false) => walk.found(STEP, Problem::NoRegistration),
        (true, false) => walk.found(STEP, Problem::NoMetadataDocuments),
        _ => {}
    }
    let authentication = document.list("token_endpoint_auth_methods_supported");
    if authentication.is_none_or(|methods| !methods.contains(&"none")) {
        walk.found(STEP, Problem::NoPublicClients);
    }
    // Absent, it means authorization code and implicit (RFC 8414 §2).
    let grants = document.list("grant_types_supported");
    if grants.is_none_or(|grants| !grants.contains(&"refresh_token")) {
        walk.found(STEP, Problem::NoRefresh);
    }
    if !is_true("authorization_response_iss_parameter_supported") {
        walk.found(STEP, Problem::NoIssParameter);
    }
    if document.list("scopes_supported").is_none_or(|scopes| scopes.is_empty()) {
        walk.found(STEP, Problem::NoScopes);
    }
    if walk.lines.len() == before {
        walk.good(
            STEP,
            "it has all that clients look for: S256, registration, public clients, refresh, iss",
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::probe::Probe;
    use super::{Document, Problem, Walk, members, places};

    #[test]
    fn an_issuer_with_a_path_has_three_places() {
        let places = |issuer: &str| -> Vec<String> {
            let places = places(&issuer.parse().unwrap());
            places.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            places("https://a.example"),
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            places("https://a.example/realm"),
            [
                "https://a.example/.well-known/oauth-authorization-server/realm",
                "https://a.example/.well-known/openid-configuration/realm",
                "https://a.example/realm/.well-known/openid-configuration"
            ]
        );
    }

    #[test]
    fn endpoints_that_only_neighbours_reach_or_in_the_clear_are_named() {
        let mut walk = Walk {
            probe: Probe::new(Vec::new(), Duration::from_secs(1)).unwrap(),
            url: "https://mcp.example.com/mcp".parse().unwrap(),
            challenge: None,
            lines: Vec::new(),
        };
        let document = json!({
            "authorization_endpoint": "https://auth.example.com/authorize",
            "token_endpoint": "http://gateway:8080/token",
            "registration_endpoint": "http://auth.example.com/register",
            "revocation_endpoint": "/revoke",
        });
        let document = Document {
            url: "https://auth.example.com/.well-known/oauth-authorization-server"
                .parse()
                .unwrap(),
            members: document.as_object().unwrap().clone(),
        };
        members(&mut walk, "https://auth.example.com", &document);
        let of = |member: &str, found: &str| (member.to_owned(), found.to_owned());
        let (member, found) = of("token_endpoint", "http://gateway:8080/token");
        let internal = Problem::InternalAddress { member, found };
        let (member, found) = of("registration_endpoint", "http://auth.example.com/register");
        let plain = Problem::MemberIsHttp { member, found };
        let (member, found) = of("revocation_endpoint", "/revoke");
        let no_url = Problem::MemberIsNoUrl { member, found };
        for expected in [internal, plain, no_url] {
            assert!(walk.lines.iter().any(|line| line.outcome.as_ref() == Err(&expected)));
        }
    }
}
