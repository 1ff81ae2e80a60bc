//! A JSON document at a well-known place, and all that can be there instead.

use serde_json::{Map, Value};
use url::Url;

use super::probe::{MAXIMUM_BODY, content_type};
use super::problem::{DocumentFault, Problem};
use super::report::Step;
use super::{Walk, cross_origin};

/// A JSON object, and where it was.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) url: Url,
    pub(crate) members: Map<String, Value>,
}

impl Document {
    /// A member that is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    /// A member that is a list of texts.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<&str>> {
        let list = self.members.get(name)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).collect())
    }

    /// A member that is a URL.
    pub(crate) fn url(&self, name: &str) -> Option<Url> {
        self.text(name)?.parse().ok()
    }
}

/// What was there.
pub(crate) enum Fetched {
    Document(Document),
    /// What is no document, but says so properly.
    Nothing(u16),
    /// Anything else.
    Fault(DocumentFault),
    Failed(Problem),
}

/// Fetches a document as a client in a browser does, and looks at what every document has to have.
pub(crate) async fn fetch(walk: &mut Walk, step: Step, url: &Url) -> Fetched {
    let headers = [("accept", "application/json"), ("origin", cross_origin::ORIGIN)];
    let answer = match walk.probe.get(url, &headers).await {
        Ok(answer) => answer,
        Err(problem) => return Fetched::Failed(problem),
    };
    let status = answer.status.as_u16();
    if let Some(to) = answer.location(url) {
        let to = to.to_string();
        return Fetched::Fault(DocumentFault::Redirected { status, to });
    }
    match status {
        401 | 403 => return Fetched::Fault(DocumentFault::BehindAuthentication { status }),
        404 | 410 => return Fetched::Nothing(status),
        500.. => return Fetched::Fault(DocumentFault::ServerError { status }),
        _ if answer.is_html() => return Fetched::Fault(DocumentFault::Html { status }),
        200 => {}
        _ => return Fetched::Fault(DocumentFault::OtherStatus { status }),
    }
    if answer.body.len() > MAXIMUM_BODY {
        return Fetched::Fault(DocumentFault::TooLarge { bytes: MAXIMUM_BODY });
    }
    let members = match serde_json::from_slice(&answer.body) {
        Ok(Value::Object(members)) => members,
        Ok(_) => return Fetched::Fault(DocumentFault::NoObject),
        Err(_) => return Fetched::Fault(DocumentFault::NotJson),
    };
    let content_type = content_type(&answer.headers);
    if !content_type.contains("json") {
        let url = url.to_string();
        walk.found(step, Problem::ContentType { url, content_type });
    }
    cross_origin::check_answer(walk, url, &answer, &[]);
    let nulls: Vec<_> = members.iter().filter(|(_, value)| value.is_null()).collect();
    if !nulls.is_empty() {
        let names: Vec<_> = nulls.into_iter().map(|(name, _)| name.as_str()).collect();
        let (url, members) = (url.to_string(), names.join(", "));
        walk.found(step, Problem::Nulls { url, members });
    }
    Fetched::Document(Document {
        url: url.clone(),
        members,
    })
}
