//! The protected resource's metadata (RFC 9728): by the challenge, at the path's well-known place, at the origin's.

use url::Url;

use super::difference::Difference;
use super::document::{Document, Fetched, fetch};
use super::problem::{DocumentFault, Problem};
use super::report::Step;
use super::{Walk, is_internal};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
const STEP: Step = Step::ProtectedResourceMetadata;

/// Looks at all of them, and gives the issuer with which a client goes on: of the first document, or the origin where there
/// is none, as old clients have it.
pub(crate) async fn check(walk: &mut Walk) -> Option<String> {
    let linked = walk.challenge.as_ref();
    let linked = linked.and_then(|challenge| challenge.resource_metadata.as_deref()?.parse::<Url>().ok());
    let path = walk.url.path().trim_end_matches('/').to_owned();
    let at = |path: &str| {
        let mut url = walk.url.clone();
        url.set_path(path);
        url.set_query(None);
        url
    };
    // A resource at `/mcp/` has its document at the place with the slash.
    let (by_path, at_root) = (at(&format!("{WELL_KNOWN}{}", walk.url.path())), at(WELL_KNOWN));
    let mut first: Option<Document> = None;
    let mut missing = None;
    if let Some(linked) = linked.filter(|linked| *linked != by_path) {
        first = needed(walk, &linked, &mut missing).await;
        if let Some(missing) = missing.take() {
            walk.found(STEP, missing);
        }
    }
    if !path.is_empty() {
        let found = needed(walk, &by_path, &mut missing).await;
        first = first.or(found);
    }
    let root = match fetch(walk, STEP, &at_root).await {
        Fetched::Document(document) => Some(document),
        Fetched::Nothing(status) => {
            if path.is_empty() {
                missing = Some(gone(&at_root, status));
            }
            None
        }
        Fetched::Fault(fault) => {
            let needed = first.is_none();
            walk.found(
                STEP,
                Problem::Document {
                    url: at_root.to_string(),
                    fault,
                    needed,
                },
            );
            None
        }
        Fetched::Failed(problem) => {
            walk.found(STEP, problem);
            None
        }
    };
    match root {
        Some(root) if first.is_none() || path.is_empty() => {
            if let Some(missing) = missing.take().filter(|_| !path.is_empty()) {
                walk.found(STEP, missing);
            }
            resource(walk, &root);
            first = first.or(Some(root));
        }
        // Beside the other one: it may be of the same resource, or of the whole origin.
        Some(root) => {
            let of_this = root.text("resource").is_some_and(|resource| {
                let origin = walk.url.origin().ascii_serialization();
                resource == walk.url.as_str() || resource.trim_end_matches('/') == origin
            });
            if !of_this {
                let found = root.text("resource").unwrap_or("nothing").to_owned();
                let url = at_root.to_string();
                walk.found(STEP, Problem::RootOfAnother { url, found });
            }
        }
        None => {}
    }
    let Some(document) = first else {
        let told = walk.lines.iter().any(|line| line.step == STEP && line.outcome.is_err());
        if !told {
            walk.found(STEP, Problem::NoResourceMetadata);
        }
        return Some(walk.url.origin().ascii_serialization());
    };
    if let Some(missing) = missing {
        walk.found(STEP, missing);
    }
    servers(walk, &document)
}

fn gone(url: &Url, status: u16) -> Problem {
    Problem::Document {
        url: url.to_string(),
        fault: DocumentFault::Missing { status },
        needed: true,
    }
}

/// Fetches a document that clients look for. That it is missing is only worth telling where there is another one.
async fn needed(walk: &mut Walk, url: &Url, missing: &mut Option<Problem>) -> Option<Document> {
    match fetch(walk, STEP, url).await {
        Fetched::Document(document) => {
            resource(walk, &document);
            Some(document)
        }
        Fetched::Nothing(status) => {
            *missing = Some(gone(url, status));
            None
        }
        Fetched::Fault(fault) => {
            let (url, needed) = (url.to_string(), true);
            walk.found(STEP, Problem::Document { url, fault, needed });
            None
        }
        Fetched::Failed(problem) => {
            walk.found(STEP, problem);
            None
        }
    }
}

fn resource(walk: &mut Walk, document: &Document) {
    let url = document.url.to_string();
    // A URL without a path is written without the slash that it is parsed to.
    let expected = match walk.url.as_str() {
        text if walk.url.path() == "/" => text.trim_end_matches('/').to_owned(),
        text => text.to_owned(),
    };
    let Some(found) = document.text("resource").map(str::to_owned) else {
        return walk.found(STEP, Problem::NoResource { url });
    };
    let bare = walk.url.path() == "/" && found.trim_end_matches('/') == expected;
    match Difference::between(&expected, &found).filter(|_| !bare) {
        None => walk.good(STEP, format!("{url} says resource {found}")),
        Some(difference) => walk.found(
            STEP,
            Problem::ResourceMismatch {
                url,
                expected,
                found,
                difference,
            },
        ),
    }
}

/// The rest of the document, and the first authorization server.
fn servers(walk: &mut Walk, document: &Document) -> Option<String> {
    let url = document.url.to_string();
    if document
        .list("scopes_supported")
        .is_some_and(|scopes| scopes.contains(&"offline_access"))
    {
        walk.found(STEP, Problem::OfflineAccess { url: url.clone() });
    }
    if document
        .list("bearer_methods_supported")
        .is_some_and(|methods| !methods.contains(&"header"))
    {
        walk.found(STEP, Problem::NoHeaderMethod { url: url.clone() });
    }
    let servers = document.list("authorization_servers").unwrap_or_default();
    let Some(first) = servers.first().map(|issuer| (*issuer).to_owned()) else {
        walk.found(STEP, Problem::NoAuthorizationServer { url });
        return None;
    };
    let member = "authorization_servers".to_owned();
    let found = first.clone();
    match Url::parse(&first) {
        Err(_) => {
            walk.found(STEP, Problem::MemberIsNoUrl { member, found });
            None
        }
        Ok(issuer) => {
            if is_internal(&issuer) && !is_internal(&walk.url) {
                walk.found(STEP, Problem::InternalAddress { member, found });
            } else if issuer.scheme() == "http" && walk.url.scheme() == "https" {
                walk.found(STEP, Problem::MemberIsHttp { member, found });
            } else {
                walk.good(STEP, format!("the authorization server is {first}"));
            }
            Some(first)
        }
    }
}
